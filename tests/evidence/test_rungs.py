"""What a ladder's numbers are said to mean; and the ledger of forecasts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import RequestError
from harness.evidence import rungs
from harness.records import ledger
from harness.report import ladder as page
from harness.stats.ladder import Rung
from tests.stats import ladders as made

RATES = (0.01, 0.01)


def _found(near: float, far: float, count: int = 4, bent: float = 0.0) -> list[rungs.Climbed]:
    theta = made.crossed(made.laws(1, 3), near, far)
    of = made.made(theta, 9, sd=0.004, bent=bent)
    return [
        rungs.Climbed(f"rung{i + 1}", ("a", "b"), rung, (0, 1), (f"r{i}",), "2026-01-02", RATES)
        for i, rung in enumerate(of.rungs[:count])
    ]


def test_a_gain_is_said_with_its_interval_and_no_gain_cannot_be_told() -> None:
    better = rungs.say(_found(-0.4, -0.4), made.TARGET)
    assert better.verdict.startswith("b needs 0.")
    assert better.outer is not None
    assert better.multiplier == pytest.approx(np.exp(-0.4), rel=0.1)
    assert better.outer[0] < better.multiplier < better.outer[1] < 0.8
    assert "cannot tell" in rungs.say(_found(0.0, 0.0), made.TARGET).verdict
    crossing = rungs.say(_found(-0.3, 0.5), made.TARGET).verdict
    assert "a crossing: b is better at the smallest rung and worse there" in crossing
    assert "does not fit" in rungs.say(_found(-0.4, -0.4, bent=0.3), made.TARGET).verdict
    assert "3 rungs at least" in rungs.say(_found(0, 0, count=1), made.TARGET).verdict


def test_the_ledger_scores_a_forecast_and_sees_what_was_changed(tmp_path: Path) -> None:
    found = _found(-0.4, -0.4)
    top = found[-1].rung
    cells = rungs.forecast(found[:-1], top.size, top.tokens, 2)
    file = ledger.path_of(tmp_path, "x")
    head = {"rung": "rung4", "made": "2026-01-01", "tokens": list(top.tokens), **cells}
    ledger.append(file, head)
    ledger.append(file, {**head, "rung": "rung9"})
    lines = ledger.read(file)
    text = page.text("x", found, lines, rungs.say(found, made.TARGET))
    assert text.count("not run yet") == 3
    assert text.count("hit |") + text.count("miss |") == 3
    missed = Rung(top.size, top.tokens, top.losses + np.array([[[[0.0], [9.0]]]]))
    gone = [
        *found[:-1],
        rungs.Climbed("rung4", ("a", "b"), missed, (0, 1), (), "2025-01-01", RATES),
    ]
    text = page.text("x", gone, lines, rungs.say(gone, made.TARGET))
    assert text.count("miss / miss (written after the rung)") == 3
    first, second = file.read_text().splitlines()
    for bad in (first.replace("rung4", "rung3") + "\n" + second, second, second + "\n" + first):
        file.write_text(bad + "\n")
        with pytest.raises(RequestError, match="line 1: not as it was written"):
            ledger.read(file)
    file.write_text("{\n")
    with pytest.raises(RequestError, match="no line of a ledger"):
        ledger.append(file, head)
