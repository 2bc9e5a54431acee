"""A short run of each recipe, by the code that `smol run` uses: one arm, one seed, few updates.

`python -m bench.acceptance.recipes cuda|cpu`. On a card the arm is the last that the recipe's
question names (the mixture, the model compiled whole, all kernels), in the rehearsal the second
(compiled block by block, which takes a fifth of the time); without a question its first. Records
go to a temporary folder. A recipe that cannot be planned for the device is named, and fails on a
card.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from harness.commands import run
from harness.errors import CheckFailed, RequestError, RunFailed
from harness.plan.resolved import resolve
from harness.recipe import Entry, Scale, find, load
from harness.records import store

UPDATES = {"cuda": 24, "cpu": 12}
"""Of a short run, as the arm of fewest tokens an update makes them."""


def main(device: str) -> int:
    """Exit code 1 where a run did not end well."""
    ours = sorted(n for n, e in load()[0].items() if e.build.__module__.startswith("recipes."))
    failed = []
    with tempfile.TemporaryDirectory(prefix="smol-acceptance-") as results:
        for name in ours:
            entry = find(name)
            built = entry.at(smallest(entry))
            if not built.runs_on(device):
                print(f"-- {name} runs on {' or '.join(built.devices)} alone")
                if device == "cuda":
                    failed.append(name)
                continue
            started = time.monotonic()
            try:
                short_run(entry, device, Path(results))
                end = "ok"
            except (RunFailed, RequestError, CheckFailed) as error:
                failed.append(name)
                end = f"FAILED: {error}"
            print(f"-- {name}: {end} after {time.monotonic() - started:.0f} s", flush=True)
    print(f"{len(ours)} recipes; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def smallest(entry: Entry) -> Scale:
    """The scale of a recipe's short run: smoke, else the first that it names."""
    return "smoke" if "smoke" in entry.seeds else next(iter(entry.seeds))


def short_run(entry: Entry, device: str, results: Path) -> None:
    """Raises RunFailed and what else a run may raise."""
    scale = smallest(entry)
    grid = resolve(entry, scale).arms
    pairs = entry.primary.pairs
    pair = pairs[-1 if device == "cuda" else 0] if pairs else (grid[0].name,)
    arm = pair[-1]
    tokens = UPDATES[device] * min(arm.config.tokens_per_update for arm in grid)
    options = run.Options(entry.name, scale, device, 1, [f"train.tokens={tokens}"], results=results)
    run.run(options, only=lambda run: run.arm == arm)
    for record in store.read_all(results):
        if record.recipe == entry.name and (found := record.compilation) and found.uncompiled:
            raise RunFailed(f"{record.arm} trained, but not as it was to: {found.uncompiled}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
