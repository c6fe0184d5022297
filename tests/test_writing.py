"""What is written goes through write_through: on a full or read-only disk, or interrupted, the old file stays whole."""

import json
import os

import matplotlib.pyplot as plt
import pytest
import torch

BIG = torch.zeros(100_000)
WRITERS = {
    "text": lambda partial: partial.write_text("new" * 100_000),
    "checkpoint": lambda partial: torch.save(BIG, partial),
    "figure": lambda partial: plt.figure(figsize=(3, 2)).savefig(partial, format="pdf"),
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def only_the_old_file(folder):
    return [path.name for path in folder.iterdir()] == ["file"] and (folder / "file").read_text() == "old"


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("options", ["size=4k", "ro"], ids=["full disk", "read-only disk"])
def test_the_old_file_stays_whole(problem3, small_disk, tmp_path, write, options):
    folder = tmp_path / "small"
    small_disk(folder, options.replace("ro", "size=4k"))
    (folder / "file").write_text("old")
    if options == "ro":
        small_disk(folder, "remount,ro")
    with pytest.raises(OSError, match=r"file was not written .*stood there before is kept\. 0 MB are free: make room"):
        problem3.write_through(folder / "file", write)
    assert only_the_old_file(folder)


@pytest.mark.parametrize("reason", [KeyboardInterrupt, OSError, MemoryError])
def test_an_interrupted_write_leaves_the_old_file(problem3, tmp_path, reason):
    (tmp_path / "file").write_text("old")

    def half(partial):
        partial.write_text("ha")
        raise reason

    with pytest.raises(reason):
        problem3.write_through(tmp_path / "file", half)
    assert only_the_old_file(tmp_path)


def test_what_a_killed_run_left_is_removed_once_it_is_old(problem3, tmp_path):
    old, other, young = (tmp_path / f".partial-{name}" for name in ("1-file", "1-other", "2-file"))
    for path in (old, other, young):
        path.write_text("ha")
    for path in (old, other):
        os.utime(path, (0, 0))
    problem3.write_through(tmp_path / "file", lambda partial: partial.write_text("new"))
    assert not old.exists() and other.exists() and young.exists(), "a young one may be another run's"
    assert (tmp_path / "file").read_text() == "new"


def test_results_are_written_whole_or_not_at_all(problem3, small_disk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(problem3.save_results.__globals__, "output_dir", "out")
    monkeypatch.setitem(problem3.save_results.__globals__, "profile", "quick")
    problem3.save_results("problem3", {}, {}, 1.0, {"n": 1})
    before = {path.name: path.read_bytes() for path in (tmp_path / "out/results").iterdir()}
    assert json.loads(before["problem3.json"])["metrics"] == {"n": 1}
    with pytest.raises(TypeError):
        problem3.save_results("problem3", {}, {}, 1.0, {"n": object()})
    assert {path.name: path.read_bytes() for path in (tmp_path / "out/results").iterdir()} == before


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "another file"])
def test_a_damaged_checkpoint_is_set_aside_not_trusted(problem1, tmp_path, damage, capsys):
    path, fingerprint = tmp_path / "training.pt", {"seed": 1}
    torch.save({"fingerprint": fingerprint, "history": list(range(1000))}, path)
    good = path.read_bytes()
    middle = len(good) // 2
    flipped = good[:middle] + bytes(255 - byte for byte in good[middle : middle + 200]) + good[middle + 200 :]
    path.write_bytes({"empty": b"", "cut": good[:middle], "flipped": flipped, "another file": b"<html>"}[damage])
    assert problem1.load_checkpoint(path, fingerprint, "cpu") is None
    assert not path.exists() and path.with_suffix(".stale").exists()
    assert "training.pt was moved to training.stale" in capsys.readouterr().out


def test_a_checkpoint_of_other_settings_is_set_aside(problem1, tmp_path, capsys):
    path = tmp_path / "training.pt"
    torch.save({"fingerprint": {"seed": 1}}, path)
    assert problem1.load_checkpoint(path, {"seed": 2}, "cpu") is None
    assert "other settings, data or code" in capsys.readouterr().out


def test_the_wall_time_counts_what_earlier_runs_spent(problem1, tmp_path, monkeypatch):
    monkeypatch.setitem(problem1.save_results.__globals__, "output_dir", tmp_path)
    monkeypatch.setitem(problem1.save_results.__globals__, "profile", "quick")
    monkeypatch.setitem(problem1.save_results.__globals__, "earlier_seconds", [])
    path, kept = tmp_path / "training.pt", {"fingerprint": {"seed": 1}, "seconds": 60.0, "history": [1, 2]}
    torch.save(kept, path)
    assert problem1.load_checkpoint(path, {"seed": 1}) == kept
    problem1.save_results("problem1", {}, {}, 1.0, {})
    assert json.loads((tmp_path / "results/problem1.json").read_text())["seconds"] == 61
