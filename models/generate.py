"""Sampling from a language model, one sequence at a time, token by token as they come.

Knows no tokenizer: token ids in, token ids out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.dtypes import reduction_dtype
from models.layers import KVCache
from models.lm import LanguageModel

COLDEST = 1e-6
"""The lowest temperature but 0: below it logits divided by it may overflow, and what is drawn there
is what greedy gives."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the logits.

    Temperature 0 is greedy. Otherwise the logits are divided by it, cut to the `top_k` largest,
    then to the smallest set whose probability reaches `top_p`, and sampled.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    """The seed of the generator that all tokens of one text are drawn with."""

    def check(self) -> None:
        """Raises ValueError for a setting out of range."""
        if not (self.temperature == 0.0 or COLDEST <= self.temperature < float("inf")):
            raise ValueError(
                f"temperature must be 0 (greedy) or at least {COLDEST}, not {self.temperature}"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {self.top_k}")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")


GREEDY = Sampling()


def generate(
    model: LanguageModel,
    tokens: Sequence[int],
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    *,
    stop_tokens: Collection[int] = (),
    cached: bool = True,
) -> Iterator[int]:
    """The continuation of a prompt, token ids one by one; a stop token comes last, if any does.

    `cached=False` computes the whole sequence anew for each token: slow, and there to check the
    cache by.

    Raises ValueError, before the first token, for an empty prompt, a token outside the
    vocabulary, settings out of range, or more tokens than the model has positions.
    """
    c = model.config
    if not tokens:
        raise ValueError("the prompt has no tokens")
    if not all(0 <= token < c.vocab_size for token in tokens):
        raise ValueError(f"the prompt has a token outside the vocabulary of {c.vocab_size}")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, not {max_new_tokens}")
    if len(tokens) + max_new_tokens > c.max_seq_len:
        raise ValueError(
            f"{len(tokens)} prompt tokens and {max_new_tokens} new ones are more than the "
            f"model's {c.max_seq_len} positions"
        )
    sampling.check()
    generator = torch.Generator().manual_seed(sampling.seed)
    return _steps(
        model,
        list(tokens),
        max_new_tokens,
        lambda logits: choose(logits, sampling, generator),
        frozenset(stop_tokens),
        cached,
    )


def _steps(
    model: LanguageModel,
    tokens: list[int],
    max_new_tokens: int,
    pick: Callable[[Tensor], int],
    stop_tokens: frozenset[int],
    cached: bool,
) -> Iterator[int]:
    device = model.embedding.weight.device
    capacity = len(tokens) + max_new_tokens
    cache = KVCache(model.config, 1, capacity, model.compute_dtype, device) if cached else None
    unseen = tokens
    was_training = model.training
    model.eval()
    try:
        for _ in range(max_new_tokens):
            batch = torch.tensor([unseen], device=device)
            # Not held open across the yield, where the caller's own code runs.
            with torch.inference_mode():
                hidden, _ = model.hidden(batch, cache=cache)
                # In at least fp32: in bf16 the best two of 49,152 logits are often equal.
                token = pick(model.logits(hidden[0, -1].to(reduction_dtype(hidden.dtype))))
            yield token
            if token in stop_tokens:
                return
            unseen = [token] if cached else [*unseen, token]
    finally:
        model.train(was_training)


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One token from logits (vocab,), as `Sampling` says; drawn on the CPU whatever the device.

    `top_p` is nucleus sampling (arXiv 1904.09751, eq. 2-3); the token that crosses the bound is
    kept, so that at least one remains.
    """
    if sampling.temperature == 0.0:
        return int(logits.argmax())
    scores, order = (
        logits.to(reduction_dtype(logits.dtype)).cpu().sort(descending=True, stable=True)
    )
    probabilities = (scores[: sampling.top_k] / sampling.temperature).softmax(0)
    if sampling.top_p is not None:
        before = probabilities.cumsum(0) - probabilities
        probabilities = probabilities * (before < sampling.top_p)
    drawn = torch.multinomial(probabilities, 1, generator=generator)
    return int(order[drawn])
