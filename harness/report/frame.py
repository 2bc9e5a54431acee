"""Records as pandas frames, and which of them may stand in one table.

A section is one (recipe, scale, device class, overrides). Within it a group shares one code
digest, one software set, one data manifest and one configuration outside the arms' differences;
a view uses one group, so that no cell mixes codes. May not import torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from harness.config import NEUTRAL_FIELDS, canonical, digest, flatten
from harness.measure.provenance import software_set
from harness.recipe import SCALES
from harness.records.schema import Question, Record
from harness.records.store import path_of

SECTION = ["recipe", "scale", "device", "device_class", "overrides"]
GROUP = ["code", "software", "world_size", "common", "manifest"]
SEARCH = "tune_"
"""How the name of a recipe's search begins, where its question names none."""
PACKING = "data.seq_len"
"""Where arms differ in it, each has a manifest of its own; they share split, order of documents
and tokenizer, whose digest then stands for the text."""
FROM_SCRATCH = ("stem", "train-")
"""How the stages begin that start from an initialisation."""


def runs(records: Sequence[Record]) -> pd.DataFrame:
    """One row a record: what it is of, what it was run with, and how it ended."""
    frame = pd.DataFrame.from_records(
        [
            {
                "path": path_of(r),
                "recipe": r.recipe,
                "scale": r.scale,
                "device": r.device,
                "device_class": r.hardware.device_class,
                "overrides": canonical(r.question.overrides),
                "arm": r.arm,
                "seed": r.seed,
                "repeat": r.repeat,
                "stage": r.stage,
                "key": r.key,
                "attempt": r.attempt,
                "created": r.created,
                "status": r.status,
                "ok": r.status == "ok",
                "code": r.code.source_digest,
                "software": " ".join(software_set(r.software)),
                "world_size": r.world_size,
                "manifest": r.data.manifest_digest if r.data else None,
                "variant": digest(r.diff),
            }
            for r in records
        ],
        columns=[
            *SECTION, *GROUP[:3], "manifest", "path", "arm", "seed", "repeat", "stage", "key",
            "attempt", "created", "status", "ok", "variant",
        ],
    )  # fmt: skip
    frame["common"] = ""
    for _, rows in frame.groupby([*SECTION, *GROUP[:3]], sort=False):
        of_group = [records[i] for i in rows.index]
        varying = {path for record in of_group for path in record.diff}
        frame.loc[rows.index, "common"] = [_common(record, varying) for record in of_group]
        if PACKING in varying:
            same_text = [r.data.tokenizer_digest if r.data else None for r in of_group]
            frame.loc[rows.index, "manifest"] = same_text
    # A run that died before it had data belongs to whatever its group has read.
    by = [*SECTION, *GROUP[:4]]
    filled = frame.groupby(by, sort=False)["manifest"].transform(lambda m: m.ffill().bfill())
    frame["manifest"] = filled.fillna("")
    return frame


def _common(record: Record, varying: set[str]) -> str:
    """The digest of the configuration outside the fields in which some arm differs."""
    fields = flatten(record.config)
    return digest({k: v for k, v in fields.items() if k not in varying and k not in NEUTRAL_FIELDS})


def ends(records: Sequence[Record]) -> pd.DataFrame:
    """One row for each (arm, seed, horizon) that an `ok` run reached, newest first-repeat run.

    Where a recipe moved a horizon without touching a configuration, only the newest budget stays.
    """
    rows = [
        {
            "path": path_of(r), "arm": r.arm, "seed": r.seed, "repeat": r.repeat,
            "created": r.created, "epochs": r.data.epochs if r.data else None,
            "unigram": r.data.unigram_val_loss if r.data else None,
            "unigram_bits": r.data.unigram_bits_per_byte if r.data else None,
            **end.model_dump(),
        }
        for r in records
        if r.status == "ok"
        for end in r.ends
    ]  # fmt: skip
    columns = [
        "path", "arm", "seed", "repeat", "created", "epochs", "unigram", "unigram_bits",
        "horizon", "update", "tokens", "flops", "seconds", "val_loss", "bits_per_byte",
    ]  # fmt: skip
    frame = pd.DataFrame.from_records(rows, columns=columns)
    frame = frame[frame["repeat"] == 0].sort_values(["created", "path"], kind="stable")
    newest = frame.groupby(["arm", "horizon"])["update"].transform("last")
    frame = frame[frame["update"] == newest]
    frame = frame.drop_duplicates(["arm", "seed", "horizon"], keep="last")
    return frame.sort_values(["arm", "horizon", "seed"], kind="stable").reset_index(drop=True)


