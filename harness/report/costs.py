"""The view `cost`: what the arms took, in tokens, seconds and bytes, as training runs saw it.

Description, not comparison: unless a run was a timing run its speed is marked "not timed". Each
kind of machine has a table of its own, since seconds of two kinds say nothing of two arms. A CPU
run yields no dollars and nothing about a GPU. May not import torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.evidence import machines
from harness.evidence.endpoints import Endpoint
from harness.evidence.sections import Group, Section, starts_fresh
from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.tables import NONE, Cell, Column, Row, Table, plain

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
        of_arm = (record for record in self.group.records if record.arm == arm)
        return [record for record in of_arm if path_of(record) in self.paths]

    def reached(self, arm: str, horizon: str) -> list[Endpoint]:
        """An arm's endpoints of this kind of machine."""
        return [end for end in self.group.reached(arm, horizon) if end.path in self.paths]


def costs(section: Section) -> list[Table]:
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
    group, question = here.group, here.group.question
    with_peak = any(r.flops and r.flops.peak_flops for r in group.records)
    columns = [Column("flops_per_token", "MFLOP")]
    columns += [Column(f"tokens@{horizon}") for horizon in question.horizons]
    columns += [Column(f"minutes@{horizon}", "min of updates") for horizon in question.horizons]
    columns += [
        Column(f"epochs@{question.at}"),
        Column("tokens_per_second"),
        Column("fixed_seconds", "s"),
        Column("peak_memory", "GB"),
    ]
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
    if with_peak:
        columns.append(Column("mfu", "% of peak"))
        sources = {r.flops.peak_source for r in group.records if r.flops and r.flops.peak_source}
        notes.append(f"mfu: causal FLOPs convention; peak from {', '.join(sorted(sources))}.")
    return Table(
        name=name,
        caption=f"What the arms took on {kind}.",
        corner="arm",
        columns=tuple(columns),
        rows=tuple(Row(arm, _cells(here, arm, with_peak)) for arm in arms),
        notes=tuple(notes),
        command=group.command,
    )


def _cells(here: _Here, arm: str, with_peak: bool) -> tuple[Cell, ...]:
    group = here.group
    of_arm = [record for record in group.records if record.arm == arm]
    timed_here = here.records(arm)
    ok = [record for record in timed_here if record.status == "ok"]
    horizons, at = group.question.horizons, group.question.at
    seconds = [_minutes(here, arm, horizon) for horizon in horizons]
    rest = [_rate(ok), _fixed(ok), _memory(timed_here), *([_mfu(ok)] if with_peak else [])]
    if of_arm and not timed_here:
        paths = [path_of(record) for record in of_arm]
        seconds, rest = (
            [plain(OTHER_KIND, paths, cell.metric, "not of this kind of machine") for cell in cells]
            for cells in (seconds, rest)
        )
    budgets = [_budget(group, arm, horizon) for horizon in horizons]
    return (_flops(of_arm), *budgets, *seconds, _epochs(group, arm, at), *rest)


def _flops(records: Sequence[Record]) -> Cell:
    known = [r for r in records if r.flops]
    values = sorted({r.flops.per_token_causal for r in known if r.flops})
    none = UNKNOWN if records else NONE
    text = ", ".join(f"{value / 1e6:.2f}" for value in values) or none
    metric = "training FLOPs a token, active parameters and causal attention, millions"
    return plain(text, [path_of(r) for r in known], metric, "the same in all runs")


def _budget(group: Group, arm: str, horizon: str) -> Cell:
    rows = group.reached(arm, horizon)
    text = f"{rows[0].tokens:,}" if rows else NONE
    return plain(
        text, [end.path for end in rows], f"training tokens at horizon {horizon}", "same each seed"
    )


def _minutes(here: _Here, arm: str, horizon: str) -> Cell:
    rows = here.reached(arm, horizon)
    text = f"{statistics.fmean(end.seconds for end in rows) / 60:.2f}" if rows else NONE
    if rows and not all(r.timing and r.timing.timed for r in here.records(arm)):
        text += f", {NOT_TIMED}"
    metric = f"minutes of updates alone up to horizon {horizon}, the stem's included"
    return plain(text, [end.path for end in rows], metric, "mean over seeds")


def _epochs(group: Group, arm: str, horizon: str) -> Cell:
    known = [
        (end.epochs, end.path) for end in group.reached(arm, horizon) if end.epochs is not None
    ]
    text = f"{known[0][0]:.2f}" if known else NONE
    return plain(
        text,
        [path for _, path in known],
        f"passes over the data at horizon {horizon}",
        "same each seed",
    )


def _rate(records: Sequence[Record]) -> Cell:
    metric = "tokens per second of updates after warm-up"
    timed = [r for r in records if r.timing and r.timing.timed]
    # A decay is short, and its few updates after warm-up say little.
    used = timed or [r for r in records if starts_fresh(r)]
    text, paths = _over_runs(
        used, lambda r: r.timing.steady_tokens_per_second if r.timing else None, "{:,.0f}"
    )
    if paths and not timed:
        text += f", {NOT_TIMED}"
    over = "timing runs" if timed else "runs from scratch"
    return plain(text, paths, metric, f"mean over {over} [lowest, highest]")


def _fixed(records: Sequence[Record]) -> Cell:
    fresh = [r for r in records if starts_fresh(r)]
    text, paths = _over_runs(fresh, fixed_seconds, "{:.1f}")
    metric = "seconds from process start to the first update, and its excess over the median update"
    return plain(text, paths, metric, "mean over runs from scratch [lowest, highest]")


def fixed_seconds(record: Record) -> float | None:
    """Set-up, and what the first update took beyond the median of those after warm-up."""
    timing = record.timing
    if timing is None or timing.resumed or not timing.update_seconds:
        return None
    steady = timing.update_seconds[timing.warmup_updates :] or timing.update_seconds
    excess = max(0.0, timing.update_seconds[0] - statistics.median(steady))
    return timing.setup_seconds + excess


def _over_runs(
    records: Sequence[Record], value: Callable[[Record], float | None], form: str
) -> tuple[str, list[str]]:
    """`mean [lowest, highest]` over the runs that have a value, and the runs."""
    found = [(v, path_of(r)) for r in records if (v := value(r)) is not None]
    if not found:
        return NONE, []
    values = [v for v, _ in found]
    text = form.format(statistics.fmean(values))
    if len(values) > 1:
        text += f" [{form.format(min(values))}, {form.format(max(values))}]"
    return text, [path for _, path in found]


def _memory(records: Sequence[Record]) -> Cell:
    known = [(r.memory.peak_bytes, r.memory.kind, path_of(r)) for r in records if r.memory]
    metric = "peak memory, gigabytes of 10^9 bytes"
    if not known:
        return plain(NONE, [], metric, "highest over runs")
    highest, kind, _ = max(known)
    paths = [path for _, _, path in known]
    return plain(f"{highest / 1e9:.2f} {kind}", paths, metric, "highest over runs")


def _mfu(records: Sequence[Record]) -> Cell:
    text, paths = _over_runs(
        records,
        lambda r: 100 * r.flops.mfu_causal if r.flops and r.flops.mfu_causal is not None else None,
        "{:.1f}",
    )
    metric = "model FLOPs utilisation, causal convention, per cent of the device's peak"
    return plain(text if paths else UNKNOWN_PEAK, paths, metric, "mean over runs [lowest, highest]")
