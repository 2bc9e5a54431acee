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

from harness.commands import planned
from harness.errors import RequestError
from harness.machine import cards, programs
from harness.machine.devices import cuda, of
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
    @staticmethod
    def get_arch_list(): return ["sm_75", "sm_90"]
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
        *cards_seen: tuple, smi: str | None = "echo '580.95.05, a card, GPU-aaaa-1'",
        version: str = "2.13.0+cu130", cuda: str | None = "13.0", product: str = "pass",
        available: str = "pass", why: str = "", triton: str = "",
    ) -> None:  # fmt: skip
        programs, modules = tmp_path / "bin", tmp_path / "modules"
        programs.mkdir()
        (modules / "models" / "kernels").mkdir(parents=True)
        if smi is not None:
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
        monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
        monkeypatch.setattr(cards, "DRIVER_FILE", tmp_path / "no driver file")
        monkeypatch.setattr(cards, "NODES", ())
        monkeypatch.setattr(cards, "TOOLS", ())
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


def test_a_torch_for_cpus_beside_a_card(machine, monkeypatch):
    machine(version="2.13.0+cpu", cuda=None)
    monkeypatch.setattr(cards.platform, "system", lambda: "Linux")
    monkeypatch.setattr(cards.platform, "machine", lambda: "x86_64")
    assert "torch 2.13.0+cpu is built without CUDA, beside driver 580.95.05" in refused()
    assert refused().endswith("pip install --force-reinstall torch==2.13.0")
    # PyPI has none for CUDA there.
    monkeypatch.setattr(cards.platform, "system", lambda: "Windows")
    assert "pip install" not in refused()


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


def test_a_tool_that_is_left_over_sells_no_other_torch(machine):
    """The package of the tool outlives the card: of a card nothing is known then."""
    failed = "echo 'NVIDIA-SMI has failed because it could not talk to the NVIDIA driver'; exit 9"
    machine(smi=failed, version="2.13.0+cpu", cuda=None)
    line = refused()
    assert line.startswith(f"{cards.NO_DRIVER} (nvidia-smi says: NVIDIA-SMI has failed")
    assert line.endswith("and torch 2.13.0+cpu is built without CUDA")


@pytest.mark.parametrize(
    ("smi", "driver"),
    [
        ("printf '580.95.05, Ger\\344t, GPU-a\\n'", "580.95.05"),  # no UTF-8
        ("printf '\\000\\377\\033[31mnothing\\n'", ""),
        ("echo WARNING: infoROM at 0000:01:00.0; echo '580.95.05, a, GPU-a'; exit 14", "580.95.05"),
        ("exit 0", ""),
        ("sleep 60 & echo '580.95.05, a, GPU-a'", "580.95.05"),  # its streams stay open
    ],
)  # fmt: skip
def test_whatever_the_tool_says_torch_decides(machine, smi, driver):
    machine(RTX, smi=smi)
    found = cards.usable()
    assert isinstance(found, cards.Card), found
    assert (found.product, found.driver) == (RTX[0], driver)


def test_what_is_no_text_is_said_in_one_line_all_the_same(machine):
    machine(smi="printf 'Ger\\344t\\033[31m weg\\n' >&2; exit 3", why="none")
    assert "nvidia-smi says: Ger\ufffdt [31m weg" in refused()
    module = Path(os.environ["PYTHONPATH"]) / "torch.py"
    module.write_text("import os; os.write(2, b'kaputt \\xff\\n'); os._exit(1)", encoding="utf-8")
    assert "torch could not be asked: kaputt \ufffd" in refused()
    module.write_text("import os; os.kill(os.getpid(), 11)", encoding="utf-8")
    assert "SIGSEGV ended it" in refused()


def test_a_program_that_never_stops_talking_fills_nothing(machine, monkeypatch):
    machine(RTX, smi="exec yes")
    monkeypatch.setattr(cards, "SMI_SECONDS", 1.0)
    found = cards.usable()
    assert isinstance(found, cards.Card)
    assert found.hangs


def test_what_no_signal_ends_is_not_waited_for(machine, monkeypatch):
    """As a program that hangs inside a driver."""
    machine(RTX, smi="exec sleep 20")
    monkeypatch.setattr(cards, "SMI_SECONDS", 0.3)
    killed = []
    monkeypatch.setattr(programs.os, "killpg", lambda pid, signal: killed.append(pid))
    began = time.monotonic()
    driver = cards.ask_driver()
    assert time.monotonic() - began < 10
    assert driver is not None
    assert driver.silent == "nvidia-smi did not answer within 0 s"
    os.kill(killed[0], 9)
    os.waitpid(killed[0], 0)


