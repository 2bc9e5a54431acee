"""Do a claim's numbers agree with each other? Relations, sizes, sums, shares, samples, limits.

Interval arithmetic on what was printed: only what no rounding explains is held against a claim.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from harness.audit import readings
from harness.audit.claims import Claim, PrintedSum
from harness.audit.pool import FAILS, HOLDS, Check, Statements
from harness.audit.printed import Interval, exact
from harness.audit.sizes import released_with
from harness.audit.solve import Agreement, Conflict, Value, check, number, quantity, shown, solve

_LIMITS: dict[str, tuple[float, float, str]] = {
    "mfu": (0.0, 1.0, "a share of the peak is between 0 and 100 %"),
    "accuracy": (0.0, 1.0, "an accuracy is between 0 and 100 %"),
    "share": (0.0, 1.0, "a share is between 0 and 100 %"),
    "reduction": (-float("inf"), 1.0, "nothing shrinks by more than 100 %"),
    "loss": (0.0, float("inf"), "a cross-entropy is not negative"),
    "perplexity": (1.0, float("inf"), "a perplexity is at least 1"),
    "bits_per_byte": (0.0, float("inf"), "bits a byte are not negative"),
}
MANY_QUESTIONS = 1e9
"""Beyond, any share is a whole number of them."""
OPTIMIZER_BYTES = {
    2: "two moments in 8 bits", 4: "two moments in 16 bits, or one in 32",
    8: "two moments in 32 bits", 12: "two moments and a master copy in 32 bits",
    16: "two moments, a master copy and gradients in 32 bits",
}  # fmt: skip
"""Bytes a parameter that optimizers keep, and what of."""


def checks(pool: Statements) -> list[Check]:
    """All arithmetic tests of a claim."""
    claim = pool.claim
    found = [*_limits(claim), *_relations(pool), *_parameters(pool), *_embedding(pool)]
    if claim.impossible is not None:
        found.append(Check("arithmetic", str(claim.impossible), FAILS, (claim.impossible.reading,)))
    if claim.sum is not None:
        found += _sums(claim.sum)
    return [*found, *_shares(claim), *_half_width(pool), *_whole(pool), *_optimizer(pool)]


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


def _relations(pool: Statements) -> list[Check]:
    # Utilisation is physics': it depends on how FLOPs are counted.
    known = {n: v for n, v in pool.known.items() if n not in ("mfu", "peak_flops")}
    values = solve(known, pool.relations)
    conflicts, agreements = check(values, pool.relations)
    conflicts = conflicts or _of_ranges(pool, known)
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


def _of_ranges(pool: Statements, known: Mapping[str, Value]) -> list[Conflict]:
    """Conflicts between two ranges end by end: both must go with the other's, whichever way."""
    ranged = [name for name, value in known.items() if value.ends is not None]
    if len(ranged) != 2:
        return []
    first, second = ranged
    told: list[list[Conflict]] = []
    for ways in (((0, 0), (1, 1)), ((0, 1), (1, 0))):
        conflicts: list[Conflict] = []
        for i, j in ways:
            at_ends = {
                name: replace(known[name], interval=ends[end], text=f"{known[name].text} ({word})")
                for name, end in ((first, i), (second, j))
                if (ends := known[name].ends) and (word := ("from", "to")[end])
            }
            conflicts += check(solve({**known, **at_ends}, pool.relations), pool.relations)[0]
        told.append(conflicts)
    return [] if not all(told) else told[0][:1]


def implications(pool: Statements, most: int = 3) -> list[str]:
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


def _parameters(pool: Statements) -> list[Check]:
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


def _embedding(pool: Statements) -> list[Check]:
    """Parameters with or without the embedding, under each meaning of the word."""
    model, found = pool.model, []
    for name in ("embedding_parameters", "non_embedding_parameters"):
        value = pool.known.get(name)
        if model is None or value is None or not pool.is_own([value]):
            continue
        rest = name.startswith("non")
        ways = {f"{'less ' if rest else ''}{way}": model.total - count if rest else count
                for way, count in model.embeddings.items()}  # fmt: skip
        fits = [way for way, count in ways.items() if value.interval.holds(count)]
        told = fits[:1] or list(ways)
        listed = "; ".join(f"{way}: {ways[way]:,}" for way in told)
        text = f"{model.described}: {readings.words(name)} {listed}, stated {value.text}"
        reading = (f"if it read {ways[told[0]]:,}",)
        found.append(Check("arithmetic", text, HOLDS if fits else FAILS, () if fits else reading))
    return found


def _counted_otherwise(pool: Statements, name: str, real: int, stated: Interval) -> tuple[str, ...]:
    model = pool.model
    assert model is not None  # the caller has one
    others = [
        (real - model.embedding, "the embedding is left out"),
        (
            real + model.embedding if model.tied else real - model.embedding,
            "the head is not tied to the embedding" if model.tied else "the head is tied",
        ),
        (model.active if name == "parameters" else model.total, "the other count is meant"),
    ]
    found = [f"if {why}: {count:,}" for count, why in others if stated.holds(count)]
    found += [f"of {one}" for one in released_with(stated.low, stated.high)]
    return (*found, f"if it read {real:,}")


