"""Records that contradict themselves are refused, each with its reason."""

from __future__ import annotations

import re

import pytest

from harness.errors import RequestError
from harness.records import gates, store
from harness.records.schema import HorizonEnd, Record
from tests.report import factory


@pytest.fixture
def sound() -> Record:
    record = next(r for r in factory.campaign() if r.ends)
    assert gates.check(record) == []
    assert gates.check(record.model_copy(update=documents(record, 0.0))) == []
    return record


def timing(record: Record, **changes: object) -> dict[str, object]:
    return {"timing": record.timing.model_copy(update=changes)}


def documents(record: Record, off: float, short: int = 0) -> dict[str, object]:
    """The record's endpoints with two documents, their nats `off` and their tokens `short`."""
    tokens = (10_000, factory.VAL_TOKENS - 10_000 - short)

    def parted(end: HorizonEnd) -> HorizonEnd:
        nats = tuple(round(n * end.val_loss + off, 2) for n in tokens)
        return end.model_copy(update={"document_nats": nats, "document_tokens": tokens})

    return {"ends": tuple(parted(end) for end in record.ends)}


BROKEN = {
    "tokens_done": lambda r: {"tokens_done": r.tokens_done + 1},
    "tokens_per_update": lambda r: {"tokens_per_update": r.tokens_per_update * 12},
    "status ok after": lambda r: {"last_update": r.last_update + 1},
    "exceed the total": lambda r: {"active_parameters": r.total_parameters + 1},
    "setup_seconds is": lambda r: timing(r, setup_seconds=-120.0),
    "update seconds sum": lambda r: timing(
        r, update_seconds_sum=r.timing.update_seconds_sum * 2, wall_seconds=1e9
    ),
    "steady rate x": lambda r: timing(
        r, steady_tokens_per_second=r.timing.steady_tokens_per_second * 12
    ),
    "of a run of": lambda r: timing(r, wall_seconds=r.timing.update_seconds_sum / 2),
    "bits a byte": lambda r: {
        "ends": tuple(
            e.model_copy(update={"bits_per_byte": e.bits_per_byte * 1.01}) for e in r.ends
        )
    },
    "a point at update": lambda r: {
        "ends": tuple(e.model_copy(update={"tokens": e.tokens + 1}) for e in r.ends)
    },
    "tokens: documents' nats are not": lambda r: documents(r, 1.0),
    "tokens: documents of 16255 tokens": lambda r: documents(r, 0.0, short=1),
    "initial loss": lambda r: {"initial_loss": 11.3, "expected_initial_loss": 8.8},
    "hand-over": lambda r: {"handover_loss": (5.0, 11.3)},
    "of the device's peak": lambda r: {
        "flops": r.flops.model_copy(update={"peak_flops": 1e12, "mfu_causal": 1.26})
    },
    "parameters, .* of a model whose": lambda r: {"total_parameters": r.total_parameters + 1},
    "status ok with an error": lambda r: {"error": "loss is not finite"},
    "updates made of": lambda r: {"status": "failed", "last_update": r.updates_done - 1},
    "an update's seconds is": lambda r: timing(
        r, update_seconds=(-1.0, *r.timing.update_seconds[1:])
    ),
    "peak_bytes is": lambda r: {"memory": r.memory.model_copy(update={"peak_bytes": -1})},
    "question.seeds is": lambda r: {"question": r.question.model_copy(update={"seeds": 0})},
    "created is 'today', no date": lambda r: {"created": "today"},
    "rate x FLOPs a token / peak": lambda r: {
        "flops": r.flops.model_copy(update={"peak_flops": 1e15, "mfu_causal": 0.4})
    },
    "without a known peak": lambda r: {
        "flops": r.flops.model_copy(update={"peak_flops": None, "mfu_causal": 0.4})
    },
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_broken_invariant_is_refused_at_the_moment_of_writing(sound, reason, tmp_path):
    broken = sound.model_copy(update=BROKEN[reason](sound))
    assert any(re.search(reason, fault) for fault in gates.check(broken))
    with pytest.raises(RequestError, match=reason):
        store.write(tmp_path, broken)
    assert not list(tmp_path.rglob("*.json"))
