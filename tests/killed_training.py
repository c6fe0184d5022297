"""Kill trainings with SIGKILL at random moments and run them again: python tests/killed_training.py FOLDER TIMES

Prints JSON: how the training ends when it is left alone; for each kill the moment (share of its time), the epochs that
were kept, and how it ended; how two end that run at once with one checkpoint file. Every training runs in a process of
its own, forked before any gradient is computed.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from conftest import load_definitions

EPOCHS = 6


def train(problem1, folder, end_file):
    """A small training that keeps its checkpoint in `folder`; how it ended goes to folder/end_file."""
    rng = np.random.default_rng(0)
    words, worth = np.array([f"word{i}" for i in range(400)]), rng.normal(size=400)
    chosen = rng.integers(0, 400, (1200, 8))
    documents, labels = [" ".join(row) for row in words[chosen]], worth[chosen].sum(axis=1) > 0
    reader = problem1.Reader(str.split, documents, 1)
    tweets = reader.read(documents, labels)
    torch.manual_seed(0)
    vectors = 0.1 * torch.randn(len(reader.vocabulary), 16)
    model = problem1.TweetClassifier(vectors, 0, hidden=32)
    path = folder / "training.pt"
    history = problem1.train_classifier(
        model, tweets, tweets, torch.device("cpu"), path, {"seed": 1}, EPOCHS, 16
    )
    weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    figures = [[entry["loss"], entry["val_accuracy"]] for entry in history]
    end = {"figures": figures, "weights": hashlib.sha256(weights).hexdigest()}
    problem1.write_through(folder / end_file, lambda partial: partial.write_text(json.dumps(end)))


def start(problem1, folder, end_file="end.json"):
    """Fork a process that trains; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    os.dup2(os.open(folder / "log.txt", os.O_CREAT | os.O_APPEND | os.O_WRONLY), 1)
    try:
        train(problem1, folder, end_file)
    finally:
        sys.stdout.flush()
        os._exit(0)


def end_of(folder, end_file="end.json"):
    return json.loads((folder / end_file).read_text())


def main(folder, times):
    torch.set_num_threads(1)
    problem1, rng = load_definitions("problem1_rnn"), random.Random(0)
    whole = folder / "whole"
    whole.mkdir()
    begin = time.monotonic()
    os.waitpid(start(problem1, whole), 0)
    seconds, kills = time.monotonic() - begin, []
    for number in range(times):
        where, moment = folder / f"killed{number}", rng.random()
        where.mkdir()
        pid = start(problem1, where)
        time.sleep(moment * seconds)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kept = problem1.load_checkpoint(where / "training.pt", {"seed": 1}, "cpu")
        os.waitpid(start(problem1, where), 0)
        epochs = len(kept["history"]) if kept else 0
        kills.append({"moment": moment, "epochs": epochs, "end": end_of(where)})
    shared = folder / "shared"
    shared.mkdir()
    end_files = "one.json", "other.json"
    for pid in [start(problem1, shared, end_file) for end_file in end_files]:
        os.waitpid(pid, 0)
    both = [end_of(shared, end_file) for end_file in end_files]
    print(
        json.dumps({"epochs": EPOCHS, "whole": end_of(whole), "kills": kills, "two at once": both})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
