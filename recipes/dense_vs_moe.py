"""Dense SmolLM2 against mixtures of experts.

An arm is a model together with the settings that an equal search found for it: where `TUNED` has
a scale, the axis also touches the learning rates and weight decays, and says so in its fields.

`dense-small` is a dense model of `moe-total`'s active size: at equal tokens the two spend equal
FLOPs, so that what the mixture adds is its experts, and a gain at the dense model's FLOPs that the
small one has too is no mixture's. `proxy` is the models of `smoke` on `proxy`'s
text (`presets.quick`), 100 updates of 2,048 tokens; before, it was models four times as large and
200 updates of 4,096.
"""

from collections.abc import Mapping

from harness import presets
from harness.config import RunConfig, replace
from harness.optim import tuning
from harness.recipe import ActiveFlops, Axis, Match, Primary, Recipe, Scale, Tokens, recipe
from models.presets import KINDS, model

SEARCH = "tune_dense_vs_moe"
TUNED: Mapping[str, Mapping[str, tuning.Settings]] = {}
"""Scale -> kind -> the best setting in the records of `SEARCH` (its view `optimum`); for every
kind or for none. A scale that is not here uses the base's settings for all."""
NOTE = "the seed card's baseline; matched to nothing, exploratory"
UPDATES = {"proxy": 100}
"""Where they are not the preset's."""


def size(scale: Scale) -> Scale:
    """The models' own scale."""
    return "smoke" if scale == "proxy" else scale


def kinds(scale: Scale) -> tuple[str, ...]:
    """The arms: at `proxy` the control, and not the seed card's baseline, which is matched to
    nothing; elsewhere the other way round."""
    left_out = "moe-160m" if scale == "proxy" else "dense-small"
    return tuple(kind for kind in KINDS if kind != left_out)


def start(scale: Scale) -> RunConfig:
    """The run that the arms start from."""
    run = presets.quick(scale)
    if scale not in UPDATES:
        return run
    tokens = UPDATES[scale] * run.tokens_per_update
    return replace(run, {"train.tokens": tokens, "train.eval_every": UPDATES[scale] // 3})


@recipe(
    "dense_vs_moe",
    primary=Primary(metric="val_loss", at="tokens", pairs=(("dense", "moe-active"),)),
    seeds={"smoke": 3, "proxy": 3, "full": 3},
    about="about/dense_vs_moe.py:about",
)
def dense_vs_moe(scale: Scale) -> Recipe:
    """Dense SmolLM2 against mixtures of experts, matched by active and by total parameters."""
    base = start(scale)
    fields = ["model.*", *tuning.FIELDS] if scale in TUNED else ["model.*"]
    arms = {
        kind: {
            "model": model(kind, size(scale)),
            **(TUNED[scale][kind].changes(base) if scale in TUNED else {}),
        }
        for kind in kinds(scale)
    }
    return Recipe(
        base,
        axes=[Axis("model", fields, arms)],
        horizons=[Tokens(base.train.tokens), ActiveFlops.of("dense")],
        matches=[
            Match("moe-active", "dense", "active"),
            Match("moe-total", "dense", "total"),
            *([Match("dense-small", "moe-total", "active")] if "dense-small" in arms else []),
        ],
        notes={"moe-160m": NOTE} if "moe-160m" in arms else {},
        tuned_by=SEARCH,
        views=["comparison", "curves", "experts"],
    )
