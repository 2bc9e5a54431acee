"""How `smol run` ends: the card is written, and what came of the recipe is said."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config import canonical
from harness.errors import RunFailed
from harness.launch import terminal
from harness.machine import devices
from harness.recipe import SCALES, Entry, Scale
from harness.records import store
from harness.records.schema import Record

if TYPE_CHECKING:
    from harness.evidence.sections import Section


@dataclass(frozen=True)
class End:
    """What a request was for, and what it left."""

    entry: Entry
    scale: Scale
    results: Path
    asked: Mapping[str, Any]
    """Overrides of the records, as their question keeps them."""
    done: Sequence[Record]
    """The records of this request; those that were finished before are not among them."""
    again: str
    """The command for what is still missing of it."""
    text: Sequence[Path]
    """`--text`: whose text it is stays so at another scale, which `--set` need not."""
    results_option: Path | None
    """`--results`, where it was given."""


def report(end: End, *, as_json: bool) -> None:
    """Write the card; print the losses, the verdicts and what may come next.

    Raises RunFailed where one of `done` did not end well.
    """
    from harness.report import card

    section = _section(end)
    if section is not None:  # of nothing no card is made
        card.regenerate(end.results)
    if as_json:
        print(json.dumps(_facts(end, section), indent=1))
    else:
        _print(end, section)
    failed = [record for record in end.done if record.status != "ok"]
    if failed:
        names = "; ".join(f"{r.name} {r.status}: {r.error}" for r in failed[:3])
        raise RunFailed(f"{len(failed)} of {len(end.done)} runs did not end well: {names}")


def _section(end: End) -> Section | None:
    """The newest section of what was asked for; None where no run has left a record."""
    from harness.evidence.sections import sections

    asked = (end.entry.name, end.scale, canonical(dict(end.asked)))
    found = [
        section
        for section in sections(store.read_all(end.results))
        if (section.recipe, section.scale, canonical(dict(section.overrides))) == asked
    ]
    return max(found, key=lambda section: section.group.created, default=None)


def _print(end: End, section: Section | None) -> None:
    from harness.report import card, fresh, sentence

    if section is not None:
        print(f"\n{_losses(section)}\n")
        for text in sentence.sentences(section):
            terminal.say(text)
        print()
        terminal.say(str(end.results / card.CARD), "card:    ")
    for figure in sorted((end.results / fresh.FOLDER).glob(f"{end.entry.name}.*.png")):
        terminal.say(str(figure), "figure:  ")
    print("next:    " + terminal.command(_next(end, section), indent=9))


def _losses(section: Section) -> str:
    """The card's table of losses, the primary horizon first and in shorter words."""
    from harness.report.views import loss

    (table,), question = loss.tables(section), section.group.question
    horizons = [question.at, *(h for h in question.horizons if h != question.at)]
    names = {f"val_loss@{horizon}": f"loss at {horizon}" for horizon in horizons}
    names |= {
        f"below_unigram@{question.at}": "below unigram",
        "total_parameters": "parameters (M)",
        f"bits_per_byte@{question.at}": "bits per byte",
    }
    places = {column.name: place for place, column in enumerate(table.columns)}
    rows = [
        [row.name, *(row.cells[places[name]].text for name in names if name in places)]
        for row in table.rows
    ]
    headers = [table.corner, *(names[name] for name in names if name in places)]
    drawn = terminal.table(headers, rows)
    about = "Validation loss in nats a token, ± 95 % interval (number of seeds); lower is better."
    return f"{drawn}\n{terminal.wrapped(about)}"


def _next(end: End, section: Section | None) -> str:
    """The same command while something is missing, else the next larger scale, else the arms
    side by side."""
    if section is None or not section.group.complete:
        return end.again
    where = [] if end.results_option is None else ["--results", str(end.results_option)]
    text = [word for path in end.text for word in ("--text", str(path))]
    ladders = [device.ladder for device in devices.devices().values()]
    order = next((rungs for rungs in ladders if end.scale in rungs), SCALES)
    larger = [scale for scale in order[order.index(end.scale) + 1 :] if scale in end.entry.seeds]
    pairs = section.group.question.pairs
    if larger:
        return shlex.join(["smol", "run", end.entry.name, "--scale", larger[0], *text, *where])
    if pairs:
        names = [f"{end.entry.name}/{arm}" for arm in pairs[0]]
        return shlex.join(["smol", "compare", *names, "--scale", end.scale, *where])
    return shlex.join(["smol", "sample", f"{end.entry.name}/{section.group.question.arms[0]}"])


def _facts(end: End, section: Section | None) -> dict[str, Any]:
    """What `--json` prints."""
    from harness.report import card, compare, sentence

    found: dict[str, Any] = {
        "recipe": end.entry.name,
        "scale": end.scale,
        "results": str(end.results),
        "card": str(end.results / card.CARD),
        "next": _next(end, section),
        "runs": [
            {"run": r.name, "key": r.key, "status": r.status, "error": r.error} for r in end.done
        ],
    }
    if section is None:
        return {**found, "pairs": [], "verdicts": []}
    pairs = [
        {"reference": a, "arm": b, **asdict(one)}
        for a, b in section.group.question.pairs
        for one in compare.of_section(section, a, b)
    ]
    return {**found, "pairs": pairs, "verdicts": sentence.sentences(section)}
