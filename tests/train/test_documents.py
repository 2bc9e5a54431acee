"""Whole documents: every token once, windows as said, and nothing hangs on how they are batched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.train import documents
from harness.train.documents import score_documents, windows
from tests.models.small import DENSE, MOE, build


@pytest.mark.parametrize(("length", "context"), [(1, 4), (4, 4), (5, 4), (9, 1), (3, 100)])
def test_every_token_is_a_target_once(length: int, context: int) -> None:
    tokens = np.arange(10, 10 + length)
    cut = windows(tokens, 0, context)
    assert np.concatenate([targets for _, targets in cut]).tolist() == tokens.tolist()
    inputs = np.concatenate([given for given, _ in cut]).tolist()
    assert inputs == [0, *tokens[:-1].tolist()]
    assert all(len(given) == len(targets) <= context for given, targets in cut)
    assert windows(np.array([], dtype=np.int64), 0, context) == []


@pytest.mark.parametrize("base", [DENSE, MOE], ids=["dense", "moe"])
def test_scores_equal_those_of_each_document_alone(
    base: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(base)
    generator = np.random.default_rng(0)
    texts = [generator.integers(0, model.config.vocab_size, n) for n in (7, 1, 30, 12, 8)]
    context = 9
    monkeypatch.setattr(documents, "_TOKENS_AT_ONCE", 40)
    score = score_documents(
        model, texts, [3, 1, 4, 1, 5], start=0, context=context, device=torch.device("cpu")
    )
    assert (score.tokens, score.bytes) == (58, 14)
    for tokens, nats in zip(texts, score.document_nats, strict=True):
        expected = 0.0
        whole = [0, *tokens.tolist()]
        for i in range(0, len(tokens), context):
            given = torch.tensor([whole[i : min(i + context, len(tokens))]])
            chances = model(given)[0].log_softmax(-1)
            targets = torch.tensor(whole[i + 1 : i + 1 + context])
            expected -= chances[torch.arange(len(targets)), targets].sum().item()
        # fp32 sums of up to thirty losses of about 4 nats, in another order.
        assert nats == pytest.approx(expected, abs=1e-4)
    assert score.nats == pytest.approx(score.document_nats.sum())


def test_a_context_beyond_the_model_is_refused() -> None:
    model = build(DENSE)
    with pytest.raises(ValueError, match=r"outside 1\.\."):
        score_documents(model, [], [], start=0, context=10**6, device=torch.device("cpu"))
