"""From a configuration and the parameters' roles to optimizers, stepped and scheduled as one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from harness.config import OptimConfig
from harness.optim import own, registry
from harness.optim.peers import Peers
from models.lm import LanguageModel


class Optimizers:
    """The optimizers of one model, stepped and scheduled as one."""

    def __init__(self, parts: Mapping[str, torch.optim.Optimizer]) -> None:
        """`parts` by a stable name, under which their states are saved."""
        self.parts = dict(parts)
        self._peaks = {
            name: [group["lr"] for group in part.param_groups] for name, part in parts.items()
        }

    def set_factor(self, factor: float) -> None:
        """Every learning rate becomes its peak times the schedule's factor."""
        for name, part in self.parts.items():
            for group, peak in zip(part.param_groups, self._peaks[name], strict=True):
                group["lr"] = peak * factor

    def share(self, peers: Peers) -> None:
        """Have the parts that can do so share the work of each step with other processes."""
        for part in self.parts.values():
            if hasattr(part, "peers"):
                part.peers = peers

    def step(self) -> None:
        """One optimizer step of each part."""
        for part in self.parts.values():
            part.step()

    @contextlib.contextmanager
    def judged(self) -> Iterator[None]:
        """Inside, the weights are those to be judged and kept. An optimizer that takes gradients at
        one point and gives another (Schedule-Free, a running average) is asked for it by `eval()`,
        and goes on from where it was, to the last bit, after `train()`; others have neither."""
        both = [
            part
            for part in self.parts.values()
            if callable(getattr(part, "eval", None)) and callable(getattr(part, "train", None))
        ]
        held = [p for part in both for group in part.param_groups for p in group["params"]]
        before = [parameter.detach().clone() for parameter in held]
        with torch.no_grad():
            for part in both:
                part.eval()  # type: ignore[attr-defined]  # torch's own class has none
        yield
        with torch.no_grad():
            for part in both:
                part.train()  # type: ignore[attr-defined]
            for parameter, weights in zip(held, before, strict=True):
                parameter.copy_(weights)

    def state_dict(self) -> dict[str, Any]:
        """The states by the parts' names."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore; raises ValueError where the parts are others than those saved."""
        if set(state) != set(self.parts):
            raise ValueError(f"optimizer state of {sorted(state)}, not of {sorted(self.parts)}")
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def build(config: OptimConfig, model: LanguageModel) -> Optimizers:
    """The optimizers that a configuration names, over all parameters of a model.

    Raises RequestError for an unknown name or what an optimizer does not take, and whatever a
    user's own code raises.
    """
    parameters = dict(model.named_parameters())
    roles = model.roles()
    if set(parameters) != set(roles):
        raise ValueError(f"parameters without a role: {sorted(set(parameters) ^ set(roles))}")
    if config.code:
        return Optimizers(own.build(config, parameters, roles))
    module = registry.module(config.name)
    registry.check(config)
    return Optimizers(module.build(config, parameters, roles))
