"""Model cards that are sound, and the same with one error planted: for testing the audit.

Shares nothing with the audit: it imports nothing of the project, counts parameters tensor by
tensor, has its own table of devices, and writes its claims files as text.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from tests.audit.story import Story, text

KINDS = (
    "tokens", "rate x time", "mfu", "fixed cost", "parameters", "cost x rate", "perplexity",
    "bits per byte", "percentages", "unit slips",
)  # fmt: skip


@dataclass(frozen=True)
class Card:
    """A claims file as text, and the claims in which an error was planted (none: sound)."""

    text: str
    planted_in: frozenset[str]
    what: str


def sound(seed: int) -> Card:
    """A card in which everything fits, as far as its digits go."""
    story = Story(random.Random(seed))
    return Card(text(story, story.numbers()), frozenset(), "sound")


def broken(kind: str, seed: int) -> Card:
    """The card of a story with one error of a kind."""
    story = Story(random.Random(f"{kind}{seed}"))
    numbers = story.numbers()
    where, what = _ERRORS[kind](story, numbers, story.rng)
    return Card(text(story, numbers), frozenset(where), what)


_Numbers = dict[str, str]
_Where = tuple[list[str], str]


def _tokens(s: Story, n: _Numbers, rng: random.Random) -> _Where:
    slip = rng.choice(["accum", "micro", "total", "off"])
    if slip == "accum":
        n["per_update"] = s.count(s.per_update / s.accum)
    elif slip == "micro":
        n["per_update"] = s.count(s.per_update / s.micro)
    elif slip == "total":
        n["tokens"] = s.count(s.tokens / s.accum)
    else:
        n["tokens"] = s.count(s.tokens * rng.choice([0.7, 0.85, 1.15, 1.4]))
    return ["batch", "length", "speed"], f"tokens: {slip}"


def _rate_time(s: Story, n: _Numbers, rng: random.Random) -> _Where:
    wrong = rng.choice([0.5, 0.75, 0.88, 1.12, 1.3, 2.0])
    if rng.random() < 0.5:
        n["time"] = s.span(s.seconds * wrong)
    else:
        n["rate"] = s.count(s.rate * wrong) + " tokens/s"
    return ["speed"], f"rate or time × {wrong}"


def _mfu(s: Story, n: _Numbers, rng: random.Random) -> _Where:
    slip = rng.choice(["half", "double", "wrong peak", "high"])
    if slip == "half":
        n["mfu"] = f"{s.mfu * 50:.1f}%"
    elif slip == "double":
        n["mfu"] = f"{s.mfu * 200:.1f}%"
    elif slip == "wrong peak":  # an A100's, for whatever this is
        n["mfu"] = f"{s.mfu * 100 * s.peak / 312:.1f}%"
    else:
        n["mfu"] = f"{rng.uniform(103, 160):.1f}%"
    return ["mfu"], f"mfu: {slip}"


def _fixed(s: Story, n: _Numbers, rng: random.Random) -> _Where:
    slip = rng.choice(["slow long run", "fast short run", "stated", "faster long run"])
    first, second = s.fixed + s.short / s.speed, s.fixed + s.long / s.speed
    if slip == "slow long run":
        n["t_long"] = s.run_span(first * s.long / s.short * rng.uniform(1.1, 1.6))
    elif slip == "fast short run":
        n["t_short"] = s.run_span(second * s.short / s.long * rng.uniform(0.5, 0.9))
    elif slip == "stated":
        n["fixed"] = s.span(s.fixed * rng.choice([0.4, 0.6, 1.6, 2.5]))
    else:
        n["t_long"] = s.run_span(first * rng.uniform(0.6, 0.95))
    return ["timings"], f"fixed cost: {slip}"


def _parameters(s: Story, n: _Numbers, rng: random.Random) -> _Where:
    slip = rng.choice(["embedding twice", "no embedding", "a layer count", "off"])
    wrong = {
        "embedding twice": s.params + s.vocab * s.width,
        "no embedding": s.params - s.vocab * s.width,
        "a layer count": s.params * (1 + 2 / s.layers),
        "off": s.params * rng.choice([0.8, 0.93, 1.08, 1.25]),
    }[slip]
    n["params"] = s.count(wrong)
    return ["model", "weights"], f"parameters: {slip}"


def _cost(s: Story, n: _Numbers, rng: random.Random) -> _Where:
    wrong = rng.choice([0.25, 0.6, 0.85, 1.2, 1.5, 8.0])
    if rng.random() < 0.6:
        n["dollars"] = "$" + s.digits(s.dollars * wrong)
    else:
        n["price"] = f"${s.price * wrong:.2f}/h"
    return ["cost"], f"cost × {wrong}"


def _perplexity(s: Story, n: _Numbers, rng: random.Random) -> _Where:
    slip = rng.choice(["base 2", "base 10", "off", "another loss"])
    wrong = {
        "base 2": 2**s.loss,
        "base 10": 10**s.loss,
        "off": math.exp(s.loss) * rng.choice([0.85, 0.95, 1.06, 1.2]),
        "another loss": math.exp(s.loss + rng.choice([-0.2, 0.1])),
    }[slip]
    n["ppl"] = f"{wrong:.1f}"
    return ["quality"], f"perplexity: {slip}"


def _bits(s: Story, n: _Numbers, rng: random.Random) -> _Where:
    slip = rng.choice(["nats", "a token", "inverted ln 2", "off"])
    right = s.loss / math.log(2) / s.chars
    wrong = {
        "nats": right * math.log(2),
        "a token": right * s.chars,
        "inverted ln 2": right * math.log(2) ** 2,
        "off": right * rng.choice([0.9, 0.95, 1.05, 1.12]),
    }[slip]
    n["bpb"] = f"{wrong:.3f}"
    return ["quality"], f"bits a byte: {slip}"


def _percentages(s: Story, n: _Numbers, rng: random.Random) -> _Where:
    slip = rng.choice(["points", "other base", "sign", "mix"])
    if slip == "mix":
        n["mix"] = ", ".join(f'"{share + rng.choice([3, 5, 8])}%"' for share in s.mix)
        return ["mix"], "percentages: mix"
    wrong = {
        "points": s.new - s.old,
        "other base": (1 - s.old / s.new) * 100,
        "sign": (1 - s.new / s.old) * 100,
    }[slip]
    n["change"] = f"{wrong:+.1f}%"
    return ["difference"], f"percentages: {slip}"


def _units(s: Story, n: _Numbers, rng: random.Random) -> _Where:
    slip = rng.choice(["time", "rate", "ms", "weights", "GiB", "cents", "tokens"])
    if slip == "time":
        old, new = rng.choice([("hours", "min"), ("min", "hours"), ("days", "hours"), ("s", "min")])
        if n["time"].endswith(f" {old}"):
            n["time"] = n["time"].removesuffix(old) + new
        else:
            n["time"] = s.digits(s.seconds / 3600) + " min"
        return ["speed"], "unit: time"
    if slip == "rate":
        n["rate"] = s.digits(s.rate / 1e3) + "M tokens/s"
        return ["speed"], "unit: rate"
    if slip == "ms":
        n["update_time"] = n["update_time"].removesuffix("ms") + "s"
        return ["speed"], "unit: ms"
    if slip == "weights":
        n["weights"] = n["weights"].removesuffix("MB") + rng.choice(["GB", "KB"])
        return ["weights"], "unit: weights"
    if slip == "GiB":
        n["weights"] = f"{s.params * 2 / 2**20:.1f} MB"
        return ["weights"], "unit: GiB"
    if slip == "cents":
        n["dollars"] = "$" + s.digits(s.dollars * 100)
        return ["cost"], "unit: cents"
    n["tokens"] = s.count(s.tokens * 1000)
    return ["length", "speed"], "unit: tokens"


_ERRORS = {
    "tokens": _tokens,
    "rate x time": _rate_time,
    "mfu": _mfu,
    "fixed cost": _fixed,
    "parameters": _parameters,
    "cost x rate": _cost,
    "perplexity": _perplexity,
    "bits per byte": _bits,
    "percentages": _percentages,
    "unit slips": _units,
}
