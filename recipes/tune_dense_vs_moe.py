"""The search behind `dense_vs_moe`: the same grid for each of its arms.

Learning rates (Muon's and AdamW's scaled together) x1, x2, x4 and x8 of the scale's base, times
weight decay 0, 0.4 and 1.6: 12 settings an arm, 48 runs (60 at `proxy`), on a seed that no verdict
uses, at one horizon. Only its end is validated.

At `proxy` it trains for 80 updates, two fifths of those in `dense_vs_moe`, so that the search ends
within the hour on two cores: `recheck_dense_vs_moe` tries the rates about its best at the full
length.
"""

from harness import presets
from harness.config import replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from models.presets import CONTROL, KINDS, model

FACTORS = (1.0, 2.0, 4.0, 8.0)
DECAYS = (0.0, 0.4, 1.6)
UPDATES = {"smoke": 60, "proxy": 80, "full": 250}


@recipe(
    "tune_dense_vs_moe",
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds={"smoke": 1, "proxy": 1, "full": 1},
    first_seed=1000,
)
def tune_dense_vs_moe(scale: Scale) -> Recipe:
    """An equal search over learning rate and weight decay for each arm of dense_vs_moe."""
    base = presets.question(scale)
    searched = (*KINDS, CONTROL) if scale == "proxy" else KINDS
    tokens = UPDATES[scale] * base.tokens_per_update
    base = replace(base, {"train.tokens": tokens, "train.eval_every": UPDATES[scale]})
    return Recipe(
        base,
        axes=[
            Axis("model", ["model.*"], {kind: model(kind, scale) for kind in searched}),
            *tuning.axes(base, FACTORS, DECAYS),
        ],
        horizons=[Tokens(tokens)],
        views=["tuning"],
    )
