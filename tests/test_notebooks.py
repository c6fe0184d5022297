"""The notebooks as files: structure, committed outputs, and a quick run of each."""

import ast
import hashlib
import json
import re
from pathlib import Path

import pypdf
import pytest
import submission
from conftest import NOTEBOOKS, OUTPUT, ROOT, quick_run, read_notebook, tags
from matplotlib import get_data_path
from matplotlib.font_manager import get_font
from readme_table import read_results

PARTS = {"problem1_rnn": "abcd", "problem2_attention": "abcde", "problem3_gnn": "abc"}


def check_outputs(notebook):
    assert [*submission.check_execution(notebook), *submission.check_outputs(notebook)] == []
    for _, cell in submission.code_cells(notebook):
        for output in cell.outputs:
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {}), "widgets vanish in viewers"


def test_first_code_cell_holds_the_parameters(notebook):
    cell = next(cell for cell in read_notebook(notebook).cells if cell.cell_type == "code")
    assert tags(cell) == {"parameters"}
    values = {}
    exec(cell.source, values)
    assert (values["profile"], values["output_dir"]) == ("full", "writeup")


def test_common_cells_are_equal():
    first, *others = ([c.source for c in read_notebook(name).cells if "common" in tags(c)] for name in NOTEBOOKS)
    assert first
    for other in others:
        assert other == first


def test_a_definition_in_several_notebooks_is_the_same_in_each():
    found = {}
    for name in NOTEBOOKS:
        for cell in read_notebook(name).cells:
            for node in ast.parse(cell.source).body if "definition" in tags(cell) else []:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    found.setdefault(node.name, set()).add(ast.unparse(node))
    several = {name for name, versions in found.items() if len(versions) > 1}
    assert several == {"tokenize", "train_epoch", "make_optimizers"}, (
        "of tweets and of sentences, of a classifier and of a translator"
    )


def test_figures_need_no_font_but_those_of_matplotlib():
    shipped = {get_font(path).postscript_name for path in Path(get_data_path(), "fonts", "ttf").glob("*.ttf")}
    for path in Path(ROOT, "writeup", "figures").glob("*.pdf"):
        fonts = submission.fonts(pypdf.PdfReader(path).pages[0]["/Resources"])
        names = {font["/BaseFont"].rpartition("+")[2].lstrip("/") for font in fonts}
        assert names and names <= shipped, path


def test_every_part_has_its_heading(notebook):
    headings = re.findall(
        r"^## .*$", "\n".join(c.source for c in read_notebook(notebook).cells if c.cell_type == "markdown"), re.M
    )
    for letter in PARTS[notebook]:
        assert any(f"({letter})" in heading for heading in headings), f"part ({letter}) has no heading"


def test_code_cells_fit_a_screen(notebook):
    for cell in read_notebook(notebook).cells:
        if cell.cell_type == "code":
            assert cell.source.count("\n") < 60, cell.source[:100]


def test_definition_cells_run_nothing(notebook, request):
    """Loading them without the rest succeeds: they need nothing that a running cell sets."""
    definitions = request.getfixturevalue(notebook.partition("_")[0])
    assert callable(definitions.seed_everything)


def test_nothing_foreign_is_unpickled_or_unpacked(notebook):
    code = "\n".join(cell.source for cell in read_notebook(notebook).cells if cell.cell_type == "code")
    assert re.findall(r"torch\.load\((?!.*weights_only=True).*", code) == []
    assert re.findall(r"\bpickle\b|allow_pickle|extractall|(?<!\.)\beval\(|read_pickle|joblib\.load", code) == []


def test_committed_outputs(notebook):
    path = ROOT / f"{notebook}.ipynb"
    check_outputs(read_notebook(notebook))
    assert path.stat().st_size < 2_000_000


def test_committed_results_are_those_of_the_committed_notebook(notebook):
    problem = notebook.partition("_")[0]
    check_results(ROOT / "writeup", problem, "full", read_notebook(notebook))


