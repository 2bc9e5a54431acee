"""The search that asks whether a ladder's learning rates carry over its sizes.

Both learning rates of an arm of `optimizers` together, x0.125 to x2 of where the preset starts, at
the ladder's middle budget and without decay, as its rungs are run. The best rates of the two
smallest rungs give a power of the width, which the third tests; the ladder's page says what came
of it. The preset's own rates, carried from a model of width 128, were up to four times too high.

`rung1` to `rung3` are a CPU's, `rung5` to `rung7` a card's, whose search nobody has run yet.

On two idle cores with two runs at a time: 2 arms x 5 rates x 2 seeds at each rung, 2 to 10 minutes.
"""

from harness import presets
from harness.config import replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from models.presets import CARD_RUNG_WIDTHS
from recipes.optimizers import RATIOS

FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0)
CARD_FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""The seed card's rates are those of a long run in large batches, low for a small model."""


@recipe(
    "tune_ladder",
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds=dict.fromkeys(("rung1", "rung2", "rung3", "rung5", "rung6", "rung7"), 2),
    first_seed=1000,
)
def tune_ladder(scale: Scale) -> Recipe:
    """An equal search over the learning rates of optimizers' arms at a ladder's rungs."""
    base = presets.question(scale)
    tokens = presets.budgets(base, RATIOS)[1]
    base = replace(base, {"train.tokens": tokens, "train.eval_every": 10_000})
    return Recipe(
        base,
        axes=[
            Axis("optimizer", ["optim.name"], {name: name for name in ("adamw", "muon")}),
            *tuning.axes(base, CARD_FACTORS if scale in CARD_RUNG_WIDTHS else FACTORS, (0.0,)),
        ],
        horizons=[Tokens(tokens)],
        views=["tuning"],
    )
