"""What a record counts for. Everybody asks here: backlog, campaign, forecast, costs and report.

Five questions, each answered once: did the run end well; which attempt of a run counts; was it
timed, and is the timing clean; whose code does it speak for; and does it still speak for today's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.code.provenance import software_set
from harness.config import DataConfig, as_before, canonical
from harness.records.schema import Code, DataUse, Record
from harness.records.store import path_of

K = TypeVar("K", bound=Hashable)


def counts(record: Record) -> bool:
    """Whether a run's results enter tables: it ended well, and is no repeat of another."""
    return record.status == "ok" and not record.repeat


def age(record: Record) -> tuple[str, str]:
    """Orders records from the oldest; the path decides between those of one second."""
    return record.created, path_of(record)


def newest(records: Iterable[Record], by: Callable[[Record], K]) -> dict[K, Record]:
    """The newest record of each kind that `by` tells apart, kinds in the order of first sight."""
    found: dict[K, Record] = {}
    for record in records:
        known = found.get(by(record))
        if known is None or age(record) >= age(known):
            found[by(record)] = record
    return found


def attempts(records: Iterable[Record]) -> list[Record]:
    """One attempt a run: the newest that ended well, else the newest.

    A key hashes what is computed, not who asked: recipes and arms may share one, and each counts
    its own attempts.
    """
    best: dict[tuple[str, str, str], Record] = {}
    for record in records:
        run = record.recipe, record.arm, record.key
        known = best.get(run)
        if known is None or _rank(record) >= _rank(known):
            best[run] = record
    return list(best.values())


def _rank(record: Record) -> tuple[bool, int]:
    return record.status == "ok", record.attempt


def timing_fault(record: Record) -> str | None:
    """Why a run's seconds are no measurement of speed; None where they are.

    A training run's seconds describe it: other runs shared the machine, and its arms did not take
    turns. Only a launch of a timing recipe measures, and only where nothing else ran.
    """
    launch = record.timing.launch if record.timing else None
    if launch is None:
        return "not timed"
    if launch.contaminated is not None:
        return f"contaminated: {launch.contaminated}"
    assert record.timing is not None
    steady = record.timing.steady_tokens_per_second
    return "too short for a steady rate" if steady is None else None


def behaviours(records: Iterable[Record]) -> dict[str, str]:
    """Source digest -> behaviour digest, where some record knows it: sources that behave alike
    are one code."""
    codes = (record.code for record in records)
    return {code.source_digest: code.behaviour_digest for code in codes if code.behaviour_digest}


def code_of(record: Record, known: Mapping[str, str]) -> str:
    """The code that a record speaks for: its behaviour, or its source where that is not known."""
    return known.get(record.code.source_digest, record.code.source_digest)


Manifests = Callable[[DataConfig], str]
"""The digest of the data that a specification leads to."""

UNPREPARED = "unprepared"
"""Stands in the place of a digest of data that no record was made of."""


class Recorded:
    """The data that records were made of, by its specification: for a plan that is made before
    any data is prepared. Where several records are of one specification the newest counts."""

    def __init__(self, records: Iterable[Record]) -> None:
        with_data = [record for record in records if record.data is not None]
        self._uses = {
            specification: record.data
            for specification, record in newest(
                with_data, lambda r: canonical(as_before(r.config["data"], "data"))
            ).items()
        }

    def tokenizer_digest(self, data: DataConfig) -> str:
        """As a plan asks for it."""
        used = self._used(data)
        return used.tokenizer_digest if used else UNPREPARED

    def manifest_digest(self, data: DataConfig) -> str:
        """As `Current` asks for it."""
        used = self._used(data)
        return used.manifest_digest if used else UNPREPARED

    def _used(self, data: DataConfig) -> DataUse | None:
        return self._uses.get(canonical(as_before(data, "data")))


@dataclass(frozen=True)
class Current:
    """What a record must agree with to count as finished under today's code."""

    source_digest: str
    software: tuple[str, ...]
    manifest_digest: Manifests
    behaviour_digest: Callable[[], str | None] = lambda: None
    """Asked only where a record of other source may behave the same."""

    def changes(self, record: Record, data: DataConfig) -> list[str]:
        """What has changed since a record of a run of these data; empty where it still counts."""
        changed = []
        timed = record.timing is not None and record.timing.timed
        if not self._wrote(record.code, timed=timed):
            changed.append(f"code {record.code.source_digest[:8]} -> {self.source_digest[:8]}")
        if software_set(record.software) != self.software:
            old, new = " ".join(software_set(record.software)), " ".join(self.software)
            changed.append(f"software (python torch numpy) {old} -> {new}")
        launch = record.timing.launch if record.timing else None
        if launch is not None and launch.contaminated:
            changed.append(f"contaminated ({launch.contaminated})")
        manifest = self.manifest_digest(data)
        if record.data is None or record.data.manifest_digest != manifest:
            was = record.data.manifest_digest[:8] if record.data else "none"
            changed.append(f"data {was} -> {manifest[:8]}")
        return changed

    def _wrote(self, code: Code, *, timed: bool) -> bool:
        """Whether losses of that code are this one's. Its seconds are only those of one source."""
        if code.source_digest == self.source_digest:
            return True
        if timed or code.behaviour_digest is None:
            return False
        return code.behaviour_digest == self.behaviour_digest()


def on(records: Sequence[Record], device_class: str) -> list[Record]:
    """The records that a class of device left."""
    return [record for record in records if record.hardware.device_class == device_class]
