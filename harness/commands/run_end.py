"""How `smol run` ends: the card is written, and what came of the recipe is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config import canonical
from harness.errors import RunFailed
from harness.recipe import Scale
from harness.records import store
from harness.records.schema import Record


def report(
    recipe: str, scale: Scale, results: Path, asked: Mapping[str, Any], done: Sequence[Record]
) -> None:
    """Write the card, print the losses. Raises RunFailed where one of `done` did not end well."""
    from harness.report import card, fresh

    card.regenerate(results)
    _print_losses(recipe, scale, results, asked)
    print(f"card:    {results / card.CARD}")
    for figure in sorted((results / fresh.FOLDER).glob(f"{recipe}.*.png")):
        print(f"figure:  {figure}")
    failed = [record for record in done if record.status != "ok"]
    if failed:
        names = "; ".join(f"{r.name} {r.status}: {r.error}" for r in failed[:3])
        raise RunFailed(f"{len(failed)} of {len(done)} runs did not end well: {names}")


def _print_losses(recipe: str, scale: Scale, results: Path, asked: Mapping[str, Any]) -> None:
    """The card's first result table of this recipe and scale, for the terminal."""
    from harness.evidence.sections import sections
    from harness.report.views import loss

    for section in sections(store.read_all(results)):
        found = (section.recipe, section.scale, canonical(dict(section.overrides)))
        if found != (recipe, scale, canonical(dict(asked))):
            continue
        (table,) = loss.tables(section)
        lines = [[table.corner, *(column.header for column in table.columns)]]
        lines += [[row.name, *(cell.text for cell in row.cells)] for row in table.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
