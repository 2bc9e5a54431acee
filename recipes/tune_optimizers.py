"""The search behind `optimizers`: as many trials for each of its arms, of the same form.

Learning rates x0.5, x1, x2 and x4 of where each optimizer starts, times weight decay by the part of
a weight that goes in an update at the peak rate, 0, 0.12, 0.4 and 0.8, times four forms: as it is,
the embedding's rate four-fold, a longer second momentum, a longer warm-up. 64 trials an arm, 192
runs, on a seed that no verdict uses, as long as the runs of the verdict. Only the end is validated,
on a fifth of the verdict's documents, and no second text.

`proxy`, on two idle cores with two runs at a time: 192 x 11 s / 2 = 18 minutes. A grid from x1 on
had AdamW's best at its edge.
"""

from harness.config import replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from recipes.optimizers import FORMS, TOUCHED, UPDATES, arms, base

FACTORS = (0.5, 1.0, 2.0, 4.0)
SHARES = (0.0, 0.12, 0.4, 0.8)
CHOSEN_BY = {"data.val_tokens": 14_000, "data.second": ()}
"""Some hundred documents."""


@recipe(
    "tune_optimizers",
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds={"smoke": 1, "proxy": 1, "full": 1},
    first_seed=1000,
)
def tune_optimizers(scale: Scale) -> Recipe:
    """An equal search over rate, weight decay and form for each arm of optimizers."""
    run = replace(base(scale), {"train.eval_every": UPDATES[scale]})
    if scale == "proxy":
        run = replace(run, CHOSEN_BY)
    return Recipe(
        run,
        axes=[
            Axis("optimizer", TOUCHED, arms(scale)),
            *tuning.any_axes(FACTORS, SHARES, FORMS),
        ],
        horizons=[Tokens(run.train.tokens)],
        views=["tuning"],
    )
