"""The view `scope`: what a section's numbers are true of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from harness.code.provenance import SOFTWARE_SET
from harness.data import sources
from harness.evidence import asked
from harness.evidence import searches as tuning
from harness.evidence.machines import kind, kinds
from harness.evidence.sections import Section
from harness.optim import registry
from harness.records.schema import Record
from harness.records.store import path_of
from harness.report.columns import Measure, tabulate, text
from harness.report.table import NONE, Table, quantity

FEW_ARMS = 6
"""How many arms are named beside a kind of machine; where there are more, their number stands."""

Aspect = tuple[str, str, Sequence[str]]
"""Its text, what it is, and the files that it comes from."""
VALUE: Measure[Aspect] = Measure(
    "value", lambda one: one[1], lambda one: [(one[0] or NONE, one[2])],
    text("the distinct values of all runs"), left=True,
)  # fmt: skip


def tables(section: Section) -> list[Table]:
    """A row an aspect: device, precision, seeds, tuning, data, horizons, code."""
    records = section.group.records
    aspects = {
        "device": (section.device_class, "device class"),
        "machines": (_machines(section), "kinds of machine, and which arms ran on each"),
        "compute": (_each(records, _compute), "precision, compilation and threads of a run"),
        "seeds": (_seeds(section), "seeds run, and those that the recipe froze"),
        "tuning": (tuning.summary(section), "how the arms' settings were chosen"),
        "data": (data(records), "training tokens by source, and in one epoch"),
        "validation": (validation(records), "what each validation scores"),
        **{
            f"horizon-{horizon}": (_budget(section, horizon), f"the budget at horizon {horizon}")
            for horizon in section.group.question.horizons
        },
        "software": (_each(records, _software), "versions that decide what may be compared"),
        "source_digest": (
            _each(records, lambda r: r.code.source_digest),
            "digest of the syntax trees of the code that trains",
        ),
    }
    if behaviour := _each(records, lambda r: r.code.behaviour_digest or ""):
        aspects["behaviour_digest"] = (
            behaviour,
            "digest of the reference trajectories: sources of one digest may stand together",
        )
    if forecast := _forecast(records):
        aspects["forecast"] = (forecast, "seconds predicted before the runs, and taken, summed")
    for path, choice in section.group.question.choices.items():
        aspects[f"{path}=auto"] = (choice, "what the plan chose, and why")
    if tuning.is_bundle(section):
        fields = dict.fromkeys(path for record in records for path in record.diff)
        aspects["bundle"] = (
            f"several things differ at once: {', '.join(fields)}",
            "fields in which the arms differ",
        )
    if section.overrides:
        sets = ", ".join(asked.words(section.overrides))
        aspects["overrides"] = (f"{sets}; so exploratory", "--set or --text of the command")
    paths = [path_of(record) for record in records]
    evidence = {"tuning": [*paths, *tuning.evidence(section)]}
    return [
        tabulate(
            f"{section.name}.scope",
            "What the numbers below are true of; no more follows from them.",
            "aspect",
            [VALUE],
            [
                (name, (said, what, evidence.get(name, paths)))
                for name, (said, what) in aspects.items()
            ],
        )
    ]


def _machines(section: Section) -> str:
    """Every kind of machine; where there are several, each with its runs and arms."""
    records = section.group.records
    found = kinds(records)
    if len(found) == 1:
        return found[0]
    said = []
    for name in found:
        of_kind = [record for record in records if kind(record) == name]
        arms = list(dict.fromkeys(record.arm for record in of_kind))
        which = ", ".join(arms) if len(arms) <= FEW_ARMS else f"{len(arms)} arms"
        said.append(f"{name}: {len(of_kind)} runs of {which}")
    return "; ".join(said)


def _each(records: Sequence[Record], text_of: Callable[[Record], str]) -> str:
    return "; ".join(dict.fromkeys(text for r in records if (text := text_of(r))))


def _forecast(records: Sequence[Record]) -> str:
    """How well the time was foretold, over the runs that a prediction was made for; each kind of
    machine by itself."""
    scored: dict[str, list[tuple[float, float]]] = {}
    for r in records:
        if r.predicted_seconds and r.timing and not r.timing.resumed:
            scored.setdefault(kind(r), []).append((r.predicted_seconds, r.timing.wall_seconds))
    said = []
    for name, seconds in scored.items():
        predicted, taken = (sum(column) for column in zip(*seconds, strict=True))
        of_kind = sum(kind(record) == name for record in records)
        said.append(
            f"{predicted / 60:,.1f} minutes of process time predicted, {taken / 60:,.1f} taken "
            f"({taken / predicted:.2f} times as much) by {len(seconds)} of {of_kind} runs"
            + (f" on {name}" if of_kind < len(records) else "")
        )
    return "; ".join(said)


def _compute(record: Record) -> str:
    train = record.config.get("train", {})
    known = [str(train[name]) for name in ("dtype", "compile") if name in train]
    optim = record.config.get("optim", {})
    inner = optim.get("muon_ns_dtype")
    if not registry.reads(optim.get("name", ""), "muon_ns_dtype"):
        inner = None
    if inner and inner != train.get("dtype"):
        known.insert(1, f"Newton-Schulz in {inner}")
    if threads := train.get("threads"):
        known.append(f"{threads} thread{'s' if threads != 1 else ''}")
    if record.world_size > 1:
        known.append(f"each update shared by {record.world_size} processes")
    return ", ".join(known)


def _data(record: Record, note: Callable[[str], str]) -> str:
    if record.data is None:
        return ""
    mix = ", ".join(f"{share:.0%} {name}" for name, share in record.data.mix.items())
    kinds = {source.get("kind", "") for source in record.config.get("data", {}).get("sources", ())}
    notes = [f"; {said}" for said in map(note, sorted(kinds)) if said]
    return f"{mix}; {quantity(record.data.train_tokens)} training tokens in one epoch" + "".join(
        notes
    )


def data(records: Sequence[Record]) -> str:
    """Training tokens by source, and in one epoch."""
    note = cache(sources.note)  # thousands of records name a few kinds
    return _each(records, lambda record: _data(record, note))


def _validation(record: Record) -> str:
    if record.data is None:
        return ""
    d = record.data
    size = f"{d.val_bytes:,} bytes" if d.val_bytes else "bytes unknown (no tokenizer)"
    said = f"{d.val_tokens:,} tokens, {size}, {d.val_documents} documents"
    if (other := d.second) is not None:
        said += (
            f"; and a second text: {', '.join(other.mix)}, {other.tokens:,} tokens, "
            f"{other.documents} documents"
        )
    return said


def validation(records: Sequence[Record]) -> str:
    """What each validation scores: the same documents for every arm, also where arms pack them
    into other sequences."""
    lengths = {r.config.get("data", {}).get("seq_len") for r in records if r.data} - {None}
    text = _each(records, _validation)
    if len(lengths) < 2:
        return text
    each = " and ".join(str(length) for length in sorted(lengths, reverse=True))
    return (
        f"{text}: the same documents in the same order, packed in sequences of {each} tokens, so "
        "with as much context at most; the first token of a sequence is not scored"
    )


def _software(record: Record) -> str:
    return ", ".join(f"{name} {record.software.get(name, 'absent')}" for name in SOFTWARE_SET)


def _seeds(section: Section) -> str:
    frozen, run = section.group.question.seeds, len(section.group.seeds)
    if section.group.question.looks:
        return f"{run} of at most {frozen}, by a sequential design"
    return str(run) if run == frozen else f"{run}; the recipe froze {frozen}, so exploratory"


def _budget(section: Section, horizon: str) -> str:
    """The budget that the arms share at a horizon: tokens, or else FLOPs."""
    arms = section.group.question.arms
    ends = [rows[0] for a in arms if (rows := section.group.reached(a, horizon))]
    tokens = [end.tokens for end in ends]
    if len(set(tokens)) <= 1:
        return f"{tokens[0]:,} tokens each" if tokens else "not reached yet"
    flops = [end.flops for end in ends if end.flops is not None]
    if len(flops) < len(ends):
        return f"{min(tokens):,} to {max(tokens):,} tokens"
    return (
        f"{quantity(flops[0])} active training FLOPs each (to {max(flops) / min(flops) - 1:.1%}); "
        f"{min(tokens):,} to {max(tokens):,} tokens"
    )
