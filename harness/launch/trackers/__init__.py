"""The trackers: one file each, found by walking this folder. What runs say goes to them as well.

A file here declares one `TRACKER`, a subclass of `harness.launch.tracking.Tracker`. Its library is
an optional extra of the same name, and is imported when a tracker is made, not before.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from harness.errors import RequestError, nearest
from harness.launch.tracking import Tracker


@cache
def trackers() -> Mapping[str, type[Tracker]]:
    """Every tracker by name."""
    found = [
        importlib.import_module(f"{__name__}.{module.name}").TRACKER
        for module in pkgutil.iter_modules(__path__)
    ]
    return {one.name: one for one in found}


def named(text: str) -> list[type[Tracker]]:
    """Those that a list such as `tensorboard,wandb` names, each once.

    Raises RequestError for a name that is none.
    """
    known = trackers()
    names = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for name in names:
        if name not in known:
            raise RequestError(f"no tracker '{name}'{nearest(name, known)}")
    if not names:
        raise RequestError(f"no tracker is named: {', '.join(known)} are known")
    return [known[name] for name in names]