def _sums(entry: PrintedSum) -> list[Check]:
    parts = [part.interval for part in entry.parts]
    listed = " + ".join(part.text for part in entry.parts)
    found = []
    if entry.total is not None:
        found.append(_compared(f"{listed}", _total(parts), entry.total.interval, entry.total.text))
    if entry.mean is not None and not entry.weights:
        mean = _total(parts).scaled(1 / len(parts))
        found.append(_compared(f"mean of {listed}", mean, entry.mean.interval, entry.mean.text))
    if entry.mean is not None and entry.weights:
        weights = [weight.interval for weight in entry.weights]
        # Weights are chosen: their nominal values count.
        whole = sum(weight.middle for weight in weights)
        mean = _total(
            [part.scaled(w.middle / whole) for part, w in zip(parts, weights, strict=True)]
        )
        told = " + ".join(
            f"{w.text} × {part.text}" for w, part in zip(entry.weights, entry.parts, strict=True)
        )
        found.append(_compared(f"mean of {told}", mean, entry.mean.interval, entry.mean.text))
    if entry.sd is not None:
        found.append(_spread(entry, listed))
    return found


def _total(parts: list[Interval]) -> Interval:
    total = exact(0.0)
    for part in parts:
        total = total + part
    return total


def _compared(what: str, real: Interval, stated: Interval, text: str) -> Check:
    line = f"{what} = {number(real.middle)}, stated {text}"
    if real.overlaps(stated):
        return Check("arithmetic", line, HOLDS)
    return Check("arithmetic", line, FAILS, (f"if it read {number(real.middle)}",))


def _spread(entry: PrintedSum, listed: str) -> Check:
    """The standard deviation of the parts, with n - 1 below or with n: both are in use."""
    assert entry.sd is not None  # the caller has one
    middles = [part.interval.middle for part in entry.parts]
    n, mean = len(middles), sum(middles) / len(middles)
    squares = sum((value - mean) ** 2 for value in middles)
    # Moving every part by its rounding moves their deviation by at most the largest rounding
    # times the root of n / (n - 1).
    most = max(part.interval.high - part.interval.middle for part in entry.parts)
    told = []
    for below, word in ((n - 1, "n - 1"), (n, "n")):
        real, room = math.sqrt(squares / below), most * math.sqrt(n / below)
        fits = Interval(max(real - room, 0.0), real + room, real)
        what = f"sd of {listed} over {word}"
        told.append(_compared(what, fits, entry.sd.interval, entry.sd.text))
    return next((check for check in told if check.verdict == HOLDS), told[0])


def _half_width(pool: Statements) -> list[Check]:
    """A 95 % interval of a mean: Student's t of n - 1, or the normal's 1.96."""
    names = ("half_width", "sd", "seeds")
    if not all(name in pool.known for name in names):
        return []
    stated, sd, seeds = (pool.known[name] for name in names)
    n = seeds.interval.middle
    if not pool.is_own([stated, sd, seeds]) or n < 2:
        return []
    from scipy import special  # a second to import: only where a claim asks

    quantiles = (("t", float(special.stdtrit(n - 1, 0.975))), ("z", 1.96))
    lines = []
    for word, quantile in quantiles:
        real = sd.interval.scaled(quantile / math.sqrt(n))
        what = f"half width: {number(quantile)} ({word}) × {sd.text} / √{number(n)}"
        lines.append(_compared(what, real, stated.interval, stated.text))
        if lines[-1].verdict == HOLDS:
            return lines[-1:]
    return lines[:1]


def _whole(pool: Statements) -> list[Check]:
    """A share of right answers is a whole number of questions: not every percentage is one."""
    score, asked = pool.known.get("accuracy"), pool.known.get("questions")
    if score is None or asked is None or "correct" in pool.known:
        return []
    if not pool.is_own([score, asked]):
        return []
    seeds = pool.known.get("seeds")
    runs = seeds.interval.middle if seeds else pool.claim.evidence.get("runs_each", 1)
    n = asked.interval.middle * runs
    right = score.interval.scaled(n)
    if not right.high < MANY_QUESTIONS:
        return []
    near = round(right.middle)
    text = f"{score.text} of {number(n)} questions = {right.middle:,.2f} right answers"
    if math.floor(right.high + 1e-6) >= math.ceil(right.low - 1e-6):
        return [Check("arithmetic", text, HOLDS)]
    reading = f"if it read {near / n:.2%}, which is {near:,}" if n else "if there were questions"
    return [Check("arithmetic", f"{text}: no whole number", FAILS, (reading,))]


def _optimizer(pool: Statements) -> list[Check]:
    stated, count = pool.known.get("optimizer_bytes"), pool.known.get("parameters")
    given = "optimizer_bytes_per_parameter" in pool.known
    if stated is None or count is None or given or not pool.is_own([stated, count]):
        return []
    each = stated.interval / count.interval
    text = f"optimizer: {stated.text} / {count.text} = {number(each.middle)} bytes a parameter"
    for size, what in OPTIMIZER_BYTES.items():
        if each.holds(size):
            return [Check("arithmetic", f"{text} ({what})", HOLDS)]
    told = "; ".join(f"{size}: {what}" for size, what in OPTIMIZER_BYTES.items())
    return [Check("arithmetic", text, FAILS, (f"at one of the usual sizes: {told}",))]


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
