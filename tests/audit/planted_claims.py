"""Claims in published style, each with a sound twin and one planted error, by kind.

Shares nothing with the audit: it imports nothing of the project, has its own table of devices,
counts models tensor by tensor and writes its claims files as text.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from tests.audit import planted_models
from tests.audit.published_style import Maker, Rng, claim, digits, stated

HEAD = 'format = 1\ntitle = "imaginary"\naddress = "nowhere"\nread = 2026-11-01\n'
CARDS = {
    "rtx-4090": (165.2e12, 1008e9),
    "h100-sxm": (989e12, 3350e9),
    "a100-80gb": (312e12, 2039e9),
}
VARIANTS = 2


@dataclass(frozen=True)
class Pair:
    """Two claims files that differ in one number, and the claim that states the wrong one."""

    kind: str
    sound: str
    broken: str
    where: str = "c"


def pairs() -> list[Pair]:
    """All kinds, `VARIANTS` of each."""
    return [
        Pair(kind, HEAD + make(Rng(f"{kind}{n}"), False), HEAD + make(Rng(f"{kind}{n}"), True))
        for kind, make in KINDS.items()
        for n in range(VARIANTS)
    ]


# ---- machines --------------------------------------------------------------------------------


def _budget(rng: Rng, wrong: bool) -> str:
    device = rng.choice(list(CARDS))
    flops, tokens = rng.uniform(0.7e9, 3e9), rng.choice([1, 2, 5])
    share = rng.uniform(1.25, 1.8) if wrong else rng.uniform(0.3, 0.6)
    hours = tokens * 1e9 * flops / (share * CARDS[device][0]) / 3600
    return stated(
        "{tokens} tokens in {time}, at {flops_per_token} a token", device=device,
        tokens=f"{tokens}B", time=f"{digits(hours)} hours",
        flops_per_token=f"{digits(flops / 1e9)} GFLOP",
    )  # fmt: skip


def _runs(rng: Rng, wrong: bool) -> str:
    per_update, flops, n = 98_304, 0.9e9, rng.choice([200, 300])
    second = 0.4 * CARDS["rtx-4090"][0] / flops / per_update
    first = 60 + n / second
    last = first + n / second / (rng.uniform(8, 30) if wrong else 1)
    a, b = f"{first / 60:.2f} min", f"{last / 60:.2f} min"
    return claim(
        f"{n} updates in {a}, {2 * n} in {b}",
        f'device = "rtx-4090"\nnumbers = {{ tokens_per_update = {per_update}, flops_per_token = '
        f'{flops} }}\nruns = [{{ updates = {n}, time = "{a}" }}, '
        f'{{ updates = {2 * n}, time = "{b}" }}]',
    )


def _line(rng: Rng, wrong: bool) -> str:
    fixed, speed = rng.uniform(20, 60), rng.uniform(3, 9)
    times = [fixed + n / speed for n in (200, 400, 600)]
    if wrong:
        times[2] = times[1] + (times[2] - times[1]) * rng.choice([4, 6])
    told = [f"{time:.1f} s" for time in times]
    runs = ", ".join(
        f'{{ updates = {n}, time = "{t}" }}' for n, t in zip((200, 400, 600), told, strict=True)
    )
    return claim(f"200, 400, 600 updates: {', '.join(told)}", f"runs = [{runs}]", "timing")


def _decode(rng: Rng, wrong: bool) -> str:
    size = rng.choice([1.1, 3.2, 7.1])
    most = CARDS["a100-80gb"][1] / (size * 1e9 * 2)
    rate = most * (rng.uniform(1.3, 3) if wrong else rng.uniform(0.4, 0.8))
    return stated(
        "{parameters} in bf16, one sequence at a time: {decode_tokens_per_second}",
        device="a100-80gb", parameters=f"{size}B", bytes_per_parameter="=2",
        decode_tokens_per_second=f"{digits(rate)} tok/s",
    )  # fmt: skip


# ---- printed forms ---------------------------------------------------------------------------


def _one_digit(rng: Rng, wrong: bool) -> str:
    after = rng.uniform(20, 40)
    before = after * (rng.choice([1.45, 1.5, 2.6]) if wrong else rng.uniform(1.8, 2.2))
    return stated(
        "{speedup} faster: {time_before} against {time_after}", speedup="2x",
        time_before=f"{before:.1f} min", time_after=f"{after:.1f} min",
    )  # fmt: skip


def _spread(rng: Rng, wrong: bool) -> str:
    loss, sd = rng.uniform(2.8, 3.6), rng.choice([0.03, 0.05])
    off = sd * (rng.uniform(3, 5) if wrong else rng.uniform(0.3, 0.8))
    return stated(
        "loss {loss}, perplexity {perplexity}", loss=f"{loss:.2f} ± {sd}",
        perplexity=f"{math.exp(loss + off):.1f}",
    )  # fmt: skip


def _bits(rng: Rng, wrong: bool) -> str:
    bits = rng.uniform(3.8, 4.9)
    value = math.e**bits if wrong else 2**bits
    return stated(
        "{loss} a token, perplexity {perplexity}", loss=f"{bits:.3f} bits",
        perplexity=f"{value:.1f}",
    )  # fmt: skip


def _range(rng: Rng, wrong: bool) -> str:
    low, high, price = rng.randint(4, 7), rng.randint(10, 24), rng.choice([2.1, 2.9])
    times = rng.choice([0.3, 3.4]) if wrong else 1.0
    cost = f"${low * price * times:.0f}–{high * price * times:.0f}"
    return stated(
        "{time} at {price_per_hour}: {cost}", time=f"{low}-{high} hours",
        price_per_hour=f"${price}/h", cost=cost,
    )  # fmt: skip


def _clock(rng: Rng, wrong: bool) -> str:
    hours, minutes = rng.randint(1, 9), rng.randint(11, 58)
    rate = rng.uniform(80e3, 900e3)
    tokens = rate * (hours * 3600 + minutes * 60) * (rng.choice([0.6, 1.25]) if wrong else 1)
    time = rng.choice([f"{hours}h {minutes}m", f"{hours}:{minutes}:00", f"{hours}h{minutes}m"])
    return stated(
        "{tokens} in {time} at {tokens_per_second}", tokens=f"{digits(tokens / 1e9, 4)}B tokens",
        time=time, tokens_per_second=f"{digits(rate / 1e3)}k tok/s",
    )  # fmt: skip


def _power(rng: Rng, wrong: bool) -> str:
    tokens, each = rng.uniform(2, 90) * 1e9, rng.uniform(0.8e9, 7e9)
    total = tokens * each * (rng.choice([0.5, 2, 10]) if wrong else 1)
    power = math.floor(math.log10(total))
    form = rng.choice(["{:.2f} × 10^{}", "{:.2f}E+{}", "{:.2f}e{}"])
    return stated(
        "{tokens} tokens, {flops_per_token} each: {total_flops}",
        tokens=f"{digits(tokens / 1e9)}B", flops_per_token=f"{digits(each / 1e9)} GFLOPs",
        total_flops=form.format(total / 10**power, power),
    )  # fmt: skip


def _days(rng: Rng, wrong: bool) -> str:
    tokens, each = rng.uniform(100, 900) * 1e9, rng.uniform(2e9, 9e9)
    days = tokens * each / 8.64e19 * (rng.choice([0.4, 3]) if wrong else 1)
    return stated(
        "{tokens} tokens at {flops_per_token}: {total_flops}", tokens=f"{digits(tokens / 1e9)}B",
        flops_per_token=f"{digits(each / 1e9)} GFLOP", total_flops=f"{digits(days)} PF-days",
    )  # fmt: skip


def _euro(rng: Rng, wrong: bool) -> str:
    price, hours = rng.uniform(1.5, 4), rng.uniform(20, 90)
    cost = price * hours * (rng.choice([0.7, 1.4]) if wrong else 1)
    return stated(
        "{time} at {price_per_hour} were {cost}", time=f"{hours:.1f} hours",
        price_per_hour=f"€{price:.2f}/h", cost=f"€{cost:.1f}",
    )  # fmt: skip


def _gpu_hours(rng: Rng, wrong: bool) -> str:
    devices, hours = rng.choice([8, 16, 64]), rng.uniform(30, 200)
    spent = devices * hours / (devices if wrong else 1)
    return stated(
        "{devices} GPUs for {time}: {device_time}", devices=str(devices),
        time=f"{hours:.1f} hours", device_time=f"{spent:,.0f} GPU hours",
    )  # fmt: skip


def _per_gpu(rng: Rng, wrong: bool) -> str:
    devices, each = rng.choice([8, 32, 256]), rng.uniform(11e3, 60e3)
    rate = each * devices * (rng.choice([0.5, 1.3]) if wrong else 1)
    return stated(
        "{tokens_per_device_second} on {devices} GPUs, {tokens_per_second}",
        tokens_per_device_second=f"{digits(each / 1e3)}k tokens/s/GPU", devices=str(devices),
        tokens_per_second=f"{digits(rate / 1e3, 4)}k tokens/s",
    )  # fmt: skip


def _updates(rng: Rng, wrong: bool) -> str:
    each = 2 ** rng.choice([17, 18, 19])
    updates = rng.randint(2_000, 20_000)
    tokens = updates * each * (rng.choice([1.05, 0.9]) if wrong else 1)
    return stated(
        "{updates} updates of {tokens_per_update} tokens, {tokens}", updates=f"{updates:,}",
        tokens_per_update=f"{each:,}", tokens=f"{digits(tokens / 1e9)}B tokens",
    )  # fmt: skip


def _transcribed(rng: Rng, wrong: bool) -> str:
    tokens = rng.choice([300, 600, 800])
    steps = rng.randint(50_000, 90_000)
    slipped = f"{str(steps)[1]}{str(steps)[0]}{str(steps)[2:]}" if wrong else str(steps)
    if slipped == str(steps) and wrong:
        slipped = str(steps + 1000)
    quote = f"{tokens}B tokens in {steps} steps of {digits(tokens * 1e3 / steps)}M"
    return claim(
        quote,
        f'numbers = {{ tokens = "{tokens}B", steps = "{slipped} steps", '
        f'tokens_per_step = "~{digits(tokens * 1e3 / steps)}M" }}',
    )


# ---- quality ---------------------------------------------------------------------------------


def _points(rng: Rng, wrong: bool) -> str:
    old = rng.uniform(30, 50)
    new = old + rng.uniform(3, 9)
    told = (new / old - 1) * 100 if wrong else round(new, 1) - round(old, 1)
    return stated(
        "from {before} to {after}: {difference}", before=f"{old:.1f}%", after=f"{new:.1f}%",
        difference=f"+{told:.1f} points",
    )  # fmt: skip


def _nats(rng: Rng, wrong: bool) -> str:
    old = rng.uniform(3, 4)
    fall = rng.uniform(0.05, 0.4)
    told = fall / math.log(2) if wrong else fall
    return stated(
        "{before} to {after}, {difference}", before=f"{old:.3f} nats",
        after=f"{old - fall:.3f} nats", difference=f"-{told:.3f} nats",
    )  # fmt: skip


def _error(rng: Rng, wrong: bool) -> str:
    n, sd = rng.choice([4, 5, 8, 10]), rng.uniform(0.01, 0.05)
    se = sd / (n if wrong else math.sqrt(n))
    return stated(
        "sd {sd} over {seeds} seeds, standard error {se}", sd=f"{sd:.4f}", seeds=str(n),
        se=f"{se:.4f}", mean="=3.2",
    )  # fmt: skip


def _interval(rng: Rng, wrong: bool) -> str:
    n, sd = rng.choice([(3, 4.3027), (5, 2.7764)]), rng.uniform(0.2, 0.5)
    half = n[1] * sd / math.sqrt(n[0]) * (rng.choice([0.4, 1.8]) if wrong else 1)
    return stated(
        "sd {sd}, {seeds} runs, 95 % interval ± {half_width}", sd=f"{sd:.3f}", seeds=str(n[0]),
        half_width=f"{half:.3f}",
    )  # fmt: skip


def _sd(rng: Rng, wrong: bool) -> str:
    values = [round(rng.uniform(3.1, 3.5), 3) for _ in range(4)]
    sd = statistics.stdev(values) * (rng.choice([0.4, 2.1]) if wrong else 1)
    mean = statistics.mean(values)
    listed = ", ".join(f'"{value:.3f}"' for value in values)
    return claim(
        f"{listed} give {mean:.3f} ± {sd:.3f}".replace('"', ""),
        f'sum = {{ parts = [{listed}], mean = "{mean:.3f}", sd = "{sd:.3f}" }}', "quality",
    )  # fmt: skip


def _right(rng: Rng, wrong: bool) -> str:
    n = rng.choice([500, 1319, 2376])
    k = rng.randint(n // 5, n // 2)
    share = k / n * 100 + (rng.choice([-1.5, 2.2]) if wrong else 0)
    return stated(
        "{correct} of {questions}: {accuracy}", correct=str(k), questions=str(n),
        accuracy=f"{share:.2f}%",
    )  # fmt: skip


def _grim(rng: Rng, wrong: bool) -> str:
    n = rng.choice([164, 198])
    share = round(rng.randint(30, 90) / n * 100, 2) + (0.25 if wrong else 0)
    return stated("{accuracy} of {questions} problems", accuracy=f"{share:.2f}%", questions=str(n))


def _weighted(rng: Rng, wrong: bool) -> str:
    weights = rng.choice([(70, 20, 10), (60, 30, 10)])
    parts = [
        round(rng.uniform(20, 35), 1),
        round(rng.uniform(50, 60), 1),
        round(rng.uniform(70, 80), 1),
    ]
    mean = sum(w * p for w, p in zip(weights, parts, strict=True)) / 100
    told = statistics.mean(parts) if wrong else mean
    listed = ", ".join(f'"{part}"' for part in parts)
    shares = ", ".join(f'"{weight}%"' for weight in weights)
    return claim(
        f"{listed} at {shares}: {told:.1f}".replace('"', ""),
        f'sum = {{ parts = [{listed}], weights = [{shares}], mean = "{told:.1f}" }}', "score",
    )  # fmt: skip


KINDS: dict[str, Maker] = {
    "budget beyond the peak": _budget, "runs beyond the peak": _runs, "three lengths": _line,
    "decoding": _decode, "one digit": _one_digit, "spread": _spread, "bits for nats": _bits,
    "range": _range, "clock": _clock, "power of ten": _power, "PF-days": _days, "euro": _euro,
    "GPU hours": _gpu_hours, "per GPU": _per_gpu, "updates": _updates,
    "transcription": _transcribed, "points": _points, "nats": _nats, "standard error": _error,
    "interval": _interval, "sd": _sd, "k of n": _right, "granularity": _grim,
    "weighted mean": _weighted,
    **planted_models.KINDS,
}  # fmt: skip
