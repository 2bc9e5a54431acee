"""What a claim was resting on: the words it was taken from, and for a comparison the runs an arm,
what the timer held, what else differed.

Sound arithmetic does not make one run against one an effect, nor a number that stands nowhere a
claim: those questions stay open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

from harness.audit.claims import Claim
from harness.audit.pool import FAILS, OPEN, Check, Statements
from harness.audit.printed import Printed
from harness.audit.readings import words
from harness.audit.spelling import joined, of_number, plain, spelt_out
from harness.audit.units import BYTES, MAGNITUDES, TIME

MIN_RUNS = 3
"""As many runs an arm as our own verdicts ask for (`stats.inference.MIN_PAIRS`, whose import
takes a second)."""
_NUMERAL = re.compile(r"(\d+(?:[,_]\d{3})*(?:\.\d+)?|\.\d+)\s*([^\s\d|,;:()*“”\"]*)")

_SIZES: tuple[Mapping[str, float], ...] = (MAGNITUDES, TIME, BYTES)


def checks(pool: Statements) -> list[Check]:
    """Every reason why a claim, however sound its arithmetic, says less than it seems to."""
    evidence, found = pool.claim.evidence, _quoted(pool.claim)
    runs = evidence.get("runs_each")
    if runs is not None and runs < MIN_RUNS:
        each = "one run against one" if runs == 1 else f"{runs} runs against {runs}"
        text = f"{each}: nothing says how far two runs of the same arm lie apart"
        reading = "as a description of these very runs, without an effect"
        found.append(Check("evidence", text, OPEN, (reading,), decisive=True))
    included = evidence.get("timer_includes", ())
    if included:
        text = f"{_listed(included)} inside the timer: a ratio of whole runs of one length"
        reading = "for runs of exactly this length, started as these were"
        found.append(Check("evidence", text, OPEN, (reading,), decisive=True))
    differs = evidence.get("differs_in", ())
    if len(differs) > 1:
        text = f"the arms differ in {_listed(differs)}: a bundle, not one cause"
        found.append(Check("evidence", text, OPEN, ("of the bundle as a whole",), decisive=True))
    if evidence.get("tuned_equally") is False:
        text = "the arms were not tuned equally"
        found.append(Check("evidence", text, OPEN, ("at these settings alone",), decisive=True))
    return found


def _quoted(claim: Claim) -> list[Check]:
    """Numbers as printed that neither the quote nor the note prints.

    Where a single one is missing and the quote prints another of the same unit and length, that
    nothing claims, or the same in another unit, one of the two was copied wrongly; else the quote
    is only a part of the page.
    """
    quote = _numerals(claim.quote)
    told = [*quote, *_numerals(claim.note or "")]
    stated = list(_stated(claim))
    claimed = {numeral for _, one in stated for numeral, _ in _found(of_number(one.text))}
    missing = [
        (name, one, own)
        for name, one in stated
        if one.kind is not None  # a bare number is the file's own
        and (own := next((n for n in _found(of_number(one.text)) if not _printed(n, told)), None))
    ]
    found = []
    for name, one, own in missing:
        text = f"{words(name)} {one.text}: not in the quote"
        free = [n + unit for n, unit in quote if n not in claimed and _like(own, n, unit)]
        free += [n + unit for n, unit in quote if n == own[0] and _rescaled(own[1], unit)]
        if free and len(missing) == 1:
            reading = f"if the quote read {one.text}, or {free[0]} were claimed"
            found.append(Check("quote", f"{text}, which has {free[0]}", FAILS, (reading,)))
        else:
            reading = "if the page prints it: quote that, or say where in the note"
            text += ", nor in the note"
            found.append(Check("quote", text, OPEN, (reading,), decisive=True))
    return found


def _printed(own: tuple[str, str], told: Sequence[tuple[str, str]]) -> bool:
    """Whether a number stands among others: with its digits, or written out otherwise ("1.1B" as
    "1,100M") and no more coarsely."""
    size, last = _size(*own)
    for numeral, unit in told:
        other, step = _size(numeral, unit)
        if numeral == own[0] and not _rescaled(own[1], unit):
            return True
        if math.isclose(size, other, rel_tol=1e-9) and step <= last * (1 + 1e-9):
            return True
    return False


def _size(numeral: str, unit: str) -> tuple[float, float]:
    """(A number in the base of its unit, one of its last digit)."""
    word = _word(unit)
    scale = next((table[word] for table in _SIZES if word in table), 1.0)
    return float(numeral) * scale, scale * 10.0 ** -len(numeral.partition(".")[2])


def _rescaled(own: str, unit: str) -> bool:
    """Whether two words are of one kind and of different size: hours and minutes, M and B."""
    first, second = _word(own), _word(unit)
    return any(
        table[first] != table[second] for table in _SIZES if first in table and second in table
    )


def _word(unit: str) -> str:
    return "".join(takewhile(str.isalpha, unit))


def _stated(claim: Claim) -> Iterator[tuple[str, Printed]]:
    yield from claim.numbers.items()
    for run in claim.runs:
        yield run.counted, run.amount
        yield "time", run.time
        if run.rate is not None:
            yield "rate", run.rate
    if claim.sum is not None:
        yield from (("part", part) for part in claim.sum.parts)
        yield from (("weight", weight) for weight in claim.sum.weights)
        told = (("total", claim.sum.total), ("mean", claim.sum.mean), ("sd", claim.sum.sd))
        yield from ((name, one) for name, one in told if one is not None)
    yield from (("share", share) for share in claim.shares)


def _numerals(text: str) -> list[tuple[str, str]]:
    """Each number of a quote with the word behind it: "360M parameters" -> ("360", "M"); digits
    with spaces between are read both ways."""
    text = spelt_out(plain(text))
    return [one for reading in dict.fromkeys((text, joined(text))) for one in _found(reading)]


def _found(text: str) -> list[tuple[str, str]]:
    return [(re.sub("[,_]", "", n), unit.rstrip(".")) for n, unit in _NUMERAL.findall(text)]


def _like(own: tuple[str, str], numeral: str, unit: str) -> bool:
    """Whether another number could be the same one, but for a slip: of as many digits before the
    point and of one unit, or without a unit of as many decimals."""
    whole, _, decimals = own[0].partition(".")
    other, _, others = numeral.partition(".")
    if len(whole) != len(other):
        return False
    return own[1] == unit if own[1] else 0 < len(decimals) == len(others)


def _listed(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
