"""What is kept between runs: its key changes with all that it depends on, and with no more."""

import ast
import contextlib
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import read_notebook, tags
from torch import nn

CELLS = [cell.source for cell in read_notebook("problem3_gnn").cells if cell.cell_type == "code"]
DEFINITIONS = [
    cell.source
    for cell in read_notebook("problem3_gnn").cells
    if tags(cell) & {"parameters", "definition"} or "\ndef predict(" in f"\n{cell.source}"
]


def cell_with(definition):
    """The source of the one cell of problem 3 that defines something."""
    (source,) = (cell for cell in CELLS if f"\ndef {definition}(" in f"\n{cell}")
    return source


IMPORTS = """
import dis, functools, hashlib, inspect, io, math, types
import numpy as np, pandas as pd, scipy.sparse, torch
from pathlib import Path
"""
PROGRAM = '''
RATES = {"slow": 0.1, "fast": 0.5}
KINDS = {"alpha", "beta", "gamma"}

def helper(x):
    return 2 * x

class Base:
    def inherited(self):
        return 1

class Model(Base):
    layers = 2

    def forward(self, x):
        """What it does."""
        return helper(x) + self.inherited()

    def __call__(self, x):
        return self.forward(x) + 10

    @staticmethod
    def static(x):
        return dict(low=x, high=20)

    @property
    def size(self):
        return self.layers + 30

@torch.no_grad()
def decorated(x):
    return x + 40

@functools.cache
def remembered(x):
    return x + 50

def adder(more):
    return lambda x: x + more

added = adder(60)

class Box:
    def __init__(self, content):
        self.content = content

def unused(x):
    return x

def train(steps=3, *, rate=0.1):
    # a comment
    model = Model()
    some = [model(i) * RATES["slow"] for i in range(steps) if i not in {"a", "b", "c"}]
    return decorated(remembered(added(some)))

def other(width, depth):
    """Unlike train, it takes two sizes."""
    return (lambda kind: kind in KINDS)(width) and width**2 + depth
'''


def key_of(program, things="train, other"):
    namespace = {"__name__": "notebook"}
    exec(IMPORTS + cell_with("fingerprint") + program + f"\nkey = fingerprint({things})", namespace)
    return namespace["key"]


CHANGES = {
    "a line of a function": ("some = [", "some = 2 * ["),
    "a number in a function": ("width**2", "width**3"),
    "a default": ("steps=3", "steps=4"),
    "a default by keyword": ("rate=0.1", "rate=0.2"),
    "a constant that is read": ('"slow": 0.1', '"slow": 0.2'),
    "a set that is read": ('"gamma"', '"delta"'),
    "a set in a function": ('{"a", "b", "c"}', '{"a", "b", "d"}'),
    "a method of a class": ("helper(x) + ", "helper(x) - "),
    "a method of a base class": ("return 1\n", "return 0\n"),
    "an attribute of a class": ("layers = 2", "layers = 3"),
    "a helper of a class": ("2 * x", "3 * x"),
    "what a call does": ("+ 10", "+ 11"),
    "a static method": ("high=20", "high=21"),
    "which keyword is which": ("low=x, high=20", "high=x, low=20"),
    "a property": ("+ 30", "+ 31"),
    "a decorated function": ("+ 40", "+ 41"),
    "a function with a memory": ("+ 50", "+ 51"),
    "a value that is closed over": ("adder(60)", "adder(61)"),
    "a call of another library function": ("depth\n", "math.sqrt(depth)\n"),
    "which argument is which": (
        "other(width, depth):\n    return (lambda kind: kind in KINDS)(width) and width**2 + depth",
        "other(depth, width):\n    return (lambda kind: kind in KINDS)(depth) and depth**2 + width",
    ),
}


@pytest.mark.parametrize("old, new", CHANGES.values(), ids=CHANGES)
def test_a_key_changes_with_the_code(old, new):
    program = PROGRAM.replace('    """Unlike train, it takes two sizes."""\n', "")
    changed = program.replace(old, new)
    assert changed != program and key_of(changed) != key_of(program)


