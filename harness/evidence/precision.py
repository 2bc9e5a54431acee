"""`train.dtype=auto` and `optim.muon_ns_dtype=auto`: the precision that a device multiplies in.

bf16 where the hardware has instructions for it, else fp32: without them libraries convert every
operand, which is slower than fp32 and no more exact. Processors that list their instructions are
known by them; of the others a child process asks torch and times a product.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from typing import Literal, NamedTuple

from harness.code import provenance
from harness.config import RunConfig, digest
from harness.data.cache import cache_root
from harness.files import write_atomically
from harness.machine import devices
from harness.machine.devices.cpu import CAPS
from harness.optim import registry

SECONDS = 120.0
"""A few on an idle machine: importing torch, and half a second of products."""


class Native(NamedTuple):
    """Whether a device multiplies bf16 by itself, and who says so, in one line."""

    bf16: bool
    why: str

    @property
    def dtype(self) -> Literal["bf16", "fp32"]:
        """What `auto` stands for there."""
        return "bf16" if self.bf16 else "fp32"


Probe = Callable[[], Native]
"""Asked only where somebody wants to know."""


def unasked() -> Native:
    """The answer where no device in particular is meant."""
    return Native(True, "no device was asked")


def of_machine(device: str) -> Native:
    """What this machine's device of a kind multiplies in."""
    known, why = devices.of(device).multiplies_bf16()
    return _asked(device) if known is None else Native(known, why)


@cache
def _asked(device: str) -> Native:
    """As a child process finds, remembered in the cache for this device, software and caps."""
    software = provenance.software_set(provenance.software())
    caps = {name: os.environ[name] for name in CAPS if name in os.environ}
    what = [device, devices.of(device).product(), *software, caps]
    memory = cache_root() / "precision" / f"{digest(what)}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Native(*json.loads(memory.read_text("utf-8")))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness.train.precision", device],
            env={**os.environ, "PYTHONPATH": str(provenance.ROOT)}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SECONDS, check=True,
        )  # fmt: skip
        found = Native(*json.loads(done.stdout))
    except (subprocess.SubprocessError, ValueError, TypeError):
        # fp32 works everywhere; whatever is wrong with torch, the run itself will say.
        return Native(False, "torch could not be asked about bf16")
    with contextlib.suppress(OSError):  # a cache that cannot be written costs seconds again
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(memory, json.dumps(found))
    return found


def emulated(configs: Iterable[RunConfig], native: Native) -> str | None:
    """One line where a configuration wants bf16 that the device emulates; None where none does."""
    if native.bf16:
        return None
    wanted = {field for config in configs for field in _in_bf16(config)}
    return f"{' and '.join(sorted(wanted))}=bf16: {native.why}" if wanted else None


def _in_bf16(config: RunConfig) -> list[str]:
    fields = ["train.dtype"] if config.train.dtype == "bf16" else []
    if registry.reads(config.optim.name, "muon_ns_dtype") and config.optim.muon_ns_dtype == "bf16":
        fields.append("optim.muon_ns_dtype")
    return fields
