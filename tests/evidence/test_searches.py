"""The search's tables, and what a comparison makes of a search: synthetic records throughout."""

from __future__ import annotations

from pathlib import Path

import pytest

import recipes.dense_vs_moe as declared
import recipes.optimizer_field as field
from harness.evidence import searches as tuning
from harness.evidence.searches import settings_of
from harness.evidence.sections import Section, sections
from harness.optim import tuning as settings
from harness.recipe import find
from harness.records import store
from harness.records.schema import Record
from harness.report import views
from harness.report.draw.maps import draw_search
from harness.report.trace import Tracer
from harness.report.views.tuning import grids
from tests.plan import making
from tests.report.factory import broken, campaign, search, swap

ROOT = Path(__file__).parents[2]


def section(records: list[Record], recipe: str = "dense_vs_moe") -> Section:
    return next(s for s in sections(records) if s.recipe == recipe)


def texts(records: list[Record], recipe: str = "dense_vs_moe") -> dict[str, str]:
    one = section(records, recipe)
    return {
        address.removeprefix(f"{one.name}."): cell.text
        for table in views.tables(one)
        for address, cell in table.cells().items()
    }


def verdict(records: list[Record]) -> str:
    return texts(records)["difference/moe-active@tokens/verdict"]


def diverge(records: list[Record], arm: str) -> list[Record]:
    """Both stages of a setting are replaced by a stem that diverged."""
    of_arm = [r for r in records if r.arm == arm]
    stem = next(r for r in of_arm if r.stage == "stem")
    lost = broken(stem, "diverged", "loss nan")
    return [r for r in swap(records, stem, lost) if r.arm != arm or r is lost]


def test_the_grid_the_best_point_and_its_neighbours() -> None:
    found = texts(
        search(best={"dense": (2.0, 0.1), "moe-active": (4.0, 0.0), "moe-total": (0.5, 0.4)}),
        "tune_dense_vs_moe",
    )
    assert found["tuning/dense, wd0.1/x2"] == "6.0000 (1) best"
    assert found["tuning/dense, wd0/x4"] == "6.2000 (1)"  # one doubling and 0.1 of decay away
    assert found["optimum/dense/rate"] == "x2"
    assert found["optimum/dense/weight_decay"] == "wd0.1"
    assert found["optimum/dense/muon_lr"] == "0.04"
    assert found["optimum/dense/optimum"] == "interior"
    assert found["optimum/dense/measured"] == "12 of 12"
    high = "optimum at the edge: x4 is the highest rate searched"
    assert found["optimum/moe-active/optimum"] == high
    assert found["optimum/moe-total/optimum"] == (
        "optimum at the edge: x0.5 is the lowest rate searched and wd0.4 is the highest weight "
        "decay searched"
    )
    assert found["optimum/moe-160m/optimum"] == "interior"  # x1 with weight decay 0
    assert found["scope/tuning/value"] == "this is the search"


def test_the_map_shows_every_loss_the_best_and_what_diverged() -> None:
    records = diverge(search(best={"dense": (2.0, 0.1)}), "dense-x4-wd0.4")
    data = grids(section(records, "tune_dense_vs_moe"))
    assert data is not None
    dense = data.grids[0]
    assert (data.rates, dense.decays) == (("x0.5", "x1", "x2", "x4"), ("wd0", "wd0.1", "wd0.4"))
    assert dense.arm == "dense"
    assert dense.losses[1][2] == pytest.approx(6.0)
    assert dense.best == (1, 2)
    assert (dense.losses[2][3], dense.diverged) == (None, ((2, 3),))
    first = draw_search(data)
    assert first.startswith(b"\x89PNG")
    assert first == draw_search(data)
    partial = [r for r in search() if r.arm == "dense-x1-wd0"]
    lone = grids(section(partial, "tune_dense_vs_moe"))
    assert lone is not None
    assert lone.grids[0].best is None
    assert draw_search(lone).startswith(b"\x89PNG")


def test_verdicts_follow_the_search() -> None:
    runs = campaign()
    assert verdict(runs) == "not comparable: untuned"
    assert verdict(runs + search()) == "better (preliminary, 3 pairs)"
    assert verdict(runs + search(best={"dense": (2.0, 0.1)})) == (
        "not comparable: not the search's optimum (dense uses x1, wd0, found x2, wd0.1)"
    )
    # An arm outside the question changes nothing.
    assert verdict(runs + search(best={"moe-total": (4.0, 0.0)})).startswith("better")
    edge = [r for r in search() if r.arm_values["rate"] in ("x1", "x2")]
    arms = tuple(arm for arm in edge[0].question.arms if "-x1-" in arm or "-x2-" in arm)
    asked = edge[0].question.model_copy(update={"arms": arms})
    edge = [r.model_copy(update={"question": asked}) for r in edge]
    assert verdict(runs + edge) == (
        "not comparable: optimum at the edge (dense: x1 is the lowest rate searched; "
        "moe-active: x1 is the lowest rate searched)"
    )


