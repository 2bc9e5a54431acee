"""What machine this is, by kind and never by name. May not import torch."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

ISA_FLAGS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "asimd")
"""Instruction sets that decide which CPU kernels run, best first."""
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
    """The peak of a GPU product; None for a device that the facts do not know."""
    if product is None:
        return None
    return next((p for pattern, p in peaks().values() if re.search(pattern, product)), None)


@cache
def _cpu() -> tuple[str, str, str]:
    """(model, best instruction set, generation)."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        return described(info.read_text("utf-8", errors="replace"))
    model = None
    if platform.system() == "Darwin":
        model = first_line("sysctl", "-n", "machdep.cpu.brand_string")
    return " ".join((model or _unnamed()).split()), platform.machine(), ""


def described(cpuinfo: str) -> tuple[str, str, str]:
    """(model, best instruction set, generation) of the first processor in /proc/cpuinfo's text.

    A hypervisor may hide the product ("AMD EPYC"): only family and model then tell generations
    apart, of which one can be twice as fast as another.
    """
    first, _, _ = cpuinfo.partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    model = " ".join(fields.get("model name", _unnamed()).split())
    known = set(fields.get("flags", fields.get("Features", "")).split())
    isa = next((flag for flag in ISA_FLAGS if flag in known), platform.machine())
    numbers = [f"{name} {fields[key]}" for name, key in GENERATION.items() if key in fields]
    return model, isa, " ".join(numbers)


def _unnamed() -> str:
    return platform.processor() or platform.machine()


def first_line(*command: str) -> str | None:
    """First line of a program's output; None where it is missing or fails."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Physical memory; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def load_average() -> float | None:
    """One-minute load average, where there is one."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def cpu_class() -> str:
    """The CPU's model and best instruction set."""
    return " ".join(_cpu()[:2])


def cpu() -> str:
    """The CPU in full: model, best instruction set, generation."""
    return " ".join(_cpu()).strip()
