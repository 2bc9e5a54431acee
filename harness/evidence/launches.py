"""Timing launches in the records: which may be set against each other, and what they come to.

Pure: a section's records in, numbers and reasons out; `throughput` prints them. A pair is the
launches of two arms in one block (a seed) at one length, made next to each other in one campaign,
neither contaminated.
"""

from __future__ import annotations

import dataclasses
import math
import statistics as stats
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from harness.config import Compile
from harness.evidence import asked, query
from harness.evidence.breakeven import Measured
from harness.evidence.kernel_choice import KernelRatio
from harness.evidence.machines import kinds
from harness.evidence.roles import role_of
from harness.evidence.sections import Section, sections
from harness.records.schema import Record, Timing
from harness.records.store import path_of
from harness.stats.inference import UNASKED, Estimate, Verdict, judge, paired_difference, t_interval
from harness.stats.line import REACH, BreakEven, Line, break_even, unresolved
from models.kernels.names import KERNELS


@dataclass(frozen=True)
class TimedLaunch:
    """One launch that ended well."""

    record: Record
    timing: Timing

    @property
    def path(self) -> str:
        """Where its record lies, below the results folder."""
        return path_of(self.record)

    @property
    def updates(self) -> int:
        """The length of the run."""
        return self.record.last_update

    @property
    def seconds(self) -> float:
        """Process start to the last update, without evaluations and checkpoints."""
        return self.timing.setup_seconds + self.timing.update_seconds_sum

    @property
    def rate(self) -> float:
        """Tokens a second after warm-up."""
        return self.timing.steady_tokens_per_second or math.nan

    @property
    def steady(self) -> float:
        """Seconds an update after warm-up, the mean of the raw ones."""
        return self.record.tokens_per_update / self.rate

    @property
    def fixed(self) -> float:
        """Seconds that do not repeat: set-up, and what the updates of the warm-up, compilation
        among them, took beyond steady ones."""
        return self.seconds - self.updates * self.steady

    @property
    def fault(self) -> str | None:
        """Why it does not count by itself; None where it does."""
        return query.timing_fault(self.record)


@dataclass(frozen=True)
class TimedArm:
    """An arm by itself, from its launches that count."""

    name: str
    made: tuple[TimedLaunch, ...]

    @cached_property
    def counted(self) -> tuple[TimedLaunch, ...]:
        """The launches that are timings and not contaminated."""
        return tuple(run for run in self.made if run.fault is None)

    @cached_property
    def rate(self) -> Estimate:
        """Steady tokens a second, over blocks."""
        return t_interval(_blocks((run, run.rate) for run in self.counted))

    @cached_property
    def fixed(self) -> Estimate:
        """Seconds that do not repeat, over blocks."""
        return t_interval(_blocks((run, run.fixed) for run in self.counted))

    @cached_property
    def steady(self) -> Estimate:
        """Seconds an update, over blocks."""
        return t_interval(_blocks((run, run.steady) for run in self.counted))

    @property
    def line(self) -> Line | None:
        """Seconds against updates; None where no launch counts."""
        if self.fixed.mean is None or self.steady.mean is None:
            return None
        return Line(self.fixed.mean, self.steady.mean)


def _blocks(values: Iterable[tuple[TimedLaunch, float]]) -> list[float]:
    """One value a block (a seed), the mean over its lengths."""
    found: dict[int, list[float]] = {}
    for run, value in values:
        found.setdefault(run.record.seed, []).append(value)
    return [stats.fmean(of_block) for of_block in found.values()]


