"""Problem 2, (e): both translators against the faults that broke others, and all around them."""

import itertools
import json
import math
import re
import time
import unicodedata
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, stop_and_go_on
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")
CPU = torch.device("cpu")
PAD, UNK, SOS, EOS = range(4)
RECIPE = {"width": 16, "heads": 2, "layers": 1, "dropout": 0.0, "embedding": "tuned"}
RECIPE |= {"joined": 0.3, "smoothing": 0.1, "sampled": 1000, "tokens": 100, "epochs": 3}
RECIPE |= {"rate": 0.01, "embedding_rate": 0.03, "weight_decay": 0.1, "optimizer": "muon"}
LENGTHS = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 6)), min_size=1, max_size=5)
both = pytest.mark.parametrize("name", ["rnn", "transformer"])


@pytest.fixture(scope="module", autouse=True)
def in_float32_on_the_cpu(problem2):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(problem2.train.__globals__, "device", CPU)
        patch.setitem(problem2.train.__globals__, "computes_in_bfloat16", lambda device: False)
        yield


def make_vectors(*sizes):
    """Pre-trained vectors; the first six words have none."""
    generator = torch.Generator().manual_seed(0)
    each = (torch.randn(size, 5, generator=generator) for size in sizes)
    return [vectors * (torch.arange(len(vectors)) >= 6)[:, None] for vectors in each]


def build(problem2, name, sizes=(20, 20), seed=0, **options):
    """A translator of random weights, the bias too, in float64."""
    torch.manual_seed(seed)
    model = problem2.MODELS[name](make_vectors(*sizes), RECIPE | options).double()
    nn.init.normal_(model.bias)
    return model


def make_corpus(problem2, lengths):
    draw = np.random.default_rng(0)
    sides = ([draw.integers(4, 20, n) for n in side] for side in zip(*lengths, strict=True))
    return problem2.Corpus(*sides)


def logits_of(problem2, model, source, target):
    with problem2.evaluation(model):
        return model.logits(model(source, target))


def assert_same(one, other):
    assert (one - other).abs().max() < 1e-12


@both
@settings(max_examples=8, deadline=None)
@given(LENGTHS)
def test_padding_company_and_words_to_come_move_nothing(problem2, name, lengths):
    model, results = build(problem2, name), []
    source, target, output = make_corpus(problem2, lengths).tensors(range(len(lengths)))
    for padded in (source, F.pad(source, (0, 30), value=PAD)):
        trained = model.logits(model.train()(padded, target)[output != PAD])
        attention = problem2.attention_of(model, padded[:1], target[:1])
        assert not attention[:, lengths[0][0] :].any()
        loss, inside = F.cross_entropy(trained, output[output != PAD]), source.shape[1]
        results.append((logits_of(problem2, model, padded, target), loss, attention[:, :inside]))
    for one, other in zip(*results, strict=True):
        assert_same(one, other)
    logits = results[0][0]
    for i, (T, U) in enumerate(lengths):
        alone = logits_of(problem2, model, source[i : i + 1, :T], target[i : i + 1, : U + 1])
        assert_same(alone[0], logits[i, : U + 1])
    for u in range(1, target.shape[1]):
        changed = torch.cat([target[:, :u], torch.full_like(target[:, u:], UNK)], dim=1)
        assert_same(logits_of(problem2, model, source, changed)[:, :u], logits[:, :u])


@both
@pytest.mark.parametrize("training", [True, False])
def test_five_evaluations_agree_and_the_training_flag_is_restored(problem2, name, training):
    model = build(problem2, name, dropout=0.5).train(training)
    source, target, _ = make_corpus(problem2, [(3, 2), (1, 1)]).tensors([0, 1])
    first, *more = (logits_of(problem2, model, source, target) for _ in range(5))
    assert all(torch.equal(first, other) for other in more)
    assert {module.training for module in model.modules()} == {training}
    assert not torch.equal(model.train()(source, target), model(source, target)), "dropout is there"


