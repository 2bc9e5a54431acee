"""The units of printed quantities: what may stand behind a number, and what one of it is.

A unit or word that a quantity cannot have is refused, never dropped. May know nothing of claims.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from harness.errors import RequestError, nearest

TIME = {
    "us": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6,
    "ms": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0,
    "m": 60.0, "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
    "week": 604800.0, "weeks": 604800.0,
}  # fmt: skip
BYTES = {
    "B": 1.0, "byte": 1.0, "bytes": 1.0, "KB": 1e3, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
    "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
    "kilobytes": 1e3, "megabytes": 1e6, "gigabytes": 1e9, "terabytes": 1e12,
}  # fmt: skip
_SI = {"": 1.0, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21}
_SPELT = {"mega": 1e6, "giga": 1e9, "tera": 1e12, "peta": 1e15, "exa": 1e18, "zetta": 1e21}
_DAY = 86400.0
_FLOPS = {
    "": 1.0,
    **{prefix + word: size for prefix, size in _SI.items() for word in ("FLOP", "FLOPs", "FLOPS")},
    **{f"{prefix}flop{s}": size for prefix, size in _SPELT.items() for s in ("", "s")},
    # What a machine of so many FLOP/s does in a day.
    **{
        f"{prefix}{rate}{sep}{day}": size * _DAY
        for prefix, size in _SI.items() if prefix
        for rate in ("F", "FLOP/s", "FLOPs/s", "FLOPS", "F/s")
        for sep in ("-", " ")
        for day in ("day", "days")
    },
    **{
        f"{prefix}flop{s}{sep}{day}": size * _DAY
        for prefix, size in _SPELT.items()
        for s in ("", "s", "/s") for sep in ("-", " ") for day in ("day", "days")
    },
}  # fmt: skip
_FLOP_RATE = {
    **{
        prefix + word: size
        for prefix, size in _SI.items()
        for word in ("FLOP/s", "FLOPs/s", "FLOPS", "FLOPs")
    },
    **{
        f"{prefix}flop{s}": size
        for prefix, size in _SPELT.items()
        for s in ("s", "/s", "s/s", "/second", "s/second")
    },
}
MAGNITUDES = {
    "k": 1e3, "K": 1e3, "thousand": 1e3, "M": 1e6, "million": 1e6, "mn": 1e6,
    "B": 1e9, "b": 1e9, "billion": 1e9, "bn": 1e9, "T": 1e12, "trillion": 1e12, "tn": 1e12,
}  # fmt: skip
"""What may stand between a number and the unit of a count, a rate or a sum of money."""
CURRENCIES = {
    "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "USD": "USD", "EUR": "EUR", "GBP": "GBP",
    "JPY": "JPY", "dollar": "USD", "dollars": "USD", "euro": "EUR", "euros": "EUR",
}  # fmt: skip

_TOKEN = {"token", "tokens", "tok", "toks"}
_STEP = {"step", "steps", "iteration", "iterations", "iter", "iters", "it", "its"}
_UPDATE = _STEP | {"update", "updates", "optimizer step", "optimizer steps"}
_MICRO = _STEP | {"micro-step", "micro-steps", "micro-batch", "micro-batches"}
_SEQUENCE = {
    "sequence", "sequences", "seq", "seqs", "sample", "samples", "example", "examples",
}  # fmt: skip
_PARAMETER = {"parameter", "parameters", "param", "params"}
_DEVICE = {
    "gpu", "gpus", "device", "devices", "accelerator", "accelerators", "chip", "chips", "tpu",
}  # fmt: skip
_BYTE = {"byte", "bytes", "character", "characters"}
_SEED = {"run", "runs", "seed", "seeds"}
_COUNTED: dict[str, set[str]] = {
    "epochs": {"epoch", "epochs", "pass", "passes"}, "steps": _UPDATE | _MICRO,
    "updates": _UPDATE, "micro_steps": _MICRO, "sequences_per_update": _SEQUENCE,
    "micro_batch": _SEQUENCE, "sequences": _SEQUENCE, "grad_accum": _MICRO, "devices": _DEVICE,
    "parameters": _PARAMETER, "active_parameters": _PARAMETER,
    "embedding_parameters": _PARAMETER, "non_embedding_parameters": _PARAMETER,
    "scored_bytes": _BYTE,
    "seeds": _SEED, "correct": {"question", "questions", "correct"},
    "questions": {"question", "questions", "example", "examples"},
    "steps_per_second": _UPDATE | _MICRO, "updates_per_second": _UPDATE,
    "micro_steps_per_second": _MICRO, "steady_per_second": _UPDATE | _MICRO | _TOKEN,
    "time_per_step": _UPDATE | _MICRO, "time_per_update": _UPDATE,
}  # fmt: skip
"""Quantity -> the words that may stand behind its number; tokens for every other."""
_PLAIN: dict[str, dict[str, float]] = {
    "loss": {"": 1.0, "nats": 1.0, "nat": 1.0, "nats/token": 1.0, "bits": math.log(2),
             "bits/token": math.log(2)},
    "perplexity": {"": 1.0, "ppl": 1.0},
    "bits_per_token": {"": 1.0, "bits": 1.0, "bits/token": 1.0},
    "bits_per_byte": {"": 1.0, "bits": 1.0, "bits/byte": 1.0, "bpb": 1.0},
    "bytes_per_token": {"": 1.0, "bytes": 1.0, "bytes/token": 1.0},
    "bytes_per_parameter": {"": 1.0, "B": 1.0, "bytes": 1.0, "bytes/parameter": 1.0},
    "optimizer_bytes_per_parameter": {"": 1.0, "B": 1.0, "bytes": 1.0, "bytes/parameter": 1.0},
    "bytes_per_value": {"": 1.0, "B": 1.0, "bytes": 1.0, "bytes/value": 1.0},
    "tokens_per_parameter": {"": 1.0, "tokens": 1.0, "tokens/parameter": 1.0, "tokens/param": 1.0,
                             "x": 1.0, "×": 1.0},
}  # fmt: skip
_ANY: dict[str, tuple[float, str]] = {
    **dict.fromkeys(("%", "percent", "points", "point", "pts", "pp", "percentage points"),
                    (1.0, "percent")),
    **dict.fromkeys(("nats", "nat", "nats/token"), (1.0, "nats")),
    **dict.fromkeys(("bits", "bits/token"), (1.0, "bits")),
    **dict.fromkeys(("bits/byte", "bpb"), (1.0, "bits a byte")),
    **dict.fromkeys(("ppl",), (1.0, "perplexity")),
    **{unit: (size, "time") for unit, size in TIME.items() if unit != "m"},
    **{unit: (size, "bytes") for unit, size in BYTES.items() if unit != "B"},
    **dict.fromkeys(sorted(_TOKEN | _PARAMETER | _STEP), (1.0, "count")),
    **{f"{token}/{second}": (1.0, "rate") for token in _TOKEN for second in ("s", "sec", "second")},
}  # fmt: skip
"""Units of values whose kind the quantity's name leaves open, as of `before` and `after`."""
_SAID: dict[str, tuple[str, ...]] = {
    "mfu": ("mfu", "model flops utilization", "utilization"), "accuracy": ("accuracy",),
    "faster": ("faster",), "speedup": ("faster", "speedup", "speed-up"),
    "reduction": ("reduction", "lower", "less", "fewer", "smaller"),
}  # fmt: skip
"""Quantity -> words behind its unit that only repeat which one it is."""
UNSCALED = ("", "percent", "nats", "bits", "bits a byte", "perplexity")
"""Kinds whose numbers stand as printed, so that one without a unit may stand beside them."""
_GROUPED = ("total_flops", "tokens_per_parameter")
"""Quantities of fixed units that come in thousands and millions of them too."""
_PRODUCT = re.compile(r"[A-Za-z]+\d+\w*")
_MAKERS = {"nvidia", "amd", "google"}
_SHORT = {"tps": "tok/s", "t/s": "tok/s", "TGS": "tok/s/GPU"}
_PER = re.compile(r"\s*(?:/| per | an? )\s*|^per ")


