"""The search behind `optimizer_field`: as many trials for each of its optimizers, of the same form.

Learning rates x0.25 to x8 of where each optimizer starts, times weight decay by the part of a
weight that goes in an update at the peak rate, 0, 0.12, 0.4 and 0.8: 24 trials an optimizer, on a
seed that no verdict uses, as long as the runs of the verdict. Only the end is validated. Grids that
ended at 0.12 and at 0.4 had the best points of AdamW and of Muon at their edges: in 60 updates much
may go.
"""

from harness.config import replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from recipes.optimizer_field import FIELD, TOUCHED, base, length

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SHARES = (0.0, 0.12, 0.4, 0.8)


@recipe(
    "tune_optimizer_field",
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds={"smoke": 1, "proxy": 1},
    first_seed=1000,
)
def tune_optimizer_field(scale: Scale) -> Recipe:
    """An equal search over learning rate and weight decay for each arm of optimizer_field."""
    tokens = length(scale)
    return Recipe(
        replace(base(scale), {"train.eval_every": tokens}),
        axes=[
            Axis("optimizer", TOUCHED, FIELD),
            *tuning.any_axes(FACTORS, SHARES),
        ],
        horizons=[Tokens(tokens)],
        views=["tuning"],
    )
