"""The views `bench.*` and `kernels`: tables and a figure's data from what the benches left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

from harness.records.bench import KERNELS, Bench, BenchRow, KernelBuild, Kernels
from harness.report.columns import Measure, given, tabulate, text
from harness.report.draw import Figure, Shown
from harness.report.table import ABSENT, Cell, Table

COMMAND = "nox -s bench"
KERNELS_COMMAND = "nox -s kernels -- --write"


class Ratios(Shown):
    """All that a suite's figure shows: contestants that were set against a base."""

    bars: tuple[BenchRow, ...]


def name_of(path: str) -> str:
    """`bench.<suite>.<device>` of a file."""
    return f"bench.{PurePosixPath(path).stem}"


def ratios(suite: Bench) -> Ratios | None:
    """The figure's data; None where nothing was set against anything."""
    bars = tuple(row for row in suite.rows if row.ratio_to_base is not None)
    return Ratios(title=suite.device, bars=bars) if bars else None


def figure(path: str, suite: Bench) -> Figure | None:
    """A point a contestant; None where nothing was set against anything."""
    data, name = ratios(suite), name_of(path)
    if data is None:
        return None
    alt = f"{name}: how many times as fast as its base each contestant is"
    caption = "Points: medians over rounds; lines: 95 % intervals; colours: groups."
    return Figure(f"{name}.figure", data, alt, caption, (path,), COMMAND)


def table(path: str, suite: Bench) -> Table:
    """A row a contestant, group by group."""
    return tabulate(
        name_of(path),
        f"Benches on {suite.device}, {suite.date}: contestants of a group took turns.",
        "group/contestant",
        _measures(path),
        _named(suite.rows).items(),
        notes=(
            "ratio: base's time over the contestant's, [95 % interval over rounds of one launch]; "
            "above 1 the contestant is faster.",
            "software: " + ", ".join(f"{k} {v}" for k, v in sorted(suite.software.items())),
        ),
        command=COMMAND,
    )


def _named(rows: Iterable[BenchRow]) -> dict[str, BenchRow]:
    """`group/name` -> row, numbered where two share one."""
    named: dict[str, BenchRow] = {}
    for row in rows:
        name, number = f"{row.group}/{row.name}", 2
        while name in named:
            name, number = f"{row.group}/{row.name}-{number}", number + 1
        named[name] = row
    return named


def _measures(path: str) -> list[Measure[BenchRow]]:
    over = "over rounds"

    def measure(
        name: str,
        what: str,
        value: Callable[[BenchRow], Any],
        how: str,
        unit: str = "",
        left: bool = False,
    ) -> Measure[BenchRow]:  # fmt: skip
        return Measure(name, what, lambda bar: [(value(bar), path)], text(how), unit, left)

    return [
        measure(
            "median", "milliseconds of one call", lambda bar: _ms(bar.median_seconds),
            f"median {over}", "ms",
        ),
        measure(
            "iqr", "milliseconds", lambda bar: _ms(bar.iqr_seconds),
            f"interquartile range {over}", "ms",
        ),
        measure(
            "rounds", "rounds, in turn with the others of the group", lambda bar: bar.rounds,
            "count",
        ),
        given("ratio", lambda bar: _ratio(bar, path), "times as fast as base"),
        measure(
            "base", "what the ratio is to", lambda bar: bar.base or ABSENT, "declared by the bench",
            left=True,
        ),
        measure(
            "tokens_per_second", "tokens a second",
            lambda bar: _number(bar.extra.get("tokens_per_second")), f"median {over}",
        ),
        measure(
            "peak_memory", "peak memory, gigabytes of 10^9 bytes",
            lambda bar: _gigabytes(bar.extra.get("peak_bytes")), "highest", "GB",
        ),
    ]  # fmt: skip


def _ratio(bar: BenchRow, path: str) -> Cell:
    what, how = "base's time over the contestant's", "median over rounds"
    if bar.ratio_to_base is None:
        return Cell(ABSENT, (path,), what, how, 1)
    shown, interval = f"{bar.ratio_to_base:.2f}", None
    if bar.ratio_low is not None and bar.ratio_high is not None:
        interval = (bar.ratio_low, bar.ratio_high)
        shown += f" [{bar.ratio_low:.2f}, {bar.ratio_high:.2f}]"
    return Cell(shown, (path,), what, how, 1, interval)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g}" if seconds < 1 else f"{1e3 * seconds:,.0f}"


