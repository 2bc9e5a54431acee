"""What building the kernels costs a first update, card by card, without a card.

`python -m harness.bench.kernels.first_update [ARCH...]` builds every configuration that would be
tried, on fresh caches, for each architecture, and prints the CPU seconds: for what a GPU uses
unless told otherwise, and for every kernel. Exit code 1 where a kernel has no configuration that
fits, `models/kernels/unfit.py` says otherwise than the builds, or a budget is exceeded.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

BUDGET = 90.0
"""CPU seconds, as measured on one core of an EPYC with avx512_bf16, for all kernels of one
architecture. Triton builds several configurations at once where there are cores."""
DEFAULT = {True: ("head_cross_entropy",), False: ("head_cross_entropy", "grouped_gemm")}
"""Kernels that a GPU uses by itself: where torch has its own grouped product, and where not."""


@dataclass(frozen=True)
class BuildCost:
    """One kernel's configurations on one architecture."""

    op: str
    kernel: str
    arch: str
    built: int
    seconds: float
    misfits: tuple[tuple[str, str], ...]
    """(configuration, why) of those that the table does not know."""
    fitting: int = 0


def costs(ops: Sequence[str], arch: str) -> Iterator[BuildCost]:
    """Build what would be tried on an architecture; a line for each launch of each kernel."""
    from harness.bench.kernels import aot

    for op in ops:
        for launch in aot.launches(op):
            tried = [c for c in launch.kernel.configs if launch.kernel.fits(c, arch)]
            before = _cpu_seconds()
            made = [aot.build(op, launch, config, arch) for config in tried]
            spent = _cpu_seconds() - before
            misfits = tuple((b.config, b.misfit) for b in made if b.misfit)
            fitting = len(made) - len(misfits)
            yield BuildCost(
                op, launch.kernel.name, arch, len(made), spent, misfits, fitting=fitting
            )


def _cpu_seconds() -> float:
    """Of this process and of the compilers that it started."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    from harness.bench.kernels.aot import LIMITS
    from models.kernels.grouped_mm import OWN_PRODUCTS
    from models.kernels.registry import OPS

    parser = argparse.ArgumentParser(prog="first_update", description=__doc__)
    parser.add_argument("arches", nargs="*", help=f"of {', '.join(LIMITS)}; all unless named")
    asked = parser.parse_args(arguments)
    if unknown := [arch for arch in asked.arches if arch not in LIMITS]:
        print(f"no architecture '{unknown[0]}': there are {', '.join(LIMITS)}", file=sys.stderr)
        return 2
    faults = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache  # what was built before would cost nothing
        for arch in asked.arches or LIMITS:
            found = list(costs(list(OPS), arch))
            for cost in found:
                print(
                    f"{arch:<7}{cost.op:<20}{cost.kernel:<24}{cost.built:>3} configurations"
                    f"{cost.seconds:>8.1f} CPU s",
                    flush=True,
                )
                faults += [
                    f"{cost.kernel} on {arch}: add '{config}' to UNFIT ({why})"
                    for config, why in cost.misfits
                ]
                if not cost.fitting:
                    faults.append(f"{cost.kernel}: no configuration fits {arch}")
            usual = DEFAULT[LIMITS[arch].capability // 10 in OWN_PRODUCTS]
            everything = sum(cost.seconds for cost in found)
            default = sum(cost.seconds for cost in found if cost.op in usual)
            print(
                f"{arch}: a first update of a mixture builds {' and '.join(usual)}: "
                f"{default:.0f} CPU s; with every kernel {everything:.0f} (budget {BUDGET:.0f})",
                flush=True,
            )
            if everything > BUDGET:
                faults.append(f"{arch}: {everything:.0f} CPU s are over the budget")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
