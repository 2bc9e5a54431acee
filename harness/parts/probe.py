"""The child that loads and tries parts that are not ours. `python -P -m harness.parts.probe
SECONDS CPU_SECONDS`, after which it says where it is and ends.

Reads a question as JSON, writes an answer as JSON: the parts' settings complete with their
defaults, what was counted of them, or the fault. They are tried on the CPU (`trial`).
"""

from __future__ import annotations

import contextlib
import faulthandler
import inspect
import json
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from harness.config import RunConfig, flatten, replace
from harness.errors import RequestError, nearest
from harness.optim import own as optimizers
from harness.parts import files, trial
from harness.parts.trial import blamed_on
from models import own, parts
from models.config import Counted
from models.lm import count_parameters
from models.ops import choose
from models.own import Fault

KNOWN_OPS = ("aten", "prims", "prim")
"""The families of operators whose matrix products torch's counter knows."""
CALLED = {"schedule.shape": 1, "train.loss": 2}
"""What is called while it trains -> with how many arguments."""
HANDED = {
    "schedule.shape": "the progress",
    "train.loss": "logits and targets",
    "model.feed_forward": "the model's configuration",
    "model.attention": "the model's configuration",
}
"""What stands before a part's settings; an optimizer's depends on what it is."""
MAKERS = {
    "model.feed_forward": parts.feed_forward,
    "model.attention": parts.attention,
}


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of a configuration that its parts ask for, and the wishes that they took.

    Raises Fault, or RequestError for a setting that there is not.
    """
    config = RunConfig.model_validate_json(json.dumps(question["config"]))
    # Precisions that the plan has yet to choose: here any will do.
    auto = [path for path, value in flatten(config).items() if value == "auto" and "dtype" in path]
    config = replace(config, dict.fromkeys(auto, "bf16"))
    changes: dict[str, Any] = {}
    taken: list[str] = []
    objects = {}
    for kind in question["kinds"]:
        section = _section(config, kind)
        objects[kind] = own.load(section.name, section.code)
        with blamed_on(objects[kind]):
            settings, used = _settings(kind, section, objects[kind], question["wishes"])
        changes[f"{kind}.settings"] = settings
        taken += used
    config = replace(config, changes)
    for kind, make in MAKERS.items():
        if kind in objects:
            with blamed_on(objects[kind]):
                changes[f"{kind}.counted"] = _counted(config, make).model_dump()
    trial.try_parts(config, objects)
    return {"changes": changes, "taken": taken}


def _section(config: RunConfig, kind: str) -> Any:
    found: Any = config
    for step in kind.split("."):
        found = getattr(found, step)
    return found


def _handed(kind: str, part: Any) -> tuple[int, str]:
    """How many arguments stand before a part's settings, and what they are."""
    if kind == "optim":
        count = optimizers.handed_in(part)
        return count, "the list of parameter groups" if count == 1 else "`parameters` and `roles`"
    if kind in CALLED and isinstance(part, type):  # it takes its settings, its objects are called
        return 0, "nothing"
    return CALLED.get(kind, 1), HANDED[kind]


def _refuse_too_few(part: Any, signature: list[inspect.Parameter], handed: int, what: str) -> None:
    """Raise Fault where a part cannot take what is handed in."""
    if any(one.kind is one.VAR_POSITIONAL for one in signature):
        return
    positional = sum(
        one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in signature
    )
    if positional < handed:
        raise Fault(
            f"{own.line_of(part)}: is called with {what} and takes {positional or 'no'} arguments"
        )


