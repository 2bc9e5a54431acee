"""`smol compare`: two arms, or two records, side by side, with what their difference is worth.

Pure functions of records.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from harness.code.provenance import software_set
from harness.errors import RequestError, nearest
from harness.evidence import launches, machines, query
from harness.evidence.differences import Contrast, Difference, difference_of, differences, unasked
from harness.evidence.sections import Section, sections
from harness.records.schema import Record
from harness.stats.inference import LEVEL, UNASKED

Metric = Literal["val_loss", "bits_per_byte", "tokens_per_second"]
METRICS: tuple[Metric, ...] = get_args(Metric)
UNITS = {"val_loss": "nats/token", "bits_per_byte": "bits/byte"}
"""The units of the metrics that are subtracted; below 0 the second is better."""

TEXT = ("other validation text", "other tokenizer")
"""Where these differ, two losses are of different things and have no difference."""


@dataclass(frozen=True)
class Comparison:
    """The second against the first: at one horizon, or of their steady rates."""

    metric: Metric
    horizon: str | None
    """None for a rate, which is of whole launches."""
    pairs: int
    difference: float | None
    """The second less the first, in the metric's unit; a rate has none."""
    half_width: float | None
    """Half the width of the paired t interval, at the level of the verdict."""
    ratio: float | None
    """The second's steady rate over the first's; a loss has none."""
    interval: tuple[float, float] | None
    """The interval of the ratio, at the level of the verdict."""
    paired_sd: float | None
    """Standard deviation of the pairs' differences; a rate has none."""
    detectable: float | None
    """The difference, or the ratio above 1, that these pairs would have shown in 80 % of cases;
    None without a verdict."""
    verdict: str
    comparable: bool
    level: float = LEVEL
    """The level of the interval and the verdict: where a question has several pairs each has less
    room."""
    worth: str | None = None
    """The gain as training tokens, or why there is none; a rate has none."""
    outlay: str | None = None
    """The second's minutes and memory as multiples of the first's; None of a rate, and where the
    kinds of machine do not allow it."""
    noise_of: str | None = None
    """What the interval is over, seeds and documents with their shares; a rate has none."""
    second: str | None = None
    """The difference on the second text and whether it agrees; None where none was scored."""

    @property
    def text(self) -> str:
        """One line for people."""
        where = self.horizon or "steady rate"
        if self.ratio is not None:
            span = f" [{self.interval[0]:.3f}, {self.interval[1]:.3f}]" if self.interval else ""
            shown = f"; detectable {self.detectable:.3f}" if self.detectable is not None else ""
            return f"{where}: {self.ratio:.3f}{span} over {self.pairs} pairs{shown}: {self.verdict}"
        if self.difference is None:
            return f"{where}: {self.verdict}"
        half = f" ± {self.half_width:.4f}" if self.half_width is not None else ""
        spread = f"; paired sd {self.paired_sd:.4f}" if self.paired_sd is not None else ""
        shown = f"; detectable {self.detectable:.4f}" if self.detectable is not None else ""
        return (
            f"{where}: {self.difference:+.4f}{half} {UNITS[self.metric]} over {self.pairs} "
            f"pairs{spread}{shown}{self._size}: {self.verdict}"
        )

    @property
    def _size(self) -> str:
        return "".join(
            f"; {said}{value}"
            for said, value in (
                ("worth ", self.worth),
                ("at ", self.outlay),
                ("interval over ", self.noise_of),
                ("second text ", self.second),
            )
            if value
        )


def second_text(one: Difference) -> str | None:
    """`-0.0123 ± 0.0040, same sign`."""
    if one.second is None or one.second.mean is None or one.second.half is None or not one.said:
        return None
    return f"{one.second.mean:+.4f} ± {one.second.half:.4f}, {one.agrees}"


def compare(
    records: Sequence[Record], first: str, second: str, scale: str, metric: str | None = None
) -> list[Comparison]:
    """`recipe/arm` against `recipe/arm` of one recipe, or key against key.

    Losses horizon by horizon, rates once. Without a metric: the one of the recipe's question, and
    the validation loss of two keys. Raises RequestError for names or a metric that are not there,
    or that no comparison can join.
    """
    found = of_keys(records, first, second, metric)
    if found is not None:
        return found
    section, a, b = choose(sections(records), first, second, scale)
    return of_section(section, a, b, metric)