def factor(name: str, dimension: str, unit: str, text: str) -> tuple[float, str]:
    """(What one of a printed unit is in base units, what kind of unit it is) of quantity `name`.

    Raises RequestError, quoting `text`, for a unit that the quantity cannot have.
    """
    for word in _SAID.get(name, ()):
        if unit.lower().endswith(word):
            unit = unit[: -len(word)].strip()
    if dimension == "time":
        return _time(name, unit, text), "time"
    fixed = {
        "bytes": BYTES, "flops": _FLOPS, "flop rate": _FLOP_RATE,
        "fraction": {"": 1.0, "%": 0.01, "percent": 0.01, "per cent": 0.01},
        "ratio": {"": 1.0, "x": 1.0, "X": 1.0, "×": 1.0, "times": 1.0, "-fold": 1.0},
    }.get(dimension) or _PLAIN.get(name)  # fmt: skip
    if name == "flops_per_device_second":
        unit = _of_one_device(unit)
    if fixed is not None:
        return _look_up(fixed, name, unit, text), dimension
    if dimension == "money":
        return _money(name, unit, text)
    if dimension == "money rate":
        return _price(name, unit, text)
    if dimension == "any":
        return _any(name, unit, text)
    magnitude, rest = split(unit)
    if dimension == "rate":
        return magnitude * _rate(name, rest, text), "rate"
    return magnitude * _count(name, rest, text), "count"


def _look_up(known: Mapping[str, float], name: str, unit: str, text: str) -> float:
    spoken = _PER.sub("/", unit)
    magnitude, rest = split(spoken)
    for word in (unit, spoken, spoken.lower()):
        if word in known:
            return known[word]
    if rest in known and name in _GROUPED:
        return magnitude * known[rest]
    raise _unknown(name, spoken, text, known)


def _of_one_device(unit: str) -> str:
    """ "TFLOP/s/GPU" -> "TFLOP/s"."""
    first, *rest = _PER.split(unit)
    return "/".join([first, *(part for part in rest if not _is_device(part))])


