"""How long runs will take on a device: from rates that were measured there, else projected.

A forecast, plainly: measured where the device has a record of the same model, otherwise scaled from
the share of the roofline that `harness.evidence.costs` assumes, with a floor for what starting a
kernel costs. Pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from harness.config import RunConfig, as_before, canonical
from harness.evidence import costs as cost
from harness.evidence import query
from harness.machine import devices, hardware
from harness.machine.hardware import Peak
from harness.optim import registry
from harness.plan.runs import Run
from harness.records.schema import Record
from models.config import ModelConfig, flops_per_token, flops_unknown
from models.presets import model as preset

COMPILE_SECONDS = {"eager": 0.0, "blocks": 15.0, "whole": 80.0}
"""As measured for SmolLM2-135M on two CPU cores; assumed everywhere."""
LAUNCH_SECONDS = 6e-6
"""Assumed of one kernel's launch, the least that an operation takes on a GPU."""
LAUNCHES_A_LAYER = 150
"""Assumed: forward and backward of one block, eager."""
FORWARD_SHARE = 1.0 / 3.0
"""The part of a training step's FLOPs that validation takes, which has no backward pass."""
CORE_FLOPS = 3e10
"""Assumed of a CPU core that trains small models, where a guess is better than nothing: cores of
the last ten years reach a half to four times as much."""


class Forecast:
    """Predictions for one device."""

    def __init__(
        self, device: str, peak: Peak | None, records: Sequence[Record], *, guess: bool = False
    ) -> None:
        """`records` are those of this device; whatever their status, their rates count. With
        `guess` a device without records and without a peak has an assumed speed, not none."""
        self.device, self.peak, self._guess = device, peak, guess
        self._rates: dict[tuple[str, str], list[float]] = {}
        self._flops: dict[str, list[float]] = {}
        for record in records:
            rate = record.timing.steady_tokens_per_second if record.timing else None
            if rate and record.flops and record.world_size == 1:
                # A precision that the hardware lacks costs a multiple: rates do not carry over.
                dtype = str(record.config.get("train", {}).get("dtype"))
                model = _sizes(record.config.get("model", {}))
                self._rates.setdefault((model, dtype), []).append(rate)
                self._flops.setdefault(dtype, []).append(rate * record.flops.per_token_causal)

    @classmethod
    def of_this_machine(
        cls, device: str, records: Sequence[Record], *, guess: bool = False
    ) -> Forecast:
        """For `cpu` or `cuda` here, from those of `records` that its class of device left."""
        name = devices.of(device).product()
        peak = hardware.peak_of(name)
        return cls(peak.name if peak else name, peak, query.on(records, name), guess=guess)

    def rate(self, config: RunConfig) -> tuple[float | None, str]:
        """Tokens/s of a run, and where that comes from."""
        dtype = config.train.dtype
        if found := self._rates.get((_sizes(config.model), dtype)):
            return statistics.median(found), "measured here"
        if (reason := flops_unknown(config.model)) is not None:
            return None, reason
        per_token = flops_per_token(config.model, config.data.seq_len)
        if self.peak is None or dtype != "bf16":  # which is what a peak is known in
            flops = self._flops.get(dtype)
            if flops is None and self._guess and self.peak is None:
                rate = CORE_FLOPS * config.train.threads / per_token
                return rate, f"of {CORE_FLOPS / 1e9:.0f} GFLOP/s a core, a guess: none was measured"
            if flops is None:
                return None, f"no rate in {dtype} was measured on this device"
            scaled = statistics.median(flops) / per_token
            return scaled, "scaled by FLOPs from other models measured here"
        share = self._share(config)
        update = config.tokens_per_update * per_token / (share * self.peak.bf16_flops)
        update = max(update, self._launches(config))
        return config.tokens_per_update / update, f"{cost.EFFICIENCY:.0%} of the roofline, assumed"

    def _share(self, config: RunConfig) -> float:
        """The share of the peak that the assumed efficiency comes to: of this model's roofline,
        or (a mixture has none) of SmolLM2-135M's."""
        assert self.peak is not None
        for model in (config.model, preset("dense", "full")):
            batch, seq = config.batch, min(config.data.seq_len, model.max_seq_len)
            found = cost.projected(
                model, self.device, batch.micro_batch, seq, grad_accum=batch.grad_accum
            )
            if found.tokens_per_second is not None:
                return found.tokens_per_second * flops_per_token(model, seq) / self.peak.bf16_flops
        raise AssertionError("the dense model has a roofline on every device with a peak")

    def _launches(self, config: RunConfig) -> float:
        """Seconds of an update if every kernel were empty."""
        matrices = _matrices(config.model) * config.model.layers
        stepping = registry.launches_a_matrix(config.optim.name) * matrices
        layers = LAUNCHES_A_LAYER * config.model.layers * config.batch.grad_accum
        return LAUNCH_SECONDS * (layers + stepping)

    def seconds(self, run: Run) -> float | None:
        """The time of one run: start, compilation, updates, validations. None without a rate."""
        config = run.config
        rate, _ = self.rate(config)
        if rate is None:
            return None
        updates = run.last_update - run.first_update
        validations = updates // config.train.eval_every + bool(run.endpoints)
        tokens = (
            updates * config.tokens_per_update
            + FORWARD_SHARE * validations * config.data.val_tokens
        )
        compiling = COMPILE_SECONDS.get(config.train.compile, 0.0)
        training = tokens / (rate * run.world_size)  # as if sharing an update cost nothing
        return devices.of(run.device).start_seconds + compiling + training

    def together(self, runs: Sequence[Run], at_once: int) -> tuple[float | None, str]:
        """The time of runs that are started together, so many at a time, and what the least certain
        of their rates is based on."""
        times = [self.seconds(run) for run in runs]
        bases = sorted({self.rate(run.config)[1] for run in runs}, key=lambda b: "measured" in b)
        known = [t for t in times if t is not None]
        if len(known) < len(times):
            return None, bases[0]
        return max(sum(known) / at_once, *known), bases[0]


def _sizes(model: ModelConfig | Mapping[str, Any]) -> str:
    """The same for a model and for the configuration of it that a record holds."""
    return canonical(as_before(model, "model"))


def _matrices(model: ModelConfig) -> int:
    feed_forward = 3 if model.activation == "swiglu" else 2
    return 4 + feed_forward * max(model.experts, 1)
