"""What benches leave in `<results>/bench/`: one file a suite and device, and `kernels.json`.

Reads and validates; the benches write them, a newer file in an older one's place. May not import
torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from harness.config import Frozen
from harness.errors import RequestError, explain
from harness.records.store import files_below
from harness.records.untrusted import read_json

FOLDER = "bench"
KERNELS = f"{FOLDER}/kernels.json"


class BenchRow(Frozen):
    """One contestant of one group."""

    group: str
    name: str
    median_seconds: float
    iqr_seconds: float
    rounds: int
    ratio_to_base: float | None = None
    """How many times as fast as the base; None for the base itself."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    base: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        bounds = [self.ratio_low, self.ratio_to_base, self.ratio_high]
        known = [one for one in bounds if one is not None]
        if known != sorted(known) or any(one <= 0.0 for one in known):
            raise ValueError(f"a ratio within its bounds, above 0, not {bounds}")
        return self


class Bench(Frozen):
    """One suite on one device."""

    schema_version: Literal[1] = Field(alias="schema")
    device: str
    date: str
    software: dict[str, Any]
    rows: tuple[BenchRow, ...]


class KernelError(Frozen):
    """One quantity's error against fp64, and torch's own."""

    op: str
    dtype: str
    rows: int
    quantity: str
    kernel: float
    torch: float
    acceptable: bool


class KernelBuild(Frozen):
    """One configuration of one kernel, built ahead of time for one architecture."""

    op: str
    kernel: str
    arch: str
    config: str
    registers: int
    spill_bytes: int
    shared_bytes: int
    widest_bytes: int
    matrix_unit: str | None
    misfit: str | None


class KernelPrediction(Frozen):
    """An op's least time on one card, by bytes and FLOPs."""

    op: str
    card: str
    rows: int
    fused_ms: float
    eager_ms: float


class Kernels(Frozen):
    """What is known of the kernels without a GPU."""

    schema_version: Literal[1] = Field(alias="schema")
    digest: str
    software: dict[str, str]
    errors: tuple[KernelError, ...]
    builds: tuple[KernelBuild, ...]
    predictions: tuple[KernelPrediction, ...]
    objections: tuple[str, ...]


def read_all(results: Path) -> tuple[dict[str, Bench], Kernels | None]:
    """Path, relative to the results folder -> suite; and the kernels' evidence, where there is any.

    Raises RequestError naming a file that is neither.
    """
    suites: dict[str, Bench] = {}
    kernels = None
    for path in files_below(results / FOLDER):
        name = f"{FOLDER}/{path.name}"
        if path.suffix != ".json" or path.name.startswith(".") or path != results / name:
            continue
        try:
            content = read_json(path)
            if name == KERNELS:
                kernels = Kernels.model_validate_json(content)
            else:
                suites[name] = Bench.model_validate_json(content)
        except OSError as error:
            raise RequestError(f"{name} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            raise RequestError(f"{name} is not a valid bench: {explain(error)}") from None
    return suites, kernels