@dataclass(frozen=True)
class Group:
    """Runs that may stand in one table."""

    records: tuple[Record, ...]
    """One attempt a run: the newest that ended well, else the newest."""
    attempts: tuple[Record, ...]
    """All attempts, in order of arm, seed, stage and attempt."""
    question: Question
    """Of the newest record."""
    code: str
    software: str
    manifest: str
    """The data manifest's digest; the tokenizer's where arms differ in `PACKING`."""
    world_size: int
    created: str
    """Of the newest record."""

    @cached_property
    def ends(self) -> pd.DataFrame:
        """`ends` of the group's records."""
        return ends(self.records)

    @cached_property
    def by_end(self) -> dict[tuple[str, str], pd.DataFrame]:
        """`ends` apart by (arm, horizon); see `reached`."""
        apart = self.ends.groupby(["arm", "horizon"], sort=False)
        return {(str(arm), str(horizon)): rows for (arm, horizon), rows in apart}

    def reached(self, arm: str, horizon: str) -> pd.DataFrame:
        """The endpoints of an arm at a horizon, a row a seed, seeds ascending."""
        return self.by_end.get((arm, horizon), self.ends.iloc[:0])

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Every seed that was run."""
        return tuple(sorted({record.seed for record in self.records}))

    @cached_property
    def done(self) -> int:
        """How many (arm, seed, horizon) of the frozen question were measured."""
        rows = self.ends
        asked = (
            rows["arm"].isin(self.question.arms)
            & rows["horizon"].isin(self.question.horizons)
            & rows["seed"].isin(self.question.frozen_seeds)
        )
        return int(asked.sum())

    @property
    def expected(self) -> int:
        """How many (arm, seed, horizon) the recipe froze."""
        q = self.question
        return len(q.arms) * len(q.horizons) * q.seeds

    @property
    def complete(self) -> bool:
        """Whether every arm and frozen seed reached every horizon."""
        return self.done == self.expected

    @property
    def command(self) -> str:
        """What reproduces the group, as its newest record says."""
        return max(self.records, key=lambda r: (r.created, path_of(r))).command


@dataclass(frozen=True)
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
    """The section of the search that its question names (else of `tune_<recipe>`), of the same
    scale and device class."""


def sections(records: Sequence[Record]) -> list[Section]:
    """All sections: GPU before CPU, larger scales first, then by recipe.

    The group shown is the newest complete one; if none is complete, the one with most
    endpoints, the newest of equals.
    """
    frame = runs(records)
    numbers = _device_numbers(frame)
    found = []
    for _, rows in frame.groupby(SECTION, sort=False):
        groups = _groups(records, rows)
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
    found = [_with_search(section, found) for section in found]
    sizes: dict[str, int] = {scale: -rank for rank, scale in enumerate(SCALES)}
    return sorted(found, key=lambda s: (s.device == "cpu", sizes.get(s.scale, 1), s.name))


def _with_search(section: Section, found: Sequence[Section]) -> Section:
    """Records older than the search do not name it: it is found by its name, too."""
    name = section.group.question.tuned_by or f"{SEARCH}{section.recipe}"
    for other in found:
        where = (other.recipe, other.scale, other.device_class, other.overrides)
        if where == (name, section.scale, section.device_class, {}):
            return dataclasses.replace(section, search=other)
    return section


def _device_numbers(frame: pd.DataFrame) -> dict[tuple[str, str], int]:
    """(device, device class) -> 1 for the class that was used first on that device, 2, ..."""
    firsts = frame.groupby(["device", "device_class"])["created"].min().reset_index()
    firsts = firsts.sort_values(["device", "created", "device_class"])
    ranks = firsts.groupby("device").cumcount() + 1
    return {
        (str(device), str(name)): int(rank)
        for device, name, rank in zip(firsts["device"], firsts["device_class"], ranks, strict=True)
    }


def _groups(records: Sequence[Record], rows: pd.DataFrame) -> list[Group]:
    """The groups of a section's rows, newest first."""
    groups = []
    for _, part in rows.groupby(GROUP, sort=False):
        ordered = part.sort_values(["created", "path"], kind="stable")
        arms = records[ordered.index[-1]].question.arms
        newest = ordered.groupby("arm")["variant"].transform("last")
        current = (ordered["variant"] == newest) & ordered["arm"].isin(arms)
        groups += [
            _group(records, ordered[chosen]) for chosen in (current, ~current) if chosen.any()
        ]
    return sorted(groups, key=lambda g: (g.created, g.code), reverse=True)


def _group(records: Sequence[Record], rows: pd.DataFrame) -> Group:
    order = ["arm", "seed", "repeat", "stage", "attempt"]
    best = rows.sort_values(["ok", "attempt"]).drop_duplicates(["arm", "key"], keep="last")
    newest = rows.iloc[-1]
    return Group(
        records=tuple(records[i] for i in best.sort_values(order, kind="stable").index),
        attempts=tuple(records[i] for i in rows.sort_values(order, kind="stable").index),
        question=records[rows.index[-1]].question,
        code=str(newest["code"]),
        software=str(newest["software"]),
        manifest=str(newest["manifest"]),
        world_size=int(newest["world_size"]),
        created=str(newest["created"]),
    )


def starts_fresh(record: Record) -> bool:
    """Whether the run began from an initialisation rather than from another's checkpoint."""
    return record.stage.startswith(FROM_SCRATCH) and record.first_update == 0
