"""What the card says of the pipeline is what its commands would do."""

from __future__ import annotations

import shlex

from harness.commands.planned import parse_overrides
from harness.recipe import find
from recipes.about import pretrain_sft as pipeline
from recipes.about.dense_vs_moe import DEVICES, cost
from tests.plan import making
from tests.report.factory import campaign


def test_the_seed_cards_hyperparameters() -> None:
    rows = {row.name: [cell.text for cell in row.cells] for row in pipeline.hyperparameters().rows}
    same = ["4", "12", "2,048", "48", "98,304"]
    assert rows["full/pretrain"] == ["0.003", "0.0003", *same, "1,000"]
    assert rows["full/sft"] == ["0.0003", "3e-05", *same, "500"]


def test_the_quick_test_is_five_updates_a_stage() -> None:
    table = pipeline.commands()
    (command,) = [row.cells[1].text for row in table.rows if row.name == "quick-test"]
    words = shlex.split(command.strip("`"))
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    _, grid = making.grid(find(words[2]), "full", parse_overrides(sets))
    for step in grid[0].steps:
        assert step.config.train.tokens == 5 * step.config.tokens_per_update
    assert grid[0].steps[0].config.data.train_tokens == 1_000_000


def test_costs_are_projected_without_a_record_and_none_without_a_price() -> None:
    table = cost(campaign(), [])
    assert len(table.rows) == 3 * len(DEVICES)
    for row in table.rows:
        updates, rate, basis, hours, dollars, price = (cell.text for cell in row.cells)
        assert basis == "projected"
        assert (dollars, price) == ("n/a", "n/a")
        tokens = int(row.name.partition("@")[2].removesuffix("B")) * 10**9
        # Both are printed to their last digit: the rate to 1 token/s, hours to 0.1 h.
        printed = float(hours.replace(",", "")) * 3600 * float(rate.replace(",", ""))
        assert abs(printed / tokens - 1) < 0.06
        assert abs(float(updates.replace(",", "")) * 98_304 / tokens - 1) < 1e-4