@dataclass(frozen=True)
class Against:
    """An arm set against its reference."""

    arm: str
    reference: str
    pairs: tuple[tuple[TimedLaunch, TimedLaunch], ...]
    """(reference, arm): launches that may be compared."""
    log_ratio: Estimate
    """ln(arm's steady rate / reference's), a block one value; at the level of the verdict."""
    loss: Estimate
    """Arm's validation loss less the reference's at the recipe's horizon, paired by seed."""
    reason: str | None
    """Why no ratio may be shown; None where it may."""
    judged: Verdict | None = None
    """The verdict on the rates, as one of the question's family; None where the question has no
    such pair."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the records behind it lie."""
        return tuple(run.path for pair in self.pairs for run in pair)

    @property
    def ratio(self) -> tuple[float, tuple[float, float]] | None:
        """(steady rate over the reference's, its interval); None where nothing is shown."""
        mean, bounds = self.log_ratio.mean, self.log_ratio.interval
        if self.reason is not None or mean is None or bounds is None:
            return None
        return math.exp(mean), (math.exp(bounds[0]), math.exp(bounds[1]))

    @property
    def verdict(self) -> str:
        """Faster, slower or no detectable difference, or why nothing is said."""
        if self.reason is not None:
            return self.reason
        if self.judged is None:
            return UNASKED
        return self.judged.text.replace("better", "faster").replace("worse", "slower")

    @property
    def detectable(self) -> float | None:
        """The ratio of rates, above 1, that these blocks would have shown in 80 % of cases; None
        where there is no verdict."""
        if self.reason is not None or self.judged is None or self.judged.detectable is None:
            return None
        return math.exp(self.judged.detectable)

    @cached_property
    def crossing(self) -> BreakEven | None:
        """The length from which on the arm pays, at the level of the verdict; None where no ratio
        may be shown. Rates that cannot be told apart resolve no break-even."""
        if self.reason is not None or self.log_ratio.n < 2:
            return None
        longest = max(run.updates for _, run in self.pairs)
        fixed = _blocks((run, run.fixed - base.fixed) for base, run in self.pairs)
        saved = _blocks((run, base.steady - run.steady) for base, run in self.pairs)
        found = break_even(fixed, saved, longest, self.log_ratio.level)
        if self.judged is None or self.judged.kind != "no detectable difference":
            return found
        return unresolved(found.at_least, REACH * longest)


def lines_of(
    records: Sequence[Record], scale: str, device_class: str
) -> tuple[dict[Compile, Measured], str]:
    """What each way to compile takes and from where on it pays, and the view that shows it; from
    the newest complete recipe of role `compile` at a scale on a device class. Nothing where it
    was not timed."""
    section = _newest(records, "compile", scale, device_class)
    if section is None:
        return {}, ""
    versus, found = compared(section), {}
    for mode in get_args(Compile):
        one = arm(section, mode)
        if one.line is not None:
            crossing = versus[mode].crossing if mode in versus else None
            longest = max(run.updates for run in one.counted)
            found[mode] = Measured(one.line, crossing, longest)
    return found, f"{section.name}.throughput"


def kernel_ratios(
    records: Sequence[Record], scale: str, device_class: str
) -> tuple[dict[str, KernelRatio], str]:
    """Each Triton kernel's rate to torch's own, and the view that shows them; as `lines_of`, from
    the role `kernels`. A kernel without a ratio that may be shown is left out."""
    section = _newest(records, "kernels", scale, device_class)
    if section is None:
        return {}, ""
    versus, found = compared(section), {}
    for name in KERNELS:
        if name in versus and (shown := versus[name].ratio):
            value, (low, high) = shown
            found[name] = KernelRatio(value, low, high)
    return found, f"{section.name}.throughput"


def _newest(records: Sequence[Record], role: str, scale: str, device_class: str) -> Section | None:
    of_role = [r for r in records if role_of(r) == role and r.scale == scale]
    for section in sections(of_role):
        if section.device_class == device_class and not section.overrides:
            return section
    return None


def reference(section: Section) -> str:
    """The arm that others are set against: the first of the recipe's first pair."""
    question = section.group.question
    return next((against for against, _ in question.pairs), next(iter(question.arms), ""))


def arm(section: Section, name: str) -> TimedArm:
    """An arm's finished launches, shortest first, then by block."""
    records = [r for r in section.group.records if r.arm == name and r.status == "ok" and r.timing]
    ordered = sorted(records, key=lambda r: (r.last_update, r.seed))
    return TimedArm(name, tuple(TimedLaunch(r, r.timing) for r in ordered if r.timing))


