"""The search behind `dense_vs_moe`: the same grid for each of its arms.

Learning rates (Muon's and AdamW's scaled together) x2, x4 and x8 of the scale's base, times weight
decay 0.4, 1.6 and 6.4: 9 settings an arm, 36 runs, on a seed that no verdict uses, at one horizon.
Only its end is validated, on a fifth of the verdict's documents, and no second text.

At `proxy` it trains for 60 updates, three fifths of those in `dense_vs_moe`, so that the search
ends within ten minutes on two cores: the best rate of a longer run may be lower.
"""

from harness.config import replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from models.presets import model
from recipes.dense_vs_moe import kinds, size, start

FACTORS = (2.0, 4.0, 8.0)
DECAYS = (0.4, 1.6, 6.4)
UPDATES = {"smoke": 60, "proxy": 60, "full": 250}


@recipe(
    "tune_dense_vs_moe",
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds={"smoke": 1, "proxy": 1, "full": 1},
    first_seed=1000,
)
def tune_dense_vs_moe(scale: Scale) -> Recipe:
    """An equal search over learning rate and weight decay for each arm of dense_vs_moe."""
    base = start(scale)
    tokens = UPDATES[scale] * base.tokens_per_update
    base = replace(base, {"train.tokens": tokens, "train.eval_every": UPDATES[scale]})
    if scale == "proxy":
        base = replace(base, {"data.val_tokens": 14_000, "data.second": ()})
    return Recipe(
        base,
        axes=[
            Axis("model", ["model.*"], {kind: model(kind, size(scale)) for kind in kinds(scale)}),
            *tuning.axes(base, FACTORS, DECAYS),
        ],
        horizons=[Tokens(tokens)],
        views=["tuning"],
    )
