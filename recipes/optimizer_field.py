"""The field of optimizers: AdamW, Muon (ours and PyTorch's), SOAP, Lion, ADOPT, Schedule-Free AdamW
and MARS, each with what an equal search found for it.

An arm is an optimizer with its settings. The learning rates are where a search starts; all other
settings are as their authors publish them, every one that matters said. The rate falls along half a
cosine to nothing; Schedule-Free's stays after its warm-up, which is what it is for, and is judged
by its average. `extra`: `pip install -e '.[optimizers]'`.

`proxy` is a model of 1.3M parameters and 60 updates, so that 192 trials and 40 runs fit into half
an hour on two idle cores: what is best here may not be at another size or length.
"""

from collections.abc import Mapping
from typing import Any

from harness import presets
from harness.config import RunConfig, replace
from harness.optim import tuning
from harness.recipe import Axis, Primary, Recipe, Scale, Tokens, recipe
from models import presets as models

SEARCH = "tune_optimizer_field"
LIBRARY = "pytorch_optimizer"
FIELD: Mapping[str, Mapping[str, Any]] = {
    "adamw": {"optim.name": "adamw", "optim.adamw_lr": 0.006},
    "muon": {"optim.name": "muon", "optim.muon_lr": 0.08, "optim.adamw_lr": 0.012},
    "torch-muon": {"optim.name": "torch-muon", "optim.muon_lr": 0.08, "optim.adamw_lr": 0.012},
    "soap": {
        "optim.name": f"{LIBRARY}:SOAP",
        # The eigenbasis of the vocabulary's side would take longer than all else.
        "optim.settings": {"lr": 0.006, "weight_decay": 0.0, "max_precondition_dim": 1024},
    },
    "lion": {
        "optim.name": f"{LIBRARY}:Lion",
        "optim.settings": {"lr": 0.001, "weight_decay": 0.0, "weight_decouple": True},
    },
    "adopt": {
        "optim.name": f"{LIBRARY}:ADOPT",
        "optim.settings": {"lr": 0.006, "weight_decay": 0.0, "weight_decouple": True},
    },
    "schedule-free": {
        "optim.name": f"{LIBRARY}:ScheduleFreeAdamW",
        "optim.settings": {"lr": 0.012, "weight_decay": 0.0},
        "schedule.final_fraction": 1.0,
    },
    "mars": {
        "optim.name": f"{LIBRARY}:MARS",
        "optim.settings": {
            "lr": 0.006, "lr_1d": 0.006, "weight_decay": 0.0, "weight_decay_1d": 0.0,
            "weight_decouple": True,
        },
    },
}  # fmt: skip
"""Optimizer -> where its search starts."""
TOUCHED = ("optim.name", *tuning.FIELDS, "schedule.final_fraction")
TUNED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "proxy": {
        "adamw": (2.0, 0.12),
        "muon": (2.0, 0.4),
        "torch-muon": (2.0, 0.4),
        "soap": (4.0, 0.12),
        "lion": (4.0, 0.0),
        "adopt": (2.0, 0.0),
        "schedule-free": (1.0, 0.0),
        "mars": (4.0, 0.12),
    }
}
"""Scale -> optimizer -> the best rate and share in the records of `SEARCH` (its view `optimum`);
for every optimizer or for none."""
UPDATES = {"smoke": 30, "proxy": 60}
"""As many in the search."""
BATCH = 8
"""Sequences an update, of 128 tokens each."""


def base(scale: Scale) -> RunConfig:
    """The run that the arms start from."""
    run = presets.run(scale)
    return replace(run, {
        "model": models.model("dense", "smoke"), "data.seq_len": 128, "data.val_tokens": 16_384,
        "batch.micro_batch": BATCH, "schedule.name": "cosine",
        "schedule.warmup_updates": UPDATES[scale] // 10, "schedule.final_fraction": 0.0,
        "train.tokens": UPDATES[scale] * BATCH * 128,
        "train.eval_every": UPDATES[scale] // 2,
    })  # fmt: skip


def length(scale: Scale) -> int:
    """Tokens of a run."""
    return base(scale).train.tokens


@recipe(
    "optimizer_field",
    primary=Primary(
        metric="val_loss",
        at="tokens",
        pairs=tuple(("adamw", one) for one in FIELD if one != "adamw"),
    ),
    seeds={"smoke": 3, "proxy": 5},
)
def optimizer_field(scale: Scale) -> Recipe:
    """Seven optimizers against AdamW, each with what an equal search found for it."""
    start = base(scale)
    arms = {
        name: tuning.found(start, fields, *TUNED[scale][name]) if scale in TUNED else fields
        for name, fields in FIELD.items()
    }
    return Recipe(
        start,
        axes=[Axis("optimizer", TOUCHED, arms)],
        horizons=[Tokens(start.train.tokens)],
        tuned_by=SEARCH,
        views=["comparison", "curves"],
    )