def rechecked(best: tuple[float, float] = (1.0, 0.0), decay: str = "wd0") -> list[Record]:
    """Two arms of a search once more, at twice its length and three rates about what it found."""
    found = []
    for record in search(best={"dense": best, "moe-active": best}):
        at = record.arm_values
        if at["model"] in ("dense", "moe-active") and at["decay"] == decay and at["rate"] != "x4":
            found.append(record)
    arms = tuple(dict.fromkeys(record.arm for record in found))
    asked = found[0].question.model_copy(update={"arms": arms, "tuned_by": "tune_dense_vs_moe"})
    return [
        r.model_copy(update={"recipe": "recheck", "question": asked, "key": f"{r.key[:-1]}f"})
        for r in found
    ]


def test_a_search_about_a_wider_ones_optimum_has_the_last_word_on_what_it_varied() -> None:
    runs = campaign(asked={"tuned_by": "recheck"})
    assert verdict(runs + search()) == "not comparable: untuned"  # the wider one alone does not do
    every = [*runs, *search(), *rechecked()]
    assert verdict(every).startswith("better")
    said = texts(every)["scope/tuning/value"]
    assert said.startswith("by recheck.smoke.cpu (")
    assert " and tune_dense_vs_moe.smoke.cpu (" in said
    # An arm that the nearer one leaves out is tuned by the wider; one that it has is not.
    assert "moe-total x1, wd0" in said
    wide = search(best={"dense": (2.0, 0.0), "moe-total": (2.0, 0.0)})
    said = texts([*runs, *wide, *rechecked()])["scope/tuning/value"]
    assert "not the search's optimum: moe-total uses x1, wd0, found x2, wd0" in said
    assert "tuned: dense x1, wd0" in said
    assert verdict([*runs, *search(), *rechecked(best=(2.0, 0.0))]) == (
        "not comparable: not the search's optimum (dense uses x1, wd0, found x2, wd0; "
        "moe-active uses x1, wd0, found x2, wd0)"
    )


def test_the_only_value_of_an_axis_is_an_edge_unless_the_wider_search_found_it() -> None:
    wide = search(best={"dense": (1.0, 0.1), "moe-active": (1.0, 0.1)})
    near = rechecked(best=(1.0, 0.1), decay="wd0.1")
    inside = next(s for s in sections([*wide, *near]) if s.recipe == "recheck")
    grid = tuning.searches(inside)["dense"]
    assert tuning.summary(inside) == (
        "this is the search, about what tune_dense_vs_moe.smoke.cpu found"
    )
    assert grid.edges == ()
    # Rates by its own runs, decays by the wider one's.
    assert [len(three) for three in grid.neighbours] == [3, 3]
    elsewhere = next(s for s in sections([*search(), *near]) if s.recipe == "recheck")
    grid = tuning.searches(elsewhere)["dense"]
    assert grid.edges == (
        "wd0.1 is the highest weight decay searched", "wd0.1 is the lowest weight decay searched",
    )  # fmt: skip
    assert len(grid.neighbours) == 1


def test_a_setting_of_another_arm_whose_name_goes_on_is_none_of_this_one() -> None:
    every = search()
    arms = (*every[0].question.arms, "dense-small-x1-wd0", "dense-x8-wd0")
    asked = every[0].question.model_copy(update={"arms": arms})
    group = [r.model_copy(update={"question": asked}) for r in every]
    found = tuning.searches(section(group, "tune_dense_vs_moe"))
    assert (found["dense"].measured, found["dense"].expected) == (12, 13)  # x8 is missing


def test_axes_of_ones_own_that_are_called_rate_and_decay_are_no_search() -> None:
    def named(values: dict[str, str]) -> list[Record]:
        return [r.model_copy(update={"arm_values": r.arm_values | values}) for r in search()]

    for values in ({"rate": "high"}, {"decay": "none"}, {"rate": "low", "form": "x1"}):
        found = texts(named(values), "tune_dense_vs_moe")
        assert found["scope/tuning/value"] == "none: another setting may suit an arm better"