def test_quick_run(notebook):
    executed, again = quick_run(notebook)
    check_outputs(executed)
    assert list(submission.check_outputs(again)) == []
    check_results(ROOT / OUTPUT, notebook.partition("_")[0], "quick", again)


def check_results(folder, problem, profile, executed):
    """The results contract, and that the notebook's own last line is about this very file."""
    path = Path(folder, "results", f"{problem}.json")
    results = json.loads(path.read_text())
    assert set(results) == {"profile", "data", "environment", "seconds", "metrics"}
    assert results["profile"] == profile
    assert {"python", "torch", "device", "threads"} <= set(results["environment"])
    for record in results["data"].values():
        assert {"source", "rows", "sha256"} <= set(record)
    assert required_metrics(problem) <= set(results["metrics"]), required_metrics(problem) - set(results["metrics"])
    for name, value in results["metrics"].items():
        assert isinstance(value, int | float | str), name
        assert value == value, f"{name} is not a number"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert f"{problem}.json sha256 {digest}" in submission.output_text(executed), (
        "the notebook's outputs are of another run"
    )
    macros = re.findall(r"\\defresult\{(\w+)\}\{(\w+)\}\{", path.with_suffix(".tex").read_text())
    assert set(results["metrics"]) <= {name for owner, name in macros if owner == problem}


def required_metrics(problem):
    if problem == "problem1":
        cell = "lstm_cell_max_abs_diff_float32 lstm_cell_max_abs_diff_float64 lstm_cell_max_grad_diff_float64"
        rows = "rows_train rows_val rows_test train_seconds tweets_per_second tutorial_tweets_per_second"
        baselines = "linear_test_accuracy tutorial_test_accuracy manual_test_accuracy"
        ours = "test_accuracy test_accuracy_ci_low test_accuracy_ci_high test_accuracy_unseen_texts"
        return set(f"{cell} {rows} {baselines} {ours}".split())
    if problem == "problem2":
        models = [prefix + model for prefix in ("", "tutorial_") for model in ("rnn", "rnn_random", "transformer")]
        scores = "bleu bleu_ci_low bleu_ci_high chrf parameters train_seconds".split()
        return {f"{model}_{score}" for model in models for score in scores} | set(
            "permutation_max_abs_diff encoder_layer_max_abs_diff_float64 encoder_layer_max_grad_diff_float64 "
            "attention_time_exponent glove_coverage french_coverage train_pairs val_pairs test_pairs".split()
        )
    graphs, models = ("chameleon", "squirrel", "crocodile"), ("median", "ridge", "trees", "gcn", "ours")
    scores = ("mae", "mae_std", "mae_twin_safe", "mae_views")
    return {f"{graph}_{model}_{score}" for graph in graphs for model in models for score in scores} | {
        "neighbours_of_node_10",
        "largest_component_nodes",
        "convolution_max_abs_diff",
        *(f"{graph}_seeds" for graph in graphs),
    }


def test_exact_parts_are_exact():
    """What must hold whatever the data and the budget: the own layers equal the built-in ones."""
    results = read_results(ROOT / "writeup" / "results")
    metrics = {problem: results[problem]["metrics"] for problem in results}
    assert metrics["problem1"]["lstm_cell_max_abs_diff_float64"] < 1e-12
    assert metrics["problem1"]["lstm_cell_max_abs_diff_float32"] < 1e-5
    assert metrics["problem2"]["encoder_layer_max_abs_diff_float64"] < 1e-12
    assert metrics["problem2"]["permutation_max_abs_diff"] < 1e-12
    assert metrics["problem3"]["convolution_max_abs_diff"] < 1e-5


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_students_lines_are_left_to_the_student(name):
    text = "\n".join(c.source for c in read_notebook(name).cells[:2] if c.cell_type == "markdown")
    assert "Collaborators" in text and "AI tools" in text
