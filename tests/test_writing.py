"""Writing: on a full or a read-only disk, or interrupted, the old file stays whole."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pypdf
import pytest
import torch

BIG = torch.zeros(100_000)
WRITERS = {
    "text": lambda partial: partial.write_text("new" * 100_000),
    "kept": lambda partial: torch.save(BIG, partial),
    "figure": lambda partial: plt.figure(figsize=(3, 2)).savefig(partial, format="pdf"),
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def write_through(problem3):
    return problem3.write_through


def only_the_old_file(folder):
    names = [path.name for path in folder.iterdir()]
    return names == ["file"] and (folder / "file").read_text() == "old"


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("options", ["size=4k", "ro"], ids=["full disk", "read-only disk"])
def test_the_old_file_stays_whole(write_through, small_disk, tmp_path, write, options):
    folder = tmp_path / "small"
    small_disk(folder, options.replace("ro", "size=4k"))
    (folder / "file").write_text("old")
    if options == "ro":
        small_disk(folder, "remount,ro")
    said = r"file was not written .*stood there before is kept\. 0 MB are free: make room"
    with pytest.raises(OSError, match=said):
        write_through(folder / "file", write)
    assert only_the_old_file(folder)


@pytest.mark.parametrize("reason", [KeyboardInterrupt, OSError, MemoryError])
def test_an_interrupted_write_leaves_the_old_file(write_through, tmp_path, reason):
    (tmp_path / "file").write_text("old")

    def half(partial):
        partial.write_text("ha")
        raise reason

    with pytest.raises(reason):
        write_through(tmp_path / "file", half)
    assert only_the_old_file(tmp_path)


@pytest.fixture
def running(problem3, tmp_path, monkeypatch):
    """Problem 3's definitions with what its cells set, in a kernel that has run two cells."""
    monkeypatch.chdir(tmp_path)
    history = SimpleNamespace(input_hist_raw=["", "first = 1\n", "second = 2"])
    kernel = SimpleNamespace(history_manager=history)
    values = {"output_dir": "out", "profile": "quick", "run": "0123abcd", "started": 0.0}
    values |= {"device": torch.device("cpu"), "get_ipython": lambda: kernel}
    for name, value in values.items():
        monkeypatch.setitem(problem3.save_results.__globals__, name, value)
    return problem3


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg")
def test_results_say_which_run_cells_and_figures_they_are_of(running, capsys):
    for name in ("p3_one", "p3_two", "p1_other"):
        plt.figure(figsize=(2, 1))
        running.save_figure(name)
    running.save_results("problem3", {"numbers": {"rows": 3}}, {"n": 1, "mean": np.float64(0.5)})
    (path,) = Path("out/results").iterdir()
    results = json.loads(path.read_text())
    assert results["cells"].split() == [
        hashlib.sha256(cell).hexdigest()[:8] for cell in (b"first = 1", b"second = 2")
    ]
    assert sorted(results["figures"]) == ["p3_one.pdf", "p3_two.pdf"]
    for name, digest in results["figures"].items():
        figure = Path("out/figures", name)
        assert hashlib.sha256(figure.read_bytes()).hexdigest().startswith(digest)
        assert pypdf.PdfReader(figure).metadata.subject == "run 0123abcd"
    assert (path.name, results["run"], results["profile"]) == ("problem3.json", "0123abcd", "quick")
    assert results["data"] == {"numbers": {"rows": 3}}
    assert results["metrics"] == {"n": 1, "mean": 0.5}
    assert {"python", "torch", "device", "threads"} <= set(results["environment"])
    assert len(results) == 8 and results["seconds"] > 0
    printed = capsys.readouterr().out
    assert "run 0123abcd" in printed
    assert f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" in printed


def test_results_are_written_whole_or_not_at_all(running):
    running.save_results("problem3", {}, {"n": 1})
    (path,) = Path("out/results").iterdir()
    before = path.read_bytes()
    with pytest.raises(TypeError):
        running.save_results("problem3", {}, {"n": object()})
    assert [path.read_bytes() for path in Path("out/results").iterdir()] == [before]
