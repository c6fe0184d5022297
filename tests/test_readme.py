"""The README's results table against the results files, and its commands against the Makefile."""

import re

import readme_table
from conftest import ROOT


def test_results_table_is_that_of_the_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme_table.ROW.findall(text)) >= 10
    assert readme_table.fill(text, readme_table.read_results(ROOT / "writeup" / "results")) == text


def test_every_command_named_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make (\w+)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert re.search(rf"^{target}:", makefile, re.M), target
