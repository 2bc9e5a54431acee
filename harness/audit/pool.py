"""The numbers that speak to one claim: its own, those it rests on, and what goes without saying;
and the words in which a test speaks of them. May not judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from harness.audit.claims import Claim, ClaimsFile
from harness.audit.printed import exact
from harness.audit.relations import COMMON, STEPS, Relation
from harness.audit.sizes import Size
from harness.audit.solve import Value, assumed, quantity, stated
from harness.machine.hardware import Peak, peak_of, peaks

Verdict = Literal["holds", "does not hold", "cannot be tested"]
Ground = Literal["quote", "arithmetic", "physics", "evidence", "records"]

HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
OPEN: Verdict = "cannot be tested"


@dataclass(frozen=True)
class Check:
    """One test of one claim."""

    ground: Ground
    text: str
    """What the claim implies, with its arithmetic."""
    verdict: Verdict
    readings: tuple[str, ...] = ()
    """Under which the claim would hold."""
    decisive: bool = False
    """An open question that sound arithmetic does not close."""


@dataclass(frozen=True)
class Statements:
    """Everything known about one claim."""

    claim: Claim
    known: dict[str, Value]
    model: Size | None
    device: str | None
    peak: Peak | None
    step: str

    @property
    def relations(self) -> tuple[Relation, ...]:
        """The equations that apply, under this claim's meaning of "step"."""
        return COMMON + STEPS["micro-step" if self.step == "micro-step" else "update"]

    @property
    def seq_len(self) -> float | None:
        """Tokens a sequence, where stated."""
        value = self.known.get("seq_len")
        return value.interval.middle if value else None

    @property
    def worked(self) -> Value | None:
        """The parameters that a token passes through."""
        return self.known.get("active_parameters") or self.known.get("parameters")

    def is_own(self, values: Iterable[Value]) -> bool:
        """Whether any of the values rests on a number of the claim itself."""
        return any(self.claim.id in value.stated_in for value in values)


@dataclass
class _Reach:
    """What a claim and those it rests on state, each with the number of claims between."""

    numbers: dict[str, tuple[int, Value]] = field(default_factory=dict)
    model: tuple[int, Size, str] | None = None
    device: tuple[int, str] | None = None
    step: tuple[int, str] | None = None

    def rest_on(self, other: _Reach) -> None:
        """Take over what the other says more nearly than anything so far."""
        for name, (far, value) in other.numbers.items():
            if name not in self.numbers or far + 1 < self.numbers[name][0]:
                self.numbers[name] = (far + 1, value)
        if other.model and (self.model is None or other.model[0] + 1 < self.model[0]):
            self.model = (other.model[0] + 1, *other.model[1:])
        if other.device and (self.device is None or other.device[0] + 1 < self.device[0]):
            self.device = (other.device[0] + 1, other.device[1])
        if other.step and (self.step is None or other.step[0] + 1 < self.step[0]):
            self.step = (other.step[0] + 1, other.step[1])


def gather(card: ClaimsFile) -> Iterator[Statements]:
    """The statements that speak to each claim of a file, in its order: the nearer one counts."""
    by_id = {claim.id: claim for claim in card.claims}
    reached: dict[str, _Reach] = {}
    for name in card.order:
        claim = by_id[name]
        reach = _Reach(
            {name: (0, stated(name, n, claim.id)) for name, n in claim.numbers.items()},
            (0, claim.model, claim.id) if claim.model else None,
            (0, claim.device) if claim.device else None,
            (0, claim.step) if claim.step else None,
        )
        for other in claim.rests_on:
            reach.rest_on(reached[other])
        reached[claim.id] = reach
    for claim in card.claims:
        yield _statements(claim, reached[claim.id])


def _statements(claim: Claim, reach: _Reach) -> Statements:
    known = {name: value for name, (_, value) in reach.numbers.items()}
    paid = next((n.currency for n in known.values() if n.currency and claim.id in n.stated_in), "")
    # Nothing is worked out between currencies: their rates are nobody's claim.
    known = {name: v for name, v in known.items() if v.currency in ("", paid) or not paid}
    known.setdefault("devices", assumed("devices", 1.0, "1 device"))
    model = reach.model[1] if reach.model else None
    if reach.model is not None:
        _, size, owner = reach.model
        if "parameters" not in known:
            known["parameters"] = _counted("parameters", size.total, size.described, owner)
        if {"kv_cache_bytes", "kv_bytes_per_token"} & set(known):
            text = f"{size.kv_values:,} values of keys and values a token"
            known.setdefault(
                "kv_values_per_token", _counted("kv_values_per_token", size.kv_values, text, owner)
            )
    if {"kv_cache_bytes", "kv_bytes_per_token"} & set(known):
        known.setdefault("bytes_per_value", assumed("bytes_per_value", 2.0, "2 bytes (16 bits)"))
        known.setdefault("sequences", assumed("sequences", 1.0, "1 sequence"))
    device = reach.device[1] if reach.device else None
    peak = _peak(device)
    if peak is not None and "peak_flops" not in known:
        text = f"{quantity('peak_flops', exact(peak.bf16_flops))} ({peak.name}'s bf16 peak)"
        known["peak_flops"] = assumed("peak_flops", peak.bf16_flops, text)
    return Statements(claim, known, model, device, peak, reach.step[1] if reach.step else "update")


def _counted(name: str, count: int, described: str, claim: str) -> Value:
    """What a model's sizes come to."""
    return Value(
        name,
        exact(count),
        f"{count:,} ({described})" if name == "parameters" else described,
        frozenset({claim}),
        frozenset({f"{claim}.model"}),
    )


def _peak(device: str | None) -> Peak | None:
    """By the name of hardware.toml, else by the product's name; None where unknown."""
    if device is None:
        return None
    return peaks()[device][1] if device in peaks() else peak_of(device)
