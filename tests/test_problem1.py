"""Problem 1: the LSTM cell against the built-in, the cleaning against rows that broke others."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, stop_and_go_on
from hypothesis import given, settings
from hypothesis import strategies as st
from readme_table import read_results
from torch import nn

STEPS, BATCH, INPUT, HIDDEN = 50, 4, 7, 5


def run(cell, inputs, state, weights):
    """Run a cell over the steps; return all outputs, the last states and every gradient of a weighted sum of them."""
    inputs, state = inputs.clone().requires_grad_(), [s.clone().requires_grad_() for s in state]
    hidden, outputs = tuple(state), []
    for x in inputs:
        hidden = cell(x, hidden)
        outputs.append(hidden[0])
    outputs = torch.stack(outputs)
    ((outputs * weights).sum() + hidden[1].sum()).backward()
    return [
        outputs,
        *hidden,
        inputs.grad,
        *(s.grad for s in state),
        *(p.grad for _, p in sorted(cell.named_parameters())),
    ]


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [(BATCH,), ()])
def test_lstm_cell_equals_the_built_in(problem1, dtype, tolerance, bias, batch):
    torch.manual_seed(0)
    builtin = nn.LSTMCell(INPUT, HIDDEN, bias=bias, dtype=dtype)
    own = problem1.LSTMCell(INPUT, HIDDEN, bias=bias, dtype=dtype)
    own.load_state_dict(builtin.state_dict())
    inputs = torch.randn(STEPS, *batch, INPUT, dtype=dtype)
    state = [torch.randn(*batch, HIDDEN, dtype=dtype) for _ in range(2)]
    weights = torch.randn(STEPS, *batch, HIDDEN, dtype=dtype)
    for ours, theirs in zip(
        run(own, inputs, state, weights), run(builtin, inputs, state, weights), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_lstm_cell_starts_from_zeros_by_default(problem1):
    cell = problem1.LSTMCell(INPUT, HIDDEN)
    x, zeros = torch.randn(BATCH, INPUT), torch.zeros(BATCH, HIDDEN)
    for ours, theirs in zip(cell(x), cell(x, (zeros, zeros)), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("shape", [(BATCH, INPUT + 1), (2, BATCH, INPUT), ()])
def test_lstm_cell_names_a_wrong_input_shape(problem1, shape):
    with pytest.raises(ValueError, match=str(INPUT)):
        problem1.LSTMCell(INPUT, HIDDEN)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(BATCH, HIDDEN + 1), (BATCH + 1, HIDDEN), (HIDDEN,)])
def test_lstm_cell_names_a_wrong_state_shape(problem1, shape):
    with pytest.raises(ValueError, match=str(HIDDEN)):
        problem1.LSTMCell(INPUT, HIDDEN)(
            torch.zeros(BATCH, INPUT), (torch.zeros(shape), torch.zeros(shape))
        )


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("it’s gr8 &lt;3 &lt;3", "it's gr8 <3 <3"),
        ("she said &amp;quot;yes&amp;quot;", 'she said " yes "'),
        ("sooooo haaaappy!!!!! =-) xD", "sooo haaappy !!! :) :d"),
        ("great:-) see http://t.co/x :-/", "great :) see http://url :/"),
        ("@someone hi  there", "@user hi <gap> there"),
        ("at 10:30 I lost 1,000", "at 00 : 00 i lost 0 , 000"),
        ("Ã¼ber #winning", "über # winning"),
        ("w00t?? ugh...", "w00t ?? ugh ..."),
        ("", "<empty>"),
        ("  ", "<empty>"),
        ("\u2764\u2764", "\u2764 \u2764"),
    ],
)
def test_cleaning_of_texts_that_broke_others(problem1, text, tokens):
    assert problem1.tokenize(text) == tokens


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_becomes_a_few_lower_case_tokens(problem1, text):
    tokens = problem1.tokenize(text).split()
    assert 1 <= len(tokens) <= problem1.MAX_TOKENS
    assert not any(
        character.isascii() and character.isupper() for token in tokens for character in token
    )


def test_a_text_of_ten_thousand_characters_is_cut(problem1):
    assert len(problem1.tokenize("word " * 2000).split()) == problem1.MAX_TOKENS


GOOD_ROW = '"4","1","","NO_QUERY","","a good day"'
LAYOUTS = {
    "header": f"target,ids,date,flag,user,text\n{GOOD_ROW}",
    "label names": GOOD_ROW.replace('"4"', '"positive"'),
    "labels 0 and 1": GOOD_ROW.replace('"4"', '"1"'),
    "byte order mark": f"\ufeff{GOOD_ROW}",
    "two columns": '"4","a good day"',
    "an index before": f'"0",{GOOD_ROW}',
    "tabs": GOOD_ROW.replace(",", "\t"),
    "empty": "",
}


@pytest.mark.parametrize("content", LAYOUTS.values(), ids=LAYOUTS)
def test_tweets_in_another_layout_are_refused(problem1, tmp_path, content):
    path = tmp_path / "tweets.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"tweets\.csv is not in the expected layout|No columns"):
        problem1.read_tweets(path, "")


def test_tweets_in_the_expected_layout_are_read(problem1, tmp_path):
    path = tmp_path / "tweets.csv"
    path.write_bytes(
        f"{GOOD_ROW}\n".encode() + '"0","2","","NO_QUERY","","I caf\xe9 forgot"\n'.encode("latin-1")
    )
    tweets = problem1.read_tweets(path, "")
    assert tweets.label.tolist() == [1.0, 0.0] and tweets.text.tolist() == [
        "a good day",
        "I café forgot",
    ]


def test_emoticons_are_put_back_by_label_and_nothing_else_changes(problem1):
    documents = pd.Series(["so <gap> tired <gap> now", "fun"] * 500, index=range(7, 1007))
    labels = np.tile([0.0, 0.0, 1.0, 1.0], 250)
    changed = problem1.put_back(documents, labels, 0.2, np.random.default_rng(0))
    assert changed.index.equals(documents.index) and documents.iloc[0] == "so <gap> tired <gap> now"
    touched = (changed != documents).to_numpy()
    assert 150 < touched.sum() < 250
    for label, emoticons in ((0.0, [":("]), (1.0, [":)", ":d"])):
        forms = {form for one in emoticons for form in (f"so {one} tired <gap> now", f"fun {one}")}
        assert set(changed[touched & (labels == label)]) == forms


@given(
    st.lists(st.sampled_from([":)", ":))", ":d", "a:d", "<3", "d", "."]), max_size=4),
    st.sampled_from([":)", ":d"]),
)
def test_a_whole_token_is_found_where_it_stands_alone(problem1, tokens, token):
    assert bool(re.search(problem1.whole(token), " ".join(tokens))) == (token in tokens)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 8), st.booleans())
def test_batches_hold_each_tweet_once_and_one_length(problem1, lengths, size, shuffled):
    vocabulary = problem1.build_vocab_from_iterator([["a"]], specials=["<unk>"])
    tweets = problem1.Tweets([["a"] * n for n in lengths], np.zeros(len(lengths)), vocabulary)
    batches = tweets.batches(size, np.random.default_rng(0) if shuffled else None)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= size and len(set(tweets.lengths[batch])) == 1


SMALL = ["good day", "bad day", "so good", "so bad", "good", "bad"] * 20


def small_reader(problem1):
    return problem1.Reader(str.split, SMALL, 1)


def test_a_batch_of_one_equals_the_batch(problem1):
    reader = small_reader(problem1)
    torch.manual_seed(0)
    model = problem1.TweetClassifier(torch.randn(len(reader.vocabulary), 6), 0, hidden=4)
    documents = ["good day", "so bad", "nothing known here", "good"]
    together = problem1.predict_logits(model, reader.read(documents), torch.device("cpu"))
    alone = [
        problem1.predict_logits(model, reader.read([text]), torch.device("cpu"))[0]
        for text in documents
    ]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert model.training, "the training flag is restored"


def test_the_vectors_that_a_model_starts_from_stay_as_they_are(problem1):
    vectors = torch.zeros(3, 4)
    model = problem1.TweetClassifier(vectors, 0, hidden=2)
    model.embedding.weight.data += 1
    assert not vectors.any()


def test_pieces_leave_no_word_unknown(problem1, capfd):
    documents = [
        f"i am sooo happy {word} <gap> @user !!!"
        for word in ("today", "morning", "evening", "lovin")
    ] * 50
    pieces = problem1.Pieces(documents, 25)
    reader = problem1.Reader(pieces, documents, 1)
    assert capfd.readouterr().err == ""
    assert "".join(pieces("happy lovin")).replace("\u2581", "") == "happylovin"
    assert pieces("\u200b") == pieces("<empty>"), "a text of which nothing is left is an empty one"
    assert (reader.read(["sooo lovin today"]).flat != reader.vocabulary["<unk>"]).all()


def test_the_learning_rate_rises_once_and_falls_to_zero(problem1):
    rates = [problem1.one_cycle(step, 100) for step in range(101)]
    top = int(np.argmax(rates))
    assert (
        15 <= top <= 25
        and max(rates) == pytest.approx(1, abs=0.02)
        and rates[-1] == pytest.approx(0, abs=1e-9)
    )
    assert rates == sorted(rates[:top]) + sorted(rates[top:], reverse=True)


@pytest.mark.parametrize("rnn, gates", [(nn.GRU, 3), (nn.LSTM, 4)])
def test_each_weight_has_one_optimizer_and_muon_knows_the_gates(problem1, rnn, gates):
    model = problem1.TweetClassifier(torch.ones(5, 4), 0, hidden=6)
    model.rnn = rnn(4, 6, bidirectional=True)
    for muon in (True, False):
        optimizers = problem1.make_optimizers(model, 0.01, muon)
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        moved = [parameter for group in groups for parameter in group["params"]]
        assert len(moved) == len(set(moved)) and set(moved) == set(model.parameters())
        assert [group["blocks"] for group in groups if "blocks" in group] == [gates] * muon


@pytest.mark.parametrize(
    "scores, stuck", [([0.5], False), ([0.5, 0.4, 0.4], True), ([0.5, 0.4, 0.6], False)]
)
def test_training_stops_when_two_epochs_bring_nothing(problem1, scores, stuck):
    assert problem1.is_stuck([{"val_accuracy": score} for score in scores]) == stuck


def test_the_ensemble_weighs_its_members_by_what_they_know(problem1):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4000).astype(np.float32)
    knows, guesses = 2 * (2 * labels - 1) + rng.normal(size=4000), rng.normal(size=4000)
    columns = {"knows": lambda rows: knows[rows], "guesses": lambda rows: guesses[rows]}
    ensemble = problem1.Ensemble(columns)
    logits = ensemble.member_logits(np.arange(4000))
    ensemble.fit(logits, labels)
    assert ensemble.weights[0] > 10 * abs(ensemble.weights[1])
    expected = 1 / (1 + np.exp(-(logits @ ensemble.weights + ensemble.bias)))
    np.testing.assert_allclose(ensemble.predict_proba(np.arange(4000)), expected)


def test_what_a_word_matters_is_the_change_without_it(problem1):
    def member(documents):
        return np.array([2.0 * text.split().count("good") for text in documents])

    probability, changes = problem1.explain(problem1.Ensemble({"counts": member}), "good day")
    assert probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert dict(changes) == {"good": pytest.approx(probability - 0.5), "day": 0}
    assert problem1.explain(problem1.Ensemble({"counts": member}), "good")[1][0][0] == "good"


@pytest.mark.parametrize("reason", [KeyboardInterrupt, MemoryError, torch.cuda.OutOfMemoryError])
def test_a_training_that_stops_goes_on_and_ends_at_the_same_figures(
    problem1, tmp_path, monkeypatch, capsys, reason
):
    reader = small_reader(problem1)
    tweets = reader.read(SMALL, ["good" in text for text in SMALL])
    vectors = torch.randn(
        len(reader.vocabulary), 6, generator=torch.Generator().manual_seed(0)
    ).numpy()

    def train(name):
        torch.manual_seed(0)
        model = problem1.TweetClassifier(vectors.copy(), 0, hidden=4)
        path, fingerprint = tmp_path / name, {"seed": 1}
        history = problem1.train_classifier(
            model, tweets, tweets, torch.device("cpu"), path, fingerprint, 3, 16
        )
        return [(entry["loss"], entry["val_accuracy"]) for entry in history], model.state_dict()

    stop_and_go_on(problem1.train_classifier, train, reason, monkeypatch, capsys)


def test_the_committed_run_passes_85_percent_at_speed_and_its_baseline_is_no_straw_man():
    metrics = read_results(ROOT / "writeup/results")["problem1"]["metrics"]
    assert (metrics["rows_train"], metrics["rows_val"], metrics["rows_test"]) == (
        960_000,
        320_000,
        320_000,
    )
    assert metrics["test_accuracy"] >= 0.855 and metrics["test_accuracy_ci_low"] > 0.85
    assert metrics["linear_test_accuracy"] >= 0.825
    assert metrics["tweets_per_second"] >= 3 * metrics["tutorial_tweets_per_second"]
