"""The NVIDIA GPU that a run here would be on: what torch itself says of it, in a child process.

A driver that answers is not a GPU that computes: the driver may be older than torch's CUDA, torch
may be built for CPUs, a variable may hide the card, or it hangs. So torch is asked, once, where a
driver is installed at all; a good answer is remembered for this driver, software and choice of
cards. May not import torch.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.config import digest
from harness.files import cache_root, write_atomically

ROOT = Path(__file__).resolve().parents[2]
"""What a child needs on its path."""
DRIVER_FILE = Path("/proc/driver/nvidia/version")
SMI_SECONDS = 10.0
"""An idle driver answers within one; a card that has fallen off the bus never does."""
TORCH_SECONDS = 120.0
"""Importing torch on a cold disk takes up to a minute; a first kernel some seconds."""
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
"""CUDA's major version -> the first driver branch for Linux that runs it, by minor-version
compatibility (NVIDIA's CUDA Compatibility guide, table 1)."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
NO_DRIVER = "no NVIDIA driver answers"


@dataclass(frozen=True)
class Card:
    """A GPU that torch can use."""

    product: str
    """The driver's name for it; a slice of a card says so (MIG)."""
    memory_bytes: int
    """Of the card, or of the slice."""
    uuid: str
    """As torch has it, without a prefix; empty where it has none."""
    capability: tuple[int, int]
    torch: str
    cuda: str
    """The CUDA that this torch is built for."""
    count: int
    """Cards that torch sees; it takes the first."""
    driver: str
    """The driver's version; empty where nothing tells."""
    triton: str
    """Why no Triton kernel can be built here; empty where one was, and ran."""


@dataclass(frozen=True)
class Driver:
    """What the driver's own tool says."""

    version: str | None
    said: str
    """Everything that it said of its cards; what is remembered of torch's answer depends on it."""
    silent: str | None = None
    """Why the tool said nothing."""


def usable() -> Card | str:
    """The GPU that torch takes, or in one line why there is none."""
    return _asked()


@cache
def _asked() -> Card | str:
    driver = ask_driver()
    if driver is None:
        return NO_DRIVER
    memory = None
    if driver.silent is None:
        what = ["card", driver.said, sys.executable, *_software(), os.environ.get(VISIBLE)]
        memory = cache_root() / "cards" / f"{digest(what)}.json"
        with contextlib.suppress(OSError, ValueError, TypeError):
            kept = json.loads(memory.read_text("utf-8"))
            return Card(**{**kept, "capability": tuple(kept["capability"])})
    found = card_of(ask_torch(), driver, os.environ.get(VISIBLE))
    if memory is not None and isinstance(found, Card) and not found.triton:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs seconds again
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(memory, json.dumps(asdict(found)))
    return found


def ask_driver() -> Driver | None:
    """What `nvidia-smi` says; None where there is no sign of a driver."""
    known = None
    with contextlib.suppress(OSError):
        named = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", DRIVER_FILE.read_text("utf-8"))
        known = named[1] if named else None
    if shutil.which("nvidia-smi") is None:
        return None if known is None else Driver(known, known, "there is no nvidia-smi")
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version,name,uuid", "--format=csv,noheader"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SMI_SECONDS,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Driver(known, "", f"nvidia-smi did not answer within {SMI_SECONDS:.0f} s")
    except OSError as error:
        return Driver(known, "", f"nvidia-smi does not start ({error.strerror})")
    said = done.stdout.strip()
    if done.returncode:
        line = ((said or done.stderr.strip()).splitlines() or [f"exit {done.returncode}"])[0]
        return Driver(known, "", f"nvidia-smi says: {line.strip()[:200]}")
    version = said.partition(",")[0].strip()
    return Driver(version if re.fullmatch(r"[\d.]+", version) else known, said)


def ask_torch() -> dict[str, Any] | str:
    """What `harness.train.card` prints, or why it printed nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness.train.card"],
            env={**os.environ, "PYTHONPATH": _path()}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=TORCH_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"torch did not answer within {TORCH_SECONDS:.0f} s"
    with contextlib.suppress(ValueError, IndexError):
        found = json.loads(done.stdout.strip().splitlines()[-1])
        if isinstance(found, dict):
            return found
    last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
    return f"torch could not be asked: {last[:200]}"


def _path() -> str:
    """A user's own path stays, and ours behind it."""
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([*([given] if given else []), str(ROOT)])


def _software() -> list[str | None]:
    found: list[str | None] = []
    for name in ("torch", "triton"):
        try:
            found.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            found.append(None)
    return found


def card_of(answer: dict[str, Any] | str, driver: Driver, visible: str | None) -> Card | str:
    """The card of torch's answer, or why it is none: what is wrong, and the mend.

    `visible` is the value of CUDA_VISIBLE_DEVICES.
    """
    beside = f"driver {driver.version}" if driver.version else (driver.silent or "a driver")
    if isinstance(answer, str):
        return f"{answer} ({beside})"
    if answer["cuda"] is None:
        return (
            f"torch {answer['torch']} is built for CPUs, beside {beside}: "
            f"pip install --force-reinstall torch=={answer['torch'].partition('+')[0]}"
        )
    if not answer["available"]:
        return _not_available(answer, driver, visible, beside)
    if answer["bf16"]:
        return f"{answer['product']} ({beside}) computes nothing: {answer['bf16']}"
    return Card(
        product=answer["product"],
        memory_bytes=answer["memory_bytes"],
        uuid=answer["uuid"],
        capability=(answer["capability"][0], answer["capability"][1]),
        torch=answer["torch"],
        cuda=answer["cuda"],
        count=answer["count"],
        driver=driver.version or "",
        triton=answer["triton"],
    )


def _not_available(answer: dict[str, Any], driver: Driver, visible: str | None, beside: str) -> str:
    cuda = answer["cuda"]
    needed = OLDEST_DRIVER.get(int(cuda.partition(".")[0]))
    if driver.version and needed and int(driver.version.partition(".")[0]) < needed:
        return (
            f"driver {driver.version} is older than {needed}, which torch {answer['torch']}'s "
            f"CUDA {cuda} needs: update the driver, rent a machine with CUDA {cuda} or newer, "
            f"or install this torch built for an older CUDA"
        )
    if visible is not None:
        return f"torch sees no card with {VISIBLE}={visible!r} ({beside}): unset or correct it"
    return f"torch {answer['torch']} finds no GPU beside {beside}: {answer['why'] or 'no reason'}"