def test_nothing_asks_nvml_where_the_tool_hangs(machine, monkeypatch):
    machine(RTX, smi="exec sleep 60")
    monkeypatch.setattr(cards, "SMI_SECONDS", 0.3)
    monkeypatch.setattr(cuda, "_handle", lambda nvml: pytest.fail("asked"))
    monkeypatch.setattr(cuda.importlib, "import_module", lambda name: pytest.fail("asked"))
    assert of("cuda").condition() == cuda.HANGS


def test_signs_of_a_driver_without_its_tool(machine, monkeypatch, tmp_path):
    """A container that has the compute part alone, and WSL over ssh."""
    machine(RTX, smi=None)
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    assert refused() == cards.NO_DRIVER
    node = tmp_path / "nvidiactl"
    node.touch()
    monkeypatch.setattr(cards, "NODES", (node,))
    cards._asked.cache_clear()
    assert isinstance(cards.usable(), cards.Card)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '581.42, a card, GPU-aaaa-1'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setattr(cards, "TOOLS", (tool,))
    cards._asked.cache_clear()
    found = cards.usable()
    assert isinstance(found, cards.Card)
    assert found.driver == "581.42"


def test_an_answer_is_not_remembered_past_slices_or_an_order_of_cards(machine, monkeypatch):
    listed = 'if [ "$1" = -L ]; then cat "$SLICES"; else echo \'580.95.05, H100, GPU-b\'; fi'
    machine(H100, smi=listed)
    slices = Path(os.environ["SMOL_CACHE"]).parent / "slices"
    slices.write_text("GPU 0: H100 (UUID: GPU-b)\n", encoding="utf-8")
    monkeypatch.setenv("SLICES", str(slices))
    assert getattr(cards.usable(), "product", None) == H100[0]
    monkeypatch.setattr(cards, "ask_torch", lambda: "asked")
    cards._asked.cache_clear()
    assert getattr(cards.usable(), "product", None) == H100[0]
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert refused().startswith("asked")
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    with slices.open("a", encoding="utf-8") as file:
        file.write("  MIG 1g.10gb Device 0: (UUID: MIG-c)\n")
    assert refused().startswith("asked")


def test_a_broken_memory_is_asked_anew(machine):
    machine(RTX)
    cards.usable()
    (kept,) = (Path(os.environ["SMOL_CACHE"]) / "cards").iterdir()
    for broken in ("{}", "[]", "\x00", '{"capability": [8, 9]}'):
        kept.write_text(broken, encoding="utf-8")
        cards._asked.cache_clear()
        assert getattr(cards.usable(), "product", None) == RTX[0]


def test_a_card_that_torch_has_no_kernels_for(machine):
    old = ("NVIDIA GeForce GTX 1080 Ti", 11_700_000_000, 6, 1, "eeee")
    machine(old, product="raise RuntimeError('CUDA error: no kernel image is available')")
    assert "capability is 6.1, and torch 2.13.0+cu130 is built for sm_75, sm_90" in refused()


def test_a_smaller_chip_has_no_peak_of_a_larger_one_with_its_name():
    for product in (
        "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 5090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D", "NVIDIA GeForce RTX 3090 Ti", "NVIDIA GH200 480GB",
    ):  # fmt: skip
        assert peak_of(product) is None, product
    for product in (RTX[0], "NVIDIA GeForce RTX 5090", "NVIDIA GeForce RTX 3090", "NVIDIA H200"):
        assert peak_of(product) is not None, product


def test_auto_says_why_it_takes_no_card_that_is_there(machine, capsys):
    machine(smi="echo '535.183.01, NVIDIA GeForce RTX 4090, GPU-aaaa-1'", why="too old")
    planned._note.cache_clear()
    assert planned.read_device("auto") == planned.read_device("auto") == "cpu"
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("takes the cpu, since driver 535.183.01 is older than 580") == 1
    with pytest.raises(RequestError, match=r"this machine has .*driver 535.183.01 is older"):
        planned.read_device("rtx-4090")
    planned._note.cache_clear()


def test_a_run_takes_a_card_by_its_name(machine):
    machine(RTX)
    assert planned.read_device("4090") == planned.read_device("rtx-4090") == "cuda"
    with pytest.raises(RequestError, match="this machine has NVIDIA GeForce RTX 4090"):
        planned.read_device("h100")


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
