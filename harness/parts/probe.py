"""The child that loads and tries parts that are not ours. `python -P -m harness.parts.probe`.

Reads a question as JSON, writes an answer as JSON: the parts' settings complete with their
defaults, what was counted of them, or the fault. They are tried on the CPU, in one layer of the
model that they are for: shapes, finite numbers, no look at later tokens, two updates.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from harness.config import RunConfig, flatten, replace
from harness.errors import RequestError, nearest
from harness.optim import build, schedule
from harness.optim import own as optimizers
from harness.parts import loss_term
from models import own, parts
from models.config import Counted, ModelConfig
from models.dtypes import DTYPES
from models.layers import rotary_angles
from models.lm import LanguageModel, count_parameters
from models.ops import choose
from models.own import Fault

TOKENS, VOCABULARY, BATCH = 16, 64, 2
"""What parts are tried on."""
UPDATES = 2
KNOWN_OPS = ("aten", "prims", "prim")
"""The families of operators whose matrix products torch's counter knows."""
CALLED = {"schedule.shape": 1, "train.loss": 2}
"""What is called while it trains -> with how many arguments."""
STEPS = 100
"""A schedule is tried at so many points of its course."""
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
        with _blamed_on(objects[kind]):
            settings, used = _settings(kind, section, objects[kind], question["wishes"])
        changes[f"{kind}.settings"] = settings
        taken += used
    config = replace(config, changes)
    for kind, make in MAKERS.items():
        if kind in objects:
            with _blamed_on(objects[kind]):
                changes[f"{kind}.counted"] = _counted(config, make).model_dump()
    _try(config, objects)
    return {"changes": changes, "taken": taken}


def _section(config: RunConfig, kind: str) -> Any:
    found: Any = config
    for step in kind.split("."):
        found = getattr(found, step)
    return found


def _handed(kind: str, part: Any) -> int:
    """How many arguments stand before a part's settings."""
    if kind == "optim":
        return optimizers.handed_in(part)
    if kind in CALLED:  # a class takes its settings alone, and its objects are called
        return 0 if isinstance(part, type) else CALLED[kind]
    return 1


