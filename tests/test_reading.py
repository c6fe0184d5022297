"""How the notebooks read: how much code stands before part (a), in a cell, in a row, in all."""

import ast
import re

import pytest
from conftest import NOTEBOOKS, read_notebook, tags

LINES = {"problem1_rnn": 640, "problem2_attention": 860, "problem3_gnn": 600}
BEFORE_A, IN_A_CELL, IN_A_ROW, WIDTH = 45, 40, 4, 100


def code_lines(source):
    """The lines of code without blanks, comments and docstrings."""
    silent = set()
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node):
            silent |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(source.splitlines(), 1)
    return [line for n, line in lines if n not in silent and re.match(r"\s*[^\s#]", line)]


def is_definition(node):
    """Whether a statement imports, defines, or gives constants (in capitals) their values."""
    if isinstance(node, ast.Assign):
        names = [name for target in node.targets for name in ast.walk(target)]
        return all(name.id.isupper() for name in names if isinstance(name, ast.Name))
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def objections(cells, budget):
    """What a reader would object to, one line each."""
    code = [(number, cell) for number, cell in enumerate(cells) if cell.cell_type == "code"]
    lines = {number: code_lines(cell.source) for number, cell in code}
    kinds = "".join("c" if number in lines else "t" for number in range(len(cells)))
    part_a = next(n for n, c in enumerate(cells) if re.search(r"^## \(a\)", c.source, re.M))
    before = sum(len(found) for number, found in lines.items() if number < part_a)
    if before > BEFORE_A:
        yield f"{before} lines of code before part (a)"
    if (total := sum(map(len, lines.values()))) > budget:
        yield f"{total} lines of code in all"
    if (row := max(map(len, re.findall("c+", kinds)))) > IN_A_ROW:
        yield f"{row} cells of code in a row"
    for number, cell in code:
        if len(lines[number]) > IN_A_CELL:
            yield f"cell {number} has {len(lines[number])} lines"
        if (widest := max(map(len, lines[number]), default=0)) > WIDTH:
            yield f"cell {number} has a line of {widest} letters"
        if "definition" in tags(cell) and not all(map(is_definition, ast.parse(cell.source).body)):
            yield f"cell {number} is tagged as definition and runs something"
    helper = False
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown" and re.match("#", cell.source):
            helper = bool(re.match("#+ Helpers", cell.source))
            if helper and not cell.metadata.get("jp-MarkdownHeadingCollapsed"):
                yield f"cell {number}: the heading of helpers is not folded"
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        if cell.cell_type == "code" and hidden != helper:
            yield f"cell {number}: helpers are folded, and nothing else"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_keeps_to_what_a_reader_takes_in(name):
    assert list(objections(read_notebook(name).cells, LINES[name])) == []
