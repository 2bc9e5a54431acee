"""A loss term of one's own: a function or class that is called with logits and targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models import own
from models.config import Part


def term(part: Part) -> Callable[[Tensor, Tensor], Tensor] | None:
    """What a model adds to its cross-entropy: logits (targets, vocab) and targets (targets,) ->
    the term's sum over targets, in nats as the cross-entropy's; None where no part is named.

    The sum is divided by the targets of the whole update, as the cross-entropy is, so that it does
    not depend on micro-batches. The losses of records stay those of the cross-entropy alone.
    Raises `own.Fault` where there is no such part, or for anything but a scalar with a gradient.
    """
    if not part.name:
        return None
    found: Any = own.load(part.name, part.code)
    call: Any = own.called(found, part.settings)

    def checked(logits: Tensor, targets: Tensor) -> Tensor:
        value: Any = call(logits, targets)
        if not isinstance(value, torch.Tensor) or value.shape != ():
            gives = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise own.Fault(f"{own.line_of(found)}: gives {gives}, not a scalar sum over targets")
        if not value.requires_grad and logits.requires_grad:
            raise own.Fault(f"{own.line_of(found)}: its value has no gradient")
        return value

    return checked