def formed(better: float) -> list[Record]:
    """A search in two forms, of which `b99` is so much better everywhere."""
    longer = []
    for record in search(best={"dense": (2.0, 0.1)}):
        ends = tuple(
            e.model_copy(update={"val_loss": e.val_loss - better - 0.01 * e.val_loss})
            for e in record.ends
        )
        optim = record.config["optim"] | {"adamw_betas": [0.9, 0.99]}
        changes = {
            "arm": f"{record.arm}-b99", "arm_values": record.arm_values | {"form": "b99"},
            "config": record.config | {"optim": optim}, "ends": ends,
            "diff": record.diff | {"optim.adamw_betas": [0.9, 0.99]}, "key": f"{record.key[:-1]}f",
        }  # fmt: skip
        longer.append(record.model_copy(update=changes))
    plain = [
        r.model_copy(update={"arm_values": r.arm_values | {"form": "plain"}})
        for r in search(best={"dense": (2.0, 0.1)})
    ]
    arms = tuple(dict.fromkeys(r.arm for r in [*plain, *longer]))
    asked = plain[0].question.model_copy(update={"arms": arms})
    return [r.model_copy(update={"question": asked}) for r in [*plain, *longer]]


def test_what_is_tried_beside_rate_and_decay_is_part_of_a_setting() -> None:
    found = tuning.searches(section(formed(0.1), "tune_dense_vs_moe"))["dense"]
    assert (found.measured, found.expected) == (24, 24)
    best = found.best
    assert best is not None
    assert best.name == "x2, wd0.1, b99"
    # Its neighbours are of its own form; those of the other are 0.1 and more away.
    assert all(three[1] == best.loss for three in found.neighbours)
    assert max(value - best.loss for three in found.neighbours for value in three) < 0.35
    rows = texts(formed(0.1), "tune_dense_vs_moe")
    assert rows["tuning/dense, wd0.1, b99/x2"].endswith("best")
    assert not rows["tuning/dense, wd0.1, plain/x2"].endswith("best")
    assert verdict(campaign() + formed(0.1)) == (
        "not comparable: not the search's optimum (dense uses x1, wd0, plain, found x2, wd0.1, "
        "b99; moe-active uses x1, wd0, plain, found x1, wd0, b99)"
    )
    # Where the form that the arms use is the best, it is as if no other had been tried.
    assert verdict(campaign() + formed(-0.2)) == (
        "not comparable: not the search's optimum (dense uses x1, wd0, plain, found x2, wd0.1, "
        "plain)"
    )


def test_an_incomplete_search_tunes_nothing_and_a_diverged_setting_is_a_result() -> None:
    runs, found = campaign(), search()
    without = [r for r in found if r.arm != "dense-x4-wd0.4"]
    assert verdict(runs + without) == (
        "not comparable: untuned (tune_dense_vs_moe measured 11 of 12 for dense)"
    )
    diverged = diverge(found, "dense-x4-wd0.4")
    assert verdict(runs + diverged).startswith("better")
    shown = texts(diverged, "tune_dense_vs_moe")
    assert shown["tuning/dense, wd0.4/x4"] == "diverged"
    assert shown["optimum/dense/measured"] == "12 of 12"


def test_a_search_of_other_settings_or_elsewhere_tunes_nothing() -> None:
    runs = campaign()
    other = [
        r.model_copy(update={"config": r.config | {"batch": {"micro_batch": 4, "grad_accum": 2}}})
        for r in search()
    ]
    assert "untuned (tune_dense_vs_moe ran dense with other batch.micro_batch" in verdict(
        runs + other
    )
    elsewhere = runs[0].hardware.model_copy(update={"device_class": "Another CPU"})
    assert verdict(runs + search(hardware=elsewhere)) == "not comparable: untuned"
    assert verdict(runs + search("proxy")) == "not comparable: untuned"


def test_the_scope_says_what_is_used_and_its_trace_shows_the_searchs_records(
    tmp_path: Path,
) -> None:
    records = campaign() + search(best={"moe-total": (2.0, 0.0)})
    assert texts(records)["scope/tuning/value"] == (
        "by tune_dense_vs_moe.smoke.cpu (61,440 tokens, seed 1000): tuned: dense x1, wd0; "
        "moe-active x1, wd0; moe-160m x1, wd0. not the search's optimum: moe-total uses x1, wd0, "
        "found x2, wd0"
    )
    assert texts(campaign())["scope/tuning/value"].startswith("none")
    for record in records:
        store.write(tmp_path, record)
    answer = Tracer(tmp_path).trace("dense_vs_moe.smoke.cpu.scope/tuning/value")
    assert "tune_dense_vs_moe/dense-x1-wd0/1000/decay-tokens" in answer