def greedy(model, source, limit):
    """The words of source (1, T), each the likeliest after those before it."""
    words = [SOS]
    while len(words) <= limit and EOS not in words:
        logits = model.logits(model(source, torch.tensor([words])))[0, -1]
        logits[[PAD, UNK, SOS]] = -torch.inf
        words.append(logits.argmax().item())
    return [word for word in words[1:] if word != EOS]


@both
@settings(max_examples=8, deadline=None)
@given(LENGTHS, st.integers(0, 99))
def test_a_beam_of_one_is_greedy(problem2, name, lengths, seed):
    model = build(problem2, name, seed=seed)
    source, _, _ = make_corpus(problem2, lengths).tensors(range(len(lengths)))
    with problem2.evaluation(model):
        found = problem2.beam_search(model, source, 1)
        for i, (T, _) in enumerate(lengths):
            assert found[i] == greedy(model, source[i : i + 1, :T], source.shape[1] + 10)


@both
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_that_holds_all_sentences_finds_the_best(problem2, name, seed):
    """Of two words and the end there are 4,095 sentences of at most 11 words."""
    model, source = build(problem2, name, (20, 6), seed), torch.tensor([[7]])
    model.bias.data[EOS] += 2.0  # short ones are among the best
    ended = ([*s, EOS] for n in range(11) for s in itertools.product((4, 5), repeat=n))
    sentences = [*ended, *map(list, itertools.product((4, 5), repeat=11))]
    output = nn.utils.rnn.pad_sequence(list(map(torch.tensor, sentences)), batch_first=True)
    target = F.pad(output, (1, -1), value=SOS)
    logits = logits_of(problem2, model, source.expand(len(sentences), 1), target)
    log_p = logits.log_softmax(dim=2).gather(2, output[..., None])[..., 0]
    best = ((log_p * (output != PAD)).sum(dim=1) / (output != PAD).sum(dim=1)).argmax()
    with problem2.evaluation(model):
        (found,) = problem2.beam_search(model, source, len(sentences))
    assert found == [word for word in sentences[best] if word != EOS]


@both
@pytest.mark.parametrize("beam", [1, 3])
def test_no_sentence_is_endless_or_holds_a_special_word(problem2, name, beam):
    model = build(problem2, name)
    model.bias.data[[PAD, UNK, SOS]], model.bias.data[EOS] = 50.0, -50.0
    source = torch.tensor([[7, 8, 9], [9, PAD, PAD]])
    with problem2.evaluation(model):
        found = problem2.beam_search(model, source, beam)
    assert [len(words) for words in found] == [13, 13] and min(map(min, found)) > EOS


@both
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_all_words_if_all_are_drawn_else_near_it(problem2, name, smoothing):
    model, recipe = build(problem2, name, (20, 90)), RECIPE | {"smoothing": smoothing}
    source, target, output = make_corpus(problem2, [(5, 6)] * 4).tensors(range(4))
    readouts, output = model(source, target).flatten(0, 1).detach() / 3, output.flatten()
    full = F.cross_entropy(model.logits(readouts), output, label_smoothing=smoothing).item()
    found = problem2.smoothed_loss(model, readouts, output, recipe)
    assert found.item() == pytest.approx(full, abs=1e-5)
    few = recipe | {"sampled": 30}
    drawn = [problem2.smoothed_loss(model, readouts, output, few).item() for _ in range(300)]
    assert np.std(drawn) > 0 and np.mean(drawn) == pytest.approx(full, abs=0.15)


@pytest.mark.parametrize("way", ["random", "frozen", "tuned"])
def test_a_word_has_the_parts_that_its_way_says(problem2, way):
    (vectors,) = make_vectors(9)
    given, words = vectors.any(dim=1), torch.arange(9)
    embedding = problem2.WordEmbedding(vectors, 16, way)
    embedding(words).sum().backward()
    own = torch.ones(9, dtype=torch.bool) if way != "frozen" else ~given
    assert torch.equal(embedding.u.grad.any(dim=1), own)
    assert embedding.P.weight.grad.any() == (way != "random")
    before = embedding(words)
    nn.init.normal_(embedding.P.weight)
    moved = (embedding(words) != before).any(dim=1)
    assert torch.equal(moved, given & (way != "random"))


