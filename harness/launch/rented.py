"""Following a job on somebody else's machine: started, asked after, started again, ended in time.

Whoever follows may be cut off, the provider may not answer, answer late, or kill the job. What
holds nevertheless: the machine's own script ends it (`templates.script`), and what is spent is
counted from the moment that it may have begun, in a file beside the job, so that every further
start gets what is left of the budget and no more.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from harness.errors import RequestError, explain
from harness.files import read_json, write_atomically
from harness.launch.templates import DONE, RESULTS, JobTemplate, Rental, State, client_environment

LEDGER = "spent.json"
LEDGER_BYTES = 100_000
ANSWER_SECONDS = 600.0
"""The longest that a client's command may take."""


Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Patience:
    """How often and how long, in seconds."""

    ask: float = 30.0
    fetch: float = 300.0
    lag: float = 180.0
    """A provider's answers may be so old: a job that it does not know may still appear."""
    least: float = 300.0
    """Less is not worth another start."""
    margin: float = 120.0
    """Of each start: for what a machine does before and after the script, and for late answers."""


@dataclass
class Ledger:
    """What has been spent, kept in a file."""

    budget: Seconds
    spent: Seconds = 0.0
    starts: int = 0
    running: bool = False
    """Whether a job may be at work just now."""
    seen: Seconds = 0.0
    """Until when `spent` is counted, by the wall clock."""
    most: Seconds = 0.0
    """What will have been spent at most when the job has ended by its own limit."""

    def begin(self, now: float, seconds: float) -> None:
        """A job that ends by itself after so many seconds may be at work from now on."""
        self.running, self.seen, self.most = True, now, self.spent + seconds
        self.starts += 1

    def count(self, now: float) -> None:
        """Time passes: it counts while a job may be at work. A clock set back takes nothing."""
        if self.running:
            self.spent = min(self.most, self.spent + max(0.0, now - self.seen))
        self.seen = now

    @property
    def left(self) -> float:
        """Seconds."""
        return self.budget - self.spent


def read_ledger(file: Path) -> Ledger | None:
    """What a ledger's file says; None where there is none.

    Raises RequestError for one that cannot be read: counted anew a budget would be spent twice.
    """
    if not os.path.lexists(file):
        return None
    try:
        return TypeAdapter(Ledger).validate_python(read_json(file, LEDGER_BYTES))
    except OSError as error:
        why = error.strerror
    except ValidationError as error:
        why = explain(error)
    except ValueError as error:
        why = str(error)
    raise RequestError(
        f"{file} does not say what was spent ({why}): ask the provider, and correct or remove it"
    )


Say = Callable[[str], None]


class Follower:
    """Starts an order's job, and follows it to the end of its campaign or of its budget."""

    def __init__(
        self, template: JobTemplate, order: Rental, say: Say, patience: Patience = Patience()
    ) -> None:
        """`order.seconds` is the budget; `order.home` holds the ledger, the job and the results."""
        self.template, self.order, self.say, self.patience = template, order, say, patience
        self.file, self.results = order.home / LEDGER, order.home / RESULTS
        known = read_ledger(self.file) or Ledger(budget=0.0)
        self.ledger = replace(known, budget=float(order.seconds))

    def follow(self) -> bool:
        """Whether the campaign came to its end; False where its budget did."""
        self.results.mkdir(parents=True, exist_ok=True)
        asked = fetched = heard = time.monotonic()
        while not self._done():
            if not self.ledger.running:
                if self.ledger.left - self.patience.margin < self.patience.least:
                    break
                self._start()
                asked = time.monotonic()
            elif self.ledger.left <= 0:
                break
            time.sleep(self.patience.ask)
            state = self._state()
            if state is not None:
                heard = time.monotonic()
            elif self._over() and time.monotonic() - heard > 2 * self.patience.lag:
                break  # it has ended by itself, and nobody can be asked
            young = time.monotonic() - asked < self.patience.lag
            if state == "waiting":  # until then it cost nothing, as far as the answer is new
                self.ledger.seen = max(self.ledger.seen, time.time() - self.patience.lag)
                continue
            self._count()
            if state == "ended" or (state == "absent" and not young):
                # Of the same name none may be left when the next is started.
                if self._fetch() and not self._done() and self._end():
                    self.say("the job has ended before its campaign")
            elif state == "running" and time.monotonic() - fetched >= self.patience.fetch:
                self._fetch()
                fetched = time.monotonic()
        self._close()
        return self._done()

    def _start(self) -> None:
        """Ask for a machine. That no answer came does not say that none was started."""
        seconds = int(self.ledger.left - self.patience.margin)
        order = replace(self.order, seconds=seconds)
        for name, text in self.template.files(order).items():
            write_atomically(order.home / name, text)
        self.ledger.begin(time.time(), seconds + self.patience.margin)
        self._note()
        self.say(f"start {self.ledger.starts}: {seconds} s of {self.ledger.budget:.0f}")
        if self._command(self.template.submit(order)) is None:
            self.say("no answer: whether it has begun will be seen")

    def _state(self) -> State | None:
        said = self._command(self.template.ask(self.order))
        try:
            return None if said is None else self.template.state(said, self.order)
        except (AttributeError, LookupError, TypeError, RecursionError):  # of no form that is known
            return None

    def _fetch(self) -> bool:
        words = self.template.fetch(self.order)
        return not words or self._command(words) is not None

    def _end(self) -> bool:
        """Have the job end; whether the provider said that it will."""
        if self._command(self.template.cancel(self.order)) is None:
            return False
        self._count()
        self.ledger.running = False
        self._note()
        return True

    def _close(self) -> None:
        """End the job, and bring home what it has left: as often as it takes, for twice the lag at
        most. The machine ends by itself, and the same command asks for its results again."""
        deadline, home, ended = time.monotonic() + 2 * self.patience.lag, False, False
        while not (home and ended) and time.monotonic() < deadline:
            home = home or self._fetch()
            ended = ended or (home and self._end())
            if not (home and ended):
                time.sleep(self.patience.ask)

    def _over(self) -> bool:
        """Whether the job's own limit has passed."""
        return self.ledger.spent >= self.ledger.most

    def _done(self) -> bool:
        return (self.results / DONE).exists()

    def _count(self) -> None:
        self.ledger.count(time.time())
        self._note()

    def _note(self) -> None:
        write_atomically(self.file, json.dumps(asdict(self.ledger), indent=1) + "\n")

    def _command(self, words: list[str]) -> str | None:
        """What a client's command printed; None where it failed or did not answer."""
        try:
            done = subprocess.run(
                words, cwd=self.order.home, capture_output=True, text=True, errors="replace",
                timeout=ANSWER_SECONDS, stdin=subprocess.DEVNULL, env=client_environment(),
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None
