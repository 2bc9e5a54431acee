"""What printed numbers can mean, and the arithmetic of intervals."""

from __future__ import annotations

import pytest

from harness.audit.printed import Interval, exact, read
from harness.errors import RequestError


@pytest.mark.parametrize(
    ("name", "text", "low", "high"),
    [
        ("time", "2.16 min", 2.155 * 60, 2.165 * 60),
        ("time", "~1.4 hours", 1.3 * 3600, 1.5 * 3600),
        ("time", "25.82h", 25.815 * 3600, 25.825 * 3600),
        ("time", "250 ms", 0.245, 0.255),  # the zero may only hold a place
        ("tokens", "1.2B", 1.188e9, 1.212e9),  # chosen, not measured
        ("tokens", 1_000_000_000, 1e9, 1e9),
        ("tokens", "~2 million", 1.6e6, 2.4e6),
        ("parameters", "151,032,320", 151_032_315, 151_032_325),
        ("parameters", "135M", 134.5e6, 135.5e6),
        ("parameters", "120M", 115e6, 125e6),
        ("mfu", "56%", 0.555, 0.565),
        ("change", "-4%", -0.045, -0.035),
        ("faster", "30%+", 0.295, float("inf")),
        ("share", "<2%", 0.0, 0.025),
        ("tokens_per_second", "24k tokens/s", 23_500, 24_500),
        ("steps_per_second", "127 steps/min", 126.5 / 60, 127.5 / 60),
        ("price_per_hour", "$24/hour", 23.5, 24.5),
        ("price_per_device_hour", "2.69 USD/h", 2.685, 2.695),
        ("cost", "$5.55", 5.545, 5.555),
        ("weight_bytes", "723.56 MB", 723.555e6, 723.565e6),
        ("total_flops", "4.33e+19 FLOPs", 4.325e19, 4.335e19),
        ("ratio", "2.5x", 2.45, 2.55),
    ],
)
def test_printed_numbers(name, text, low, high):
    interval = read(name, text).interval
    # Equal but for the rounding of a few floating-point products.
    assert interval.low == pytest.approx(low, rel=1e-12)
    assert interval.high == pytest.approx(high, rel=1e-12)
    assert interval.holds(interval.middle)


@pytest.mark.parametrize(
    ("name", "text"),
    [("time", "5 parsecs"), ("tokens", "many"), ("cost", "5 pesos"), ("tokens_per_second", "5 GB")],
)
def test_nonsense_is_refused(name, text):
    with pytest.raises(RequestError, match=name):
        read(name, text)


def test_intervals():
    a, b = Interval(2.0, 3.0), Interval(4.0, 6.0)
    assert a * b == Interval(8.0, 18.0, 12.5)
    assert (b / a).low == pytest.approx(4 / 3)  # one division, exact to a float's rounding
    assert (b / a).high == 3.0
    assert (a - b) == Interval(-4.0, -1.0, -2.5)
    assert a.overlaps(Interval(3.0, 9.0))
    assert not a.overlaps(Interval(3.1, 9.0))
    assert (exact(1.0) / Interval(0.0, 2.0)).high == float("inf")
