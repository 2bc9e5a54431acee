"""One update: micro-steps, clipping, optimizer step."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.data.batches import Batch
from harness.errors import RequestError
from harness.optim.build import Optimizers
from harness.train.ranks import ALONE, Ranks
from harness.train.tensors import cut, tensors
from models.lm import LanguageModel


@dataclass(frozen=True)
class UpdateResult:
    """What one update saw, before it moved the weights."""

    loss: float
    """Cross-entropy, nats a target token, mean over the update."""
    routing_loss: float
    """Weighted routing losses, mean over the update's sequences; 0 for a dense model."""
    grad_norm: float
    """2-norm of the whole gradient, before clipping."""


def accumulate(
    model: LanguageModel,
    batch: Batch,
    micro_batch: int,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward and backward over all micro-steps of an update; gradients add up in `.grad`.

    The cross-entropy is a sum divided by the target tokens of the whole update, counted before
    the first micro-step; routing losses are per sequence, divided by the update's sequences.
    So 8 x 1 and 1 x 8 micro-batches give equal gradients, however many targets are masked, and
    so do one process and several, of which each works on its part of the sequences.

    `batch` is the whole update's: it holds tokens, targets and maybe documents (sequences, seq).
    Returns (mean cross-entropy, mean routing loss) as tensors on the device, so that nothing waits
    for it.
    Raises RequestError for an update without target tokens.
    """
    sequences = len(batch.tokens)
    targets_in_update = int((batch.targets >= 0).sum())
    if targets_in_update == 0:
        raise RequestError("an update has no target token: every label is masked")
    loss = torch.zeros((), device=device)
    routing = torch.zeros((), device=device)
    with model.working_weights():
        mine = ranks.part(sequences)
        # Once an update: a transfer in each micro-step would make the host wait in each.
        there = tensors(batch, device, slice(mine.start, mine.stop))
        for start in range(0, len(mine), micro_batch):
            tokens, targets, documents = cut(there, slice(start, start + micro_batch))
            sums = model.loss_sums(tokens, targets, documents)
            cross_entropy = sums.cross_entropy / targets_in_update
            routing_share = sums.routing / sequences
            objective = cross_entropy + routing_share
            if sums.term is not None:  # as the cross-entropy: by the whole update's targets
                objective = objective + sums.term / targets_in_update
            objective.backward()
            loss += cross_entropy.detach()
            routing += routing_share.detach()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    ranks.add_up([loss, routing, *gradients])
    return loss, routing


def clip_gradients(model: LanguageModel, limit: float) -> torch.Tensor:
    """Scale all gradients so that their common 2-norm is at most `limit` (0: leave them).

    Returns the norm before clipping.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients, norm_type=2.0, error_if_nonfinite=False)
    if limit > 0:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), limit, norm)
    return norm


@dataclass(frozen=True)
class Pending:
    """An update that the device may still be working on."""

    values: torch.Tensor
    """Loss, routing loss and gradient norm, on their way to the host."""
    done: torch.Event | None
    """Tells that the device has come past the update; None where nothing is behind."""

    def read(self) -> UpdateResult:
        """Wait until it is done."""
        if self.done is not None:
            self.done.synchronize()
        return UpdateResult(*self.values.tolist())


def begin(
    model: LanguageModel,
    optimizers: Optimizers,
    batch: Batch,
    *,
    micro_batch: int,
    clip_norm: float,
    factor: float,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Pending:
    """`update` without waiting for the device: the host may prepare and start the next one.

    So the step is made before anybody has seen whether the loss is finite: who calls this reads it
    before the weights are used for anything else than the next update.
    """
    loss, routing = accumulate(model, batch, micro_batch, device, ranks)
    norm = clip_gradients(model, clip_norm)
    optimizers.set_factor(factor)
    optimizers.step()
    for parameter in model.parameters():
        parameter.grad = None
    return _sent(torch.stack([loss, routing, norm.to(loss.dtype)]), device)


def _sent(values: torch.Tensor, device: torch.device) -> Pending:
    """On their way to the host's pinned memory from now on: asked for later, they would come behind
    the next update."""
    sent = values.to("cpu", non_blocking=True)
    done = None
    if device.type != "cpu":
        done = torch.Event(device)
        done.record()
    return Pending(sent, done)


def update(
    model: LanguageModel,
    optimizers: Optimizers,
    batch: Batch,
    *,
    micro_batch: int,
    clip_norm: float,
    factor: float,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> UpdateResult:
    """One optimizer step over `batch` (all sequences of the update), at a schedule factor.

    Reading the loss waits for the device, so that the caller's clock sees the whole update.
    A loss that is not finite leaves the weights alone.
    """
    loss, routing = accumulate(model, batch, micro_batch, device, ranks)
    norm = clip_gradients(model, clip_norm)
    result = UpdateResult(loss.item(), routing.item(), norm.item())
    finite = all(map(_finite, (result.loss, result.routing_loss, result.grad_norm)))
    if finite:
        optimizers.set_factor(factor)
        optimizers.step()
        torch.get_device_module(device).synchronize(device)
    for parameter in model.parameters():
        parameter.grad = None
    return result


def _finite(value: float) -> bool:
    return value - value == 0.0
