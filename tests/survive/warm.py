"""A process that has imported everything and forks `smol` from itself: a start costs milliseconds.

`python -m tests.survive.warm` reads one request a line (JSON: words, folder, environment, where its
output goes, what it suffers) and answers with the process's number. What is forked runs the
door's own `main`, and its children, forked in turn, the worker's own `main`: from the first line
on, all is as in a process of its own. `tests.survive.points` says what is done to it on the way.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NoReturn


class Forked:
    """As much of `subprocess.Popen` as the local launcher uses, of a fork that needs no imports."""

    def __init__(self, words: list[str], *, stdin, stdout, stderr, env, start_new_session) -> None:
        self.returncode: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(words[words.index("-m") + 1 :], stdout.fileno(), stderr.fileno(), env, own=True)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        import time

        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _become(words: list[str], out: int, err: int, env: dict[str, str], *, own: bool) -> NoReturn:
    """Run a module's `main` in this process, which was forked for it, and end."""
    code = 70
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.environ.clear()
        os.environ.update(env)
        tempfile.tempdir = None  # asked for anew
        sys.argv = list(words)
        if own:
            from harness.train.__main__ import main
        else:
            from harness.cli import main  # type: ignore[assignment]
        code = main() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    if not own and (answer := env.get("SURVIVE_CODE")):
        mine, children = (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        seconds = sum(used.ru_utime + used.ru_stime for used in (mine, children))
        peak = max(mine.ru_maxrss, children.ru_maxrss) * 1024
        Path(answer).with_suffix(".used").write_text(f"{seconds} {peak}")
        Path(answer).write_text(str(code))
    os._exit(code)


def _start(asked: dict[str, Any]) -> NoReturn:
    from harness.launch.launchers import local
    from tests.survive import points

    os.chdir(asked["folder"])
    stdin = os.open(os.devnull, os.O_RDONLY)
    os.dup2(stdin, 0)
    handles = [os.open(asked[n], os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for n in ("out", "err")]
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8", closefd=False)
    os.dup2(handles[0], 1)
    os.dup2(handles[1], 2)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    fake = type("subprocess", (), {"Popen": Forked, "DEVNULL": subprocess.DEVNULL,
                                   "TimeoutExpired": subprocess.TimeoutExpired})  # fmt: skip
    local.subprocess = fake  # type: ignore[assignment]
    local.Local.may_fork = lambda self, job: False  # type: ignore[method-assign]  # we do
    from harness.train import checkpoint

    # The room that a checkpoint asks for beforehand: here disks are filled on purpose.
    checkpoint.SPARE_BYTES = 0
    points.install(asked["suffers"])
    env = {**os.environ, **asked["env"]}
    _become(["smol", *asked["words"]], handles[0], handles[1], env, own=False)


def _picture(metrics: Path, target: Path, title: str) -> None:
    """In place of a run's plot, which takes longer than its training here."""
    from harness.files import write_atomically

    if metrics.exists():
        write_atomically(target, title)


LOADED = (
    "pandas", "pyarrow.parquet", "torch", "torch._inductor", "harness.cli",
    *(f"harness.commands.{name}" for name in (
        "campaign", "card", "compare", "evaluate", "records_check", "records_clean", "run",
        "sample", "show", "trace",
    )),
    "harness.data.build", "harness.launch.display", "harness.launch.execute",
    "harness.report.card", "harness.report.run_plot", "harness.report.trace",
    "harness.train.worker", "harness.train.__main__", "models.attentions.grouped_query",
)  # fmt: skip
"""What forks need not import."""


def main() -> None:
    """Serve until stdin ends."""
    for name in LOADED:
        importlib.import_module(name)
    import torch

    from harness.launch import launchers
    from harness.report import draw, run_plot, views

    draw.load()
    views.load()
    launchers.launchers()
    run_plot.draw = _picture
    torch.set_num_threads(1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody is left a zombie
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _start(json.loads(line))
        print(pid, flush=True)


if __name__ == "__main__":
    main()
