"""The preflight: a small made-up repository passes it, and everything that should be refused is refused."""

import json
import os
import shutil
import subprocess
import sys

import matplotlib.pyplot as plt
import nbformat
import PIL.Image
import pypdf
import pytest
import student
import submission
from conftest import ROOT
from macros import macros
from matplotlib.backends.backend_pdf import PdfPages
from nbformat import v4
from submission import digest, md5

SCRIPT = ROOT / "writeup/submission.py"
PDF, RESULTS = "writeup/writeup.pdf", "writeup/results/problem1.json"
NOTEBOOK = submission.NOTEBOOKS["problem1"]
FIGURE, RUN = "writeup/figures/p1_one.pdf", "0123abcd"
STUDENT, SCREENSHOT = "writeup/student.toml", "writeup/ai_tools/problem1/1 \u202fa.png"


# A repository that passes -------------------------------------------------------------------------


def printed(text, name="stdout"):
    return v4.new_output("stream", name=name, text=text)


def code(source, count, *outputs, tags=()):
    return v4.new_code_cell(
        source, execution_count=count, outputs=list(outputs), metadata={"tags": list(tags)}
    )


def write_run(root, problem, **changes):
    """What a full run of a made-up notebook leaves, and the macros of it."""
    parameters = 'profile = "full"  # or "quick"\noutput_dir = "writeup"'
    sources = [parameters, "print(text)", "save_results()"]
    figure = root / f"writeup/figures/p{problem[-1]}_one.pdf"
    figure.write_bytes(b"%PDF")
    results = {
        "run": RUN,
        "profile": "full",
        "data": {"tweets": {"source": "data/tweets.zip", "rows": 3, "sha256": "0"}},
        "cells": " ".join(digest(source.encode(), 8) for source in sources),
        "figures": {figure.name: digest(figure.read_bytes(), 16)},
        "environment": {"torch": "2.3.1"},
        "seconds": 1.0,
        "metrics": {"accuracy": 0.85, "vectors": "50-d & 100 %"},
        **changes,
    }
    text = json.dumps(results, indent=2) + "\n"
    (root / f"writeup/results/{problem}.json").write_text(text, newline="\n")
    tex = root / f"writeup/results/{problem}.tex"
    tex.write_text(macros(problem, results), newline="\n")
    saved = f"run {RUN}: 2 metrics in {problem}.json sha256 {digest(text.encode(), 16)}\n"
    cells = [
        v4.new_markdown_cell("# A problem"),
        code(parameters, 1, printed(f"run {RUN} on cpu\n"), tags=["parameters"]),
        code("print(text)", 2, printed("@user at http://url, a@b.c, writeup/figures/, 3 @ 4\n")),
        code("", None),
        code("save_results()", 3, printed(saved)),
    ]
    nbformat.write(v4.new_notebook(cells=cells), root / submission.NOTEBOOKS[problem])


def write_pdf(root, questions=submission.QUESTIONS, rc=None):
    """A page and a bookmark a question, one page more for 2(b), and the digests that LaTeX puts into the keywords."""
    scratch = root / "pages.pdf"
    titles = ["Homework 4"]
    for question in questions:
        titles += [f"{question} A question"] * (2 if question == "2(b)" else 1)
    with plt.rc_context({"pdf.fonttype": 42, **(rc or {})}), PdfPages(scratch) as pages:
        for title in titles:
            figure = plt.figure(figsize=(3, 1))
            figure.text(0, 0.5, f"{title}: An answer.", fontsize=6)
            pages.savefig(figure)
            plt.close(figure)
    writer = pypdf.PdfWriter(clone_from=scratch)
    scratch.unlink()
    parent = writer.add_outline_item(title="Problems", page_number=0)
    for title in dict.fromkeys(titles[1:]):
        writer.add_outline_item(title=title, page_number=titles.index(title), parent=parent)
    tex = {problem: root / f"writeup/results/{problem}.tex" for problem in submission.NOTEBOOKS}
    digests = {problem: md5(path.read_bytes()) for problem, path in tex.items()}
    values, wrong, _ = student.read(root / "writeup")
    if not wrong:
        text, _ = student.document(root / "writeup", values)
        digests["student"] = md5(text.encode())
    writer.add_metadata({"/Keywords": " ".join(f"{p}={d}" for p, d in digests.items())})
    writer.write(root / PDF)


