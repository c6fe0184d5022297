"""Check all that is handed in, then fill submission/: python writeup/submission.py [repository]

Every problem found is printed; with one of them nothing is written and the exit code is 1.
"""

import argparse
import ast
import hashlib
import itertools
import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pypdf
import student
from bs4 import BeautifulSoup
from macros import macros

NOTEBOOKS = {
    "problem1": "problem1_rnn.ipynb",
    "problem2": "problem2_attention.ipynb",
    "problem3": "problem3_gnn.ipynb",
}
PDF = "writeup/writeup.pdf"
LETTERS = {"1": "abcd", "2": "abcde", "3": "abc"}
QUESTIONS = [f"{problem}({letter})" for problem in LETTERS for letter in LETTERS[problem]]
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:home|root|Users|tmp|work|opt|mnt|var|content)/\S*|[A-Za-z]:[\\/]+Users\S*"
)
MENTION = re.compile(r"(?<!\w)@(?!user\b)\w+")
STAND_IN = "data/sample"
RESULTS = dict.fromkeys(("profile", "run", "cells"), str)
RESULTS |= dict.fromkeys(("data", "figures", "environment", "metrics"), dict)
CHECKED = """\
- each notebook was run once from top to bottom in the full profile
- no output holds an error, a warning, a path of a machine or a name
- outputs, results, figures and code of each notebook are of one run, on the real data
- the PDF was built from these results, has every question and its fonts
- student.toml is filled in and in the PDF, with each screenshot, its bugs and their correction"""


# Notebooks ----------------------------------------------------------------------------------------


def read_notebook(path):
    """Read and validate a notebook; ValueError says what is wrong with it."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (OSError, AttributeError, ValueError, nbformat.ValidationError) as reason:
        raise ValueError(f"not a valid notebook: {str(reason).splitlines()[0]}") from reason
    return notebook


def code_cells(notebook):
    """The code cells that are not empty, numbered from 1."""
    cells = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    return list(enumerate(cells, 1))


def text_of(output):
    """What a reader can read of an output: no pictures, tags, styles or scripts."""
    shown = [output.get("text", "")]
    for kind, text in output.get("data", {}).items():
        if "html" in kind or "svg" in kind:
            shown.append(BeautifulSoup(text, "html.parser").get_text(" "))
        elif kind.startswith("text/"):
            shown.append(text)
    return "\n".join(shown)


def check_execution(notebook):
    for number, cell in code_cells(notebook):
        if cell.execution_count != number:
            yield (
                f"not run once from top to bottom: code cell {number} has the execution count "
                f"{cell.execution_count}; restart the kernel and run all cells."
            )
            return


def check_outputs(notebook):
    """What should not be there, each thing once with all the code cells that it stands in."""
    cells = {}
    for number, cell in code_cells(notebook):
        for output in cell.outputs:
            for reason in wrong_in(output):
                cells.setdefault(reason, []).append(str(number))
    for reason, numbers in cells.items():
        numbers = list(dict.fromkeys(numbers))
        yield f"code cell{'s' * (len(numbers) > 1)} {', '.join(numbers)}: {reason}"


def wrong_in(output):
    text = text_of(output)
    if output.output_type == "error":
        yield f"an error, {output.ename}: {output.evalue[:100]}"
    if output.get("name") == "stderr":
        yield f"written to stderr, {' '.join(text.split())[:100]}"
    for path in MACHINE_PATH.findall(text):
        yield f"a path of a machine: {path}"
    for mention in MENTION.findall(text):
        yield f"a name that is not masked: {mention}"


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
        yield "holds a cell of injected parameters, as papermill's copy: run the notebook itself."
    if "parameters" not in tagged:
        yield "no cell has the tag parameters."
        return
    values = assigned_constants(tagged["parameters"].source)
    for name, expected in {"profile": "full", "output_dir": "writeup"}.items():
        if values.get(name) != expected:
            found = f"{name} = {values.get(name)!r}, not {expected!r}"
            yield f"the parameters cell says {found}: mend it, run all cells."


def check_run(notebook, folder, problem):
    """Outputs, results, figures and code are of one run; the first thing that is not is named.

    folder holds results/ and figures/; its results file is known to be readable.
    """
    text = (folder / f"results/{problem}.json").read_bytes().replace(b"\r\n", b"\n")
    results = json.loads(text)
    again = "restart the kernel and run all cells, then make pdf."
    shown = [shown for _, cell in code_cells(notebook) if (shown := cell_text(cell).strip())]
    if f"{problem}.json sha256 {digest(text, 16)}" not in "\n".join(shown):
        yield f"the outputs are of another run than results/{problem}.json: {again}"
    elif changed := changed_cells(notebook, results["cells"].split()):
        yield f"code cell {changed[0]} was edited after it was run, or run out of order: {again}"
    elif not all(f"run {results['run']}" in text for text in (shown[0], shown[-1])):
        yield f"run in parts: its first output is of another run than its last. Now {again}"
    else:
        figures = folder.glob(f"figures/p{problem[-1]}_*.pdf")
        found = {path.name: digest(path.read_bytes(), 16) for path in figures}
        if others := sorted({name for name, _ in found.items() ^ results["figures"].items()}):
            yield f"not the figures of this run: {', '.join(others)}; {again}"


def changed_cells(notebook, executed):
    """Numbers of the code cells that are not what the kernel ran last, in order."""
    sources = [digest(cell.source.strip().encode(), 8) for _, cell in code_cells(notebook)]
    pairs = itertools.zip_longest(sources, executed[-len(sources) :])
    return [number for number, (now, then) in enumerate(pairs, 1) if now != then]


def cell_text(cell):
    return "\n".join(map(text_of, cell.outputs))


def digest(content, digits):
    return hashlib.sha256(content).hexdigest()[:digits]


def check_notebook(root, problem, wrong_results):
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
    not_this_run = [*check_execution(notebook), *check_parameters(notebook)]
    yield from not_this_run
    yield from check_outputs(notebook)
    if not not_this_run and not wrong_results:
        yield from check_run(notebook, root / "writeup", problem)


# Results ------------------------------------------------------------------------------------------


def check_results(root, problem):
    """The results are whole, of the full profile and of real data; the macros are made of them."""
    path = root / f"writeup/results/{problem}.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(results[part], kind) for part, kind in RESULTS.items()):
            raise TypeError
        profile, data = results["profile"], results["data"]
        sources = {name: record["source"].replace("\\", "/") for name, record in data.items()}
        made, found = macros(problem, results), path.with_suffix(".tex").read_text(encoding="utf-8")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as reason:
        what = f"it or {problem}.tex is missing or damaged ({type(reason).__name__})"
        yield f"{what}: run {NOTEBOOKS[problem]}, then make pdf."
        return
    if profile != "full":
        yield f"of the {profile} profile: run {NOTEBOOKS[problem]} in the full one."
    for name, source in sources.items():
        if source.startswith(STAND_IN):
            yield f"{name} is a stand-in, {source}: data/README.md says how to get the real data."
    if made != found:
        yield f"{problem}.tex was made of other results: make pdf."


# PDF ----------------------------------------------------------------------------------------------


def question_pages(reader):
    """{question: (first page, last page)}, from 1; a bookmark begins one, the next ends it."""

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


def check_pdf(root, filled_in):
    """filled_in: what the student's file says, or None where it is wrong."""
    path = root / PDF
    if not path.exists():
        yield "missing: make pdf."
        return
    if path.stat().st_size >= 50_000_000:
        megabytes = path.stat().st_size / 1e6
        yield f"too large: {megabytes:.0f} MB, allowed are 50 MB: make the screenshots smaller."
    try:
        reader = pypdf.PdfReader(path)
        pages = list(reader.pages)
    except (OSError, pypdf.errors.PyPdfError, pypdf.errors.DependencyError) as reason:
        yield f"not a readable PDF ({reason}): make pdf."
        return
    keywords = (reader.metadata or {}).get("/Keywords", "")
    for problem in NOTEBOOKS:
        tex = root / f"writeup/results/{problem}.tex"
        if tex.exists() and f"{problem}={md5(tex.read_bytes())}" not in keywords:
            yield f"built from other results of {problem} than those in writeup/results/: make pdf."
    if filled_in is not None:
        text, _ = student.document(root / "writeup", filled_in)
        if f"student={md5(text.encode())}" not in keywords:
            yield "built before writeup/student.toml or a screenshot was changed: make pdf."
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
        yield f"the font {name[1:]} is not embedded; if it is a screenshot's, take a png for it."


