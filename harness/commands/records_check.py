"""`smol records check`: whether a results folder, also a stranger's, is sound. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.commands import places
from harness.commands.options import JsonOption, ReadResultsOption
from harness.errors import CheckFailed
from harness.launch import terminal
from harness.records import store
from harness.records.schema import Record


@dataclass(frozen=True)
class Options:
    """Check every record of a results folder.

    Each is validated, and compared with its digest in the card's index of cells. A stranger's
    folder can be checked as well as one's own.
    """

    results: ReadResultsOption = None
    as_json: JsonOption = False


def records_check(options: Options) -> None:
    """Read and validate all records, those of scripts too, and evaluations, and compare their
    files with the digests in `cells.json` where a card was written.

    Raises RequestError for the first file that is none, CheckFailed for what is not sound, and
    where there is nothing to check.
    """
    from harness.records import evaluation, foreign, keys
    from harness.report import cells

    folder = places.existing_results(options.results)
    records = store.read_all(folder)
    faults = [
        f"{record.name} ({record.key}): {fault}"
        for record in records
        for fault in (*_repeated(folder, record), *store.contradictions(record))
    ]
    # A key is made of the configuration, whose own faults say more.
    faults = faults or keys.faults(records)
    index = cells.load(folder)
    if index is not None:
        faults += cells.changed(folder, index)
    scored = evaluation.read_all(folder)
    judged = [r for name in foreign.names(folder) for r in foreign.read_name(folder, name)[0]]
    if options.as_json:
        counts = {"records": len(records), "evaluations": len(scored), "scripts": len(judged)}
        print(json.dumps({"results": str(folder), **counts, "faults": faults}, indent=1))
    else:
        for fault in faults:
            terminal.lines(fault)
    if faults:
        raise CheckFailed(f"{len(faults)} broken invariants in {folder}")
    if not records and not scored and not judged:
        raise CheckFailed(f"there are no records in {folder}")
    if options.as_json:
        return
    more = f" and {len(scored)} evaluations" if scored else ""
    more += f" and {len(judged)} runs of scripts" if judged else ""
    same = ", and the files that its card was made from" if index is not None else ""
    terminal.lines(f"{len(records)} records{more} in {folder} are sound{same}")


def _repeated(folder: Path, record: Record) -> list[str]:
    names = store.repeated_keys(folder / store.path_of(record))
    return [f"its file says '{name}' twice" for name in names]
