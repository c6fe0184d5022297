"""Problem 1, (c) and (d): batches, both networks, their training, and what is said of them."""

import inspect
import itertools
import json
import time
from operator import attrgetter
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, stop_and_go_on
from hypothesis import given, settings
from hypothesis import strategies as st

DOCUMENTS = ["good day", "bad day", "so good", "so so bad", "good", "bad"] * 8
VOCABULARY = {"good": 1, "bad": 2, "day": 3, "so": 4}
both = pytest.mark.parametrize("name", ["ours", "tutorial"])


@pytest.fixture(scope="module", autouse=True)
def small_and_in_float32_on_the_cpu(problem1):
    small = {"device": torch.device("cpu"), "computes_in_bfloat16": lambda device: False}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (small | {"PAIRS": 2**10}).items():
            patch.setitem(problem1.classifier.__globals__, name, value)
        yield


def recipe_of(problem1, name, **changes):
    theirs = {"model": problem1.TutorialBiLSTM, "optimizers": problem1.plain_adam}
    theirs |= {"schedule": lambda step, steps: 1.0}
    small = {"hidden": 4, "epochs": 3, "rounds": 1, "batch": 16}
    return problem1.RECIPE | small | (theirs if name == "tutorial" else {}) | changes


def read(problem1, name, documents):
    kind = problem1.PaddedTweets if name == "tutorial" else problem1.Tweets
    return kind(documents, ["good" in text for text in documents], VOCABULARY)


def make_data(problem1, name):
    """Short tweets that are positive where `good` stands, and vectors of their words."""
    vectors = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    train, val = (read(problem1, name, part) for part in (DOCUMENTS, DOCUMENTS[:5]))
    return SimpleNamespace(train=train, val=val, vocabulary=VOCABULARY, vectors=vectors)


@both
@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 8), st.booleans())
def test_batches_hold_each_tweet_once(problem1, name, lengths, size, shuffled):
    tweets = read(problem1, name, ["so " * n for n in lengths])
    batches = tweets.batches(size, np.random.default_rng(0) if shuffled else None)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= size
        assert len({lengths[i] for i in batch}) == 1 or name == "tutorial"


@both
@pytest.mark.parametrize("training", [True, False])
def test_a_batch_of_one_equals_the_batch(problem1, name, training):
    """Also of one token, of 64, of words that training never saw, and of the empty text."""
    documents = [*DOCUMENTS[:6], problem1.EMPTY, "zzz qqq", "so " * 64, "day " * 64]
    torch.manual_seed(0)
    model = problem1.classifier(make_data(problem1, name), recipe_of(problem1, name))[0]
    together = problem1.decide(model.train(training), read(problem1, name, documents))
    alone = [problem1.decide(model, read(problem1, name, [text])) for text in documents]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)
    assert {module.training for module in model.modules()} == {training}
    assert len(set(together.tolist())) == len(documents), "they are told apart"


@both
def test_a_training_learns_and_leaves_the_vectors_it_was_given_as_they_are(problem1, name):
    data, recipe = make_data(problem1, name), recipe_of(problem1, name, rate=0.02, epochs=12)
    before = data.vectors.clone()
    _, log = problem1.classifier(data, recipe)
    assert torch.equal(data.vectors, before)
    assert log[-1]["loss"] < log[0]["loss"] and log[-1]["accuracy"] == 1


@both
def test_each_weight_has_one_optimizer_and_muon_knows_the_gates(problem1, name):
    vectors = make_data(problem1, name).vectors
    for optimizer in ("muon", "adam"):
        recipe = recipe_of(problem1, name, optimizer=optimizer)
        model = recipe["model"](vectors, recipe)
        groups = [g for each in recipe["optimizers"](model, recipe) for g in each.param_groups]
        moved = [weight for group in groups for weight in group["params"]]
        assert len(moved) == len(set(moved)) and set(moved) == set(model.parameters())
        stacks = [(g["blocks"], len(w)) for g in groups if "blocks" in g for w in g["params"]]
        expected = [(3, 3 * 4)] * 4 if name == "ours" else []
        assert stacks == expected, "two matrices in each direction, of three gates each"