def of_keys(
    records: Sequence[Record], first: str, second: str, metric: str | None = None
) -> list[Comparison] | None:
    """The comparison of two records by their keys; None where neither name is a key.

    Raises RequestError where one alone is, or for an unknown metric.
    """
    if metric is not None and metric not in METRICS:
        raise RequestError(f"unknown metric '{metric}'{nearest(metric, METRICS)}")
    by_key = {record.key: record for record in query.attempts(records)}
    if first in by_key or second in by_key:
        for name in (first, second):
            if name not in by_key:
                raise RequestError(f"no record of key '{name}'{nearest(name, by_key)}")
        if first == second:
            raise RequestError(f"'{first}' is one record, not two")
        return _of_records(by_key[first], by_key[second], _known(metric or "val_loss"))
    return None


def of_section(section: Section, a: str, b: str, metric: str | None = None) -> list[Comparison]:
    """Arm `b` against arm `a` in one section; without a metric in that of its question."""
    chosen = _known(metric or section.group.question.metric)
    if chosen == "tokens_per_second":
        return [_of_rates(section, a, b)]
    return _of_losses(section, a, b, chosen)


def _known(metric: str) -> Metric:
    """Raises RequestError for a metric that is none: a stranger's record may ask for any."""
    found = next((one for one in METRICS if one == metric), None)
    if found is None:
        raise RequestError(f"no metric '{metric:.60}'{nearest(metric, METRICS)}")
    return found


def _of_losses(section: Section, a: str, b: str, metric: Metric) -> list[Comparison]:
    """A verdict only where the recipe asked this very question beforehand, either way round."""
    question = section.group.question
    known = differences(section) if question.metric == metric else []
    asked = {(d.against, d.arm, d.horizon): d for one in known for d in (one.turned(), one)}
    return [
        summary(
            asked.get((a, b, horizon))
            or unasked(
                section,
                difference_of(
                    section.group, f"{b}@{horizon}", Contrast(a, b, horizon), False, metric
                ),
            ),
            metric,
        )
        for horizon in question.horizons
    ]


def _of_rates(section: Section, a: str, b: str) -> Comparison:
    base = launches.reference(section)
    if base not in (a, b):
        raise RequestError(
            f"rates of {section.recipe} are paired with those of '{base}': name it as A or B"
        )
    versus = launches.compared(section)[b if a == base else a]
    ratio, bounds = versus.ratio or (None, None)
    verdict = versus.verdict
    if ratio is not None and bounds is not None and a != base:
        ratio, bounds = 1.0 / ratio, (1.0 / bounds[1], 1.0 / bounds[0])
        verdict = {"faster": "slower", "slower": "faster"}.get(verdict, verdict)
    return Comparison(
        metric="tokens_per_second",
        horizon=None,
        pairs=versus.log_ratio.n,
        difference=None,
        half_width=None,
        ratio=ratio,
        interval=bounds,
        paired_sd=None,
        detectable=versus.detectable,
        verdict=verdict,
        comparable=ratio is not None,
        level=versus.log_ratio.level,
    )


