"""Small corpora made from seeds, and a cache of their own for each test."""

import json
import keyword
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.config import DataConfig, Source

WORDS = keyword.kwlist


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SMOL_CACHE", str(folder))
    return folder


def write_jsonl(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    return path


def texts(count: int, seed: int, mark: str = "") -> list[str]:
    """Documents of 20 to 60 words; `mark` stands in each, so that sources can be told apart."""
    rng = random.Random(seed)
    return [
        f"{mark}{i} " + " ".join(rng.choices(WORDS, k=rng.randint(20, 60))) for i in range(count)
    ]


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., DataConfig]:
    """A specification of two jsonl sources, 70/30, with any field replaced."""

    def make(**changes: Any) -> DataConfig:
        one = write_jsonl(tmp_path / "one.jsonl", texts(300, seed=1, mark="north"))
        two = write_jsonl(tmp_path / "two.jsonl", texts(300, seed=2, mark="south"))
        fields: dict[str, Any] = dict(
            sources=(
                Source(name="north", kind="files", share=0.7, paths=(str(one),)),
                Source(name="south", kind="files", share=0.3, paths=(str(two),)),
            ),
            seq_len=32,
            vocab_size=400,
            train_tokens=None,
            val_fraction=0.2,
            val_tokens=1500,
            split_seed=0,
        )
        return DataConfig(**(fields | changes))

    return make
