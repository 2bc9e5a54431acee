"""Parts that are not ours, tried on the CPU in one layer of the model that they are for.

Shapes, dtypes, finite numbers forward and backward, no look at later tokens or at other sequences,
parameters that an optimizer sees, two updates that change weights. Each fault is one line with the
file and the line that made it.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from harness.config import RunConfig
from harness.errors import RequestError, nearest
from harness.optim import build, schedule
from harness.parts import loss_term
from models import own
from models.config import ModelConfig
from models.dtypes import DTYPES
from models.layers import rotary_angles
from models.lm import LanguageModel
from models.own import Fault
from models.roles import Kind, Role

TOKENS, VOCABULARY, BATCH = 16, 64, 2
"""What parts are tried on."""
UPDATES = 2
STEPS = 100
"""A schedule is tried at so many points of its course."""
MODULES = ("model.feed_forward", "model.attention")


def try_parts(config: RunConfig, objects: Mapping[str, Any]) -> None:
    """Try loaded parts, by the place in the configuration that names them, in the dtype that will
    be computed in. Raises Fault."""
    small = config.model.model_copy(update={"layers": 1, "vocab_size": VOCABULARY})
    dtype = DTYPES[config.train.dtype]
    torch.manual_seed(0)
    blocks = [part for kind, part in objects.items() if kind in MODULES or kind == "train.loss"]
    if "schedule.shape" in objects:
        with blamed_on(objects["schedule.shape"]):
            for step in range(STEPS):
                schedule.own_factor(config.schedule.shape, step / STEPS)
    with blamed_on(*blocks):
        model = LanguageModel(small, dtype)
        model.init_weights(0)
        if config.train.dtype == "fp64":
            model.double()
        model.loss_term = loss_term.term(config.train.loss)
    for kind in MODULES:
        if kind in objects:
            module: Any = model.blocks[0].get_submodule(kind.removeprefix("model."))
            with blamed_on(objects[kind]):
                _try_module(module, small, dtype, config.data.seq_len)
    if "train.loss" in objects:
        with blamed_on(objects["train.loss"]):
            _try_term(objects["train.loss"], model)
    _try_updates(config, objects, model, blocks)


def _try_updates(
    config: RunConfig, objects: Mapping[str, Any], model: LanguageModel, blocks: list[Any]
) -> None:
    own_optimizer = [objects["optim"]] if "optim" in objects else []
    tokens = torch.randint(0, VOCABULARY, (BATCH, TOKENS))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = None
    for _ in range(UPDATES):
        with blamed_on(*blocks):
            _backward(model, tokens)
            for kind in MODULES:
                if kind in objects:
                    _refuse_untrained(model.blocks[0].get_submodule(kind.removeprefix("model.")))
        with blamed_on(*(own_optimizer or blocks)):
            made = made or build.build(config.optim, model)
            made.set_factor(0.5)
            _step(made, model)
            _keep(made)
        for parameter in model.parameters():
            parameter.grad = None
    if own_optimizer and made and _moves(made) and _same(before, model.state_dict()):
        place = _line(getattr(own_optimizer[0], "step", own_optimizer[0]))
        raise Fault(f"{place}: {UPDATES} steps change no weight")


def _moves(made: build.Optimizers) -> bool:
    return any(group["lr"] for part in made.parts.values() for group in part.param_groups)


def _same(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, after[name]) for name, value in before.items())


# -- modules ------------------------------------------------------------------------------------


def _try_module(module: Any, model: ModelConfig, dtype: torch.dtype, length: int) -> None:
    """Shape, dtype, finite numbers, no token that sees a later one or another sequence, and no
    parameter that torch does not see; also at the `length` that will be trained."""
    module.eval()
    _refuse_unseen(module.part)
    _refuse_roles(module.part)
    place = _line(type(module.part).forward)
    x = torch.randn(BATCH, TOKENS, model.width).to(dtype)
    others = rotary(model, TOKENS, dtype)
    with torch.no_grad():
        y = result(module(x, *others))
        _refuse_unlike(place, y, x)
        if not y.isfinite().all():
            with _Spoiled(nan=bool(y.isnan().any())):
                module(x, *others)
            raise Fault(f"{place}: gives numbers that are not finite")
        changed = x.clone()
        changed[:, -1] += 1.0
        before, after = (_drawn(module, value, others) for value in (x, changed))
        if not torch.allclose(before[:, :-1], after[:, :-1], atol=1e-2):
            raise Fault(f"{place}: a token's result depends on later tokens")
        for one in range(BATCH):
            changed = x + 1.0
            changed[one] = x[one]
            if not torch.allclose(before[one], _drawn(module, changed, others)[one], atol=1e-2):
                raise Fault(f"{place}: a sequence's result depends on others in its batch")
        x = torch.randn(1, length, model.width).to(dtype)
        _refuse_unlike(place, result(module(x, *rotary(model, length, dtype))), x)
    module.train()


def _drawn(module: Any, x: Tensor, others: tuple[Any, ...]) -> Tensor:
    """Its result, whatever it draws at random the same each time."""
    torch.manual_seed(0)
    y: Tensor = result(module(x, *others))
    return y


def _refuse_unlike(place: str, y: Any, x: Tensor) -> None:
    if not isinstance(y, Tensor) or y.shape != x.shape or y.dtype != x.dtype:
        gives = f"{tuple(y.shape)} {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        raise Fault(f"{place}: gives {gives}, not {tuple(x.shape)} {x.dtype}")


def _refuse_unseen(part: nn.Module) -> None:
    """Raise Fault for weights that torch does not know of, and so no optimizer: a tensor that is
    no Parameter, or modules in a plain list or dict."""
    seen = {id(one) for one in (*part.modules(), *part.parameters())}
    for owner in part.modules():
        for name, value in vars(owner).items():
            if name.startswith("_"):
                continue
            inside = tree_leaves(value) if isinstance(value, list | tuple | dict) else [value]
            lost = [one for one in inside if _learns(one) and id(one) not in seen]
            if lost:
                what = "a list or dict" if inside != [value] else "a tensor"
                should = "ParameterList" if isinstance(lost[0], Tensor) else "ModuleList"
                should = "Parameter" if inside == [value] else should
                raise Fault(
                    f"{_set_at(owner, name)}: self.{name} is {what} with weights that no optimizer "
                    f"sees: torch.nn.{should}"
                )


def _learns(value: Any) -> bool:
    if isinstance(value, nn.Module):
        return any(True for _ in value.parameters())
    return isinstance(value, Tensor) and value.requires_grad


def _set_at(owner: nn.Module, name: str) -> str:
    """`FILE:LINE` at which a module's class sets an attribute, else where the class begins."""
    place = own.line_of(type(owner))
    file, colon, first = place.rpartition(":")
    if not colon or not first.isdigit():
        return place
    for offset, line in enumerate(inspect.getsourcelines(type(owner))[0]):
        if re.search(rf"\bself\.{re.escape(name)}\b[^=]*=", line):
            return f"{file}:{int(first) + offset}"
    return place


