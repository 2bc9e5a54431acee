"""What the arms' differences in loss are worth: paired by seed, judged together, barred or not.

Pure: a section's records in, numbers and verdicts out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from harness.evidence import asked
from harness.evidence import searches as tuning
from harness.evidence import worth as sizes
from harness.evidence.pairing import METRIC, Pairs
from harness.evidence.sections import Group, Section
from harness.evidence.sequential import stopped
from harness.evidence.worth import Outlay
from harness.stats import tokens
from harness.stats.inference import LEVEL, Estimate, Margin, Verdict, judge
from harness.stats.surface import Axis
from harness.stats.tokens import Worth

BUNDLE = "a bundle: several things differ at once"
UNDECIDED = "the sequential design has not stopped"


class Contrast(NamedTuple):
    """What a difference is between: an arm and its reference, at a horizon."""

    against: str
    arm: str
    horizon: str
    tuning: tuple[tuple[Axis, ...], ...] = ()
    """The searches' losses about both arms' settings; empty where nothing is known of them."""


@dataclass(frozen=True)
class Difference:
    """One arm against its reference at one horizon."""

    name: str
    """The row's name."""
    arm: str
    against: str
    horizon: str
    primary: bool
    value: Estimate
    """Arm less reference, nats a token, paired by seed; at the level of the verdict."""
    verdict: Verdict | None
    """None where the recipe did not ask this beforehand."""
    records: tuple[str, ...]
    worth: Worth | None = None
    """What the gain is worth in tokens along the reference's curve, at the level of the verdict;
    None for another metric than the loss."""
    margin: Margin | None = None
    """The margin within which the two are equivalent; None where it is not known."""
    outlay: Outlay | None = None
    """What the arm took against its reference."""
    tuning: tuple[tuple[Axis, ...], ...] = ()
    """`Contrast.tuning`."""
    second: Estimate | None = None
    """The difference on the second text, at the same level; None where none was scored."""
    refused: str | None = None
    """Why no number of it may be printed; None where it may."""

    @property
    def said(self) -> bool:
        """Whether its numbers may be printed: nothing refuses them."""
        return self.refused is None

    @property
    def agrees(self) -> str | None:
        """What the second text says of the first's sign; None where there is none."""
        if self.second is None or self.second.interval is None or self.value.mean is None:
            return None
        low, high = self.second.interval
        if low <= 0.0 <= high:
            return "not resolved"
        return "same sign" if (low > 0.0) == (self.value.mean > 0.0) else "other sign"

    def turned(self) -> Difference:
        """The reference less the arm: the same comparison, its sign turned."""
        return dataclasses.replace(
            self,
            arm=self.against,
            against=self.arm,
            value=self.value.turned(),
            second=self.second and self.second.turned(),
            verdict=self.verdict and self.verdict.turned(),
            worth=self.worth and self.worth.turned(),
            margin=self.margin and self.margin.turned(),
            outlay=self.outlay and self.outlay.turned(),
        )


def differences(section: Section) -> list[Difference]:
    """Every arm against its reference at every horizon; verdicts where the recipe asked.

    The reference of an arm that stands in no pair of the question is the first pair's.
    """
    group, question = section.group, section.group.question
    known = tuning.neighbours(section)
    default = next((reference for reference, _ in question.pairs), next(iter(question.arms), ""))
    paired = {arm for _, arm in question.pairs} | {default}
    asked = [*question.pairs, *((default, arm) for arm in question.arms if arm not in paired)]
    found: dict[str, Difference] = {}
    for horizon in question.horizons:
        for against, arm in asked:
            several = sum(other == arm for _, other in asked) > 1
            name = f"{arm}-vs-{against}@{horizon}" if several else f"{arm}@{horizon}"
            primary = horizon == question.at and (against, arm) in question.pairs
            found[name] = difference_of(
                group,
                name,
                Contrast(against, arm, horizon, _about(known, against, arm)),
                primary,
            )
    barred = {
        name: "; ".join(reasons)
        for name, one in found.items()
        if one.primary and (reasons := _reasons(section, one))
    }
    judged = {name: one for name, one in found.items() if one.primary}
    found |= (_looked_at if question.looks else _at_once)(section, judged, barred)
    return [one if one.primary else unasked(section, one) for one in found.values()]


