"""The PDFs: the committed one of the full run, and the one of the quick runs."""

import hashlib
import re

import listings
import pypdf
import pytest
import submission
from conftest import ROOT


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


def test_nothing_is_undefined(pdf):
    text = "\n".join(page.extract_text() for page in pdf[2].pages)
    assert "??" not in text
    assert "[?]" not in text and "(?)" not in text


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


def test_the_committed_pdf_is_that_of_the_committed_results():
    keywords = pypdf.PdfReader(ROOT / "writeup/writeup.pdf").metadata["/Keywords"]
    for n in (1, 2, 3):
        digest = hashlib.md5((ROOT / f"writeup/results/problem{n}.tex").read_bytes()).hexdigest()
        assert f"problem{n}={digest.upper()}" in keywords


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
