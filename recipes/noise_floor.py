"""How far apart equal runs end: one arm, nothing changed but the seed.

The spread of its losses stands beside every difference of the same scale. Eight seeds that no
verdict uses: a standard deviation from eight values is known to about a quarter of itself.

`proxy` is the dense model of `dense_vs_moe` there: 8 runs take four minutes on two idle cores.
"""

from harness.config import replace
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from models.presets import model
from recipes.dense_vs_moe import size, start


@recipe(
    "noise_floor",
    primary=Primary(metric="val_loss", at="tokens", pairs=()),
    seeds={"smoke": 8, "proxy": 8, "full": 8},
    first_seed=2000,
)
def noise_floor(scale: Scale) -> Recipe:
    """The noise floor: the dense arm over eight seeds, nothing else changed."""
    base = start(scale)
    # Half-way and the end: its curve is not the question.
    halves = {"train.eval_every": max(1, base.train.tokens // base.tokens_per_update // 2)}
    return Recipe(
        replace(base, halves),
        axes=[Axis("model", ["model.*"], {"dense": model("dense", size(scale))})],
        horizons=[Tokens(base.train.tokens)],
        role="noise",
        views=["comparison"],
    )