def _at_once(
    section: Section, primary: Mapping[str, Difference], barred: Mapping[str, str]
) -> dict[str, Difference]:
    """The question's pairs, judged as one family; their intervals at the verdicts' levels."""
    margins = {name: one.margin for name, one in primary.items() if one.margin is not None}
    values = {name: one.value for name, one in primary.items()}
    return {
        name: _judged(
            difference_of(section.group, name, _contrast(primary[name]), True, level=verdict.level),
            verdict,
        )
        for name, verdict in judge(values, barred=barred, margins=margins).items()
    }


def _looked_at(
    section: Section, primary: Mapping[str, Difference], barred: Mapping[str, str]
) -> dict[str, Difference]:
    """The question's pairs under a sequential design, each on the seeds up to its own stop."""
    group, question = section.group, section.group.question
    found: dict[str, Difference] = {}
    first = question.first_seed
    for name, one in primary.items():
        pairs = pairs_of(group, _contrast(one), METRIC)
        end = stopped(pairs, first, question.looks, len(primary))
        reasons = [barred[name]] if name in barred else []
        if end is None:
            reasons.append(f"{UNDECIDED} after {len(pairs.ends)} of at most {question.seeds} pairs")
        else:
            seeds = range(first, first + end.pairs)
            one = difference_of(
                group, name, _contrast(one), True, level=end.level, seeds=seeds
            )  # fmt: skip
        margins = {name: one.margin} if one.margin else {}
        because = {name: "; ".join(reasons)} if reasons else {}
        verdict = judge({name: one.value}, barred=because, margins=margins)[name]
        found[name] = _judged(one, verdict)
    return found


def _judged(one: Difference, verdict: Verdict) -> Difference:
    refused = verdict.reason if verdict.kind == "not comparable" else None
    return dataclasses.replace(one, verdict=verdict, refused=refused)


def _about(known: Mapping[str, tuple[Axis, ...]], *arms: str) -> tuple[tuple[Axis, ...], ...]:
    return tuple(known[arm] for arm in arms) if all(arm in known for arm in arms) else ()


def _contrast(one: Difference) -> Contrast:
    return Contrast(one.against, one.arm, one.horizon, one.tuning)


def unasked(section: Section, one: Difference) -> Difference:
    """What nobody asked may be looked at, but not where the arms are no fair pair."""
    why = _unfair(section, (one.against, one.arm))
    return dataclasses.replace(one, refused="; ".join(why) or None)


def pairs_of(group: Group, contrast: Contrast, metric: str, seeds: range | None = None) -> Pairs:
    """The seeds, of all or of `seeds`, at which both arms reached a horizon."""
    left, right = (
        {
            end.seed: end
            for end in group.reached(one, contrast.horizon)
            if getattr(end, metric) is not None
        }
        for one in (contrast.against, contrast.arm)
    )
    shared = [seed for seed in right if seed in left and (seeds is None or seed in seeds)]
    of_loss = metric == METRIC
    return Pairs(
        tuple((left[seed], right[seed]) for seed in shared),
        metric,
        contrast.tuning if of_loss else (),
    )


def difference_of(
    group: Group,
    name: str,
    contrast: Contrast,
    primary: bool,
    metric: str = METRIC,
    level: float = LEVEL,
    seeds: range | None = None,
) -> Difference:
    """An arm less another in a metric at a horizon, paired by seed (by all or by `seeds`), without
    a verdict."""
    pairs = pairs_of(group, contrast, metric, seeds)
    value, of_loss = pairs.estimate(level), metric == METRIC
    steep = sizes.slopes(group, pairs) if of_loss else []
    return Difference(
        name=name,
        arm=contrast.arm,
        against=contrast.against,
        horizon=contrast.horizon,
        primary=primary,
        value=value,
        verdict=None,
        records=pairs.paths,
        worth=tokens.worth(value, pairs.values, steep) if of_loss else None,
        margin=sizes.margin(pairs, value, steep, group.question.equivalent) if of_loss else None,
        outlay=sizes.outlay(group, pairs),
        tuning=contrast.tuning,
        second=pairs.second(level) if of_loss else None,
    )


