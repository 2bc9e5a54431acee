"""From which run length on compiling pays: eager, block by block, and the whole model as one graph.

The seed card's table (300 and 600 updates, eager and compiled, one run each) taken apart: every
arm at two lengths, five launches of each, interleaved and alone on the machine, so that what is
fixed (start-up, compilation) and what repeats are told apart, each with its error.

`proxy`, on two cores: 30 launches. An update of 4,096 tokens takes about 0.5 s on two threads, a
launch has 12 or 48 of them and 8 s of start-up and validation, and compiling takes 15 to 40 s
more where the arm does: about 22 minutes.
"""

from harness import presets
from harness.config import replace
from harness.recipe import Axis, Launches, Primary, Recipe, Scale, Tokens, recipe

LENGTHS = {"smoke": (20, 60), "proxy": (12, 48), "full": (300, 600)}
"""Updates."""
THREADS = {"smoke": 1, "proxy": 2, "full": 2}
MARGIN = 0.02
"""Nats a token: about the spread over seeds of the dense model at `proxy`."""


@recipe(
    "compile_breakeven",
    primary=Primary(
        metric="tokens_per_second", at="long", pairs=(("eager", "blocks"), ("eager", "whole"))
    ),
    seeds={"smoke": 2, "proxy": 5, "full": 5},
)
def compile_breakeven(scale: Scale) -> Recipe:
    """From which run length on compiling pays: eager, blocks, the whole model."""
    base = presets.run(scale)
    short, long = (updates * base.tokens_per_update for updates in LENGTHS[scale])
    only_the_end = {
        "train.tokens": long, "train.eval_every": LENGTHS[scale][1],
        "train.checkpoint_every": LENGTHS[scale][1], "train.threads": THREADS[scale],
        "train.compile": "eager",
    }  # fmt: skip
    return Recipe(
        replace(base, only_the_end),
        axes=[Axis("compile", ["train.compile"], {m: m for m in ("eager", "blocks", "whole")})],
        horizons=[Tokens(short, "short"), Tokens(long, "long")],
        timing=Launches(margin=MARGIN, cache="private"),
        role="compile",
        views=["throughput"],
    )
