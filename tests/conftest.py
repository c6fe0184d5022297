"""Shared: the notebooks' definitions without their training, and one quick run of each."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch
from lab import CHROMIUM, opened, run_all
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ["problem1_rnn", "problem2_attention", "problem3_gnn"]
OUTPUT = "build/test"

# Run by IPython before the first cell: what warns, fails. Deprecations inside of libraries are the
# libraries' business.
WARNINGS_AS_ERRORS = """
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", category=DeprecationWarning, module="(?!__main__)")
warnings.filterwarnings("ignore", category=PendingDeprecationWarning, module="(?!__main__)")
"""


def read_notebook(name):
    return nbformat.read(ROOT / f"{name}.ipynb", as_version=4)


def tags(cell):
    return set(cell.metadata.get("tags", []))


def load_definitions(name):
    """Execute only the cells of a notebook that define something, and return what they define."""
    namespace = {"__name__": name}
    for number, cell in enumerate(read_notebook(name).cells):
        if tags(cell) & {"parameters", "definition"}:
            exec(compile(cell.source, f"{name}, cell {number}", "exec"), namespace)
    return SimpleNamespace(**namespace)


def stop_and_go_on(definitions, train, monkeypatch, capsys):
    """Try that a training of 3 epochs, stopped after the first, ends as if it had not been.

    definitions: of a notebook. train: name under which it is kept, or None -> (figures an epoch,
    weights). Returns the figures.
    """

    def write_and_stop(path, write):
        definitions.write_through(path, write)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setitem(definitions.write_through.__globals__, "write_through", write_and_stop)
        train("stopped")
    whole_figures, whole = train(None)
    for epochs in (1, 3):  # the second time the cell is run once more after its end
        figures, weights = train("stopped")
        assert f"{epochs} of 3 epochs are done" in capsys.readouterr().out
        assert figures == whole_figures and len(figures) == 3
        assert all(torch.equal(weights[part], value) for part, value in whole.items())
    return whole_figures


def pytest_report_header():
    without = "without a browser, since Chromium is not installed"
    how = "Run All in JupyterLab, twice" if CHROMIUM else without
    return f"quick runs: {how}"


def prepare_quick_run(name):
    """Put a notebook set to the quick profile into a folder as a student's; return its path."""
    folder = ROOT / OUTPUT / "mes études"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data").exists():
        (folder / "data").symlink_to(ROOT / "data")
    notebook = read_notebook(name)
    (first,) = (cell for cell in notebook.cells if "parameters" in tags(cell))
    first.source = first.source.replace('"full"', '"quick"').replace('"writeup"', '".."')
    nbformat.write(notebook, folder / f"{name}.ipynb")
    for path in (folder / "build/kept").glob(f"{name.partition('_')[0]}*"):
        path.unlink()
    return folder / f"{name}.ipynb"


@functools.cache
def quick_run(name):
    """Run a notebook in the quick profile with warnings as errors, once a test session.

    Where there is a Chromium: by Run All in JupyterLab, and then by Run All once more in the same
    kernel. Returns the notebook as it was after the first and after the last run.
    """
    path = prepare_quick_run(name)
    with tempfile.TemporaryDirectory() as ipython:
        startup = Path(ipython, "profile_default", "startup")
        startup.mkdir(parents=True)
        (startup / "warnings_as_errors.py").write_text(WARNINGS_AS_ERRORS)
        environment = {"IPYTHONDIR": ipython, "OMP_WAIT_POLICY": "PASSIVE"}
        environment |= {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        if CHROMIUM is None:
            executed = nbformat.read(path, as_version=4)
            NotebookClient(executed).execute(cwd=path.parent, env=os.environ | environment)
            return executed, executed
        with opened(path, environment) as page:
            run_all(page)
            executed = nbformat.read(path, as_version=4)
            page.screenshot(path.with_suffix(".png"))
            run_all(page)
    return executed, nbformat.read(path, as_version=4)


def run_again(path, output_dir):
    """Run each cell of a prepared notebook twice in a row, then each once more and the last one.

    All in one kernel, with what earlier runs have kept. Yields after each time that the last cell
    has run, with the number of the cell that was run before it; results go to output_dir.
    """
    notebook = nbformat.read(path, as_version=4)
    (first,) = (cell for cell in notebook.cells if "parameters" in tags(cell))
    first.source = first.source.replace('".."', f'"{output_dir}"')
    code = [number for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    client = NotebookClient(notebook, timeout=600)
    with client.setup_kernel(cwd=path.parent):
        for number in code:
            for _ in "once", "again":
                client.execute_cell(notebook.cells[number], number)
        yield code[-1]
        for number in code[:-1]:
            for each in number, code[-1]:
                client.execute_cell(notebook.cells[each], each)
            yield number


@pytest.fixture(scope="session", params=NOTEBOOKS)
def notebook(request):
    return request.param


@pytest.fixture(scope="session")
def problem1():
    return load_definitions("problem1_rnn")


@pytest.fixture(scope="session")
def problem2():
    return load_definitions("problem2_attention")


@pytest.fixture(scope="session")
def problem3():
    return load_definitions("problem3_gnn")


@pytest.fixture
def small_disk():
    """small_disk(path, options of tmpfs) mounts one at a path. Skips where that is not allowed."""
    mounted = []

    def mount(path, options):
        path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting is not allowed here")
        mounted.append(path)

    yield mount
    for path in dict.fromkeys(mounted):
        subprocess.run(["umount", str(path)], check=True)


@pytest.fixture(scope="session")
def quick_pdf():
    """The PDF of the quick runs."""
    for name in NOTEBOOKS:
        quick_run(name)
    subprocess.run(["make", "--silent", "pdf", f"OUTPUT={OUTPUT}"], cwd=ROOT, check=True)
    return ROOT / OUTPUT / "writeup.pdf"