def _reasons(section: Section, one: Difference) -> list[str]:
    """Why nothing may be said about a pair of the question, most telling first."""
    group = section.group
    reached = {
        arm: {end.seed for end in group.reached(arm, one.horizon)} for arm in (one.against, one.arm)
    }
    budgets = _unequal_budgets(group, one)
    known = bars(section, reached) if not group.question.looks else _other_bars(section, reached)
    return [*known, *([budgets] if budgets else [])]


def bars(section: Section, reached: Mapping[str, Collection[int]]) -> list[str]:
    """Why nothing may be said about two arms, whatever they are compared at, most telling first.

    `reached` holds the reference and the arm, and the seeds of which each has an endpoint there.
    """
    group, question = section.group, section.group.question
    reasons = []
    if missing := _missing_seeds(group, reached):
        pairs = len(set.intersection(*map(set, reached.values())))
        reasons.append(f"{pairs} of {question.seeds} pairs ({missing})")
        apart = [text for other in section.others for text in differs(group, other)]
        if apart:
            reasons.append(f"not mixed with runs of {', '.join(dict.fromkeys(apart))}")
    elif len(group.seeds) != question.seeds:
        reasons.append(
            f"exploratory, {len(group.seeds)} seeds where the recipe froze {question.seeds}"
        )
    return [*_overridden(section), *reasons, *_unfair(section, reached)]


def _other_bars(section: Section, reached: Iterable[str]) -> list[str]:
    """All but missing seeds: of a sequential design, its stop says how many there must be."""
    return [*_overridden(section), *_unfair(section, reached)]


def _overridden(section: Section) -> list[str]:
    why = asked.exploratory(section.overrides)
    return [why] if why else []


def _unfair(section: Section, reached: Iterable[str]) -> list[str]:
    against, arm = reached
    if tuning.is_bundle(section):
        return [BUNDLE]
    untuned = tuning.reason(section, (against, arm))
    return [untuned] if untuned else []


def _missing_seeds(group: Group, reached: Mapping[str, Collection[int]]) -> str:
    """Which frozen seeds lack an endpoint of either arm, and how their runs ended."""
    ended: list[str] = []
    absent: dict[str, list[str]] = {}
    for arm, there in reached.items():
        for seed in sorted(set(group.question.frozen_seeds) - set(there)):
            of_seed = [r.status for r in group.records if (r.arm, r.seed) == (arm, seed)]
            bad = sorted({status for status in of_seed if status != "ok"})
            if bad:
                ended.append(f"{arm} seed {seed} {', '.join(bad)}")
            else:
                absent.setdefault(arm, []).append(str(seed))
    if len(absent) == 2 and len({tuple(seeds) for seeds in absent.values()}) == 1:
        absent = {"both arms": next(iter(absent.values()))}
    return "; ".join(
        [*ended, *(f"{arm} without seeds {', '.join(seeds)}" for arm, seeds in absent.items())]
    )


def _unequal_budgets(group: Group, one: Difference) -> str | None:
    """A horizon means equal tokens or equal FLOPs, to the update; anything else is no horizon."""
    left, right = (group.reached(arm, one.horizon) for arm in (one.against, one.arm))
    if not left or not right:
        return None
    a, b = left[0], right[0]
    granularity = 1.0 / a.update + 1.0 / b.update
    budgets: list[tuple[float, float]] = [(a.tokens, b.tokens)]
    if a.flops is not None and b.flops is not None:
        budgets.append((a.flops, b.flops))
    if any(abs(x / y - 1.0) <= granularity for x, y in budgets):
        return None
    return f"unequal budgets: {a.tokens:,} and {b.tokens:,} tokens, and FLOPs differ too"


def differs(shown: Group, other: Group) -> list[str]:
    """What sets another group apart from the one shown."""
    found = []
    if other.code != shown.code:
        found.append("other code")
    if other.software != shown.software:
        found.append(f"other software ({other.software} against {shown.software})")
    if other.world_size != shown.world_size:
        found.append(f"world size {other.world_size} against {shown.world_size}")
    if other.manifest != shown.manifest:
        found.append("other data")
    gone = sorted({r.arm for r in other.records} - set(shown.question.arms))
    if gone:
        found.append(f"arms no longer in the recipe ({', '.join(gone)})")
    return found or ["other configuration"]