SAME = {
    "nothing": ("", ""),
    "a docstring": ("What it does.", "What it does, in other words."),
    "a docstring less": ('"""What it does."""\n        ', ""),
    "a comment": ("# a comment", "# another comment\n"),
    "blank lines": ("    model = ", "\n\n    model = "),
    "brackets": ("return 2 * x", "return (\n        2 * x\n    )"),
    "a function that is not used": ("return x\n\ndef train", "return -x\n\ndef train"),
    "a function more": ("def unused", "def new():\n    return 0\n\ndef unused"),
}


@pytest.mark.parametrize("old, new", SAME.values(), ids=SAME)
def test_a_key_does_not_change_with_anything_else(old, new):
    changed = PROGRAM.replace(old, new)
    assert (changed != PROGRAM or not old) and key_of(changed) == key_of(PROGRAM)


OPTIMIZER = """
class Steps(torch.optim.Optimizer):
    def __init__(self, weights):
        super().__init__(weights, {})

    @torch.no_grad()
    def step(self):
        return 70
"""


def test_a_key_does_not_change_when_an_optimizer_is_made():
    """torch decorates the step of an optimizer's class when the first one of it is made."""
    made = OPTIMIZER + "\nSteps([torch.zeros(1, requires_grad=True)])\n"
    keys = [key_of(PROGRAM + program, "Steps") for program in (OPTIMIZER, made)]
    assert keys[0] == keys[1] != key_of(PROGRAM + made.replace("70", "71"), "Steps")


VALUES = {
    "numbers": ("dict(rate=0.1, steps=40)", "dict(rate=0.2, steps=40)"),
    "names": ("dict(rate=0.1)", "dict(late=0.1)"),
    "neighbours": ("[1, 23]", "[12, 3]"),
    "nested": ("[[1, 2], [3]]", "[[1], [2, 3]]"),
    "a number and its text": ("[1]", "['1']"),
    "truth and one": ("dict(targets=True)", "dict(targets=1)"),
    "an element of an array": ("np.arange(5000)", "np.r_[:2500, 0, 2501:5000]"),
    "the type of an array": ("np.zeros(2, 'i4')", "np.zeros(1, 'i8')"),
    "the shape of an array": ("np.zeros((2, 3))", "np.zeros((3, 2))"),
    "an element of a tensor": ("torch.zeros(9, 9)", "torch.eye(9)"),
    "functions": ("train", "other"),
    "library functions": ("np.sin", "np.cos"),
}


@pytest.mark.parametrize("one, other", VALUES.values(), ids=VALUES)
def test_a_key_changes_with_a_value(one, other):
    assert key_of(PROGRAM, one) == key_of(PROGRAM, one)
    assert key_of(PROGRAM, one) != key_of(PROGRAM, other)


@pytest.mark.parametrize(
    "one, other",
    [
        ("pd.Series(np.zeros(5000))", "pd.Series(np.arange(5000) == 2500.0)"),
        ("scipy.sparse.eye(9)", "2 * scipy.sparse.eye(9)"),
        ("types.SimpleNamespace(a=np.arange(5000))", "types.SimpleNamespace(a=np.zeros(5000))"),
        ("Box(1)", "Box(2)"),
    ],
    ids=["table", "sparse matrix", "namespace", "object"],
)
def test_what_a_key_cannot_read_whole_is_refused(one, other):
    """No key may come of a text that leaves something out, or that holds an address."""
    with contextlib.suppress(TypeError):
        assert key_of(PROGRAM, one) == key_of(PROGRAM, one) != key_of(PROGRAM, other)


