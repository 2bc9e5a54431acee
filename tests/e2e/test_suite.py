"""`smol eval --suite` through the real door, and beside lm-evaluation-harness's own run.

Both in fp32: a log-likelihood is within 1e-3 nats of what its `HFLM` gives on transformers' model,
and its ranks differ only where two answers are as near as that.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.data import suite
from harness.data.assets import find_smollm2
from tests.data.suite_wheel import put, variants
from tests.e2e.test_models import RUN, place
from tests.e2e.test_tasks import ours, theirs

__all__ = ["place"]
FOLDER = find_smollm2()  # looked up now: the tests' own cache takes the place of the user's
NAMES = ",".join(variants())
NEAR = 1e-3


@pytest.fixture(autouse=True)
def wheel(monkeypatch):
    put(monkeypatch, variants())


def assert_as_the_library_has_it(folder: Path, tasks: list[suite.ItemTask], where: Path) -> None:
    """The same items as its own tasks, which its own evaluator asks its own model."""
    from harness.commands.suite import answers
    from harness.commands.tasks import run_tasks

    model = ours(folder)
    files = [str(suite.write_task(task, where)) for task in tasks]
    scored = run_tasks(theirs(folder), files)
    for task in tasks:
        mine = answers(model, task)
        name = next(n for n in scored["samples"] if n.endswith(task.name.replace("/", "_")))
        samples = sorted(scored["samples"][name], key=lambda sample: sample["doc_id"])
        assert len(samples) == len(mine.items)
        right, accuracy, normed, near = [], [], [], 0
        for item, sample in zip(task.items, samples, strict=True):
            given = np.array([answer[0] for answer in sample["filtered_resps"]])
            if given.ndim > 1:
                given = given[:, 0]
            right.append(-given[item.right])
            sizes = [len(answer) for _, answer in item.choices]
            best = np.sort(given)[::-1], np.sort(given / sizes)[::-1]
            near += len(given) > 1 and min(b[0] - b[1] for b in best) < 2 * NEAR
            accuracy.append(sample.get("acc"))
            normed.append(np.argmax(given / sizes) == item.right)
        assert mine.nats == pytest.approx(np.array(right), abs=NEAR, rel=1e-5)
        if task.ranked:
            assert abs(int(mine.correct.sum()) - sum(accuracy)) <= near
            assert abs(int(mine.normed.sum()) - sum(normed)) <= near
            if len({context for context, _ in task.items[0].choices}) == 1:
                # Where beginnings differ, the library divides by their lengths.
                theirs_normed = scored["results"][name]["acc_norm,none"] * len(samples)
                assert abs(int(mine.normed.sum()) - theirs_normed) <= near + 1e-9


def test_a_tiny_model_scores_as_the_library_has_it(place, tmp_path):
    tasks = suite.read(list(variants()), None, print)
    assert_as_the_library_has_it(place.folder / "exported", tasks, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(FOLDER is None, reason="no real weights: `smol fetch smollm2`")
def test_the_released_weights_score_as_the_library_has_it(tmp_path):
    assert FOLDER is not None
    assert_as_the_library_has_it(FOLDER, suite.read(list(variants()), None, print), tmp_path)


def test_the_door_scores_compares_and_keeps(place):
    other = "tiny_rates/high/0/decay-tokens"
    asked = ("eval", RUN, "--suite", NAMES, "--against", other, "--dtype", "fp32")
    said = json.loads(place.smol(*asked, "--json", "--out", "kept").partition("kept:")[0])
    task = said["tasks"]["ask/rc_0shot"]
    assert (task["items"], task["chance"]) == (12, pytest.approx(1 / 3))
    kept = json.loads((place.folder / "kept" / "answers.json").read_text())
    one, two = (model["tasks"]["ask/rc_0shot"] for model in kept)
    nats = [np.array(of["nats"]) for of in (one, two)]
    size = sum(one["bytes"]) * math.log(2)
    assert task["bits_per_byte"]["value"] == pytest.approx(nats[0].sum() / size, abs=1e-5)
    assert task["accuracy"]["value"] == one["correct"].count("1") / 12
    apart = said["differences"]["tasks"]["ask/rc_0shot"]["bits_per_byte"]
    assert apart["value"] == pytest.approx((nats[0] - nats[1]).sum() / size, abs=1e-5)
    assert apart["interval"][0] < apart["value"] < apart["interval"][1]
    assert "accuracy" not in said["tasks"]["code/gold_bpb_0shot"]
    # The items go out as tasks that the library itself reads, through our own other door.
    again = place.smol("eval", RUN, "--tasks", "kept/tasks/ask_rc_0shot.yaml", "--dtype", "fp32",
                       "--json")  # fmt: skip
    scored = json.loads(again)["tasks"]["early_ask_rc_0shot"]["metrics"]
    assert scored["acc"]["value"] == pytest.approx(task["accuracy"]["value"])
    assert scored["acc_norm"]["value"] == pytest.approx(task["acc_norm"]["value"])
    printed = place.smol(*asked)  # from the cache, the same
    assert f"{task['bits_per_byte']['value']:.4f} ± " in printed
    assert "item by item" in printed
    code = said["tasks"]["code/gold_bpb_0shot"]
    assert (code["items"], code["left_out"]) == (11, 1)  # 32 tokens are seen, and not all fit
    assert "1 left out" in printed


def test_a_results_folder_gives_signal_noise_and_differences_over_seeds(place):
    said = json.loads(place.smol(
        "eval", str(place.results), "--suite", NAMES, "--against", "exported", "--json"
    ))  # fmt: skip
    assert said["runs"] == 4
    assert said["arms"] == ["tiny_rates/high", "tiny_rates/low"]
    (difference,) = said["differences"]
    assert difference["seeds"] == 2
    bits = said["tasks"]["ask/rc_0shot"]["bits_per_byte"]
    means = {arm: of["smoke tokens"] for arm, of in bits["means"].items()}
    value = difference["tasks"]["ask/rc_0shot"]["bits_per_byte"]["value"]
    assert value == pytest.approx(means["tiny_rates/high"] - means["tiny_rates/low"])
    assert bits["grey"]  # one size: there is no spread of sizes
    assert "ask/rc_0shot" in said["reference"]["tasks"]
    printed = place.smol("eval", str(place.results), "--suite", NAMES)
    assert "(grey)" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--suite", "ask/rc_1shot"], "did you mean 'ask/rc_0shot'"),
        (["--suite", ","], "--suite names no task"),
        (["--suite", NAMES, "--tasks", "stdlib-cloze"], "--suite goes without"),
        (["--suite", NAMES, "--fewshot", "0"], "--suite goes without"),
        (["--suite", NAMES, "--against", "nobody"], "no model 'nobody'"),
        (["--against", "exported"], "--against goes with --suite"),
    ],
)
def test_a_wrong_request_is_one_line(place, arguments, words):
    assert words in place.smol("eval", RUN, *arguments, code=2)


def test_a_model_that_gives_no_numbers_is_refused():
    from harness.commands.suite import answers

    class Broken:
        def loglikelihood(self, requests):
            return [(math.nan, False)] * len(requests)

    (task,) = suite.read(["ask/rc_0shot"], 2, print)
    with pytest.raises(ValueError, match="item 0 are not finite"):
        answers(Broken(), task)


def test_a_results_folder_without_weights_says_so(place, tmp_path):
    shutil.copytree(place.results / "records", tmp_path / "bare" / "records")
    said = place.smol("eval", str(tmp_path / "bare"), "--suite", NAMES, code=2)
    assert "of 4 runs" in said
