"""The contestants of `smol bench step`: our update and others', behind one small interface.

All start from the same initial weights, take the same tokens, clip the same gradient norm and use
AdamW (fused, the same constants, decay on matrices alone) unless the setting names Muon. Peers
are written as their users write them: fp32 parameters, under autocast where the setting says bf16.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from harness.bench.product import REPEATS
from harness.bench.setting import Setting
from harness.config import OptimConfig
from harness.data.batches import IGNORED, Batch
from harness.errors import RequestError, nearest
from harness.optim.build import build as build_optimizers
from harness.seeds import derive
from harness.train import graphs
from harness.train.update import update
from models.dtypes import DTYPES
from models.hf import to_transformers
from models.lm import LanguageModel


class Contestant(Protocol):
    """Someone who trains."""

    parameters: int

    def prepare(self) -> None:
        """Optimizer and compilation: what stands between a built model and its first update."""

    def update(self, tokens: np.ndarray) -> float:
        """One update on (batch, seq) tokens; its mean loss, read from the device."""


def build(setting: Setting) -> Contestant:
    """The contestant of a setting, its model built and on the device.

    Raises RequestError for an unknown name, or a peer that has no such model.
    """
    if setting.contestant not in BUILDERS:
        known = nearest(setting.contestant, BUILDERS)
        raise RequestError(f"no contestant '{setting.contestant}'{known}")
    return BUILDERS[setting.contestant](setting)


def initial(setting: Setting) -> LanguageModel:
    """Our model with the weights that every contestant starts from, on the CPU."""
    model = LanguageModel(setting.model, DTYPES[setting.dtype])
    model.init_weights(derive(setting.seed, "init"))
    return model


class Ours:
    """The harness's own update, called as the training loop calls it."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.device = torch.device(setting.device)
        self.model = initial(setting).to(self.device)
        self.parameters = sum(p.numel() for p in self.model.parameters())

    def prepare(self) -> None:
        """As the worker does it."""
        graphs.build(self.model, self.setting.compile, self.device)
        self.optimizers = build_optimizers(self.setting.optim, self.model)

    def update(self, tokens: np.ndarray) -> float:
        """See Contestant."""
        targets = np.full_like(tokens, IGNORED)
        targets[:, :-1] = tokens[:, 1:]
        return update(
            self.model, self.optimizers, Batch(tokens, targets), micro_batch=len(tokens),
            clip_norm=self.setting.optim.clip_norm, factor=1.0, device=self.device,
        ).loss  # fmt: skip


Losses = Callable[[nn.Module, torch.Tensor], tuple[torch.Tensor, torch.Tensor | float]]


class Autocast:
    """A peer: fp32 parameters, forward under autocast for bf16, mean loss, clip, fused AdamW.

    `losses` gives the mean cross-entropy and what is added to it for the gradient.
    """

    def __init__(
        self, setting: Setting, model: nn.Module, losses: Losses, *, compiled: bool = False
    ) -> None:
        self.setting, self.losses = setting, losses
        self.device = torch.device(setting.device)
        self.model = model.to(self.device).train()
        self.compiled = compiled
        self.parameters = sum(p.numel() for p in model.parameters())

    def prepare(self) -> None:
        """See Contestant."""
        if self.compiled:
            self.model.compile()
        self.optimizer = fused_adamw(self.setting.optim, self.model)

    def update(self, tokens: np.ndarray) -> float:
        """See Contestant."""
        ids = torch.from_numpy(tokens).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.setting.dtype == "bf16"):
            loss, routing = self.losses(self.model, ids)
        (loss + routing).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.setting.optim.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


def fused_adamw(config: OptimConfig, model: nn.Module) -> torch.optim.AdamW:
    """Decay on everything with two or more dimensions but the embedding, as ours."""
    if config.name != "adamw":
        raise RequestError("peers train with AdamW: --optim adamw")
    embeddings = {
        id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()
    }
    decayed = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in embeddings]
    spared = [p for p in model.parameters() if p.ndim < 2 or id(p) in embeddings]
    groups = [
        {"params": decayed, "weight_decay": config.adamw_weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=config.adamw_lr, betas=config.adamw_betas, eps=config.adamw_eps, fused=True
    )


def transformers_losses(model: nn.Module, ids: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The library's own: labels are the inputs, shifted inside."""
    return model(input_ids=ids, labels=ids, use_cache=False).loss, 0.0


def _transformers(setting: Setting, *, compiled: bool) -> Contestant:
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        try:
            to_transformers(initial(setting), Path(folder))
        except ValueError as reason:
            raise RequestError(f"transformers has no such model: {reason}") from None
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa"
        )
    return Autocast(setting, model, transformers_losses, compiled=compiled)


def loop_losses(model: nn.Module, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All logits at once, cross-entropy in fp32, and the routing losses that the model returns."""
    logits, routing = model(ids)
    logits = logits[:, :-1].float()
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()), routing


def _moe_loop(setting: Setting) -> Contestant:
    from harness.bench.moe_loop import LoopMoE

    if not setting.model.is_moe:
        raise RequestError("moe-loop is a mixture of experts: choose --model moe-160m, say")
    return Autocast(setting, LoopMoE(initial(setting)), loop_losses)


def _variant(**changes: Any) -> Callable[[Setting], Contestant]:
    return lambda setting: Ours(setting.model_copy(update=changes))


def _torch_muon(setting: Setting) -> Contestant:
    optim = setting.optim.model_copy(update={"name": "torch-muon"})
    return Ours(setting.model_copy(update={"optim": optim}))


class Product:
    """One matrix product of the model's feed-forward, forward: the peak of this session.

    Its "update" is the product of `harness.bench.product`, repeated.
    """

    def __init__(self, setting: Setting) -> None:
        c = setting.model
        device = torch.device(setting.device)
        self.device = device
        dtype = DTYPES[setting.dtype]
        self.x = torch.randn(setting.tokens, c.width, device=device, dtype=dtype)
        self.weight = torch.randn(c.ffn, c.width, device=device, dtype=dtype)
        self.parameters = self.weight.numel()

    def prepare(self) -> None:
        """Nothing to prepare."""

    def update(self, tokens: np.ndarray) -> float:
        """REPEATS products; there is no loss."""
        with torch.no_grad():
            for _ in range(REPEATS):
                F.linear(self.x, self.weight)
        torch.get_device_module(self.device).synchronize(self.device)
        return 0.0


BUILDERS: dict[str, Callable[[Setting], Contestant]] = {
    "ours": Ours,
    "ours-eager": _variant(compile="eager"),
    "ours-blocks": _variant(compile="blocks"),
    "ours-whole": _variant(compile="whole"),
    "torch-muon": _torch_muon,
    "transformers": lambda setting: _transformers(setting, compiled=False),
    "transformers-compiled": lambda setting: _transformers(setting, compiled=True),
    "moe-loop": _moe_loop,
    "matmul": Product,
}
