"""Tasks of lm-evaluation-harness on our models, beside its own `HFLM` on transformers' model.

Both in fp32. Log-likelihoods are sums over a few tokens; 1e-3 is what is promised, and rounding
between the two implementations stays far below.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from harness.commands import models
from harness.data import cloze
from harness.data.assets import find_smollm2
from harness.errors import RequestError
from tests.e2e.test_models import RUN, place

__all__ = ["place"]
# Looked up now: the tests' own cache takes the place of the user's when they begin.
FOLDER = find_smollm2()
TEXTS = ["The import statement binds a name.", "", "Ünïcode — and a longer text. " * 30]


def theirs(folder: Path):
    """`HFLM` on transformers' own model and tokenizer, in fp32."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return HFLM(
        pretrained=model, tokenizer=AutoTokenizer.from_pretrained(folder), batch_size=4,
        device="cpu",
    )  # fmt: skip


def ours(folder: Path):
    from harness.commands.tasks import harness_model

    loaded = models.load(models.resolve(str(folder)), dtype="fp32")
    return harness_model(loaded)


def assert_the_same_scores(folder: Path, items: int) -> float:
    """On the local task; returns the accuracy."""
    from harness.commands.tasks import run_tasks

    found = []
    for model in (ours(folder), theirs(folder)):
        scored = run_tasks(model, [cloze.NAME], limit=items)
        samples = scored["samples"][cloze.NAME]
        assert len(samples) == items
        answers = [
            answer[0] for sample in samples for answer in sample["filtered_resps"]
        ]  # (log-likelihood, greedy) of each choice
        found.append((scored["results"][cloze.NAME], answers))
    (mine, my_answers), (their, their_answers) = found
    for metric in ("acc,none", "acc_norm,none"):
        assert mine[metric] == their[metric]
    assert len(my_answers) == cloze.CHOICES * items
    assert my_answers == pytest.approx(their_answers, abs=1e-3)
    return float(mine["acc,none"])


def instances(kind: str, arguments: list[tuple]):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, one, i) for i, one in enumerate(arguments)]


def assert_the_same_requests(folder: Path) -> None:
    """Requests that the task does not make: no context, rolling windows, generation."""
    mine, their = ours(folder), theirs(folder)
    pairs = instances("loglikelihood", [
        ("", "A text."), ("One ", "two"), ("One", " two three"), ("a " * 900, "b"),
    ])  # fmt: skip
    scores = [model.loglikelihood(pairs) for model in (mine, their)]
    for (score, greedy), (other, other_greedy) in zip(*scores, strict=True):
        assert score == pytest.approx(other, abs=1e-3)
        assert greedy == other_greedy
    rolling = instances("loglikelihood_rolling", [(text,) for text in TEXTS])
    left, right = (model.loglikelihood_rolling(rolling) for model in (mine, their))
    # A text is hundreds of tokens: 1e-3 of one, 1e-5 of the sum of many.
    assert left == pytest.approx(right, abs=1e-3, rel=1e-5)
    settings = {"until": ["\n\n", "."], "max_gen_toks": 12, "do_sample": False}
    prompts = instances("generate_until", [(text or "The", settings) for text in TEXTS])
    assert mine.generate_until(prompts) == their.generate_until(prompts)


def test_a_runs_exported_model_scores_as_in_transformers(place):
    folder = place.folder / "exported"
    assert 0.0 <= assert_the_same_scores(folder, 20) <= 1.0
    assert_the_same_requests(folder)


@pytest.mark.slow
@pytest.mark.skipif(FOLDER is None, reason="no real weights: `smol fetch smollm2`")
def test_the_released_weights_score_as_in_transformers():
    assert FOLDER is not None
    torch.set_num_threads(2)
    # It reads English; chance is 1/4.
    assert assert_the_same_scores(FOLDER, 30) > 0.5
    assert_the_same_requests(FOLDER)


def test_the_door_runs_a_task_of_ones_own(place, tmp_path):
    rows = [{"question": f"{i} and {i} is", "choices": [str(2 * i), "no"]} for i in range(6)]
    data = tmp_path / "sums.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = tmp_path / "sums.yaml"
    task.write_text(
        "task: sums\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {data}}}}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{question}}'\n"
        "doc_to_choice: choices\ndoc_to_target: 0\nmetadata: {version: 2}\n"
    )
    said = json.loads(place.smol("eval", RUN, "--tasks", f"{task},{cloze.NAME}", "--limit", "4",
                                 "--json"))  # fmt: skip
    assert said["tasks"]["sums"]["samples"] == 4
    assert said["tasks"]["sums"]["version"] == 2
    value = said["tasks"]["sums"]["metrics"]["acc"]["value"]
    assert value in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert said["context"] == 32  # as the run was trained
    assert "acc" in said["tasks"][cloze.NAME]["metrics"]
    printed = place.smol("eval", RUN, "--tasks", cloze.NAME, "--limit", "4")
    assert f"{cloze.NAME}  acc  " in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tasks", "stdlib-clozes"], "did you mean 'stdlib-cloze'?"),
        (["--tasks", "nowhere.yaml"], "no file 'nowhere.yaml'"),
        (["--tasks", ","], "names no task"),
        (["--tasks", "stdlib-cloze", "--text", "stdlib-topics"], "goes without --text"),
        (["--limit", "3"], "go with --tasks"),
        (["--tasks", "stdlib-cloze", "--context", "9999"], "is outside 2.."),
    ],
)
def test_a_wrong_request_is_one_line(place, arguments, words):
    assert words in place.smol("eval", RUN, *arguments, code=2)


def test_a_setting_that_is_not_known_is_not_passed_over(place):
    model = ours(place.folder / "exported")
    with pytest.raises(ValueError, match="num_beams"):
        model.generate_until(instances("generate_until", [("a", {"num_beams": 2})]))


def test_the_local_task_is_the_same_each_time():
    items = cloze.items()
    assert items == cloze.items()
    assert len(items) == cloze.ITEMS
    for item in items:
        assert len(set(item["choices"])) == cloze.CHOICES
    places = [item["answer"] for item in items]
    assert all(places.count(place) > cloze.ITEMS / 8 for place in range(cloze.CHOICES))


def test_without_the_package_one_line_says_how_to_get_it(place, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    from harness.commands.evaluate import Options, evaluate

    with pytest.raises(RequestError, match=r"pip install 'smol-harness\[eval\]'"):
        evaluate(Options(RUN, tasks=cloze.NAME))


def test_results_and_samples_are_kept_as_the_harness_keeps_them(place):
    place.smol("eval", "exported", "--tasks", cloze.NAME, "--limit", "6", "--out", "kept")
    (file,) = (place.folder / "kept" / "exported").glob("results_*.json")
    kept = json.loads(file.read_text())
    assert kept["results"][cloze.NAME]["alias"] == cloze.NAME
    assert kept["model_name"] == "exported"
    (lines,) = file.parent.glob(f"samples_{cloze.NAME}_*.jsonl")
    samples = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(samples) == 6
    accuracy = sum(sample["acc"] for sample in samples) / 6
    assert kept["results"][cloze.NAME]["acc,none"] == pytest.approx(accuracy)
