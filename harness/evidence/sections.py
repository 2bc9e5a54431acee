"""Which records may stand in one table, and where their arms' horizons ended.

A section is one (recipe, scale, device class, overrides). Within it a group shares one code digest,
one software set, one data manifest and one configuration outside the arms' differences; a view uses
one group, so that no cell mixes codes.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.code.provenance import software_set
from harness.config import canonical, digest, identity
from harness.evidence import asked, query
from harness.evidence.endpoints import Reached, ends
from harness.evidence.roles import role_of, search_of
from harness.evidence.sequential import seeds_asked_for
from harness.machine import devices
from harness.recipe import SCALES
from harness.records.schema import Question, Record
from harness.records.store import path_of

PACKING = "data.seq_len"
"""Where arms differ in it, each has a manifest of its own; they share split, order of documents
and tokenizer, whose digest then stands for the text."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A record, and what decides where it may stand."""

    record: Record
    path: str
    section: tuple[str, str, str, str, str]
    """Recipe, scale, device, device class, overrides."""
    code: str
    """The behaviour digest of its source, or, where none is known, the source digest."""
    software: str
    world_size: int
    variant: str
    """Digest of the arm's difference from its base."""
    common: str = ""
    """Digest of the configuration outside the fields in which some arm of its kind differs."""
    manifest: str = ""

    @property
    def group(self) -> tuple[str, str, int, str, str]:
        """What must be equal for two runs to stand in one table."""
        return self.code, self.software, self.world_size, self.common, self.manifest

    @property
    def age(self) -> tuple[str, str]:
        """Ascending from the oldest."""
        return self.record.created, self.path


def runs(records: Sequence[Record]) -> list[Placed]:
    """The records in their order, each with what decides where it may stand."""
    known = query.behaviours(records)
    found = [_run(record, known) for record in records]
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for place, run in enumerate(found):
        kinds.setdefault((*run.section, *run.group[:3]), []).append(place)
    for places in kinds.values():
        for place, run in zip(places, _placed([found[i] for i in places]), strict=True):
            found[place] = run
    return found


def _run(record: Record, known: Mapping[str, str]) -> Placed:
    overrides = record.question.overrides
    return Placed(
        record,
        path_of(record),
        (
            record.recipe,
            record.scale,
            record.device,
            record.hardware.device_class,
            canonical(overrides) if overrides else "",
        ),
        query.code_of(record, known),
        " ".join(software_set(record.software)),
        record.world_size,
        digest(record.diff),
    )


def _placed(of_kind: Sequence[Placed]) -> list[Placed]:
    """The same runs with what they have in common. One that died before it had data belongs to
    whatever its neighbours have read."""
    varying = {p for run in of_kind for p in (*run.record.diff, *run.record.stage_diff)}
    known: dict[int, str] = {}  # configurations that are one object are looked at once
    last: dict[str, str] = {}
    placed = []
    for run in of_kind:
        config = run.record.config
        if id(config) not in known:
            known[id(config)] = _common(config, varying)
        common, data = known[id(config)], run.record.data
        if data is not None:
            last[common] = data.tokenizer_digest if PACKING in varying else data.manifest_digest
        manifest = last.get(common, "")
        placed.append(dataclasses.replace(run, common=common, manifest=manifest))
    first: dict[str, str] = {}
    for run in placed:
        if run.manifest:
            first.setdefault(run.common, run.manifest)
    placed = [
        run if run.manifest else dataclasses.replace(run, manifest=first.get(run.common, ""))
        for run in placed
    ]
    return _staged(placed, varying) if any(r.record.question.stages for r in placed) else placed


def _staged(placed: Sequence[Placed], varying: set[str]) -> list[Placed]:
    """The stages of a recipe have data and settings each: one text stands for the newest manifest
    of every stage, so that a chain stays together (a run of older data keeps its own), and a
    variant is what was run of all that differs."""
    newest: dict[str, str] = {}
    for run in sorted(placed, key=lambda run: run.age):
        if run.record.data is not None:
            newest[run.record.stage] = run.manifest
    together = digest(newest)
    found = []
    for run in placed:
        fields = identity(run.record.config)
        current = run.record.data is None or run.manifest == newest[run.record.stage]
        found.append(
            dataclasses.replace(
                run,
                manifest=together if current else run.manifest,
                variant=digest({p: fields[p] for p in sorted(varying) if p in fields}),
            )
        )
    return found


def _common(config: dict[str, Any], varying: set[str]) -> str:
    """The digest of the configuration outside the fields in which some arm differs."""
    return digest({k: v for k, v in identity(config).items() if k not in varying})