def test_a_key_is_the_same_in_every_process():
    program = IMPORTS + f"__name__ = 'notebook'\n{cell_with('fingerprint')}{PROGRAM}"
    program += "\nprint(fingerprint(train, other, KINDS, [True, None, 0.1, 'é', {'a', 1}, np.sin]))"
    keys = set()
    for seed in "012":
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program]
        keys.add(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    assert len(keys) == 1 and len(keys.pop().strip()) == 16


def changed_at(name):
    """The cells of definitions with an assignment more in the function or `Class.method` `name`."""
    *outer, inner = name.split(".")
    cells, found = [], 0
    for source in DEFINITIONS:
        tree = ast.parse(source)
        body = tree.body
        for cls in outer:
            body = [n for c in body if getattr(c, "name", "") == cls for n in c.body]
        for node in body:
            if isinstance(node, ast.FunctionDef) and node.name == inner:
                node.body.insert(1, ast.parse("changed = 1").body[0])
                found += 1
        cells.append(ast.unparse(ast.fix_missing_locations(tree)))
    assert found == 1, f"{name} stands once in the notebook"
    return cells


def key_of_predict(
    cells=DEFINITIONS, model="ours", data="0", seed=1, train=6, setting="asked", **recipe
):
    """The key under which problem 3 keeps the prediction of a model."""
    namespace, kept = {"__name__": "problem3", "digests": {"chameleon": data}}, []
    for cell in cells:
        exec(cell, namespace)

    def cached(name, key, compute):
        kept.append((name, key))
        return {"predicted": torch.zeros(1), "seconds": 0.0}

    namespace |= {"cached": cached, "device": torch.device("cpu"), "tasks": {}}
    recipe = namespace["drawn_recipes"](model, 1)[0] | recipe
    namespace["predict"]("chameleon", setting, model, seed, np.arange(train), recipe)
    return kept


@pytest.fixture(scope="module")
def keys():
    return {model: key_of_predict(model=model) for model in ("ours", "gcn", "copy")}


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("fit_ours", {"ours"}),
        ("TargetAttention.forward", {"ours"}),
        ("TargetAttention.__init__", {"ours"}),
        ("set_medians", {"ours", "copy"}),
        ("Network.forward", {"gcn"}),
        ("fit_trees", {"copy"}),
        ("numbers_of", {"ours", "gcn", "copy"}),
        ("visible_targets", {"ours", "gcn", "copy"}),
        ("Pages.__init__", {"ours", "gcn", "copy"}),
        ("equal_rows", {"ours", "gcn", "copy"}),
        ("make_task", {"ours", "gcn", "copy"}),
        ("build_raw_file", set()),
        ("save_figure", set()),
        ("find_data", set()),
        ("refine", set()),
        ("paired", set()),
        ("fit_ridge", {"copy"}),
        ("save_results", set()),
    ],
)
def test_only_what_a_model_uses_changes_its_key(keys, name, models):
    cells = changed_at(name)
    assert {m for m in keys if key_of_predict(cells, m) != keys[m]} == models


@pytest.mark.parametrize(
    ("name", "value"),
    {"seed": 2, "train": 7, "data": "1", "setting": "distinct", "steps": 41, "rate": 0.3}.items(),
)
def test_a_fit_of_something_else_has_another_key(keys, name, value):
    assert key_of_predict(**{name: value}) != keys["ours"]
    assert key_of_predict() == keys["ours"], "of the same: the same"


def result(calls=None):
    """What a fit might keep."""
    if calls is not None:
        calls.append(1)
    return {"predicted": torch.arange(5000.0), "seconds": 1.5, "log": [{"loss": 0.5}]}


def same(kept):
    expected = result()
    return torch.equal(kept.pop("predicted"), expected.pop("predicted")) and kept == expected


