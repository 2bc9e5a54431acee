"""Optimizers: our Muon, PyTorch's own, and AdamW for everything.

An arm is an optimizer together with the settings that an equal search found for it. AdamW is given
what it is often denied: an embedding rate of its own, its second momentum and its warm-up are
searched, in as many trials as Muon's.

`proxy` is a model of 1.3M parameters on `proxy`'s text and 80 updates of 1,024 tokens, as long in
the search (`presets.quick`): 15 runs take three minutes on two idle cores, 192 trials 18
minutes. Before, it was one of 5.5M parameters and 80 updates of 4,096 tokens.
"""

from collections.abc import Mapping
from typing import Any

from harness import presets
from harness.config import RunConfig, replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe

FIELD: Mapping[str, Mapping[str, Any]] = {
    "adamw": {"optim.name": "adamw", "optim.adamw_lr": 0.006},
    "muon": {"optim.name": "muon", "optim.muon_lr": 0.08, "optim.adamw_lr": 0.012},
    "torch-muon": {"optim.name": "torch-muon", "optim.muon_lr": 0.08, "optim.adamw_lr": 0.012},
}
"""Optimizer -> where its search starts."""
FORMS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "e4": {"optim.adamw_embedding_factor": 4.0},
    "b99": {"optim.adamw_betas": (0.9, 0.99)},
    "w24": {"schedule.warmup_updates": 24},
}
"""What is tried beside rate and decay: a four-fold rate of the embedding, a longer second momentum,
a three-fold warm-up; the same for every arm."""
SEARCH = "tune_optimizers"
TOUCHED = ("optim.name", *tuning.FIELDS, *tuning.FORM)
TUNED: Mapping[str, Mapping[str, tuple[float, float, str]]] = {}
"""Scale -> optimizer -> the best rate, share and form in the records of `SEARCH` (its view
`optimum`); for every optimizer or for none."""
UPDATES = {"smoke": 60, "proxy": 80, "full": 500}
"""As many in the search: a rate that is best for short runs may not be for longer ones."""
BATCH = 8
"""Sequences an update at `proxy`, of 128 tokens each."""


def base(scale: Scale) -> RunConfig:
    """The run that the arms start from."""
    run = presets.quick(scale)
    if scale == "proxy":
        run = replace(run, {"batch.micro_batch": BATCH, "schedule.warmup_updates": 8})
    tokens = UPDATES[scale] * run.tokens_per_update
    return replace(run, {"train.tokens": tokens, "train.eval_every": UPDATES[scale] // 3})


def arms(scale: Scale) -> dict[str, Mapping[str, Any]]:
    """Where each arm's search starts at a scale: at the base's own rates but at `proxy`."""
    if scale == "proxy":
        return dict(FIELD)
    return {name: {"optim.name": name} for name in FIELD}


@recipe(
    "optimizers",
    primary=Primary(
        metric="val_loss", at="tokens", pairs=(("adamw", "muon"), ("muon", "torch-muon"))
    ),
    seeds={"smoke": 3, "proxy": 5, "full": 3},
)
def optimizers(scale: Scale) -> Recipe:
    """Muon (ours and PyTorch's) against AdamW, each with the settings of an equal search."""
    start, values = base(scale), arms(scale)
    if scale in TUNED:
        for name, (rate, share, form) in TUNED[scale].items():
            values[name] = tuning.found(start, values[name], rate, share, FORMS[form])
    return Recipe(
        start,
        axes=[Axis("optimizer", TOUCHED, values)],
        horizons=[Tokens(start.train.tokens)],
        tuned_by=SEARCH,
        views=["comparison", "curves"],
    )
