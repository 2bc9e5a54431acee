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
        ("tokens", "1.2B", 1.17e9, 1.23e9),  # chosen, not measured
        ("tokens", 1_000_000_000, 1e9, 1e9),
        ("tokens", "~2 million", 1.52e6, 2.48e6),
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
        ("ratio", "2x", 1.6, 2.4),  # a whole number of one digit: a fifth, not a quarter
        ("updates", "300", 300, 300),
        ("updates", "~300", 290, 310),
        ("tokens", "1B", 0.975e9, 1.025e9),
        ("devices", "8 H100s", 8, 8),
        ("loss", "3.28 ± 0.05", 3.23, 3.33),
        ("loss", "3.28 bits", 3.275 * 0.6931471805599453, 3.285 * 0.6931471805599453),
        ("time", "4-24 hours", 3.5 * 3600, 24.5 * 3600),
        ("time", "between 4 and 24 hours", 3.5 * 3600, 24.5 * 3600),
        ("tokens_per_second", "24k–26k tok/s", 23_500, 26_500),
        ("time", "1h 30m", 5370, 5430),
        ("time", "1:30:00", 5399.5, 5400.5),
        ("time", "3h51m", 13_830, 13_890),
        ("time", "231:00", 13_859.5, 13_860.5),  # minutes and seconds
        ("device_time", "3456 GPU hours", 3455.5 * 3600, 3456.5 * 3600),
        ("time", "1:30 h", 5370, 5430),
        ("device_time", "1,312 A100 GPU hours", 1311.5 * 3600, 1312.5 * 3600),
        ("device_time", "92 H100-hours", 91.5 * 3600, 92.5 * 3600),
        ("tokens_per_device_second", "24k tokens/s/GPU", 23_500, 24_500),
        ("tokens_per_device_second", "24k tok/s/H100", 23_500, 24_500),
        ("tokens_per_device_second", "24k tokens per second per GPU", 23_500, 24_500),
        ("total_flops", "2.2 × 10^19", 2.15e19, 2.25e19),
        ("total_flops", "2.2×10¹⁹ FLOPs", 2.15e19, 2.25e19),
        ("total_flops", "2.6E+18", 2.55e18, 2.65e18),
        ("total_flops", "2.5 PF-days", 2.45 * 8.64e19, 2.55 * 8.64e19),
        ("cost", "€5.55", 5.545, 5.555),
        ("price_per_hour", "$24", 23.5, 24.5),
        ("price_per_device_hour", "$2.50 per GPU hour", 2.495, 2.505),
        ("difference", "-0.05 nats", -0.055, -0.045),
        ("difference", "+3.2 points", 3.15, 3.25),
        ("accuracy", "42.1 ± 0.4%", 0.417, 0.425),
        ("tokens_per_parameter", "20 tokens per parameter", 19.5, 20.5),
        ("bytes_per_parameter", "2 bytes", 2, 2),  # chosen: bf16 is not 1.6 bytes
        ("difference", "–0.061 nats", -0.0615, -0.0605),  # an en dash for a minus
        ("tokens", "1 000 000", 1e6, 1e6),
        ("tokens", "1'000'000 tokens", 1e6, 1e6),
        ("tokens", "2 * 10**9", 1.95e9, 2.05e9),
        ("tokens", "1.0B+ tokens", 0.975e9, float("inf")),
        ("devices", "thirty-two GPUs", 32, 32),
        ("devices", "8x A100-SXM4-80GB", 8, 8),
        ("device_time", "2.788M H800 GPU hours", 2.7875e6 * 3600, 2.7885e6 * 3600),
        ("device_time", "90k A100-80GB hours", 89.5e3 * 3600, 90.5e3 * 3600),
        ("tokens_per_device_second", "24k tokens per second per A100-40G GPU", 23_500, 24_500),
        ("tokens_per_second", "24k tok·s⁻¹", 23_500, 24_500),
        ("flops_per_device_second", "400 TFLOPS/GPU", 395e12, 405e12),
        ("time_per_step", "0.43 s/it", 0.425, 0.435),
        ("time", "1 day, 2:03:04", 93_783.5, 93_784.5),  # as Python prints it
        ("time", "1-02:03:04", 93_783.5, 93_784.5),  # as Slurm does
        ("accuracy", "62.5% (± 0.4)", 0.621, 0.629),
        ("cost", "US$1.2k", 1150, 1250),
        ("cost", "USD 72", 71.5, 72.5),
        ("speedup", "1.50-fold", 1.495, 1.505),
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
    [
        ("accuracy", "42.1 (5-shot)"), ("perplexity", "20.1 on WikiText"), ("loss", "3,28"),
        ("steps", "300 tokens"), ("time", "30 GPU hours"), ("time", "5M"), ("time", "30m 1h"),
        ("tokens_per_second", "24k tokens/s/GPU"), ("price_per_hour", "$2/GPU/h"),
        ("time", "24-4 hours"), ("loss", "3.28 ±"), ("difference", "3 parsecs"),
        ("time", "5 parsecs"), ("tokens", "many"), ("cost", "5 pesos"),
        ("tokens_per_second", "5 GB"), ("flops_per_second", "5 TFLOPS/GPU"), ("tokens", "2t"),
        ("time", "90k hours"), ("time_per_step", "430 ms/token"), ("faster", "31% slower"),
    ],
)  # fmt: skip
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