@pytest.fixture
def cached(problem3, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return problem3.cached


def test_what_is_kept_is_computed_once(cached):
    calls = []
    for _ in range(3):
        assert same(cached("fit", "a", lambda: result(calls)))
    assert len(calls) == 1
    assert same(cached("fit", "b", lambda: result(calls))) and len(calls) == 2, "another key"
    assert [path.name for path in sorted(Path("build/kept").iterdir())] == ["fit-a.pt", "fit-b.pt"]


def flipped(share):
    """Flips the byte at a share of a file."""

    def flip(content):
        place = int(share * (len(content) - 1))
        return content[:place] + bytes([255 - content[place]]) + content[place + 1 :]

    return flip


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"\0",
    "another file": lambda content: b"<html>404</html>" * 100,
    **{f"a byte at {share}": flipped(share) for share in (0, 0.001, 0.25, 0.5, 0.75, 1)},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_set_aside_and_made_anew(cached, capsys, damage):
    cached("fit", "a", result)
    path = Path("build/kept/fit-a.pt")
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    calls = []
    assert same(cached("fit", "a", lambda: result(calls))) and calls
    assert "fit-a.pt was damaged" in capsys.readouterr().out
    assert path.with_suffix(".damaged").read_bytes() == damaged
    assert same(cached("fit", "a", lambda: result(calls))) and len(calls) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("reason", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_computation_leaves_nothing(cached, tmp_path, reason):
    def interrupted():
        raise reason

    with pytest.raises(reason):
        cached("fit", "a", interrupted)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert same(cached("fit", "a", result))


def test_a_full_disk_is_named(cached, small_disk, tmp_path):
    small_disk(tmp_path / "build/kept", "size=4k")
    with pytest.raises(OSError, match=r"fit-a\.pt was not written .*MB are free"):
        cached("fit", "a", result)
    assert list((tmp_path / "build/kept").iterdir()) == []


def test_two_at_once_both_have_it(cached):
    def run(queue):
        queue.put(all(same(cached("fit", f"{i}", result)) for i in range(50)))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=run, args=(queue,)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [True, True]
    for process in processes:
        process.join()
    assert len(list(Path("build/kept").iterdir())) == 50


@pytest.fixture
def train(problem2, tmp_path):
    """A training of 3 epochs; train(name, key, stop) -> the epochs run now, (weights, log)."""

    def train(name="whole", key="a", stop=None, seed=0):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = torch.optim.Adam(model.parameters(), 0.1)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        log, run, parts = [], [], (model, optimizer, schedule)
        for epoch in problem2.resumable(3, tmp_path / name, key, log, *parts):
            run.append(epoch)
            for _ in range(4):
                loss = (model(torch.randn(16, 4)) - 1).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if epoch == stop:
                raise KeyboardInterrupt
            schedule.step()
            log.append({"loss": loss.item(), "rate": schedule.get_last_lr()[0]})
        random = torch.get_rng_state()
        return run, SimpleNamespace(log=log, weights=model.state_dict(), random=random)

    return train


def assert_same_end(one, other):
    assert one.log == other.log and len(one.log) == 3
    assert torch.equal(one.random, other.random)
    for name, value in one.weights.items():
        assert torch.equal(value, other.weights[name]), name


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_a_stopped_training_ends_at_the_same_weights(train, capsys, stop):
    run, whole = train()
    assert run == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt):
        train("stopped", stop=stop)
    run, again = train("stopped", seed=1)
    assert run == [0, 1, 2][stop:]
    assert (f"stopped-a.pt: {stop} of 3 epochs are done" in capsys.readouterr().out) == (stop > 0)
    if stop:
        assert_same_end(again, whole)
    run, ended = train("stopped", seed=2)
    assert run == [] and "3 of 3 epochs are done" in capsys.readouterr().out
    assert_same_end(ended, again)


def test_another_key_trains_anew_and_loses_nothing(train):
    _, whole = train(key="a")
    assert train(key="b")[0] == [0, 1, 2]
    run, again = train(key="a")
    assert run == []
    assert_same_end(again, whole)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_training_is_named_and_made_anew(train, tmp_path, capsys, damage):
    _, whole = train()
    path = tmp_path / "whole-a.pt"
    path.write_bytes(damage(path.read_bytes()))
    run, again = train()
    assert run == [0, 1, 2] and path.with_suffix(".damaged").exists()
    assert "whole-a.pt was damaged" in capsys.readouterr().out
    assert_same_end(again, whole)


def test_an_epoch_that_finds_no_room_is_named(train, small_disk, tmp_path):
    small_disk(tmp_path / "full", "size=4k")
    with pytest.raises(OSError, match=r"training-a\.pt was not written .*MB are free"):
        train("full/training")
    assert list((tmp_path / "full").iterdir()) == []
