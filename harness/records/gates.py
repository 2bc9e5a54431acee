"""Plausibility gates: invariants that a record must keep, checked at the moment of writing.

A number that cannot be true is refused before it can be believed.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from functools import cache

import numpy as np
from pydantic import ValidationError

from harness.records.schema import EvalPoint, HorizonEnd, Record
from models.config import ModelConfig, active_parameters, total_parameters

RATE_TOLERANCE = 1e-3
"""rate x time = tokens, up to the rounding of stored seconds (microseconds on >= 1 ms)."""
INITIAL_LOSS_TOLERANCE = 0.5
"""Nats between the first update's loss and what the initialisation implies; one update's batch
of a thousand tokens strays by under 0.1, a wrong initialisation by whole nats."""


ODD_SHARE = 0.2
"""A part of the targets, all one token, above which a validation set is odd; the most frequent
token of English text is a twentieth."""

HANDOVER_TOLERANCE = 1e-4
"""How far a probe loss may differ between stages, by the same code on the same kind of device: only
the order of sums differs."""
GIVEN_TOLERANCE = 1e-2
"""Where another device or library computed the first one: bf16 keeps 8 bits, and a mean over a few
thousand tokens averages most of that away. Weights that did not arrive differ by whole nats."""


UNORDERED_TOLERANCE = 1e-3
"""The same where the device has no fixed order: each process tunes its kernels anew, and a token
whose experts are nearly tied may take another."""


def handed_over(before: float, after: float, *, given: bool, device: str = "cpu") -> bool:
    """Whether a probe's loss before saving and after loading is that of the same model."""
    ours = HANDOVER_TOLERANCE if device == "cpu" else UNORDERED_TOLERANCE
    return math.isclose(before, after, rel_tol=GIVEN_TOLERANCE if given else ours)


def check(record: Record) -> list[str]:
    """The broken invariants, one line each; empty where the record holds together."""
    return [
        *_counts(record),
        *_sizes(record),
        *_signs(record),
        *_times(record),
        *_losses(record),
        *_documents(record),
        *_utilisation(record),
    ]


def _counts(r: Record) -> list[str]:
    faults = []
    batch, data = r.config.get("batch", {}), r.config.get("data", {})
    declared = batch.get("micro_batch", 0) * batch.get("grad_accum", 0) * data.get("seq_len", 0)
    if declared != r.tokens_per_update:
        faults.append(
            f"tokens_per_update {r.tokens_per_update} is not micro_batch x grad_accum x seq_len "
            f"= {declared}"
        )
    if r.tokens_done != r.updates_done * r.tokens_per_update:
        faults.append(
            f"tokens_done {r.tokens_done} is not updates_done {r.updates_done} x "
            f"tokens_per_update {r.tokens_per_update}"
        )
    if r.status == "ok" and r.updates_done != r.last_update:
        faults.append(f"status ok after {r.updates_done} of {r.last_update} updates")
    elif r.updates_done > r.last_update:
        faults.append(f"{r.updates_done} updates made of {r.last_update} planned")
    if r.status == "ok" and r.error is not None:
        faults.append("status ok with an error")
    if r.experts is not None:
        copies = r.experts.tokens * r.config.get("model", {}).get("top_k", 0)
        faults += [
            f"layer {layer}: experts took {sum(load)} token copies of {copies}"
            for layer, load in enumerate(r.experts.load)
            if sum(load) != copies
        ]
    if r.active_parameters > r.total_parameters:
        faults.append(
            f"active parameters {r.active_parameters} exceed the total {r.total_parameters}"
        )
    faults += [
        f"a point at update {point.update} says {point.tokens} tokens, not "
        f"{point.update * r.tokens_per_update}"
        for point in _points(r)
        if point.tokens != point.update * r.tokens_per_update
    ]
    return faults


def _sizes(r: Record) -> list[str]:
    expected = _parameters(json.dumps(r.config.get("model")))
    if expected in (None, (r.total_parameters, r.active_parameters)):
        return []
    return [
        f"{r.total_parameters} parameters, {r.active_parameters} of them active, of a model whose "
        "configuration has {} and {}".format(*expected)
    ]


@cache  # ten thousand records have a few models
def _parameters(model: str) -> tuple[int, int] | None:
    """Total and active; None for what is no model by today's schema, which is for others to say."""
    try:
        config = ModelConfig.model_validate_json(model)
    except ValidationError:
        return None
    return total_parameters(config), active_parameters(config)


def _signs(r: Record) -> list[str]:
    """What cannot be negative, or no date."""
    least: dict[str, tuple[float | None, float]] = {
        "first_update": (r.first_update, 0),
        "seed": (r.seed, 0),
        "repeat": (r.repeat, 0),
        "question.seeds": (r.question.seeds, 1),
        "memory.peak_bytes": (r.memory.peak_bytes if r.memory else None, 1),
        "data.epochs": (r.data.epochs if r.data else None, 0),
        "predicted_seconds": (r.predicted_seconds, 0),
        "an update's seconds": (min(r.timing.update_seconds, default=0) if r.timing else 0, 0),
    }
    faults = [
        f"{name} is {value:g}, less than {low:g}"
        for name, (value, low) in least.items()
        if value is not None and value < low
    ]
    try:
        datetime.fromisoformat(r.created)
    except ValueError:
        faults.append(f"created is {r.created!r}, no date")
    return faults


def _points(r: Record) -> list[EvalPoint | HorizonEnd]:
    return [*r.validation, *r.ends]


