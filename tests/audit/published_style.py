"""How claims files are written in published style. Imports nothing of the project."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

Rng = random.Random
Maker = Callable[[Rng, bool], str]
"""(chance, whether the error is planted) -> the claims; equal chance gives equal claims."""


def claim(quote: str, body: str, kind: str = "training", name: str = "c") -> str:
    return f'[[claim]]\nid = "{name}"\nkind = "{kind}"\nquote = "{quote}"\n{body}\n'


def stated(quote: str, extra: str = "", device: str = "", **numbers: str) -> str:
    """A claim whose quote prints its numbers; a number without quotes is the file's own."""
    inside = ", ".join(
        f"{name} = {text[1:]}" if text.startswith("=") else f'{name} = "{text}"'
        for name, text in numbers.items()
    )
    where = f'device = "{device}"\n' if device else ""
    return claim(quote.format(**numbers), f"{where}numbers = {{ {inside} }}\n{extra}")


def digits(value: float, n: int = 3) -> str:
    places = n - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, places):.{max(places, 0)}f}"
