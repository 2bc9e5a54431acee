"""Where downloads and prepared data live. May import nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """The folder of the user's cache: `SMOL_CACHE` where it is set, else the platform's own."""
    if chosen := os.environ.get("SMOL_CACHE"):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("smol-harness"))
