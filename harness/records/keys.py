"""The key of a run: the digest of all that decides what it computes; and records' keys checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.config import RunConfig, digest, identity
from harness.records.schema import Record


def key_of(config: RunConfig | Mapping[str, Any], seed: int, **others: Any) -> str:
    """The key of the run of a configuration and a seed.

    `others` is what else decides: the device's class, the number of processes, the tokenizer's
    digest, the updates, and what the run starts from.
    """
    return digest({"config": identity(config), "seed": seed, "repeat": 0, **others})


def faults(records: Iterable[Record]) -> list[str]:
    """The records whose key is not that of what they say they ran, a line each.

    Passed over is what does not hold all that its key was made of: a run that ended before it had
    data, and a stem without a record of its decay to each horizon, since its branches are theirs.
    """
    records = list(records)
    decays: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.parent is not None:
            decays.setdefault((record.recipe, record.parent), []).append(record)
    found = []
    for record in records:
        after = decays.get((record.recipe, record.key), [])
        ended = {end.horizon for decay in after for end in decay.ends}
        whole = record.stage != "stem" or ended.issuperset(record.question.horizons)
        branches = sorted({decay.first_update for decay in after})
        if record.data and whole and not _fits(record, branches):
            found.append(f"{record.name} ({record.key}): the key is not that of its configuration")
    return found


def _fits(record: Record, branches: list[int]) -> bool:
    """Whether the key is the record's in one of the forms that keys have had: `start`, and `given`,
    stand in it only where the plan says how a run starts."""
    assert record.data is not None
    chain: dict[str, Any] = {
        "device_class": record.hardware.device_class,
        "world_size": record.world_size,
        "tokenizer": record.data.tokenizer_digest,
        "first_update": record.first_update,
        "last_update": record.last_update,
        "decay_start": _decay_start(record),
        "branch_at": branches if record.stage == "stem" else [],
        "parent": record.parent,
    }
    start = {"start": _start(record)}
    forms = ({**chain, **start}, chain, {**chain, **start, "given": record.given})
    return any(record.key == key_of(record.config, record.seed, **form) for form in forms)


def _start(record: Record) -> str:
    if record.given is not None:
        return "given"
    if record.parent is None:
        return "init"
    return "final" if record.question.stages else "branch"


def _decay_start(record: Record) -> int | None:
    """As the plan had it: see `harness.plan.runs`."""
    schedule, end = record.config["schedule"], record.last_update
    if record.stage == "stem":
        return None
    if record.first_update:
        return record.first_update
    if schedule.get("name") == "cosine":
        return min(schedule.get("warmup_updates", 0), end)
    return end - max(1, round(schedule.get("decay_fraction", 0.0) * end))
