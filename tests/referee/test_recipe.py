"""A recipe of a user's own whose arms are scripts, through the doors that a recipe of ours has."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands import card, compare, records_check, run, show, trace
from harness.commands.request import Options
from harness.errors import CheckFailed, RequestError
from harness.recipe import find, load
from harness.records import foreign
from tests.referee.workshop import BETTER, GOOD, arm

RECIPE = f"""
from harness.referee.recipe import Script, Scripts, scripts

@scripts("mine", seeds={{"smoke": 3}})
def mine(scale):
    \"\"\"A change of mine against what was there.\"\"\"
    return Scripts(
        {{"old": Script("../old"), "new": Script("../new"),
          "shifted": Script("../old", command="{sys.executable} -S train.py 7{{seed}}")}},
        command="{sys.executable} -S train.py {{seed}}", again=False,
    )
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, far from the clone."""
    monkeypatch.chdir(tmp_path)
    arm(tmp_path, "old", GOOD)
    arm(tmp_path, "new", BETTER)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.py").write_text(RECIPE)
    return tmp_path


def said(work: Callable[..., None], *arguments: object, **options: object) -> str:
    """What a command prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        work(*arguments, **options)
    return out.getvalue()


def test_a_recipe_of_scripts_has_plan_records_card_and_traces(place: Path):
    plan = json.loads(said(show.show, show.Options("mine", as_json=True)))
    assert [one["arm"] for one in plan["runs"][:4]] == ["old", "new", "shifted", "shifted"]
    assert all(one["missing"] for one in plan["runs"])
    assert not (place / "results").exists()
    first = json.loads(said(run.run, Options("mine", as_json=True)))
    assert first["runs"] == {"started": 9, "reused": 0}
    verdicts = {one["arm"]: one["verdict"] for one in first["candidates"]}
    assert verdicts["new"] == "better"
    assert verdicts["shifted"] == "no detectable difference"
    again = json.loads(said(run.run, Options("mine", as_json=True)))
    assert again["runs"] == {"started": 0, "reused": 9}
    text = (place / "results" / "smoke" / "MODEL_CARD.md").read_text()
    assert "mine.smoke:new" in text
    assert "scripts/mine.smoke/REFEREE.md" in text
    assert "agrees" in said(card.card, card.Options(check=True))
    shutil.rmtree(place / "old")
    shutil.rmtree(place / "new")
    origin = said(trace.trace, trace.Options("scripts/mine.smoke:new/difference"))
    assert "--- old/train.py" in origin
    assert "+random.seed(100 + seed)" in origin
    assert "reproduce    SMOL_SEED=2 python" in origin
    assert f"files {first['candidates'][0]['digest']}" in origin
    assert "again    SMOL_SEED=1" in said(trace.trace, trace.Options("mine.smoke/new/1"))
    assert "keep; better" in said(compare.compare, compare.Options("mine/old", "mine/new"))
    with pytest.raises(RequestError, match="smol compare mine/old mine/new"):
        compare.compare(compare.Options("mine/new", "mine/old"))
    said(records_check.records_check, records_check.Options())


def test_an_edited_arm_or_record_is_named(place: Path):
    said(run.run, Options("mine"))
    (place / "new" / "train.py").write_text(BETTER + "# edited\n")
    plan = json.loads(said(show.show, show.Options("mine", as_json=True)))
    assert plan["outdated"][0].startswith("new: 3 runs are of other files")
    assert {one["arm"] for one in plan["runs"] if one["missing"]} == {"new"}
    results = place / "results" / "smoke"
    record = foreign.read_name(results, "mine.smoke")[0][0]
    path = results / foreign.record_path(record)
    path.write_text(re.sub(r'"seconds": \d', '"seconds": 7', path.read_text()))
    with pytest.raises(CheckFailed):
        said(card.card, card.Options(check=True))
    with pytest.raises(RequestError, match="records are never edited"):
        said(card.card, card.Options())


def test_another_number_of_seeds_has_no_verdict(place: Path):
    found = json.loads(said(run.run, Options("mine", seeds=4, as_json=True)))
    assert {one["reason"] for one in found["candidates"]} == {
        "exploratory: the recipe froze 3 seeds"
    }


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"../old"),', '"../nothing"),', "no folder '.*nothing' for an arm"),
        ('Script("../old"),', '{"optim.name": "muon"},', "is no Script.*not judged together"),
        ("return Scripts(", "raise ValueError('no') or Scripts(", "could not be built: .*no"),
        ("return Scripts(", "return dict(arms=", r"returned dict, not Scripts\(\.\.\.\)"),
        ("again=False", 'format="metrik"', "no format 'metrik'"),
        ("again=False", "metrics=1", "could not be built: .*metrics"),
        ("again=False", 'frozen=["eval.py"]', "has no such file"),
        ("again=False", 'command="nowhere x"', "keyword argument repeated|no program 'nowhere'"),
    ],
)
def test_mistakes_are_one_line(place: Path, old: str, new: str, says: str):
    (place / "recipes" / "mine.py").write_text(RECIPE.replace(old, new))
    with pytest.raises(RequestError, match=says) as error:
        said(show.show, show.Options("mine"))
    assert "\n" not in str(error.value)
    assert not (place / "results").exists()


def test_what_is_for_arms_of_ours_is_refused(place: Path):
    with pytest.raises(RequestError, match="--set is for arms of ours"):
        run.run(Options("mine", sets=["optim.lr=1"]))
    with pytest.raises(RequestError, match="compares scripts"):
        find("mine").at("smoke")
    assert "mine" in load()[0]


def test_an_unknown_recipe_names_the_file_that_broke(place: Path):
    (place / "recipes" / "other.py").write_text("1 +")
    with pytest.raises(RequestError, match=r"no recipe 'yours'.*; recipes/other.py could not be"):
        find("yours")
    with pytest.raises(RequestError, match=r"^recipes/other.py could not be loaded"):
        find("other")
