"""A quotient of two estimated means, and where it lies: Fieller's set. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple


class Moments(NamedTuple):
    """Two means and the variances and covariance of them as estimates."""

    top: float
    bottom: float
    var_top: float
    var_bottom: float
    covariance: float


def coefficients(of: Moments, t2: float) -> tuple[float, float, float]:
    """(a, b, c): the quotient r = top / bottom is within the set where a r^2 - 2 b r + c <= 0.

    `t2` is the squared quantile of t. Whether top - r bottom is zero is a t test at every r, which
    stays honest where the bottom is near its own error and a quotient has no useful variance
    (Fieller 1954, J. R. Stat. Soc. B 16). Where a <= 0 the set has no end.
    """
    return (
        of.bottom**2 - t2 * of.var_bottom,
        of.top * of.bottom - t2 * of.covariance,
        of.top**2 - t2 * of.var_top,
    )


def interval(of: Moments, t2: float) -> tuple[float, float] | None:
    """The set's ends; None where it has none: the bottom cannot be told from zero."""
    a, b, c = coefficients(of, t2)
    if a <= 0.0:
        return None
    root = math.sqrt(max(b * b - a * c, 0.0))
    return (b - root) / a, (b + root) / a
