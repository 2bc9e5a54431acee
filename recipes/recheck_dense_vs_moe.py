"""The search behind `dense_vs_moe` once more, at the length of its verdict.

`tune_dense_vs_moe` looks far and short: 80 updates at `proxy`, where the verdict is at 200, and the
best rate of a longer run may be lower. Here the question's two arms are trained to the end with the
rate that was found and half and twice of it, at the weight decay that was found, on two seeds that
no verdict uses: 12 runs, some 40 minutes on two cores.
"""

from harness import presets
from harness.config import replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from models.presets import model
from recipes.dense_vs_moe import RECHECK, SEARCH

ARMS = ("dense", "moe-active")
FACTORS = (2.0, 4.0, 8.0)
DECAYS = (0.4,)
"""Rates and decay about the best in the records of `SEARCH`, which is one for both arms."""


@recipe(
    RECHECK,
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds={"proxy": 2},
    first_seed=1001,
)
def recheck_dense_vs_moe(scale: Scale) -> Recipe:
    """The rates about what the search for dense_vs_moe found, at the length of its verdict."""
    base = presets.question(scale)
    base = replace(base, {"train.eval_every": base.train.tokens // base.tokens_per_update})
    return Recipe(
        base,
        axes=[
            Axis("model", ["model.*"], {kind: model(kind, scale) for kind in ARMS}),
            *tuning.axes(base, FACTORS, DECAYS),
        ],
        horizons=[Tokens(base.train.tokens)],
        tuned_by=SEARCH,
        views=["tuning"],
    )