@settings(max_examples=20, deadline=None)
@given(st.integers(50, 3000))
def test_rates_rise_for_a_fifth_and_fall_to_nothing(problem1, steps):
    rates = np.array([problem1.one_cycle(step, steps) for step in range(steps)])
    top = rates.argmax()
    assert np.diff(rates[: top + 1]).min() > 0 and np.diff(rates[top:]).max() < 1e-9
    assert abs(top - steps / 5) <= 2 and rates[top] == pytest.approx(1, abs=0.03)
    assert 0 < rates[-1] < 0.03


def key(problem1, name, data=None, seed=1, **changes):
    data = data or make_data(problem1, name)
    return problem1.training_key(data, recipe_of(problem1, name, **changes), seed)


CHANGES = {"rate": 0.02, "hidden": 8, "smoothing": 0.1, "clip": 2.0, "epochs": 4, "seed": 2}


@both
def test_another_recipe_seed_tweet_or_vector_has_another_key(problem1, name):
    data, keys = make_data(problem1, name), {key(problem1, name)}
    assert key(problem1, name) in keys, "of the same: the same"
    keys |= {key(problem1, name, **{option: value}) for option, value in CHANGES.items()}
    for part in (data.train.flat, data.train.words, data.val.flat, data.val.labels, data.vectors):
        part[-1] += 1
        keys.add(key(problem1, name, data))
    assert len(keys) == 1 + len(CHANGES) + 5


USED_BY = {
    "ours": "TweetClassifier.forward optimizers_of Muon.step orthogonal one_cycle",
    "tutorial": "TutorialBiLSTM.forward plain_adam PaddedTweets.batches PaddedTweets.tensors",
    "ours tutorial": "fit decide Tweets.batches",
    "": "predict_tweet wilson split_by_label clean linear_model save_figure",
}


@pytest.mark.parametrize(
    ("models", "changed"), [(m, c) for m in USED_BY for c in USED_BY[m].split()]
)
def test_only_what_a_network_uses_changes_its_key(problem1, monkeypatch, models, changed):
    names = ("ours", "tutorial")
    before = {name: key(problem1, name) for name in names}
    function = inspect.unwrap(attrgetter(changed)(problem1))
    monkeypatch.setattr(function, "__code__", (lambda *_: 1).__code__)
    assert [name for name in names if key(problem1, name) != before[name]] == models.split()


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("ours", {"epochs": 3}),
        ("ours", {"epochs": 3, "optimizer": "adam"}),
        ("ours", {"epochs": 1, "rounds": 3}),
        ("tutorial", {"epochs": 3}),
    ],
)
def test_a_training_that_stops_goes_on_and_ends_at_the_same_weights(
    problem1, tmp_path, monkeypatch, capsys, name, length
):
    monkeypatch.chdir(tmp_path)
    data, recipe = make_data(problem1, name), recipe_of(problem1, name, **length)

    def train(kept):
        model, log = problem1.classifier(data, recipe, name=kept)
        return [(one["loss"], one["accuracy"]) for one in log], model.state_dict()

    stop_and_go_on(problem1, train, monkeypatch, capsys)


@both
@pytest.mark.parametrize(("seconds", "rounds"), [(0.5, 1), (2, 2), (2.5, 3), (np.inf, 5)])
def test_a_training_ends_with_the_round_in_which_its_seconds_are_over(
    problem1, tmp_path, monkeypatch, name, seconds, rounds
):
    """Of a clock by which each round takes one; also where it goes on after its end."""
    monkeypatch.chdir(tmp_path)
    clock = ModuleType("time")
    clock.perf_counter = itertools.count().__next__
    monkeypatch.setitem(problem1.fit.__globals__, "time", clock)
    data, recipe = make_data(problem1, name), recipe_of(problem1, name, epochs=5)
    for _ in "once", "again":
        _, log = problem1.classifier(data, recipe, name="timed", seconds=seconds)
        assert [one["seconds"] for one in log] == [1] * rounds


