"""`smol list`: the recipes, ours and the user's. Starts nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from harness.commands.options import JsonOption
from harness.launch import terminal
from harness.recipe import SCALES, load


@dataclass(frozen=True)
class Options:
    """List the recipes, one line each.

    Recipes in ./recipes/*.py stand beside those that come with the package.
    """

    as_json: JsonOption = False


def list_recipes(options: Options) -> None:
    """Recipes, one line each; files that could not be loaded are named on stderr."""
    entries, broken = load()
    if options.as_json:
        rows = [{"name": e.name, "summary": e.summary, "seeds": e.seeds} for e in entries.values()]
        print(json.dumps({"recipes": rows, "broken": [b.__dict__ for b in broken]}, indent=1))
    else:
        column = max((len(name) for name in entries), default=0)
        for entry in entries.values():
            limited = not set(entry.seeds) >= set(SCALES)
            where = f" (only at {', '.join(entry.seeds)})" if limited else ""
            terminal.say(f"{entry.summary}{where}", f"{entry.name:{column}}  ")
    for file in broken:
        print(f"smol: recipes/{file.file} could not be loaded: {file.error}", file=sys.stderr)
