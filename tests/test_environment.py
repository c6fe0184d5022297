"""The set-up: what is locked and for whom, and what is said where a machine lacks something."""

import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT, read_notebook
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PLATFORMS = {
    "Linux on x86-64": {"sys_platform": "linux", "platform_machine": "x86_64"},
    "macOS on Apple silicon": {"sys_platform": "darwin", "platform_machine": "arm64"},
    "Windows on x86-64": {"sys_platform": "win32", "platform_machine": "AMD64"},
}

# A Python 3.11 whose venv module makes a copy of it and a uv; pip and uv exit with `installs`.
PYTHON = """
[ "$1" = --version ] && echo "Python 3.11.9"
[ "$1 $2" != "-m venv" ] || {{ rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python
  printf '#!/bin/sh\nexit {installs}\n' >.venv/bin/uv; chmod +x .venv/bin/uv; }}
[ "$1 $2" != "-m pip" ] || exit {installs}
exit 0
"""


@pytest.fixture
def bare_make(tmp_path):
    """Runs make in a folder with the Makefile, and nothing in PATH but a few tools and scripts."""
    tools, project = tmp_path / "bin", tmp_path / "project"
    tools.mkdir()
    project.mkdir()
    for tool in "cat chmod cksum cp env id make mkdir mv rm sed sh".split():
        (tools / tool).symlink_to(shutil.which(tool))
    for file in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / file, project)

    def run(target, folder=project, **scripts):
        for name, script in scripts.items():
            (tools / name).write_text(f"#!/bin/sh\n{script}\n")
            (tools / name).chmod(0o755)
        here = {"cwd": folder, "env": {"PATH": str(tools)}}
        return subprocess.run(["make", target], **here, capture_output=True, text=True, timeout=60)

    run.project = project
    return run


def pins(file):
    """The requirements `name==version; marker` of a file, without comments and hashes."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return [Requirement(line.strip()) for line in re.findall(r"^\w.*?==[^#\\\n]+", text, re.M)]


def versions(requirements, platform, python):
    """{name: version} of what is installed on a platform."""
    here = PLATFORMS[platform] | {"python_version": python, "python_full_version": f"{python}.9"}
    chosen = [pin for pin in requirements if pin.marker is None or pin.marker.evaluate(here)]
    named = {canonicalize_name(pin.name): str(pin.specifier) for pin in chosen}
    assert len(named) == len(chosen), "one version of each"
    return named


@pytest.mark.parametrize("python", ["3.11", "3.12"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_lock_holds_what_the_list_asks_for(platform, python):
    listed = versions(pins("requirements.txt"), platform, python)
    locked = versions(pins("requirements.lock"), platform, python)
    assert listed.items() <= locked.items(), "the lock is older than the list: make lock"


def test_the_lock_needs_nothing_but_the_list_and_is_by_hash():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.split(r"^(?=\w)", text, flags=re.M)[1:]
    asked = [Requirement(block.split()[0]) for block in blocks if "-r requirements.txt" in block]
    listed = {(canonicalize_name(pin.name), str(pin.specifier)) for pin in pins("requirements.txt")}
    assert {(pin.name, str(pin.specifier)) for pin in asked} == listed, "make lock"
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text, "from where is for whoever installs to say"


def test_the_readme_promises_the_platforms_of_the_lock():
    with (ROOT / "pyproject.toml").open("rb") as file:
        required = tomllib.load(file)["tool"]["uv"]["required-environments"]
    covered = [n for line in required for n in PLATFORMS if Marker(line).evaluate(PLATFORMS[n])]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    promised = re.findall(r"^\| ([^|]+?) \| (?:works|resolves)\b", readme, re.M)
    assert covered == promised and len(covered) == len(required)


@pytest.mark.parametrize("version", ["3.10.14", "3.13.1", None])
def test_another_python_is_named(bare_make, version):
    script = f'[ "$1" = --version ] && echo "Python {version}" || exit 1'
    done = bare_make("setup", **({"python3": script} if version else {}))
    assert done.returncode != 0
    assert "Python 3.11 or 3.12 is needed" in done.stdout
    assert (version or "found") in done.stdout
    assert not (bare_make.project / ".venv").exists()


def test_without_the_venv_module_the_package_is_named(bare_make):
    done = bare_make("setup", python3='[ "$1" = -m ] && exit 1; exit 0')
    assert done.returncode != 0 and "apt install python3-venv" in done.stdout


def test_without_a_network_the_set_up_says_what_to_check(bare_make):
    for _ in "once", "again":
        done = bare_make("setup", python3=PYTHON.format(installs=1))
        assert done.returncode != 0 and "check the network and the free disk space" in done.stdout
        assert not (bare_make.project / ".venv/installed").exists()
    assert "made anew" in done.stdout


def test_set_up_is_done_once(bare_make):
    done = bare_make("setup", python3=PYTHON.format(installs=0))
    assert done.returncode == 0, done.stderr
    assert "GB to download" in done.stdout and "made anew" not in done.stdout
    assert "Installing" not in bare_make("setup").stdout


@pytest.mark.parametrize("change", ["folder", "lock", "python", "python gone", "unfinished"])
def test_an_environment_that_no_longer_fits_is_made_anew(bare_make, change):
    bare_make("setup", python3=PYTHON.format(installs=0))
    folder = bare_make.project
    if change == "folder":
        folder = folder.rename(folder.with_name("moved"))
    elif change == "lock":
        (folder / "requirements.lock").write_text("another==1.0\n")
    elif change == "python":
        (folder / ".venv/bin/python").write_text("#!/bin/sh\necho Python 3.12.1\n")
    elif change == "python gone":
        (folder / ".venv/bin/python").unlink()
    else:
        (folder / ".venv/installed").unlink()
    done = bare_make("setup", folder)
    assert done.returncode == 0, done.stderr
    assert "it is made anew" in done.stdout and "GB to download" in done.stdout
    assert "Installing" not in bare_make("setup", folder).stdout


@pytest.mark.parametrize(
    "scripts", [{}, {"apt-get": "exit 1", "id": "echo 1000"}], ids=["no apt", "no sudo"]
)
def test_without_latex_the_packages_are_named(bare_make, scripts):
    done = bare_make("latex", **scripts)
    assert done.returncode != 0
    assert "The PDF needs LaTeX: install latexmk" in done.stdout


@pytest.mark.parametrize("reason", [ImportError, OSError])
def test_a_torchtext_that_does_not_load_is_explained(reason):
    cells = read_notebook("problem2_attention").cells
    cell = next(cell.source for cell in cells if "import torchtext" in cell.source)
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
    command = "pip install torch==2.3.1 torchtext==0.18.0"
    for part in ("compiled for torch 2.3", command, "restart the kernel"):
        assert part in message