@settings(max_examples=100, deadline=None)
@given(LENGTHS, st.integers(1, 15), st.booleans())
def test_batches_hold_each_pair_once_and_no_more_than_they_may(problem2, lengths, tokens, shuffled):
    corpus = make_corpus(problem2, lengths)
    batches = corpus.batches(tokens, np.random.default_rng(0) if shuffled else None)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        sizes = [side.numel() for side in corpus.tensors(batch)]
        assert max(sizes) <= tokens or len(batch) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.floats(0, 1))
def test_joined_pairs_keep_all_words_and_stay_pairs(problem2, n, share):
    """Both sides of pair k repeat one word, k."""
    corpus = problem2.Corpus([np.full(1 + k % 3, k) for k in range(n)], list(np.c_[:n]))
    joined = corpus.joined(share, np.random.default_rng(0))
    for before, after in ((corpus.source, joined.source), (corpus.target, joined.target)):
        assert sorted(np.concatenate(before)) == sorted(np.concatenate(after))
    for source, target in zip(joined.source, joined.target, strict=True):
        assert list(dict.fromkeys(source)) == list(target) and len(target) <= 2
    assert n - len(joined.source) == int(share * n) // 2


def test_tensors_shift_the_target_by_one_and_a_part_is_what_it_names(problem2):
    corpus = problem2.Corpus([np.r_[5, 6], np.r_[7], np.r_[8]], [np.r_[9], np.r_[4, 5], np.r_[6]])
    source, target, output = corpus.part([1, 0]).tensors([0, 1])
    assert source.tolist() == [[7, PAD], [5, 6]]
    assert target.tolist() == [[SOS, 4, 5], [SOS, 9, PAD]]
    assert output.tolist() == [[4, 5, EOS], [9, EOS, PAD]]


NORMAL = {"Go\u2028on\u2029now\x85!\t": "go on now !", "\ufeffa\u200bb\u00adc\u200e": "abc"}
NORMAL |= {"L\u2019E\u0301te\u0301\u202f: \u00abO\u00f9\u00bb": 'l\'été : "où"', "\u00a0\u3000": ""}


def test_what_is_not_seen_vanishes_or_is_a_blank(problem2):
    assert [problem2.normalise(text) for text in NORMAL] == list(NORMAL.values())


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60).filter(lambda text: "#" not in text))
def test_no_letter_of_any_sentence_is_lost_in_its_tokens(problem2, text):
    normal = problem2.normalise(text)
    assert normal == " ".join(normal.split())
    assert not {"Cf", "Zl", "Zp"} & set(map(unicodedata.category, normal))
    (french,), (english,) = (problem2.tokenize([normal], language) for language in ("fr", "en"))
    for joined in ("".join(french), problem2.join(english)):
        assert joined.replace(" ", "") == normal.replace(" ", "")