def _refuse_roles(part: nn.Module) -> None:
    """Raise Fault where `roles()` names no parameter, or no role."""
    if not hasattr(part, "roles"):
        return
    declared: Any = part.roles
    said: dict[str, Any] = declared()
    names, place = {name for name, _ in part.named_parameters()}, _line(declared)
    for name, role in said.items():
        if name not in names:
            raise Fault(f"{place}: it has no parameter '{name}'{nearest(name, names)}")
        if not isinstance(role, Role) and role not in get_args(Kind):
            near = nearest(str(role), get_args(Kind))
            raise Fault(f"{place}: '{name}' has no role {role!r}{near}")


def _refuse_untrained(module: nn.Module) -> None:
    part: Any = module.part
    wanted = [p for p in part.parameters() if p.requires_grad]
    if wanted and all(p.grad is None for p in wanted):
        raise Fault(f"{_line(type(part).forward)}: none of its parameters gets a gradient")


def _try_term(part: Any, model: LanguageModel) -> None:
    """A loss term may look, and not touch: the cross-entropy is of the same tensors."""
    logits = torch.randn(TOKENS, VOCABULARY, requires_grad=True) * 1.0
    targets = torch.randint(0, VOCABULARY, (TOKENS,))
    term = model.loss_term
    assert term is not None
    place = _line(part.__call__ if isinstance(part, type) else part)
    for name, value in (("logits", logits), ("targets", targets)):
        version = value._version
        term(logits, targets)
        if value._version != version:
            raise Fault(f"{place}: it changes its {name} in place")


