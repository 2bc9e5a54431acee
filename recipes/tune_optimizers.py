"""The search behind `optimizers`: the same grid for each of its arms.

Learning rates (Muon's and AdamW's scaled together) x0.5 to x8 of the scale's base, times weight
decay 0, 0.1, 0.4, 1.6, 6.4 and 25.6: 30 settings an arm, 90 runs, on a seed that no verdict uses,
as long as the runs of the verdict. Only the end is validated. At `proxy` a grid that ended at x4
and 0.4 had Muon's best point in its corner, and those that ended at 1.6 and 6.4 had AdamW's at
their edge. The highest decays times the highest rates turn weights round, and may diverge.

`proxy`, on two cores with two runs at a time: 90 x 80 updates x 0.7 to 1.4 s / 2 = 42 to 84
minutes, and about ten more for the validation at each end and the start of 180 processes.
"""

from harness import presets
from harness.config import replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from recipes.optimizers import NAMES, UPDATES

FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0)
DECAYS = (0.0, 0.1, 0.4, 1.6, 6.4, 25.6)


@recipe(
    "tune_optimizers",
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds={"smoke": 1, "proxy": 1, "full": 1},
    first_seed=1000,
)
def tune_optimizers(scale: Scale) -> Recipe:
    """An equal search over learning rate and weight decay for each arm of optimizers."""
    base = presets.question(scale)
    tokens = UPDATES[scale] * base.tokens_per_update
    base = replace(base, {"train.tokens": tokens, "train.eval_every": UPDATES[scale]})
    return Recipe(
        base,
        axes=[
            Axis("optimizer", ["optim.name"], {name: name for name in NAMES}),
            *tuning.axes(base, FACTORS, DECAYS),
        ],
        horizons=[Tokens(tokens)],
        views=["tuning"],
    )
