"""A process that has imported what runs need, and forks one for each: `python -P -m
harness.train.nursery LAUNCHER`.

Importing torch takes longer than a short run. Each run still has a process of its own, which is
forked before any of them has drawn a random number, opened data or started a thread of torch's:
it computes the same bits as one that was started from nothing.

Requests come as lines of JSON on stdin, answers leave on stdout: `{"start": 3, "job": PATH,
"log": PATH}` forks the process of number 3, `{"signal": 2, "to": 3}` sends it a signal as long as
it lives, and `{"ended": 3, "code": 0}` tells its exit code, negative for a signal's number.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import select
import signal
import sys
from importlib import import_module
from typing import Any

from harness.launch.parent import PARENT
from harness.train.__main__ import end_with
from harness.train.__main__ import main as run

AHEAD = ("harness.train.worker", "torch._dynamo")
"""What every run imports; torch's optimizers ask for the second when they are made."""
WALKED = ("harness.optim.optimizers", "harness.machine.devices")
"""Packages of which a run imports some modules, by name."""
HELD_BACK = {signal.SIGINT, signal.SIGTERM}
"""Signals that a new process is sent before it can take them wait until it can."""


class Forks:
    """The processes that were forked here and live."""

    def __init__(self) -> None:
        """Ends of children wake the loop that waits for requests."""
        self.numbers: dict[int, int] = {}
        """The number that the launcher knows a process by, by process."""
        self.woken, wake = os.pipe()
        for end in (self.woken, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)

    def serve(self) -> None:
        """Until the launcher closes its end."""
        rest = b""
        while True:
            ready, _, _ = select.select([0, self.woken], [], [])
            if self.woken in ready:
                os.read(self.woken, 4096)
                self._bury()
            if 0 in ready:
                read = os.read(0, 65536)
                if not read:
                    return
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    self._answer(json.loads(line))

    def _answer(self, asked: dict[str, Any]) -> None:
        if "start" in asked:
            self.numbers[self._fork(asked["job"], asked["log"])] = asked["start"]
            return
        for process, number in self.numbers.items():
            if number == asked["to"]:  # not reaped yet, so its number is nobody else's
                os.kill(process, asked["signal"])

    def _bury(self) -> None:
        """Tell of the processes that ended."""
        while self.numbers:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            told = {"ended": self.numbers.pop(process), "code": os.waitstatus_to_exitcode(status)}
            os.write(1, json.dumps(told).encode() + b"\n")

    def _fork(self, job: str, log: str) -> int:
        """A process that executes a job; never returns in it."""
        nursery = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        process = os.fork()
        if process:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
            return process
        code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            nothing = os.open(os.devnull, os.O_RDONLY)
            output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            for own, standard in ((nothing, 0), (output, 1), (output, 2)):
                os.dup2(own, standard)
            os.environ[PARENT] = str(nursery)
            sys.argv = [sys.argv[0], job]
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
            code = run()
        except KeyboardInterrupt:  # before the worker listens
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def main() -> int:
    """Serve the launcher that is the only argument; exit code 2 where it is gone."""
    launcher = int(sys.argv[1])
    if not end_with(launcher):
        print(f"the launcher of these runs, process {launcher}, is gone", file=sys.stderr)
        return 2
    for name in AHEAD:
        import_module(name)
    for package in WALKED:
        for module in pkgutil.iter_modules(import_module(package).__path__):
            import_module(f"{package}.{module.name}")
    gc.collect()
    gc.freeze()  # a collection would otherwise copy the shared pages into each process
    Forks().serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
