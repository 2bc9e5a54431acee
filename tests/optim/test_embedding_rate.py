"""AdamW's own rate for the embedding: its group, its schedule, and nothing else moved."""

from __future__ import annotations

import torch

from harness import presets
from harness.config import replace
from harness.optim.build import build
from models.lm import LanguageModel


def test_the_embedding_has_its_own_rate_and_all_else_its_old_one() -> None:
    config = replace(presets.run("smoke"), {"optim.name": "adamw", "optim.adamw_lr": 0.01})
    own = replace(config, {"optim.adamw_embedding_factor": 4.0})
    with torch.device("meta"):
        model = LanguageModel(config.model)
    plain, split = build(config.optim, model), build(own.optim, model)
    split.set_factor(0.5)
    groups = split.parts["adamw"].param_groups
    assert len(plain.parts["adamw"].param_groups) == 2
    assert [group["lr"] for group in groups] == [0.005, 0.005, 0.02]
    assert [id(p) for p in groups[2]["params"]] == [id(model.embedding.weight)]
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    assert groups[2]["weight_decay"] == 0.0
