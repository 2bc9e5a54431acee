"""All checks in turn, each in a process of its own: `python -m bench.acceptance [--rehearse]`.

Written so that it can only fail loudly: without a CUDA device it ends with an error, nothing is
skipped, a check that hangs is ended, and the exit code is 0 only if every check passed. With
`--rehearse` the same checks run on the CPU at tiny sizes, the kernels in Triton's interpreter, so
that what is paid for by the minute is not the first place where a mistake shows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

MINUTES = 20
"""What all of it together should take: more is a warning, as a slow disk says nothing of a card."""
REHEARSED = 10
"""Minutes that a processor should work on the rehearsal; more is a warning."""
PATIENCE = 6
"""Times as long as on a card a check of the rehearsal may take: its machine may be others' too."""


SUITES = ("kernels", "head", "optimizers", "update")
"""Of the benches, those that a card computes: what the others time is the host's."""


@dataclass(frozen=True)
class Check:
    """A program that says no by its exit code."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    minutes: float = MINUTES / 2
    """After which it is ended."""


def checks(rehearse: bool) -> list[Check]:
    """In the order in which a failure is cheapest."""
    device = "cpu" if rehearse else "cuda"
    here = "bench.acceptance"
    sizes = ["--bench-tiny"] if rehearse else ["--bench-quick"]
    return [
        Check("device", ["-m", f"{here}.device", device]),
        Check("parity with transformers", ["-m", f"{here}.parity", device]),
        Check(
            "kernels against fp64",
            ["-m", f"{here}.kernels", device],
            {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"} if rehearse else {},
        ),
        Check(
            "every configuration",
            ["-m", f"{here}.configurations", device],
            {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"} if rehearse else {},
        ),
        Check("training", ["-m", f"{here}.training", device]),
        Check(
            "benches",
            [
                "-m",
                "pytest",
                *(f"bench/test_{suite}.py" for suite in SUITES),
                "-q",
                "--benchmark-quiet",
                "-p",
                "no:cacheprovider",
                f"--timeout={240 * (PATIENCE if rehearse else 1)}",
                "--bench-rounds=2",
                f"--bench-device={device}",
                *sizes,
            ],
        ),
        # The last and the longest: most of it is compiling, anew for each timed run.
        Check("a short run of each recipe", ["-m", f"{here}.recipes", device], minutes=12),
    ]


def _cpu_seconds() -> float:
    """Of all that this process started and saw the end of."""
    times = os.times()
    return times.children_user + times.children_system


def run(check: Check, patience: float = 1.0) -> bool:
    """Whether it passed; its output goes to the terminal."""
    print(f"\n== {check.name}", flush=True)
    started, before = time.monotonic(), _cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="smol-acceptance-") as cache:
        environment = {
            **os.environ,
            "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
            **check.environment,
        }
        try:
            done = subprocess.run(
                [sys.executable, *check.command], env=environment, check=False,
                timeout=60 * check.minutes * patience,
            )  # fmt: skip
            end = "passed" if done.returncode == 0 else f"FAILED (exit code {done.returncode})"
        except subprocess.TimeoutExpired:
            end = "FAILED (took too long)"
    spent = f"{time.monotonic() - started:.0f} s, {_cpu_seconds() - before:.0f} of a processor"
    print(f"== {check.name}: {end} after {spent}", flush=True)
    return end == "passed"


def main() -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(prog="nox -s gpu --", description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, tiny")
    rehearse = parser.parse_args().rehearse
    started = time.monotonic()
    first, *others = checks(rehearse)
    patience = PATIENCE if rehearse else 1
    if not run(first, patience):  # nothing else would mean anything
        return 1
    failed = [check.name for check in others if not run(check, patience)]
    minutes, worked = (time.monotonic() - started) / 60, _cpu_seconds() / 60
    what = "rehearsal on the CPU" if rehearse else "acceptance"
    print(f"\n{what}: {minutes:.1f} minutes, {60 * worked:.0f} s of a processor")
    if (worked if rehearse else minutes) > (limit := REHEARSED if rehearse else MINUTES):
        print(f"warning: more than {limit} minutes", file=sys.stderr)
    if failed:
        print(f"FAILED: {', '.join(failed)}", file=sys.stderr)
        return 1
    print("everything passed" + (" (a rehearsal says nothing of a GPU)" if rehearse else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
