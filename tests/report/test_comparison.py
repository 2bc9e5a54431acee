"""Tables against numbers worked out here, and the verdicts that records earn or do not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.evidence.differences import differences
from harness.evidence.sections import sections
from harness.recipe import LOOKS
from harness.records.schema import Code, Record
from harness.records.store import path_of
from harness.report import views
from harness.report.table import Cell, Column, Row, Table, markdown
from tests.report import factory
from tests.report.factory import (
    VAL_BYTES,
    VAL_TOKENS,
    broken,
    campaign,
    of,
    search,
    swap,
    with_losses,
)

FP32 = {"train": factory.make_plan().runs[0].config.train.model_dump() | {"dtype": "fp32"}}
LOSSES = {
    "dense": [6.00, 6.03, 6.01],
    "moe-active": [5.90, 5.94, 5.90],
    "moe-total": [6.05, 6.08, 6.05],
    "moe-160m": [6.20, 6.23, 6.22],
}


def cells(records: list[Record]) -> dict[str, Cell]:
    (section,) = (s for s in sections(records) if s.recipe == "dense_vs_moe")
    found: dict[str, Cell] = {}
    for table in views.tables(section):
        found |= {a.removeprefix(f"{section.name}."): c for a, c in table.cells().items()}
    return found


def test_the_loss_table_by_hand() -> None:
    table = cells(with_losses(campaign(), LOSSES))
    dense = table["loss/dense/val_loss@tokens"]
    # mean 6.0133, sd 0.015275, t(0.975; 2) 4.302653: half-width 4.302653 x 0.015275 / sqrt 3
    assert dense.text == "6.0133 ± 0.0379 (3)"
    assert dense.n == 3
    assert dense.interval == pytest.approx((5.975388, 6.051279), abs=1e-6)
    assert table["loss/dense/val_loss@active-flops"].text == dense.text
    bits = 6.01333333 * VAL_TOKENS / math.log(2) / VAL_BYTES
    assert table["loss/dense/bits_per_byte@tokens"].text.startswith(f"{bits:.4f} ±")
    assert table["loss/dense/below_unigram@tokens"].text == "0.7467 ± 0.0379 (3)"
    assert table["loss/unigram/val_loss@tokens"].text == "6.7600"
    assert table["loss/unigram/total_parameters"].text == "–"
    active = of(campaign(), "moe-active", 0, "stem").active_parameters
    assert table["loss/moe-active/active_parameters"].text == f"{active / 1e6:.2f}"


def test_the_difference_is_paired_by_seed() -> None:
    table = cells(with_losses(tuned(), LOSSES))
    cell = table["difference/moe-active@tokens/difference"]
    expected = stats.ttest_rel(LOSSES["moe-active"], LOSSES["dense"]).confidence_interval()
    assert cell.text == "-0.1000 ± 0.0248 (3)"
    assert cell.interval == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert table["difference/moe-active@tokens/df"].text == "2"
    noise = table["loss/dense/noise_floor@tokens"]
    assert noise.text == f"{np.std(LOSSES['dense'], ddof=1):.4f}"
    apart = np.subtract(LOSSES["moe-active"], LOSSES["dense"])
    spread = table["difference/moe-active@tokens/paired_sd"]
    assert spread.text == f"{np.std(apart, ddof=1):.4f}"
    untuned = cells(with_losses(campaign(), LOSSES))
    assert untuned["difference/moe-active@tokens/verdict"].text == "not comparable: untuned"
    for row in ("moe-active@tokens", "moe-total@tokens", "moe-active@active-flops"):
        for column in ("difference", "paired_sd", "detectable", "worth", "outlay", "margin"):
            assert untuned[f"difference/{row}/{column}"].text == "–"
    assert table["difference/moe-total@tokens/verdict"].text == "exploratory, no verdict"
    scope = table["difference/moe-active@tokens/scope"].text
    run = of(campaign(), "moe-active", 0, "stem")
    assert scope == (
        f"smoke, {run.total_parameters / 1e6:.2f}M ({run.active_parameters / 1e6:.2f}M active) "
        f"parameters, {122_880 / run.active_parameters:.2g} tokens/active parameter, cpu"
    )


def verdict(records: list[Record]) -> str:
    return cells(records)["difference/moe-active@tokens/verdict"].text


def tuned(seeds: int = 3, scale: str = "smoke", **options: Any) -> list[Record]:
    return campaign(seeds=seeds, scale=scale, **options) + search(scale)


def test_verdicts_of_a_tuned_comparison() -> None:
    assert verdict(with_losses(tuned(), LOSSES)) == "better (preliminary, 3 pairs)"
    five = tuned(seeds=5, scale="proxy")
    same = cells(with_losses(five, {"dense": [6.0] * 5, "moe-active": [6.0] * 5}))
    size = same["difference/moe-active@tokens/margin"].text
    said = same["difference/moe-active@tokens/verdict"].text
    assert said == f"equivalent within ±{size}"
    noisy = {"dense": [6.0, 6.1, 6.2, 6.1, 6.0], "moe-active": [6.1, 6.1, 6.3, 6.1, 6.2]}
    assert verdict(with_losses(five, noisy)) == "no detectable difference"
    clear = {"dense": [6.0, 6.1, 6.2, 6.1, 6.0], "moe-active": [6.5, 6.61, 6.7, 6.6, 6.5]}
    assert verdict(with_losses(five, clear)) == "worse"


def test_documents_that_disagree_widen_the_interval_and_have_their_share_printed() -> None:
    losses = {"dense": [6.0, 6.1, 6.2, 6.1, 6.0], "moe-active": [5.9, 5.99, 6.1, 6.0, 5.9]}
    five = with_losses(tuned(seeds=5, scale="proxy"), losses)
    row = "difference/moe-active@tokens"
    alone = cells(five)
    assert alone[f"{row}/noise_of"].text == "seeds alone"
    both = cells(factory.with_documents(five, {"moe-active": 0.9}))
    assert both[f"{row}/noise_of"].text == "seeds 0 %, documents 100 %"
    assert both[f"{row}/verdict"].text == "no detectable difference"
    mean, _, half, _ = both[f"{row}/difference"].text.split(" ")
    assert alone[f"{row}/difference"].text.startswith(f"{mean} ± ")
    assert float(half) > 0.5
    # Documents alike in both arms are as over seeds, to the share of what cells add.
    same = cells(factory.with_documents(five, {"moe-active": 0.9, "dense": 0.9}))
    assert same[f"{row}/difference"].text == alone[f"{row}/difference"].text
    assert same[f"{row}/noise_of"].text == "seeds 100 %, documents 0 %"


LUCK = (1.0, -1.0, 0.6, -0.7, 0.2, -0.1, 0.8, -0.8)


@pytest.mark.parametrize(
    ("effect", "seeds", "said", "pairs"),
    [
        (-100.0, 3, "better (preliminary, 3 pairs)", 3),
        (-5.0, 3, "not comparable: the sequential design has not stopped after 3 of at most", 0),
        # What stopped after four pairs is judged on them, whatever more were run.
        (0.0, 6, "no detectable difference (preliminary, 4 pairs)", 4),
        (-2.5, 8, "better", 5),
    ],
)
def test_a_sequential_design_is_judged_at_its_stop_and_not_before(
    effect: float, seeds: int, said: str, pairs: int
) -> None:
    records = campaign(seeds=seeds, asked={"seeds": 8, "looks": LOOKS})
    losses = [6.0 + 0.1 * (luck + effect) for luck in LUCK]
    found = [*with_losses(records, {"dense": [6.0] * 8, "moe-active": losses}), *search()]
    table = cells(found)
    assert table["difference/moe-active@tokens/verdict"].text.startswith(said)
    shown = table["difference/moe-active@tokens/difference"]
    assert shown.text.endswith(f"({pairs})") if pairs else shown.text == "–"
    section = next(s for s in sections(found) if s.recipe == "dense_vs_moe")
    assert section.group.complete == bool(pairs)
    if pairs == 5:
        mean, half = np.mean(losses[:5]) - 6.0, stats.sem(losses[:5]) * stats.t.isf(0.0071 / 2, 4)
        assert shown.interval == pytest.approx((mean - half, mean + half), abs=1e-9)


def test_other_seeds_than_frozen_earn_no_verdict() -> None:
    assert verdict(tuned(seeds=2)) == ("not comparable: 2 of 3 pairs (both arms without seeds 2)")
    assert verdict(tuned(seeds=4)) == (
        "not comparable: exploratory, 4 seeds where the recipe froze 3"
    )


def test_overrides_earn_no_verdict() -> None:
    text = verdict(tuned(sets={"optim.muon_lr": 0.03}))
    assert text == (
        "not comparable: exploratory, --set optim.muon_lr=0.03; not the search's optimum (dense "
        "uses muon_lr 0.03, found x1, wd0; moe-active uses muon_lr 0.03, found x1, wd0)"
    )


def test_survivors_alone_are_not_compared() -> None:
    records = tuned(seeds=5, scale="proxy")
    lost = of(records, "moe-active", 3, "decay-tokens")
    records = swap(records, lost, broken(lost, "diverged", "loss is not finite"))
    assert verdict(records) == "not comparable: 4 of 5 pairs (moe-active seed 3 diverged)"
    table = cells(records)
    assert table["loss/moe-active/val_loss@tokens"].n == 4
    assert table["runs/moe-active/diverged"].text == "1"
    assert table["runs/moe-active/finished"].text == "4 of 5"
    failed = table["failed/moe-active/3/decay-tokens.1/error"]
    assert failed.text == "loss is not finite"
    assert failed.records == (path_of(lost),)


def test_unequal_budgets_are_no_horizon() -> None:
    records = [
        r
        if r.arm != "moe-active"
        else r.model_copy(
            update={
                "ends": tuple(
                    e.model_copy(update={"tokens": e.tokens * 2, "flops": e.flops * 2})
                    for e in r.ends
                )
            }
        )
        for r in tuned()
    ]
    assert "unequal budgets" in verdict(records)


def test_several_primary_pairs_share_their_error() -> None:
    pairs = (("dense", "moe-active"), ("dense", "moe-total"), ("moe-active", "moe-total"))
    five = {"dense": [6.0, 6.1, 6.2, 6.1, 6.0], "moe-active": [5.9, 6.08, 6.14, 5.99, 5.99]}
    one = with_losses(tuned(seeds=5, scale="proxy"), five)
    assert verdict(one) == "better"
    three = [
        r.model_copy(update={"question": r.question.model_copy(update={"pairs": pairs})})
        for r in with_losses(one, {"moe-total": [6.05, 6.06, 6.2, 6.1, 6.01]})
    ]
    section = next(s for s in sections(three) if s.recipe == "dense_vs_moe")
    rows = {d.name: d for d in differences(section) if d.horizon == "tokens"}
    assert set(rows) == {
        "moe-active@tokens",
        "moe-total-vs-dense@tokens",
        "moe-total-vs-moe-active@tokens",
        "moe-160m@tokens",
    }
    p_value = stats.ttest_rel(five["dense"], five["moe-active"]).pvalue  # 0.041: alone, below 5 %
    assert rows["moe-active@tokens"].value.p_value == pytest.approx(p_value, abs=1e-9)
    assert verdict(three) == "no detectable difference"  # Holm: the smallest of three p-values x 3
    low, high = rows["moe-active@tokens"].value.interval
    assert rows["moe-active@tokens"].value.level == pytest.approx(1 - 0.05 / 3)
    assert low < 0.0 < high  # at the verdict's level; alone, at 95 %, it leaves zero out


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"software": {"python": "3.12.3", "torch": "2.14.0", "numpy": "2.4.0"}},
            "other software (3.12.3 2.14.0 2.4.0 against 3.12.3 2.13.0 2.4.0)",
        ),
        (
            {"code": Code(source_digest="b", behaviour_digest="b", commit=None, dirty=None)},
            "other code",
        ),
    ],
)
def test_runs_of_two_software_sets_or_behaviours_are_not_comparable_and_it_says_why(
    change: dict[str, Any], why: str
) -> None:
    records = [
        r.model_copy(update={**change, "created": "2026-11-20T10:00:00+00:00"})
        if r.seed == 2
        else r
        for r in tuned()
    ]
    text = verdict(records)
    assert text.startswith("not comparable: 2 of 3 pairs (both arms without seeds 2); ")
    assert f"not mixed with runs of {why}" in text


def test_the_noise_floor_recipe_stands_beside_every_difference_of_its_scale() -> None:
    plain = cells(campaign())
    assert not any("noise_recipe" in address for address in plain)
    made = factory._plan_of("noise_floor", "smoke")
    asked = factory.question(made)
    noise = [factory.record(made, run, asked) for run in made.runs]
    ends = [r.ends[0].val_loss for r in noise if r.ends]
    assert len(ends) == 8
    table = cells([*campaign(), *noise])
    shown = table["difference/moe-active@tokens/noise_recipe"]
    assert shown.text == f"{np.std(ends, ddof=1):.4f} (dense, 8 seeds, 81.9k)"
    assert set(shown.records) == {path_of(r) for r in noise if r.ends}
    # Of another precision it is another spread.
    wide = [r.model_copy(update={"config": r.config | FP32}) for r in noise]
    assert not any("noise_recipe" in address for address in cells([*campaign(), *wide]))
    rows = {a.split("/")[1] for a in table if a.startswith("difference/") and a.count("/") == 2}
    assert all(table[f"difference/{row}/noise_recipe"] == shown for row in rows)


def test_costs_are_described_and_marked() -> None:
    table = cells(campaign())
    assert table["cost/dense/tokens_per_second"].text == "9,000 [9,000, 9,000], not timed"
    # 3.0 s of set-up and 2.0 s that the first update took beyond the median.
    assert table["cost/dense/fixed_seconds"].text == "5.0 [5.0, 5.0]"
    assert table["cost/dense/fixed_seconds"].n == 3
    assert table["cost/dense/peak_memory"].text == "0.70 rss"
    assert table["cost/dense/tokens@tokens"].text == "122,880"
    assert table["cost/dense/minutes@tokens"].text.endswith(", not timed")
    # A CPU yields neither: the cost table says nothing, the view of dollars why.
    assert not any("mfu" in a or "dollar" in a for a in table if a.startswith("cost/"))


SECONDS = ("minutes@tokens", "tokens_per_second", "fixed_seconds", "peak_memory")
"""Columns of the costs that are of a machine."""


def test_two_kinds_of_machine_share_no_seconds_and_a_loss_between_them_says_so() -> None:
    kind = f"{campaign()[0].hardware.cpu} family 26 model"

    def on(record: Record, model: str) -> Record:
        cpu = f"{kind} {model}"
        hardware = record.hardware.model_copy(update={"cpu": cpu})
        return record.model_copy(update={"hardware": hardware})

    # dense on model 2; moe-active on model 1; moe-total's decays on model 1, its stems on 2.
    records = [
        on(r, "1" if r.arm == "moe-active" or (r.arm == "moe-total" and r.parent) else "2")
        for r in campaign()
    ]
    table = cells(records)
    assert table["scope/machines/value"].text.startswith(f"{kind} 2: 18 runs of dense")
    assert f"{kind} 1: 12 runs of moe-active" in table["scope/machines/value"].text
    for column in SECONDS:
        assert table[f"cost/moe-active/{column}"].text == "on another kind of machine"
        assert table[f"cost-2/moe-active/{column}"].text[0].isdigit()
        assert f"cost-2/dense/{column}" not in table
    assert table["cost/moe-active/tokens@tokens"].text == "122,880"
    # Seconds of a stem on one kind and a decay on another are no seconds of either.
    assert table["cost/moe-total/minutes@tokens"].text == "not measured"
    by_path = {path_of(r): r for r in records}
    for address, cell in table.items():
        if address.startswith("cost") and address.endswith(SECONDS):
            kinds = {by_path[path].hardware.cpu for path in cell.records}
            assert len(kinds) <= 1 or cell.text == "on another kind of machine"
    scope = table["difference/moe-active@tokens/scope"].text
    assert scope.endswith(f", cpu, across machines: moe-active on {kind} 1, dense on {kind} 2")
    assert "across machines" not in table["difference/moe-160m@tokens/scope"].text


def test_nothing_measured_is_said() -> None:
    stem = of(campaign(), "dense", 0, "stem")
    table = cells([broken(stem, "oom", "out of memory", timing=None, memory=None, flops=None)])
    assert table["loss/dense/val_loss@tokens"].text == "not measured"
    assert table["loss/moe-active/total_parameters"].text == "not measured"
    assert table["cost/dense/tokens_per_second"].text == "not measured"
    assert table["difference/moe-active@tokens/difference"].text == "not measured"
    assert table["difference/moe-active@tokens/verdict"].text.startswith("not comparable: 0 of 3")
    assert table["runs/dense/oom"].text == "1"
    assert table["scope/horizon-tokens/value"].text == "not reached yet"


def test_markdown_is_aligned_and_cannot_be_broken_by_an_error_text() -> None:
    evil = Cell("a | b\n<!-- view: x end -->", ("r",), "m", "a", 1)
    number = Cell("1.5", ("r",), "m", "a", 1)
    table = Table(
        "x.y", "Caption.", "arm", (Column("loss", "nats"), Column("error", left=True)),
        (Row("one", (number, evil)), Row("twelve", (number, number))), ("a note",), "smol run x",
    )  # fmt: skip
    assert markdown(table) == (
        "<!-- view: x.y begin -->\n"
        "**`x.y`** Caption.\n"
        "\n"
        "| arm    | loss (nats) | error                          |\n"
        "| ------ | ----------: | ------------------------------ |\n"
        "| one    |         1.5 | a \\| b &lt;!-- view: x end --> |\n"
        "| twelve |         1.5 | 1.5                            |\n"
        "\n"
        "- a note\n"
        "\n"
        "Reproduce: `smol run x`\n"
        "<!-- view: x.y end -->"
    )
    with pytest.raises(ValueError, match="stands twice"):
        Table("x", "", "", (Column("a"),), (Row("r", (number,)), Row("r", (number,))))
    with pytest.raises(ValueError, match="1 cells"):
        Table("x", "", "", (Column("a"), Column("b")), (Row("r", (number,)),))
