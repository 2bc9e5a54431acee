"""Which software a foreign command runs with, as its own Python sees it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

PACKAGES = ("torch", "numpy", "transformers", "triton", "jax")
"""Packages whose versions can change a training script's result."""
_ASK = f"""
import importlib.metadata as m, json, platform
found = {{"python": platform.python_version()}}
for name in {PACKAGES!r}:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def of_command(arguments: Sequence[str]) -> dict[str, str]:
    """Package -> version; empty where the command does not begin with a Python that answers."""
    return _of_program(arguments[0])


@cache
def _of_program(program: str) -> dict[str, str]:
    if not Path(program).name.startswith("python"):
        return {}
    try:
        done = subprocess.run(
            [program, "-c", _ASK], capture_output=True, text=True, check=True, timeout=60
        )
        answer = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return {str(name): str(version) for name, version in answer.items()}
