"""What the best point of a grid may be short of the optimum between the points: a parabola through
it and its neighbours along each axis. Pure arithmetic.

A loss is no parabola over a whole search, whose far points stand on steep walls; next to the best
one it is, to second order, in the steps of the grid (logarithms of rate and decay).
"""

from __future__ import annotations

from collections.abc import Sequence

EVEN = 3.0**-0.5
"""Standard deviation, as a part of the mean, of what lies anywhere between nothing and twice the
mean: a setting's shortfall against its estimate."""
Axis = tuple[float, float, float]
"""Losses of the lower neighbour, the best point and the upper neighbour."""


def short_of_optimum(axes: Sequence[Axis], noise: float) -> float:
    """The error, in nats a token, of taking the best point for the optimum: `EVEN` times what it
    lies above the parabolas' least values, summed over the axes on which it has two neighbours.

    With slope s and curvature c a step that is s² / 4 c; `noise`, a loss's standard deviation, adds
    its own variance to the slope's square and is the least curvature that can be told.
    """
    total = 0.0
    for low, best, high in axes:
        curve = max((low + high) / 2.0 - best, noise)
        slope = (high - low) / 2.0
        if curve > 0.0:
            total += min(slope**2 + noise**2 / 2.0, curve**2) / (4.0 * curve)
    return EVEN * total