PIECES = (
    "i can't cannot we're o'neil u.s.a. mr. 10% 3.50 naïve a.m. ... -- n't 's :) well-known gonna"
)
PIECES = [*PIECES.split(), " ", *".,;:!?'\"()-$"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_joining_undoes_the_split(problem2, text):
    english = problem2.normalise(text)
    (tokens,) = problem2.tokenize([english], "en")
    assert problem2.join(tokens) == english


def test_only_a_line_feed_ends_a_line_and_half_a_pair_is_left_out(problem2, tmp_path):
    lines = "Go\u2028on.\tVa\u202f!\tCC\n\nWait.\t\n\tRien.\nHi\x0b!\x85\tOh\x0c!\r\nHi !\tOh !"
    (tmp_path / "pairs.txt").write_bytes(lines.encode())
    with zipfile.ZipFile(tmp_path / "pairs.zip", "w") as archive:
        archive.writestr("data/eng-fra.txt", lines)
    for path in tmp_path.iterdir():
        assert problem2.read_pairs(path) == [("oh !", "hi !"), ("va !", "go on.")]


@pytest.mark.parametrize("content", ["", "\n", "<html>404</html>", "Go.\tVa.\nWait."])
def test_a_file_of_another_layout_is_refused_by_its_name(problem2, tmp_path, content):
    (tmp_path / "pairs.txt").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs\.txt"):
        problem2.read_pairs(tmp_path / "pairs.txt")


@settings(max_examples=50, deadline=None)
@given(st.sets(st.tuples(*[st.integers(0, 30)] * 2), min_size=1, max_size=80), st.integers(0, 9))
def test_no_sentence_stands_in_two_parts_and_each_pair_in_one(problem2, numbers, seed):
    pairs = [(f"{a}", f"{b}") for a, b in numbers]
    parts = problem2.split_by_components(pairs, seed)
    assert set(parts) == {"train", "val", "test"}
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(pairs)))
    for side in (0, 1):
        sets = [{pairs[i][side] for i in part} for part in parts.values()]
        assert sum(map(len, sets)) == len(set.union(*sets))


def test_small_components_are_shared_out_as_asked(problem2):
    pairs = [(f"f{i // 2}", f"e{i}") for i in range(2000)]
    one, other = (problem2.split_by_components(pairs, seed) for seed in (1, 2))
    assert abs(len(one["test"]) - 200) <= 2 and abs(len(one["val"]) - 100) <= 4
    assert set(one["test"]) != set(other["test"])


IN_TUTORIAL = ["i am here.", "she's fine.", "you're in.", "they are " + "so " * 7]
NOT_IN = ["he has slept.", "i amuse you.", "tom says he is here.", "they are " + "so " * 8]


def test_pairs_of_the_tutorial_are_short_and_begin_as_its_do(problem2):
    found = [text for text in [*IN_TUTORIAL, *NOT_IN] if problem2.in_tutorial(("oui", text))]
    assert found == IN_TUTORIAL
    assert not problem2.in_tutorial(("oui " * 10, IN_TUTORIAL[0]))


@pytest.mark.parametrize("shape", [(16, 16), (24, 8), (8, 24)])
def test_a_step_of_muon_has_the_gradients_singular_vectors_and_equal_values(problem2, shape):
    torch.manual_seed(0)
    U, _, Vh = torch.linalg.svd(torch.randn(3, *shape), full_matrices=False)
    stacked = nn.Parameter(torch.zeros(3 * shape[0], shape[1]))
    stacked.grad = ((U * torch.linspace(1, 0.1, min(shape))) @ Vh).flatten(0, 1)
    problem2.Muon([{"params": [stacked], "blocks": 3}], lr=0.1).step()
    step = -stacked.detach().view(3, *shape) / (0.1 * 0.2 * max(shape) ** 0.5)
    values = U.mT @ step @ Vh.mT
    diagonal = values.diagonal(dim1=1, dim2=2)
    assert (values - torch.diag_embed(diagonal)).abs().max() < 1e-4
    assert 0.6 < diagonal.min() and diagonal.max() < 1.3