def compared(section: Section) -> dict[str, Against]:
    """Every arm but the reference, set against it. Those that the question pairs with it and whose
    ratio may be shown are one family, judged together by Holm's procedure as losses are; the
    interval of each ratio is at the level of its verdict."""
    question, base = section.group.question, reference(section)
    found = {name: _against(section, base, name) for name in question.arms if name != base}
    family = {
        name: one.log_ratio
        for name, one in found.items()
        if (base, name) in question.pairs and one.reason is None
    }
    for name, verdict in judge(family, lower_is_better=False).items():
        found[name] = dataclasses.replace(
            found[name], judged=verdict, log_ratio=family[name].at(verdict.level)
        )
    return found


def _against(section: Section, base: str, name: str) -> Against:
    """An arm against its reference, before it is judged."""
    ours, theirs = arm(section, name), arm(section, base)
    by_place = {(run.updates, run.record.seed): run for run in theirs.counted}
    beside = [
        (by_place[place], run)
        for run in ours.counted
        if (place := (run.updates, run.record.seed)) in by_place
    ]
    pairs = tuple(pair for pair in beside if _side_by_side(section, *pair))
    ratio = t_interval(_blocks((run, math.log(run.rate / other.rate)) for other, run in pairs))
    loss = _loss(section, base, name)
    reason = _reason(section, (theirs, ours), ratio.n, loss, apart=len(beside) - len(pairs))
    return Against(name, base, pairs, ratio, loss, reason)


def _side_by_side(section: Section, one: TimedLaunch, other: TimedLaunch) -> bool:
    """Whether two launches are of one campaign, with none of another block between them."""
    a, b = one.timing.launch, other.timing.launch
    if a is None or b is None or a.campaign != b.campaign:
        return False
    low, high = sorted((a.place, b.place))
    return not any(
        r.timing and r.timing.launch and r.timing.launch.campaign == a.campaign
        and low < r.timing.launch.place < high and r.seed != one.record.seed
        for r in section.group.attempts
    )  # fmt: skip


def _loss(section: Section, base: str, name: str) -> Estimate:
    at = section.group.question.at
    left, right = (
        {end.seed: end.val_loss for end in section.group.reached(one, at)} for one in (base, name)
    )
    seeds = sorted(left.keys() & right.keys())
    return paired_difference([left[seed] for seed in seeds], [right[seed] for seed in seeds])


def equivalent(loss: Estimate, margin: float) -> bool:
    """Whether a difference lies within a margin, by its whole 95 % interval."""
    bounds = loss.interval
    return bounds is not None and -margin <= bounds[0] and bounds[1] <= margin


def _reason(
    section: Section, both: Sequence[TimedArm], blocks: int, loss: Estimate, *, apart: int
) -> str | None:
    """Why no ratio may be shown, most telling first."""
    question = section.group.question
    made = [run for one in both for run in one.made]
    faults = [run.fault for run in made if run.fault]
    dirty = sum(fault.startswith("contaminated") for fault in faults)
    if question.margin is None or question.fewest is None:
        return "not comparable: the recipe does not time its runs"
    if any(run.timing.launch is None for run in made):
        return "not comparable: not timed"
    if section.overrides:
        return f"not comparable: {asked.exploratory(section.overrides)}"
    sources = {run.record.code.source_digest for run in made if run.fault is None}
    if len(sources) > 1:
        return f"not comparable: launches of {len(sources)} codes; equal losses are not equal speed"
    machines = kinds(run.record for run in made if not run.fault)
    if len(machines) > 1:
        return f"not comparable: launches on {len(machines)} kinds of machine"
    if blocks < question.fewest:
        short = f"{blocks} of at least {question.fewest} blocks"
        if dirty:
            return f"contaminated: {dirty} of {len(made)} launches, which leaves {short}"
        if apart:
            return f"not comparable: {apart} pairs of launches were not interleaved, {short} left"
        return f"not comparable: {short}"
    if not equivalent(loss, question.margin):
        bounds = loss.interval
        seen = f"{bounds[0]:+.4f} to {bounds[1]:+.4f}" if bounds else "unknown"
        return f"not comparable: loss differs by {seen} nats, margin {question.margin:g}"
    return None
