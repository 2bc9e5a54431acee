"""Ways to compile a model, as `train.compile` names them."""

from __future__ import annotations

import subprocess
import sys

import torch

from harness.config import Compile
from models.lm import LanguageModel

AMX_SINCE_GCC = 11
"""The first release that compiles for all the instruction sets that inductor may choose."""


def apply(model: LanguageModel, mode: Compile, device: torch.device) -> None:
    """Compile in place; nothing is compiled before the first batch, and names of weights stay.

    `blocks`: each distinct block once, reused by all of its kind; the norm and the head between
    them stay eager. `whole`: everything up to the final hidden states as one graph; the head's
    loss, which is chunked, stays outside. On CUDA inductor may try several implementations.
    """
    effort = "max-autotune-no-cudagraphs" if device.type == "cuda" else None
    if mode != "eager" and device.type == "cpu" and _compiles_every_isa():
        _skip_isa_trials()
    if mode == "blocks":
        for block in model.blocks:
            block.compile(mode=effort)
    elif mode == "whole":
        model.hidden = torch.compile(model.hidden, mode=effort)  # type: ignore[method-assign]


def _skip_isa_trials() -> None:
    """Let inductor believe what the processor says of itself.

    Otherwise each cold cache begins with six trial compilations, one for each instruction set:
    measured at 7.6 of the 19 s that a block of SmolLM2-135M takes to compile on two cores.
    """
    from torch._inductor import config

    if config.cpp.vec_isa_ok is None:  # the user's own word, TORCHINDUCTOR_VEC_ISA_OK, stands
        config.cpp.vec_isa_ok = True


def _compiles_every_isa() -> bool:
    if sys.platform != "linux":
        return False
    from torch._inductor import cpp_builder

    try:
        compiler = cpp_builder.get_cpp_compiler()
        if not cpp_builder.is_gcc():
            return False
        version = subprocess.run(
            [compiler, "-dumpversion"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
        return int(version.strip().partition(".")[0]) >= AMX_SINCE_GCC
    except Exception:  # no compiler, or none that says its version: inductor finds out by itself
        return False