@dataclass(frozen=True)
class Group:
    """Runs that may stand in one table."""

    records: tuple[Record, ...]
    """One attempt a run: the newest that ended well, else the newest."""
    attempts: tuple[Record, ...]
    """All attempts, in order of arm, seed, stage and attempt."""
    question: Question
    """The question that the newest record answers."""
    code: str
    software: str
    manifest: str
    """The data manifest's digest; the tokenizer's where arms differ in `PACKING`."""
    world_size: int
    created: str
    """When the newest record was made."""

    @cached_property
    def ends(self) -> tuple[Reached, ...]:
        """`ends` of the group's records."""
        return ends(self.records)

    @cached_property
    def by_end(self) -> dict[tuple[str, str], tuple[Reached, ...]]:
        """`ends` apart by (arm, horizon); see `reached`."""
        apart = itertools.groupby(self.ends, key=lambda one: (one.arm, one.horizon))
        return {key: tuple(of_key) for key, of_key in apart}

    def reached(self, arm: str, horizon: str) -> tuple[Reached, ...]:
        """The endpoints of an arm at a horizon, one a seed, seeds ascending."""
        return self.by_end.get((arm, horizon), ())

    @cached_property
    def by_key(self) -> dict[str, Record]:
        """The records by the keys of their runs."""
        return {record.key: record for record in self.records}

    @cached_property
    def by_path(self) -> dict[str, Record]:
        """The records by their files."""
        return {path_of(record): record for record in self.records}

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Every seed that was run."""
        return tuple(sorted({record.seed for record in self.records}))

    @cached_property
    def asked_seeds(self) -> range:
        """The seeds that the recipe froze; of a sequential design those that it asks for, given
        what was measured."""
        q = self.question
        if not q.looks:
            return q.frozen_seeds
        asked = seeds_asked_for(q.pairs, q.at, q.first_seed, q.looks, self.records)
        return range(q.first_seed, q.first_seed + asked)

    @cached_property
    def done(self) -> int:
        """How many (arm, seed, horizon) of the frozen question were measured."""
        q = self.question
        arms, horizons = set(q.arms), set(q.horizons)
        return sum(
            one.arm in arms and one.horizon in horizons and one.seed in self.asked_seeds
            for one in self.ends
        )

    @property
    def expected(self) -> int:
        """How many (arm, seed, horizon) the recipe asks for."""
        q = self.question
        return len(q.arms) * len(q.horizons) * len(self.asked_seeds)

    @property
    def complete(self) -> bool:
        """Whether every arm and frozen seed reached every horizon, or diverged on the way: that
        is a result too, and running it again gives no other."""
        q = self.question
        reached = {(end.arm, end.seed, end.horizon) for end in self.ends}
        diverged = {(r.arm, r.seed) for r in self.records if r.status == "diverged"}
        return all(
            (arm, seed, horizon) in reached or (arm, seed) in diverged
            for arm in q.arms
            for seed in self.asked_seeds
            for horizon in q.horizons
        )

    @cached_property
    def newest(self) -> Record:
        """The record whose question the group answers."""
        return max(self.records, key=lambda r: (r.created, path_of(r)))

    @property
    def command(self) -> str:
        """What reproduces the group, as its newest record says."""
        return self.newest.command


@dataclass(frozen=True, eq=False)  # a key of what is made of it once
class Section:
    """What one part of the card speaks of."""

    name: str
    """`recipe.scale.device`, a number on the device where several classes were used, and a
    digest where overrides were set: the first part of its views' names."""
    recipe: str
    scale: str
    device: str
    device_class: str
    overrides: dict[str, Any]
    group: Group
    others: tuple[Group, ...]
    """Groups that no table uses, newest first."""
    search: Section | None = None
    """The section of the search that chose its arms' settings, of the same scale, device class and
    precision."""
    noise: Section | None = None
    """The section of a recipe whose role is `noise`, likewise."""

    @property
    def precisions(self) -> set[str]:
        """The precisions that its runs compute in: one, unless an arm is about it."""
        return {str(r.config.get("train", {}).get("dtype")) for r in self.group.records}

    @property
    def role(self) -> str:
        """What its recipe is for; empty where it has no such role."""
        return role_of(self.group.newest)

    @property
    def title(self) -> str:
        """For its figures."""
        more = asked.words(self.overrides)
        return ", ".join([self.recipe, f"{self.scale} scale", self.device_class, *more])


