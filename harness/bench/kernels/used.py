"""Every launch of a Triton kernel that a model at `full` makes, written down from the model itself.

The registry's examples are one shape an op, for errors and predictions; what a first update builds
are the shapes of the model that is trained: a mixture's two products and their gradients, the norms
of queries and keys, the head of training and that of validation. Builds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harness.bench.kernels.aot import identity
from models.kernels.head_cross_entropy import head_cross_entropy
from models.kernels.launching import Launch, recorded
from models.kernels.names import KERNELS
from models.lm import LanguageModel
from models.presets import model

TOKENS = 64
"""Rows are an argument of a kernel, of which only its divisibility by 16 enters a build."""


def switch(launch: Launch) -> str:
    """The name by which `train.kernels` turns a launch's kernel on: its file's."""
    name: str = launch.kernel.function.fn.__module__.rpartition(".")[2]
    assert name in KERNELS, name
    return name


def launches_of(kind: str) -> list[Launch]:
    """Those of a micro-step and of a validation batch in bf16 with every kernel on, each different
    launch once. Layers are alike: one is enough."""
    config = model(kind, "full").model_copy(update={"layers": 1})
    built = LanguageModel(config, torch.bfloat16, kernels=KERNELS)
    built.init_weights(0)
    tokens = torch.zeros(1, TOKENS, dtype=torch.int64)
    with recorded() as found:
        with built.working_weights():
            sums = built.loss_sums(tokens, tokens)
            (sums.cross_entropy + sums.routing).backward()
        hidden = torch.zeros(TOKENS, config.width, dtype=torch.bfloat16)
        head_cross_entropy(hidden, built.head_weight, tokens.flatten())
    return list({identity(launch): launch for launch in found}.values())


def by_launch(kinds: Sequence[str]) -> dict[str, tuple[Launch, tuple[str, ...]]]:
    """Identity -> a launch, and the kinds of model that make it."""
    found: dict[str, tuple[Launch, tuple[str, ...]]] = {}
    for kind in kinds:
        for launch in launches_of(kind):
            _, others = found.get(identity(launch), (launch, ()))
            found[identity(launch)] = (launch, (*others, kind))
    return found
