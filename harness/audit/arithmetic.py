"""Do a claim's numbers agree with each other? Every relation, sums, shares and ranges.

Interval arithmetic on what was printed: only what no rounding explains is held against a claim.
"""

from __future__ import annotations

from harness.audit import readings
from harness.audit.checks import FAILS, HOLDS, Check
from harness.audit.claims import Claim, Sum
from harness.audit.interval import Interval, exact
from harness.audit.pool import Pool
from harness.audit.sizes import released_with
from harness.audit.solve import Agreement, Conflict, check, number, quantity, shown, solve

_LIMITS: dict[str, tuple[float, float, str]] = {
    "mfu": (0.0, 1.0, "a share of the peak is between 0 and 100 %"),
    "accuracy": (0.0, 1.0, "an accuracy is between 0 and 100 %"),
    "share": (0.0, 1.0, "a share is between 0 and 100 %"),
    "reduction": (-float("inf"), 1.0, "nothing shrinks by more than 100 %"),
    "loss": (0.0, float("inf"), "a cross-entropy is not negative"),
    "perplexity": (1.0, float("inf"), "a perplexity is at least 1"),
    "bits_per_byte": (0.0, float("inf"), "bits a byte are not negative"),
}


def checks(pool: Pool) -> list[Check]:
    """All arithmetic tests of a claim."""
    found = [*_limits(pool.claim), *_relations(pool), *_parameters(pool)]
    if pool.claim.sum is not None:
        found += _sums(pool.claim.sum)
    return [*found, *_shares(pool.claim)]


def _limits(claim: Claim) -> list[Check]:
    found = []
    for name, stated in claim.numbers.items():
        low, high, why = _LIMITS.get(name, (-float("inf"), float("inf"), ""))
        if not stated.interval.overlaps(Interval(low, high)):
            text = f"{readings.words(name)} {stated.text}: {why}"
            share = high == 1.0 and "%" not in stated.text
            reading = (f"if {stated.text} is a percentage",) if share else ()
            found.append(Check("arithmetic", text, FAILS, reading))
    return found


def _relations(pool: Pool) -> list[Check]:
    # Utilisation is physics': it depends on how FLOPs are counted.
    known = {n: v for n, v in pool.known.items() if n not in ("mfu", "peak_flops")}
    values = solve(known, pool.relations)
    conflicts, agreements = check(values, pool.relations)
    found = [
        Check("arithmetic", _shown(one), FAILS, readings.of_conflict(pool, one))
        for one in conflicts
        if pool.is_own([one.stated, one.implied])
    ]
    told = [
        one
        for one in agreements
        if pool.is_own([one.stated, one.implied]) and one.stated.steps == 0
    ]
    return found + [Check("arithmetic", _shown(one), HOLDS) for one in told]


def implications(pool: Pool, most: int = 3) -> list[str]:
    """What follows from the claim's own numbers in one step, where nothing tests them."""
    known = {name: value for name, value in pool.known.items() if name != "peak_flops"}
    values = solve(known, pool.relations, limit=1)
    return [
        f"{readings.words(name)} {value.text} = {quantity(name, value.interval)}"
        for name, value in values.items()
        if name not in known and value.steps == 1 and pool.is_own([value])
        and not any(rest.startswith("assumed.") for rest in value.rests_on)
    ][:most]  # fmt: skip


def _shown(one: Conflict | Agreement) -> str:
    """`time: 1,000,000,000 / 204,472/s = 1.359 h, stated ~1.4 hours`."""
    worked = f"{one.implied.text} = {quantity(one.name, one.implied.interval)}"
    against = "stated" if one.stated.steps == 0 else f"{one.stated.text} ="
    text = f"{readings.words(one.name)}: {worked}, {against} {shown(one.stated)}"
    if isinstance(one, Conflict):
        text += f" ({_factor(one.factor)})"
    return text


def _factor(factor: Interval) -> str:
    middle = factor.middle
    if 0 < middle < 1:
        return f"stated {number(1 / middle)}× too much"
    return f"stated {number(middle)}× too little"


def _parameters(pool: Pool) -> list[Check]:
    """Stated counts against the sizes of the model, if the claim states either."""
    model, found = pool.model, []
    if model is None:
        return []
    for name, real in (("parameters", model.total), ("active_parameters", model.active)):
        value = pool.known.get(name)
        printed = value is not None and not any(r.endswith(".model") for r in value.rests_on)
        own = name in pool.claim.numbers or pool.claim.model is not None
        if value is None or not printed or not own:
            continue
        text = f"{model.described}: {real:,} {readings.words(name)}, stated {value.text}"
        if value.interval.holds(real):
            found.append(Check("arithmetic", text, HOLDS))
            continue
        found.append(
            Check("arithmetic", text, FAILS, _counted_otherwise(pool, name, real, value.interval))
        )
    return found


def _counted_otherwise(pool: Pool, name: str, real: int, stated: Interval) -> tuple[str, ...]:
    model = pool.model
    assert model is not None  # the caller has one
    others = [
        (real - model.embedding, "the embedding is left out"),
        (real + model.embedding, "the head is not tied to the embedding"),
        (model.active if name == "parameters" else model.total, "the other count is meant"),
    ]
    found = [f"if {why}: {count:,}" for count, why in others if stated.holds(count)]
    found += [f"of {one}" for one in released_with(stated.low, stated.high)]
    return (*found, f"if it read {real:,}")


def _sums(entry: Sum) -> list[Check]:
    total = exact(0.0)
    for part in entry.parts:
        total = total + part.interval
    shown_parts = " + ".join(part.text for part in entry.parts)
    found = []
    for stated, scale, word in ((entry.total, 1.0, ""), (entry.mean, 1 / len(entry.parts), "mean")):
        if stated is None:
            continue
        real = total.scaled(scale)
        text = (
            f"{shown_parts} = {number(real.middle)}"
            if not word
            else (f"mean of {shown_parts} = {number(real.middle)}")
        )
        agrees = real.overlaps(stated.interval)
        reading = () if agrees else (f"if it read {number(real.middle)}",)
        verdict = HOLDS if agrees else FAILS
        found.append(Check("arithmetic", f"{text}, stated {stated.text}", verdict, reading))
    return found


def _shares(claim: Claim) -> list[Check]:
    if not claim.shares:
        return []
    total = exact(0.0)
    for share in claim.shares:
        total = total + share.interval
    text = f"{' + '.join(s.text for s in claim.shares)} = {total.middle:.1%} of the whole"
    if total.holds(1.0):
        return [Check("arithmetic", text, HOLDS)]
    return [Check("arithmetic", text, FAILS, ("if the shares are of different wholes",))]
