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
    note = "..."                           # optional: what else is known or printed elsewhere
    with = ["basis"]                       # claims whose numbers this one rests on
    device = "rtx-4090"                    # a name of hardware.toml, or any other (then no peak)
    step = "update"                        # what "step" means in it: "update" or "micro-step"
    numbers = { tokens = 1_000_000_000, time = "~1.4 hours" }
    model = { width = 576, layers = 30, heads = 9, ... }
    runs = [ { steps = 300, time = "2.16 min" }, ... ]     # one arm at two lengths or more
    sum = { parts = ["25.82", ...], total = "77.76" }       # or mean, sd, weights = ["70%", ...]
    shares = ["70%", "30%"]                # parts of one whole
    evidence = { runs_each = 1, timer_includes = ["compilation"] }
    compares = { recipe = "dense_vs_moe", arm = "moe-160m", against = "dense" }  # in our records

A number in quotes is as printed, with its unit, and means whatever rounds to it (see `printed`); it
stands in `quote`, or in `note` where the page has it elsewhere. A bare number is the file's own:
exact, in seconds, money, bytes or a fraction. Reads and checks; judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from pathlib import Path
from typing import Any

from harness.audit import printed, tomlfile
from harness.audit import sizes as model_size
from harness.audit.printed import Printed, exact, shown
from harness.audit.relations import DIMENSIONS, SAME_UNIT, STEPS
from harness.audit.units import CURRENCIES, UNSCALED
from harness.errors import RequestError, nearest

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
SPENT = ("cost", "data", "training")
"""Kinds of claims whose large numbers are amounts that somebody chose."""
COUNTS = ("steps", "updates", "micro_steps", "tokens")


@dataclass(frozen=True)
class TimedRun:
    """One timed run of an arm that was run at several lengths."""

    counted: str
    """Which of COUNTS."""
    amount: Printed
    time: Printed
    rate: Printed | None
    """What the claim prints as amount / time."""


@dataclass(frozen=True)
class PrintedSum:
    """Parts with what is printed of them together."""

    parts: tuple[Printed, ...]
    weights: tuple[Printed, ...] = ()
    """How much each one counts in the mean; none given: all count alike."""
    total: Printed | None = None
    mean: Printed | None = None
    sd: Printed | None = None


@dataclass(frozen=True)
class Claim:
    """One claim and the numbers that it states."""

    id: str
    kind: str
    quote: str
    address: str
    read: date
    note: str | None = None
    line: int | None = None
    """Where it stands in its file."""
    rests_on: tuple[str, ...] = ()
    device: str | None = None
    step: str | None = None
    numbers: Mapping[str, Printed] = field(default_factory=dict)
    model: model_size.Size | None = None
    impossible: model_size.ImpossibleModel | None = None
    """Why the sizes that were printed are of no model."""
    runs: tuple[TimedRun, ...] = ()
    sum: PrintedSum | None = None
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

    order: tuple[str, ...]
    """Ids, each after those it rests on."""
    name: str = ""
    """The file's own name."""

    def place(self, claim: Claim) -> str:
        """Where a claim stands: `claims.toml:12`."""
        return f"{self.name}:{claim.line}" if claim.line else self.name


def load(path: Path | None, results: Path | None = None) -> ClaimsFile:
    """A claims file; without a path the seed card's, which a results folder may override.

    Raises RequestError with one line naming the claim, its line and what is wrong with it.
    """
    if path is None and results is not None and (results / "facts" / SEED).exists():
        path = results / "facts" / SEED
    if path is None:
        text = resources.files(PUBLISHED).joinpath(SEED).read_text("utf-8")
        return parse(text, SEED)
    return parse(tomlfile.toml_text(path), path.name)


