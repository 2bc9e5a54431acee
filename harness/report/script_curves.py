"""Curves of foreign runs as a small SVG: text, so that equal records give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WIDTH, HEIGHT, MARGIN = 640, 360, 56


@dataclass(frozen=True)
class Series:
    """One run's curve."""

    arm: str
    place: int
    """Which arm it is, counted from 0; it chooses the colour."""
    points: Sequence[tuple[float, float]]


def draw(series: Sequence[Series], name: str) -> str | None:
    """All curves in one pair of axes, an arm a colour; None without curves.

    The vertical axis leaves out the first tenth of each run, which would flatten the rest.
    """
    late = [v for s in series for _, v in s.points[len(s.points) // 10 :]]
    if not late:
        return None
    left, right = _range([x for s in series for x, _ in s.points])
    low, high = _range(late)

    def at(x: float, y: float) -> str:
        across = MARGIN + (x - left) / (right - left) * (WIDTH - 1.5 * MARGIN)
        up = (min(y, high) - low) / (high - low) * (HEIGHT - 2 * MARGIN)
        return f"{across:.1f},{HEIGHT - MARGIN - max(up, 0.0):.1f}"

    lines = [
        f'<polyline fill="none" stroke="{COLOURS[s.place % len(COLOURS)]}" stroke-width="1.4" '
        f'stroke-opacity="0.75" points="{" ".join(at(x, y) for x, y in s.points)}"/>'
        for s in series
    ]
    corner, foot = HEIGHT - MARGIN, WIDTH - MARGIN / 2
    frame = f'<path d="M{MARGIN},{MARGIN} V{corner} H{foot}" fill="none" stroke="#444"/>'
    marks = [
        _text(MARGIN, corner + 18, f"{left:g}"), _text(foot, corner + 18, f"{right:g}", "end"),
        _text(foot / 2, corner + 36, "step"), _text(MARGIN - 6, corner, f"{low:.4g}", "end"),
        _text(MARGIN - 6, MARGIN + 4, f"{high:.4g}", "end"), _text(MARGIN, MARGIN - 28, name),
    ]  # fmt: skip
    arms = {s.arm: s.place for s in series}
    legend = [
        _text(MARGIN + 130 * i, MARGIN - 10, arm, fill=COLOURS[place % len(COLOURS)])
        for i, (arm, place) in enumerate(arms.items())
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="#fff"/>'
    )
    return "\n".join([head, frame, *marks, *legend, *lines, "</svg>\n"])


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _text(x: float, y: float, text: str, anchor: str = "start", fill: str = "#222") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'
