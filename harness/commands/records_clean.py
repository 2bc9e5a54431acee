"""`smol records clean`: frees the disk space of runs that are finished."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.commands import places
from harness.commands.options import JsonOption, ReadResultsOption
from harness.data.cache import cache_root
from harness.files import remove_litter
from harness.launch import terminal
from harness.launch.protocol import RunFiles
from harness.records import store


@dataclass(frozen=True)
class Options:
    """Delete the checkpoints of finished runs.

    With them goes what killed processes left half-written. Final models and records stay.
    """

    results: ReadResultsOption = None
    as_json: JsonOption = False


def records_clean(options: Options) -> None:
    """Delete rolling, branch and damaged checkpoints of finished runs, and litter."""
    folder = places.existing_results(options.results)
    keys = {record.key[:8] for record in store.read_all(folder) if record.status == "ok"}
    freed = count = 0
    checkpoints = places.checkpoints_folder(folder)
    for final in sorted(checkpoints.rglob(RunFiles(Path()).final.name)):
        run = final.parent
        if run.name.rpartition(".")[2] not in keys:
            continue
        for path in (RunFiles(run).checkpoint, *run.glob("branch-*.pt"), *run.glob("*.damaged")):
            if path.exists():
                freed += path.stat().st_size
                path.unlink()
                count += 1
    litter = sum(
        remove_litter(root, below=True)
        for root in dict.fromkeys([folder, checkpoints, cache_root()])
    )
    if options.as_json:
        said = {"results": str(folder), "deleted": count, "bytes": freed, "litter_bytes": litter}
        print(json.dumps(said))
        return
    terminal.lines(f"deleted {count} checkpoints of finished runs, {freed / 1e6:,.0f} MB")
    if litter:
        terminal.lines(f"deleted what killed processes left half-written, {litter / 1e6:,.0f} MB")
