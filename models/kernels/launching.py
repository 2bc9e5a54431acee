"""How a Triton kernel is launched: tuned on CUDA, interpreted on the CPU, or only written down.

One door for every kernel of this folder, so that each op file holds its arithmetic alone.
Whether kernels are interpreted is settled when they are imported: set TRITON_INTERPRET=1 before.
May not know any op.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.kernels.unfit import UNFIT

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")
"""Whether this process runs kernels in Triton's interpreter, on CPU tensors."""

Grid = Callable[[dict[str, Any]], tuple[int, ...]]


@dataclass(frozen=True)
class Launch:
    """One call of a kernel, written down by `recorded` instead of being run."""

    kernel: TritonKernel
    arguments: dict[str, Any]
    """The arguments by parameter name, without the configuration's own."""


_record: list[Launch] | None = None


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Inside the context, launches are listed and not run: results of kernels are uninitialised
    memory.

    It shows what would be launched, on a machine without a GPU too: that is what is then built
    ahead of time. Not for threads.
    """
    global _record
    launches: list[Launch] = []
    before, _record = _record, launches
    try:
        yield launches
    finally:
        _record = before


_forced: triton.Config | None = None


@contextmanager
def forced(config: triton.Config | None) -> Iterator[None]:
    """Inside the context, every launch takes this configuration, tuned or not: so that the numbers
    of each can be seen, and not the winner's alone."""
    global _forced
    before, _forced = _forced, config
    try:
        yield
    finally:
        _forced = before


def label(config: triton.Config) -> str:
    """A configuration in one line: its block sizes, warps and pipeline stages."""
    sizes = [f"{name}={value}" for name, value in config.kwargs.items()]
    return " ".join([*sizes, f"warps={config.num_warps}", f"stages={config.num_stages}"])


class TritonKernel:
    """A jitted function, the configurations to choose from, and what the choice depends on.

    `key` names the arguments whose values call for a new choice; `interpreted` holds the block
    sizes under the interpreter, where a program costs about a millisecond and large blocks are
    cheap; `restores` names what a launch overwrites of its own input, which tuning must put back.
    """

    def __init__(
        self,
        function: Any,
        configs: Sequence[triton.Config],
        key: Sequence[str],
        interpreted: dict[str, int],
        restores: Sequence[str] = (),
    ) -> None:
        self.function, self.configs, self.interpreted = function, list(configs), interpreted
        self.name: str = function.fn.__name__
        self._tuned = triton.autotune(
            configs=self.configs,
            key=list(key),
            restore_value=list(restores) or None,
            prune_configs_by={"early_config_prune": self._fitting},
        )(function)

    def launch(self, grid: Grid, **arguments: Any) -> None:
        """Run over `grid`, a function of the arguments and the configuration.

        Raises ValueError for tensors that are not on a CUDA device where nothing interprets.
        """
        if _record is not None:
            _record.append(Launch(self, arguments))
        elif INTERPRETED:
            sizes = _forced.kwargs if _forced else self.interpreted
            self.function[grid](**arguments, **sizes)
        else:
            where = {t.device.type for t in arguments.values() if isinstance(t, Tensor)}
            if where != {"cuda"}:
                raise ValueError(
                    f"the Triton kernel {self.name} runs on cuda, not on {' and '.join(where)}: "
                    "turn kernels off, or set TRITON_INTERPRET=1 before they are imported"
                )
            fixed = _forced or self._untimed()
            if fixed is None:
                self._tuned[grid](**arguments)
            else:
                self.function[grid](**arguments, **fixed.all_kwargs())

    def _untimed(self) -> triton.Config | None:
        """Where the same bits are asked for: the first configuration that fits, since a choice by
        time may add in another order in the next process."""
        if not torch.are_deterministic_algorithms_enabled():
            return None
        return self._fitting(self.configs, None)[0]

    def _fitting(self, configs: list[triton.Config], _: Any, **__: Any) -> list[triton.Config]:
        major, minor = torch.cuda.get_device_capability()
        return [c for c in configs if self.fits(c, f"sm_{major}{minor}")]

    def fits(self, config: triton.Config, arch: str) -> bool:
        """Whether no build for `arch` has shown that it spills or does not fit."""
        return label(config) not in UNFIT.get((self.name, arch), frozenset())


def accumulator(dtype: torch.dtype) -> tl.dtype:
    """What a kernel computes in: fp32, or fp64 where its input is (which only tests do)."""
    return tl.float64 if dtype == torch.float64 else tl.float32


@cache
def _processors(index: int) -> int:
    return torch.cuda.get_device_properties(index).multi_processor_count


def persistent_programs(x: Tensor, a_processor: int) -> int:
    """Programs of a kernel that loops over its rows: so many on each of the GPU's processors.

    Three in all elsewhere, which is enough to see each of them take several rows.
    """
    return _processors(x.device.index) * a_processor if x.is_cuda else 3
