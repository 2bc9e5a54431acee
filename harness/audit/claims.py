"""Claims as data: the format of a claims file, read and checked.

    format = 1
    title = "..."                          # what is audited
    address = "https://..."                # where it was read: for all claims that name no other
    read = 2026-11-23                      # when
    copy = "..."                           # optional: which copy was read, where that matters

    [[claim]]
    id = "cost-1b"
    kind = "cost"                          # see KINDS
    quote = "..."                          # verbatim
    note = "..."                           # optional: what else is known, printed with the verdict
    with = ["basis"]                       # claims whose numbers this one rests on
    device = "rtx-4090"                    # a name of hardware.toml, or any other (then no peak)
    step = "update"                        # what "step" means in it: "update" or "micro-step"
    numbers = { tokens = 1_000_000_000, time = "~1.4 hours" }
    model = { width = 576, layers = 30, heads = 9, ... }
    runs = [ { steps = 300, time = "2.16 min" }, ... ]     # one arm at two lengths or more
    sum = { parts = ["25.82", ...], total = "77.76" }       # or mean = "..."
    shares = ["70%", "30%"]                # parts of one whole
    evidence = { runs_each = 1, timer_includes = ["compilation"] }
    compares = { recipe = "dense_vs_moe", arm = "moe-160m", against = "dense" }  # in our records

A number in quotes is as printed, with its unit, and means whatever rounds to it; a bare number is
exact, in seconds, USD, bytes or a fraction. Reads and checks; judges nothing. No torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from harness.audit import printed
from harness.audit import sizes as model_size
from harness.audit.printed import Printed
from harness.audit.relations import STEPS
from harness.errors import RequestError, nearest
from harness.machine.facts import parse_toml, read_toml

FORMAT = 1
PUBLISHED = "harness.audit.published"
"""Claims files that come with the package: public cards by name, and the seed card's, SEED."""
SEED = "claims.toml"
KINDS = (
    "comparison", "cost", "data", "memory", "parameters", "quality", "score", "throughput",
    "timing", "training",
)  # fmt: skip
_CARD = {"format", "title", "address", "read", "copy", "claim"}
_CLAIM = {
    "id", "kind", "quote", "address", "read", "note", "with", "device", "step", "numbers",
    "model", "runs", "sum", "shares", "evidence", "compares",
}  # fmt: skip
_EVIDENCE = {
    "runs_each": int, "timer_includes": list, "tuned_equally": bool, "differs_in": list,
}  # fmt: skip
_TYPES: dict[str, type] = {
    "address": str, "read": date, "note": str, "with": list, "device": str, "model": dict,
    "runs": list, "sum": dict, "shares": list,
}  # fmt: skip
COUNTS = ("steps", "updates", "micro_steps", "tokens")


@dataclass(frozen=True)
class Run:
    """One timed run of an arm that was run at several lengths."""

    counted: str
    """Which of COUNTS."""
    amount: Printed
    time: Printed
    rate: Printed | None
    """What the claim prints as amount / time."""


@dataclass(frozen=True)
class Sum:
    """Parts with their printed total, or their mean."""

    parts: tuple[Printed, ...]
    total: Printed | None
    mean: Printed | None


