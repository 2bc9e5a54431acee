"""The search that asks whether a ladder's learning rates carry over its sizes.

Both learning rates of an arm of `optimizers` together, x0.125 to x2 of where the preset starts, at
the ladder's middle budget and without decay, as its rungs are run. The best rates of the two
smallest rungs give a power of the width, which the third tests; the ladder's page says what came
of it. The preset's own rates, carried from a model of width 128, were up to four times too high.

On two idle cores with two runs at a time: 2 arms x 5 rates x 2 seeds at each rung, 2 to 10 minutes.
"""

from harness import presets
from harness.config import replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from recipes.optimizers import RATIOS

FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0)


@recipe(
    "tune_ladder",
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds={"rung1": 2, "rung2": 2, "rung3": 2},
    first_seed=1000,
)
def tune_ladder(scale: Scale) -> Recipe:
    """An equal search over the learning rates of optimizers' arms at a ladder's rungs."""
    base = presets.run(scale)
    tokens = presets.budgets(base, RATIOS)[1]
    base = replace(base, {"train.tokens": tokens, "train.eval_every": 10_000})
    return Recipe(
        base,
        axes=[
            Axis("optimizer", ["optim.name"], {name: name for name in ("adamw", "muon")}),
            *tuning.axes(base, FACTORS, (0.0,)),
        ],
        horizons=[Tokens(tokens)],
        views=["tuning"],
    )
