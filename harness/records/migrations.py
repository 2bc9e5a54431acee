"""Records of older schemas, brought to today's before they are validated.

A record is never rewritten: what is brought up to date is what was read, and the file stays as it
is. So whoever changes `records.schema` in a way that old files do not fit raises `SCHEMA_VERSION`
and adds the step from the version before. A field that is only added needs no step, but a default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.records.schema import SCHEMA_VERSION

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Version -> what makes a record of it, as JSON has it, one of the next version."""


def to_current(content: dict[str, Any]) -> dict[str, Any]:
    """A record's content as today's schema has it; one of today's is returned as it is.

    Raises ValueError, in words that follow the file's name, for a version that is newer than
    today's, or that no step leads on from.
    """
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ValueError(
            f"is a record of schema version {version}, newer than {SCHEMA_VERSION}, the newest "
            "that this smol reads: update smol"
        )
    while version != SCHEMA_VERSION:
        if not isinstance(version, int) or version not in MIGRATIONS:
            raise ValueError(
                f"is not a valid record: schema_version is {version!r:.200}, and this smol reads "
                f"{', '.join(map(str, [*sorted(MIGRATIONS), SCHEMA_VERSION]))}"
            )
        content = {**MIGRATIONS[version](content), "schema_version": version + 1}
        version += 1
    return content
