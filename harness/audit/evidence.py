"""What a claim was resting on: the words it was taken from, and for a comparison the runs an arm,
what the timer held, what else differed.

Sound arithmetic does not make one run against one an effect, nor a number that stands nowhere a
claim: those questions stay open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from harness.audit.claims import Claim
from harness.audit.pool import FAILS, OPEN, Check, Statements
from harness.audit.printed import Printed, plain
from harness.audit.readings import words

MIN_RUNS = 3
"""As many runs an arm as our own verdicts ask for (`stats.inference.MIN_PAIRS`, whose import
takes a second)."""
_NUMERAL = re.compile(r"(\d+(?:[,_]\d{3})*(?:\.\d+)?|\.\d+)\s*([^\s\d|,;:()*“”\"]*)")
_SPELT = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
)  # fmt: skip
_WORD = re.compile(rf"(?i)\b(?:{'|'.join(_SPELT)})\b")


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
    nothing claims, one of the two was copied wrongly; else the quote is only a part of the page.
    """
    quote = _numerals(claim.quote)
    told = {numeral for numeral, _ in [*quote, *_numerals(claim.note or "")]}
    stated = list(_stated(claim))
    claimed = {numeral for _, one in stated for numeral, _ in _numerals(one.text)}
    missing = [
        (name, one, _numerals(one.text))
        for name, one in stated
        if one.kind is not None  # a bare number is the file's own
        and not told.issuperset(numeral for numeral, _ in _numerals(one.text))
    ]
    found = []
    for name, one, own in missing:
        text = f"{words(name)} {one.text}: not in the quote"
        free = [n + unit for n, unit in quote if n not in claimed and _like(own[-1], n, unit)]
        if free and len(missing) == 1:
            reading = f"if the quote read {one.text}, or {free[0]} were claimed"
            found.append(Check("quote", f"{text}, which has {free[0]}", FAILS, (reading,)))
        else:
            reading = "if the page prints it: quote that, or say where in the note"
            text += ", nor in the note"
            found.append(Check("quote", text, OPEN, (reading,), decisive=True))
    return found


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
    """Each number of a text with the word behind it: "360M parameters" -> ("360", "M")."""
    text = _WORD.sub(lambda word: str(_SPELT.index(word[0].lower())), plain(text))
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
