"""Progress of a plan: a live table on a terminal, one plain line every few seconds elsewhere (a
terminal that cannot move its cursor among them)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from harness.launch import terminal
from harness.launch.base import Task
from harness.plan.runs import Run
from harness.records.schema import Record
from models.config import active_parameters, known_flops_per_token

PLAIN_SECONDS = 5.0


def work(run: Run) -> float:
    """Training FLOPs of a run (without attention's, where a part's are not known): the measure of
    how much is left."""
    updates = run.last_update - run.first_update
    model = run.config.model
    per_token = known_flops_per_token(model, run.config.data.seq_len)
    if per_token is None:
        per_token = 6.0 * active_parameters(model)
    return updates * run.config.tokens_per_update * per_token


class ProgressDisplay:
    """Implements `launch.execute.Display` for a terminal or a log."""

    def __init__(self, runs: Sequence[Run]) -> None:
        """`runs` are all that will be executed."""
        self._total = sum(work(run) for run in runs)
        self._work = {run.key: work(run) for run in runs}
        self._count = len(runs)
        self._done_work = 0.0
        self._done = 0
        self._started = time.monotonic()
        self._last_line = float("-inf")
        self._start_ups: list[float] = []
        """Seconds from a run's launch to its first update, of those that have come so far."""
        self._begun: dict[str, float | None] = {}
        self._live: Live | None = None
        console = Console()
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing."""
        if self._live:
            self._live.stop()

    def finished(self, record: Record) -> None:
        """One line a run, as it ends."""
        self._done += 1
        self._done_work += self._work.get(record.key, 0.0)
        end = record.ends[0] if record.ends else None
        loss = f", validation loss {end.val_loss:.4f}" if end else ""
        seconds = f" in {record.timing.wall_seconds:.0f} s" if record.timing else ""
        error = f": {record.error}" if record.error else ""
        self._print(
            f"  {record.status:8} {record.name} ({self._done}/{self._count}){seconds}{loss}{error}"
        )

    def note(self, text: str) -> None:
        """One line that is no run's end."""
        self._print(f"  {text}")

    def show(self, running: Sequence[Task], waiting: int, done: Sequence[Record]) -> None:
        """Redraw the table, or print a line if the last one is old enough."""
        self._watch(running)
        if self._live:
            self._live.update(self._table(running, waiting))
        elif running and time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            self._print(self._headline(running, waiting))
            for task in running:
                self._print(f"    {', '.join(self._cells(task))}")

    def _print(self, text: str) -> None:
        text = terminal.wrapped(text, rest="    ")
        if self._live:
            self._live.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(text, flush=True)

    def _watch(self, running: Sequence[Task]) -> None:
        """Note how long runs take until their first update."""
        for task in running:
            key, now = task.job.run.key, time.monotonic()
            begun = self._begun.setdefault(key, now)
            if begun is not None and task.tail.loss is not None:
                self._start_ups.append(now - begun)
                self._begun[key] = None  # it has come

    def _table(self, running: Sequence[Task], waiting: int) -> Table:
        """Columns that find no place are left out, the least telling first."""
        names = ("arm", "seed", "stage", "update", "loss", "val loss", "tokens/s")
        rows = [self._cells(task, labels=False) for task in running]
        widths = [
            3 + max(len(name), *(len(row[place]) for row in rows)) if rows else 3 + len(name)
            for place, name in enumerate(names)
        ]
        room = self._live.console.width if self._live else 80
        kept = set(range(len(names)))
        for place in (5, 6, 2, 1, 4):
            if 1 + sum(widths[one] for one in kept) > room:
                kept.discard(place)
        places = sorted(kept)
        table = Table(
            *(names[place] for place in places),
            title=self._headline(running, waiting), title_justify="left",
        )  # fmt: skip
        for row in rows:
            table.add_row(*(row[place] for place in places))
        return table

    def _headline(self, running: Sequence[Task], waiting: int) -> str:
        done = self._done_work + sum(self._work_done(task) for task in running)
        share = done / self._total if self._total else 1.0
        elapsed = time.monotonic() - self._started
        left = self._left(running, waiting, share, elapsed)
        return (
            f"[{share:4.0%}] {self._done}/{self._count} runs done, {len(running)} running, "
            f"{waiting} waiting, {_clock(elapsed)} gone, "
            + (f"{_clock(left)} left" if left is not None else "estimating")
        )

    def _left(
        self, running: Sequence[Task], waiting: int, share: float, elapsed: float
    ) -> float | None:
        """Seconds: the start-ups that are still to come, and the work that is left at the pace of
        the time that was not spent on starting. None before there is a pace."""
        at_once = max(1, len(running))
        start_up = statistics.mean(self._start_ups) if self._start_ups else 0.0
        worked = elapsed - start_up * len(self._start_ups) / at_once
        if share <= 0.01 or not self._start_ups:
            return None
        begun = [at for task in running if (at := self._begun.get(task.job.run.key)) is not None]
        to_come = waiting * start_up + sum(
            max(0.0, start_up - (time.monotonic() - at)) for at in begun
        )
        return max(worked, 1.0) * (1 - share) / share + to_come / at_once

    def _work_done(self, task: Task) -> float:
        run = task.job.run
        if task.tail.update is None:
            return 0.0
        made = (task.tail.update - run.first_update) / max(1, run.last_update - run.first_update)
        return made * self._work[run.key]

    def _cells(self, task: Task, *, labels: bool = True) -> list[str]:
        run, tail = task.job.run, task.tail
        update = f"{tail.update or run.first_update}/{run.last_update}"
        loss = f"{tail.loss:.3f}" if tail.loss is not None else "-"
        val_loss = f"{tail.val_loss:.3f}" if tail.val_loss is not None else "-"
        rate = f"{tail.tokens_per_second:,.0f}" if tail.tokens_per_second else "-"
        if not labels:
            return [run.arm, str(run.seed), run.stage, update, loss, val_loss, rate]
        return [f"{run.arm} seed {run.seed} {run.stage}", f"update {update}", f"loss {loss}",
                f"{rate} tok/s"]  # fmt: skip


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
