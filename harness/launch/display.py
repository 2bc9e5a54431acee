"""Progress of a plan: a live table on a terminal, one plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from harness.launch.local import Child
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


class Progress:
    """Implements `launch.local.Display` for a terminal or a log."""

    def __init__(self, runs: Sequence[Run]) -> None:
        """`runs` are all that will be executed."""
        self._total = sum(work(run) for run in runs)
        self._work = {run.key: work(run) for run in runs}
        self._count = len(runs)
        self._done_work = 0.0
        self._done = 0
        self._started = time.monotonic()
        self._last_line = float("-inf")
        self._live: Live | None = None
        if sys.stdout.isatty():
            self._live = Live(console=Console(), refresh_per_second=4, transient=True)

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

    def show(self, running: Sequence[Child], waiting: int, done: Sequence[Record]) -> None:
        """Redraw the table, or print a line if the last one is old enough."""
        if self._live:
            self._live.update(self._table(running, waiting))
        elif running and time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            parts = " | ".join(" ".join(self._cells(child)) for child in running)
            self._print(f"{self._headline(running, waiting)} | {parts}")

    def _print(self, text: str) -> None:
        if self._live:
            self._live.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(text, flush=True)

    def _table(self, running: Sequence[Child], waiting: int) -> Table:
        columns = ("arm", "seed", "stage", "update", "loss", "val loss", "tokens/s")
        table = Table(*columns, title=self._headline(running, waiting), title_justify="left")
        for child in running:
            table.add_row(*self._cells(child, labels=False))
        return table

    def _headline(self, running: Sequence[Child], waiting: int) -> str:
        done = self._done_work + sum(self._work_done(child) for child in running)
        share = done / self._total if self._total else 1.0
        elapsed = time.monotonic() - self._started
        left = f"{_clock(elapsed * (1 - share) / share)} left" if share > 0.01 else "estimating"
        return (
            f"[{share:4.0%}] {self._done}/{self._count} runs done, {len(running)} running, "
            f"{waiting} waiting, {_clock(elapsed)} gone, {left}"
        )

    def _work_done(self, child: Child) -> float:
        run = child.job.run
        if child.tail.update is None:
            return 0.0
        made = (child.tail.update - run.first_update) / max(1, run.last_update - run.first_update)
        return made * self._work[run.key]

    def _cells(self, child: Child, *, labels: bool = True) -> list[str]:
        run, tail = child.job.run, child.tail
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
