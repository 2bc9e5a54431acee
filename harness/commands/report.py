"""`smol card`, `smol trace` and `smol records check`: reading what runs have left. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from harness.commands import places
from harness.errors import CheckFailed
from harness.launch.protocol import RunFiles
from harness.records import store

WAYS = {
    "val_loss": "second less first, below 0 the second is better",
    "bits_per_byte": "second less first, below 0 the second is better",
    "tokens_per_second": "second over first, above 1 the second is faster",
}
"""How to read `smol compare`, by metric."""


def card(*, check: bool, results: Path | None) -> None:
    """Write the card and its figures, or compare them with the records.

    Raises CheckFailed, after printing the difference, where they do not agree.
    """
    from harness.report import card as cards

    folder = places.existing_results(None, results)
    if check:
        stale = cards.check(folder)
        if stale:
            print(stale)
            raise CheckFailed(f"{folder / 'MODEL_CARD.md'} does not agree with the records; "
                              f"`smol card` regenerates it")  # fmt: skip
        print(f"{folder / 'MODEL_CARD.md'} agrees with its records")
        return
    store.check_writable(folder)
    written = cards.regenerate(folder)
    for path in written or [folder / "MODEL_CARD.md"]:
        print(path if written else f"{path} is up to date")


def trace(cell: str, *, results: Path | None) -> None:
    """Print where a cell of the card comes from. Raises RequestError for an unknown cell."""
    from harness.report.trace import trace as follow

    print(follow(places.existing_results(None, results), cell))


def clean_records(*, results: Path | None) -> None:
    """Delete rolling and branch checkpoints of finished runs; final models and records stay."""
    folder = places.existing_results(None, results)
    keys = {record.key[:8] for record in store.read_all(folder) if record.status == "ok"}
    freed = count = 0
    checkpoints = places.checkpoints_folder(folder)
    for final in sorted(checkpoints.rglob(RunFiles(Path()).final.name)):
        run = final.parent
        if run.name.rpartition(".")[2] not in keys:
            continue
        for path in (RunFiles(run).checkpoint, *run.glob("branch-*.pt")):
            if path.exists():
                freed += path.stat().st_size
                path.unlink()
                count += 1
    print(f"deleted {count} checkpoints of finished runs, {freed / 1e6:,.0f} MB")


def check_records(*, results: Path | None) -> None:
    """Read and validate all records, those of scripts too, and evaluations, and compare their
    files with the digests in `cells.json` where a card was written.

    Raises RequestError for the first file that is none, CheckFailed for what is not sound.
    """
    from harness.records import configuration, evaluation, foreign, gates
    from harness.report import cells

    folder = places.existing_results(None, results)
    records = store.read_all(folder)
    faults = [
        f"{record.name} ({record.key}): {fault}"
        for record in records
        for fault in (*gates.check(record), *configuration.faults(record.config))
    ]
    index = cells.load(folder)
    if index is not None:
        faults += cells.changed(folder, index)
    for fault in faults:
        print(fault)
    if faults:
        raise CheckFailed(f"{len(faults)} broken invariants in {folder}")
    scored = evaluation.read_all(folder)
    more = f" and {len(scored)} evaluations" if scored else ""
    judged = [r for name in foreign.names(folder) for r in foreign.read_name(folder, name)[0]]
    more += f" and {len(judged)} runs of scripts" if judged else ""
    same = ", and the files that its card was made from" if index is not None else ""
    print(f"{len(records)} records{more} in {folder} are sound{same}")


def compare(
    first: str, second: str, metric: str | None, *, scale: str, results: Path | None, as_json: bool
) -> None:
    """Print two arms' or two records' difference at each horizon, or their ratio of rates.

    Raises CheckFailed where at no horizon a verdict can be given.
    """
    from harness.report.compare import compare as side_by_side

    folder = places.existing_results(scale, results)
    records = store.read_all(folder)
    for record in records:
        store.refuse_implausible(store.path_of(record), record)
    found = side_by_side(records, first, second, scale, metric)
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        print(f"{second} against {first}, {found[0].metric}: {WAYS[found[0].metric]}")
        for one in found:
            print(f"  {one.text}")
    if not any(one.comparable for one in found):
        raise CheckFailed("nothing here allows a verdict; the reasons stand beside each line")
