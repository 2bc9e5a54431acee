"""The view `cost`: what the arms took, in tokens, seconds and bytes, as training runs saw it.

Description, not comparison: unless a run was a timing run its speed is marked "not timed". Each
kind of machine has a table of its own, since seconds of two kinds say nothing of two arms. A CPU
run yields no dollars and nothing about a GPU.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.evidence import machines
from harness.evidence.endpoints import Reached
from harness.evidence.sections import Group, Section, starts_fresh
from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.columns import (
    Found,
    How,
    Measure,
    mean,
    of_ends,
    of_records,
    ranged,
    same,
    tabulate,
    text,
)
from harness.report.table import NONE, Cell, Table, plain

NOT_TIMED = "not timed"
OTHER_KIND = "on another kind of machine"
UNKNOWN_PEAK = "n/a"
UNKNOWN = "not known"
"""FLOPs, where torch cannot count those of a part."""


@dataclass(frozen=True)
class _Here:
    """A group, and of its runs those whose seconds are all of one kind of machine."""

    group: Group
    paths: frozenset[str]

    def records(self, arm: str) -> list[Record]:
        """An arm's records of this kind of machine."""
        return [record for record in self.of_arm(arm) if path_of(record) in self.paths]

    def of_arm(self, arm: str) -> list[Record]:
        """All of an arm's records."""
        return [record for record in self.group.records if record.arm == arm]

    def ended(self, arm: str) -> list[Record]:
        """The runs of this kind that ended well."""
        return [record for record in self.records(arm) if record.status == "ok"]

    def reached(self, arm: str, horizon: str) -> list[Reached]:
        """An arm's endpoints of this kind of machine."""
        return [end for end in self.group.reached(arm, horizon) if end.path in self.paths]

    def elsewhere(self, arm: str) -> list[Record]:
        """An arm's records where none is of this kind of machine; else nothing."""
        return [] if self.records(arm) else self.of_arm(arm)


def tables(section: Section) -> list[Table]:
    """A table for each kind of machine, the one of most runs first: a row an arm with FLOPs,
    tokens and minutes to each horizon, rate, fixed costs, memory."""
    records = section.group.records
    by_key = {record.key: record for record in records}
    chains = {path_of(record): machines.of_chain(record, by_key) for record in records}
    found = []
    for number, kind in enumerate(machines.kinds(records), start=1):
        paths = frozenset(path for path, chain in chains.items() if chain == [kind])
        name = f"{section.name}.cost" + (f"-{number}" if number > 1 else "")
        here = _Here(section.group, paths)
        arms = [a for a in section.group.question.arms if number == 1 or here.records(a)]
        if arms:
            found.append(_table(here, name, kind, arms))
    return found


def _table(here: _Here, name: str, kind: str, arms: Sequence[str]) -> Table:
    records = here.group.records
    notes = [
        "tokens_per_second: after warm-up, validation and checkpoints left out, mean over runs "
        f'from scratch [lowest, highest]. "{NOT_TIMED}" marks training runs, which describe and '
        "do not compare.",
        "fixed_seconds: process start to first update, and what the first update took beyond the "
        "median; of runs that start from scratch.",
        "peak_memory: of the process or the device, highest over runs.",
    ]
    of_kind = [record for arm in arms for record in here.records(arm)]
    busiest = max((r.timing.concurrent_runs for r in of_kind if r.timing), default=1)
    if busiest > 1:
        notes.append(
            f"Up to {busiest} runs shared the machine: minutes and rates are of runs beside others."
        )
    measures = _measures(here)
    if any(r.flops and r.flops.peak_flops for r in records):
        measures.append(_utilisation(here))
        sources = {r.flops.peak_source for r in records if r.flops and r.flops.peak_source}
        notes.append(f"mfu: causal FLOPs convention; peak from {', '.join(sorted(sources))}.")
    return tabulate(
        name,
        f"What the arms took on {kind}.",
        "arm",
        measures,
        [(arm, arm) for arm in arms],
        notes=notes,
        command=here.group.command,
    )


