"""The front matter loads through huggingface_hub, offline, and says what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from harness.records import store
from harness.report import card
from harness.report.trace import all_cells
from tests.report.factory import campaign

PLACEHOLDERS = ("More Information Needed", "[optional]", "{{", "TODO", "Model ID")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for record in campaign():
        store.write(folder, record)
    return folder


def test_the_card_loads_and_round_trips(results: Path, tmp_path: Path) -> None:
    text = card.render(results)
    loaded = ModelCard(text)
    assert loaded.content == text
    loaded.save(tmp_path / "README.md")
    again = ModelCard.load(tmp_path / "README.md")
    assert again.data.to_dict() == loaded.data.to_dict()
    assert again.data.license == "apache-2.0"
    assert again.data.language == ["en", "code"]
    assert again.data.datasets == ["HuggingFaceTB/smollm-corpus", "HuggingFaceTB/smoltalk"]
    assert again.text == loaded.text


def test_the_model_index_says_what_the_table_says(results: Path) -> None:
    cells = all_cells(results)
    found = ModelCard(card.render(results)).data.eval_results
    assert found is not None
    assert len(found) == 4 * 2
    for result in found:
        arm, _, rest = str(result.metric_name).partition(": ")
        cell = cells[f"{result.dataset_config}.loss/{arm}/{rest.partition(',')[0]}"]
        assert cell.text.startswith(f"{result.metric_value:.4f} ±")


def test_no_placeholder_is_left_and_every_section_of_the_template_is_there(results: Path) -> None:
    text = card.render(results)
    assert not [word for word in PLACEHOLDERS if word in text]
    for heading in (
        "Model Details", "Uses", "Bias, Risks, and Limitations",
        "How to Get Started with the Model", "Training Details", "Evaluation",
        "Model Examination", "Environmental Impact", "Technical Specifications", "Glossary",
        "Model Card Contact",
    ):  # fmt: skip
        assert text.count(f"\n## {heading}\n") == 1


def test_the_committed_card_is_a_model_card() -> None:
    text = (Path(__file__).parents[2] / "results" / card.CARD).read_text("utf-8")
    assert not [word for word in PLACEHOLDERS if word in text]
