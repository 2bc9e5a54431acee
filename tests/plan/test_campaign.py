"""Campaigns: what is missing, in which order, within which budget."""

import dataclasses
import json
import subprocess
import sys

import pytest

from harness.code.provenance import software_set
from harness.commands import campaign as door
from harness.errors import RequestError, RunFailed
from harness.evidence.query import Current, Manifests
from harness.machine.hardware import peaks
from harness.machine.prices import price_of
from harness.plan import campaign
from harness.plan.campaign import Target, Unit
from harness.recipe import find
from tests.report import factory

H100 = Target("h100-sxm", "cuda", peaks()["h100-sxm"][1], price_of("h100-sxm"))


def current(manifest_digest: Manifests, source_digest: str = "") -> Current:
    """The code and software of the factory's records."""
    one = factory.campaign("proxy", 1, "cuda")[0]
    return Current(
        source_digest or one.code.source_digest, software_set(one.software), manifest_digest
    )


def unit(recipe: str, seed: int, value: float, seconds: float | None = 60.0) -> Unit:
    return Unit(recipe, "proxy", ("a",), seed, (), value, seconds, "assumed", "why")


def test_the_most_valuable_minute_comes_first_and_seeds_in_their_order():
    found = [unit("x", 1, 0.9), unit("x", 0, 0.1), unit("y", 0, 0.5), unit("z", 0, 0.6, 240.0)]
    slots = campaign.order(found)
    assert [(s.unit.recipe, s.unit.seed) for s in slots] == [
        ("y", 0), ("z", 0), ("x", 0), ("x", 1),
    ]  # fmt: skip
    assert [s.ends for s in slots] == [60.0, 300.0, 360.0, 420.0]


def test_what_does_not_fit_is_passed_over_with_what_must_follow_it():
    found = [unit("x", 0, 9.0, 600.0), unit("x", 1, 0.9), unit("y", 0, 0.5)]
    chosen = campaign.within(campaign.order(found), 100.0)
    assert [(s.unit.recipe, s.ends) for s in chosen] == [("y", 60.0)]


def test_the_seeds_of_a_first_answer_are_bought_together_or_not_at_all():
    def asked(seed: int) -> Unit:
        return dataclasses.replace(unit("x", seed, 9.0), first=seed < 3)

    found = [*map(asked, range(4)), unit("y", 0, 0.5)]
    slots = campaign.order(found)
    names = [(s.unit.recipe, s.unit.seed) for s in campaign.within(slots, 150.0)]
    assert names == [("y", 0)]  # two of three seeds answer nothing
    names = [(s.unit.recipe, s.unit.seed) for s in campaign.within(slots, 200.0)]
    assert names == [("x", 0), ("x", 1), ("x", 2)]
    names = [(s.unit.recipe, s.unit.seed) for s in campaign.within(slots, 250.0)]
    assert names == [("x", 0), ("x", 1), ("x", 2), ("x", 3)]


def test_what_others_need_between_the_seeds_does_not_take_their_minutes():
    first = [dataclasses.replace(unit("x", seed, 9.0 - 5 * seed), first=True) for seed in (0, 1)]
    slots = campaign.order([*first, unit("y", 0, 6.0)])
    assert [s.unit.recipe for s in slots] == ["x", "y", "x"]
    assert [s.unit.recipe for s in campaign.within(slots, 130.0)] == ["x", "x"]


def test_a_rate_comes_first_and_nothing_is_timed_on_a_small_model_of_a_rented_card():
    rate = dataclasses.replace(unit("rate", 0, 0.001), rate=True)
    assert campaign.order([unit("x", 0, 9.0), rate])[0].unit is rate
    found = campaign.units([find("cost"), find("kernels")], [], H100, current)
    assert {u.scale for u in found} == {"full"}
    assert {u.recipe for u in found if u.rate} == {"cost"}


def test_without_a_rate_there_is_no_place_in_a_budget():
    assert campaign.order([unit("x", 0, 1.0, None)]) == []


def test_an_empty_folder_lacks_everything_and_records_of_this_code_count():
    entry = factory.entry()
    empty = campaign.units([entry], [], H100, current)
    seeds = {(u.scale, u.arms, u.seed) for u in empty}
    named, others = ("dense", "moe-active"), ("moe-total", "moe-160m")
    assert seeds == {("proxy", arms, s) for arms in (named, others) for s in range(5)}
    records = factory.campaign("proxy", 2, "cuda")
    left = campaign.units([entry], records, H100, current)
    # The factory plans without a profile; at proxy the profile leaves the split.
    assert {u.seed for u in left} == {2, 3, 4}

    def other(manifest_digest: Manifests) -> Current:
        return current(manifest_digest, "another code")

    assert len(campaign.units([entry], records, H100, other)) == len(empty)
    failed = [factory.broken(record, "oom", "no memory") for record in records]
    assert len(campaign.units([entry], failed, H100, current)) == len(empty)


