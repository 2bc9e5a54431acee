"""Forecasts: from rates measured here, and kept beside what happened."""

import pytest

from harness.config import replace
from harness.evidence import sections as frame
from harness.machine.hardware import peaks
from harness.plan.forecast import Forecast
from harness.report.views import scope
from tests.report import factory


def test_a_run_takes_its_start_its_updates_and_its_validations():
    records = factory.campaign("smoke", 1)
    made = factory.make_plan("smoke", 1)
    stem = made.runs[0]
    device = records[0].hardware.device_class
    forecast = Forecast(device, None, [r for r in records if r.arm == stem.arm])
    rate, basis = forecast.rate(stem.config)
    assert basis == "measured here"
    tokens = (stem.last_update - stem.first_update) * stem.config.tokens_per_update
    validations = (stem.last_update - stem.first_update) // stem.config.train.eval_every
    tokens += validations * stem.config.data.val_tokens / 3  # forward passes alone
    assert forecast.seconds(stem) == pytest.approx(4.0 + tokens / rate)


def test_without_a_rate_there_is_none():
    made = factory.make_plan("smoke", 1)
    assert Forecast("some CPU", None, []).seconds(made.runs[0]) is None
    guessed = Forecast("some CPU", None, [], guess=True)
    assert guessed.seconds(made.runs[0]) is not None
    assert "a guess" in guessed.rate(made.runs[0].config)[1]


def test_a_rate_in_one_precision_says_nothing_of_another():
    records = factory.campaign("smoke", 1)
    (run, *_) = factory.make_plan("smoke", 1).runs
    other = replace(run.config, {"train.dtype": "fp32"})
    forecast = Forecast(records[0].hardware.device_class, None, records)
    assert forecast.rate(run.config)[1] == "measured here"
    assert forecast.rate(other) == (None, "no rate in fp32 was measured on this device")
    card = Forecast("h100-sxm", peaks()["h100-sxm"][1], [])
    assert card.rate(run.config)[0]
    assert card.rate(other)[0] is None  # its peak is one of bf16


def test_the_card_scores_what_was_forecast():
    records = factory.campaign("smoke", 3)
    assert "forecast" not in rows_of(records)
    kept = [r.model_copy(update={"predicted_seconds": 30.0}) for r in records[:4]]
    taken = sum(r.timing.wall_seconds for r in kept)
    said = rows_of(kept + records[4:])["forecast"]
    assert said == (
        f"2.0 minutes of process time predicted, {taken / 60:,.1f} taken "
        f"({taken / 120:.2f} times as much) by 4 of {len(records)} runs"
    )


def rows_of(records):
    (section,) = frame.sections(records)
    return {row.name: row.cells[0].text for row in scope.tables(section)[0].rows}
