"""One launch of a recipe at a time: two would write the same checkpoints and records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness.errors import RequestError
from harness.files import remove_litter
from harness.plan.runs import Plan
from harness.records import store


@contextlib.contextmanager
def alone(checkpoints: Path, results: Path, plan: Plan) -> Iterator[None]:
    """Two launches of one recipe would write the same checkpoints, or the same records: these are
    in other folders where `--results` names a folder that somebody else works from.

    Raises RequestError while another is at work.
    """
    from filelock import FileLock, Timeout

    records = store.lock_of(results, plan.entry.name)
    locks = (checkpoints / plan.entry.name / ".lock", records)
    try:
        with contextlib.ExitStack() as held:
            for lock in locks:
                lock.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(lock, timeout=0))
            for place in (checkpoints / plan.entry.name, records.parent):
                remove_litter(place, below=True)
            yield
    except Timeout:
        raise RequestError(f"another `smol run {plan.entry.name}` is at work here") from None
