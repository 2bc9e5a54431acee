"""A figure as it looks on a dark page: the same drawing, with its colours turned over."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any

from matplotlib import colors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = (0.051, 0.067, 0.09)
"""GitHub's dark background, #0d1117."""
READABLE, QUIET = 0.6, 0.28
"""Lightness of what was a dark colour on white, and of what was a pale area."""
PARTS = ("facecolor", "edgecolor", "color", "markerfacecolor", "markeredgecolor")


def turned(colour: Any) -> tuple[float, float, float, float]:
    """A colour of a light figure for a dark one: greys exchanged, hues kept."""
    red, green, blue, alpha = colors.to_rgba(colour)
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    if saturation < 0.05:
        red, green, blue = ((1.0 - light) * (1.0 - paper) + paper for paper in PAPER)
        return red, green, blue, alpha
    light = QUIET if light > 0.75 else max(light, READABLE)
    return (*colorsys.hls_to_rgb(hue, light, saturation), alpha)


def darken(figure: Figure) -> None:
    """Turn the colours of all that a figure holds."""
    figure.canvas.draw()  # ticks and legends are made by the first drawing
    of_patches = {figure, *figure.axes}  # whose colours are those of their patches
    for artist in (one for one in figure.findobj() if one not in of_patches):
        for part in PARTS:
            get, put = getattr(artist, f"get_{part}", None), getattr(artist, f"set_{part}", None)
            if get is None or put is None or (part == "color" and hasattr(artist, "get_facecolor")):
                continue
            value = get()
            if isinstance(value, str) and value == "none":
                continue
            many = getattr(value, "ndim", 1) == 2
            put([turned(one) for one in value] if many else turned(value))
