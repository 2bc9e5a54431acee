"""`metrics_plot.png` in a run's folder: loss, validation, learning rates and throughput.

A picture to look at while working; the card's figures come from records.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from harness.files import write_atomically
from harness.optim import registry


def draw(metrics: Path, target: Path, title: str) -> None:
    """Draw a run's `metrics.json`; a run that left none that can be read, or made no update, has no
    picture."""
    try:
        summary: dict[str, Any] = json.loads(metrics.read_bytes())
    except (FileNotFoundError, ValueError):
        return
    training, validation, timing = summary["training"], summary["validation"], summary["timing"]
    if not training or timing is None:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6))
    FigureCanvasAgg(figure)
    (losses, rates), (norms, speed) = figure.subplots(2, 2)
    # Fixed: to find a layout is to draw twice, while the launcher's runs wait to be looked after.
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.08, top=0.93, wspace=0.28, hspace=0.16)
    updates = [point["update"] for point in training]
    losses.plot(updates, [p["loss"] for p in training], lw=0.8, label="training")
    if validation:
        losses.plot(
            [p["update"] for p in validation], [p["val_loss"] for p in validation],
            marker="o", ms=3, label="validation",
        )  # fmt: skip
    losses.legend(frameon=False)
    losses.set_ylabel("loss (nats a token)")
    for name, peak in registry.peaks(summary["config"]["optim"]).items():
        rates.plot(updates, [peak * p["learning_rate_factor"] for p in training], label=name)
    if rates.lines and min(p["learning_rate_factor"] for p in training) > 0:
        rates.set_yscale("log")  # two may differ by an order of magnitude
    if rates.lines:
        rates.legend(frameon=False)
    rates.set_ylabel("learning rate")
    norms.plot(updates, [p["grad_norm"] for p in training], lw=0.8)
    norms.set_ylabel("gradient norm")
    first, tokens = updates[0], summary["tokens_per_update"]
    rates_seen = [tokens / seconds for seconds in timing["update_seconds"]]
    speed.plot(range(first, first + len(rates_seen)), rates_seen, lw=0.8)
    if timing["steady_tokens_per_second"]:
        steady = timing["steady_tokens_per_second"]
        speed.axhline(steady, color="0.35", ls="--", lw=1.0, label=f"steady: {steady:,.0f}")
        speed.legend(frameon=False)
    speed.set_ylim(bottom=0)
    speed.set_ylabel("tokens/s")
    for axes in (norms, speed):
        axes.set_xlabel("update")
    figure.suptitle(f"{title} ({summary['status']})")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_atomically(target, buffer.getvalue())
