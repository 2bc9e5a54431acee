"""The card's front matter, as the Hugging Face Hub reads it: through `huggingface_hub`'s own types.

It says what this repository is. What one model scored belongs into that model's own card, not
under a name that many arms would share. Nothing here reaches a network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from huggingface_hub.repocard_data import ModelCardData

from harness.records.schema import Record

NAME = "smol-harness"
_ON_THE_HUB = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
"""What can be a data set's name there: a folder's path is none, nor is what a stranger wrote."""
TAGS = ["pytorch", "smollm2", "comparison"]


def front_matter(records: Sequence[Record]) -> str:
    """The block of YAML at the top of the card, fences included; with the Hub's datasets that the
    runs were trained on."""
    data = ModelCardData(
        license="apache-2.0",
        language=["en", "code"],
        library_name=NAME,
        pipeline_tag="text-generation",
        tags=TAGS,
        datasets=sorted({name for r in records for name in datasets(r)}) or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def datasets(record: Record) -> list[str]:
    """The Hub's data sets that a run was trained on."""
    sources = record.config.get("data", {}).get("sources", ())
    named = [source.get("dataset") for source in sources]
    return [name for name in named if name and _ON_THE_HUB.fullmatch(name)]
