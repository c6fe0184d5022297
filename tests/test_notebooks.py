"""The notebooks as files: structure, committed outputs, and a quick run of each."""

import ast
import dis
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import macros
import pypdf
import pytest
import submission
from conftest import (
    NOTEBOOKS,
    OUTPUT,
    ROOT,
    load_definitions,
    quick_run,
    read_notebook,
    run_again,
    tags,
)
from matplotlib import get_data_path
from matplotlib.font_manager import get_font
from readme_table import read_results

PARTS = {"problem1_rnn": "abcd", "problem2_attention": "abcde", "problem3_gnn": "abc"}
RESULTS = set("profile run cells figures data environment seconds metrics".split())


def check_outputs(notebook):
    assert [*submission.check_execution(notebook), *submission.check_outputs(notebook)] == []
    widget = "application/vnd.jupyter.widget-view+json"
    for _, cell in submission.code_cells(notebook):
        for output in cell.outputs:
            assert widget not in output.get("data", {}), "widgets vanish in viewers"


def test_first_code_cell_holds_the_parameters(notebook):
    cell = next(cell for cell in read_notebook(notebook).cells if cell.cell_type == "code")
    assert tags(cell) == {"parameters"}
    values = {}
    exec(cell.source, values)
    assert (values["profile"], values["output_dir"]) == ("full", "writeup")


def test_a_definition_in_several_notebooks_is_the_same_in_each():
    """What two of them need stands in both in the same words, or has two names."""
    found = {}
    for name in NOTEBOOKS:
        for cell in read_notebook(name).cells:
            for node in ast.parse(cell.source).body if "definition" in tags(cell) else []:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    found.setdefault(node.name, set()).add(ast.unparse(node))
    assert [name for name, versions in found.items() if len(versions) > 1] == []


def test_figures_need_no_font_but_those_of_matplotlib():
    files = Path(get_data_path(), "fonts", "ttf").glob("*.ttf")
    shipped = {get_font(path).postscript_name for path in files}
    for path in Path(ROOT, "writeup", "figures").glob("*.pdf"):
        fonts = submission.fonts(pypdf.PdfReader(path).pages[0]["/Resources"])
        names = {font["/BaseFont"].rpartition("+")[2].lstrip("/") for font in fonts}
        assert names and names <= shipped, path


def test_every_part_has_its_heading(notebook):
    cells = read_notebook(notebook).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = re.findall(r"^## .*$", text, re.M)
    for letter in PARTS[notebook]:
        assert any(f"({letter})" in heading for heading in headings), letter


def test_definition_cells_run_nothing(notebook, request):
    """Loading them without the rest succeeds: they need nothing that a running cell sets."""
    definitions = request.getfixturevalue(notebook.partition("_")[0])
    assert callable(definitions.write_through)


def test_nothing_foreign_is_unpickled_or_unpacked(notebook):
    cells = read_notebook(notebook).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert re.findall(r"torch\.load\((?!.*weights_only=True).*", code) == []
    foreign = r"\bpickle\b|allow_pickle|extractall|(?<!\.)\beval\(|read_pickle|joblib\.load"
    assert re.findall(foreign, code) == []


def test_committed_outputs(notebook):
    path = ROOT / f"{notebook}.ipynb"
    check_outputs(read_notebook(notebook))
    assert path.stat().st_size < 2_000_000


def test_committed_results_are_those_of_the_committed_notebook(notebook):
    check_results(ROOT / "writeup", notebook, "full", read_notebook(notebook))


def test_the_committed_run_is_one_run(notebook):
    """Outputs, results, figures and executed source are of one run of the committed cells."""
    problem = notebook.partition("_")[0]
    assert list(submission.check_run(read_notebook(notebook), ROOT / "writeup", problem)) == []
    check_figures(ROOT / "writeup", problem)


def check_figures(folder, problem):
    """Each figure says of which run it is."""
    run = json.loads((folder / f"results/{problem}.json").read_text(encoding="utf-8"))["run"]
    figures = list(folder.glob(f"figures/p{problem[-1]}_*.pdf"))
    assert figures
    for path in figures:
        assert pypdf.PdfReader(path).metadata.subject == f"run {run}", path.name


def test_quick_run(notebook):
    executed, again = quick_run(notebook)
    check_outputs(executed)
    assert list(submission.check_outputs(again)) == []
    check_results(ROOT / OUTPUT, notebook, "quick", again)
    check_figures(ROOT / OUTPUT, notebook.partition("_")[0])


def test_any_cell_runs_again_with_the_same_results(notebook):
    """Each cell twice in a row; then any earlier cell once more and the last: the same metrics."""
    quick_run(notebook)
    results = f"results/{notebook.partition('_')[0]}.json"
    metrics = untimed(ROOT / OUTPUT / results)
    path = ROOT / OUTPUT / "mes études" / f"{notebook}.ipynb"
    for number in run_again(path, "../again"):
        assert untimed(ROOT / OUTPUT / "again" / results) == metrics, f"after cell {number}"


