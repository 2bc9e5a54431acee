"""Which records may stand in one table."""

from __future__ import annotations

import pytest

from harness.evidence import endpoints
from harness.evidence import sections as frame
from harness.records.schema import Record
from tests.report.factory import broken, campaign, of, older, swap

NEW = [record.model_copy(update={"attempt": 2}) for record in campaign()]
FP32 = {"dtype": "fp32"}
TORCH = {"python": "3.12.3", "torch": "2.14.0", "numpy": "2.4.0"}


def only(records: list[Record]) -> frame.Section:
    found = frame.sections(records)
    assert len(found) == 1
    return found[0]


def test_one_campaign_is_one_complete_group() -> None:
    section = only(NEW)
    assert section.name == "dense_vs_moe.smoke.cpu"
    assert section.group.complete
    assert section.group.done == section.group.expected == 4 * 3 * 2
    assert section.others == ()
    assert len(section.group.records) == len(NEW)
    assert frame.sections([]) == []


def test_the_newest_complete_group_stands_before_a_newer_incomplete_one() -> None:
    complete = older(NEW)
    begun = [r for r in NEW if r.seed == 0]
    section = only(begun + complete)
    assert section.group.code == "01dc0de001dc0de0"
    assert [g.code for g in section.others] == ["c0de0000c0de0000"]
    assert only(NEW + complete).group.code == "c0de0000c0de0000"


def test_what_diverged_has_ended_and_what_was_killed_has_not() -> None:
    without = [r for r in NEW if (r.arm, r.seed) != ("moe-160m", 1)]
    stem = of(NEW, "moe-160m", 1, "stem")
    diverged = [*without, broken(stem, "diverged", "loss nan at update 7")]
    section = only(older(NEW) + diverged)
    assert section.group.code == "c0de0000c0de0000"
    assert section.group.complete
    assert section.group.done == section.group.expected - 2  # its two horizons
    killed = [*without, broken(stem, "killed", "stopped by SIGTERM")]
    assert only(older(NEW) + killed).group.code == "01dc0de001dc0de0"


def test_without_a_complete_group_the_one_with_most_endpoints_is_shown() -> None:
    more = [r for r in older(NEW) if r.seed < 2]
    section = only([r for r in NEW if r.seed == 0] + more)
    assert section.group.code == "01dc0de001dc0de0"
    equal = only([r for r in NEW if r.seed < 2] + more)
    assert equal.group.code == "c0de0000c0de0000"


def test_more_seeds_than_frozen_are_complete() -> None:
    section = only(campaign(seeds=5))
    assert section.group.complete
    assert section.group.seeds == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("software", {"software": TORCH}),
        ("world_size", {"world_size": 2}),
        ("manifest", {"data": NEW[0].data.model_copy(update={"manifest_digest": "m1"})}),  # type: ignore[union-attr]
        ("records", {"config": NEW[0].config | {"batch": {"micro_batch": 4, "grad_accum": 2}}}),
        ("records", {"config": NEW[0].config | {"train": NEW[0].config["train"] | FP32}}),
    ],
)
def test_groups_mix_nothing(what: str, changes: dict[str, object]) -> None:
    other = older(NEW, "c0de0000c0de0000", **changes)
    section = only(NEW + other)
    assert {r.attempt for r in section.group.records} == {2}
    assert len(section.others) == 1
    assert getattr(section.others[0], what) != getattr(section.group, what)


def test_fields_that_change_no_result_part_no_group() -> None:
    train = NEW[0].config["train"] | {"log_every": 99}
    changed = [
        r.model_copy(update={"config": r.config | {"train": train}}) if r.seed == 0 else r
        for r in NEW
    ]
    assert only(changed).others == ()


def test_an_arm_that_was_redefined_uses_its_newest_values_only() -> None:
    before = [
        r.model_copy(update={"key": f"old-{r.key}", "diff": r.diff | {"model.top_k": 1}})
        for r in older(NEW, "c0de0000c0de0000")
        if r.arm == "moe-active"
    ]
    section = only(NEW + before)
    assert section.group.complete
    assert not any(r.key.startswith("old") for r in section.group.records)
    assert [len(g.records) for g in section.others] == [len(before)]


def test_overrides_and_device_classes_are_sections_of_their_own() -> None:
    changed = campaign(sets={"optim.muon_lr": 0.03})
    hardware = NEW[0].hardware.model_copy(update={"device_class": "Another CPU"})
    elsewhere = [
        r.model_copy(update={"hardware": hardware, "created": "2026-11-24T10:00:00+00:00"})
        for r in NEW
    ]
    gpu = campaign(device="cuda")
    names = [s.name for s in frame.sections(NEW + changed + elsewhere + gpu)]
    assert names[:3] == [
        "dense_vs_moe.smoke.cuda",
        "dense_vs_moe.smoke.cpu",
        "dense_vs_moe.smoke.cpu-2",
    ]
    assert names[3].startswith("dense_vs_moe.smoke.cpu.set-")


def test_a_run_that_died_before_it_had_data_stays_in_its_group() -> None:
    victim = of(NEW, "moe-total", 2, "decay-tokens")
    dead = broken(victim, "killed", "SIGKILL", data=None)
    section = only(swap(NEW, victim, dead))
    assert section.others == ()
    assert dead in section.group.records
    assert not section.group.complete


def test_an_attempt_that_ended_well_is_used_before_a_newer_one_that_did_not() -> None:
    good = of(NEW, "dense", 1, "decay-tokens")
    killed = broken(good, "killed", "SIGKILL").model_copy(update={"attempt": 3})
    section = only([*NEW, killed])
    assert good in section.group.records
    assert killed not in section.group.records
    assert killed in section.group.attempts
    assert section.group.complete


def test_endpoints_of_a_horizon_that_has_moved_are_left_out() -> None:
    good = of(NEW, "dense", 1, "decay-tokens")
    moved = tuple(e.model_copy(update={"update": 60}) for e in good.ends)
    early = good.model_copy(update={"ends": moved, "created": "2026-11-01T00:00:00+00:00"})
    ends = endpoints.ends(swap(NEW, good, early))
    assert {end.seed for end in ends if end.arm == "dense"} == {0, 2}
