"""The search behind `dense_vs_moe` once more, at the length of its verdict.

`tune_dense_vs_moe` looks far and short: 80 updates at `proxy`, where the verdict is at 200. Here
every arm is trained to the end with three rates about the best, at the weight decay that was found,
on two seeds that no verdict uses: 24 runs, an hour on two cores. The rate that was best of a short
run, x4, was not of a long one, which had its best half as high; so the three begin at the base's.
"""

from harness import presets
from harness.config import replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from models.presets import CONTROL, model
from recipes.dense_vs_moe import RECHECK, SEARCH

ARMS = ("dense", "moe-active", "moe-total", CONTROL)
FACTORS = (1.0, 2.0, 4.0)
DECAYS = (0.4,)
"""Rates, and the decay that was the best of every arm in the records of `SEARCH`."""


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
