"""Optimizers: our Muon, PyTorch's own, and AdamW for everything.

An arm is an optimizer together with the settings that equal searches found for it: where `FOUND`
has a scale, the axis also touches the learning rates, the weight decays and what a form sets, and
says so in its fields.

`proxy`, on two cores with two runs at a time: 3 arms x 5 seeds x 80 updates x 1.4 s / 2 = 14
minutes, and about five more for validations of two texts and the start of 30 processes.

Over a ladder's rungs AdamW and our Muon are run at three budgets of one stem each, with learning
rates by a law that `tune_ladder` fits on the two smallest and tests on the third.
"""

from collections.abc import Mapping
from typing import Any

from harness import presets
from harness.config import RunConfig, replace
from harness.optim import tuning
from harness.recipe import RUNGS, Axis, Primary, Recipe, Scale, Sequential, Tokens, recipe
from models.presets import RUNG_WIDTHS

NAMES = ("adamw", "muon", "torch-muon")
SEARCH = "tune_optimizers"
FORM_SEARCH = "tune_optimizers_form"
FOUND: Mapping[str, Mapping[str, tuning.Settings]] = {
    "proxy": {
        "adamw": tuning.Settings(rate=2.0, decay=6.4),
        "muon": tuning.Settings(rate=4.0, decay=0.4),
        "torch-muon": tuning.Settings(rate=4.0, decay=0.4),
    }
}
"""Scale -> optimizer -> the best setting in the records of `SEARCH` (its view `optimum`); for
every optimizer or for none. A scale that is not here uses the base's settings for all."""
FORMS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "e4": {"optim.adamw_embedding_factor": 4.0},
    "b99": {"optim.adamw_betas": (0.9, 0.99)},
    "w30": {"schedule.warmup_updates": 30},
}
"""What else is tried of each arm: the embedding's rate four times as high, a longer second
momentum, twice the warm-up."""
TUNED: Mapping[str, Mapping[str, tuple[float, str]]] = {
    "proxy": {"adamw": (0.5, "e4"), "muon": (0.5, "e4"), "torch-muon": (0.5, "e4")}
}
"""Scale -> optimizer -> the factor on the rates of `FOUND` and the form that were best in the
records of `FORM_SEARCH`; for the scales of `FOUND`."""
LADDER_SEARCH = "tune_ladder"
CARRIED = {"adamw": (0.01843, -1.282), "muon": (0.04397, -1.148)}
"""Optimizer -> the learning rate that it is named for at width 32, and the power of the width that
it goes with: through the best rates of the two smallest rungs in the records of `LADDER_SEARCH`."""
CLIMBING: Mapping[str, int | Sequential] = dict(zip(RUNGS, (4, 4, 3, 2) * 2, strict=True))
"""Rung -> seeds, of a CPU's ladder and of a card's: more where they are cheap."""
RATIOS = (1.0, 2.0, 4.0)
"""A ladder's budgets, in tokens a parameter: what two CPU cores, or an H100, pay for in hours."""
UPDATES = {"smoke": 60, "proxy": 80, "full": 500}
"""As many in the search: a rate that is best for short runs may not be for longer ones."""


@recipe(
    "optimizers",
    primary=Primary(
        metric="val_loss", at="tokens", pairs=(("adamw", "muon"), ("muon", "torch-muon"))
    ),
    seeds={"smoke": 3, "proxy": 5, "full": 3, **CLIMBING},
)
def optimizers(scale: Scale) -> Recipe:
    """Muon (ours and PyTorch's) against AdamW, each with the settings of an equal search."""
    base = presets.question(scale)
    if scale in RUNGS:
        tuned = {name: {"optim.name": name, **carried(base, name)} for name in NAMES}
        fields = ["optim.name", *(tuning.FIELDS if carried(base, "muon") else ())]
        return climbing(base, Axis("optimizer", fields, tuned), LADDER_SEARCH)
    tokens = UPDATES[scale] * base.tokens_per_update
    base = replace(base, {"train.tokens": tokens, "train.eval_every": UPDATES[scale] // 3})
    if scale == "proxy":
        base = replace(base, presets.MANY_DOCUMENTS)
    fields = ["optim.name", *tuning.FIELDS, *tuning.FORMS] if scale in FOUND else ["optim.name"]
    arms = {name: {"optim.name": name, **_settings(base, scale, name)} for name in NAMES}
    return Recipe(
        base,
        axes=[Axis("optimizer", fields, arms)],
        horizons=[Tokens(tokens)],
        tuned_by=FORM_SEARCH if scale in FOUND else SEARCH,
        views=["comparison", "curves"],
    )


def _settings(base: RunConfig, scale: Scale, name: str) -> dict[str, Any]:
    """What the searches found for an arm; nothing where there was none."""
    if scale not in FOUND:
        return {}
    found = FOUND[scale][name]
    factor, form = TUNED[scale][name]
    return {**tuning.Settings(found.rate * factor, found.decay).changes(base), **FORMS[form]}


def carried(base: RunConfig, name: str) -> dict[str, float]:
    """The learning rates of an arm at a rung, by `CARRIED`; no weight decay, as in its search. The
    rest of AdamW in Muon's arms goes with Muon's. None on a card, whose rungs nobody searched."""
    if base.model.width not in RUNG_WIDTHS.values():
        return {}
    family = name.split("-")[-1]
    rate, power = CARRIED[family]
    start = base.optim.adamw_lr if family == "adamw" else base.optim.muon_lr
    factor = rate * (base.model.width / 32) ** power / start
    return {
        path: float(f"{value:.4g}")
        for path, value in tuning.Settings(factor, 0.0).changes(base).items()
    }


def climbing(base: RunConfig, axis: Axis, search: str | None) -> Recipe:
    """One rung of a ladder: an axis at one size, at three budgets of one stem."""
    tokens = presets.budgets(base, RATIOS)
    names = [f"x{ratio:g}" for ratio in RATIOS[:-1]] + ["tokens"]
    return Recipe(
        replace(base, {"train.tokens": tokens[-1]}),
        axes=[axis],
        horizons=[Tokens(*one) for one in zip(tokens, names, strict=True)],
        tuned_by=search,
        views=["comparison", "curves"],
    )
