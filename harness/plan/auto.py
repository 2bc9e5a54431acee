"""Fields that say `auto`: what a plan puts in their place, and why.

Once for a whole recipe, since arms must not differ in it. Pure; may not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.evidence import breakeven, kernel_choice
from harness.recipe import Recipe, Tokens

COMPILE, KERNELS = "train.compile", "train.kernels"


@dataclass(frozen=True)
class Evidence:
    """What was measured on the device at hand, asked only where a field is `auto`."""

    compile_lines: breakeven.Timings = breakeven.unmeasured
    kernel_ratios: kernel_choice.Ratios = kernel_choice.unmeasured


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
    return found


def _shortest(recipe: Recipe) -> int:
    """Updates of the shortest run."""
    base = recipe.base
    lengths = [h.tokens for h in recipe.horizons if isinstance(h, Tokens)]
    return min([*lengths, base.train.tokens]) // base.tokens_per_update
