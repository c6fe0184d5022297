"""A training that is killed continues when it is run again, and ends at the same figures; so do two at once."""

import json
import subprocess
import sys

from conftest import ROOT


def test_twenty_kills_at_random_moments_end_at_the_same_figures(tmp_path):
    command = [sys.executable, "tests/killed_training.py", str(tmp_path), "20"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = json.loads(output.splitlines()[-1])
    assert len(found["whole"]["figures"]) == found["epochs"]
    assert len(found["kills"]) == 20
    for kill in found["kills"]:
        assert kill["end"] == found["whole"], (
            f"killed at {kill['moment']:.0%}, with {kill['epochs']} epochs kept"
        )
    assert len({kill["epochs"] for kill in found["kills"]}) >= 4, (
        "the moments are spread over the training"
    )
    assert found["two at once"] == [found["whole"]] * 2
    assert list(tmp_path.glob("*/*.stale")) == [], "no checkpoint was damaged"
