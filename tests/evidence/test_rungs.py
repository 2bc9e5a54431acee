"""What a ladder's numbers are said to mean; and the ledger of forecasts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import RequestError
from harness.evidence import rungs
from harness.evidence.ladders import Ladder
from harness.records import ledger
from harness.report import ladder as page
from harness.stats.ladder import Rung
from tests.stats import ladders as made

RATES = (0.01, 0.01)


def _found(near: float, far: float, count: int = 4, bent: float = 0.0) -> list[rungs.Climbed]:
    theta = made.crossed(made.laws(1, 3), near, far)
    of = made.made(theta, 9, sd=0.004, bent=bent)
    return [_climbed(f"rung{i + 1}", rung, "2026-01-02") for i, rung in enumerate(of.rungs[:count])]


def _climbed(name: str, rung: Rung, created: str) -> rungs.Climbed:
    budgets = tuple(f"x{i}" for i in range(len(rung.tokens)))
    seeds = tuple(range(rung.losses.shape[1]))
    paths = [f"{name}-{arm}-{at}-{seed}" for arm in "ab" for at in budgets for seed in seeds]
    return rungs.Climbed(name, ("a", "b"), rung, seeds, budgets, tuple(paths), created, RATES)


def _page(found: list[rungs.Climbed], file: Path) -> dict[str, str]:
    """Address -> text of a ladder's cells."""
    said = rungs.say(found, made.TARGET)
    lines = ledger.forecasts(file)
    of = Ladder("x", "cpu", "some CPU", found, (), lines, said, "x.ladder.cpu")
    views = [part for part in page.page(of) if not isinstance(part, str)]
    return {name: cell.text for view in views for name, cell in view.cells().items()}


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
    assert cells is not None
    head = {
        "rung": "rung4", "device": "some CPU", "made": "2026-01-01",
        "tokens": [int(t) for t in top.tokens], **cells,
    }  # fmt: skip
    ledger.append(file, head)
    ledger.append(file, {**head, "rung": "rung9"})
    shown = _page(found, file)
    at = "x.ladder.cpu.forecasts"
    expected = cells["differences"][1]
    assert shown[f"{at}/rung4@x1/expected"] == f"{expected['expected']:+.4f}"
    came = float((top.losses[0, :, 1] - top.losses[0, :, 0])[:, 1].mean())
    assert shown[f"{at}/rung4@x1/came"] == f"{came:+.4f}"
    for level in ("50", "90"):
        inside = expected[level][0] <= came <= expected[level][1]
        assert shown[f"{at}/rung4@x1/hit-{level}"] == ("hit" if inside else "miss")
    unrun = [text for name, text in shown.items() if "rung9" in name and name.endswith("came")]
    assert unrun == ["–"] * 3
    missed = Rung(top.size, top.tokens, top.losses + np.array([[[[0.0], [9.0]]]]))
    late = _page([*found[:-1], _climbed("rung4", missed, "2025-01-01")], file)
    for name in ("x0", "x1", "x2"):
        assert late[f"{at}/rung4@{name}/hit-90"] == "miss"
        assert late[f"{at}/rung4@{name}/written"] == "2026-01-01, after the rung was run"
    first, second = file.read_text().splitlines()
    for bad in (first.replace("rung4", "rung3") + "\n" + second, second, second + "\n" + first):
        file.write_text(bad + "\n")
        with pytest.raises(RequestError, match="line 1: not as it was written"):
            ledger.read(file)
    file.unlink()
    ledger.append(file, {"rung": "rung4"})
    with pytest.raises(RequestError, match="line 1: "):
        ledger.forecasts(file)
    file.write_text("{\n")
    with pytest.raises(RequestError, match="no line of a ledger"):
        ledger.append(file, head)