def _settings(
    kind: str, section: Any, part: Any, wishes: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """A part's settings, its own defaults said, and the wishes among them."""
    if not callable(part):
        place = files.defined_at(section.name, section.code)
        raise Fault(f"{place}: it is {type(part).__name__}, neither class nor function")
    signature = list(inspect.signature(part).parameters.values())
    handed, what = _handed(kind, part)
    _refuse_too_few(part, signature, handed, what)
    open_ended = any(one.kind is one.VAR_KEYWORD for one in signature)
    known = {
        one.name: one.default
        for one in signature[handed:]
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and one.name != "ops"
    }
    start = f"{kind}.settings."
    used = {
        path.removeprefix(start): path
        for path in wishes
        if path.startswith(start) and (open_ended or path.removeprefix(start) in known)
    }
    given = {**section.settings, **{name: wishes[path] for name, path in used.items()}}
    for name in given:
        if name in (one.name for one in signature[:handed]):
            raise Fault(f"{own.line_of(part)}: '{name}' stands where {what} is handed in")
        if name not in known and not open_ended:
            raise RequestError(
                f"{own.line_of(part)}: {start}{name}: {section.name} has no such setting"
                f"{nearest(name, known)}"
            )
    for name, default in known.items():
        if name not in given and default is inspect.Parameter.empty:
            raise Fault(f"{own.line_of(part)}: needs a value for {start}{name}")
    said = {name: value for name, value in known.items() if _is_plain(value)}
    return json.loads(json.dumps({**said, **given})), list(used.values())


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


# -- counting -----------------------------------------------------------------------------------


def _counted(config: RunConfig, make: Callable[..., torch.nn.Module]) -> Counted:
    """Of one layer, without memory where the part can be built so."""
    try:
        return _count_on("meta", config, make)
    except (Fault, TimeoutError):
        raise
    except Exception:  # it looks at its numbers, or builds them outside torch
        return _count_on("cpu", config, make)


def _count_on(device: str, config: RunConfig, make: Callable[..., torch.nn.Module]) -> Counted:
    model, seq = config.model, config.data.seq_len
    with torch.device(device):
        part = make(model, choose(()))
        parameters = count_parameters(part)
        x = torch.zeros(1, seq, model.width, requires_grad=True)
        others = trial.rotary(model, seq)
    seen = _Operators()
    counter = FlopCounterMode(display=False)
    try:
        with counter, seen:
            y = trial.result(part(x, *others))
            y.sum().backward()
    except (Fault, TimeoutError):
        raise
    except Exception as error:
        if device == "meta":
            raise
        reason = own.where(error) or own.said(error)
        return Counted(total=parameters.total, active=parameters.active, flops=None, reason=reason)
    reason = f"it uses {seen.foreign}, which torch cannot count" if seen.foreign else ""
    flops = None if reason else counter.get_total_flops() / seq
    return Counted(total=parameters.total, active=parameters.active, flops=flops, reason=reason)


class _Operators(TorchDispatchMode):
    """Notes operators that are not torch's own."""

    foreign: str = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace not in KNOWN_OPS and func not in _counts():
            self.foreign = self.foreign or str(func)
        return func(*args, **(kwargs or {}))


def _counts() -> Mapping[Any, Any]:
    from torch.utils.flop_counter import flop_registry

    return flop_registry


def _end_what_does_not_end(seconds: float, cpu_seconds: float) -> None:
    """Have a loop without end, and whatever ends the process outright, say where it was."""
    faulthandler.enable()  # a segmentation fault prints the lines, which the parent reads
    faulthandler.dump_traceback_later(seconds, exit=True)
    if hasattr(signal, "setitimer"):  # an endless loop of Python costs CPU time: told sooner

        def too_long(number: int, frame: Any) -> NoReturn:
            raise TimeoutError(f"it had not ended after {cpu_seconds:g} s of computing")

        signal.signal(signal.SIGVTALRM, too_long)
        signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)


def main() -> NoReturn:
    """Answer the question on standard input."""
    out = sys.stdout
    _end_what_does_not_end(*map(float, sys.argv[1:]))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = answer(json.load(sys.stdin))
    except (Fault, RequestError) as fault:
        found = {"fault": " ".join(str(fault).split())}
    print(json.dumps(found), file=out, flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
