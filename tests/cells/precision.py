# These cells wait for the notebooks of problems 1 and 2, which will hold them as definitions.
import contextlib
import re
from pathlib import Path

import torch


def computes_in_bfloat16(device):
    """Whether the device has instructions for bfloat16; where it is emulated it is slow.

    CUDA has them from compute capability 8.0 on, a CPU with AVX-512 BF16 or AMX (Linux tells).
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    cpuinfo = Path("/proc/cpuinfo")
    if device.type != "cpu" or not cpuinfo.exists():
        return False
    return bool(re.search("avx512_bf16|amx_bf16", cpuinfo.read_text()))


def autocast(device, recurrent=False):
    """Context in which products are computed in bfloat16 where that is fast, else in float32.

    recurrent: for GRU and LSTM layers; CUDA's autocast would run them in float16, whose range
    their gradients leave, so there they stay in float32, inside of another autocast too, and
    want float32 inputs.
    """
    if recurrent and device.type == "cuda":
        return torch.autocast("cuda", enabled=False)
    if computes_in_bfloat16(device):
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()