FILLED_IN = """# The student's.
name = "Zoë O'Brien"
id = "1"

# Long text stands between ''' and another.
[problem1]
collaborators = "none"
ai_tools = "Claude"
[problem2]
collaborators = "none"
ai_tools = "none"

[problem3]
collaborators = "none"
ai_tools = "None."

[[problem1.answers]]
screenshots = ["1  a.png"]
bugs = '''
One bias
is added twice.
'''
correction = "Once."
"""


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    root = tmp_path_factory.mktemp("complete")
    (root / "writeup/results").mkdir(parents=True)
    (root / "writeup/figures").mkdir()
    for problem in submission.NOTEBOOKS:
        write_run(root, problem)
    (root / STUDENT).write_text(FILLED_IN, encoding="utf-8")
    (root / SCREENSHOT).parent.mkdir(parents=True)
    PIL.Image.effect_noise((64, 64), 50).save(root / SCREENSHOT)
    (root / "writeup/ai_tools/.gitkeep").touch()
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


# Success ------------------------------------------------------------------------------------------


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


# Refusals -----------------------------------------------------------------------------------------


def edit(change, name=NOTEBOOK):
    """A spoiler that changes a notebook; its cells: text, parameters, one that prints, empty, last."""

    def spoil(root):
        notebook = nbformat.read(root / name, as_version=4)
        change(notebook)
        nbformat.write(notebook, root / name)

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
        write_run(root, "problem1", **changes)
        write_pdf(root)

    return spoil


def data_from(source):
    return rerun(data={"tweets": {"source": source, "rows": 3, "sha256": "0"}})


def write(file, text):
    return lambda root: (root / file).write_text(text)


def remove(file):
    return lambda root: (root / file).unlink()