def test_value_is_what_the_docstring_says():
    entry = factory.entry()
    named = [u for u in campaign.units([entry], [], H100, current) if "dense" in u.arms]
    values = [u.value for u in sorted(named, key=lambda u: u.seed)]
    assert values[:3] == pytest.approx([0.5 / 3] * 3)
    assert values[3:] == pytest.approx([0.5 * (1 - (3 / 4) ** 0.5), 0.5 * (1 - (4 / 5) ** 0.5)])
    # The CPU's losses make the same seeds worth a quarter; the seeds it lacks keep their worth.
    cpu = factory.campaign("proxy", 3, "cpu")
    known = [u for u in campaign.units([entry], cpu, H100, current) if "dense" in u.arms]
    quarters = [
        u.value / v for u, v in zip(sorted(known, key=lambda u: u.seed), values, strict=True)
    ]
    assert quarters == pytest.approx([0.25, 0.25, 0.25, 1.0, 1.0])


def test_measured_rates_replace_assumed_ones():
    entry = factory.entry()
    assumed = campaign.units([entry], [], H100, current)
    measured = campaign.units([entry], factory.campaign("proxy", 1, "cuda"), H100, current)
    assert {u.basis for u in assumed} == {"50% of the roofline, assumed"}
    assert {u.basis for u in measured} == {"measured here"}
    # The factory's rates are a CPU's.
    assert min(u.seconds or 0.0 for u in measured) > max(u.seconds or 0.0 for u in assumed)


def test_launches_that_are_timed_in_blocks_stay_together_and_need_them_all():
    found = campaign.units([find("kernels")], [], H100, current)
    full = [u for u in found if u.scale == "full"]
    assert {len(u.arms) for u in full} == {7}
    # Six pairs, five blocks, and a quarter of a question about models.
    assert [u.value for u in full] == pytest.approx([6**0.5 / 20] * 5)


@pytest.mark.parametrize(("text", "seconds"), [("40m", 2400), ("1h30m", 5400), ("90s", 90)])
def test_budgets(text, seconds):
    assert campaign.seconds_of(text) == seconds


def test_wrong_requests():
    for text in ("", "40", "m", "1d"):
        with pytest.raises(RequestError, match="takes a time such as 40m"):
            campaign.seconds_of(text)
    assert campaign.seconds_of("5$", price_of("h100-sxm")) == pytest.approx(5 / 2.69 * 3600)
    with pytest.raises(RequestError, match="has no price"):
        campaign.seconds_of("$5")
    assert campaign.device_named("h100").name == "h100-sxm"
    for text in ("4090", "RTX 4090", "NVIDIA GeForce RTX 4090"):
        assert campaign.device_named(text).name == "rtx-4090"
    with pytest.raises(RequestError, match="no device ''"):
        campaign.device_named("")
    with pytest.raises(RequestError, match="did you mean 'rtx-4090'"):
        campaign.device_named("rtx4090")


def test_a_dry_run_lists_in_order_with_minutes_and_dollars(tmp_path):
    def smol(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", "campaign", "--results", str(tmp_path), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    done = smol("--dry-run", "--device", "h100", "--budget", "1h", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert listed["device"] == "h100-sxm"
    assert "read 2026-11-09" in listed["price"]
    rows = listed["units"]
    assert sum(r["seconds"] for r in rows if r["within_budget"]) <= 3600.0
    assert all(r["dollars"] == pytest.approx(r["seconds"] / 3600 * 2.69) for r in rows)
    assert {"cost", "dense_vs_moe"} <= {r["recipe"] for r in rows if r["within_budget"]}
    assert list(tmp_path.iterdir()) == []
    assert smol("--dry-run", "--device", "h100").returncode == 0
    wrong = smol("--device", "h100")
    assert wrong.returncode == 2
    assert "is for --dry-run" in wrong.stderr


def test_every_unit_is_tried_once_and_failures_are_told_at_the_end(monkeypatch, tmp_path):
    tried = []
    found = [unit("x", 0, 0.9), unit("bad", 0, 0.5), unit("long", 0, 0.4, 1e6)]

    def attempt(one, device, results):
        tried.append(one.recipe)
        if one.recipe == "bad":
            raise RunFailed("1 of 1 runs did not end well")

    monkeypatch.setattr(door, "_missing", lambda device, results: found)
    monkeypatch.setattr(door, "_run", attempt)
    with pytest.raises(RunFailed, match="1 of 2 units did not end well: bad"):
        door.spend(dataclasses.replace(H100), tmp_path, 600.0)
    assert tried == ["x", "bad"]