def _times(r: Record) -> list[str]:
    t = r.timing
    if t is None:
        return []
    faults = []
    if t.timed != (t.launch is not None):
        faults.append("timed without a launch, or a launch that is not timed")
    if t.timed and t.concurrent_runs != 1:
        faults.append(f"timed with {t.concurrent_runs} runs at once")
    seconds = {
        name: getattr(t, name)
        for name in (
            "setup_seconds", "eval_seconds", "checkpoint_seconds", "data_seconds",
            "update_seconds_sum", "wall_seconds",
        )
    }  # fmt: skip
    faults += [f"{name} is {value:g}: negative" for name, value in seconds.items() if value < 0]
    if len(t.update_seconds) == t.updates and t.updates:
        total = math.fsum(t.update_seconds)
        if not math.isclose(total, t.update_seconds_sum, rel_tol=RATE_TOLERANCE, abs_tol=1e-3):
            faults.append(f"update seconds sum to {total:g}, not {t.update_seconds_sum:g}")
        steady = t.update_seconds[t.warmup_updates :]
        if t.steady_tokens_per_second is not None and steady:
            tokens = len(steady) * r.tokens_per_update
            implied = t.steady_tokens_per_second * math.fsum(steady)
            if not math.isclose(implied, tokens, rel_tol=RATE_TOLERANCE):
                faults.append(f"steady rate x steady time = {implied:g} tokens, not {tokens}")
    if t.update_seconds_sum > t.wall_seconds * (1 + RATE_TOLERANCE) and not t.resumed:
        faults.append(f"updates took {t.update_seconds_sum:g} s of a run of {t.wall_seconds:g} s")
    return faults


def initial_loss(loss: float, expected: float) -> str | None:
    """What is wrong with the first update's loss of a model that was just initialised, if any."""
    if abs(loss - expected) <= INITIAL_LOSS_TOLERANCE:
        return None
    return f"initial loss {loss:.3f} against {expected:.3f} implied by the initialisation"


def odd_targets(targets: np.ndarray) -> str | None:
    """What is odd about an update's targets, which a model that knows nothing would not show:
    `ODD_SHARE` of them or more are one token. Targets below 0 are none."""
    scored = targets[targets >= 0]
    if not scored.size:
        return "the data's first update has no target"
    counts = np.bincount(scored.ravel())
    token, share = int(counts.argmax()), float(counts.max() / scored.size)
    if share < ODD_SHARE:
        return None
    return (
        f"{share:.0%} of the data's first {scored.size:,} targets are token {token}: padding needs "
        "an attention_mask, or labels of -100"
    )


def _losses(r: Record) -> list[str]:
    faults = []
    if r.initial_loss is not None and r.expected_initial_loss is not None:
        fault = initial_loss(r.initial_loss, r.expected_initial_loss)
        faults += [fault] if fault else []
    if r.data is not None and r.data.val_bytes:
        for point in _points(r):
            implied = point.val_loss * r.data.val_tokens / math.log(2) / r.data.val_bytes
            said = point.bits_per_byte
            if said is None or not math.isclose(implied, said, rel_tol=1e-6):
                faults.append(
                    f"{said} bits a byte at update {point.update}, but "
                    f"{point.val_loss:g} nats a token come to {implied:g}"
                )
    if r.handover_loss is not None and r.status == "ok":
        before, after = r.handover_loss
        if not handed_over(before, after, given=r.given is not None, device=r.device):
            faults.append(
                f"hand-over: probe loss {before:g} before saving, {after:g} after loading"
            )
    return faults


def _documents(r: Record) -> list[str]:
    """The parts of an endpoint's score must come to its loss: a hundredth of a nat each at most."""
    faults = []
    for end in r.ends:
        if (other := end.second) is not None:
            both = len(other.document_nats), len(other.document_tokens)
            total = sum(other.document_tokens)
            if both[0] != both[1] or (r.data and r.data.second and r.data.second.tokens != total):
                faults.append(f"{end.horizon}: the second text's documents and tokens disagree")
            elif abs(math.fsum(other.document_nats) - other.loss * total) > 0.01 * (both[0] + 1):
                faults.append(f"{end.horizon}: the second text's nats are not those of its loss")
        nats, tokens = end.document_nats, end.document_tokens
        if nats is None or tokens is None:
            if nats != tokens:
                faults.append(f"{end.horizon}: nats of documents without their tokens, or tokens")
        elif len(nats) != len(tokens):
            faults.append(f"{end.horizon}: {len(nats)} documents' nats, {len(tokens)}' tokens")
        elif r.data is not None and sum(tokens) != r.data.val_tokens:
            faults.append(f"{end.horizon}: documents of {sum(tokens)} tokens in all")
        elif abs(math.fsum(nats) - end.val_loss * sum(tokens)) > 0.01 * (len(nats) + 1):
            faults.append(f"{end.horizon}: documents' nats are not those of its loss")
    return faults


def _utilisation(r: Record) -> list[str]:
    if r.flops is None:
        return []
    shares = {"mfu_causal": r.flops.mfu_causal, "mfu_noncausal": r.flops.mfu_noncausal}
    faults = [
        f"{name} is {share:.0%} of the device's peak"
        for name, share in shares.items()
        if share is not None and not 0.0 <= share <= 1.0
    ]
    rate = r.timing.steady_tokens_per_second if r.timing else None
    if r.flops.peak_flops and rate is not None and shares["mfu_causal"] is not None:
        implied = rate * r.flops.per_token_causal / r.flops.peak_flops
        if not math.isclose(implied, shares["mfu_causal"], rel_tol=RATE_TOLERANCE):
            faults.append(
                f"mfu_causal is {shares['mfu_causal']:.4f}, but rate x FLOPs a token / peak = "
                f"{implied:.4f}"
            )
    if r.flops.peak_flops is None and any(share is not None for share in shares.values()):
        faults.append("a utilisation without a known peak")
    return faults
