"""Whether there is a GPU that computes: torch is asked, beside drivers that are old, odd or hang.

`nvidia-smi` and torch are stand-ins, a program on the path and a module; the child that asks, its
time limit and what is made of its answer are the real ones.
"""

from __future__ import annotations

import os
import stat
import sys
import textwrap
import time
from pathlib import Path

import pytest

from harness.machine import cards
from harness.machine.devices import of
from harness.machine.hardware import peak_of

TORCH = """
class _Version: cuda = {cuda!r}
version = _Version()
__version__ = {version!r}
bfloat16 = None
class _X:
    def __matmul__(self, other): return self
    def sum(self): return self
    def item(self):
        {product}
        return 64.0**3
def ones(*a, **k): return _X()
class _Card:
    def __init__(self, name, memory, major, minor, uuid):
        self.name, self.total_memory, self.major, self.minor = name, memory, major, minor
        self.uuid = uuid
class cuda:
    cards = {cards!r}
    @classmethod
    def _seen(cls):
        import os
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
        if chosen is None: return cls.cards
        known = {{str(i): c for i, c in enumerate(cls.cards)}} | {{c[4]: c for c in cls.cards}}
        return [known[name] for name in chosen.split(",") if name in known]
    @classmethod
    def is_available(cls):
        {available}
        return bool(cls._seen())
    @classmethod
    def init(cls): raise RuntimeError({why!r})
    @classmethod
    def device_count(cls): return len(cls._seen())
    @classmethod
    def get_device_properties(cls, i): return _Card(*cls._seen()[i])
    @staticmethod
    def synchronize(): pass
"""
RTX = ("NVIDIA GeForce RTX 4090", 25_250_000_000, 8, 9, "aaaa-1")
H100 = ("NVIDIA H100 80GB HBM3", 85_000_000_000, 9, 0, "bbbb-2")
SLICE = ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 10_200_000_000, 9, 0, "MIG-cccc-3")
GB10 = ("NVIDIA GB10", 128_000_000_000, 12, 1, "dddd-4")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes a machine with a driver that says something and a torch."""

    def make(
        *cards_seen: tuple, smi: str = "echo '580.95.05, a card, GPU-aaaa-1'",
        version: str = "2.13.0+cu130", cuda: str | None = "13.0", product: str = "pass",
        available: str = "pass", why: str = "", triton: str = "",
    ) -> None:  # fmt: skip
        programs, modules = tmp_path / "bin", tmp_path / "modules"
        programs.mkdir()
        (modules / "models" / "kernels").mkdir(parents=True)
        tool = programs / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{smi}\n", encoding="utf-8")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        (modules / "torch.py").write_text(
            TORCH.format(
                cuda=cuda, version=version, cards=list(cards_seen), product=product,
                available=available, why=why,
            ),
            encoding="utf-8",
        )  # fmt: skip
        # The kernel's own package wants a whole torch: a stand-in of its own.
        for folder in (modules / "models", modules / "models" / "kernels"):
            (folder / "__init__.py").touch()
        body = f"raise RuntimeError({triton!r})" if triton else "return x"
        (modules / "models" / "kernels" / "swiglu.py").write_text(
            textwrap.dedent(f"def swiglu(x):\n    {body}\n"), encoding="utf-8"
        )
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("PYTHONPATH", str(modules))
        monkeypatch.setenv("SMOL_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv(cards.VISIBLE, raising=False)
        monkeypatch.setattr(cards, "DRIVER_FILE", tmp_path / "no driver file")
        cards._asked.cache_clear()

    yield make
    cards._asked.cache_clear()


def refused() -> str:
    """The one line that a user gets."""
    cards._asked.cache_clear()
    line = of("cuda").absence()
    assert line is not None
    assert "\n" not in line
    assert "Traceback" not in line
    return line


def test_a_good_card_is_taken_as_torch_names_it(machine):
    machine(RTX)
    found = cards.usable()
    assert isinstance(found, cards.Card)
    assert (found.product, found.capability, found.driver) == (RTX[0], (8, 9), "580.95.05")
    assert of("cuda").gpu() == (RTX[0], RTX[1], "580.95.05")
    assert of("cuda").multiplies_bf16()[0] is True


def test_the_answer_is_remembered_until_what_it_depends_on_changes(machine, monkeypatch):
    machine(RTX, H100)
    assert cards.usable() == cards.usable()
    monkeypatch.setattr(cards, "ask_torch", lambda: pytest.fail("asked again"))
    cards._asked.cache_clear()
    assert getattr(cards.usable(), "product", None) == RTX[0]
    monkeypatch.setenv(cards.VISIBLE, "1")
    monkeypatch.setattr(cards, "ask_torch", lambda: "asked")
    assert refused().startswith("asked")


def test_an_old_driver_is_named_with_what_it_needs(machine):
    machine(smi="echo '560.35.03, NVIDIA GeForce RTX 4090, GPU-aaaa-1'", why="driver too old")
    line = refused()
    assert "driver 560.35.03 is older than 580" in line
    assert "CUDA 13.0" in line


def test_a_torch_for_cpus_beside_a_card(machine):
    machine(version="2.13.0+cpu", cuda=None)
    assert "torch 2.13.0+cpu is built for CPUs, beside driver 580.95.05" in refused()
    assert refused().endswith("pip install --force-reinstall torch==2.13.0")


def test_two_cards_and_a_variable_that_chooses(machine, monkeypatch):
    machine(RTX, H100)
    monkeypatch.setenv(cards.VISIBLE, "1")
    found = cards.usable()
    assert isinstance(found, cards.Card)
    assert (found.product, found.uuid, found.count) == (H100[0], "bbbb-2", 1)
    monkeypatch.setenv(cards.VISIBLE, "7")
    assert "CUDA_VISIBLE_DEVICES='7'" in refused()


def test_a_slice_of_a_card_has_its_own_memory_and_no_peak(machine, monkeypatch):
    machine(H100, SLICE)
    monkeypatch.setenv(cards.VISIBLE, "MIG-cccc-3")
    found = cards.usable()
    assert isinstance(found, cards.Card)
    assert (found.memory_bytes, found.uuid) == (10_200_000_000, "MIG-cccc-3")
    assert peak_of(found.product) is None
    assert peak_of(H100[0]) is not None


def test_memory_that_the_driver_does_not_know_is_asked_of_torch(machine):
    machine(GB10, smi="echo '580.95.05, NVIDIA GB10, [N/A]'")
    found = cards.usable()
    assert isinstance(found, cards.Card)
    assert found.memory_bytes == GB10[1]


def test_a_tool_that_hangs_does_not_hang_us_and_torch_decides(machine, monkeypatch):
    machine(RTX, smi="exec sleep 60")
    monkeypatch.setattr(cards, "SMI_SECONDS", 0.3)
    began = time.monotonic()
    found = cards.usable()
    assert time.monotonic() - began < 30
    assert isinstance(found, cards.Card)
    assert found.driver == ""


def test_a_torch_that_hangs_or_dies_is_said_so(machine, monkeypatch):
    machine(RTX, available="import time; time.sleep(60)")
    monkeypatch.setattr(cards, "TORCH_SECONDS", 1.0)
    assert refused() == "torch did not answer within 1 s (driver 580.95.05)"
    monkeypatch.setattr(cards, "TORCH_SECONDS", 60.0)
    module = Path(os.environ["PYTHONPATH"]) / "torch.py"
    module.write_text("import os; os._exit(3)", encoding="utf-8")
    assert "it ended with code 3" in refused()
    module.write_text("raise ImportError('libcudart.so.13 is not there')", encoding="utf-8")
    assert "libcudart.so.13 is not there" in refused()


def test_a_card_that_computes_nothing_is_not_taken(machine):
    machine(RTX, product="raise RuntimeError('CUDA error: uncorrectable ECC error')")
    assert "computes nothing: RuntimeError: CUDA error: uncorrectable ECC" in refused()


def test_a_driver_that_says_it_has_no_devices(machine):
    machine(smi="echo 'No devices were found'; exit 6", why="No CUDA GPUs are available")
    line = refused()
    assert "No CUDA GPUs are available" in line
    assert "No devices were found" in line


def test_no_driver_is_not_asked_about(machine, monkeypatch):
    machine(RTX)
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    monkeypatch.setattr(cards, "ask_torch", lambda: pytest.fail("nobody to ask"))
    assert refused() == cards.NO_DRIVER


def test_a_kernel_that_cannot_be_built_leaves_the_card_usable(machine):
    machine(RTX, triton="Failed to find C compiler")
    found = cards.usable()
    assert isinstance(found, cards.Card)
    assert "Failed to find C compiler" in found.triton
