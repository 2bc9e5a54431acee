"""The numbers that speak to one claim: its own, those it rests on, and what goes without saying;
and the words in which a test speaks of them. May not judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from harness.audit import devices
from harness.audit.claims import Claim, ClaimsFile
from harness.audit.printed import exact
from harness.audit.relations import COMMON, STEPS, Relation
from harness.audit.sizes import Size
from harness.audit.solve import Value, assumed, quantity, stated
from harness.machine.hardware import Peak

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
    """The readings under which the claim would hold."""
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


def gather(card: ClaimsFile) -> Iterator[Statements]:
    """The statements that speak to each claim of a file, in its order: the nearer one counts."""
    by_id = {claim.id: claim for claim in card.claims}
    reached: dict[str, dict[str, tuple[int, Any]]] = {}
    for claim_id in card.order:
        # What is said -> (how many claims away, what): each claim takes over what those say that
        # it rests on, so that no chain is followed twice.
        said = {name: (0, what) for name, what in _own(by_id[claim_id]).items()}
        for other in by_id[claim_id].rests_on:
            for name, (far, what) in reached[other].items():
                if name not in said or far + 1 < said[name][0]:
                    said[name] = (far + 1, what)
        reached[claim_id] = said
    for claim in card.claims:
        yield _statements(claim, {name: what for name, (_, what) in reached[claim.id].items()})


def _own(claim: Claim) -> dict[str, Any]:
    own: dict[str, Any] = {n: stated(n, number, claim.id) for n, number in claim.numbers.items()}
    own["model"] = (claim.model, claim.id) if claim.model else None
    own |= {"device": claim.device, "step": claim.step}
    return {name: what for name, what in own.items() if what is not None}


def _statements(claim: Claim, said: dict[str, Any]) -> Statements:
    known: dict[str, Value] = {n: what for n, what in said.items() if isinstance(what, Value)}
    paid = next((n.currency for n in known.values() if n.currency and claim.id in n.stated_in), "")
    # Nothing is worked out between currencies: their rates are nobody's claim.
    known = {name: v for name, v in known.items() if v.currency in ("", paid) or not paid}
    known.setdefault("devices", assumed("devices", exact(1.0), "1 device"))
    cached = bool({"kv_cache_bytes", "kv_bytes_per_token"} & set(known))
    model, owner = said.get("model", (None, ""))
    if model is not None:
        counts = {"parameters": (model.total, f"{model.total:,} ({model.described})")}
        if model.active != model.total:
            counts["active_parameters"] = (model.active, f"{model.active:,} active")
        if cached:
            text = f"{model.kv_values:,} values of keys and values a token"
            counts["kv_values_per_token"] = (model.kv_values, text)
        for name, (count, text) in counts.items():
            known.setdefault(name, _counted(name, count, text, owner))
    if cached:
        known.setdefault(
            "bytes_per_value", assumed("bytes_per_value", exact(2.0), "2 bytes (16 bits)")
        )
        known.setdefault("sequences", assumed("sequences", exact(1.0), "1 sequence"))
    device = devices.find(said.get("device"))
    if device is not None and "peak_flops" not in known:
        text = f"{quantity('peak_flops', device.flops)} ({device.peak.name}'s bf16 peak)"
        known["peak_flops"] = assumed("peak_flops", device.flops, text)
    peak = device.peak if device else None
    return Statements(claim, known, model, said.get("device"), peak, said.get("step", "update"))


def _counted(name: str, count: int, text: str, claim: str) -> Value:
    """What a model's sizes come to."""
    return Value(name, exact(count), text, frozenset({claim}), frozenset({f"{claim}.model"}))
