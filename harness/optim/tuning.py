"""What an equal search varies, and how settings that it found enter an arm.

A search scales all learning rates of an arm's optimizer together, by a factor on where they start,
and sets its weight decays alike: by their coefficient (`wd0.1`), or, where optimizers of other
kinds are compared, by the part of a weight that goes in an update at the peak rate (`share0.03`),
since what decays is their product. No torch; knows no record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config import OptimConfig, RunConfig, flatten, replace
from harness.errors import RequestError
from harness.optim import registry
from harness.recipe import Axis

RATES = tuple(f"optim.{name}" for name in OptimConfig.model_fields if name.endswith("_lr"))
DECAYS = tuple(
    f"optim.{name}" for name in OptimConfig.model_fields if name.endswith("_weight_decay")
)
FIELDS = (*RATES, *DECAYS)
"""What the settings of our optimizers are: the fields that a search varies."""
OWN = "optim.settings."
"""Before the settings of an optimizer that is not ours."""

_NUMBER = r"\d[\d.e+-]*$"
RATE, DECAY, FORM = "rate", "decay", "form"
"""The names of a search's own axes, the first of which every search has. The values of its other
axes name the arm that is tuned."""
FORMS = ("optim.adamw_betas", "optim.adamw_embedding_factor", "schedule.warmup_updates")
"""What a value of `FORM` may set: what is tried of each arm beside its rate and its decay."""


@dataclass(frozen=True)
class Settings:
    """One point of a search."""

    rate: float
    """Factor on the learning rates of the scale's base."""
    decay: float
    """Weight decay of Muon's matrices and of what AdamW decays."""

    def changes(self, base: RunConfig) -> dict[str, float]:
        """The dotted fields that they set, over a base."""
        return {
            **{
                path: getattr(base.optim, path.removeprefix("optim.")) * self.rate for path in RATES
            },
            **dict.fromkeys(DECAYS, self.decay),
        }


def axes(base: RunConfig, rates: Sequence[float], decays: Sequence[float]) -> list[Axis]:
    """The two axes of a search: factors on the learning rates (`x2`), weight decays (`wd0.1`)."""
    rate = {
        f"x{r:g}": {f: v for f, v in Settings(r, 0.0).changes(base).items() if f in RATES}
        for r in rates
    }
    decay = {f"wd{d:g}": {field: float(d) for field in DECAYS} for d in decays}
    return [Axis(RATE, RATES, rate), Axis(DECAY, DECAYS, decay)]


# -- optimizers of any kind -----------------------------------------------------------------------


def is_rate(path: str) -> bool:
    """Whether a dotted field is a learning rate, of ours or of another optimizer."""
    own = path.removeprefix(OWN) if path.startswith(OWN) else ""
    return path in RATES or own == "lr" or own.startswith("lr_") or own.endswith("_lr")


def is_decay(path: str) -> bool:
    """Whether a dotted field is a weight decay."""
    return path in DECAYS or path == f"{OWN}weight_decay"


def is_setting(path: str) -> bool:
    """Whether a search may vary a dotted field."""
    return is_rate(path) or is_decay(path)


def is_read(name: str, path: str) -> bool:
    """Whether an optimizer reads a dotted field: AdamW, for one, none of Muon's."""
    return not registry.is_flat(name) or registry.reads(name, path.removeprefix("optim."))


def own_rate(name: str, settings: Mapping[str, float]) -> float:
    """The learning rate that an optimizer is named for, of dotted fields: Muon's, though AdamW
    beside it has one too. Raises ValueError where there is none."""
    rates = [p for p in settings if is_rate(p) and is_read(name, p)]
    named = [p for p in rates if p.removeprefix("optim.").removesuffix("_lr") in name]
    if not rates:
        raise ValueError(f"{name} has no learning rate among {', '.join(settings) or 'nothing'}")
    return settings[(named or rates)[0]]


def names_number(value: str) -> bool:
    """Whether `number` can be read."""
    return re.search(_NUMBER, value) is not None


def number(value: str) -> float:
    """What a value's name says: 0.5 of `x0.5`. Raises ValueError for a name without a number."""
    found = re.search(_NUMBER, value)
    if found is None:
        raise ValueError(f"'{value}' names no number")
    return float(found[0])


def _read(config: RunConfig) -> dict[str, float]:
    """The fields of `is_setting` that the configuration's optimizer reads."""
    name = config.optim.name
    ours = registry.is_flat(name)
    return {
        path: float(value)
        for path, value in flatten(config.optim, "optim.").items()
        if is_setting(path) and path.startswith(OWN) != ours and is_read(name, path)
    }


@dataclass(frozen=True)
class Scaled:
    """The value of an axis: every learning rate of the arm's optimizer times a factor."""

    factor: float

    def __call__(self, config: RunConfig) -> dict[str, float]:
        """The fields that it sets. Raises RequestError where the arm names no learning rate."""
        found = {p: v * self.factor for p, v in _read(config).items() if is_rate(p)}
        if not found:
            raise RequestError(f"{config.optim.name}: a search scales optim.settings.lr: name one")
        return found


@dataclass(frozen=True)
class Share:
    """The value of an axis: weight decay by the part of a weight that goes at the peak rate."""

    share: float

    def __call__(self, config: RunConfig) -> dict[str, float]:
        """Each weight decay as the share by the learning rate beside it."""
        read = _read(config)
        found = {}
        for path in (path for path in read if is_decay(path)):
            rate = read[path.replace("weight_decay", "lr")]
            found[path] = float(f"{self.share / rate:.6g}") if rate else 0.0
        return found


ANY = (*FIELDS, f"{OWN}*")
"""What the axes of such a search touch: a decay that is a share moves with the rate."""


def any_axes(rates: Sequence[float], shares: Sequence[float]) -> list[Axis]:
    """The two axes of a search over optimizers of any kind."""
    return [
        Axis(RATE, ANY, {f"x{r:g}": Scaled(r) for r in rates}),
        Axis(DECAY, ANY, {f"share{s:g}": Share(s) for s in shares}),
    ]


def found(base: RunConfig, start: Mapping[str, Any], rate: float, share: float) -> dict[str, Any]:
    """An arm with what such a search found for it: its own starting point, scaled."""
    changes = dict(start)
    for value in (Scaled(rate), Share(share)):
        changes.update(value(replace(base, changes)))
    return changes
