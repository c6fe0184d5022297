"""Problem 1, (a) and (b): the LSTM cell against the built-in, the cleaning against rows that broke others."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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
@pytest.mark.parametrize("batch", [(BATCH,), (1,), (0,), ()])
def test_lstm_cell_equals_the_built_in(problem1, dtype, tolerance, bias, batch):
    torch.manual_seed(0)
    builtin = nn.LSTMCell(INPUT, HIDDEN, bias=bias, dtype=dtype)
    ours = problem1.LSTMCell(INPUT, HIDDEN, bias=bias, dtype=dtype)
    ours.load_state_dict(builtin.state_dict())
    inputs = torch.randn(STEPS, *batch, INPUT, dtype=dtype)
    state = [torch.randn(*batch, HIDDEN, dtype=dtype) for _ in range(2)]
    weights = torch.randn(STEPS, *batch, HIDDEN, dtype=dtype)
    for a, b in zip(
        run(ours, inputs, state, weights), run(builtin, inputs, state, weights), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(INPUT, HIDDEN), (1, 1), (5, 0)])
def test_lstm_cell_begins_as_the_built_in(problem1, sizes, bias):
    """Same names, shapes, order and, with the same seed, values; (5, 0) has no unit to scale by."""
    cells = []
    for kind in (problem1.LSTMCell, nn.LSTMCell):
        torch.manual_seed(0)
        cells.append(kind(*sizes, bias=bias))
    ours, builtin = (list(cell.named_parameters()) for cell in cells)
    assert [name for name, _ in ours] == [name for name, _ in builtin]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(ours, builtin, strict=True))
    x = torch.randn(BATCH, sizes[0])
    for a, b in zip(cells[0](x), cells[1](x), strict=True):
        torch.testing.assert_close(a, b)


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
    good = torch.zeros(BATCH, HIDDEN)
    for state in ((torch.zeros(shape), good), (good, torch.zeros(shape))):
        with pytest.raises(ValueError, match=str(HIDDEN)):
            problem1.LSTMCell(INPUT, HIDDEN)(torch.zeros(BATCH, INPUT), state)


def test_the_comparison_sees_gates_in_another_order(problem1):
    builtin, ours = nn.LSTMCell(10, 20), problem1.LSTMCell(10, 20)
    ours.load_state_dict({k: w.roll(20, 0) for k, w in builtin.state_dict().items()})
    arguments = torch.randn(2, 3, 10), torch.randn(3, 20), torch.randn(3, 20)
    found = [problem1.example(cell, *arguments)[0] for cell in (builtin, ours)]
    assert (found[0] - found[1]).abs().max() > 0.01


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("it’s gr8 &lt;3", "it's gr8 < 3"),
        ("she said &amp;quot;yes&amp;quot;", 'she said " yes "'),
        ("sooooo haaaappy!!!!! =-) xD", "soo haappy !! = - ) xd"),
        ("great:-) see http://t.co/x :-/", "great : - ) see <url> : - /"),
        ("look HTTP://T.CO/X or WWW.X.COM!", "look <url> or <url>"),
        ("see page 8) and (at 10:30 p8)", "see page 8 ) and ( at 10 : 30 p8 )"),
        ("@someone hi  there", "<user> hi <gap> there"),
        ("@someone   @other @third", "<user> <gap> <user> <user>"),
        ("1000 people, 7777777", "1000 people , 7777777"),
        ("Ã¼ber #winning", "über # winning"),
        ("w00t?? ugh... what?!?!", "w00t ?? ugh .. what ?!?!"),
        ("", "<empty>"),
        ("  ", "<empty>"),
        ("\u2764\u2764", "\u2764 \u2764"),
        ("Go\u2028on.\tVa.", "go on . va ."),
    ],
)
def test_cleaning_of_texts_that_broke_others(problem1, text, tokens):
    assert problem1.clean(text) == tokens


@pytest.mark.parametrize(
    "without, tokens",
    [
        (None, "<user> it's <url> < soo good ! <gap> (yes ) !!"),
        ("repair", "<user> it ’ s <url> & lt ; soo good ! <gap> ( yes ) !!"),
        ("gap", "<user> it's <url> < soo good ! ( yes ) !!"),
        ("mentions", "it's <url> < soo good ! <gap> ( yes ) !!"),
        ("links", "<user> it's < soo good ! <gap> ( yes ) !!"),
        ("case", "<user> It's <url> < soo GOOD ! <gap> ( yes ) !!"),
        ("repeats", "<user> it's <url> < soooo good ! <gap> ( yes ) !!!!"),
        ("marks", "<user> it's <url> soo good <gap> yes"),
    ],
)
def test_each_step_can_be_left_out_alone(problem1, without, tokens):
    text = "@someone It’s http://t.co/x &lt; soooo GOOD!  (yes)!!!!"
    assert problem1.clean(text, without) == tokens.replace("(yes", "( yes")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_becomes_a_few_lower_case_tokens_on_one_line(problem1, text):
    tokens = problem1.clean(text)
    assert 1 <= len(tokens.split(" ")) <= problem1.MAX_TOKENS and len(tokens.splitlines()) == 1
    assert tokens.split(" ") == tokens.split()
    assert not any(c.isascii() and c.isupper() for c in tokens)


@pytest.mark.parametrize("text", ["word " * 2000, " " * 10_000, "(" * 10_000, "a" * 10_000 + "'"])
def test_a_text_of_ten_thousand_characters_is_cut(problem1, text):
    assert len(problem1.clean(text).split()) <= problem1.MAX_TOKENS


def test_rows_that_broke_others_load_and_become_tokens(problem1):
    tweets = problem1.read_tweets(Path(__file__).with_name("tweets_edge_rows.csv"), "")
    tokens = tweets.text.map(problem1.clean)
    assert len(tweets) == 15 and tokens.str.split().map(len).between(1, problem1.MAX_TOKENS).all()
    assert (tokens == problem1.EMPTY).sum() == 2
    assert tokens[0].startswith("i café forgot") and tokens[2].startswith("it's raining")


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


ROWS = (
    '"4","1","","NO_QUERY","someone","@someone see HTTP://T.CO/x or www.x.org,  caf\xe9"\n'
    '"0","2","","NO_QUERY","another","NA"\n'
    '"2","3","","NO_QUERY","another",""\n'
).encode("latin-1")


@pytest.mark.parametrize("suffix", ["csv", "zip"])
def test_tweets_are_read_and_masked_at_once(problem1, tmp_path, suffix):
    path = tmp_path / f"tweets.{suffix}"
    if suffix == "csv":
        path.write_bytes(ROWS)
    else:
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr("other.csv", "")
            zipped.writestr("member.csv", ROWS)
    tweets = problem1.read_tweets(path, "member.csv")
    assert tweets.label.tolist() == [1.0, 0.0, 0.5] and tweets.label.dtype == np.float32
    assert tweets.text.tolist() == ["@user see http://url or http://url  café", "NA", ""]
    assert problem1.clean(tweets.text[0]) == "<user> see <url> or <url> <gap> café"


@pytest.mark.parametrize("text", ["@a_b see http://t.co/@x  :(", "WWW.x.com &amp; @c", "a@b.org"])
def test_masked_beforehand_or_not_the_tokens_are_the_same(problem1, tmp_path, text):
    path, tokens = tmp_path / "tweets.csv", []
    for _ in range(2):
        path.write_text(f'"0","2","","NO_QUERY","","{text}"\n', encoding="latin-1")
        (text,) = problem1.read_tweets(path, "").text
        tokens.append(problem1.clean(text))
    assert (tokens[0] == tokens[1] and "@user" in text) or "http://url" in text


def test_the_masked_copy_comes_first_then_kaggles_file_then_the_zip(
    problem1, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setitem(
        problem1.find_tweets.__globals__, "find_data", lambda *args: asked.append(args)
    )
    folder = Path("data/sentiment140")
    folder.mkdir(parents=True)
    arguments = ("masked.csv.xz", "original.csv", "stand-in.csv")
    problem1.find_tweets(*arguments)
    assert asked.pop()[0] == "sentiment140/trainingandtestdata.zip"
    (folder / "original.csv").write_bytes(ROWS)
    path, record = problem1.find_tweets(*arguments)
    assert path == folder / "original.csv" and len(record["sha256"]) == 64 and not asked
    (folder / "sentiment140_masked.csv.xz").touch()
    problem1.find_tweets(*arguments)
    expected = ("sentiment140/sentiment140_masked.csv.xz", problem1.SHA256["masked.csv.xz"], None)
    assert asked.pop() == (*expected, "stand-in.csv")


@pytest.mark.parametrize("n", [10, 101, 1000])
def test_the_split_is_whole_stratified_and_follows_its_seed(problem1, n):
    labels = (np.arange(n) >= n // 2).astype(np.float32)  # sorted, as the file is
    parts = problem1.split_by_label(labels, 5527)
    assert sorted(np.concatenate(parts)) == list(range(n))
    for rows, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        assert abs(len(rows) - share * n) <= 1
        assert abs(labels[rows].sum() - len(rows) / 2) <= 1
    assert all(map(np.array_equal, parts, problem1.split_by_label(labels, 5527)))
    assert not np.array_equal(parts[0], problem1.split_by_label(labels, problem1.FINAL_SEED)[0])
    assert problem1.FINAL_SEED != problem1.SEED


def test_a_step_that_matters_is_seen_and_one_that_does_not_is_nought(problem1):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000).astype(np.float32)
    texts = [f"so{' ' * (1 + int(y))}it is {rng.integers(9)}" for y in labels]  # only the gap tells
    found = problem1.accuracies(pd.Series(texts), labels, ["gap", "case", "links"])
    assert found["nothing"] == found["case"] == found["links"] == 1
    assert 0.4 < found["gap"] < 0.6
