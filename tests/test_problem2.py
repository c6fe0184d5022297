"""Problem 2: the encoder layer against the built-in, the translation models against the faults that broke others."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, stop_and_go_on
from hypothesis import given, settings
from hypothesis import strategies as st
from readme_table import read_results
from torch import nn

BATCH, LENGTH, WIDTH, HEADS = 3, 6, 16, 4
PADDING = torch.arange(LENGTH) >= torch.tensor([[LENGTH], [4], [2]])
CAUSAL = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
MASKS = {
    "none": {},
    "padding": {"src_key_padding_mask": PADDING},
    "attention": {"src_mask": CAUSAL},
    "float attention": {
        "src_mask": torch.zeros(LENGTH, LENGTH, dtype=torch.float64).masked_fill(CAUSAL, -torch.inf)
    },
    "both": {"src_key_padding_mask": PADDING, "src_mask": CAUSAL},
}


def pair(problem2, **options):
    torch.manual_seed(0)
    options = {"dim_feedforward": 32, "dropout": 0.0, **options}
    builtin = nn.TransformerEncoderLayer(
        WIDTH, HEADS, batch_first=True, dtype=torch.float64, **options
    )
    own = problem2.TransformerEncoderLayer(WIDTH, HEADS, **options).double()
    problem2.copy_weights(builtin, own)
    return builtin, own


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_encoder_layer_equals_the_built_in_on_valid_rows(
    problem2, norm_first, activation, mask, training
):
    builtin, own = (
        m.train(training) for m in pair(problem2, norm_first=norm_first, activation=activation)
    )
    masks, x = MASKS[mask], torch.randn(BATCH, LENGTH, WIDTH, dtype=torch.float64)
    valid = ~masks.get("src_key_padding_mask", torch.zeros(BATCH, LENGTH, dtype=torch.bool))
    inputs, results = [x.clone().requires_grad_() for _ in range(2)], []
    for layer, source in zip((builtin, own), inputs, strict=True):
        output = layer(source, **masks)[valid]
        (output**2).sum().backward()
        results.append(output)
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    torch.testing.assert_close(*(source.grad for source in inputs), rtol=0, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(
            builtin(x, **masks)[valid], own(x, **masks)[valid], rtol=0, atol=1e-12
        )


def test_a_fully_masked_row_stays_finite(problem2):
    _, own = pair(problem2)
    x = torch.randn(BATCH, LENGTH, WIDTH, dtype=torch.float64, requires_grad=True)
    output = own(x, src_key_padding_mask=torch.ones(BATCH, LENGTH, dtype=torch.bool))
    output.sum().backward()
    assert output.isfinite().all() and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in own.parameters())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=BATCH * LENGTH, max_size=BATCH * LENGTH), st.booleans())
def test_a_masked_key_changes_nothing(problem2, masked, causal):
    padding = torch.tensor(masked).view(BATCH, LENGTH)
    _, own = pair(problem2)
    own.eval()
    x = torch.randn(BATCH, LENGTH, WIDTH, dtype=torch.float64)
    masks = {"src_key_padding_mask": padding} | ({"src_mask": CAUSAL} if causal else {})
    before, after = own(x, **masks), own(torch.where(padding[..., None], x + 100, x), **masks)
    assert torch.equal(before[~padding], after[~padding])


@pytest.mark.parametrize("name", ["rnn", "transformer"])
@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(1, 6)), min_size=1, max_size=4),
    st.integers(1, 9),
)
def test_padding_and_words_to_come_move_nothing_in_batches_of_any_lengths(
    problem2, name, lengths, extra
):
    torch.manual_seed(0)
    sizes = SimpleNamespace(source_vocabulary=range(20), target_vocabulary=range(20))
    model = problem2.build_model(name, sizes, 16, 1, (None, None)).double()
    sides = [
        [torch.randint(4, 20, (n,)).tolist() for n in side] for side in zip(*lengths, strict=True)
    ]
    batch = problem2.Corpus(*sides, None, None).tensors(range(len(lengths)), "cpu")
    found = problem2.invariants(model, *batch, extra)
    assert max(found.values()) < 1e-12, found


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_letter_of_any_sentence_is_lost_in_its_tokens(problem2, text):
    normal = problem2.normalise(text)
    assert normal == " ".join(normal.split())
    for language in ("fr", "en"):
        (tokens,) = problem2.tokenize([normal], language)
        assert "".join(tokens).replace(" ", "") == normal.replace(" ", "")


@settings(max_examples=100, deadline=None)
@given(
    st.sets(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=80),
    st.integers(0, 9),
)
def test_no_sentence_stands_in_two_parts(problem2, numbers, seed):
    pairs, shares = (
        [(f"f{a}", f"e{b}") for a, b in numbers],
        {"train": 0.7, "val": 0.1, "test": 0.2},
    )
    part_of = problem2.split_by_components(pairs, shares, np.random.default_rng(seed))
    assert len(part_of) == len(pairs) and set(part_of) <= set(shares)
    for side in (0, 1):
        homes = {}
        for one, part in zip(pairs, part_of, strict=True):
            assert homes.setdefault(one[side], part) == part
    assert all((part_of == part).sum() <= shares[part] * len(pairs) for part in ("val", "test"))


def test_a_pair_without_a_translation_is_left_out_and_a_file_without_tabs_is_refused(
    problem2, tmp_path
):
    path = tmp_path / "pairs.txt"
    path.write_text("Go.\tVa\u202f!\tCC-BY 2.0\n\nWait.\t\n", encoding="utf-8")
    assert problem2.read_pairs(path) == [("va !", "go.")]
    for content in ("Go.", ""):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"pairs\.txt"):
            problem2.read_pairs(path)


@pytest.mark.parametrize("name", ["rnn", "transformer"])
def test_sampled_loss_is_the_full_one_when_all_words_are_drawn_and_close_to_it_otherwise(
    problem2, name
):
    torch.manual_seed(0)
    sizes = SimpleNamespace(source_vocabulary=range(50), target_vocabulary=range(90))
    model = problem2.build_model(name, sizes, 16, 1, (None, None)).double().eval()
    source, words = torch.randint(4, 50, (5, 7)), torch.randint(4, 90, (5, 6))
    words[2, 4:] = problem2.PAD
    target = torch.cat([torch.full((5, 1), problem2.SOS), words[:, :-1]], dim=1)
    logits = model(source, target).flatten(0, 1)
    full = nn.functional.cross_entropy(
        logits, words.flatten(), ignore_index=problem2.PAD, label_smoothing=0.1
    )
    torch.testing.assert_close(
        model.sampled_loss(source, target, words, 0.1, sampled=1000), full, rtol=0, atol=1e-12
    )
    with torch.no_grad():
        drawn = torch.stack(
            [model.sampled_loss(source, target, words, 0.1, sampled=20) for _ in range(400)]
        )
    assert abs(drawn.mean() - full) < 0.01 * full


@pytest.mark.parametrize("name", ["rnn", "transformer"])
@pytest.mark.parametrize("sentence", ["", "le " * 3000, "zzz qqq xxx", "\u2764 \u2764"])
def test_any_sentence_is_translated(problem2, name, sentence):
    words = {"train": ([["le", "chat", "."]] * 4, [["the", "cat", "."]] * 4)}
    corpus = problem2.make_corpora(words)["train"]
    model = problem2.build_model(name, corpus, 16, 1, (None, None))
    (english,), _ = problem2.translate_all(
        model, [problem2.normalise(sentence)], corpus, torch.device("cpu"), 2
    )
    assert isinstance(english, str) and (english == "") >= (sentence == "")


@pytest.mark.parametrize(
    ("name", "optimizer"), [("rnn", "Adam"), ("rnn", "Muon"), ("transformer", "Muon")]
)
def test_a_training_that_stops_goes_on_and_ends_at_the_same_figures(
    problem2, tmp_path, monkeypatch, capsys, name, optimizer
):
    draw = random.Random(0)
    numbers = [[str(draw.randrange(10)) for _ in range(draw.randint(2, 6))] for _ in range(100)]
    corpora = problem2.make_corpora(
        {part: (numbers, [["-", *sentence] for sentence in numbers]) for part in ("train", "val")}
    )

    def train(file):
        torch.manual_seed(0)
        model = problem2.build_model(name, corpora["train"], 16, 1, (None, None))
        how = {
            "fingerprint": {"seed": 1},
            "epochs": 3,
            "recipe": (optimizer, 1e-3, 1e-3),
            "tokens": 2000,
            "share": 0.3,
        }
        history = problem2.train_translator(
            model, corpora, torch.device("cpu"), tmp_path / file, **how
        )
        return [(entry["loss"], entry["val_loss"]) for entry in history], model.state_dict()

    history = stop_and_go_on(
        problem2.train_translator, train, KeyboardInterrupt, monkeypatch, capsys
    )
    assert history[-1][1] < history[0][1]


@pytest.mark.parametrize("shape", [(16, 16), (24, 8), (8, 24)])
def test_a_step_of_muon_has_the_gradients_singular_vectors_and_equal_values(problem2, shape):
    torch.manual_seed(0)
    U, _, Vh = torch.linalg.svd(torch.randn(3, *shape), full_matrices=False)
    gradient = (U * torch.linspace(1, 0.1, min(shape))) @ Vh
    stacked = nn.Parameter(torch.zeros(3 * shape[0], shape[1]))
    stacked.grad = gradient.flatten(0, 1)
    problem2.Muon([{"params": [stacked], "blocks": 3}], lr=0.1).step()
    step = -stacked.detach().view(gradient.shape)
    values = U.mT @ step @ Vh.mT / (0.1 * 0.2 * max(shape) ** 0.5)
    diagonal = values.diagonal(dim1=1, dim2=2)
    assert (values - torch.diag_embed(diagonal)).abs().max() < 1e-4
    assert 0.6 < diagonal.min() and diagonal.max() < 1.3


def test_weight_decay_takes_its_share_of_a_weight_that_has_no_gradient(problem2):
    weight = nn.Parameter(torch.ones(6, 2))
    weight.grad = torch.zeros_like(weight)
    problem2.Muon([{"params": [weight], "blocks": 3}], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((6, 2), 0.95))


def test_muon_moves_the_hidden_matrices_and_adam_everything_else(problem2):
    model = problem2.TransformerTranslator(9, 9, 16, layers=1)
    adam, muon = problem2.make_optimizers(model, "Muon", 0.1, 0.01)
    moved = [parameter for group in muon.param_groups for parameter in group["params"]]
    assert {parameter.dim() for parameter in moved} == {2}
    stacked = {
        id(parameter)
        for group in muon.param_groups
        if group["blocks"] == 3
        for parameter in group["params"]
    }
    assert stacked == {
        id(value) for name, value in model.named_parameters() if name.endswith("in_proj_weight")
    }
    everything = [
        parameter
        for each in (adam, muon)
        for group in each.param_groups
        for parameter in group["params"]
    ]
    assert len(everything) == len(set(everything)) and set(everything) == set(model.parameters())
    (only,) = problem2.make_optimizers(model, "Adam", 0.1, 0.01)
    assert {p for group in only.param_groups for p in group["params"]} == set(model.parameters())


def test_the_committed_transformer_beats_an_rnn_that_is_no_straw_man():
    metrics = read_results(ROOT / "writeup/results")["problem2"]["metrics"]
    assert min(metrics["glove_coverage"], metrics["french_coverage"]) >= 0.99
    assert metrics["rnn_bleu"] >= 45
    assert metrics["transformer_bleu_ci_low"] > metrics["rnn_bleu_ci_high"]