# -- updates ------------------------------------------------------------------------------------


def _backward(model: LanguageModel, tokens: Tensor) -> None:
    """One forward and backward pass; its gradients are finite."""

    def loss() -> Tensor:
        sums = model.loss_sums(tokens, tokens)
        return sums.cross_entropy if sums.term is None else sums.cross_entropy + sums.term

    with model.working_weights():
        value = loss()
        if not value.isfinite():
            with _Spoiled(nan=bool(value.isnan())):
                loss()
            raise FloatingPointError("the loss is not finite")
        why = None
        try:
            value.backward()
        except Exception as error:
            why = own.said(error)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if why is None and not all(gradient.isfinite().all() for gradient in gradients):
        why = "FloatingPointError: its gradient is not finite"
    if why is not None:
        with model.working_weights():
            place = _forward_line(loss)
        raise Fault(f"{place}: backward: {why}") if place else RuntimeError(why)


def _forward_line(loss: Callable[[], Tensor]) -> str | None:
    """`FILE:LINE` of the operation of an own part whose backward goes wrong, as torch's anomaly
    detection remembers it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with contextlib.suppress(Exception), torch.autograd.detect_anomaly():
            loss().backward()
    text = "\n".join(str(one.message) for one in told)
    found = re.findall(rf'File "{re.escape(own.MARK)}(.+?)", line (\d+)', text)
    return ":".join(found[-1]) if found else None


def _step(made: build.Optimizers, model: LanguageModel) -> None:
    """One step, whose weights are finite and of the shapes and dtypes that they were."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = copy.deepcopy(made.state_dict())
    made.step()
    for name, value in model.state_dict().items():
        old = before[name]
        if value.shape != old.shape or value.dtype != old.dtype:
            raise RuntimeError(
                f"a step makes {name} {tuple(value.shape)} {value.dtype}, "
                f"which was {tuple(old.shape)} {old.dtype}"
            )
    after = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    if after.isfinite().all():
        return
    model.load_state_dict(before)
    made.load_state_dict(states)
    with _Spoiled(nan=bool(after.isnan().any())):
        made.step()
    raise FloatingPointError("a step makes weights that are not finite")


def _keep(made: build.Optimizers) -> None:
    """Its state goes through a checkpoint and back."""
    kept = io.BytesIO()
    try:
        torch.save(made.state_dict(), kept)
        kept.seek(0)
        state = torch.load(kept, weights_only=True)
    except Exception as error:
        raise RuntimeError(f"its state cannot be kept in a checkpoint: {own.said(error)}") from None
    made.load_state_dict(state)


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


def rotary(
    model: ModelConfig, length: int, dtype: torch.dtype = torch.float32
) -> tuple[tuple[Tensor, Tensor]]:
    """What an attention is handed beside its input, as the model makes it."""
    return (rotary_angles(torch.arange(length), model.head_dim, model.rope_theta, dtype),)


def result(y: Any) -> Any:
    """What a part gives, without the routing that a mixture of experts gives beside it."""
    return y[0] if isinstance(y, tuple) else y


def _line(function: Any) -> str:
    """`FILE:LINE` of a function, whatever it is decorated with."""
    return own.line_of(inspect.unwrap(function))


@contextlib.contextmanager
def blamed_on(*parts_tried: Any) -> Iterator[None]:
    """An error inside is the fault of the part whose line it went through, else of the first. So
    is the end of the process that a part asks for."""
    try:
        yield
    except (Fault, RequestError, GeneratorExit):
        raise
    except BaseException as error:
        raise Fault(own.where(error, *parts_tried[:1]) or own.said(error)) from error