def old_macros(root):
    """The notebook was run anew, and make pdf was forgotten."""
    path = root / "writeup/results/problem1.tex"
    old = path.read_bytes()
    rerun(seconds=2.0)(root)
    path.write_bytes(old)
    write_pdf(root)


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
        "code cell 2: an error, NameError",
    ),
    "stderr": (
        show(printed("a warning", name="stderr")),
        "code cell 2: written to stderr, a warning",
    ),
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
    "a name after a full stop": (show(printed("RT.@ada")), "not masked: @ada"),
    "a name in two outputs and cells": (
        edit(
            lambda n: [
                n.cells[2].update(outputs=[printed("@ada @ada"), printed("@ada")]),
                n.cells[4].outputs.append(printed("@ada")),
            ]
        ),
        "code cells 2, 3: a name that is not masked: @ada",
    ),
    "a name in HTML": (html("<style>@keyframes a {}</style><p>@ada</p>"), "not masked: @ada"),
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
        f"{NOTEBOOK}: the outputs are of another run than results/problem1.json",
    ),
    "edited and not run": (
        edit(lambda n: n.cells[2].update(source="print(other)")),
        f"{NOTEBOOK}: code cell 2 was edited after it was run",
    ),
    "a new cell that was not run": (
        edit(
            lambda n: [
                n.cells.insert(2, code("1 + 1", 2)),
                n.cells[3].update(execution_count=3),
                n.cells[5].update(execution_count=4),
            ]
        ),
        f"{NOTEBOOK}: code cell 2 was edited after it was run",
    ),
    "run in parts": (
        edit(lambda n: n.cells[1].update(outputs=[printed("run 4567abcd")])),
        f"{NOTEBOOK}: run in parts",
    ),
    "another figure": (
        write(FIGURE, "%PDF of another run"),
        f"{NOTEBOOK}: not the figures of this run: p1_one.pdf;",
    ),
    "a figure too few and one too many": (
        lambda root: (root / FIGURE).rename(root / "writeup/figures/p1_two.pdf"),
        f"{NOTEBOOK}: not the figures of this run: p1_one.pdf, p1_two.pdf;",
    ),
    "no results": (remove(RESULTS), f"{RESULTS}: it or problem1.tex is missing or damaged"),
    "no macros": (
        remove("writeup/results/problem1.tex"),
        f"{RESULTS}: it or problem1.tex is missing or damaged",
    ),
    "results without cells": (
        rerun(cells=None),
        f"{RESULTS}: it or problem1.tex is missing or damaged",
    ),
    "half results": (
        write(RESULTS, '{"profile": "full"}'),
        f"{RESULTS}: it or problem1.tex is missing or damaged",
    ),
    "quick results": (rerun(profile="quick"), f"{RESULTS}: of the quick profile"),
    "stand-in": (
        data_from("data/sample/tweets.csv"),
        "tweets is a stand-in, data/sample/tweets.csv",
    ),
    "stand-in on Windows": (data_from("data\\sample\\tweets.csv"), "tweets is a stand-in"),
    "macros of another run": (old_macros, f"{RESULTS}: problem1.tex was made of other results"),
    "no PDF": (remove(PDF), f"{PDF}: missing"),
    "not a PDF": (write(PDF, "<html>"), f"{PDF}: not a readable PDF"),
    "PDF too large": (
        lambda root: os.truncate(root / PDF, 50_000_000),
        f"{PDF}: too large: 50 MB",
    ),
    "PDF of other results": (
        lambda root: write_run(root, "problem1", seconds=2.0),
        f"{PDF}: built from other results of problem1",
    ),
    "a question is missing": (
        lambda root: write_pdf(root, submission.QUESTIONS[1:]),
        "question 1(a) has no bookmark",
    ),
    "fonts": (
        lambda root: write_pdf(root, rc={"pdf.use14corefonts": True}),
        "the font Helvetica is not embedded",
    ),
    "PDF before the student": (
        write(STUDENT, FILLED_IN.replace("Once", "Twice")),
        f"{PDF}: built before writeup/student.toml or a screenshot was changed",
    ),
    "PDF before a screenshot": (
        lambda root: PIL.Image.effect_noise((64, 64), 50).save(root / SCREENSHOT),
        f"{PDF}: built before",
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


def test_tags_styles_and_scripts_are_no_text(root):
    html("<style>@keyframes a</style><script>'/tmp/x'</script><a href='/home/a'>ok</a>")(root)
    assert submission.main([str(root)]) == 0


# The student's file -------------------------------------------------------------------------------

NONE = 'bugs = "none: I ran it on three inputs"\ncorrection'
STUDENTS = {
    # what stands in the file, what stands there instead, what is said
    "no name": ("Zoë O'Brien", " ", "line 2, name: empty."),
    "no id": ('id = "1"', 'id = ""', "line 3, id: empty."),
    "nobody": (
        'collaborators = "none"',
        'collaborators = ""',
        "line 7, problem1, collaborators: empty.",
    ),
    "no tools": ('"None."', '""', "line 15, problem3, ai_tools: empty."),
    "a tool alone": (
        '"None."',
        '"Claude"',
        "line 15, problem3, ai_tools: names a tool, but no screenshot",
    ),
    "an answer of none": ('"Claude"', '"none"', 'line 8, problem1, ai_tools: says "none", but'),
    "no name but a sign": ("Zoë O'Brien", "\u200b-", "line 2, name: empty."),
    "no bugs, in other words": (
        "One bias\nis added twice.",
        "There are none.",
        'line 19, problem1, answer 1, bugs: "none" without',
    ),
    "no bugs": ("One bias\nis added twice.", "", "line 19, problem1, answer 1, bugs: empty."),
    "none, why": (
        "One bias\nis added twice.",
        "None found.",
        'line 19, problem1, answer 1, bugs: "none" without',
    ),
    "no correction": ("Once.", "", "line 23, problem1, answer 1, correction: empty."),
    "bugs left": (
        "Once.",
        "none",
        'line 23, problem1, answer 1, correction: "none", but bugs are named.',
    ),
    "cut off": ("twice.\n'''", "twice.", "end of document: expected"),
    "no quotes": ('id = "1"', "id = Ada", "line 3, column 6: invalid value. Short text stands"),
    "curly quotes": ('id = "1"', "id = “1”", "line 3, column 6: invalid value."),
    "a number": ('id = "1"', "id = 1", "line 3, id: found 1; expected a text, as in name ="),
    "a list": ('"None."', '["a"]', "line 15, problem3, ai_tools: found ['a']; expected a text"),
    "no list": (
        '["1  a.png"]',
        '"1.png"',
        "line 18, problem1, answer 1, screenshots: found '1.png'",
    ),
    "a key less": ('id = "1"', "", "id: missing. Put back a text"),
    "a key less in a section": ('ai_tools = "None."', "", "line 13, problem3, ai_tools: missing"),
    "another key": ("bugs = ", "bug = ", "line 19, problem1, answer 1, bug: not known. Known are"),
    "another block": (".answers", ".answer", "line 17, problem1, answer: not known. Known are"),
    "another section": ("[problem2]", "[problem4]", "line 9, problem4: not known."),
    "a block of one bracket": (
        "[[problem1.answers]]",
        "[problem1.answers]",
        "[[problem1.answers]]",
    ),
    "a letter": (
        "is added",
        "Bưởi",
        "line 21, problem1, answer 1, bugs: the PDF cannot show 'ư' (U+01B0), 'ở'",
    ),
    "letters shown as others": (
        "Once",
        "ƒ ẞ",
        "line 23, problem1, answer 1, correction: the PDF cannot show 'ƒ' (U+0192), 'ẞ' (U+1E9E).",
    ),
    "an emoji": ("Once", "🙂", "line 23, problem1, answer 1, correction: the PDF cannot show '🙂'"),
    "an escape": (
        "Once",
        r"\beta",
        r"line 23, problem1, answer 1, correction: the PDF cannot show '\x08'",
    ),
    "no file": (
        "1  a.png",
        "2.png",
        "line 18, problem1, answer 1, screenshots: there is no file ai_tools/",
    ),
}


def fill_in(old, new, encoding="utf-8"):
    """A spoiler that fills in the student's file with something else, and builds the PDF."""

    def spoil(root):
        assert old in FILLED_IN
        (root / STUDENT).write_bytes(FILLED_IN.replace(old, new, 1).encode(encoding))
        write_pdf(root)

    return spoil


FILES = {
    "gone": (remove(STUDENT), "not readable (No such file"),
    "in latin-1": (fill_in("", "", "latin-1"), "line 2: not UTF-8"),
    "in UTF-16": (fill_in("", "", "utf-16"), "line 1: not UTF-8"),
    "screenshot that is none": (write(SCREENSHOT, "<html>"), "is no readable png, jpg or pdf"),
    "half a screenshot": (
        lambda root: os.truncate(root / SCREENSHOT, 2_000),
        "is no readable png, jpg or pdf",
    ),
    "PDF that is none": (write(SCREENSHOT, "%PDF"), "is no readable png, jpg or pdf"),
    "screenshot without an answer": (
        write("writeup/ai_tools/problem1/2.heic", ""),
        "ai_tools/problem1/2.heic: no answer names it",
    ),
    "screenshot in the wrong folder": (
        write("writeup/ai_tools/3.png", ""),
        "ai_tools/3.png: no answer names it",
    ),
}


FILES |= {name: (fill_in(old, new), reason) for name, (old, new, reason) in STUDENTS.items()}


@pytest.mark.parametrize("name", FILES)
def test_what_a_student_leaves_out_or_breaks_is_named(name, root, capsys):
    spoil, reason = FILES[name]
    spoil(root)
    printed = refusal(root, capsys)
    heading, *lines, last = printed.splitlines()
    assert heading == "For you to fill in, in writeup/student.toml (then make pdf):"
    assert last == "submission/ was left as it is."
    assert any(reason in line for line in lines), printed
    if "missing" not in reason and "not known" not in reason:  # a wrong key is missing too
        assert len(lines) == 1, printed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "\ufeff"),  # as Notepad saves
        ("\n", "\r\n"),
        ("Once.", "x\u200b \u202f \u2011 e\u0301"),
        (FILLED_IN[FILLED_IN.index("bugs =") :], f'{NONE} = "none"'),
    ],
    ids=["byte order mark", "Windows", "odd blanks", "no bugs, with a reason"],
)
def test_what_a_student_may_write(old, new, root):
    text = new + FILLED_IN if not old else FILLED_IN.replace(old, new)
    (root / STUDENT).write_bytes(text.encode())
    write_pdf(root)
    assert submission.main([str(root)]) == 0


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        (r"\{a}_b^c~#$%&", r"\textbackslash{}\{a\}\_b\textasciicircum{}c\textasciitilde{}\#\$\%\&"),
        ("a -- b << ''", "a -{}-{} b <{}<{} \\textquotesingle{}\\textquotesingle{}"),
        ('"d"', "\\textquotedbl{}d\\textquotedbl{}"),
        ("σ ≤ 1", "\\ensuremath{\\sigma} \\ensuremath{\\leq} 1"),
        ("\na\n  [b]\n\n \n c\n", "a\\newline\n\\hspace*{1.0em}[b]\n\n\\hspace*{0.5em}c"),
        ("xₙ⁻", "x\\textsubscript{n}\\textsuperscript{\\ensuremath{-}}"),
    ],
)
def test_what_a_student_writes_is_what_stands_there(text, tex):
    assert student.tex(text) == tex


