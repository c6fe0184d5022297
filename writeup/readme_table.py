"""Fill the results table of README.md from writeup/results/*.json.

A row of the table ends in the name of its metric, `problemN.metric`, and its format in brackets;
the cell before it receives the value.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROW = re.compile(
    r"^(\| .* \| )(.*?)( \| `(problem[123])\.(\w+)`(?: \((%|\.\d)\))? \|)$", re.MULTILINE
)


def show(value, style):
    """A metric: "%" a percentage with two decimals, ".d" with d decimals, else an integer."""
    if style == "%":
        return f"{100 * value:.2f} %"
    return f"{value:{style}f}" if style else f"{value:,}"


def fill(text, results):
    """Return the README's text with every row of the results table filled in."""

    def fill_row(row):
        before, _, after, problem, metric, style = row.groups()
        return before + show(results[problem]["metrics"][metric], style) + after

    return ROW.sub(fill_row, text)


def read_results(folder):
    return {
        problem: json.loads((folder / f"{problem}.json").read_text())
        for problem in ("problem1", "problem2", "problem3")
    }


if __name__ == "__main__":
    readme = ROOT / "README.md"
    partial = readme.with_suffix(".partial")
    partial.write_text(
        fill(readme.read_text(encoding="utf-8"), read_results(ROOT / "writeup" / "results")),
        encoding="utf-8",
    )
    partial.replace(readme)
