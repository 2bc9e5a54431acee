"""Configurations that a build ahead of time has shown not to fit a card: they are never tuned.

Evidence, not opinion: `nox -s kernels` builds every configuration and fails where this table
says otherwise than the builds. May hold nothing but the table.
"""

from __future__ import annotations

UNFIT: dict[tuple[str, str], frozenset[str]] = {}
"""(kernel, architecture) -> labels of configurations that spill or want more shared memory."""
