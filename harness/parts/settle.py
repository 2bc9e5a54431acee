"""A configuration with all that its own parts say of themselves: code, settings, size, FLOPs.

A recipe and a plan never import torch, so a child process (`probe.py`) loads and tries the parts;
what it found is kept in the cache, by the parts' text and the configuration. Where every part is
ours nothing is started.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from harness.code import provenance
from harness.config import OptimConfig, RunConfig, digest, replace
from harness.data.cache import cache_root
from harness.errors import RequestError
from harness.files import write_atomically
from harness.optim import registry
from harness.optim.tuning import OWN, is_setting
from harness.parts import files
from models.config import Part
from models.own import MARK

SECONDS, CPU_SECONDS = 295.0, 60.0
"""For importing and trying a part, by the clock and by what it computes; a few on an idle
machine."""
_TRYING: dict[str, Lock] = {}
"""Held while a part is tried, by the name under which it is remembered."""


@dataclass(frozen=True)
class Settled:
    """A complete configuration, and which of the wished settings its parts have."""

    config: RunConfig
    taken: frozenset[str]


def settle(config: RunConfig, beside: Sequence[Path], wishes: Mapping[str, Any]) -> Settled:
    """Fill in what the parts of `config` that are not ours have to say.

    `beside` are the folders to look for a user's file in, before ./recipes and ./. `wishes` are
    settings by dotted path (`optim.settings.beta`), which a part takes if it has them.
    Raises RequestError, in one line with file and line number, for a part that is not there, does
    not load, or does not work when it is tried.
    """
    named: dict[str, OptimConfig | Part] = {
        "optim": config.optim,
        "model.feed_forward": config.model.feed_forward,
        "model.attention": config.model.attention,
        "schedule.shape": config.schedule.shape,
        "train.loss": config.train.loss,
    }
    own = {kind: part for kind, part in named.items() if part.name}
    if registry.is_flat(config.optim.name):
        registry.check(config.optim)
        del own["optim"]
    for kind, part in named.items():
        if kind not in own and (setting := next(iter(part.settings), None)) is not None:
            raise RequestError(f"{kind}.settings.{setting}: no part is named at {kind}")
    if not own:
        return Settled(config, frozenset())
    config = replace(config, {
        f"{kind}.code": part.code or files.code_of(kind, part.name, beside)
        for kind, part in own.items()
    })  # fmt: skip
    question = {
        "kinds": sorted(own),
        "config": config.model_dump(mode="json"),
        "wishes": {
            path: value
            for path, value in wishes.items()
            if path.startswith(tuple(f"{kind}.settings." for kind in own))
        },
    }
    answer = _remembered(question)
    return Settled(replace(config, answer["changes"]), frozenset(answer["taken"]))


def _remembered(question: dict[str, Any]) -> dict[str, Any]:
    """A part is tried once for each text, model and code of ours; faults are not remembered. Nor
    is it tried again at another learning rate or weight decay: a search's trials are one trial.
    """
    given = question["config"]["optim"]["settings"]
    wished = {path.removeprefix(OWN): v for path, v in question["wishes"].items()}
    found = _tried(question)
    if (settings := found["changes"].get("optim.settings")) is not None:
        for name, value in {**given, **wished}.items():
            if name in settings and is_setting(f"{OWN}{name}"):
                settings[name] = value
    return found


def _unvaried(settings: Mapping[str, Any], before: str = OWN) -> dict[str, Any]:
    """Settings, or wishes by dotted path, without the numbers that a search varies."""
    return {
        name: type(value).__name__ if is_setting(f"{before}{name}") else value
        for name, value in settings.items()
    }


def _tried(question: dict[str, Any]) -> dict[str, Any]:
    prober = [file.read_text("utf-8") for file in sorted(Path(__file__).parent.glob("*.py"))]
    versions = provenance.software()
    code = [provenance.source_digest(), prober, [versions["python"], versions["torch"]]]
    config = question["config"]
    optim = {**config["optim"], "settings": _unvaried(config["optim"]["settings"])}
    asked = {
        **question,
        "wishes": _unvaried(question["wishes"], ""),
        "config": [
            config["model"],
            optim,
            config["data"]["seq_len"],
            config["schedule"]["shape"],
            config["train"]["loss"],
        ],
    }
    memory = cache_root() / "parts" / f"{digest([asked, code])}.json"
    with _TRYING.setdefault(memory.name, Lock()):  # arms are settled side by side
        if memory.is_file():
            found: dict[str, Any] = json.loads(memory.read_text("utf-8"))
            return found
        found = _ask(question)
        try:
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(memory, json.dumps(found))
        except OSError:
            pass  # a cache that cannot be written costs seconds again
        return found


def _ask(question: dict[str, Any]) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness.train.beside", str(os.getpid()),
             "harness.parts.probe", str(SECONDS), str(CPU_SECONDS)],
            env={**os.environ, "PYTHONPATH": str(provenance.ROOT), "OMP_NUM_THREADS": "1"},
            input=json.dumps(question), capture_output=True, text=True, timeout=SECONDS + 5.0,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise RequestError(f"{_places(question)}: trying it took over {SECONDS:g} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RequestError(_ended(question, done.returncode, done.stderr))
    answer: dict[str, Any] = json.loads(lines[-1])
    if "fault" in answer:
        raise RequestError(answer["fault"])
    return answer


def _places(question: dict[str, Any]) -> str:
    """Where the parts asked about are defined."""
    sections = [_at(question["config"], kind) for kind in question["kinds"]]
    return ", ".join(files.defined_at(section["name"], section["code"]) for section in sections)


def _ended(question: dict[str, Any], code: int, errors: str) -> str:
    """Of a child that ended without an answer: the innermost line of a part, as Python's fault
    handler printed it, else where the parts begin."""
    found = re.search(rf'File "{re.escape(MARK)}(.+?)", line (\d+)', errors)
    place = f"{found[1]}:{found[2]}" if found else _places(question)
    if "Timeout (" in errors:
        return f"{place}: it had not ended after {SECONDS:g} s"
    if code < 0:
        return f"{place}: it ended its process by {signal.Signals(-code).name}"
    said = errors.strip().splitlines() or ["it said nothing"]
    return f"{place}: it ended its process with code {code}: {said[-1]}"


def _at(config: dict[str, Any], kind: str) -> dict[str, Any]:
    for step in kind.split("."):
        config = config[step]
    return config
