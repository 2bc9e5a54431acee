"""What building the kernels costs a first update, card by card, without a card.

`python -m harness.bench.kernels.first_update [ARCH...]` builds every configuration of every kernel
that the models at `full` launch (`used.py`), on fresh caches, for each architecture. It prints the
CPU seconds of each launch, and for each model the sum that its first update pays: for what a GPU
uses unless told otherwise, and with every kernel. Configurations that `models/kernels/unfit.py`
leaves out are built too, and counted apart, so that the table is compared with the builds in both
directions. Exit code 1 where a kernel has no configuration that fits, the table says otherwise
than the builds, or the budget is exceeded.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

BUDGET = 150.0
"""CPU seconds, as measured on one core of an EPYC with avx512_bf16, for all launches of all models
on one architecture. Triton builds several configurations at once where there are cores."""
DEFAULT = {True: ("head_cross_entropy",), False: ("head_cross_entropy", "grouped_gemm")}
"""Kernels that a GPU uses by itself: where torch has its own grouped product, and where not."""


@dataclass(frozen=True)
class BuildCost:
    """One launch's configurations on one architecture."""

    op: str
    """Its name in `train.kernels`."""
    kernel: str
    arch: str
    kinds: tuple[str, ...]
    """The models that make the launch."""
    tried: tuple[str, ...]
    """Configurations that the tuner would build."""
    seconds: float
    """CPU seconds that those take."""
    misfits: dict[str, str]
    """Configuration -> why the build does not fit, whatever the table says."""


def costs(kinds: Sequence[str], arch: str) -> Iterator[BuildCost]:
    """Build every configuration for an architecture; one for each different launch."""
    from harness.bench.kernels import aot, used
    from models.kernels.launching import label

    for launch, makers in used.by_launch(kinds).values():
        kernel, seconds, misfits = launch.kernel, 0.0, {}
        for config in kernel.configs:
            before = _cpu_seconds()
            made = aot.build(used.switch(launch), launch, config, arch)
            if kernel.fits(config, arch):
                seconds += _cpu_seconds() - before
            if made.misfit:
                misfits[made.config] = made.misfit
        tried = tuple(label(c) for c in kernel.configs if kernel.fits(c, arch))
        yield BuildCost(used.switch(launch), kernel.name, arch, makers, tried, seconds, misfits)


def objections(found: Iterable[BuildCost]) -> list[str]:
    """Where the table of what does not fit says otherwise than the builds; a configuration is left
    out for all of a kernel's launches, or for none."""
    from models.kernels.unfit import UNFIT

    found, said = list(found), []
    for kernel, arch in dict.fromkeys((cost.kernel, cost.arch) for cost in found):
        mine = [cost for cost in found if (cost.kernel, cost.arch) == (kernel, arch)]
        out = {config: why for cost in mine for config, why in cost.misfits.items()}
        known = UNFIT.get((kernel, arch), frozenset())
        place = f"{kernel} on {arch}"
        said += [f"{place}: add '{c}' to UNFIT ({why})" for c, why in out.items() if c not in known]
        said += [f"{place}: '{c}' fits after all" for c in sorted(known - set(out))]
        if not set(mine[0].tried) - set(out):
            said.append(f"{place}: no configuration fits")
    return said


def sums(found: Sequence[BuildCost], kind: str, usual: Sequence[str]) -> tuple[float, float]:
    """CPU seconds that a model's first update pays: by default, and with every kernel."""
    mine = [cost for cost in found if kind in cost.kinds]
    return (
        sum(cost.seconds for cost in mine if cost.op in usual),
        sum(cost.seconds for cost in mine),
    )


def _cpu_seconds() -> float:
    """Of this process and of the compilers that it started."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    from harness.bench.kernels.aot import LIMITS
    from models.kernels.grouped_mm import OWN_PRODUCTS
    from models.presets import KINDS

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
            found, started = [], _cpu_seconds()
            for cost in costs(KINDS, arch):
                found.append(cost)
                print(
                    f"{arch:<7}{cost.kernel:<24}{len(cost.tried):>3} tried, "
                    f"{len(cost.misfits)} unfit{cost.seconds:>7.1f} CPU s  {', '.join(cost.kinds)}",
                    flush=True,
                )
            usual = DEFAULT[LIMITS[arch].capability // 10 in OWN_PRODUCTS]
            for kind in KINDS:
                default, every = sums(found, kind, usual)
                print(
                    f"{arch}: a first update of {kind} builds {default:.0f} CPU s by default, "
                    f"{every:.0f} with every kernel"
                )
            spent = _cpu_seconds() - started
            print(f"{arch}: all of it {spent:.0f} CPU s (budget {BUDGET:.0f})", flush=True)
            faults += objections(found)
            if spent > BUDGET:
                faults.append(f"{arch}: {spent:.0f} CPU s are over the budget")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
