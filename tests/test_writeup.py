"""The PDFs: the committed one of the full run, and the one of the quick runs."""

import os
import re
import subprocess
import unicodedata

import listings
import matplotlib.pyplot as plt
import pypdf
import pytest
import student
import submission
from conftest import ROOT

POINTS = {
    "1(a)": "1/15",
    "1(b)": "1/15",
    "1(c)": "1/15",
    "1(d)": "1/15",
    "2(a)": "0.5/15 + 0.5/15",
    "2(b)": "1/15",
    "2(c)": "1/15 + 0.5/15",
    "2(d)": "1/15",
    "2(e)": "1.5/15",
    "3(a)": "1/15",
    "3(b)": "2/15",
    "3(c)": "2/15",
}


@pytest.fixture(scope="module", params=["committed", "quick"])
def pdf(request):
    path = (
        ROOT / "writeup/writeup.pdf"
        if request.param == "committed"
        else request.getfixturevalue("quick_pdf")
    )
    return request.param, path, pypdf.PdfReader(path)


def test_every_question_opens_a_page_of_its_own(pdf):
    pages = submission.question_pages(pdf[2])
    assert list(pages) == submission.QUESTIONS
    starts = [first for first, _ in pages.values()]
    assert len(set(starts)) == len(starts)
    assert starts == sorted(starts)
    for question, page in zip(pages, starts, strict=True):
        assert question in pdf[2].pages[page - 1].extract_text()


def test_points_stand_beside_each_question_and_in_the_contents(pdf):
    contents = pdf[2].pages[0].extract_text()
    for question, (first, _) in submission.question_pages(pdf[2]).items():
        for text in contents, pdf[2].pages[first - 1].extract_text():
            (line,) = re.findall(rf"^.*{re.escape(question)}.*$", text, re.M)
            assert f"({POINTS[question]})" in line
    for problem, points in {"1": "4/15", "2": "6/15", "3": "5/15"}.items():
        assert re.search(rf"Problem {problem}: .*\({points}\)", contents)


def test_nothing_is_undefined(pdf):
    text = "\n".join(page.extract_text() for page in pdf[2].pages)
    assert "??" not in text
    assert "[?]" not in text and "(?)" not in text


def test_no_page_is_less_than_half_full():
    """But the last of a problem, and of the references; measured to the lowest word of a page."""
    path = ROOT / "writeup/writeup.pdf"
    words = subprocess.run(["pdftotext", "-bbox", path, "-"], check=True, capture_output=True)
    lowest = [
        max(y for y in map(float, re.findall(r'yMax="([\d.]+)"', page)) if y < 722)
        for page in words.stdout.decode().split("<page ")[1:]
    ]  # in points from the top; text stands between 72 and 720
    pages = submission.question_pages(pypdf.PdfReader(path))
    ends = [pages[question][1] for question in ("1(d)", "2(e)", "3(c)")]
    short = {page for page, y in enumerate(lowest, 1) if (y - 72) / 648 < 0.5}
    assert short <= {*ends, len(lowest)}


@pytest.mark.parametrize("section", ["problem1", "problem2", "problem3"])
def test_text_in_figures_is_legible_on_paper(section):
    """At least 7 points, as the figure is scaled on a line of 6.5 inches."""
    tex = (ROOT / f"writeup/sections/{section}.tex").read_text()
    figures = re.findall(r"\\includegraphics\[width=([\d.]*)\\linewidth\]\{(\w+)\}", tex)
    assert figures and len(figures) == tex.count(r"\includegraphics")
    for width, name in figures:
        page = pypdf.PdfReader(ROOT / f"writeup/figures/{name}.pdf").pages[0]
        sizes = map(float, re.findall(rb"([\d.]+) Tf", page.get_contents().get_data()))
        assert min(sizes) * 468 * float(width or 1) / float(page.mediabox.width) > 7, name


def test_fonts_are_embedded(pdf):
    found = [font for page in pdf[2].pages for font in submission.fonts(page["/Resources"])]
    assert found
    for font in found:
        assert submission.is_embedded(font), font.get("/BaseFont")


def test_only_the_quick_pdf_says_that_it_is_not_for_submission(pdf):
    kind, _, reader = pdf
    for page in reader.pages:
        assert ("not for submission" in page.extract_text()) == (kind == "quick")


def test_size(pdf):
    assert pdf[1].stat().st_size < 5_000_000


def test_latex_had_nothing_to_complain_about(quick_pdf):
    log = (ROOT / "build/latex/build/test/writeup.log").read_text(errors="replace")
    assert "undefined" not in log
    overfull = [float(points) for points in re.findall(r"Overfull \\[hv]box \((\d+\.\d+)pt", log)]
    assert all(points <= 5 for points in overfull), overfull


def test_what_is_committed_passes_the_preflight():
    """All but what the student has to fill in."""
    assert submission.preflight(ROOT)[0] == []


def test_the_listings_are_those_of_the_notebooks():
    shown = {(notebook, name) for notebook, names in listings.LISTINGS.items() for name in names}
    assert {path.stem for path in listings.FOLDER.iterdir()} == {name for _, name in shown}
    for notebook, name in shown:
        assert (listings.FOLDER / f"{name}.txt").read_text(encoding="utf-8") == listings.listing(
            notebook, name
        )
        assert (
            f"\\listing{{{name}}}"
            in (ROOT / f"writeup/sections/{notebook.partition('_')[0]}.tex").read_text()
        )


