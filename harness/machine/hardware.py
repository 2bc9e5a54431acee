"""What machine this is, by kind and never by name."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import psutil

ISA_FLAGS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "asimd")
"""Instruction sets that decide which CPU kernels run, best first."""
BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
"""The flags of x86 processors that multiply in bf16."""
UNSURE_FLAGS = frozenset({"avx_ne_convert", "bf16"})
"""The flags of newer x86 processors without AVX-512, and of Arm: there may be such products, if the
library was built for them."""
GENERATION = {"family": "cpu family", "model": "model"}
"""Our names for x86's numbers of a processor's generation, and /proc/cpuinfo's."""


@dataclass(frozen=True)
class Peak:
    """What a device can do at most, and who says so."""

    name: str
    bf16_flops: float
    memory_bytes: int
    bandwidth: float
    watts: float
    source: str
    device: str = "cuda"
    """The kind of device, as `--device` takes it."""


@cache
def peaks() -> dict[str, tuple[str, Peak]]:
    """Device -> (pattern of the driver's product name, peak), from `facts/hardware.toml`."""
    text = resources.files("harness.machine.facts").joinpath("hardware.toml").read_text("utf-8")
    table = {}
    for name, row in tomllib.loads(text).items():
        pattern = row.pop("match")
        table[name] = (pattern, Peak(name, **row))
    return table


def peak_of(product: str | None) -> Peak | None:
    """The peak of a GPU product; None for a device that the facts do not know, and for a slice of
    one, whose share of the rates nothing tells."""
    if product is None or "MIG" in product.split():
        return None
    return next((p for pattern, p in peaks().values() if re.search(pattern, product)), None)


@cache
def _cpuinfo() -> str:
    """What Linux says of the processors; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    return info.read_text("utf-8", errors="replace") if info.exists() else ""


@cache
def _cpu() -> tuple[str, str, str]:
    """(model, best instruction set, generation)."""
    if info := _cpuinfo():
        return described(info)
    model = None
    if platform.system() == "Darwin":
        model = first_line("sysctl", "-n", "machdep.cpu.brand_string")
    return " ".join((model or _unnamed()).split()), platform.machine(), ""


def described(cpuinfo: str) -> tuple[str, str, str]:
    """(model, best instruction set, generation) of the first processor in /proc/cpuinfo's text.

    A hypervisor may hide the product ("AMD EPYC"): only family and model then tell generations
    apart, of which one can be twice as fast as another.
    """
    fields = _fields(cpuinfo)
    model = " ".join(fields.get("model name", _unnamed()).split())
    known = _flags(fields)
    isa = next((flag for flag in ISA_FLAGS if flag in known), platform.machine())
    numbers = [f"{name} {fields[key]}" for name, key in GENERATION.items() if key in fields]
    return model, isa, " ".join(numbers)


def has_bf16(cpuinfo: str) -> bool | None:
    """Whether the first processor in /proc/cpuinfo's text multiplies bf16 by itself; None where
    its list of instructions is missing or does not tell."""
    flags = _flags(_fields(cpuinfo))
    if flags & BF16_FLAGS:
        return True
    return None if not flags or flags & UNSURE_FLAGS else False


def _fields(cpuinfo: str) -> dict[str, str]:
    first, _, _ = cpuinfo.partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _flags(fields: dict[str, str]) -> set[str]:
    """x86 calls them flags, Arm features."""
    return set(fields.get("flags", fields.get("Features", "")).split())


def _unnamed() -> str:
    return platform.processor() or platform.machine()


def first_line(*command: str) -> str | None:
    """First line of a program's output; None where it is missing or fails."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def instruction_set() -> str:
    """The best of ISA_FLAGS that the CPU has, else its architecture."""
    return _cpu()[1]


def multiplies_bf16() -> bool | None:
    """`has_bf16` of this CPU."""
    return has_bf16(_cpuinfo())


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Physical memory."""
    return int(psutil.virtual_memory().total)


def peak_resident_bytes() -> int:
    """The highest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # unlike getrusage, not inherited from the parent through exec
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # which Windows does not have

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def load_average() -> float:
    """The machine's load over the last minute."""
    return round(psutil.getloadavg()[0], 2)


def cpu_class() -> str:
    """The CPU's model and best instruction set."""
    return " ".join(_cpu()[:2])


def cpu() -> str:
    """The CPU in full: model, best instruction set, generation."""
    return " ".join(_cpu()).strip()
