"""What a machine may lack: one message says what is missing and what to do."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
from conftest import ROOT, read_notebook


@pytest.fixture
def bare_make(tmp_path):
    """Runs make in a copy of the Makefile, with nothing in PATH but a few tools and the given scripts."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("make", "sh", "id", "mkdir", "mv", "touch", "env"):
        (tools / tool).symlink_to(shutil.which(tool))
    for file in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / file, tmp_path)

    def run(target, **scripts):
        for name, script in scripts.items():
            (tools / name).write_text(f"#!/bin/sh\n{script}\n")
            (tools / name).chmod(0o755)
        return subprocess.run(
            ["make", target], cwd=tmp_path, env={"PATH": str(tools)}, capture_output=True, text=True, timeout=60
        )

    return run


@pytest.mark.parametrize("version", ["3.10.14", "3.13.1", None])
def test_another_python_is_named(bare_make, version, tmp_path):
    scripts = {"python3": f'[ "$1" = --version ] && echo "Python {version}" || exit 1'} if version else {}
    done = bare_make("setup", **scripts)
    assert done.returncode != 0
    assert "Python 3.11 or 3.12 is needed" in done.stdout
    assert (version or "found") in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_without_the_venv_module_the_package_is_named(bare_make):
    done = bare_make("setup", python3='[ "$1" = -m ] && exit 1; exit 0')
    assert done.returncode != 0 and "apt install python3-venv" in done.stdout


def test_without_a_network_the_set_up_says_what_to_check(bare_make, tmp_path):
    pip = tmp_path / "pip"
    pip.write_text("#!/bin/sh\nexit 1\n")
    pip.chmod(0o755)
    make_venv = f'if [ "$1" = -m ]; then mkdir -p .venv/bin; mv {pip} .venv/bin/pip; fi'
    done = bare_make("setup", python3=make_venv)
    assert done.returncode != 0 and "check the network and the free disk space" in done.stdout
    assert not (tmp_path / ".venv/installed").exists()


@pytest.mark.parametrize("scripts", [{}, {"apt-get": "exit 1", "id": "echo 1000"}], ids=["no apt", "no sudo"])
def test_without_latex_the_packages_are_named(bare_make, scripts):
    done = bare_make("latex", **scripts)
    assert done.returncode != 0
    assert "The PDF needs LaTeX: install latexmk" in done.stdout


@pytest.mark.parametrize("reason", [ImportError, OSError])
def test_a_torchtext_that_does_not_load_is_explained(reason):
    cell = next(cell.source for cell in read_notebook("problem1_rnn").cells if "import torchtext" in cell.source)
    program = f"""
import builtins
load = builtins.__import__
def refuse(name, *rest, **named):
    if name.split(".")[0] == "torchtext":
        raise {reason.__name__}("undefined symbol")
    return load(name, *rest, **named)
builtins.__import__ = refuse
exec({cell!r})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    message = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and message.startswith("ImportError")
    for part in ("torchtext does not load beside torch", "0.18.0", "pip install torch==2.3.1", "restart the kernel"):
        assert part in message


@pytest.mark.parametrize(
    ("gigabytes", "profile", "short"), [(4, "full", True), (1, "quick", True), (8, "full", False), (4, "quick", False)]
)
def test_too_little_memory_is_said_with_what_to_do(problem3, monkeypatch, capsys, gigabytes, profile, short):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=gigabytes * 1e9))
    monkeypatch.setitem(problem3.check_memory.__globals__, "profile", profile)
    problem3.check_memory(full=5, quick=3)
    said = capsys.readouterr().out
    if not short:
        assert said == ""
        return
    for part in (f"the {profile} profile needs", f"here are {gigabytes}.0", 'profile = "quick" (3 GB)', "are kept"):
        assert part in said
