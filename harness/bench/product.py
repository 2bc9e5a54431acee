"""The matrix product that a machine's peak is taken from, and what it costs. No torch."""

from __future__ import annotations

from harness.bench.setting import Setting

REPEATS = 50
"""Products in what is timed at once."""


def shape(setting: Setting) -> str:
    """`4096 x 576 x 1536` for SmolLM2-135M at 4 x 1024: the feed-forward's, forward."""
    return f"{setting.tokens} x {setting.model.width} x {setting.model.ffn}"


def flops(setting: Setting) -> float:
    """The FLOPs of all repeats: 2 a multiplication and addition."""
    return 2.0 * setting.tokens * setting.model.width * setting.model.ffn * REPEATS
