"""The views `bench.*` and `kernels`: tables and a figure's data from what the benches left.

Pure: files' contents in, tables out. May not import torch, seaborn or matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from harness.config import Frozen, digest
from harness.records.bench import KERNELS, Bench, KernelBuild, Kernels
from harness.records.bench import Row as Bar
from harness.report.tables import ABSENT, NONE, Cell, Column, Row, Table, plain

COMMAND = "nox -s bench"
KERNELS_COMMAND = "nox -s kernels -- --write"


class Ratios(Frozen):
    """All that a suite's figure shows: contestants that were set against a base."""

    title: str
    bars: tuple[Bar, ...]

    @property
    def digest(self) -> str:
        """Of the data drawn."""
        return digest(self)


def name_of(path: str) -> str:
    """`bench.<suite>.<device>` of a file."""
    return f"bench.{PurePosixPath(path).stem}"


def ratios(suite: Bench) -> Ratios | None:
    """The figure's data; None where nothing was set against anything."""
    bars = tuple(row for row in suite.rows if row.ratio_to_base is not None)
    return Ratios(title=suite.device, bars=bars) if bars else None


def table(path: str, suite: Bench) -> Table:
    """A row a contestant, group by group."""
    return Table(
        name=name_of(path),
        caption=f"Benches on {suite.device}, {suite.date}: contestants of a group took turns.",
        corner="group/contestant",
        columns=(
            Column("median", "ms"),
            Column("iqr", "ms"),
            Column("rounds"),
            Column("ratio", "times as fast as base"),
            Column("base", left=True),
            Column("tokens_per_second"),
            Column("peak_memory", "GB"),
        ),
        rows=tuple(Row(name, _cells(path, bar)) for name, bar in _named(suite.rows).items()),
        notes=(
            "ratio: base's time over the contestant's, [95 % interval over rounds of one launch]; "
            "above 1 the contestant is faster.",
            "software: " + ", ".join(f"{k} {v}" for k, v in sorted(suite.software.items())),
        ),
        command=COMMAND,
    )


def _named(rows: Iterable[Bar]) -> dict[str, Bar]:
    """`group/name` -> row, numbered where two share one."""
    named: dict[str, Bar] = {}
    for row in rows:
        name, number = f"{row.group}/{row.name}", 2
        while name in named:
            name, number = f"{row.group}/{row.name}-{number}", number + 1
        named[name] = row
    return named


def _cells(path: str, bar: Bar) -> tuple[Cell, ...]:
    ratio, interval = ABSENT, None
    if bar.ratio_to_base is not None:
        ratio = f"{bar.ratio_to_base:.2f}"
        if bar.ratio_low is not None and bar.ratio_high is not None:
            interval = (bar.ratio_low, bar.ratio_high)
            ratio += f" [{bar.ratio_low:.2f}, {bar.ratio_high:.2f}]"
    peak, rate = bar.extra.get("peak_bytes"), bar.extra.get("tokens_per_second")
    over = "over rounds"
    return (
        plain(_ms(bar.median_seconds), [path], "milliseconds of one call", f"median {over}"),
        plain(_ms(bar.iqr_seconds), [path], "milliseconds", f"interquartile range {over}"),
        plain(f"{bar.rounds}", [path], "rounds, in turn with the others of the group", "count"),
        Cell(ratio, (path,), "base's time over the contestant's", f"median {over}", 1, interval),
        plain(bar.base or ABSENT, [path], "what the ratio is to", "declared by the bench"),
        plain(_number(rate), [path], "tokens a second", f"median {over}"),
        plain(
            ABSENT if peak is None else f"{float(peak) / 1e9:.2f}", [path],
            "peak memory, gigabytes of 10^9 bytes", "highest",
        ),
    )  # fmt: skip


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g}" if seconds < 1 else f"{1e3 * seconds:,.0f}"


def _number(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else ABSENT


def kernels(found: Kernels) -> Table:
    """A row an op: errors beside torch's, what fits, the least time on two cards."""
    ops = list(dict.fromkeys(error.op for error in found.errors))
    cards = list(dict.fromkeys(one.card for one in found.predictions))
    architectures = list(dict.fromkeys(build.arch for build in found.builds))
    columns = [Column("error", "of torch's own")]
    for arch in architectures:
        columns += [Column(f"kept_{arch}"), Column(f"registers_{arch}"),
                    Column(f"spilled_{arch}", "B"), Column(f"shared_{arch}", "B")]  # fmt: skip
    columns += [Column(f"predicted_{card}", "ms, kernel/eager") for card in cards]
    columns += [Column("measured", left=True)]
    notes = [
        "error: the largest error against fp64, of forward and gradients in any precision, over "
        "that of torch's own op; by Triton's interpreter.",
        "kept: configurations that spill nothing and fit the card's shared memory, of those tried; "
        "registers a thread, bytes spilled and shared bytes a block are the kept ones' most.",
        "predicted: the least time of forward and backward of one layer's op by bytes and FLOPs at "
        "published peaks. No kernel will be faster, all will be slower.",
        f"Of the kernels' code of digest {found.digest}.",
        *found.objections,
    ]
    return Table(
        name="kernels",
        caption="The Triton kernels, as far as can be known without a GPU.",
        corner="op",
        columns=tuple(columns),
        rows=tuple(Row(op, tuple(_kernel(found, op, architectures, cards))) for op in ops),
        notes=tuple(notes),
        command=KERNELS_COMMAND,
    )


def _kernel(
    found: Kernels, op: str, architectures: Sequence[str], cards: Sequence[str]
) -> Iterable[Cell]:
    worst = max(
        (e.kernel / e.torch if e.torch else float(e.kernel > 0)) for e in found.errors if e.op == op
    )
    yield _evidence(f"{worst:.2f}", "largest error over torch's own, against fp64", "maximum")
    for arch in architectures:
        of_arch = [b for b in found.builds if (b.op, b.arch) == (op, arch)]
        yield from _builds(of_arch, arch)
    for card in cards:
        text = next(
            (
                f"{p.fused_ms:.3f}/{p.eager_ms:.3f}"
                for p in found.predictions
                if (p.op, p.card) == (op, card)
            ),
            ABSENT,
        )
        yield _evidence(text, f"least milliseconds on {card}, forward and backward", "roofline")
    yield Cell(NONE, (), "milliseconds on a GPU", "no bench of kernels ran on one", 0)


def _builds(builds: Sequence[KernelBuild], arch: str) -> Iterable[Cell]:
    by_config: dict[tuple[str, str], list[KernelBuild]] = {}
    for build in builds:
        by_config.setdefault((build.kernel, build.config), []).append(build)
    kept = [b for some in by_config.values() if not any(x.misfit for x in some) for b in some]
    fitting = {(build.kernel, build.config) for build in kept}
    values: Mapping[str, str] = {
        f"configurations that fit {arch}": f"{len(fitting)} of {len(by_config)}",
        "registers a thread": str(max((b.registers for b in kept), default=0)),
        "bytes spilled by a thread": str(max((b.spill_bytes for b in kept), default=0)),
        "bytes of shared memory a block": f"{max((b.shared_bytes for b in kept), default=0):,}",
    }
    for what, text in values.items():
        yield _evidence(text, what, "of builds ahead of time; the most of those kept")


def _evidence(text: str, metric: str, aggregation: str) -> Cell:
    return Cell(text, (KERNELS,), metric, aggregation, 1)
