"""The search behind `optimizers` once more: what else than rate and decay suits each arm.

AdamW is often denied what Muon has: an embedding rate of its own, a second momentum and a warm-up
that were looked for. Here each arm is tried with three such forms and as it is, at a quarter, half,
once and twice the rate that `tune_optimizers` found, at the weight decay that it found: 16 trials
an arm, 48 runs, on a seed that no verdict uses, as long as the runs of the verdict; 50 minutes on
two cores. Rates go lower than they go higher: with a higher rate for the embedding, which AdamW
drives in Muon's arms as well, the best of the other rates is lower.
"""

from collections.abc import Mapping
from typing import Any

from harness import presets
from harness.config import replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from recipes.optimizers import FORM_SEARCH, FORMS, FOUND, NAMES, SEARCH, UPDATES

FACTORS = (0.25, 0.5, 1.0, 2.0)


@recipe(
    FORM_SEARCH,
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds={"proxy": 1},
    first_seed=1001,
)
def tune_optimizers_form(scale: Scale) -> Recipe:
    """What else than rate and weight decay suits each arm of optimizers, about what was found."""
    base = presets.question(scale)
    tokens = UPDATES[scale] * base.tokens_per_update
    base = replace(base, {"train.tokens": tokens, "train.eval_every": UPDATES[scale]})
    arms: dict[str, Mapping[str, Any]] = {
        name: {"optim.name": name, **FOUND[scale][name].changes(base)} for name in NAMES
    }
    return Recipe(
        base,
        axes=[
            Axis("optimizer", ["optim.name", *tuning.FIELDS], arms),
            Axis(tuning.FORM, tuning.FORMS, FORMS),
            Axis(tuning.RATE, tuning.RATES, {f"x{f:g}": tuning.Scaled(f) for f in FACTORS}),
        ],
        horizons=[Tokens(tokens)],
        tuned_by=SEARCH,
        views=["tuning"],
    )
