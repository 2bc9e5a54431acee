"""What the arms' differences in loss are worth: paired by seed, judged together, barred or not.

Pure: a section's records in, numbers and verdicts out. May not import torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from harness.evidence import searches as tuning
from harness.evidence import worth as sizes
from harness.evidence.pairing import METRIC, pairs_of
from harness.evidence.sections import Group, Section
from harness.evidence.worth import Outlay
from harness.stats import tokens
from harness.stats.inference import LEVEL, Estimate, Margin, Verdict, judge
from harness.stats.tokens import Worth

BUNDLE = "a bundle: several things differ at once"


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
    """In tokens along the reference's curve, at the level of the verdict; None of another metric
    than the loss."""
    margin: Margin | None = None
    """Within which the two are equivalent; None where it is not known."""
    outlay: Outlay | None = None
    """What the arm took against its reference."""
    refused: str | None = None
    """Why no number of it may be printed; None where it may."""

    @property
    def said(self) -> bool:
        """Whether its numbers may be printed: nothing refuses them."""
        return self.refused is None

    def turned(self) -> Difference:
        """The reference less the arm: the same comparison, its sign turned."""
        return dataclasses.replace(
            self,
            arm=self.against,
            against=self.arm,
            value=self.value.turned(),
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
    margins = {n: one.margin for n, one in found.items() if one.margin is not None}
    asked_of = {n: one.value for n, one in found.items() if one.primary}
    for name, verdict in judge(asked_of, barred=barred, margins=margins).items():
        one = difference_of(group, name, *_names(found[name]), True, level=verdict.level)
        refused = verdict.reason if verdict.kind == "not comparable" else None
        found[name] = dataclasses.replace(one, verdict=verdict, refused=refused)
    return [one if one.primary else unasked(section, one) for one in found.values()]


def _names(one: Difference) -> tuple[str, str, str]:
    return one.against, one.arm, one.horizon


def unasked(section: Section, one: Difference) -> Difference:
    """What nobody asked may be looked at, but not where the arms are no fair pair."""
    if tuning.is_bundle(section):
        return dataclasses.replace(one, refused=BUNDLE)
    return dataclasses.replace(one, refused=tuning.reason(section, (one.against, one.arm)))


def difference_of(
    group: Group,
    name: str,
    against: str,
    arm: str,
    horizon: str,
    primary: bool,
    metric: str = METRIC,
    level: float = LEVEL,
) -> Difference:
    """An arm less another in a metric at a horizon, paired by seed, without a verdict."""
    pairs = pairs_of(group, against, arm, horizon, metric)
    value, of_loss = pairs.estimate(level), metric == METRIC
    steep = sizes.slopes(group, pairs) if of_loss else []
    return Difference(
        name=name,
        arm=arm,
        against=against,
        horizon=horizon,
        primary=primary,
        value=value,
        verdict=None,
        records=pairs.paths,
        worth=tokens.worth(value, pairs.values, steep) if of_loss else None,
        margin=sizes.margin(pairs, value, steep, group.question.equivalent) if of_loss else None,
        outlay=sizes.outlay(group, pairs),
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
        reasons.append(BUNDLE)
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
    if any(abs(x / y - 1.0) <= granularity for x, y in ((a.tokens, b.tokens), (a.flops, b.flops))):
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
