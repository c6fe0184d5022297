"""Problem 2, (a) to (d): scores, permutations, and the encoder layer against the built-in."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

BATCH, LENGTH, WIDTH = 3, 6, 16  # the width of make_pair
PADDING = torch.arange(LENGTH) >= torch.tensor([[LENGTH], [4], [2]])
CAUSAL = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
MASKS = {
    "none": {},
    "padding": {"src_key_padding_mask": PADDING},
    "attention": {"src_mask": CAUSAL},
    "both": {"src_key_padding_mask": PADDING, "src_mask": CAUSAL},
}


def draw(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_scores_point_where_they_should(problem2):
    """In the hand example the dot product prefers ink, cosine and RBF the target itself."""
    t, s = torch.tensor([[1, 0, 0.5]]), torch.tensor([[1, 0, 0.5], [1, 1, 1], [0, 0, 0]])
    winners = {name: score(t, s).argmax().item() for name, score in problem2.SCORES.items()}
    assert winners == {"dot product": 1, "scaled": 1, "cosine": 0, "RBF": 0}


def test_the_rbf_is_that_of_the_assignment(problem2):
    T, S = draw(10, 8), draw(10, 8) + 1
    squared = ((T[:, None] - S) ** 2).sum(dim=2)
    sigma = squared.sqrt().flatten().median()
    torch.testing.assert_close(problem2.SCORES["RBF"](T, S), -squared / sigma**2)


def test_self_attention_is_that_of_the_assignment(problem2):
    X, W_Q, W_K, W_V = problem2.draw_input(30, 12, 5)
    formula = torch.softmax(X @ W_Q @ W_K.T @ X.T, dim=1) @ X @ W_V
    own = problem2.self_attention(X, W_Q, W_K, W_V)
    torch.testing.assert_close(own, formula, rtol=0, atol=1e-12)


def test_back_propagation_keeps_one_matrix_of_weights(problem2):
    N, d, D = 30, 12, 5
    seconds, gigabytes, shapes = problem2.measure(problem2.draw_input(N, d, D))
    expected = [(N, d), *3 * [(d, D)], *2 * [(N, D)], (D, N), (N, N)]
    assert sorted(shapes) == sorted(expected)
    assert seconds > 0 and gigabytes == pytest.approx(8e-9 * sum(a * b for a, b in expected))


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(9)))
def test_a_permutation_of_the_rows_goes_through(problem2, order):
    X, *W = problem2.draw_input(9, 12, 5)
    difference = problem2.self_attention(X[order], *W) - problem2.self_attention(X, *W)[order]
    assert difference.abs().max() < 1e-12


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", [F.relu, F.gelu])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("training", [True, False])
def test_encoder_layer_equals_the_built_in(problem2, norm_first, activation, mask, training):
    """Dropout too: from one seed, both layers draw the same numbers in the same places."""
    pair = problem2.make_pair(0.3, norm_first=norm_first, activation=activation)
    X = draw(BATCH, LENGTH, WIDTH)
    ran = [problem2.run_layer(layer.train(training), X, MASKS[mask]) for layer in pair]
    for (theirs, own), most in zip(zip(*ran, strict=True), (1e-12, 1e-10), strict=True):
        torch.testing.assert_close(own, theirs, rtol=0, atol=most)


def test_the_compared_parameters_are_all_at_work(problem2):
    """Were biases and norms as they begin, zeros and ones, the comparison would not see them."""
    builtin, ours = problem2.make_pair()
    assert len(builtin.state_dict()) == len(ours.state_dict())
    assert all(p.unique().numel() == p.numel() for p in ours.parameters())
    _, gradients = problem2.run_layer(ours, draw(BATCH, LENGTH, WIDTH), {})
    assert gradients.abs().max() > 1  # the loss depends on what is compared


def test_dropout_is_at_work_in_training_alone(problem2):
    _, ours = problem2.make_pair(dropout=0.3)
    X = draw(BATCH, LENGTH, WIDTH)
    kept, dropped = (problem2.run_layer(ours.train(mode), X, {})[0] for mode in (False, True))
    assert (kept != dropped).all()
    assert torch.equal(*kept.split(BATCH)) and torch.equal(*dropped.split(BATCH))


def test_a_fully_masked_row_stays_finite(problem2):
    _, ours = problem2.make_pair()
    x = draw(BATCH, LENGTH, WIDTH).requires_grad_()
    row = torch.zeros(LENGTH, LENGTH, dtype=torch.bool).index_fill(0, torch.tensor([2]), True)
    for masks in (
        {"src_key_padding_mask": torch.ones(BATCH, LENGTH, dtype=torch.bool)},
        {"src_mask": row},
    ):
        output = ours(x, **masks)
        gradients = torch.autograd.grad(output.square().sum(), [x, *ours.parameters()])
        assert all(value.isfinite().all() for value in (output, *gradients))
    attention = ours.self_attn
    assert torch.equal(attention(x, row)[:, 2], attention.out_proj.bias.expand(BATCH, WIDTH))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=BATCH * LENGTH, max_size=BATCH * LENGTH), st.booleans())
def test_a_masked_key_changes_nothing(problem2, masked, causal):
    padding = torch.tensor(masked).view(BATCH, LENGTH)
    _, ours = problem2.make_pair()
    x = draw(BATCH, LENGTH, WIDTH)
    masks = {"src_key_padding_mask": padding} | ({"src_mask": CAUSAL} if causal else {})
    before, after = ours(x, **masks), ours(torch.where(padding[..., None], x + 100, x), **masks)
    assert torch.equal(before[~padding], after[~padding])


@pytest.mark.parametrize("mask", MASKS)
def test_a_sentence_without_a_batch_is_read_as_the_built_in_reads_it(problem2, mask):
    builtin, ours = problem2.make_pair()
    x = draw(7, WIDTH)[:LENGTH]
    masks = {k: v[1] if k == "src_key_padding_mask" else v for k, v in MASKS[mask].items()}
    valid = ~masks.get("src_key_padding_mask", torch.zeros(LENGTH, dtype=torch.bool))
    assert ours(x, **masks).shape == x.shape
    torch.testing.assert_close(ours(x, **masks)[valid], builtin(x, **masks)[valid])


@pytest.mark.parametrize(
    "masks",
    [
        {"src_key_padding_mask": PADDING},  # of a batch
        {"src_mask": CAUSAL[:4, :4]},
        {"src_mask": CAUSAL.expand(1, 1, LENGTH, LENGTH)},
        {"src_mask": CAUSAL.long()},
        {"src_mask": CAUSAL.double()},
        {"src_key_padding_mask": PADDING[1].long()},
        {"src_key_padding_mask": PADDING[1].double()},
    ],
)
def test_a_mask_of_another_shape_or_type_is_refused(problem2, masks):
    _, ours = problem2.make_pair()
    with pytest.raises(RuntimeError, match=r"expand|bool|not implemented for"):
        ours(draw(LENGTH, WIDTH), **masks)


def test_a_width_that_the_heads_do_not_divide_is_refused(problem2):
    with pytest.raises(RuntimeError, match="multiply"):
        problem2.MultiHeadAttention(16, 3)(torch.zeros(2, 16))


def test_the_docstring_names_every_argument_that_is_missing(problem2):
    def arguments(function):
        return set(function.__code__.co_varnames[: function.__code__.co_argcount])

    missing = set()
    for method in ("__init__", "forward"):
        builtin = getattr(nn.TransformerEncoderLayer, method)
        ours = getattr(problem2.TransformerEncoderLayer, method)
        assert arguments(ours) <= arguments(builtin)
        missing |= arguments(builtin) - arguments(ours)
    said = problem2.TransformerEncoderLayer.__doc__
    assert missing == {"batch_first", "bias", "device", "dtype", "is_causal", "layer_norm_eps"}
    assert all(name in said for name in missing)
    assert "torch.nn.TransformerEncoder." in said  # it does not go into one