def md5(content):
    """As pdfTeX writes it into the PDF's keywords."""
    return hashlib.md5(content).hexdigest().upper()


# All of it ----------------------------------------------------------------------------------------


def preflight(root):
    """(all problems, each with its file; the lines that the student has to mend or fill in)."""
    filled_in, wrong, missing = student.read(root / "writeup")
    problems = []
    for problem, notebook in NOTEBOOKS.items():
        results = list(check_results(root, problem))
        problems += [f"{notebook}: {reason}" for reason in check_notebook(root, problem, results)]
        problems += [f"writeup/results/{problem}.json: {reason}" for reason in results]
    problems += [f"{PDF}: {reason}" for reason in check_pdf(root, None if wrong else filled_in)]
    return problems, wrong + missing


def build(root):
    """Replace submission/ by a folder with the PDF and the notebooks; never is it half filled."""
    target = root / "submission"
    with tempfile.TemporaryDirectory(prefix=".submission-", dir=root) as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        new.mkdir()
        for file in (PDF, *NOTEBOOKS.values()):
            patiently(shutil.copyfile, root / file, new / Path(file).name)
        if target.exists():
            patiently(target.rename, old)
        try:
            patiently(new.rename, target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    return target


def patiently(act, *arguments):
    """Try for two seconds while another program holds a file."""
    for _ in range(10):
        try:
            return act(*arguments)
        except PermissionError:
            time.sleep(0.2)
    return act(*arguments)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Check everything, then fill submission/.")
    here = Path(__file__).parent.parent
    parser.add_argument("repository", nargs="?", type=Path, default=here)
    root = parser.parse_args(arguments).repository
    sys.stdout.reconfigure(errors="replace")  # on a console that lacks a letter
    problems, to_fill_in = preflight(root)
    if problems:
        print("Not ready to submit:", *problems, sep="\n- ")
    if to_fill_in:
        heading = "For you to fill in, in writeup/student.toml (then make pdf):"
        print(heading, *to_fill_in, sep="\n- ")
    if problems or to_fill_in:
        print("submission/ was left as it is.")
        return 1
    try:
        name = build(root).name
    except OSError as reason:
        print(f"submission/ was left as it is: {reason}.")
        print("Is one of its files open in another program? Then close it, else make room or make")
        print("the folder writable, and run make submission again.")
        return 1
    print(f"Checked:\n{CHECKED}\n")
    print(f"{name}/ holds {Path(PDF).name}, {', '.join(NOTEBOOKS.values())}.")
    print(
        "Upload these four files to Gradescope, not zipped, and assign the pages to the questions:"
    )
    for question, (first, last) in question_pages(pypdf.PdfReader(root / PDF)).items():
        print(f"  {question}  page{f' {first}' if first == last else f's {first}-{last}'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
