"""The store and the card: reading, writing and rendering many records."""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pytest_benchmark.fixture import BenchmarkFixture

from bench.groups import Group, Size, Turn
from harness.records import store
from harness.records.schema import Record
from harness.report import card
from tests.report import factory

WRITTEN = 100


def groups(size: Size) -> list[Group]:
    seeds = 3 if size.tiny else 91
    count = len(made(seeds))
    return [
        Group(
            f"store, read {count:,} records",
            "json.loads, unchecked",
            {
                "json.loads, unchecked": partial(Parse, seeds),
                "ours, validated": partial(Read, seeds),
            },
        ),
        Group(
            f"store, write {min(WRITTEN, count)} records",
            "write_text, unchecked",
            {
                "write_text, unchecked": partial(Dump, seeds),
                "ours, gates passed and flushed": partial(Write, seeds),
            },
        ),
        Group(f"card, text from {count:,} records", None, {"ours": partial(Render, seeds)}),
    ]


@cache
def made(seeds: int) -> list[Record]:
    """Synthetic records of every arm, stem and decays, of so many seeds."""
    return factory.campaign(seeds=seeds)


@cache
def folder(seeds: int) -> TemporaryDirectory[str]:
    """A results folder that holds them."""
    kept = TemporaryDirectory(prefix="smol-bench-store-")
    for record in made(seeds):
        store.write(Path(kept.name), record)
    return kept


class Reader:
    """Reads all records of a folder."""

    def __init__(self, seeds: int) -> None:
        self.results = Path(folder(seeds).name)


class Read(Reader):
    """With every record checked against its schema."""

    def __call__(self) -> None:
        store.read_all(self.results)


class Parse(Reader):
    """The text's syntax alone."""

    def __call__(self) -> None:
        for path in self.results.rglob("*.json"):
            json.loads(path.read_bytes())


class Render(Reader):
    """Reads, too; draws nothing."""

    def __call__(self) -> None:
        card.render(self.results)


class Writer:
    """Writes some records to a folder of its own, anew each time."""

    def __init__(self, seeds: int) -> None:
        self.records = made(seeds)[:WRITTEN]

    def __call__(self) -> None:
        with TemporaryDirectory(prefix="smol-bench-store-") as results:
            for record in self.records:
                self.write(Path(results), record)

    def write(self, results: Path, record: Record) -> None:
        raise NotImplementedError


class Write(Writer):
    """Checked, flushed to disk, renamed."""

    def write(self, results: Path, record: Record) -> None:
        store.write(results, record)


class Dump(Writer):
    """Left to the system's buffers."""

    def write(self, results: Path, record: Record) -> None:
        (results / f"{record.key}.{record.attempt}.json").write_text(record.model_dump_json())


def test_store(turn: Turn, benchmark: BenchmarkFixture) -> None:
    turn.take(benchmark)
