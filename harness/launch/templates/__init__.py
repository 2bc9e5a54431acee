"""Jobs for machines that somebody else owns: one file each, found by walking this folder.

A file here declares one `TEMPLATE`: what a job's files say, how the provider's own client checks
them without asking anybody, and the client's commands that start it, ask after it, bring its
results home and end it. None holds a credential: the clients have their own.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

from harness.errors import RequestError, nearest

State = Literal["absent", "waiting", "running", "ended"]
RESULTS = "results"
"""The folder, beside a job's files, to which its results come home."""
DONE = "campaign-done"
"""The file in the results that a job leaves when its campaign has nothing more to do."""
CHECK_SECONDS = 300
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|CREDENTIAL", re.I)
_KNOWN = re.compile(r"\b(hf_\w{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|AKIA\w{16}|sk-[\w-]{20,})")
_ADDRESS = re.compile(r"://[^/\s@]+:[^/\s@]+@")


@dataclass(frozen=True)
class Rental:
    """What a job is to do, and for how long."""

    name: str
    """By which the provider's client finds it: letters, digits and dashes."""
    code: Path
    """The clone that goes there."""
    home: Path
    """The folder of the job's files, and of its results."""
    words: tuple[str, ...]
    """What `smol` is asked to do."""
    seconds: int
    """The longest that the machine may work, from its first command on."""
    gpu: str | None
    """A card's name in hardware.toml; None for a machine without one."""
    place: str | None = None
    """What a provider calls the machine or the part of a cluster, where that must be said."""


class JobTemplate(ABC):
    """One provider's kind of job."""

    name: ClassVar[str]
    client: ClassVar[str]
    """The program that has to be installed."""
    install: ClassVar[str]

    @abstractmethod
    def files(self, order: Rental) -> dict[str, str]:
        """Name -> text of the job's files. Raises RequestError for what cannot be had there."""

    @abstractmethod
    def check_command(self, order: Rental) -> list[str]:
        """The client's command that reads the job and asks nobody."""

    def refused(self, code: int, said: str) -> str | None:
        """Why the client did not accept the job; None where it did."""
        lines = said.strip().splitlines()
        return (lines[-1] if lines else f"exit code {code}") if code else None

    @abstractmethod
    def submit(self, order: Rental) -> list[str]:
        """The command that starts the job, and returns once that is asked for."""

    @abstractmethod
    def ask(self, order: Rental) -> list[str]:
        """The command that says how the job is."""

    @abstractmethod
    def state(self, said: str, order: Rental) -> State:
        """The job's state from what `ask` printed."""

    @abstractmethod
    def fetch(self, order: Rental) -> list[str]:
        """The command that brings the results home; empty where they are written there."""

    @abstractmethod
    def cancel(self, order: Rental) -> list[str]:
        """The command that ends the job, and what it costs, wherever it stands."""

    def check_environment(self, order: Rental) -> dict[str, str]:
        """What the client needs in its environment to check a job."""
        return {}

    def check(self, order: Rental) -> str | None:
        """Have the client read the job's files. Returns why that could not be; None where it
        accepts them. Raises RequestError, with its words, where it refuses them."""
        environment = {k: v for k, v in client_environment().items() if not _SECRET.search(k)}
        try:
            done = subprocess.run(
                self.check_command(order), cwd=order.home, capture_output=True, text=True,
                errors="replace", timeout=CHECK_SECONDS, stdin=subprocess.DEVNULL,
                env={**environment, **self.check_environment(order)},
            )  # fmt: skip
        except FileNotFoundError:
            return f"{self.client} is not installed here ({self.install})"
        except subprocess.TimeoutExpired:
            return f"{self.client} did not answer within {CHECK_SECONDS} s"
        if (why := self.refused(done.returncode, done.stdout + done.stderr)) is not None:
            raise RequestError(f"{self.client} refuses the job: {why[:300]}")
        return None


@cache
def templates() -> Mapping[str, JobTemplate]:
    """Every template by name."""
    found = [
        importlib.import_module(f"{__name__}.{module.name}").TEMPLATE
        for module in pkgutil.iter_modules(__path__)
    ]
    return {one.name: one for one in found}


def find(name: str) -> JobTemplate:
    """The template of that name. Raises RequestError for one that is not there."""
    if name not in templates():
        raise RequestError(f"no template '{name}'{nearest(name, templates())}")
    return templates()[name]


def script(order: Rental, code: str, results: str) -> str:
    """What the machine does, as a shell script: install, run, say when all is done.

    `code` and `results` are the folders there. Time is counted from the first line on, and the
    machine ends by itself, whoever has lost sight of it.
    """
    words = shlex.join(order.words)
    budget = ' --budget "${left}s"' if order.words[0] == "campaign" else ""
    return f"""\
set -u
began=$SECONDS
code={code}
results={results}
mkdir -p "$results"
work=$(mktemp -d)
mkdir "$work/code"
cd "$work/code"
tar -C "$code" --exclude=./.venv --exclude=./checkpoints -cf - . | tar -xf -
python3 -m venv "$work/venv"
timeout {order.seconds} "$work/venv/bin/pip" install --quiet -c constraints.txt .
left=$(( {order.seconds} - (SECONDS - began) ))
[ "$left" -gt 0 ] || exit 124
# Its states are saved at SIGTERM; what has not ended two minutes later is killed.
timeout --signal=TERM --kill-after=120 "$left" \\
    "$work/venv/bin/smol" {words}{budget} --results "$results"
ended=$?
[ "$ended" -eq 0 ] && touch "$results/{DONE}"
exit "$ended"
"""


def client_environment() -> dict[str, str]:
    """This one, in which programs that stand beside our Python are found as well."""
    beside = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), beside])}


def refuse_secrets(texts: Sequence[str]) -> None:
    """Raises RequestError where a text holds what looks like a credential, or the value of a
    variable of this environment that is one. The credential itself is not repeated."""
    held = [
        (name, value)
        for name, value in os.environ.items()
        if _SECRET.search(name) and len(value) >= 8
    ]
    for text in texts:
        for name, value in held:
            if value in text:
                raise RequestError(f"the job would hold the value of {name}: it holds no secrets")
        if _KNOWN.search(text) or _ADDRESS.search(text):
            raise RequestError("the job would hold what looks like a credential: it holds none")