def sections(records: Sequence[Record]) -> list[Section]:
    """All sections: GPU before CPU, larger scales first, then by recipe.

    The group shown is the newest complete one (what diverged has ended too); if none is complete,
    the one with most endpoints, the newest of equals.
    """
    known = runs(records)
    numbers = _device_numbers(known)
    by_section: dict[tuple[str, ...], list[Placed]] = {}
    for run in known:
        by_section.setdefault(run.section, []).append(run)
    found = []
    for of_section in by_section.values():
        groups = _groups(of_section)
        chosen = max(groups, key=lambda g: (g.complete, 0 if g.complete else g.done, g.created))
        one = chosen.records[0]
        number = numbers[one.device, one.hardware.device_class]
        overrides = one.question.overrides
        parts = [one.recipe, one.scale, one.device + (f"-{number}" if number > 1 else "")]
        found.append(
            Section(
                name=".".join(parts + ([f"set-{digest(overrides, 6)}"] if overrides else [])),
                recipe=one.recipe,
                scale=one.scale,
                device=one.device,
                device_class=one.hardware.device_class,
                overrides=overrides,
                group=chosen,
                others=tuple(g for g in groups if g is not chosen),
            )
        )
    found = [_with_neighbours(section, found) for section in found]
    sizes: dict[str, int] = {scale: -rank for rank, scale in enumerate(SCALES)}
    return sorted(found, key=lambda s: (-devices.of(s.device).rank, sizes.get(s.scale, 1), s.name))


def _with_neighbours(section: Section, found: Sequence[Section]) -> Section:
    there = {
        other.recipe: other
        for other in found
        if (other.scale, other.device_class, other.overrides)
        == (section.scale, section.device_class, {})
        # A search's optimum holds, and a spread is noise, in the precision that it was run in.
        and other.precisions & section.precisions
    }
    noise = next((other for other in there.values() if other.role == "noise"), None)
    if search := there.get(search_of(section.recipe, section.group.question) or ""):
        wider = there.get(search_of(search.recipe, search.group.question) or "")
        search = dataclasses.replace(search, search=wider)
    return dataclasses.replace(
        section, search=search, noise=noise if section.role != "noise" else None
    )


def _device_numbers(known: Iterable[Placed]) -> dict[tuple[str, str], int]:
    """(device, device class) -> 1 for the class that was used first on that device, 2, ..."""
    firsts: dict[tuple[str, str], str] = {}
    for run in known:
        where, created = (run.record.device, run.section[3]), run.record.created
        firsts[where] = min(created, firsts.get(where, created))
    numbers: dict[tuple[str, str], int] = {}
    for device, of_device in itertools.groupby(
        sorted(firsts, key=lambda where: (where[0], firsts[where], where[1])), key=lambda w: w[0]
    ):
        for number, (_, name) in enumerate(of_device, start=1):
            numbers[device, name] = number
    return numbers


def _groups(of_section: Sequence[Placed]) -> list[Group]:
    """The groups of a section's runs, newest first."""
    apart: dict[tuple[Any, ...], list[Placed]] = {}
    for run in of_section:
        apart.setdefault(run.group, []).append(run)
    groups = []
    for part in apart.values():
        part.sort(key=lambda run: run.age)
        arms = set(part[-1].record.question.arms)
        newest = {_part(run.record): run.variant for run in part}
        current = [r for r in part if r.record.arm in arms and r.variant == newest[_part(r.record)]]
        chosen = {run.path for run in current}
        past = [run for run in part if run.path not in chosen]
        groups += [_group(some) for some in (current, past) if some]
    return sorted(groups, key=lambda g: (g.created, g.code), reverse=True)


def _part(record: Record) -> tuple[str, str]:
    """What has one current variant: an arm, or where a recipe has stages an arm in its stage."""
    return record.arm, record.stage if record.question.stages else ""


def _group(part: Sequence[Placed]) -> Group:
    """Of runs in order of age."""
    counted = {path_of(record) for record in query.attempts(run.record for run in part)}
    newest = part[-1]
    return Group(
        records=tuple(run.record for run in sorted(part, key=_order) if run.path in counted),
        attempts=tuple(run.record for run in sorted(part, key=_order)),
        question=newest.record.question,
        code=newest.code,
        software=newest.software,
        manifest=newest.manifest,
        world_size=newest.world_size,
        created=newest.record.created,
    )


def _order(run: Placed) -> tuple[Any, ...]:
    r = run.record
    return r.arm, r.seed, r.repeat, r.stage, r.attempt, *run.age


def starts_fresh(record: Record) -> bool:
    """Whether the run began from an initialisation rather than from another's checkpoint."""
    return record.parent is None and record.given is None and record.first_update == 0
