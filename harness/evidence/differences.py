"""What the arms' differences in loss are worth: paired by seed, judged together, barred or not.

Pure: a section's records in, numbers and verdicts out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from harness.evidence import searches as tuning
from harness.evidence.sections import Group, Section
from harness.stats.inference import Estimate, Verdict, judge, paired_difference


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

    def turned(self) -> Difference:
        """The reference less the arm: the same comparison, its sign turned."""
        return dataclasses.replace(
            self,
            arm=self.against,
            against=self.arm,
            value=self.value.turned(),
            verdict=self.verdict and self.verdict.turned(),
        )


def differences(section: Section) -> list[Difference]:
    """Every arm against its reference at every horizon; verdicts where the recipe asked.

    The reference of an arm that stands in no pair of the question is the first pair's.
    """
    group, question = section.group, section.group.question
    default = next((reference for reference, _ in question.pairs), next(iter(question.arms), ""))
    paired = {arm for _, arm in question.pairs} | {default}
    asked = [*question.pairs, *((default, arm) for arm in question.arms if arm not in paired)]
    found: dict[str, Difference] = {}
    for horizon in question.horizons:
        for against, arm in asked:
            several = sum(other == arm for _, other in asked) > 1
            name = f"{arm}-vs-{against}@{horizon}" if several else f"{arm}@{horizon}"
            primary = horizon == question.at and (against, arm) in question.pairs
            found[name] = difference_of(group, name, against, arm, horizon, primary)
    barred = {
        name: "; ".join(reasons)
        for name, one in found.items()
        if one.primary and (reasons := _reasons(section, one))
    }
    verdicts = judge({n: one.value for n, one in found.items() if one.primary}, barred=barred)
    for name, verdict in verdicts.items():
        value = found[name].value.at(verdict.level)
        found[name] = dataclasses.replace(found[name], value=value, verdict=verdict)
    return list(found.values())


def difference_of(
    group: Group,
    name: str,
    against: str,
    arm: str,
    horizon: str,
    primary: bool,
    metric: str = "val_loss",
) -> Difference:
    """An arm less another in a metric at a horizon, paired by seed, without a verdict."""
    ends = [
        {end.seed: end for end in group.reached(one, horizon) if getattr(end, metric) is not None}
        for one in (against, arm)
    ]
    left, right = ends
    pairs = [(left[seed], end) for seed, end in right.items() if seed in left]
    base, other = ([getattr(pair[side], metric) for pair in pairs] for side in (0, 1))
    return Difference(
        name=name,
        arm=arm,
        against=against,
        horizon=horizon,
        primary=primary,
        value=paired_difference(base, other),
        verdict=None,
        records=tuple(end.path for pair in pairs for end in pair),
    )


def _reasons(section: Section, one: Difference) -> list[str]:
    """Why nothing may be said about a pair of the question, most telling first."""
    group = section.group
    reached = {
        arm: {end.seed for end in group.reached(arm, one.horizon)} for arm in (one.against, one.arm)
    }
    budgets = _unequal_budgets(group, one)
    return [*bars(section, reached), *([budgets] if budgets else [])]


def bars(section: Section, reached: Mapping[str, Collection[int]]) -> list[str]:
    """Why nothing may be said about two arms, whatever they are compared at, most telling first.

    `reached` holds the reference and the arm, and the seeds of which each has an endpoint there.
    """
    group, question = section.group, section.group.question
    reasons = []
    if section.overrides:
        sets = ", ".join(f"{path}={value}" for path, value in section.overrides.items())
        reasons.append(f"exploratory, --set {sets}")
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
    against, arm = reached
    if tuning.is_bundle(section):
        reasons.append("a bundle: several things differ at once")
    elif untuned := tuning.reason(section, (against, arm)):
        reasons.append(untuned)
    return reasons


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
