"""Turn results into LaTeX macros: python writeup/macros.py FOLDER

For each FOLDER/problemN.json that is there, FOLDER/problemN.tex with one \\defresult a value.
"""

import json
import sys
from pathlib import Path

ESCAPE = str.maketrans({character: f"\\{character}" for character in "#$%&_{}"})


def macros(problem, results):
    """The text of problemN.tex."""
    sources = ", ".join(record["source"] for record in results["data"].values())
    run = {"profile": results["profile"], "sources": sources, "seconds": results["seconds"]}
    values = run | results["environment"] | results["metrics"]
    return "".join(
        f"\\defresult{{{problem}}}{{{k}}}{{{str(v).translate(ESCAPE)}}}\n"
        for k, v in values.items()
    )


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).glob("problem*.json")):
        text = macros(path.stem, json.loads(path.read_text(encoding="utf-8")))
        partial = path.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path.with_suffix(".tex"))