@dataclass(frozen=True)
class Claim:
    """One claim and the numbers that it states."""

    id: str
    kind: str
    quote: str
    address: str
    read: date
    note: str | None = None
    rests_on: tuple[str, ...] = ()
    device: str | None = None
    step: str | None = None
    numbers: Mapping[str, Printed] = field(default_factory=dict)
    model: model_size.Size | None = None
    runs: tuple[Run, ...] = ()
    sum: Sum | None = None
    shares: tuple[Printed, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    compares: Mapping[str, str] = field(default_factory=dict)
    """The recipe, arm and reference of ours that ask the same question."""


@dataclass(frozen=True)
class ClaimsFile:
    """A card or leaderboard, as far as it was written down."""

    title: str
    address: str
    read: date
    copy: str | None
    claims: tuple[Claim, ...]

    def with_all(self, claim: Claim) -> list[Claim]:
        """The claim and all that it rests on, nearest first."""
        by_id = {one.id: one for one in self.claims}
        found, waiting = {claim.id: claim}, deque(claim.rests_on)
        while waiting:
            one = by_id[waiting.popleft()]
            if one.id not in found:
                found[one.id] = one
                waiting += one.rests_on
        return list(found.values())


def load(path: Path | None, results: Path | None = None) -> ClaimsFile:
    """A claims file; without a path the seed card's, which a results folder may override.

    Raises RequestError with one line naming the claim and what is wrong with it.
    """
    if path is None:
        return parse(read_toml(SEED, results, package=PUBLISHED), SEED)
    return parse(parse_toml(path), path.name)


def parse(content: Mapping[str, Any], name: str) -> ClaimsFile:
    """A claims file from its TOML content. Raises RequestError."""
    try:
        _known(content, _CARD, "field")
        if content.get("format") != FORMAT:
            raise RequestError(f"format is {content.get('format')!r}, and {FORMAT} is read")
        for wanted, kind in (("title", str), ("address", str), ("read", date)):
            if not isinstance(content.get(wanted), kind):
                raise RequestError(f"'{wanted}' is missing or not a {kind.__name__}")
        if not isinstance(content.get("copy", ""), str):
            raise RequestError("'copy' is not a str")
        entries = content.get("claim", [])
        if not isinstance(entries, list) or not entries:
            raise RequestError("no [[claim]] in it")
        if not all(isinstance(entry, Mapping) for entry in entries):
            raise RequestError("'claim' is not a list of tables: write [[claim]]")
        claims = tuple(_claim(entry, content, number) for number, entry in enumerate(entries, 1))
        _references(claims)
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from None
    return ClaimsFile(
        content["title"], content["address"], content["read"], content.get("copy"), claims
    )


def _claim(entry: Mapping[str, Any], card: Mapping[str, Any], number: int) -> Claim:
    label = entry.get("id") if isinstance(entry.get("id"), str) else f"number {number}"
    try:
        _known(entry, _CLAIM, "field")
        for wanted in ("id", "kind", "quote"):
            if not isinstance(entry.get(wanted), str) or not entry[wanted].strip():
                raise RequestError(f"'{wanted}' is missing or not a text")
        if entry["kind"] not in KINDS:
            raise RequestError(f"no kind '{entry['kind']}'{nearest(entry['kind'], KINDS)}")
        if entry.get("step") not in (None, *STEPS):
            raise RequestError(f"step is '{entry['step']}', not {' or '.join(STEPS)}")
        _types(entry)
        evidence = _table(entry, "evidence")
        _known(evidence, set(_EVIDENCE), "evidence")
        for name, kind in _EVIDENCE.items():
            if name in evidence and type(evidence[name]) is not kind:
                raise RequestError(f"evidence {name} = {evidence[name]!r} is no {kind.__name__}")
            if kind is list:
                _texts(f"evidence {name}", evidence.get(name, []))
        if evidence.get("runs_each", 1) < 1:
            raise RequestError(f"evidence runs_each = {evidence['runs_each']} is below 1")
        numbers = _table(entry, "numbers")
        compares = _table(entry, "compares")
        if compares and set(compares) != {"recipe", "arm", "against"}:
            raise RequestError("'compares' states recipe, arm and against")
        _texts("compares", compares.values())
        return Claim(
            id=entry["id"],
            kind=entry["kind"],
            quote=entry["quote"],
            address=entry.get("address", card["address"]),
            read=entry.get("read", card["read"]),
            note=entry.get("note"),
            rests_on=tuple(entry.get("with", ())),
            device=entry.get("device"),
            step=entry.get("step"),
            numbers={name: printed.read(name, text) for name, text in numbers.items()},
            model=model_size.read(entry["model"]) if "model" in entry else None,
            runs=tuple(_run(run) for run in entry.get("runs", ())),
            sum=_sum(entry["sum"]) if "sum" in entry else None,
            shares=tuple(printed.read("share", share) for share in entry.get("shares", ())),
            evidence=evidence,
            compares=compares,
        )
    except RequestError as error:
        raise RequestError(f"claim {label}: {error}") from None


def _types(entry: Mapping[str, Any]) -> None:
    for name, wanted in _TYPES.items():
        if name in entry and not isinstance(entry[name], wanted):
            raise RequestError(f"'{name}' is {entry[name]!r}, not a {wanted.__name__}")
    _texts("with", entry.get("with", ()))
    if not all(isinstance(run, Mapping) for run in entry.get("runs", ())):
        raise RequestError("'runs' is not a list of tables")


def _texts(what: str, content: Iterable[Any]) -> None:
    for one in content:
        if not isinstance(one, str):
            raise RequestError(f"{what}: {one!r} is not a text")


def _table(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = entry.get(name, {})
    if not isinstance(table, Mapping):
        raise RequestError(f"'{name}' is not a table of quantities")
    return table


def _run(run: Mapping[str, Any]) -> Run:
    counted = [name for name in COUNTS if name in run]
    if len(counted) != 1 or "time" not in run:
        raise RequestError(f"a run states its time and one of {', '.join(COUNTS)}")
    _known(run, {counted[0], "time", "rate"}, "field of a run")
    rate = printed.read("steady_per_second", run["rate"]) if "rate" in run else None
    amount, time = printed.read(counted[0], run[counted[0]]), printed.read("time", run["time"])
    return Run(counted[0], amount, time, rate)


def _sum(entry: Mapping[str, Any]) -> Sum:
    _known(entry, {"parts", "total", "mean"}, "field of a sum")
    parts = entry.get("parts")
    if not isinstance(parts, list) or len(parts) < 2 or not ({"total", "mean"} & set(entry)):
        raise RequestError("a sum states two parts or more, and their total or mean")
    return Sum(
        tuple(printed.read("part", part) for part in parts),
        printed.read("whole", entry["total"]) if "total" in entry else None,
        printed.read("whole", entry["mean"]) if "mean" in entry else None,
    )


def _known(entry: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    for name in entry:
        if name not in known:
            raise RequestError(f"no {what} '{name}'{nearest(name, known)}")


def _references(claims: tuple[Claim, ...]) -> None:
    ids: set[str] = set()
    for claim in claims:
        if claim.id in ids:
            raise RequestError(f"two claims are called '{claim.id}'")
        ids.add(claim.id)
    for claim in claims:
        for other in claim.rests_on:
            if other not in ids:
                raise RequestError(f"claim {claim.id}: no claim '{other}'{nearest(other, ids)}")
