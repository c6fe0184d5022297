"""JupyterLab in a real browser: each notebook opens, runs by Run All in the quick profile, and every cell ends well.

Needs Chromium, which .ci/run installs; without it these tests are skipped.
"""

import base64
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
import websocket
from conftest import NOTEBOOKS, OUTPUT, ROOT, read_notebook, tags
from test_notebooks import check_outputs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIMIT = 900  # seconds for one notebook

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(url, seconds=60):
    """Wait until `url` answers."""
    for _ in range(2 * seconds):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"{url} did not answer within {seconds} s")


class Page:
    """A page of a headless Chromium, driven through its debugging protocol."""

    def __init__(self, port, url):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?{url}", method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            address = json.load(answer)["webSocketDebuggerUrl"]
        self.socket, self.numbers = websocket.create_connection(address, timeout=LIMIT), itertools.count(1)

    def send(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != number:
            pass
        return answer["result"]

    def evaluate(self, expression):
        """The value of a JavaScript expression; a promise is awaited. AssertionError if it throws."""
        answer = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_until(self, expression, seconds=120):
        for _ in range(2 * seconds):
            if self.evaluate(f"Boolean({expression})"):
                return
            time.sleep(0.5)
        raise TimeoutError(f"not within {seconds} s: {expression}")

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as a student's, with a blank and an accent in its name; its notebooks are set to the quick profile."""
    folder = tmp_path_factory.mktemp("lab") / "mes études"
    folder.mkdir()
    (folder / "data").symlink_to(ROOT / "data")
    for name in NOTEBOOKS:
        notebook = read_notebook(name)
        (first,) = (cell for cell in notebook.cells if "parameters" in tags(cell))
        first.source = first.source.replace('profile = "full"', 'profile = "quick"')
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(folder):
    """The address of a JupyterLab in that folder."""
    port = free_port()
    options = ["--no-browser", "--allow-root", "--expose-app-in-browser", "--ServerApp.ip=127.0.0.1"]
    options += [f"--ServerApp.port={port}", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    with (folder / "lab.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options], stdout=log, stderr=log, env=environment
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/lab")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """The debugging port of a headless Chromium that asks nobody but this machine."""
    port = free_port()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update", "--remote-allow-origins=*"]
    options += [f"--remote-debugging-port={port}", f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]
    browser = subprocess.Popen(
        [CHROMIUM, *options, "--window-size=1400,1800", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/json/version")
        yield port
    finally:
        browser.terminate()
        browser.wait(60)


def test_run_all_cells_in_jupyterlab(folder, lab, chromium, notebook):
    page = Page(chromium, f"{lab}/lab/tree/{notebook}.ipynb")
    page.wait_until("window.jupyterapp && jupyterapp.shell.currentWidget && jupyterapp.shell.currentWidget.context")
    page.evaluate("jupyterapp.shell.currentWidget.context.ready.then(() => true)")
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.ready.then(() => true)")
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)")
    page.evaluate("jupyterapp.commands.execute('docmanager:save').then(() => true)")
    (ROOT / OUTPUT).mkdir(parents=True, exist_ok=True)
    page.screenshot(ROOT / OUTPUT / f"lab_{notebook}.png")
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown().then(() => true)")
    check_outputs(nbformat.read(folder / f"{notebook}.ipynb", as_version=4))
