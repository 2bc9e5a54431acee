"""The search behind `optimizers`: the same grid for each of its arms.

Learning rates (Muon's and AdamW's scaled together) x0.5, x1, x2 and x4 of the scale's base, times
weight decay 0, 0.1 and 0.4: 12 settings an arm, 36 runs, on a seed that no verdict uses, as long
as the runs of the verdict. Only the end is validated.

`proxy`, on two cores with two runs at a time: 36 x 80 updates x 1.4 s / 2 = 34 minutes, and about
four more for the validation at each end and the start of 72 processes.
"""

from harness import presets, tuning
from harness.config import replace
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from recipes.optimizers import NAMES, UPDATES

FACTORS = (0.5, 1.0, 2.0, 4.0)
DECAYS = (0.0, 0.1, 0.4)


@recipe(
    "tune_optimizers",
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds={"smoke": 1, "proxy": 1, "full": 1},
    first_seed=1000,
)
def tune_optimizers(scale: Scale) -> Recipe:
    """An equal search over learning rate and weight decay for each arm of optimizers."""
    base = presets.run(scale)
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
