"""A training that is killed goes on when it is run again, to the same end; so do two at once."""

import json
import subprocess
import sys

from conftest import ROOT


def test_twenty_kills_at_random_moments_end_at_the_same_figures(tmp_path):
    command = [sys.executable, "tests/killed_training.py", str(tmp_path), "20"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = json.loads(output.splitlines()[-1])
    assert len(found["whole"]["figures"]) == 6
    assert found["killed"] == [found["whole"]] * 20
    assert len(set(found["kept"])) >= 4, "the moments are spread over the training"
    assert found["shared"] == [found["whole"]] * 2
    assert list(tmp_path.rglob("*.damaged")) == []