def _time(name: str, unit: str, text: str) -> float:
    magnitude = 1.0
    if name == "device_time":  # GPU hours come in thousands and millions
        magnitude, unit = split(unit)
    each, *rest = _PER.split(unit.removeprefix("-"))
    if rest and all(word.lower() in _COUNTED.get(name, ()) for word in rest):
        unit = each  # "430 ms/step"
    word = unit.removeprefix("-")
    word = word.lower() if len(word) > 1 else word  # "M" is no minute
    if word in TIME:
        return magnitude * TIME[word]
    *devices, last = re.split("[ -]", unit.replace("GPUh", "GPU h"))
    if devices and last.lower() in TIME and all(map(_is_device, devices)):
        if name == "device_time":
            return magnitude * TIME[last.lower()]
        raise RequestError(f"{name} = '{text}' is a time of all devices; did you mean device_time?")
    raise _unknown(name, unit, text, TIME)


def _is_device(unit: str) -> bool:
    """ "GPU", "H100s", "NVIDIA", "A100 GPU"."""
    words = [word.removesuffix("s") for word in unit.split()]
    return bool(words) and all(
        word.lower() in _DEVICE | _MAKERS or _PRODUCT.fullmatch(word) for word in words
    )


def _money(name: str, unit: str, text: str) -> tuple[float, str]:
    if unit in ("cents", "cent"):
        return 0.01, "USD"
    magnitude, rest = split(unit)
    if rest and rest not in CURRENCIES:
        raise _unknown(name, rest, text, CURRENCIES)
    return magnitude, CURRENCIES.get(rest, "")


def _price(name: str, unit: str, text: str) -> tuple[float, str]:
    """Money an hour: "/h", "an hour", "USD/h", "/GPU/h", "per GPU hour"; alone it is an hour's."""
    parts = [
        part
        for part in re.split(r"[\s/-]+", unit.replace("GPUh", "GPU h"))
        if part not in ("", "per", "a", "an")
    ]
    currency, seconds, a_device = "", 3600.0, False
    for part in parts:
        if part in CURRENCIES:
            currency = CURRENCIES[part]
        elif part.lower() in TIME:
            seconds = TIME[part.lower()]
        elif _is_device(part):
            a_device = True
        else:
            raise _unknown(name, unit, text, ["/h", "an hour", "USD/h", "/GPU/h"])
    if a_device and name != "price_per_device_hour":
        raise RequestError(f"{name} = '{text}': did you mean price_per_device_hour?")
    return 3600.0 / seconds, currency


def _any(name: str, unit: str, text: str) -> tuple[float, str]:
    magnitude, rest = split(unit)
    rest = _PER.sub("/", rest)
    if not rest:
        return magnitude, "" if magnitude == 1.0 else "count"
    if rest in CURRENCIES:
        return magnitude, CURRENCIES[rest]
    if rest not in _ANY:
        raise _unknown(name, rest, text, _ANY)
    size, kind = _ANY[rest]
    return magnitude * size, kind


def split(unit: str) -> tuple[float, str]:
    """Magnitude and rest of a unit: ("k tokens/s") -> (1000, "tokens/s")."""
    first, _, rest = unit.partition(" ")
    for word in (first, first.lower()):
        if word in MAGNITUDES:
            return MAGNITUDES[word], rest.strip()
    return 1.0, unit


def _rate(name: str, unit: str, text: str) -> float:
    """1 / seconds of "tokens/s", "steps per minute", "tok/s/GPU", "tokens per second per GPU"."""
    parts = [part for part in _PER.split(_SHORT.get(unit, unit)) if part]
    words = _COUNTED.get(name, _TOKEN)
    if parts and parts[0].lower() in words:
        parts = parts[1:]
    of_devices = [part for part in parts if _is_device(part)]
    times = [part.lower() for part in parts if not _is_device(part)]
    if len(times) != 1 or times[0] not in TIME or len(of_devices) > 1:
        raise _unknown(name, unit, text, [f"{max(words)}/s", "/s", "/min", "/h"])
    if of_devices and name != "tokens_per_device_second":
        raise RequestError(f"{name} = '{text}' is of one device: see tokens_per_device_second")
    return 1.0 / TIME[times[0]]


def _count(name: str, unit: str, text: str) -> float:
    words = _COUNTED.get(name, _TOKEN)
    word = _PER.split(unit)[0] if "_per_" in name else unit
    devices = name == "devices" and all(map(_is_device, unit.lstrip("x× ").split()))
    if not word or word.lower() in words or devices:
        return 1.0
    raise _unknown(name, unit, text, [*MAGNITUDES, *words])


def _unknown(name: str, unit: str, text: str, known: Iterable[str]) -> RequestError:
    known = [one for one in known if one]
    if not unit:
        return RequestError(f"{name} = '{text}' has no unit{nearest('', known)}")
    return RequestError(f"{name} = '{text}': no unit '{unit}'{nearest(unit, known)}")
