"""Progress on every kind of terminal, and a time that is left which knows of start-ups."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from harness.launch import display
from harness.launch.tail import Tail
from harness.recipe import find
from tests.plan import making


def children(tmp_path, update: int | None, rate: float = 1234.5) -> list[Any]:
    plan = making.make(
        find("dense_vs_moe"), "smoke", "cpu", tokenizer_digest=lambda _: "t", device_class="CPU"
    )
    runs = [run for run in plan.runs if run.arm in ("dense", "moe-active")][:2]
    tails = [Tail(tmp_path / "none", 1024, "token") for _ in runs]
    for tail in tails:
        tail.update, tail.tokens_per_second = update, rate
        tail.loss = tail.val_loss = None if update is None else 8.123
    return [
        SimpleNamespace(job=SimpleNamespace(run=run), tail=tail)
        for run, tail in zip(runs, tails, strict=True)
    ]


@pytest.mark.parametrize("columns", [50, 80])
def test_the_live_table_leaves_out_columns_rather_than_cut_values(tmp_path, columns):
    running = children(tmp_path, 12)
    shown = display.ProgressDisplay([child.job.run for child in running])
    said = io.StringIO()
    console = Console(file=said, width=columns, force_terminal=True)
    shown._live = SimpleNamespace(console=console)
    console.print(shown._table(running, 3))
    assert "…" not in said.getvalue()
    assert "moe-active" in said.getvalue() or "dense" in said.getvalue()
    assert "8.123" in said.getvalue()


def test_a_dumb_terminal_gets_plain_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    running = children(tmp_path, 12)
    with display.ProgressDisplay([child.job.run for child in running]) as shown:
        shown.show(running, 3, [])
    said = capsys.readouterr().out
    assert "2 running, 3 waiting" in said
    assert "\x1b" not in said
    assert max(map(len, said.splitlines())) <= 50


def test_what_is_left_counts_the_start_ups_of_those_that_wait(tmp_path, monkeypatch):
    """Two runs at a time take 20 s to start and 10 s to train; two more wait: 30 s from the end
    of the first two, where the share of the work alone would say as much as has gone by."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(display.time, "monotonic", lambda: clock.now)
    running = children(tmp_path, None)
    shown = display.ProgressDisplay([child.job.run for child in running])
    shown._watch(running)
    for child in running:
        child.tail.loss = 8.0
    clock.now = 20.0
    shown._watch(running)
    assert shown._left(running, 2, 0.5, 30.0) == pytest.approx(30.0)