def test_muon_decays_a_weight_of_zero_gradient_and_skips_one_of_none(problem2):
    decayed, skipped = (nn.Parameter(torch.ones(6, 2)) for _ in range(2))
    decayed.grad = torch.zeros(6, 2)
    groups = [{"params": [skipped, decayed], "blocks": 3}]
    problem2.Muon(groups, lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(decayed.detach(), torch.full((6, 2), 0.95))
    assert torch.equal(skipped, torch.ones(6, 2))


@both
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_each_weight_has_one_optimizer_and_only_matrices_decay(problem2, name, optimizer):
    model = build(problem2, name)
    names = {weight: key for key, weight in model.named_parameters()}
    tables = {key for key in names.values() if key.startswith(("source.", "target.", "bias"))}
    matrices = {names[w] for w in names if w.dim() == 2 and len(w) > 1} - tables
    optimizers = problem2.make_optimizers(model, RECIPE | {"optimizer": optimizer})
    groups = [(type(each), group) for each in optimizers for group in each.param_groups]

    def of(holds):
        chosen = (group["params"] for kind, group in groups if holds(kind, group))
        return sorted(names[weight] for weights in chosen for weight in weights)

    stacked = {n for n in matrices if re.search("in_proj_weight|weight_ih|weight_hh", n)}
    assert of(lambda kind, group: True) == sorted(names.values()), "each once"
    in_muon = matrices if optimizer == "muon" else set()
    assert of(lambda kind, group: kind is problem2.Muon) == sorted(in_muon)
    assert of(lambda kind, group: group["weight_decay"] > 0) == sorted(matrices)
    assert of(lambda kind, group: group["rate"] == 0.03) == sorted(tables)
    assert of(lambda kind, group: group.get("blocks") == 3) == sorted(stacked) != []


@settings(max_examples=20, deadline=None)
@given(st.integers(50, 3000))
def test_rates_rise_for_a_tenth_and_fall_to_nothing_lower_in_longer_trainings(problem2, steps):
    rates = np.array([problem2.schedule(step, steps) for step in range(steps)])
    top = rates.argmax()
    assert np.diff(rates[: top + 1]).min() > 0 and np.diff(rates[top:]).max() < 1e-9
    assert abs(top - steps / 10) <= 2 and 0 < rates[-1] < 0.03 * rates[top]
    assert rates[top] == pytest.approx(math.sqrt(1000 / steps), rel=0.05)


def make_data(problem2):
    """Digits that are said again, as what a model is trained on."""
    draw = np.random.default_rng(0)
    said = [draw.integers(4, 14, draw.integers(1, 6)) for _ in range(80)]
    train, val = (problem2.Corpus(part, part) for part in (said[:60], said[60:]))
    return SimpleNamespace(train=train, val=val, vectors=make_vectors(14, 14))


def key(problem2, name, data=None, seed=1, **options):
    data = data or make_data(problem2)
    return problem2.key_of(data, RECIPE | {"model": name} | options, seed)


CHANGES = {"rate": 0.02, "dropout": 0.1, "heads": 4, "width": 32, "epochs": 4, "seed": 2}


@both
def test_another_recipe_seed_pair_or_vector_has_another_key(problem2, name):
    data, keys = make_data(problem2), {key(problem2, name)}
    assert key(problem2, name) in keys, "of the same: the same"
    keys |= {key(problem2, name, **{option: value}) for option, value in CHANGES.items()}
    for number in (data.train.source[7], data.train.target[9], data.val.source[0], *data.vectors):
        number[-1] += 1
        keys.add(key(problem2, name, data))
    data.train = data.train.part(range(59))
    assert len(keys | {key(problem2, name, data)}) == 1 + len(CHANGES) + 5 + 1


USED_BY = {
    "rnn": "AdditiveAttention.forward RNNTranslator.decode",
    "transformer": "TransformerTranslator.encode sinusoids",
    "rnn transformer": "Translator.logits WordEmbedding.forward smoothed_loss schedule evaluate "
    "Muon.step orthogonal Corpus.joined Corpus.batches Corpus.tensors",
    "": "beam_search translate_all interval search SCALES LETTERS beam resamples",
}


@pytest.mark.parametrize(
    ("models", "changed"), [(m, c) for m in USED_BY for c in USED_BY[m].split()]
)
def test_only_what_a_model_uses_changes_its_key(problem2, monkeypatch, models, changed):
    before = {name: key(problem2, name) for name in ("rnn", "transformer")}
    *outer, inner = changed.split(".")
    if outer:
        monkeypatch.setattr(getattr(problem2, *outer), inner, lambda *_: 1)
    else:
        monkeypatch.setitem(problem2.train.__globals__, inner, lambda *_: 1)
    assert [name for name in before if key(problem2, name) != before[name]] == models.split()


@pytest.mark.parametrize(
    ("name", "optimizer"), [("rnn", "adam"), ("rnn", "muon"), ("transformer", "muon")]
)
def test_a_training_that_stops_goes_on_and_ends_at_the_same_weights(
    problem2, tmp_path, monkeypatch, capsys, name, optimizer
):
    monkeypatch.chdir(tmp_path)
    recipe = RECIPE | {"model": name, "optimizer": optimizer, "dropout": 0.1}

    def train(kept):
        model, log = problem2.translator(make_data(problem2), recipe, name=kept)
        return [(one["loss"], one["val_loss"]) for one in log], model.state_dict()

    log = stop_and_go_on(problem2, train, monkeypatch, capsys)
    assert log[-1][1] < log[0][1]


def search_of(problem2, lowest, trials):
    """The places that the search tries, in order, for a separable convex loss."""
    called = []

    def trial(recipe, data):
        place = tuple(values.index(recipe[name]) for name, values in problem2.SCALES.items())
        called.append(place)
        return {"val_loss": sum((i + 1) * abs(place[i] - lowest[i]) for i in range(4))}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(problem2.train.__globals__, "trial", trial)
        tried = [list(problem2.search(cell, None, trials)) for cell in problem2.CELLS]
    assert all(each == tried[0] for each in tried), "each cell alike"
    assert called == [*itertools.chain(*tried)] and len(set(tried[0])) == len(tried[0]), (
        "each place once"
    )
    return tried[0]


@settings(max_examples=30, deadline=None)
@given(st.tuples(*(st.integers(0, size - 1) for size in (8, 5, 5, 4))), st.integers(1, 9))
def test_a_search_tries_as_many_places_as_it_may_and_finds_the_best(problem2, lowest, trials):
    assert len(search_of(problem2, lowest, trials)) == trials
    assert lowest in search_of(problem2, lowest, 40)


SENTENCES = ["", "le " * 3000, "zzz qqq xxx", "\U0001f600 \u2764", "(" * 10_000, "\u200b"]


@both
@pytest.mark.parametrize("sentence", [*SENTENCES, SENTENCES], ids=lambda s: repr(s[:3]))
def test_any_sentence_is_translated_in_time(problem2, name, sentence):
    words = [problem2.make_vocabulary([["le", "chat", "."]] * 2) for _ in range(2)]
    model, data = build(problem2, name, map(len, words)), SimpleNamespace(vocabularies=words)
    model.bias.data[EOS] = 5.0  # else the RNN, which is not trained, takes its time
    sentences, started = sentence if isinstance(sentence, list) else [sentence], time.monotonic()
    english = problem2.translate_all(model.float(), sentences, data, 2)
    assert time.monotonic() - started < 5 * len(sentences)
    for before, after in zip(sentences, english, strict=True):
        assert isinstance(after, str) and (before or not after)


def test_the_committed_run_says_what_was_asked():
    results = json.loads((ROOT / "writeup/results/problem2.json").read_text(encoding="utf-8"))
    metrics = results["metrics"]
    for cell in ("rnn_adam", "rnn_muon", "transformer_adam", "transformer_muon"):
        about = {k: metrics[f"{cell}_{k}"] for k in ("val_loss", "train_seconds", "bleu")}
        low, high = (metrics[f"{cell}_bleu_ci_{end}"] for end in ("low", "high"))
        assert min(about.values()) > 0 and low < about["bleu"] < high
    assert metrics["split_seed"] == 2027 and metrics["trials_a_cell"] > 0
    assert min(metrics["glove_coverage"], metrics["french_coverage"]) >= 0.99
    assert metrics["rnn_random_bleu"] > 0
