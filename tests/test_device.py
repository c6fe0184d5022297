"""Where it is computed: the device that can do it, and bfloat16 where it is in hardware."""

from pathlib import Path

import pytest
import torch
from conftest import load_definitions, read_notebook

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
REFUSALS = {
    "an old wheel": RuntimeError("CUDA error: no kernel image is available for execution\nCompile"),
    "no operator": NotImplementedError("The operator 'aten::_embedding_bag' is not implemented"),
    "no memory": torch.cuda.OutOfMemoryError("CUDA out of memory."),
    "no reason": RuntimeError(),
}


@pytest.fixture
def machine(monkeypatch):
    """machine(cuda, mps) makes torch say what is there."""

    def is_there(cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return is_there


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_the_device_that_runs_the_trial_is_taken(problem3, machine, capsys, kind):
    machine(**{kind: True})
    tried = []
    assert problem3.pick_device(tried.append) == torch.device(kind)
    assert tried == [torch.device(kind)] and capsys.readouterr().out == ""


def test_where_nothing_else_is_there_it_is_the_cpu_without_a_word(problem3, machine, capsys):
    machine()
    assert problem3.pick_device(lambda device: 1 / 0) == CPU
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("reason", REFUSALS.values(), ids=REFUSALS)
def test_a_device_that_cannot_is_passed_over_with_the_reason(
    problem3, machine, capsys, kind, reason
):
    def refuse(device):
        raise reason

    machine(**{kind: True})
    assert problem3.pick_device(refuse) == CPU
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and kind in said and "the CPU is used" in said
    assert str(reason).partition("\n")[0] in said


def test_the_trial_of_problem_3_runs_on_the_cpu(machine):
    (cell,) = (c for c in read_notebook("problem3_gnn").cells if "= pick_device(" in c.source)
    machine()
    namespace = vars(load_definitions("problem3_gnn"))
    exec(cell.source, namespace)
    namespace["trial"](CPU)
    assert namespace["device"] == CPU


CAPABILITIES = {(6, 1): False, (7, 5): False, (8, 0): True, (8, 9): True, (12, 0): True}
FLAGS = {"avx2 avx512f": False, "avx512_bf16": True, "amx_tile amx_bf16": True, None: False}


def test_bfloat16_is_used_where_it_is_in_hardware(problem2, monkeypatch):
    for capability, hardware in CAPABILITIES.items():
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert problem2.computes_in_bfloat16(CUDA) == hardware
    for flags, hardware in FLAGS.items():
        monkeypatch.setattr(Path, "exists", lambda path, flags=flags: flags is not None)
        monkeypatch.setattr(Path, "read_text", lambda path, flags=flags: f"flags : fpu {flags}")
        assert problem2.computes_in_bfloat16(CPU) == hardware
        assert not problem2.computes_in_bfloat16(MPS)


@pytest.mark.parametrize("hardware", [True, False])
@pytest.mark.parametrize("device", [CPU, CUDA, MPS], ids=str)
def test_recurrent_layers_are_never_in_half_precision(problem2, monkeypatch, device, hardware):
    names = problem2.autocast.__globals__
    monkeypatch.setitem(names, "computes_in_bfloat16", lambda device: hardware)
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda *given, **named: asked.append((given, named)))
    problem2.autocast(device, recurrent=True)
    assert asked == [(("cuda",), {"enabled": False})] * (device == CUDA)
    problem2.autocast(device)
    assert asked[device == CUDA :] == [((device.type, torch.bfloat16), {})] * hardware
