"""A question's changes in the words that a user gave."""

from __future__ import annotations

from pathlib import Path

from harness.data.sources.tables import of_paths
from harness.evidence.asked import exploratory, words


def test_a_text_of_ones_own_is_said_as_it_was_given(tmp_path: Path) -> None:
    files = [tmp_path / "input.txt", tmp_path / "more.txt"]
    for file in files:
        file.write_text("A sentence of some length, and another one.\n\n" * 40)
    asked = {"train.tokens": 768, "data.sources": [of_paths(files)], "--from": "smollm2"}
    assert exploratory(asked) == (
        "exploratory, --text input.txt, --text more.txt, --from smollm2, --set train.tokens=768"
    )
    assert exploratory({}) == ""


def test_a_mix_that_no_text_option_makes_stays_whole() -> None:
    mix = [{"name": "mine", "kind": "files", "share": 1.0, "paths": ["a.txt"], "holdout": 0.1}]
    assert words({"data.sources": mix}) == [f"data.sources={mix}"]
    two = [{"name": name, "kind": "files", "share": 0.5, "paths": [name]} for name in "ab"]
    assert words({"data.sources": two}) == [f"data.sources={two}"]
