"""Write the writeup's listings, writeup/listings/<name>.txt, from the notebooks.

The code is that of the notebook to the letter, less its docstrings.
"""

import ast
import textwrap
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "writeup/listings"
LISTINGS = {
    "problem1_rnn": ["LSTMCell.forward", "TweetClassifier.forward"],
    "problem2_attention": [
        "MultiHeadAttention.forward",
        "TransformerEncoderLayer.attend",
        "TransformerEncoderLayer.feed_forward",
        "TransformerEncoderLayer.forward",
        "WordEmbedding.forward",
    ],
    "problem3_gnn": ["neighbours", "PlainGraphConvolution", "TargetAttention.forward"],
}


def find_definition(source, name):
    """`name` (or `Class.method`) as `source` defines it, dedented, without docstrings; or None."""
    body, node = ast.parse(source).body, None
    for part in name.split("."):
        node = next(
            (n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part),
            None,
        )
        if node is None:
            return None
        body = node.body
    lines = source.splitlines()
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner):
            first, last = inner.body[0].lineno - 1, inner.body[0].end_lineno
            lines[first:last] = [None] * (last - first)
    kept = [line for line in lines[node.lineno - 1 : node.end_lineno] if line is not None]
    return textwrap.dedent("\n".join(kept)) + "\n"


def listing(notebook, name):
    """The text of a definition in a notebook; LookupError if no cell defines it."""
    for cell in nbformat.read(ROOT / f"{notebook}.ipynb", as_version=4).cells:
        if cell.cell_type == "code" and (text := find_definition(cell.source, name)):
            return text
    raise LookupError(f"{notebook}.ipynb defines no {name}: mend LISTINGS in writeup/listings.py.")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.txt"):
        path.unlink()
    for notebook, names in LISTINGS.items():
        for name in names:
            (FOLDER / f"{name}.txt").write_text(listing(notebook, name), encoding="utf-8")
