"""The numbers that speak to one claim: its own, those it rests on, and what goes without saying.

May not judge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.audit.claims import Claim, ClaimsFile
from harness.audit.interval import exact
from harness.audit.relations import COMMON, STEPS, Relation
from harness.audit.sizes import Size
from harness.audit.solve import Value, assumed, quantity, stated
from harness.machine.hardware import Peak, peak_of, peaks


@dataclass(frozen=True)
class Pool:
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

    def is_own(self, values: Iterable[Value]) -> bool:
        """Whether any of the values rests on a number of the claim itself."""
        return any(self.claim.id in value.stated_in for value in values)


def gather(card: ClaimsFile, claim: Claim) -> Pool:
    """The pool of a claim: where two state a quantity, the nearer one counts."""
    chain = card.with_all(claim)
    known: dict[str, Value] = {}
    for one in chain:
        for name, number in one.numbers.items():
            known.setdefault(name, stated(name, number.interval, number.text, one.id))
    known.setdefault("devices", assumed("devices", 1.0, "1 device"))
    model = next((one.model for one in chain if one.model is not None), None)
    owner = next((one.id for one in chain if one.model is not None), None)
    if model is not None and owner is not None and "parameters" not in known:
        known["parameters"] = counted(model, owner)
    device = next((one.device for one in chain if one.device is not None), None)
    peak = _peak(device)
    if peak is not None and "peak_flops" not in known:
        text = f"{quantity('peak_flops', exact(peak.bf16_flops))} ({peak.name}'s bf16 peak)"
        known["peak_flops"] = assumed("peak_flops", peak.bf16_flops, text)
    step = next((one.step for one in chain if one.step is not None), None)
    return Pool(claim, known, model, device, peak, step or "update")


def counted(model: Size, claim: str) -> Value:
    """The parameters that a model's sizes come to."""
    return Value(
        "parameters",
        exact(model.total),
        f"{model.total:,} ({model.described})",
        frozenset({claim}),
        frozenset({f"{claim}.model"}),
    )


def _peak(device: str | None) -> Peak | None:
    """By the name of hardware.toml, else by the product's name; None where unknown."""
    if device is None:
        return None
    return peaks()[device][1] if device in peaks() else peak_of(device)
