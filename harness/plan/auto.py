"""Fields that say `auto`: what a plan puts in their place, and why.

Once for a whole recipe, since arms must not differ in it. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.config import OptimConfig, flatten
from harness.errors import RequestError
from harness.evidence import breakeven, kernel_choice, precision
from harness.plan.grid import Arm
from harness.recipe import Recipe, Tokens

COMPILE, KERNELS = "train.compile", "train.kernels"
DTYPE, NS_DTYPE = "train.dtype", "optim.muon_ns_dtype"
FIELDS = (COMPILE, KERNELS, DTYPE, NS_DTYPE)


@dataclass(frozen=True)
class Evidence:
    """What was measured on the device at hand, asked only where a field is `auto`."""

    compile_lines: breakeven.Timings = breakeven.unmeasured
    kernel_ratios: kernel_choice.Ratios = kernel_choice.unmeasured
    native: precision.Probe = precision.unasked


NONE = Evidence()
"""Nothing was measured."""


class Chosen(NamedTuple):
    """A value in the place of `auto`."""

    value: Any
    text: str
    """The value and its reason, in one line."""


def choose(recipe: Recipe, overrides: Mapping[str, Any], evidence: Evidence) -> dict[str, Chosen]:
    """Field -> choice, for those that the base or the user leaves to the plan."""
    train = recipe.base.train
    found = {}
    if overrides.get(COMPILE, train.compile) == "auto":
        mode, reason = breakeven.choose(_shortest(recipe), *evidence.compile_lines())
        found[COMPILE] = Chosen(mode, f"{mode}: {reason}")
    if overrides.get(KERNELS, train.kernels) == "auto":
        names, reason = kernel_choice.choose(*evidence.kernel_ratios())
        found[KERNELS] = Chosen(names, f"{', '.join(names) or 'none'}: {reason}")
    if overrides.get(DTYPE, train.dtype) == "auto":
        native = evidence.native()
        found[DTYPE] = Chosen(native.dtype, f"{native.dtype}: {native.why}")
    if overrides.get(NS_DTYPE, recipe.base.optim.muon_ns_dtype) == "auto":
        native = evidence.native()
        found[NS_DTYPE] = Chosen(native.dtype, f"{native.dtype}: {native.why}")
        if not native.bf16 and _has_torch_muon(recipe, overrides):
            text = f"bf16: torch-muon knows no other, and arms may not differ in it; {native.why}"
            found[NS_DTYPE] = Chosen("bf16", text)
    return found


def check_resolved(grid: Sequence[Arm]) -> None:
    """Refuse arms or stages that say `auto` themselves. Raises RequestError naming the field."""
    for arm in grid:
        for config in (arm.config, *(step.config for step in arm.steps)):
            fields = flatten(config)
            for path in FIELDS:
                if fields[path] == "auto":
                    raise RequestError(
                        f"arm '{arm.name}': {path}=auto is resolved once for all arms, so it "
                        "belongs in the recipe's base; an arm or a stage names a value"
                    )


def _has_torch_muon(recipe: Recipe, overrides: Mapping[str, Any]) -> bool:
    """Whether some arm trains with PyTorch's Muon."""
    if "optim.name" in overrides:
        return bool(overrides["optim.name"] == "torch-muon")
    changes = [
        axis.changes(value, lambda: recipe.base) for axis in recipe.axes for value in axis.values
    ]
    whole = [change["optim"] for change in changes if "optim" in change]
    names = {change.get("optim.name") for change in changes}
    names |= {optim.name for optim in whole if isinstance(optim, OptimConfig)}
    return "torch-muon" in names | {recipe.base.optim.name}


def _shortest(recipe: Recipe) -> int:
    """Updates of the shortest run."""
    base = recipe.base
    lengths = [h.tokens for h in recipe.horizons if isinstance(h, Tokens)]
    return min([*lengths, base.train.tokens]) // base.tokens_per_update
