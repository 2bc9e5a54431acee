"""What an endpoint keeps of each document comes to its loss, and changes nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.data.batches import IGNORED, Validation
from harness.train import evaluate as scoring
from tests.models.small import DENSE, build


@pytest.mark.parametrize("kept", [500, 3])
def test_parts_add_up_to_the_score(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "KEPT_DOCUMENTS", kept)
    model = build(DENSE)
    tokens = np.random.default_rng(0).integers(0, model.config.vocab_size, (4, 9))
    targets = np.roll(tokens, -1, axis=1)
    targets[:, -1] = IGNORED
    documents = np.sort(np.random.default_rng(1).integers(0, 7, 36)).reshape(4, 9)
    sizes = np.ones(model.config.vocab_size, dtype=np.int64)
    data = Validation(tokens, targets, documents, sizes)
    score = scoring.evaluate(model, data, 2, torch.device("cpu"))
    parts = scoring.by_document(score, data)
    nats, counts = parts["document_nats"], parts["document_tokens"]
    assert len(nats) == len(counts) == min(kept, int(documents.max()) + 1)
    assert sum(counts) == score.tokens == 4 * 8
    assert sum(nats) == pytest.approx(score.nats, abs=0.005 * len(nats))
    if kept == 500:
        # By hand: a target belongs to the document of the token that it is.
        expected = np.bincount(documents[:, 1:].ravel(), minlength=len(counts))
        assert counts == expected.tolist()
        assert nats == score.document_nats.round(2).tolist()