def _measures(here: _Here) -> list[Measure[str]]:
    question, reached = here.group.question, here.group.reached
    at = question.at
    over_runs = "mean over runs from scratch [lowest, highest]"
    return [
        Measure(
            "flops_per_token",
            "training FLOPs a token, active parameters and causal attention, millions",
            lambda arm: of_records(
                here.of_arm(arm), lambda r: r.flops.per_token_causal if r.flops else UNKNOWN
            ),
            same(form=lambda value: value if value == UNKNOWN else f"{value / 1e6:.2f}"),
            "MFLOP",
        ),
        *(_tokens(here, horizon) for horizon in question.horizons),
        *(_minutes(here, horizon) for horizon in question.horizons),
        Measure(
            f"epochs@{at}", f"passes over the data at horizon {at}",
            lambda arm: of_ends(reached(arm, at), lambda end: end.epochs),
            text("same each seed", form="{:.2f}"),
        ),
        _rate(here),
        _of_kind(
            here, "fixed_seconds",
            "seconds from process start to the first update, and its excess over the median update",
            lambda arm: of_records(filter(starts_fresh, here.ended(arm)), fixed_seconds),
            ranged(over_runs, form="{:.1f}"), "s",
        ),
        _of_kind(
            here, "peak_memory", "peak memory, gigabytes of 10^9 bytes",
            lambda arm: of_records(
                here.records(arm),
                lambda r: r.memory and (r.memory.peak_bytes, r.memory.kind, path_of(r)),
            ),
            lambda values, files, what: plain(
                f"{max(values)[0] / 1e9:.2f} {max(values)[1]}" if values else NONE,
                files, what, "highest over runs",
            ),
            "GB",
        ),
    ]  # fmt: skip


def _of_kind(
    here: _Here, name: str, what: str, values: Callable[[str], Found], how: How, unit: str = ""
) -> Measure[str]:
    """A column of seconds or bytes, which an arm of another kind of machine does not have."""

    def found(arm: str) -> Found:
        other = here.elsewhere(arm)
        return [(OTHER_KIND, [path_of(r) for r in other])] if other else values(arm)

    def shown(values: Sequence[Any], files: tuple[str, ...], what: str) -> Cell:
        if list(values) == [OTHER_KIND]:
            return plain(OTHER_KIND, files, what, "not of this kind of machine")
        return how(values, files, what)

    return Measure(name, what, found, shown, unit)


def _tokens(here: _Here, horizon: str) -> Measure[str]:
    return Measure(
        f"tokens@{horizon}", f"training tokens at horizon {horizon}",
        lambda arm: of_ends(here.group.reached(arm, horizon), lambda end: end.tokens),
        text("same each seed", form="{:,}"),
    )  # fmt: skip


def _minutes(here: _Here, horizon: str) -> Measure[str]:
    def values(arm: str) -> Found:
        timed = all(r.timing and r.timing.timed for r in here.records(arm))
        return [((end.seconds, timed), end.path) for end in here.reached(arm, horizon)]

    def how(values: Sequence[Any], files: tuple[str, ...], what: str) -> Cell:
        cell = mean("mean over seeds", form="{:.2f}")([v / 60 for v, _ in values], files, what)
        timed = all(timed for _, timed in values)
        return cell if timed else plain(f"{cell.text}, {NOT_TIMED}", files, what, cell.aggregation)

    what = f"minutes of updates alone up to horizon {horizon}, the stem's included"
    return _of_kind(here, f"minutes@{horizon}", what, values, how, "min of updates")


def _rate(here: _Here) -> Measure[str]:
    def values(arm: str) -> Found:
        ended = here.ended(arm)
        # A decay is short, and its few updates after warm-up say little.
        timed = [r for r in ended if r.timing and r.timing.timed]
        used = timed or [r for r in ended if starts_fresh(r)]
        rates = of_records(used, lambda r: r.timing and r.timing.steady_tokens_per_second)
        return [((rate, bool(timed)), path) for rate, path in rates]

    def how(values: Sequence[Any], files: tuple[str, ...], what: str) -> Cell:
        timed = any(timed for _, timed in values)
        over = "timing runs" if timed else "runs from scratch"
        said = f"mean over {over} [lowest, highest]"
        cell = ranged(said, form="{:,.0f}")([rate for rate, _ in values], files, what)
        return (
            cell if timed or not values else plain(f"{cell.text}, {NOT_TIMED}", files, what, said)
        )

    what = "tokens per second of updates after warm-up"
    return _of_kind(here, "tokens_per_second", what, values, how)


def fixed_seconds(record: Record) -> float | None:
    """Set-up, and what the first update took beyond the median of those after warm-up."""
    timing = record.timing
    if timing is None or timing.resumed or not timing.update_seconds:
        return None
    steady = timing.update_seconds[timing.warmup_updates :] or timing.update_seconds
    excess = max(0.0, timing.update_seconds[0] - statistics.median(steady))
    return timing.setup_seconds + excess


def _utilisation(here: _Here) -> Measure[str]:
    def share(record: Record) -> float | None:
        flops = record.flops
        return None if flops is None or flops.mfu_causal is None else 100 * flops.mfu_causal

    return _of_kind(
        here, "mfu",
        "model FLOPs utilisation, causal convention, per cent of the device's peak",
        lambda arm: of_records(here.ended(arm), share),
        ranged("mean over runs [lowest, highest]", form="{:.1f}", none=UNKNOWN_PEAK), "% of peak",
    )  # fmt: skip
