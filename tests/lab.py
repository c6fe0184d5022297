"""JupyterLab in a real browser, driven through the debugging protocol of a headless Chromium."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import websocket

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
LIMIT = 900  # seconds for one notebook


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def server(command, url, log, environment=None):
    """The address `url` while the command runs that serves it; what it prints goes to the file `log`."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait(60)


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
    """A page of a browser that is debugged at `address`."""

    def __init__(self, address, url):
        request = urllib.request.Request(f"{address}/json/new?{url}", method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            own_address = json.load(answer)["webSocketDebuggerUrl"]
        self.socket, self.numbers = (
            websocket.create_connection(own_address, timeout=LIMIT),
            itertools.count(1),
        )

    def send(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != number:
            pass
        return answer["result"]

    def evaluate(self, expression):
        """The value of a JavaScript expression; a promise is awaited. AssertionError if it throws."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_until(self, expression, seconds=120):
        for _ in range(2 * seconds):
            if self.evaluate(f"Boolean({expression})"):
                return
            time.sleep(0.5)
        raise TimeoutError(f"not within {seconds} s: {expression}")

    def screenshot(self, path):
        path.write_bytes(
            base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        )


@contextlib.contextmanager
def opened(path, environment):
    """The page of a notebook, opened in a JupyterLab with the given environment, in a workspace of its own."""
    with tempfile.TemporaryDirectory() as profile, contextlib.ExitStack() as stack:
        environment = (
            os.environ | environment | {"JUPYTERLAB_WORKSPACES_DIR": f"{profile}/workspaces"}
        )
        port = free_port()
        options = [
            "--no-browser",
            "--allow-root",
            "--expose-app-in-browser",
            "--ServerApp.ip=127.0.0.1",
        ]
        options += [
            f"--ServerApp.port={port}",
            "--IdentityProvider.token=",
            f"--ServerApp.root_dir={path.parent}",
        ]
        command, lab = (
            [sys.executable, "-m", "jupyter", "lab", *options],
            f"http://127.0.0.1:{port}/lab",
        )
        stack.enter_context(server(command, lab, path.with_suffix(".lab.log"), environment))
        port = free_port()
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ]
        options += [
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
        ]
        options += [
            "--remote-allow-origins=*",
            f"--remote-debugging-port={port}",
            f"--user-data-dir={profile}",
        ]
        command, address = (
            [CHROMIUM, *options, "--window-size=1400,1800", "about:blank"],
            f"http://127.0.0.1:{port}",
        )
        stack.enter_context(
            server(command, f"{address}/json/version", path.with_suffix(".chromium.log"))
        )
        page = Page(address, f"{lab}/tree/{path.name}")
        page.wait_until("window.jupyterapp && jupyterapp.shell.currentWidget?.context")
        page.evaluate("jupyterapp.shell.currentWidget.context.ready.then(() => true)")
        page.evaluate("jupyterapp.shell.currentWidget.sessionContext.ready.then(() => true)")
        yield page
        page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown().then(() => true)")


def run_all(page):
    """Run > Run All Cells, to the end, and save."""
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)")
    page.evaluate("jupyterapp.commands.execute('docmanager:save').then(() => true)")
