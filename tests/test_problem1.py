"""Problem 1: the LSTM cell against the built-in, the cleaning against rows that broke others."""

import pytest
import torch
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
    for ours, theirs in zip(run(own, inputs, state, weights), run(builtin, inputs, state, weights), strict=True):
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
        problem1.LSTMCell(INPUT, HIDDEN)(torch.zeros(BATCH, INPUT), (torch.zeros(shape), torch.zeros(shape)))


def test_a_killed_training_continues_and_ends_at_the_same_figures(problem1, tmp_path, monkeypatch, capsys):
    words = ["good day", "bad day", "so good", "so bad", "good", "bad"] * 20
    vocabulary = problem1.build_vocab_from_iterator([text.split() for text in words], specials=["<unk>"])
    vocabulary.set_default_index(0)
    tweets = problem1.Tweets([text.split() for text in words], ["good" in text for text in words], vocabulary)
    vectors = torch.randn(len(vocabulary), 6, generator=torch.Generator().manual_seed(0)).numpy()

    def train(name):
        torch.manual_seed(0)
        model = problem1.TweetClassifier(vectors.copy(), 0, hidden=4)
        path, fingerprint = tmp_path / f"{name}.pt", {"seed": 1}
        history = problem1.train_classifier(model, tweets, tweets, torch.device("cpu"), path, fingerprint, 3, 16)
        return [(entry["loss"], entry["val_accuracy"]) for entry in history], model.state_dict()

    def write_and_die(path, write):
        problem1.write_through(path, write)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setitem(problem1.train_classifier.__globals__, "write_through", write_and_die)
        train("killed")
    history, weights = train("killed")
    assert "continuing after epoch 1 of 3" in capsys.readouterr().out
    whole_history, whole_weights = train("whole")
    assert history == whole_history
    for name, value in whole_weights.items():
        assert torch.equal(weights[name], value), name