def _settings(
    kind: str, section: Any, part: Any, wishes: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """A part's settings, its own defaults said, and the wishes among them."""
    if not callable(part):
        raise Fault(f"{section.name} is {type(part).__name__}, neither class nor function")
    signature = list(inspect.signature(part).parameters.values())
    handed = _handed(kind, part)
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
        if name not in known and not open_ended:
            raise RequestError(
                f"{start}{name}: {section.name} has no such setting{nearest(name, known)}"
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
    except Fault:
        raise
    except Exception:  # it looks at its numbers, or builds them outside torch
        return _count_on("cpu", config, make)


def _count_on(device: str, config: RunConfig, make: Callable[..., torch.nn.Module]) -> Counted:
    model, seq = config.model, config.data.seq_len
    with torch.device(device):
        part = make(model, choose(()))
        parameters = count_parameters(part)
        x = torch.zeros(1, seq, model.width, requires_grad=True)
        others = _rotary(model, seq)
    seen = _Operators()
    counter = FlopCounterMode(display=False)
    try:
        with counter, seen:
            y = _result(part(x, *others))
            y.sum().backward()
    except Fault:
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


# -- trying -------------------------------------------------------------------------------------


def _try(config: RunConfig, objects: Mapping[str, Any]) -> None:
    """In one layer, in the dtype that will be computed in."""
    small = config.model.model_copy(
        update={"layers": 1, "vocab_size": VOCABULARY, "max_seq_len": TOKENS}
    )
    dtype = DTYPES[config.train.dtype]
    torch.manual_seed(0)
    blocks = [part for kind, part in objects.items() if kind in MAKERS or kind == "train.loss"]
    if "schedule.shape" in objects:
        with _blamed_on(objects["schedule.shape"]):
            for step in range(STEPS):
                schedule.own_factor(config.schedule.shape, step / STEPS)
    with _blamed_on(*blocks):
        model = LanguageModel(small, dtype)
        model.init_weights(0)
        if config.train.dtype == "fp64":
            model.double()
        model.loss_term = loss_term.term(config.train.loss)
    for kind in MAKERS:
        if kind in objects:
            module: Any = model.blocks[0].get_submodule(kind.removeprefix("model."))
            with _blamed_on(objects[kind]):
                _try_part(module, small, dtype)
    tokens = torch.randint(0, VOCABULARY, (BATCH, TOKENS))
    made = None
    for _ in range(UPDATES):
        with _blamed_on(*blocks), model.working_weights():
            _finite(lambda: _whole(model, tokens), model).backward()
        with _blamed_on(*(part for kind, part in objects.items() if kind == "optim")):
            made = made or build.build(config.optim, model)
            made.set_factor(0.5)
            _step(made, model)
            made.load_state_dict(made.state_dict())
        for parameter in model.parameters():
            parameter.grad = None


def _whole(model: LanguageModel, tokens: Tensor) -> Tensor:
    sums = model.loss_sums(tokens, tokens)
    return sums.cross_entropy if sums.term is None else sums.cross_entropy + sums.term


def _try_part(module: Any, model: ModelConfig, dtype: torch.dtype) -> None:
    """Shape, dtype, finite numbers, and that no token sees a later one."""
    module.eval()
    place = own.line_of(type(module.part).forward)
    x = torch.randn(BATCH, TOKENS, model.width).to(dtype)
    others = _rotary(model, TOKENS, dtype)
    with torch.no_grad():
        y = _result(module(x, *others))
        if not isinstance(y, Tensor) or y.shape != x.shape or y.dtype != x.dtype:
            gives = f"{tuple(y.shape)} {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
            raise Fault(f"{place}: gives {gives}, not {tuple(x.shape)} {x.dtype}")
        if not y.isfinite().all():
            with _Spoiled(nan=bool(y.isnan().any())):
                module(x, *others)
            raise Fault(f"{place}: gives numbers that are not finite")
        changed = x.clone()
        changed[:, -1] += 1.0
        torch.manual_seed(0)
        before = module(x, *others)
        torch.manual_seed(0)
        after = module(changed, *others)
        if not torch.allclose(_result(before)[:, :-1], _result(after)[:, :-1], atol=1e-2):
            raise Fault(f"{place}: a token's result depends on later tokens")
    module.train()


def _finite(compute: Callable[[], Tensor], model: LanguageModel) -> Tensor:
    loss = compute()
    if not loss.isfinite():
        with _Spoiled(nan=bool(loss.isnan())):
            compute()
        raise FloatingPointError("the loss is not finite")
    return loss


def _step(made: build.Optimizers, model: LanguageModel) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = copy.deepcopy(made.state_dict())
    made.step()
    after = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    if after.isfinite().all():
        return
    model.load_state_dict(before)
    made.load_state_dict(states)
    with _Spoiled(nan=bool(after.isnan().any())):
        made.step()
    raise FloatingPointError("a step makes weights that are not finite")


class _Spoiled(TorchDispatchMode):
    """Raises where a NaN (or else an infinite number) first appears, so that the error's line is
    the one that made it."""

    def __init__(self, *, nan: bool) -> None:
        super().__init__()
        self.bad, self.word = (torch.isnan, "NaN") if nan else (torch.isinf, "infinite numbers")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            # What `empty` gives is whatever was there.
            if isinstance(one, Tensor) and one.is_floating_point() and "empty" not in str(func):
                with _disable_current_modes():
                    bad = bool(self.bad(one).any())
                if bad:
                    raise FloatingPointError(f"makes {self.word}")
        return made


def _rotary(
    model: ModelConfig, length: int, dtype: torch.dtype = torch.float32
) -> tuple[tuple[Tensor, Tensor]]:
    return (rotary_angles(torch.arange(length), model.head_dim, model.rope_theta, dtype),)


def _result(y: Any) -> Any:
    return y[0] if isinstance(y, tuple) else y


@contextlib.contextmanager
def _blamed_on(*parts_tried: Any) -> Iterator[None]:
    """An error inside is the fault of the part whose line it went through, else of the first."""
    try:
        yield
    except (Fault, RequestError):
        raise
    except Exception as error:
        raise Fault(own.where(error, *parts_tried[:1]) or own.said(error)) from error


def main() -> NoReturn:
    """Answer the question on standard input."""
    out = sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = answer(json.load(sys.stdin))
    except (Fault, RequestError) as fault:
        found = {"fault": " ".join(str(fault).split())}
    print(json.dumps(found), file=out, flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
