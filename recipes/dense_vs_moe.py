"""Dense SmolLM2 against mixtures of experts.

An arm is a model together with the settings that an equal search found for it: where `TUNED` has
a scale, the axis also touches the learning rates and weight decays, and says so in its fields.

At `proxy` the question's pair alone is run: rates are chosen at the runs' own length there
(`recheck_dense_vs_moe`), about what a wider and shorter search found, which has been done for these
two; `as_published` has the seed card's baseline.

Over a ladder's rungs the dense model and the mixture of as many active parameters are run at three
budgets of one stem, both with the settings that a search gave the dense model there.
"""

from collections.abc import Mapping

from harness import presets
from harness.config import replace
from harness.optim import tuning
from harness.recipe import RUNGS, ActiveFlops, Axis, Match, Primary, Recipe, Scale, Tokens, recipe
from models.presets import KINDS, model
from recipes.optimizers import CLIMBING, carried, climbing

SEARCH = "tune_dense_vs_moe"
RECHECK = "recheck_dense_vs_moe"
TUNED: Mapping[str, Mapping[str, tuning.Settings]] = {
    "proxy": {
        "dense": tuning.Settings(rate=2.0, decay=0.4),
        "moe-active": tuning.Settings(rate=2.0, decay=0.4),
    }
}
"""Scale -> kind -> the best setting in the records of `RECHECK`, or of `SEARCH` for a kind that it
leaves out (their view `optimum`), for the kinds that are run there. A scale that is not here runs
all, with the base's settings."""
NOTES = {
    "moe-160m": "the seed card's baseline; matched to nothing, exploratory",
}
MATCHES = (Match("moe-active", "dense", "active"), Match("moe-total", "dense", "total"))


@recipe(
    "dense_vs_moe",
    primary=Primary(metric="val_loss", at="tokens", pairs=(("dense", "moe-active"),)),
    seeds={"smoke": 3, "proxy": 5, "full": 3, **CLIMBING},
    about="about/dense_vs_moe.py:about",
)
def dense_vs_moe(scale: Scale) -> Recipe:
    """Dense SmolLM2 against mixtures of experts, matched by active and by total parameters."""
    base = presets.question(scale)
    if scale in RUNGS:
        pair = {kind: {"model": model(kind, scale)} for kind in ("dense", "moe-active")}
        return climbing(
            replace(base, carried(base, "muon")), Axis("model", ["model.*"], pair), None
        )
    if scale == "proxy":
        base = replace(base, presets.MANY_DOCUMENTS)
    fields = ["model.*", *tuning.FIELDS] if scale in TUNED else ["model.*"]
    arms = {
        kind: {
            "model": model(kind, scale),
            **(TUNED[scale][kind].changes(base) if scale in TUNED else {}),
        }
        for kind in TUNED.get(scale, KINDS)
    }
    return Recipe(
        base,
        axes=[Axis("model", fields, arms)],
        horizons=[Tokens(base.train.tokens), ActiveFlops.of("dense")],
        matches=[match for match in MATCHES if match.arm in arms],
        notes={kind: note for kind, note in NOTES.items() if kind in arms},
        tuned_by=RECHECK if scale == "proxy" else SEARCH,
        views=["comparison", "curves", "experts"],
    )
