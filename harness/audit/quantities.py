"""What a claim can state: the names of quantities, their dimensions and the units of each.

The vocabulary of claims files. May know nothing of relations between quantities.
"""

from __future__ import annotations

SECOND = 1.0
TIME = {
    "ms": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
    "s": SECOND, "sec": SECOND, "secs": SECOND, "second": SECOND, "seconds": SECOND,
    "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
    "week": 604800.0, "weeks": 604800.0,
}  # fmt: skip
BYTES = {
    "B": 1.0, "byte": 1.0, "bytes": 1.0, "KB": 1e3, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
    "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
}  # fmt: skip
_SI = {"": 1.0, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21}
FLOPS = {
    prefix + word: factor for prefix, factor in _SI.items() for word in ("FLOP", "FLOPs", "FLOPS")
}
FLOP_RATE = {
    prefix + word: factor
    for prefix, factor in _SI.items()
    for word in ("FLOP/s", "FLOPs/s", "FLOPS")
}
MAGNITUDES = {
    "k": 1e3, "K": 1e3, "thousand": 1e3, "M": 1e6, "million": 1e6, "mn": 1e6,
    "B": 1e9, "b": 1e9, "billion": 1e9, "bn": 1e9, "T": 1e12, "trillion": 1e12,
}  # fmt: skip
"""What may stand between a number and the unit of a count or a rate."""
COUNTED = {
    "token", "tokens", "tok", "step", "steps", "update", "updates", "micro-step", "micro-steps",
    "iteration", "iterations", "iter", "it", "parameter", "parameters", "params", "param",
    "sequence", "sequences", "seqs", "sample", "samples", "gpu", "gpus", "device", "devices",
    "character", "characters", "byte", "bytes", "epoch", "epochs", "run", "runs", "seed", "seeds",
}  # fmt: skip
"""Words that may follow a count without changing it."""

DIMENSIONS: dict[str, str] = {
    # Amounts of work. "Step" is the claim's own word; what it is, the file's `step` says.
    "tokens": "count",
    "dataset_tokens": "count",
    "epochs": "count",
    "steps": "count",
    "updates": "count",
    "micro_steps": "count",
    "tokens_per_step": "count",
    "tokens_per_update": "count",
    "tokens_per_micro_step": "count",
    "sequences_per_update": "count",
    "micro_batch": "count",
    "grad_accum": "count",
    "seq_len": "count",
    "devices": "count",
    # Time and rates. All rates are of the whole machine but for `tokens_per_device_second`.
    "time": "time",
    "fixed_time": "time",
    "time_per_step": "time",
    "time_per_update": "time",
    "time_before": "time",
    "time_after": "time",
    "device_time": "time",
    "tokens_per_second": "rate",
    "tokens_per_device_second": "rate",
    "steps_per_second": "rate",
    "updates_per_second": "rate",
    "micro_steps_per_second": "rate",
    "steady_per_second": "rate",
    # The model and what it computes.
    "parameters": "count",
    "active_parameters": "count",
    "bytes_per_parameter": "plain",
    "weight_bytes": "bytes",
    "flops_per_token": "flops",
    "total_flops": "flops",
    "flops_per_second": "flop rate",
    "peak_flops": "flop rate",
    "mfu": "fraction",
    # Money, USD.
    "cost": "money",
    "price_per_hour": "money rate",
    "price_per_device_hour": "money rate",
    # Quality. Loss is in nats a token.
    "loss": "plain",
    "perplexity": "plain",
    "bits_per_token": "plain",
    "bits_per_byte": "plain",
    "bytes_per_token": "plain",
    "scored_tokens": "count",
    "scored_bytes": "count",
    # Two values and what is said of their difference; `part` of a `whole`.
    "before": "plain",
    "after": "plain",
    "change": "fraction",
    "reduction": "fraction",
    "ratio": "ratio",
    "speedup": "ratio",
    "faster": "fraction",
    "part": "plain",
    "whole": "plain",
    "share": "fraction",
    "accuracy": "fraction",
}
"""Quantity -> dimension."""
