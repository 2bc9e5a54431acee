"""How far apart equal runs end: one arm, nothing changed but the seed.

The spread of its losses stands beside every difference of the same scale. Eight seeds that no
verdict uses: a standard deviation from eight values is known to about a quarter of itself.

`proxy`, on two cores with two runs at a time: 8 x 200 updates x 1.4 s / 2 = 19 minutes, and about
two more for validations and the start of 16 processes.
"""

from harness import presets
from harness.config import replace
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from models.presets import model


@recipe(
    "noise_floor",
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds={"smoke": 8, "proxy": 8, "full": 8},
    first_seed=2000,
)
def noise_floor(scale: Scale) -> Recipe:
    """The noise floor: the dense arm over eight seeds, nothing else changed."""
    base = presets.question(scale)
    if scale == "proxy":
        base = replace(base, presets.MANY_DOCUMENTS)
    # Half-way and the end: its curve is not the question.
    halves = {"train.eval_every": max(1, base.train.tokens // base.tokens_per_update // 2)}
    return Recipe(
        replace(base, halves),
        axes=[Axis("model", ["model.*"], {"dense": model("dense", scale)})],
        horizons=[Tokens(base.train.tokens)],
        role="noise",
        views=["comparison"],
    )
