"""What training costs on the device at hand: the steady rate of the dense model, and of the mixture
of experts with as many active parameters, each compiled block by block. Nothing is judged.

Launches are timed, interleaved and alone on the machine. The card's `cost` table takes the dense
model's rate at `full` on a rented card from here, in place of the projection from the roofline.

`full`, on an H100 by the roofline at half its speed: 12 launches of 20 or 60 updates of 98,304
tokens, 0.3 s each for the dense model, and half a minute of start-up and compilation each: ten
minutes.
"""

from harness import presets
from harness.config import replace
from harness.recipe import Axis, Launches, Primary, Recipe, Scale, Tokens, recipe
from models.presets import model

LENGTHS = {"smoke": (20, 60), "proxy": (20, 60), "full": (20, 60)}
"""Updates."""
MARGIN = 0.02
"""Nats a token, as in other timing recipes; no pair is compared here."""


@recipe(
    "cost",
    primary=Primary(metric="tokens_per_second", at="long", pairs=()),
    seeds={"smoke": 2, "proxy": 5, "full": 3},
)
def cost(scale: Scale) -> Recipe:
    """The steady rate behind hours and dollars: the dense model and its equal in active size."""
    base = presets.run(scale)
    short, long = (updates * base.tokens_per_update for updates in LENGTHS[scale])
    only_the_end = {
        "train.tokens": long, "train.eval_every": LENGTHS[scale][1],
        "train.checkpoint_every": LENGTHS[scale][1], "train.compile": "blocks",
    }  # fmt: skip
    return Recipe(
        replace(base, only_the_end),
        axes=[Axis("model", ["model.*"], {k: model(k, scale) for k in ("dense", "moe-active")})],
        horizons=[Tokens(short, "short"), Tokens(long, "long")],
        timing=Launches(margin=MARGIN, cache="private"),
        views=["throughput"],
    )
