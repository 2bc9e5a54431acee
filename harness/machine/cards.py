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
import platform
import re
import shutil
import signal
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.config import digest
from harness.files import cache_root, write_atomically
from harness.machine import programs

ROOT = Path(__file__).resolve().parents[2]
"""What a child needs on its path."""
DRIVER_FILE = Path("/proc/driver/nvidia/version")
NODES = (Path("/dev/nvidiactl"), Path("/usr/lib/wsl/lib/libcuda.so.1"))
"""Signs of a driver where there is neither its tool nor that file: in a container, under WSL."""
TOOLS = (Path("/usr/lib/wsl/lib/nvidia-smi"),)
"""Where the tool is beside $PATH: a login to WSL over ssh does not have it there."""
SMI_SECONDS = 10.0
"""An idle driver answers within one; a card that has fallen off the bus never does."""
TORCH_SECONDS = 120.0
"""Importing torch on a cold disk takes up to a minute; a first kernel some seconds."""
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
"""CUDA's major version -> the first driver branch for Linux that runs it, by minor-version
compatibility (NVIDIA's CUDA Compatibility guide, table 1)."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
CHOOSING = (VISIBLE, "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH")
"""Variables on which it depends which card torch takes, and by which driver."""
CUDA_WHEELS = {("Linux", "x86_64"), ("Linux", "aarch64")}
"""Systems for which PyPI's torch is one for CUDA."""
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
    hangs: bool = False
    """Whether the driver's tool did not answer: what asks the driver the same way would hang."""


@dataclass(frozen=True)
class Driver:
    """What the driver's own tool says."""

    version: str | None
    said: str
    """Everything that it said of its cards; what is remembered of torch's answer depends on it."""
    silent: str | None = None
    """Why the tool said nothing."""
    hangs: bool = False
    """Whether it is that it did not answer in time."""

    @property
    def text(self) -> str:
        """Its version, or what is known instead."""
        known = [f"driver {self.version}"] if self.version else []
        return ", ".join([*known, *([self.silent] if self.silent else [])]) or "a driver"


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
        chosen = [os.environ.get(name) for name in CHOOSING]
        what = ["card", driver.said, sys.executable, *_software(), *chosen]
        memory = cache_root() / "cards" / f"{digest(what)}.json"
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
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
        known = _version(DRIVER_FILE.read_text("utf-8", errors="replace"))
    tool = shutil.which("nvidia-smi") or next((str(t) for t in TOOLS if t.is_file()), None)
    if tool is None:
        signs = known is not None or any(node.exists() for node in NODES)
        return Driver(known, "", "there is no nvidia-smi") if signs else None
    query = [tool, "--query-gpu=driver_version,name,uuid", "--format=csv,noheader"]
    try:
        done = programs.ask(query, SMI_SECONDS)
        if done is None:
            why = f"nvidia-smi did not answer within {SMI_SECONDS:.0f} s"
            return Driver(known, "", why, hangs=True)
        # The first list has cards alone, this one their slices too, whatever the tool's version.
        slices = programs.ask([tool, "-L"], SMI_SECONDS) if done.code == 0 else None
    except OSError as error:
        return Driver(known, "", f"nvidia-smi does not start ({error.strerror})")
    known = _version(done.out) or known
    if done.code:
        line = _lines(done.out) or _lines(done.error) or [f"exit code {done.code}"]
        return Driver(known, "", f"nvidia-smi says: {line[0][:200]}")
    return Driver(known, done.out.strip() + (slices.out.strip() if slices else ""))


def _version(text: str) -> str | None:
    """The first driver's version in a text, among whatever else it says: `580.95.05`."""
    named = re.search(r"(?<![\d.])(\d{3,4}\.\d+(?:\.\d+)?)(?![\d.])", text)
    return named[1] if named else None


def _lines(text: str) -> list[str]:
    """Lines with something in them, as a terminal may show them."""
    clean = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return [line.strip() for line in clean.splitlines() if line.strip()]


def ask_torch() -> dict[str, Any] | str:
    """What `harness.train.card` prints, or why it printed nothing."""
    words = [sys.executable, "-P", "-m", "harness.train.card"]
    done = programs.ask(words, TORCH_SECONDS, {**os.environ, "PYTHONPATH": _path()})
    if done is None:
        return f"torch did not answer within {TORCH_SECONDS:.0f} s"
    for line in reversed(done.out.splitlines()):  # what it loads may say something after it
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and {"torch", "cuda", "available"} <= set(found):
                return found
    if said := _lines(done.error):
        return f"torch could not be asked: {said[-1][:200]}"
    if done.code < 0:
        with contextlib.suppress(ValueError):
            return f"torch could not be asked: {signal.Signals(-done.code).name} ended it"
    return f"torch could not be asked: it ended with code {done.code}"


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
    if isinstance(answer, str):
        return f"{answer} ({driver.text})"
    if answer["cuda"] is None:
        return _without_cuda(answer["torch"], driver)
    if not answer["available"]:
        return _not_available(answer, driver, visible)
    if answer["bf16"]:
        what = f"{answer['product']} ({driver.text}) computes nothing"
        return f"{what}: {answer['bf16']}{_built(answer)}"
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
        hangs=driver.hangs,
    )


def _without_cuda(torch: str, driver: Driver) -> str:
    what = f"torch {torch} is built without CUDA"
    if driver.version is None and driver.silent:  # its tool may be left over: is there a card?
        return f"{NO_DRIVER} ({driver.silent}), and {what}"
    mend = f"pip install --force-reinstall torch=={torch.partition('+')[0]}"
    if (platform.system(), platform.machine()) not in CUDA_WHEELS:
        mend = "install one for CUDA, as pytorch.org/get-started says for this system"
    return f"{what}, beside {driver.text}: {mend}"


def _built(answer: dict[str, Any]) -> str:
    """Which cards this torch has kernels for, where this one is none of them."""
    if "no kernel image" not in answer["bf16"]:
        return ""
    mine = ".".join(map(str, answer["capability"]))
    known = ", ".join(answer.get("built_for", ())) or "others"
    return (
        f"; its compute capability is {mine}, and torch {answer['torch']} is built for {known}: "
        "install one that is built for it"
    )


def _not_available(answer: dict[str, Any], driver: Driver, visible: str | None) -> str:
    cuda = answer["cuda"]
    needed = OLDEST_DRIVER.get(int(cuda.partition(".")[0]))
    if driver.version and needed and int(driver.version.partition(".")[0]) < needed:
        return (
            f"driver {driver.version} is older than {needed}, which torch {answer['torch']}'s "
            f"CUDA {cuda} needs: update the driver, rent a machine with CUDA {cuda} or newer, "
            f"or install this torch built for an older CUDA"
        )
    if visible is not None:
        return f"torch sees no card with {VISIBLE}={visible!r} ({driver.text}): unset or correct it"
    why = answer["why"] or "it does not say why"
    return f"torch {answer['torch']} finds no GPU: {why} ({driver.text})"
