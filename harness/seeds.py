"""One seed a run, from which every generator's seed follows by name. May not import torch."""

from __future__ import annotations

import hashlib


def derive(seed: int, name: str) -> int:
    """A 63-bit seed for the generator `name` ("init", "data", "noise") of a run's seed.

    Hashed, so that neighbouring run seeds give unrelated streams.
    """
    return int.from_bytes(hashlib.sha256(f"{name}:{seed}".encode()).digest()[:8], "big") >> 1
