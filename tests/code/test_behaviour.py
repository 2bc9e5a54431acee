"""Behaviour against what is committed, and what a digest lets stand together."""

from __future__ import annotations

import json

import pytest

from harness.code import behaviour, provenance
from harness.code.provenance import software_set
from harness.errors import CheckFailed
from harness.evidence import launches, query
from harness.evidence.sections import sections
from harness.plan import backlog
from harness.records.schema import Code, Record
from tests.report import factory, test_throughput


def test_the_code_behaves_as_is_committed():
    """Fails where behaviour changed and the committed digest did not: if the change is meant,
    `python -m harness.code.behaviour --write` says so in the same commit."""
    known = behaviour.committed()
    assert known is not None
    assert behaviour.differences(known, behaviour.compute()) == []


def test_every_file_of_kernels_is_reached_counted_or_tritons():
    """One that uses Triton would otherwise outdate all records at its next edit."""
    folder = provenance.ROOT / behaviour.KERNELS
    files = {file.name: file.read_text("utf-8") for file in folder.glob("*.py")}
    using = {name for name, text in files.items() if "\nimport triton\n" in text}
    assert using | {"unfit.py"} == behaviour.TRITON  # the table that launching.py reads
    assert not behaviour.TRITON & behaviour.REACHED
    assert set(files) > behaviour.TRITON | behaviour.REACHED


KNOWN = behaviour.Committed(source_digest="of the commit", values={"a": (1.0, 2.0), "b": (0.0,)})


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ({"a": [1.0 + 5e-10, 2.0], "b": [1e-13]}, []),
        ({"a": [1.0 + 5e-9, 2.0], "b": [0.0]}, ["a[0]"]),
        ({"a": [1.0], "b": [0.0]}, ["a: 1 values"]),
        ({"a": [1.0, 2.0], "c": [0.0]}, ["b: gone", "c: new"]),
        ({"a": [1.0, float("nan")], "b": [0.0]}, ["a[1]: nan"]),
    ],
)
def test_differences_are_what_exceeds_round_off(now, found):
    lines = behaviour.differences(KNOWN, now)
    assert len(lines) == len(found)
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True))


@pytest.fixture
def known(monkeypatch, tmp_path):
    monkeypatch.setattr(behaviour, "committed", lambda: KNOWN)
    monkeypatch.setenv("SMOL_CACHE", str(tmp_path))
    return tmp_path


def never() -> behaviour.Values:
    raise AssertionError("nothing needed to be computed")


def test_the_committed_source_is_trusted(known, monkeypatch):
    monkeypatch.setattr(provenance, "source_digest", lambda: "of the commit")
    assert behaviour.of_code(never) == KNOWN.digest


def test_other_source_is_looked_at_once(known, monkeypatch):
    monkeypatch.setattr(provenance, "source_digest", lambda: "a refactor")
    same = {name: list(values) for name, values in KNOWN.values.items()}
    assert behaviour.of_code(lambda: same) == KNOWN.digest
    assert behaviour.of_code(never) == KNOWN.digest
    monkeypatch.setattr(provenance, "source_digest", lambda: "a change")
    assert behaviour.of_code(lambda: {**same, "b": [0.5]}) is None
    assert behaviour.of_code(never) is None


def test_code_whose_trajectories_fail_has_no_known_behaviour(known, monkeypatch):
    monkeypatch.setattr(provenance, "source_digest", lambda: "broken")

    def fails() -> behaviour.Values:
        raise CheckFailed("the reference trajectories failed")

    assert behaviour.of_code(fails) is None


def test_the_file_says_what_was_written_and_keeps_what_is_the_same(monkeypatch, tmp_path):
    file = tmp_path / "behaviour.json"
    monkeypatch.setattr(behaviour, "FILE", file)
    behaviour.committed.cache_clear()
    first = behaviour.write({"a": [0.1 + 0.2, 0.0], "b": [1.0]})
    assert json.loads(file.read_text())["values"]["a"] == [0.1 + 0.2, 0.0]
    assert behaviour.committed() == first
    # Round-off of another CPU: the digest stays.
    assert behaviour.write({"a": [0.3, 1e-14], "b": [1.0]}).digest == first.digest
    changed = behaviour.write({"a": [0.3, 1e-3], "b": [1.0, 2.0], "c": [5.0]})
    assert changed.values == {"a": (0.1 + 0.2, 1e-3), "b": (1.0, 2.0), "c": (5.0,)}
    assert behaviour.write({"a": [0.3]}).values == {"a": (0.1 + 0.2,)}
    behaviour.committed.cache_clear()  # of the file of the test


def coded(records: list[Record], source: str, digest: str | None, seeds: set[int]) -> list[Record]:
    code = Code(source_digest=source, behaviour_digest=digest, commit=None, dirty=None)
    return [r.model_copy(update={"code": code}) if r.seed in seeds else r for r in records]


def test_losses_of_sources_that_behave_alike_stand_together():
    mixed = coded(coded(factory.campaign(), "old", "B", {0, 1}), "new", "B", {2})
    (section,) = sections(mixed)
    assert section.group.complete
    assert section.group.code == "B"
    assert section.others == ()
    (apart,) = sections(coded(coded(factory.campaign(), "old", "B", {0, 1}), "new", "C", {2}))
    assert not apart.group.complete
    assert {r.code.behaviour_digest for r in apart.group.records} == {"B"}
    (unknown,) = sections(coded(coded(factory.campaign(), "old", None, {0, 1}), "new", None, {2}))
    assert not unknown.group.complete


def test_records_older_than_the_digest_go_with_their_source():
    (section,) = sections(coded(coded(factory.campaign(), "same", None, {0}), "same", "B", {1, 2}))
    assert section.group.complete


def test_a_run_of_the_same_behaviour_is_finished_unless_it_was_timed():
    plan, records = factory.make_plan(), factory.campaign()
    one = records[0]

    def sort(records: list[Record], behaves: str | None) -> backlog.Backlog:
        current = query.Current(
            "new", software_set(one.software), lambda run: one.data.manifest_digest,
            lambda: behaves,
        )  # fmt: skip
        return backlog.sort(plan, records, current)

    old = coded(records, "old", "B", {0, 1, 2})
    assert len(sort(old, "B").finished) == len(plan.runs)
    assert len(sort(old, "C").outdated) == len(plan.runs)
    assert len(sort(old, None).outdated) == len(plan.runs)
    launch = test_throughput.launch_of()
    timed = [
        r.model_copy(
            update={"timing": r.timing.model_copy(update={"timed": True, "launch": launch})}
        )
        for r in old
    ]
    assert len(sort(timed, "B").outdated) == len(plan.runs)


def test_a_refactor_keeps_losses_comparable_but_no_speed():
    records = coded(test_throughput.campaign(), "old", "B", {0, 1, 2, 3, 4})
    (section,) = sections(coded(records, "new", "B", {4}))
    reason = launches.compared(section)["blocks"].reason
    assert reason == "not comparable: launches of 2 codes; equal losses are not equal speed"
