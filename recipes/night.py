"""One night on one card: whether the settings that a search found for small models hold at 135M.

A frozen protocol: SmolLM2-135M on FineWeb-Edu, equal tokens, as many pairs of seeds as the budget
holds, fixed before the first run (`smol night`). The arms differ in nothing but the learning rates
and weight decays, so none needs a search of its own: `preset` has the seed card's, `transferred`
the preset's scaled as the search at `proxy` found best for the dense model.
"""

from harness import presets
from harness.config import replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from recipes.dense_vs_moe import TUNED

DATA_TOKENS = 105_000_000
"""A little more than a run reads: nothing is read twice."""


@recipe(
    "night",
    primary=Primary(metric="val_loss", at="tokens", pairs=(("preset", "transferred"),)),
    seeds={"smoke": 3, "full": 8},
    first_seed=3000,
)
def night(scale: Scale) -> Recipe:
    """Whether learning rates and weight decays found for small models are better at 135M too."""
    base = presets.run(scale)
    if scale == "full":
        fineweb = presets.SMOLLM_CORPUS[0].model_copy(update={"share": 1.0})
        base = replace(presets.on_corpus(base, DATA_TOKENS), {"data.sources": (fineweb,)})
    found = TUNED["proxy"]["dense"].changes(base)  # what `tune_dense_vs_moe` found
    return Recipe(
        base,
        axes=[Axis("settings", tuning.FIELDS, {"preset": {}, "transferred": found})],
        horizons=[Tokens(base.train.tokens)],
        role="night",
    )
