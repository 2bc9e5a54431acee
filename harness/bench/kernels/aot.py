"""Triton kernels built ahead of time for cards that are not here, and whether the builds fit.

No GPU is needed: Triton's wheel brings the compiler, `ptxas` and `cuobjdump`. What is built is
what the operators launch, written down from the launches themselves, so the two cannot differ.
May not run a kernel; does not work in a process started with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from models.kernels.launching import Launch, label, recorded
from models.kernels.registry import OPS

EXAMPLE_ROWS = 64
"""Rows of the recorded calls. Kernels take the row count as an argument, of which only its
divisibility by 16 enters a build; the real count has that too."""


@dataclass(frozen=True)
class Limits:
    """What one block of threads may use on an architecture."""

    capability: int
    shared_bytes: int
    registers: int


# CUDA C++ Programming Guide, "Compute Capabilities", technical specifications: shared memory a
# block (163, 99, 99, 227 and 99 KB) and registers a thread.
LIMITS = {
    "sm_80": Limits(80, 166_912, 255),  # A100
    "sm_86": Limits(86, 101_376, 255),  # RTX 3090, A6000
    "sm_89": Limits(89, 101_376, 255),  # RTX 4090, L40S
    "sm_90": Limits(90, 232_448, 255),  # H100, H200
    "sm_120": Limits(120, 101_376, 255),  # RTX 5090
}
CARDS = {"rtx-4090": "sm_89", "h100-sxm": "sm_90"}
"""The cards of `facts/hardware.toml` that builds and predictions are shown for."""

_TYPES = {
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.float32: "fp32",
    torch.float64: "fp64",
    torch.int32: "i32",
    torch.int64: "i64",
}


@dataclass(frozen=True)
class Build:
    """One kernel in one configuration, as it came out for one architecture."""

    op: str
    kernel: str
    arch: str
    config: str
    registers: int
    """A thread."""
    spill_bytes: int
    """A thread, stores and loads together."""
    shared_bytes: int
    """A block."""
    widest_bytes: int
    """The most that one thread moves to or from memory at once; 16 is the most there is."""
    matrix_unit: str | None
    """The instruction that multiplies matrices, where one does."""

    @property
    def misfit(self) -> str | None:
        """Why it is not to be used on this architecture; None where it fits."""
        if self.spill_bytes:
            return f"spills {self.spill_bytes} bytes"
        limit = LIMITS[self.arch].shared_bytes
        if self.shared_bytes > limit:
            return f"wants {self.shared_bytes} bytes of shared memory, there are {limit}"
        return None


def launches(op: str, dtype: torch.dtype = torch.bfloat16) -> list[Launch]:
    """What one forward and backward pass of an op launches, each different launch once."""
    entry = OPS[op]
    arguments = [
        a.requires_grad_() if i < entry.differentiable else a
        for i, a in enumerate(entry.example(EXAMPLE_ROWS, dtype))
    ]
    with recorded() as found:
        out = entry.kernel(*arguments)
        outputs = out if isinstance(out, tuple) else (out,)
        torch.autograd.backward(outputs, [torch.ones_like(t) for t in outputs])
    return list({identity(launch): launch for launch in reversed(found)}.values())[::-1]


def identity(launch: Launch) -> str:
    """Equal for launches that are built alike."""
    return repr((launch.kernel.name, *_specialized(launch)))


def _specialized(launch: Launch) -> tuple[dict[str, str], dict[str, Any], dict[Any, Any]]:
    """(signature, constants, attributes), as Triton's launcher specialises on arguments: an
    integer 1 is a constant, pointers and integers are marked where they are multiples of 16."""
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    attributes: dict[Any, Any] = {}
    for parameter in launch.kernel.function.params:
        name, value = parameter.name, launch.arguments.get(parameter.name)
        if parameter.is_constexpr:
            signature[name] = "constexpr"
            if name in launch.arguments:
                constants[name] = value
            continue
        if isinstance(value, Tensor):
            signature[name] = f"*{_TYPES[value.dtype]}"
            aligned = value.data_ptr() % 16 == 0
        elif value == 1:
            signature[name], constants[name], aligned = "constexpr", 1, False
        else:
            assert isinstance(value, int)
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            aligned = value % 16 == 0
        if aligned:
            attributes[(parameter.num,)] = [["tt.divisibility", 16]]
    return signature, constants, attributes


def build(op: str, launch: Launch, config: triton.Config, arch: str) -> Build:
    """Compile one configuration of a recorded launch for `arch` and read what it uses."""
    signature, constants, attributes = _specialized(launch)
    source = ASTSource(launch.kernel.function, signature, constants | config.kwargs, attributes)
    compiled = triton.compile(
        source,
        target=GPUTarget("cuda", LIMITS[arch].capability, 32),
        options={"num_warps": config.num_warps, "num_stages": config.num_stages},
    )
    registers, stack = _usage(compiled.asm["cubin"])
    return Build(
        op,
        launch.kernel.name,
        arch,
        label(config),
        registers,
        _spills(compiled.asm["ptx"], arch) if stack else 0,  # spilled registers live there
        compiled.metadata.shared,
        _widest(compiled.asm["ptx"]),
        next((unit for unit in ("wgmma", "mma.sync") if f"{unit}." in compiled.asm["ptx"]), None),
    )


def builds(ops: list[str], arches: list[str]) -> Iterator[Build]:
    """Every configuration of every kernel of the ops, for every architecture."""
    for op in ops:
        for launch in launches(op):
            for arch in arches:
                for config in launch.kernel.configs:
                    yield build(op, launch, config, arch)


def _widest(ptx: str) -> int:
    """Bytes of the widest access to global memory."""
    found = re.findall(r"(?:ld|st)\.global(?:\.v(\d))?\.[bfsu](\d+)", ptx)
    asynchronous = 16 if "cp.async.cg." in ptx else 0
    return max([asynchronous, *(int(count or 1) * int(bits) // 8 for count, bits in found)])


def _tool(name: str, capability: int = 0) -> str:
    folder = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    newer = folder / f"{name}-blackwell"  # Triton's own choice from sm_100 up
    return str(newer if capability >= 100 and newer.exists() else folder / name)


def _usage(cubin: bytes) -> tuple[int, int]:
    """(registers a thread, bytes of stack a thread) of the one kernel in a cubin."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run(
            [_tool("cuobjdump"), "-res-usage", file.name],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout  # fmt: skip
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    if found is None:
        raise ValueError(f"cuobjdump's answer holds no registers: {text.strip()!r}")
    return int(found[1]), int(found[2])


def _spills(ptx: str, arch: str) -> int:
    """Bytes of spill stores and loads a thread, as ptxas reports them."""
    # Triton builds for the architecture-specific variant from sm_90 up.
    variant = f"{arch}a" if LIMITS[arch].capability >= 90 else arch
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        text = subprocess.run(
            [
                _tool("ptxas", LIMITS[arch].capability), "-v", "-lineinfo", "--regAllocOptLevel=2",
                f"--gpu-name={variant}", file.name, "-o", "/dev/null",
            ],
            capture_output=True, text=True, check=True, timeout=300,
        ).stderr  # fmt: skip
    return sum(int(n) for n in re.findall(r"(\d+) bytes spill (?:stores|loads)", text))
