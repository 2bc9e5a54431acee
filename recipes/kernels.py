"""Each Triton operator alone, all of them, and none: what they do to an update, end to end.

On a mixture of experts, since it uses every one of them, and inside compiled blocks, where they
would be used: there inductor fuses as well, and a kernel of ours is a border that it cannot fuse
across. The head's kernel, and on cards without torch's grouped products ours, are used in any
case: there those arms measure a tie. On a CPU they only run in an
interpreter, which says nothing about speed: the recipe is not planned there.
"""

from harness import presets
from harness.config import replace
from harness.recipe import Axis, Launches, Primary, Recipe, Scale, Tokens, recipe
from models.presets import model

OPERATORS = ("rms_norm", "swiglu", "head_cross_entropy", "rope", "grouped_gemm")
LENGTHS = {"smoke": (20, 60), "proxy": (50, 150), "full": (30, 90)}
"""Updates."""
MARGIN = 0.02
"""Nats a token."""


@recipe(
    "kernels",
    primary=Primary(
        metric="tokens_per_second",
        at="long",
        pairs=tuple(("torch", name) for name in (*OPERATORS, "all")),
    ),
    seeds={"smoke": 5, "proxy": 5, "full": 5},
)
def kernels(scale: Scale) -> Recipe:
    """Each Triton operator alone, and all, against torch's own operators (CUDA only)."""
    base = presets.run(scale)
    short, long = (updates * base.tokens_per_update for updates in LENGTHS[scale])
    last = LENGTHS[scale][1]
    changes = {
        "model": model("moe-active", scale), "train.tokens": long, "train.eval_every": last,
        "train.checkpoint_every": last, "train.compile": "blocks", "train.kernels": (),
    }  # fmt: skip
    arms = {"torch": (), **{name: (name,) for name in OPERATORS}, "all": OPERATORS}
    return Recipe(
        replace(base, changes),
        axes=[Axis("kernels", ["train.kernels"], arms)],
        horizons=[Tokens(short, "short"), Tokens(long, "long")],
        timing=Launches(margin=MARGIN, cache="shared"),
        devices=("cuda",),
        role="kernels",
        views=["throughput"],
    )