def test_a_listing_is_the_code_without_its_docstrings():
    source = 'class A:\n    """What."""\n\n    def f(self, x):\n        """How."""\n        return "x"  # kept\n'
    assert listings.find_definition(source, "A.f") == 'def f(self, x):\n    return "x"  # kept\n'
    assert listings.find_definition(source, "A.g") is None
    with pytest.raises(LookupError, match="Nowhere"):
        listings.listing("problem3_gnn", "Nowhere")


@pytest.mark.parametrize("section", ["problem1", "problem2", "problem3"])
def test_every_figure_is_spoken_of(section):
    text = (ROOT / f"writeup/sections/{section}.tex").read_text()
    figures = re.findall(r"\\begin\{figure\}.*?\\end\{figure\}", text, re.S)
    labels = [re.findall(r"\\label\{(fig:\w+)\}", figure) for figure in figures]
    assert figures and all(len(label) == 1 for label in labels)
    for (label,) in labels:
        assert re.search(rf"\\[cC]ref\{{{label}\}}", text), label


# The student's part ---------------------------------------------------------------------------------------------------

ALL_LETTERS = student.clean("".join(filter(student.LETTERS.match, map(chr, range(32, 0x3000)))))
ANSWER = {
    "screenshots": ["a b.c & ü.png", "two.pdf"],
    "bugs": f"{ALL_LETTERS}\n\n{''.join(student.SIGNS[::2])}",
    "correction": "[1] x -- y\n  *z*\n\n" + "https://example.org/" + 60 * "x" + r" \beta ``a''",
}
FILLED_IN = {
    "name": r"Zoë O'Brien & \Łukasz {x}",
    "id": "a_1",
    "problem1": {"collaborators": "none", "ai_tools": "50 % #1 $", "answers": [ANSWER]},
    "problem2": {"collaborators": "", "ai_tools": "Claude", "answers": []},
    "problem3": {"collaborators": "none", "ai_tools": "none", "answers": []},
}


@pytest.fixture(scope="module")
def students_pages(tmp_path_factory):
    """The writeup with nothing but the student's part: (text of the PDF, its reader, LaTeX's log)."""
    folder = tmp_path_factory.mktemp("student")
    pictures = folder / "ai_tools/problem1"
    pictures.mkdir(parents=True)
    for name in ANSWER["screenshots"]:
        plt.figure(figsize=(7, 5)).savefig(pictures / name)
        plt.close()
    text, copies = student.document(folder, FILLED_IN)
    (folder / "student.tex").write_text(text, encoding="utf-8")
    (folder / "screenshots").mkdir()
    for name, path in copies.items():
        (folder / "screenshots" / name).write_bytes(path.read_bytes())
    writeup = (ROOT / "writeup/writeup.tex").read_text(encoding="utf-8")
    body = "".join(f"\\acknowledgements{{{n}}}\n" for n in (1, 2, 3))
    head = writeup.partition("\\tableofcontents")[0]
    path = folder / "pages.tex"
    path.write_text(f"\\def\\builddir{{{folder}}}\n{head}\n{body}\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", f"-output-directory={folder}", path]
    done = subprocess.run(command, cwd=ROOT / "writeup", capture_output=True)
    log = (folder / "pages.log").read_text(errors="replace")
    assert done.returncode == 0, re.findall(r"^!.*", log, re.M)
    reader = pypdf.PdfReader(folder / "pages.pdf")
    return " ".join(" ".join(p.extract_text() for p in reader.pages).split()), reader, log


def test_every_letter_that_is_let_through_is_set(students_pages):
    """And as itself: neither left out nor replaced. An accent may stand apart from its letter."""
    text, _, log = students_pages
    parts = set(unicodedata.normalize("NFKD", text.replace("Ð", "ÐĐ")))  # one glyph in T1
    lost = [c for c in ALL_LETTERS if not parts.intersection(unicodedata.normalize("NFKD", c))]
    assert lost == []
    assert "Missing character" not in log and "Token not allowed" not in log
    assert [float(points) for points in re.findall(r"Overfull \\hbox \((\d+\.\d+)pt", log)] == []


def test_the_students_part_is_shown(students_pages):
    text, reader, _ = students_pages
    assert "Łukasz" in text and "student id a_1" in text
    assert "AI tools: 50 % #1 $" in text and r"\beta" in text
    assert text.count("(to be filled in by the student)") == 1
    assert reader.metadata.author.startswith(r"Zoë O'Brien & \Łukasz")
    assert sum(len(page.images) or "/Fm1" in str(page["/Resources"]) for page in reader.pages) > 0


def test_a_latex_that_is_too_old_is_named(tmp_path):
    """kpsewhich finds a siunitx of version 2."""
    old = tmp_path / "siunitx.sty"
    old.write_text("\\ProvidesExplPackage {siunitx} {2021-04-17} {2.8e}\n")
    (tmp_path / "kpsewhich").write_text(f"#!/bin/sh\necho {old}\n")
    (tmp_path / "kpsewhich").chmod(0o755)
    here = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["make", "latex"], cwd=ROOT, env=here, capture_output=True, text=True)
    assert done.returncode != 0
    assert "This LaTeX is too old: its siunitx is 2.8e, 3.0 is needed" in done.stdout