# Other machines -----------------------------------------------------------------------------------


def test_a_console_that_lacks_letters(root):
    show(printed("/home/ada/→"))(root)
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, SCRIPT, root], capture_output=True, env=environment)
    assert done.returncode == 1 and b"/home/ada/?" in done.stdout and done.stderr == b""


@pytest.mark.parametrize("times", [1, 3, 100])
def test_a_file_that_another_program_holds(times, root, capsys, monkeypatch):
    """For a short time it is waited for, then it is named, and the older submission is left."""
    waits, rename = [], submission.Path.rename

    def held(path, target):
        if path.name == "new" and len(waits) < times:
            raise PermissionError("in use")
        return rename(path, target)

    monkeypatch.setattr(submission.Path, "rename", held)
    monkeypatch.setattr(submission.time, "sleep", waits.append)
    if times < 100:
        assert submission.main([str(root)]) == 0 and len(waits) == times
    else:
        assert "open in another" in refusal(root, capsys) and sum(waits) < 5


def test_all_problems_are_named_at_once(root, capsys):
    for spoil in (
        rerun(profile="quick"),
        say('"full"', '"quick"'),
        show(printed("@ada")),
        remove(PDF),
    ):
        spoil(root)
    (root / STUDENT).write_text(FILLED_IN.replace("Zoë O'Brien", "").replace("Once.", ""))
    printed_text = refusal(root, capsys)
    for reason in ("of the quick profile", "profile = 'quick'", "@ada", f"{PDF}: missing"):
        assert reason in printed_text
    for reason in ("name: empty", "correction: empty"):
        assert reason in printed_text
