"""Whether a record's configuration is one: its sections and fields, by today's schema.

Fields that an older record does not have yet, and fields that it still has, are no fault: records
outlive schemas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from harness import presets
from harness.config import RunConfig
from harness.errors import explain


def faults(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with the fields that today's schema knows; empty where nothing is."""
    if fault := no_section(config):
        return [fault]
    complete = json.loads(_base())
    for section, fields in complete.items():
        fields |= {name: value for name, value in config[section].items() if name in fields}
    try:
        RunConfig.model_validate_json(json.dumps(complete))
    except ValidationError as error:
        return [f"config.{explain(error)}"]
    return []


def no_section(config: Mapping[str, Any]) -> str | None:
    """Which of the sections is not there, or no table; None where each is one."""
    for section in RunConfig.model_fields:
        if not isinstance(config.get(section), Mapping):
            return f"config.{section} {'is no section' if section in config else 'is missing'}"
    return None


@cache
def _base() -> str:
    """A complete configuration, whose values stand where a record has none."""
    return presets.run("smoke").model_dump_json()