def choose(
    found: Sequence[Section],
    first: str,
    second: str,
    scale: str | None,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[Section, str, str]:
    """The section in which two arms `recipe/arm` stand, and their names there.

    Without `overrides` it is one of the recipe as it is declared, else of what was run with
    `--set`; without a scale the newest. Raises RequestError where there is none, or no pair.
    """
    wanted = [
        section
        for section in sorted(found, key=lambda s: s.group.created, reverse=True)
        if scale in (None, section.scale) and overrides in (None, section.overrides)
    ]
    wanted.sort(key=lambda section: bool(section.overrides))  # stable: newest first in each
    here: dict[str, list[Section]] = {}
    for section in wanted:
        for arm in section.group.question.arms:
            here.setdefault(f"{section.recipe}/{arm}", []).append(section)
    for name in (first, second):
        if name not in here:
            raise RequestError(f"no arm '{name}'{_where(found, name, scale, overrides, here)}")
    together = [section for section in here[first] if section in here[second]]
    if not together:
        raise RequestError(
            f"'{first}' and '{second}' are of two recipes: declare one recipe with both as arms"
        )
    if first == second:
        raise RequestError(f"'{first}' is one arm, not two")
    recipe = together[0].recipe
    return together[0], first.removeprefix(f"{recipe}/"), second.removeprefix(f"{recipe}/")


def _where(
    found: Sequence[Section],
    name: str,
    scale: str | None,
    overrides: Mapping[str, Any] | None,
    known: Iterable[str],
) -> str:
    """What was looked through in vain, and where the arm is instead."""
    said = f" at scale {scale}" if scale else ""
    said += " with this --set" if overrides else ""
    recipe, _, arm = name.partition("/")
    scales = {s.scale for s in found if s.recipe == recipe and arm in s.group.question.arms}
    if scales - {scale}:
        return f"{said}; it was run at scale {', '.join(sorted(scales - {scale}))}"
    return said + nearest(name, known)


def summary(one: Difference, metric: Metric) -> Comparison:
    """A difference as a comparison: without a number where none may be printed."""
    verdict = one.verdict.text if one.verdict else UNASKED
    comparable = one.verdict is not None and one.verdict.kind != "not comparable"
    return Comparison(
        metric=metric,
        horizon=one.horizon,
        pairs=one.value.n,
        difference=one.value.mean if one.said else None,
        half_width=one.value.half if one.said else None,
        ratio=None,
        interval=None,
        paired_sd=one.value.sd if one.said else None,
        detectable=one.verdict.detectable if one.verdict and comparable else None,
        verdict=verdict if one.value.n else "not measured",
        comparable=comparable,
        level=one.value.level,
        worth=one.worth.text if one.worth and one.said else None,
        outlay=one.outlay.text if one.outlay and one.outlay.reason is None and one.said else None,
        noise_of=one.value.over if one.said else None,
        second=second_text(one),
    )


def _of_records(a: Record, b: Record, metric: Metric) -> list[Comparison]:
    apart = _apart(a, b)
    bare = Comparison(
        metric=metric, horizon=None, pairs=1, difference=None, half_width=None, ratio=None,
        interval=None, paired_sd=None, detectable=None, comparable=False,
        verdict="not comparable: " + "; ".join(["one run against one run", *apart]),
    )  # fmt: skip
    if metric == "tokens_per_second":
        left, right = (r.timing and r.timing.steady_tokens_per_second for r in (a, b))
        return [dataclasses.replace(bare, ratio=right / left if left and right else None)]
    ends = {end.horizon: end for end in b.ends}
    shared = [(end, ends[end.horizon]) for end in a.ends if end.horizon in ends]
    if not shared:
        raise RequestError(f"records {a.key} and {b.key} end at no common horizon")
    same_text = not any(what in apart for what in TEXT)
    found = []
    for end, other in shared:
        left, right = getattr(end, metric), getattr(other, metric)
        known = same_text and left is not None and right is not None
        found.append(
            dataclasses.replace(
                bare, horizon=end.horizon, difference=right - left if known else None
            )
        )
    return found


def _apart(a: Record, b: Record) -> list[str]:
    """What else sets two runs apart, besides what their arms differ in."""
    pairs = {
        TEXT[0]: (a.data and a.data.val_tokens, b.data and b.data.val_tokens),
        TEXT[1]: (a.data and a.data.tokenizer_digest, b.data and b.data.tokenizer_digest),
        "other scale": (a.scale, b.scale),
        "other machine": (machines.kind(a), machines.kind(b)),
        "other software": (software_set(a.software), software_set(b.software)),
        "other code": (_code(a), _code(b)),
        "other seed": (a.seed, b.seed),
    }
    return [what for what, (left, right) in pairs.items() if left != right]


def _code(record: Record) -> str:
    return record.code.behaviour_digest or record.code.source_digest
