"""`python -m harness`: the same door as `smol`."""

import sys
from pathlib import Path

# Python put the current directory first, where a user's own `recipes` or `models` may lie.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness.cli import main  # noqa: E402

main()