def untimed(path):
    """The metrics of a results file but those that are measured times of this very run."""
    metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    measured = {"attention_time_exponent", "longest_sequence_seconds"}
    return {name: value for name, value in metrics.items() if name not in measured}


def names_of(code):
    """The global names that a compiled cell reads before it sets them, and those that it sets."""
    read, bound, later = set(), set(), set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_NAME", "LOAD_GLOBAL") and step.argval not in bound:
            read.add(step.argval)
        elif step.opname in ("STORE_NAME", "STORE_GLOBAL"):
            bound.add(step.argval)
    for part in code.co_consts:
        if isinstance(part, types.CodeType):  # a function reads when it is called
            inner = [step for step in dis.get_instructions(part) if step.opname == "LOAD_GLOBAL"]
            later |= {step.argval for step in inner} | names_of(part)[0]
    return read | (later - bound), bound


def test_no_cell_reads_a_name_that_several_others_set(notebook):
    """Else what it does depends on which of them was run last."""
    parameters, *cells = (c for c in read_notebook(notebook).cells if c.cell_type == "code")
    found = [names_of(compile(cell.source, "cell", "exec")) for cell in cells]
    own = names_of(compile(parameters.source, "cell", "exec"))[1]
    bound = [name for _, names in found for name in names - own]
    several = {name for name in bound if bound.count(name) > 1}
    assert {name: n for n, (read, _) in enumerate(found, 1) for name in read & several} == {}


def test_started_in_another_folder_it_says_so_and_writes_nothing(notebook, tmp_path, monkeypatch):
    (setup,) = (c for c in read_notebook(notebook).cells if c.source.startswith("if not Path"))
    namespace = vars(load_definitions(notebook))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="start this notebook in its own folder"):
        exec(setup.source, namespace)
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_written_to_is_no_news(notebook):
    code = [cell.source for cell in read_notebook(notebook).cells if cell.cell_type == "code"]
    start = next(n for n, source in enumerate(code) if "run, started" in source)
    environment = os.environ | {"MPLCONFIGDIR": "/dev/null/none", "MPLBACKEND": "agg"}
    command = [sys.executable, "-c", "\n".join(code[: start + 1])]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""


def check_results(folder, name, profile, executed):
    """The results contract, and that the notebook's own last line is about this very file."""
    problem = name.partition("_")[0]
    path = Path(folder, "results", f"{problem}.json")
    results = json.loads(path.read_text(encoding="utf-8"))
    assert set(results) == RESULTS
    assert results["profile"] == profile
    assert {"python", "torch", "device", "threads"} <= set(results["environment"])
    for record in results["data"].values():
        assert {"source", "rows", "sha256"} <= set(record)
    missing = required_metrics(problem) - set(results["metrics"])
    assert not missing
    for metric, value in results["metrics"].items():
        assert isinstance(value, int | float | str), metric
        assert value == value, f"{metric} is not a number"
    assert list(submission.check_run(executed, Path(folder), problem)) == []
    text = macros.macros(problem, results)
    defined = re.findall(rf"\\defresult\{{{problem}\}}\{{(\w+)\}}\{{", text)
    assert set(results["metrics"]) <= set(defined)
    return results


def required_metrics(problem):
    if problem == "problem1":
        scores = "accuracy accuracy_ci_low accuracy_ci_high accuracy_unseen_texts".split()
        models = ("test", "tutorial_test", "linear_test")
        return {f"{model}_{score}" for model in models for score in scores} | set(
            "lstm_cell_max_abs_diff_float32 lstm_cell_max_abs_diff_float64 split_seed networks "
            "lstm_cell_max_grad_diff_float64 rows_train rows_val rows_test manual_test_accuracy "
            "train_seconds tutorial_train_seconds".split()
        )
    if problem == "problem2":
        cells = ("rnn_adam", "rnn_muon", "transformer_adam", "transformer_muon")
        scores = "bleu bleu_ci_low bleu_ci_high chrf parameters val_loss train_seconds".split()
        return {f"{cell}_{score}" for cell in (*cells, "rnn_random") for score in scores} | set(
            "permutation_max_abs_diff encoder_layer_max_abs_diff_float64 split_seed trials_a_cell "
            "encoder_layer_max_grad_diff_float64 attention_time_exponent glove_coverage "
            "french_coverage train_pairs val_pairs test_pairs".split()
        )
    settings = {"": "median ridge copy trees gcn ours", "_distinct": "median ridge trees gcn ours"}
    graphs = ("chameleon", "squirrel", "crocodile")
    return {
        *("neighbours_of_node_10", "largest_component_nodes", "convolution_max_abs_diff"),
        *("split_seeds", *(f"{graph}_seeds" for graph in graphs)),
        *(
            f"{graph}_{model}_mae{setting}{score}"
            for graph in graphs
            for setting, models in settings.items()
            for model in models.split()
            for score in ("", "_std")
        ),
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


def test_students_lines_are_left_to_the_student(notebook):
    """They stand in writeup/ alone."""
    text = "\n".join(c.source for c in read_notebook(notebook).cells if c.cell_type == "markdown")
    for line in "Collaborators", "AI tools":
        assert line not in text
