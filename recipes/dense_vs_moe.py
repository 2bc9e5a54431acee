"""Dense SmolLM2 against mixtures of experts."""

from harness import presets
from harness.recipe import ActiveFlops, Axis, Match, Primary, Recipe, Scale, Tokens, recipe
from models.presets import KINDS, model


@recipe(
    "dense_vs_moe",
    primary=Primary(metric="val_loss", at="tokens", pairs=(("dense", "moe-active"),)),
    seeds={"smoke": 3, "proxy": 5, "full": 5},
)
def dense_vs_moe(scale: Scale) -> Recipe:
    """Dense SmolLM2 against mixtures of experts, matched by active and by total parameters."""
    base = presets.run(scale)
    return Recipe(
        base,
        axes=[Axis("model", ["model.*"], {kind: model(kind, scale) for kind in KINDS})],
        horizons=[Tokens(base.train.tokens), ActiveFlops.of("dense")],
        matches=[Match("moe-active", "dense", "active"), Match("moe-total", "dense", "total")],
        notes={"moe-160m": "the seed card's baseline; matched to nothing, exploratory"},
    )
