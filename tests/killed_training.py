"""Kill trainings at random moments and run them again: python tests/killed_training.py FOLDER TIMES

Prints JSON: how a training ends that is left alone; how each of the killed ones does, and how many
of its rounds had been kept; how two do that run at once in one folder. Each is a process of its
own, forked before any gradient is computed.
"""

import hashlib
import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch._dynamo  # else each training imports it, for longer than it trains
from conftest import load_definitions

ROUNDS = 6


def train(problem1):
    """A small training that is kept in this folder; its end is the last line of the output."""
    small = {"device": torch.device("cpu"), "PAIRS": 2**10}
    problem1.classifier.__globals__.update(small)
    rng, vocabulary = random.Random(0), {f"word{i}": i for i in range(1, 401)}
    documents = [" ".join(rng.choices([*vocabulary], k=8)) for _ in range(400)]
    tweets = problem1.Tweets(documents, ["word7" in text for text in documents], vocabulary)
    vectors = torch.randn(401, 8, generator=torch.Generator().manual_seed(0))
    data = SimpleNamespace(train=tweets, val=tweets, vectors=vectors)
    recipe = problem1.RECIPE | {"hidden": 16, "batch": 16, "epochs": 3, "rounds": ROUNDS // 3}
    model, log = problem1.classifier(data, recipe, name="killed")
    weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    figures = [[one["loss"], one["accuracy"]] for one in log]
    print(json.dumps({"figures": figures, "weights": hashlib.sha256(weights).hexdigest()}))


def start(problem1, folder):
    """Fork a process that trains in a folder, its output in a file there; return its id."""
    folder.mkdir(exist_ok=True)
    if pid := os.fork():
        return pid
    os.chdir(folder)
    os.dup2(os.open(f"{os.getpid()}.txt", os.O_CREAT | os.O_WRONLY), 1)
    try:
        train(problem1)
    finally:
        sys.stdout.flush()
        os._exit(0)


def end(folder, pid):
    """How a training ended, and how many rounds an earlier one had kept."""
    os.waitpid(pid, 0)
    text = (folder / f"{pid}.txt").read_text()
    kept = re.search(rf"(\d+) of {ROUNDS} epochs are done", text)
    return json.loads(text.splitlines()[-1]), int(kept[1]) if kept else 0


def main(folder, times):
    torch.set_num_threads(1)
    problem1, rng = load_definitions("problem1_rnn"), random.Random(0)
    begin = time.monotonic()
    whole, _ = end(folder / "whole", start(problem1, folder / "whole"))
    seconds, killed, kept = time.monotonic() - begin, [], []
    for number in range(times):
        where = folder / f"killed{number}"
        pid = start(problem1, where)
        time.sleep(rng.random() * seconds)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        ended, rounds = end(where, start(problem1, where))
        killed, kept = [*killed, ended], [*kept, rounds]
    pids = [start(problem1, folder / "shared") for _ in range(2)]
    shared = [end(folder / "shared", pid)[0] for pid in pids]
    print(json.dumps({"whole": whole, "killed": killed, "kept": kept, "shared": shared}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
