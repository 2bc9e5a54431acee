"""What an equal search varies, and how settings that it found enter an arm.

A search scales all learning rates of our optimizers together, by a factor on the scale's base, and
sets their weight decays alike. No torch; knows no record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.config import OptimConfig, RunConfig
from harness.recipe import Axis

RATES = tuple(f"optim.{name}" for name in OptimConfig.model_fields if name.endswith("_lr"))
DECAYS = tuple(
    f"optim.{name}" for name in OptimConfig.model_fields if name.endswith("_weight_decay")
)
FIELDS = (*RATES, *DECAYS)
"""What an arm's settings are: the fields that a search varies."""

RATE, DECAY = "rate", "decay"
"""The names of a search's own axes. The values of its other axes name the arm that is tuned."""


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
