"""Model FLOPs utilisation."""

from __future__ import annotations

from harness.config import RunConfig
from harness.machine.hardware import peak_of
from harness.records.schema import Flops
from models.config import flops_per_token, flops_unknown


def account(
    config: RunConfig, gpu: str | None, steady_tokens_per_second: float | None, devices: int = 1
) -> Flops | None:
    """FLOPs a token under both conventions, and the share of the devices' peak they come to; None
    where they are not known.

    MFU = tokens/s x FLOPs a token / peak (PaLM, arXiv 2204.02311, appendix B). The peak is the
    bf16 one with fp32 accumulation; runs in other precisions and devices without a known peak
    have none.
    """
    if flops_unknown(config.model) is not None:
        return None
    causal = flops_per_token(config.model, config.data.seq_len, causal=True)
    noncausal = flops_per_token(config.model, config.data.seq_len, causal=False)
    peak = peak_of(gpu) if config.train.dtype == "bf16" else None
    rate = steady_tokens_per_second if peak else None

    def share(per_token: float) -> float | None:
        return rate * per_token / (devices * peak.bf16_flops) if peak and rate else None

    return Flops(
        per_token_causal=causal,
        per_token_noncausal=noncausal,
        peak_flops=peak.bf16_flops if peak else None,
        peak_source=peak.source if peak else None,
        mfu_causal=share(causal),
        mfu_noncausal=share(noncausal),
    )
