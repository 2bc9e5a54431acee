"""`smol compare`: two arms, or two records, side by side, with what their difference is worth.

Pure functions of records. May not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import RequestError, nearest
from harness.measure.provenance import software_set
from harness.records import store
from harness.records.schema import Record
from harness.report.comparison import Difference, difference_of, differences
from harness.report.frame import Section, sections

TEXT = ("other validation text", "other tokenizer")
"""Where these differ, two losses are of different things and have no difference."""


@dataclass(frozen=True)
class Comparison:
    """The second less the first, at one horizon."""

    horizon: str
    pairs: int
    difference: float | None
    """Validation loss, nats a token; below 0 the second is better."""
    half_width: float | None
    """Of the paired 95 % t interval."""
    noise_floor: float | None
    """Standard deviation of the first over its seeds."""
    verdict: str
    comparable: bool

    @property
    def text(self) -> str:
        """One line for people."""
        if self.difference is None:
            return f"{self.horizon}: {self.verdict}"
        half = f" ± {self.half_width:.4f}" if self.half_width is not None else ""
        noise = f"; noise floor {self.noise_floor:.4f}" if self.noise_floor is not None else ""
        return (
            f"{self.horizon}: {self.difference:+.4f}{half} nats/token over {self.pairs} "
            f"pairs{noise}: {self.verdict}"
        )


def compare(records: Sequence[Record], first: str, second: str, scale: str) -> list[Comparison]:
    """`recipe/arm` against `recipe/arm` of one recipe, or key against key; horizon by horizon.

    Raises RequestError for names that are not there, or that no comparison can join.
    """
    by_key = store.latest(records)
    if first in by_key or second in by_key:
        for name in (first, second):
            if name not in by_key:
                raise RequestError(f"no record of key '{name}'{nearest(name, by_key)}")
        if first == second:
            raise RequestError(f"'{first}' is one record, not two")
        return _of_records(by_key[first], by_key[second])
    section, a, b = _arms(sections(records), first, second, scale)
    asked = {(d.against, d.arm, d.horizon): d for d in differences(section)}
    found = []
    for horizon in section.group.question.horizons:
        known = asked.get((a, b, horizon))
        one = known or difference_of(section.group, f"{b}@{horizon}", a, b, horizon, False)
        found.append(_summary(one))
    return found


def _arms(
    found: Sequence[Section], first: str, second: str, scale: str
) -> tuple[Section, str, str]:
    here = {
        f"{section.recipe}/{arm}": (section, arm)
        for section in reversed(found)
        if section.scale == scale and not section.overrides
        for arm in section.group.question.arms
    }
    for name in (first, second):
        if name not in here:
            recipe, _, arm = name.partition("/")
            scales = {s.scale for s in found if s.recipe == recipe and arm in s.group.question.arms}
            there = f"; it was run at scale {', '.join(sorted(scales - {scale}))}"
            hint = there if scales - {scale} else nearest(name, here)
            raise RequestError(f"no arm '{name}' at scale {scale}{hint}")
    (section, a), (other, b) = here[first], here[second]
    if section is not other:
        raise RequestError(
            f"'{first}' and '{second}' are of two recipes: declare one recipe with both as arms"
        )
    if a == b:
        raise RequestError(f"'{first}' is one arm, not two")
    return section, a, b


def _summary(one: Difference) -> Comparison:
    verdict = one.verdict.text if one.verdict else "exploratory, no verdict"
    return Comparison(
        horizon=one.horizon,
        pairs=one.value.n,
        difference=one.value.mean,
        half_width=one.value.half,
        noise_floor=one.noise.sd,
        verdict=verdict if one.value.n else "not measured",
        comparable=one.verdict is not None and not verdict.startswith("not comparable"),
    )


def _of_records(a: Record, b: Record) -> list[Comparison]:
    ends = {end.horizon: end for end in b.ends}
    shared = [(end, ends[end.horizon]) for end in a.ends if end.horizon in ends]
    if not shared:
        raise RequestError(f"records {a.key} and {b.key} end at no common horizon")
    apart = _apart(a, b)
    same_text = not any(what in apart for what in TEXT)
    why = "; ".join(["one run against one run", *apart])
    return [
        Comparison(
            horizon=left.horizon,
            pairs=1,
            difference=right.val_loss - left.val_loss if same_text else None,
            half_width=None,
            noise_floor=None,
            verdict=f"not comparable: {why}",
            comparable=False,
        )
        for left, right in shared
    ]


def _apart(a: Record, b: Record) -> list[str]:
    """What else sets two runs apart, besides what their arms differ in."""
    pairs = {
        TEXT[0]: (a.data and a.data.val_tokens, b.data and b.data.val_tokens),
        TEXT[1]: (a.data and a.data.tokenizer_digest, b.data and b.data.tokenizer_digest),
        "other scale": (a.scale, b.scale),
        "other machine": (a.hardware.device_class, b.hardware.device_class),
        "other software": (software_set(a.software), software_set(b.software)),
        "other code": (_code(a), _code(b)),
        "other seed": (a.seed, b.seed),
    }
    return [what for what, (left, right) in pairs.items() if left != right]


def _code(record: Record) -> str:
    return record.code.behaviour_digest or record.code.source_digest
