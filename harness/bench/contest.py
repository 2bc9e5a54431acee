"""A comparison of updates: contestants in processes of their own, working in interleaved rounds.

Starts the processes, decides whose turn it is, and keeps the numbers; `ratios` says what they are
worth. While one works the others wait without using the processor, and what memory they do not
need is given back between turns, so that the machine holds the largest peak and not the sum of
all. May not import torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.bench.setting import Order, Reply, Setting
from harness.code.provenance import ROOT
from harness.errors import RunFailed
from harness.launch.base import ALLOCATOR
from harness.stats import rounds as ratios

MATMUL = "matmul"


@dataclass
class Result:
    """What one contestant did."""

    name: str
    tokens: int
    """Tokens of one update."""
    first_update_seconds: float
    parameters: int
    rounds: list[tuple[float, ...]] = field(default_factory=list)
    """Seconds of the timed updates, round by round."""
    losses: list[float] = field(default_factory=list)
    """The loss of every update, from the first."""
    peak_bytes: int = 0

    @property
    def median_seconds(self) -> float:
        """The median time of an update."""
        return ratios.median(self.rounds)

    @property
    def tokens_per_second(self) -> float:
        """The rate at the median time."""
        return self.tokens / self.median_seconds


class Player:
    """A contestant's process."""

    def __init__(self, setting: Setting, cache: Path, log: Path) -> None:
        """Starts it; `cache` is where its compiler keeps code, for it alone."""
        self.name = setting.contestant
        threads = str(setting.threads)
        environment = {
            **(ALLOCATOR if setting.keeps_memory else {}),
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
            "TRITON_CACHE_DIR": str(cache / "triton"),
            "HF_HUB_OFFLINE": "1",
        }
        self._log = log
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.bench.contestant"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True,
                encoding="utf-8", env=environment,
            )  # fmt: skip
        self._send(setting.model_dump_json())

    def begin(self) -> Reply:
        """Wait for the first update. Raises RunFailed where the contestant did."""
        return self._receive()

    def update(self, updates: int, untimed: int, *, rest: bool = True) -> Reply:
        """Have it make updates, then give unused memory back. Raises RunFailed where it cannot."""
        self._send(Order(updates=updates, untimed=untimed, rest=rest).model_dump_json())
        return self._receive()

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.kill()
        self._process.wait()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure(None) from None

    def _receive(self) -> Reply:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = Reply.model_validate_json(line) if line else None
        if answer is None or answer.failed:
            raise self._failure(answer.failed if answer else None)
        return answer

    def _failure(self, why: str | None) -> RunFailed:
        if why is None:
            code = self._process.wait()
            said = self._log.read_text("utf-8", errors="replace").strip().splitlines()
            why = f"the process ended with code {code}: {said[-1][:300] if said else 'silent'}"
        return RunFailed(f"{self.name}: {why}")


def compete(
    settings: Sequence[Setting],
    *,
    rounds: int,
    updates: int,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Result]:
    """Results by contestant. In each round everyone makes one untimed update (what was given back
    between turns is fetched again) and then `updates` timed ones.

    Raises RunFailed where a contestant does, with its own words.
    """
    results: dict[str, Result] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smol-bench-")))
        players: dict[str, Player] = {}
        for setting in settings:  # one after another: compiling takes all cores
            name = setting.contestant
            player = Player(setting, folder / name, folder / f"{name}.log")
            stack.callback(player.close)
            answer = player.begin()
            players[name] = player
            results[name] = Result(
                name, setting.tokens, answer.first_update_seconds or 0.0, answer.parameters,
                losses=list(answer.losses), peak_bytes=answer.peak_bytes,
            )  # fmt: skip
            say(f"{name}: first update after {answer.first_update_seconds:.1f} s")
        for number in range(rounds):
            for name in ratios.order(list(players), number):
                answer = players[name].update(updates + 1, 1)
                result = results[name]
                result.rounds.append(answer.seconds)
                result.losses += answer.losses
                result.peak_bytes = max(result.peak_bytes, answer.peak_bytes)
            if number == 0:
                medians = ", ".join(f"{n} {r.median_seconds:.3f} s" for n, r in results.items())
                say(f"round 1 of {rounds}: {medians}")
    return results


def loss_distance(a: Result, b: Result, updates: int | None = None) -> float:
    """The largest difference of two contestants' losses of the same update."""
    pairs = list(zip(a.losses, b.losses, strict=False))[:updates]
    return max(abs(x - y) for x, y in pairs)


def as_json(results: dict[str, Result], base: str) -> list[dict[str, Any]]:
    """A row for each contestant, the base first; `ratio` is how many times as fast the base is as
    it, `memory_ratio` the base's peak memory over its."""
    own = results[base]
    rows = []
    for result in results.values():
        row: dict[str, Any] = {
            "name": result.name,
            "tokens_per_second": result.tokens_per_second,
            "median_seconds": result.median_seconds,
            "iqr_seconds": ratios.interquartile_range(result.rounds),
            "rounds": len(result.rounds),
            "seconds": [list(timings) for timings in result.rounds],
            "first_update_seconds": result.first_update_seconds,
            "peak_bytes": result.peak_bytes,
            "losses": result.losses,
        }
        if result is not own:
            found = ratios.ratio(result.rounds, own.rounds)
            row |= {
                "ratio": found.value,
                "ratio_low": found.low,
                "ratio_high": found.high,
                "memory_ratio": own.peak_bytes / result.peak_bytes,
                "loss_distance": loss_distance(own, result),
            }
        rows.append(row)
    return rows