def test_settings_enter_the_arms_as_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same models with the settings declared, the axis naming what it touches."""
    before = making.grid(find("dense_vs_moe"), "smoke", {})
    table = {arm.name: settings.Settings(2.0, 0.1) for arm in before[1]}
    monkeypatch.setattr(
        declared, "TUNED", {"smoke": table | {"dense": settings.Settings(1.0, 0.0)}}
    )
    recipe, grid = making.grid(find("dense_vs_moe"), "smoke", {})
    assert set(settings.FIELDS) <= set(recipe.axes[0].fields)
    for old, new in zip(before[1], grid, strict=True):
        assert old.config.model == new.config.model
        rates = [old.config.optim.muon_lr, old.config.optim.adamw_lr]
        factor, decay = (1.0, 0.0) if new.name == "dense" else (2.0, 0.1)
        assert [new.config.optim.muon_lr, new.config.optim.adamw_lr] == [factor * r for r in rates]
        assert new.config.optim.muon_weight_decay == decay
        assert new.config.optim.adamw_weight_decay == decay
    # Other scales stay as they were.
    assert "optim.muon_lr" not in making.grid(find("dense_vs_moe"), "proxy", {})[0].axes[0].fields


def test_searches_and_comparison_share_no_seed_but_their_models() -> None:
    names = ("dense_vs_moe", "tune_dense_vs_moe", "recheck_dense_vs_moe")
    made = {
        name: making.make(
            find(name), "proxy", "cpu", tokenizer_digest=lambda _: "t", device_class="d"
        )
        for name in names
    }
    seeds = [{run.seed for run in plan.runs} for plan in made.values()]
    assert len(set.union(*seeds)) == sum(map(len, seeds))
    arms = {a.name: a.config.model for a in made["dense_vs_moe"].arms}
    for name in names[1:]:
        searched = {a.values["model"]: a.config.model for a in made[name].arms}
        assert {kind: searched[kind] for kind in arms if kind in searched}.items() <= arms.items()
        assert set(searched) >= {"dense", "moe-active"}


@pytest.mark.skipif(not declared.TUNED, reason="no scale of dense_vs_moe is tuned yet")
def test_the_declared_settings_are_what_the_committed_searches_found() -> None:
    committed = [s for s in sections(store.read_all(ROOT / "results")) if s.scale in declared.TUNED]
    for scale, table in declared.TUNED.items():
        by = {s.recipe: tuning.searches(s) for s in committed if s.scale == scale}
        for arm, used in table.items():
            best = (by[declared.RECHECK].get(arm) or by[declared.SEARCH][arm]).best
            assert best is not None
            assert (best.rate, best.decay) == (f"x{used.rate:g}", f"wd{used.decay:g}")


def test_the_field_runs_with_what_the_committed_search_found() -> None:
    committed = [s for s in sections(store.read_all(ROOT / "results")) if s.recipe == field.SEARCH]
    found = {s.scale: tuning.searches(s) for s in committed if s.scale in field.TUNED}
    assert set(found) == set(field.TUNED)
    for scale, table in field.TUNED.items():
        assert set(table) == set(found[scale]) == set(field.FIELD)
        for arm, (rate, share) in table.items():
            best = found[scale][arm].best
            assert best is not None
            assert (best.rate, best.decay) == (f"x{rate:g}", f"share{share:g}"), arm


def test_where_the_settings_are_the_question_no_search_is_asked_for() -> None:
    """Two arms of one model that differ in their learning rates alone."""
    pair = ("dense", "moe-active")
    runs = [r for r in campaign() if r.arm in pair]
    base = next(r.config for r in runs if r.arm == "moe-active")
    faster = base | {"optim": base["optim"] | {"muon_lr": 0.04}}
    asked = runs[0].question.model_copy(update={"arms": pair})
    same = [
        r.model_copy(
            update={
                "question": asked,
                "config": faster if r.arm == "moe-active" else base,
                "diff": {"optim.muon_lr": 0.04} if r.arm == "moe-active" else {},
            }
        )
        for r in runs
    ]
    assert verdict(same) == "better (preliminary, 3 pairs)"


def test_a_rate_that_an_optimizer_does_not_read_is_none_of_its_settings() -> None:
    rates = {"optim.muon_lr": 0.02, "optim.adamw_lr": 0.003}
    assert settings_of({"optim.name": "adamw", **rates}) == {"optim.adamw_lr": 0.003}
    assert settings_of({"optim.name": "muon", **rates}) == rates
    assert settings_of({"optim.name": "torch-muon", **rates}) == rates
