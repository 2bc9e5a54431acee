"""The view `difference`: what the arms' differences in loss are worth.

Pure: a section's records in, a table out. May not import torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from harness.evidence import searches as tuning
from harness.evidence.machines import kinds
from harness.evidence.sections import Group, Section
from harness.report.accidents import differs
from harness.report.losses import LOSS_DIGITS
from harness.report.tables import (
    ABSENT,
    Cell,
    Column,
    Row,
    Table,
    estimate,
    levels_note,
    plain,
    quantity,
)
from harness.stats.inference import (
    POWER,
    UNASKED,
    Estimate,
    Verdict,
    judge,
    paired_difference,
    t_interval,
)


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


def comparisons(section: Section) -> Table:
    """A row for each arm and horizon: the difference to its reference, and the verdict."""
    question, found = section.group.question, differences(section)
    asked = ", ".join(f"is {arm} better than {reference}" for reference, arm in question.pairs)
    return Table(
        name=f"{section.name}.difference",
        caption=(
            (
                f"The question asked beforehand: {asked} in validation loss at horizon "
                f"`{question.at}`? "
                if asked
                else "No question was asked beforehand. "
            )
            + "Each row is an arm less its reference, paired by seed: mean ± half-width of the "
            "paired t interval (number of pairs). Below 0 the arm is better."
        ),
        corner="arm@horizon",
        columns=(
            Column("reference", left=True),
            Column("difference", "nats/token"),
            Column("df"),
            Column("paired_sd", "nats/token"),
            *([Column("noise_recipe", "nats/token", left=True)] if section.noise else []),
            Column("detectable", "nats/token"),
            Column("verdict", left=True),
            Column("scope", left=True),
        ),
        rows=tuple(Row(one.name, _difference_cells(section, one)) for one in found),
        notes=(
            "paired_sd: standard deviation of the pairs' differences, which the interval is made "
            "of; a pair shares its seed's data and much of its luck.",
            levels_note({one.name: one.verdict for one in found}),
            *(
                [
                    f"noise_recipe: standard deviation of one arm of `{section.noise.name}` over "
                    "seeds of its own, not paired."
                ]
                if section.noise
                else []
            ),
            "detectable: the true difference that this many pairs, spread as these are, would "
            f"show in {100 * POWER:g} % of cases"
            + (
                ", at Holm's strictest step for a question of several pairs."
                if len(question.pairs) > 1
                else "."
            ),
            "scope: what the row is true of; no more follows from it.",
        ),
        command=section.group.command,
    )


def _difference_cells(section: Section, one: Difference) -> tuple[Cell, ...]:
    sd = one.value.sd
    found = (one.verdict or judge({one.name: one.value})[one.name]).detectable
    n = one.value.n
    return (
        reference_cell(one),
        value_cell(one),
        plain(
            str(one.value.df) if n else ABSENT, one.records, "degrees of freedom", "pairs - 1", n
        ),
        plain(
            ABSENT if sd is None else f"{sd:.{LOSS_DIGITS}f}", one.records,
            "standard deviation of the pairs' differences, nats a token",
            "sample standard deviation", n,
        ),
        *([noise_of(section.noise)] if section.noise else []),
        _detectable_cell(one, found),
        verdict_cell(section, one),
        scope_cell(section, one),
    )  # fmt: skip


def detectable_cell(one: Difference) -> Cell:
    """The difference that the pairs would have shown; nothing where nothing may be said."""
    said = one.verdict is not None and one.verdict.kind != "not comparable"
    return _detectable_cell(one, one.verdict.detectable if one.verdict and said else None)


def _detectable_cell(one: Difference, found: float | None) -> Cell:
    return plain(
        ABSENT if found is None else f"{found:.{LOSS_DIGITS}f}", one.records,
        f"difference detectable at {100 * POWER:g} % power, nats a token",
        "from the noncentral t distribution and the standard deviation of the pairs' "
        "differences", one.value.n,
    )  # fmt: skip


def reference_cell(one: Difference) -> Cell:
    """What the arm is compared with."""
    return plain(one.against, one.records, "the reference arm", "declared by the recipe")


def value_cell(one: Difference) -> Cell:
    """The difference itself."""
    return estimate(
        one.value, one.records, _metric(one), "pairs", digits=LOSS_DIGITS, signed=True
    )  # fmt: skip


def verdict_cell(section: Section, one: Difference) -> Cell:
    """What may be said of the difference."""
    return plain(
        one.verdict.text if one.verdict else UNASKED,
        one.records,
        f"verdict on: {_metric(one)}" if one.verdict else "outside the recipe's primary question",
        judged(section) if one.verdict else "none",
        one.value.n,
    )


def scope_cell(section: Section, one: Difference) -> Cell:
    """What the difference is true of."""
    text = _scope(section, one)
    return plain(text, one.records, "what the row is true of", "from the records", one.value.n)


def _metric(one: Difference) -> str:
    return f"validation loss of {one.arm} less {one.against} at horizon {one.horizon}, nats a token"


def noise_of(section: Section) -> Cell:
    """The spread over seeds of the recipe that does nothing but vary them."""
    question = section.group.question
    arm = next(iter(question.arms), "")
    ends = section.group.reached(arm, question.at)
    spread = t_interval([end.val_loss for end in ends])
    text = ABSENT
    if spread.sd is not None:
        text = f"{spread.sd:.{LOSS_DIGITS}f} ({arm}, {spread.n} seeds, {quantity(ends[0].tokens)})"
    return plain(
        text, [end.path for end in ends],
        f"standard deviation of {arm}'s validation loss over seeds; tokens of training",
        "sample standard deviation", spread.n,
    )  # fmt: skip


def judged(section: Section) -> str:
    """How a verdict on a pair of the question comes about, as cells name it."""
    pairs = len(section.group.question.pairs)
    holm = f", Holm over {pairs} pairs" if pairs > 1 else ""
    return f"paired t test at 5 %{holm}"


def _scope(section: Section, one: Difference) -> str:
    """Scale, model size, tokens per parameter, device; and the machines, where arms ran on more
    than one kind, since kinds round differently."""
    records = section.group.records
    of_arm, of_reference = ([r for r in records if r.arm == a] for a in (one.arm, one.against))
    ends = section.group.reached(one.arm, one.horizon)
    if not ends or not of_arm:
        return f"{section.scale}, {section.device}"
    active, total = of_arm[0].active_parameters, of_arm[0].total_parameters
    tokens = ends[0].tokens
    size = quantity(total) if total == active else f"{quantity(total)} ({quantity(active)} active)"
    where = section.device
    if len(kinds([*of_arm, *of_reference])) > 1:
        ran = ((one.arm, of_arm), (one.against, of_reference))
        where += ", across machines: " + ", ".join(
            f"{a} on {' and '.join(kinds(r))}" for a, r in ran
        )
    return (
        f"{section.scale}, {size} parameters, {tokens / active:.2g} tokens/active parameter, "
        f"{where}"
    )