def parse(text: str, name: str) -> ClaimsFile:
    """A claims file from its TOML. Raises RequestError."""
    content = tomlfile.parse_toml(text, name)
    try:
        _known(content, _CARD, "field")
        if content.get("format") != FORMAT:
            raise RequestError(f"format is {shown(content.get('format'))}, and {FORMAT} is read")
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
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from None
    claims: list[Claim] = []
    heads = tomlfile.heads(text)
    number = 0
    try:
        for number, entry in enumerate(entries, 1):
            claims.append(replace(_claim(entry, content, number), line=heads.get(number)))
        number = 0
        order = _order(claims)
    except RequestError as error:
        line = tomlfile.line_of(text, number, str(error)) if number else None
        raise RequestError(f"{name}{f':{line}' if line else ''}: {error}") from None
    return ClaimsFile(
        content["title"], content["address"], content["read"], content.get("copy"),
        tuple(claims), order, name,
    )  # fmt: skip


def _claim(entry: Mapping[str, Any], card: Mapping[str, Any], number: int) -> Claim:
    label = shown(entry["id"])[1:-1] if isinstance(entry.get("id"), str) else f"number {number}"
    try:
        _fields(entry)
        numbers = {name: printed.read(name, n) for name, n in _table(entry, "numbers").items()}
        _units(numbers)
        _unsigned(numbers)
        model, impossible = _model(entry)
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
            numbers=numbers,
            model=model,
            impossible=impossible,
            runs=tuple(_run(run) for run in entry.get("runs", ())),
            sum=_sum(entry["sum"], entry["kind"]) if "sum" in entry else None,
            shares=tuple(printed.read("share", share) for share in entry.get("shares", ())),
            evidence=_table(entry, "evidence"),
            compares=_table(entry, "compares"),
        )
    except RequestError as error:
        raise RequestError(f"claim {label}: {error}") from None


def _fields(entry: Mapping[str, Any]) -> None:
    _known(entry, _CLAIM, "field")
    for wanted in ("id", "kind", "quote"):
        if not isinstance(entry.get(wanted), str) or not entry[wanted].strip():
            raise RequestError(f"'{wanted}' is missing or not a text")
    if entry["kind"] not in KINDS:
        raise RequestError(f"no kind {shown(entry['kind'])}{nearest(entry['kind'], KINDS)}")
    if entry.get("step") not in (None, *STEPS):
        raise RequestError(f"step is {shown(entry['step'])}, not {' or '.join(STEPS)}")
    _types(entry)
    evidence = _table(entry, "evidence")
    _known(evidence, set(_EVIDENCE), "evidence")
    for name, kind in _EVIDENCE.items():
        if name in evidence and type(evidence[name]) is not kind:
            raise RequestError(f"evidence {name} = {shown(evidence[name])} is no {kind.__name__}")
        if kind is list:
            _texts(f"evidence {name}", evidence.get(name, []))
    if evidence.get("runs_each", 1) < 1:
        raise RequestError(f"evidence runs_each = {evidence['runs_each']} is below 1")
    compares = _table(entry, "compares")
    if compares and set(compares) != {"recipe", "arm", "against"}:
        raise RequestError("'compares' states recipe, arm and against")
    _texts("compares", compares.values())


def _units(numbers: Mapping[str, Printed]) -> None:
    """Values that are compared stand in one unit, money in one currency."""
    money = tuple(name for name in numbers if DIMENSIONS[name] in ("money", "money rate"))
    for names in (*SAME_UNIT, money):
        kinds = {name: numbers[name].kind for name in names if name in numbers}
        told = {kind for kind in kinds.values() if kind}
        mixed = "" in kinds.values() and not told <= {*UNSCALED, *CURRENCIES.values()}
        if len(told) > 1 or mixed:
            words = ", ".join(f"{name} = '{numbers[name].text}'" for name in kinds)
            raise RequestError(f"{words}: not of one unit")


def _unsigned(numbers: dict[str, Printed]) -> None:
    """A difference without a sign says how far, not which way: it takes that of the two values."""
    if not {"before", "after", "difference"} <= set(numbers):
        return
    before, after, told = (numbers[name] for name in ("before", "after", "difference"))
    if told.kind is None or "+" in told.text or told.interval.middle < 0:
        return
    if after.interval.middle < before.interval.middle:
        turned = exact(0.0) - told.interval
        numbers["difference"] = Printed(turned, told.text, told.kind)


