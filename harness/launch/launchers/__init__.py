"""The launchers: one file each, found by walking this folder; or a user's own file.

A file here declares one `LAUNCHER`, a `harness.launch.base.Launcher`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from harness.errors import RequestError, UsersFault, nearest, users_code, users_module
from harness.launch.base import Launcher

OWN = ".py:"
"""What tells a user's own launcher, FILE.py:OBJECT, from a name."""


@cache
def launchers() -> Mapping[str, Launcher]:
    """Every launcher of ours by name."""
    found = [
        importlib.import_module(f"{__name__}.{module.name}").LAUNCHER
        for module in pkgutil.iter_modules(__path__)
    ]
    return {one.name: one for one in found}


def find(asked: str, processes: int = 1, address: str | None = None) -> Launcher:
    """The launcher of that name, or a user's own as FILE.py:OBJECT.

    `address` is where its cluster is. Raises RequestError for one that is not there or has no
    cluster, and for one that cannot have `processes` of them work on one run.
    """
    known = launchers()
    if OWN in asked:
        found = _own(asked)
    elif asked in known:
        found = known[asked]
    else:
        raise RequestError(f"no launcher '{asked}'{nearest(asked, known)}")
    if processes > 1 and not found.shares_runs:
        able = " or ".join(one.name for one in known.values() if one.shares_runs)
        raise RequestError(
            f"--processes {processes}: the launcher {asked} gives a run one process"
            + (f"; --launcher {able} gives it several" if able else "")
        )
    if address is not None and not found.takes_address:
        able = " or ".join(one.name for one in known.values() if one.takes_address)
        raise RequestError(f"--address goes with --launcher {able}, not with {asked}")
    if (why := found.absence()) is not None:
        raise RequestError(f"--launcher {asked}: {why}")
    found.address = address
    return found


def _own(asked: str) -> Launcher:
    """The object of a user's file: a Launcher, or a class that makes one of no arguments."""
    stem, _, name = asked.rpartition(OWN)
    file = Path(f"{stem}.py").expanduser()
    if not file.is_file():
        raise RequestError(f"--launcher {asked}: there is no file '{file}'")
    try:
        module = users_module(file, f"_user_launcher_{file.stem}")
        with users_code():
            found = getattr(module, name, None)
            made = found() if isinstance(found, type) and issubclass(found, Launcher) else found
    except UsersFault as why:
        raise RequestError(f"--launcher {asked}: {file.name} could not be loaded: {why}") from None
    if found is None:
        names = [one for one in vars(module) if not one.startswith("_")]
        raise RequestError(f"--launcher {asked}: {file.name} has no '{name}'{nearest(name, names)}")
    if not isinstance(made, Launcher):
        raise RequestError(
            f"--launcher {asked}: '{name}' is no harness.launch.base.Launcher, but "
            f"{type(made).__name__}"
        )
    return made