def _number(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else ABSENT


def _gigabytes(value: Any) -> str:
    return ABSENT if value is None else f"{float(value) / 1e9:.2f}"


def kernels(found: Kernels) -> Table:
    """A row an op: errors beside torch's, what fits, the least time on two cards."""
    architectures = list(dict.fromkeys(build.arch for build in found.builds))
    cards = list(dict.fromkeys(one.card for one in found.predictions))
    return tabulate(
        "kernels",
        "The Triton kernels, as far as can be known without a GPU.",
        "op",
        [
            _evidence(
                "error", "largest error over torch's own, against fp64", "maximum",
                lambda op: f"{_worst(found, op):.2f}", "of torch's own",
            ),
            *(one for arch in architectures for one in _builds(found, arch)),
            *(_predicted(found, card) for card in cards),
            Measure(
                "measured", "milliseconds on a GPU", lambda _: (),
                text("no bench of kernels ran on one"), left=True,
            ),
        ],
        [(op, op) for op in dict.fromkeys(error.op for error in found.errors)],
        notes=(
            "error: the largest error against fp64, of forward and gradients in any precision, "
            "over that of torch's own op; by Triton's interpreter.",
            "kept: configurations that spill nothing and fit the card's shared memory, of those "
            "tried; registers a thread, bytes spilled and shared bytes a block are the kept ones' "
            "most.",
            "predicted: the least time of forward and backward of one layer's op by bytes and "
            "FLOPs at published peaks. No kernel will be faster, all will be slower.",
            f"Of the kernels' code of digest {found.digest}.",
            *found.objections,
        ),
        command=KERNELS_COMMAND,
    )  # fmt: skip


def _evidence(
    name: str, what: str, how: str, value: Callable[[str], str], unit: str = ""
) -> Measure[str]:
    return Measure(name, what, lambda op: [(value(op), KERNELS)], text(how), unit)


def _worst(found: Kernels, op: str) -> float:
    return max(
        (e.kernel / e.torch if e.torch else float(e.kernel > 0)) for e in found.errors if e.op == op
    )


def _predicted(found: Kernels, card: str) -> Measure[str]:
    def shown(op: str) -> str:
        of_op = (p for p in found.predictions if (p.op, p.card) == (op, card))
        return next((f"{p.fused_ms:.3f}/{p.eager_ms:.3f}" for p in of_op), ABSENT)

    return _evidence(
        f"predicted_{card}", f"least milliseconds on {card}, forward and backward", "roofline",
        shown, "ms, kernel/eager",
    )  # fmt: skip


def _builds(found: Kernels, arch: str) -> list[Measure[str]]:
    def configurations(op: str) -> dict[tuple[str, str], list[KernelBuild]]:
        by_config: dict[tuple[str, str], list[KernelBuild]] = {}
        for build in found.builds:
            if (build.op, build.arch) == (op, arch):
                by_config.setdefault((build.kernel, build.config), []).append(build)
        return by_config

    def kept(op: str) -> list[list[KernelBuild]]:
        return [some for some in configurations(op).values() if not any(x.misfit for x in some)]

    def most(op: str, value: Callable[[KernelBuild], int]) -> int:
        return max((value(build) for some in kept(op) for build in some), default=0)

    how = "of builds ahead of time; the most of those kept"
    return [
        _evidence(
            f"kept_{arch}", f"configurations that fit {arch}", how,
            lambda op: f"{len(kept(op))} of {len(configurations(op))}",
        ),
        _evidence(
            f"registers_{arch}", "registers a thread", how,
            lambda op: str(most(op, lambda build: build.registers)),
        ),
        _evidence(
            f"spilled_{arch}", "bytes spilled by a thread", how,
            lambda op: str(most(op, lambda build: build.spill_bytes)), "B",
        ),
        _evidence(
            f"shared_{arch}", "bytes of shared memory a block", how,
            lambda op: f"{most(op, lambda build: build.shared_bytes):,}", "B",
        ),
    ]  # fmt: skip
