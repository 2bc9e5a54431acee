"""The front matter loads through huggingface_hub, offline, and says what the tables say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from harness.records import store
from harness.report import card
from harness.report.metadata import front_matter
from tests.report.factory import campaign

PLACEHOLDERS = ("More Information Needed", "[optional]", "{{", "TODO", "Model ID")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for record in campaign():
        store.write(folder, record)
    return folder


def test_the_card_loads_and_round_trips(results: Path, tmp_path: Path) -> None:
    text = card.render(results)[card.CARD]
    loaded = ModelCard(text)
    assert loaded.content == text
    loaded.save(tmp_path / "README.md")
    again = ModelCard.load(tmp_path / "README.md")
    assert again.data.to_dict() == loaded.data.to_dict()
    assert again.data.license == "apache-2.0"
    assert again.data.language == ["en", "code"]
    assert again.data.datasets is None  # these runs read none from the Hub
    assert again.data.eval_results is None  # many arms would share one name
    assert again.text == loaded.text


def test_the_datasets_are_those_that_the_runs_read(tmp_path: Path) -> None:
    for record in campaign():
        data = {"data": {**record.config["data"], "sources": [{"dataset": "a/b"}]}}
        assert front_matter([record.model_copy(update={"config": record.config | data})]).count(
            "- a/b\n"
        ) == 1  # fmt: skip


def test_the_card_is_what_a_person_reads(results: Path) -> None:
    """Five screens at 1,280 pixels hold some 130 lines of 110 characters and a figure; on a phone
    nothing scrolls sideways, so that there is no table, and no word longer than an address."""
    committed = Path(__file__).parents[2] / "results"
    for text in (card.render(results)[card.CARD], (committed / card.CARD).read_text("utf-8")):
        assert not [word for word in PLACEHOLDERS if word in text]
        body = text.partition("\n# ")[2]
        lines = [line for line in body.splitlines() if not line.startswith("<!--")]
        # A link's address is in the file and not on the screen.
        shown = [re.sub(r"\]\([^)]*\)", "]", line) for line in lines]
        assert sum(-(-len(line) // 110) for line in shown) < 130
        assert not [line for line in lines if line.startswith("|")]
        assert body.count("![") <= 1
        code = body.partition("```bash\n")[2].partition("```")[0].splitlines()
        assert code
        assert max(map(len, code)) <= 45
        for heading in (
            "What was asked, and the answers", "Models", "Costs", "Data", "Limits",
            "How to get started", "Where the rest is",
        ):  # fmt: skip
            assert text.count(f"\n## {heading}\n") == 1