def _model(
    entry: Mapping[str, Any],
) -> tuple[model_size.Size | None, model_size.ImpossibleModel | None]:
    if "model" not in entry:
        return None, None
    try:
        return model_size.read(entry["model"]), None
    except model_size.ImpossibleModel as error:
        return None, error


def _types(entry: Mapping[str, Any]) -> None:
    for name, wanted in _TYPES.items():
        if name in entry and not isinstance(entry[name], wanted):
            raise RequestError(f"'{name}' is {shown(entry[name])}, not a {wanted.__name__}")
    _texts("with", entry.get("with", ()))
    if not all(isinstance(run, Mapping) for run in entry.get("runs", ())):
        raise RequestError("'runs' is not a list of tables")


def _texts(what: str, content: Iterable[Any]) -> None:
    for one in content:
        if not isinstance(one, str):
            raise RequestError(f"{what}: {shown(one)} is not a text")


def _table(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = entry.get(name, {})
    if not isinstance(table, Mapping):
        raise RequestError(f"'{name}' is not a table of quantities")
    return table


def _run(run: Mapping[str, Any]) -> TimedRun:
    counted = [name for name in COUNTS if name in run]
    if len(counted) != 1 or "time" not in run:
        raise RequestError(f"a run states its time and one of {', '.join(COUNTS)}")
    _known(run, {counted[0], "time", "rate"}, "field of a run")
    rate = printed.read("steady_per_second", run["rate"]) if "rate" in run else None
    amount, time = printed.read(counted[0], run[counted[0]]), printed.read("time", run["time"])
    return TimedRun(counted[0], amount, time, rate)


def _sum(entry: Mapping[str, Any], kind: str) -> PrintedSum:
    together = ("total", "mean", "sd")
    _known(entry, {"parts", "weights", *together}, "field of a sum")
    parts, weights = entry.get("parts"), entry.get("weights", [])
    if not isinstance(parts, list) or len(parts) < 2 or not set(together) & set(entry):
        raise RequestError("a sum states two parts or more, and their total, mean or sd")
    if not isinstance(weights, list) or len(weights) not in (0, len(parts)):
        raise RequestError("weights: as many as there are parts")
    told = {name: _summed(entry[name], kind) for name in together if name in entry}
    read = tuple(printed.read("whole", weight) for weight in weights)
    if any(weight.interval.low < 0 for weight in read) or (
        read and not any(weight.interval.middle for weight in read)
    ):
        raise RequestError("weights: none below zero, and not all of them zero")
    return PrintedSum(tuple(_summed(part, kind) for part in parts), read, **told)


def _summed(content: object, kind: str) -> Printed:
    """A part of a sum or the whole; thousands and billions of training are tokens, a budget."""
    found = printed.read("part", content)
    return printed.read("tokens", content) if found.kind == "count" and kind in SPENT else found


def _known(entry: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    for name in entry:
        if name not in known:
            raise RequestError(f"no {what} '{name}'{nearest(name, known)}")


def _order(claims: Iterable[Claim]) -> tuple[str, ...]:
    """Ids, each after those it rests on. Raises RequestError for one twice, unknown or circular."""
    rests: dict[str, tuple[str, ...]] = {}
    for claim in claims:
        if claim.id in rests:
            raise RequestError(f"two claims are called {shown(claim.id)}")
        rests[claim.id] = claim.rests_on
    for name, others in rests.items():
        for other in others:
            if other not in rests:
                raise RequestError(f"claim {name}: no claim {shown(other)}{nearest(other, rests)}")
    try:
        return tuple(TopologicalSorter(rests).static_order())
    except CycleError as error:
        raise RequestError(f"claims rest on each other: {', '.join(error.args[1][:6])}") from None


def shipped() -> dict[str, Path]:
    """The audits of public cards that come with the package, by name."""
    folder = resources.files(PUBLISHED)
    return {
        Path(entry.name).stem: Path(str(entry))
        for entry in folder.iterdir()
        if entry.name.endswith(".toml") and entry.name != SEED
    }
