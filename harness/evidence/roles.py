"""What a recipe is for, as its records say it: its role, and the search behind its settings.

Records that are older than the field are known by their recipe's name, which `roles.toml` holds;
no code names a recipe.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from harness.records.schema import Question, Record


@cache
def _older() -> dict[str, dict[str, str]]:
    known: dict[str, dict[str, str]] = tomllib.loads(
        Path(__file__).with_suffix(".toml").read_text("utf-8")
    )
    return known


def role_of(record: Record) -> str:
    """What the record's recipe is for (`harness.recipe.Role`); empty where it has no such role."""
    return record.question.role or _older()["roles"].get(record.recipe, "")


def search_of(recipe: str, question: Question) -> str | None:
    """The recipe whose search chose the settings of a recipe's arms; None where none did."""
    return question.tuned_by or _older()["tuned_by"].get(recipe)
