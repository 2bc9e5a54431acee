"""Ways to compile a model, as `train.compile` names them."""

from __future__ import annotations

import torch

from harness.config import Compile
from models.lm import LanguageModel


def apply(model: LanguageModel, mode: Compile, device: torch.device) -> None:
    """Compile in place; nothing is compiled before the first batch, and names of weights stay.

    `blocks`: each distinct block once, reused by all of its kind; the norm and the head between
    them stay eager. `whole`: everything up to the final hidden states as one graph; the head's
    loss, which is chunked, stays outside. On CUDA inductor may try several implementations.
    """
    effort = "max-autotune-no-cudagraphs" if device.type == "cuda" else None
    if mode == "blocks":
        for block in model.blocks:
            block.compile(mode=effort)
    elif mode == "whole":
        model.hidden = torch.compile(model.hidden, mode=effort)  # type: ignore[method-assign]