def test_words_that_stand_three_times_have_vectors_and_others_zeros(
    problem1, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    documents = pd.Series(["good day"] * 3 + ["so good", "bad", "so bad", "new", "new", "new"])
    values = {"documents": documents, "labels": np.zeros(9, np.float32)}
    for name, value in (values | {"VECTORS": {"size": 4, "epochs": 1}}).items():
        monkeypatch.setitem(problem1.make_data.__globals__, name, value)
    data = problem1.make_data(range(6), range(6, 9))
    assert data.vocabulary == {"good": 1, "day": 2}
    assert data.vectors.shape == (3, 4)
    assert [bool(vector.any()) for vector in data.vectors] == [False, True, True]
    assert (len(data.train.lengths), len(data.val.lengths)) == (6, 3)


# Newcombe, Statistics in Medicine 17 (1998), table I, method 3
WILSON = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (1, 29): (0.0061, 0.1718)}


@pytest.mark.parametrize(("right", "of"), WILSON)
def test_the_interval_is_wilsons(problem1, right, of):
    found = problem1.wilson(np.arange(of) < right)
    assert found == pytest.approx(WILSON[right, of], abs=5e-5)


@pytest.fixture(scope="module")
def predict(problem1):
    """The function of the notebook, with a small network that knows `good`."""
    data, recipe = make_data(problem1, "ours"), recipe_of(problem1, "ours", rate=0.02, epochs=12)
    model, _ = problem1.classifier(data, recipe)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"model": model, "data": data}.items():
            patch.setitem(problem1.predict_tweet.__globals__, name, value)
        yield problem1.predict_tweet


def test_what_a_word_matters_is_the_change_without_it(problem1, predict):
    (p, words), (without, _) = predict("so good day"), predict("so day")
    assert [word for word, _ in words] == ["so", "good", "day"]
    assert words[1][1] == pytest.approx(p - without, abs=0.006) and words[1][1] > 0.3


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_has_a_probability_and_each_of_its_words_a_part_in_it(problem1, predict, text):
    p, words = predict(text)
    assert 0 <= p <= 1 and all(-1 <= part <= 1 for _, part in words)
    assert [word for word, _ in words] == problem1.clean(text).split()


@pytest.mark.parametrize("letters", ["a", " ", "so good ", "(", "@", "&amp;", "é", "http://"])
def test_a_text_of_100_000_letters_is_answered_in_time(predict, letters):
    text, started = (letters * 100_000)[:100_000], time.process_time()
    predict(text)
    assert time.process_time() - started < 5


def test_the_committed_run_says_what_was_asked():
    results = json.loads((ROOT / "writeup/results/problem1.json").read_text(encoding="utf-8"))
    metrics = results["metrics"]
    rows = [metrics[f"rows_{part}"] for part in ("train", "val", "test")]
    assert rows == [960_000, 320_000, 320_000]
    assert (metrics["split_seed"], metrics["networks"]) == (2027, 1)
    assert 0.85 < metrics["test_accuracy_ci_low"] < metrics["test_accuracy"]
    assert metrics["test_accuracy"] < metrics["test_accuracy_ci_high"]
    for name in ("test_accuracy_unseen_texts", "linear_test_accuracy", "manual_test_accuracy"):
        assert 0.75 < metrics[name] < 1
    assert metrics["tutorial_test_accuracy"] > 0.75, "no straw man"
    assert metrics["tutorial_train_seconds"] >= metrics["train_seconds"] > 0
    assert metrics.get("seconds_to_tutorial_accuracy", 1) > 0, "absent where ours does not reach it"
