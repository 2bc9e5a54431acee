"""Recipes are found by name, a user's beside ours, and a broken file breaks nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from harness import recipe
from harness.errors import RequestError
from harness.plan import resolved
from harness.plan.resolved import resolve
from tests.plan import making

OWN = '''
from harness import presets
from harness.recipe import Axis, Primary, Recipe, Tokens, recipe

@recipe("own", primary=Primary(metric="val_loss", at="tokens", pairs=(("a", "b"),)), seeds={"smoke": 3})
def own(scale):
    """Two rates."""
    base = presets.run(scale)
    return Recipe(base, axes=[Axis("rate", ["optim.muon_lr"], {"a": 0.01, "b": 0.02})], horizons=[Tokens(2048)])
'''  # noqa: E501
README = Path(__file__).parents[1] / "README.md"


def test_every_recipe_of_ours_resolves_at_every_scale_it_has():
    entries, broken = recipe.load(Path("nowhere"))
    assert not broken
    assert "dense_vs_moe" in entries
    for entry in entries.values():
        for scale in entry.seeds:
            built, grid = making.grid(entry, scale, {})
            names = {arm.name for arm in grid}
            assert {arm for pair in entry.primary.pairs for arm in pair} <= names
            assert entry.primary.at in resolved.horizon_names(built)
            assert set(built.notes) <= names


def test_the_readmes_example_is_a_recipe(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "def muon_rates(" in block]
    (tmp_path / "mine.py").write_text(code)
    assert len(code.strip().splitlines()) <= 17
    entry = recipe.find("muon_rates", tmp_path)
    _, grid = making.grid(entry, "smoke", {})
    assert [arm.config.optim.muon_lr for arm in grid] == [0.01, 0.04]


@pytest.mark.parametrize(
    "content",
    [
        "1 / 0", "import nothing_of_that_name", "def (:", "exit(3)", "import os; os._exit(0)",
        "raise GeneratorExit", "class Odd(BaseException): ...\nraise Odd('x')",
        "while True: pass", "def f(): f()\nf()",
        "while True:\n    try: 1 / 0\n    except Exception: pass",
    ],
)  # fmt: skip
def test_a_broken_file_is_named_and_the_others_load(tmp_path, monkeypatch, content):
    monkeypatch.setattr("harness.errors.PATIENCE_SECONDS", 0.5)
    (tmp_path / "bad.py").write_text(content)
    entries, (broken,) = recipe.load(tmp_path)
    assert "dense_vs_moe" in entries
    assert broken.file == "bad.py"
    with pytest.raises(RequestError, match=r"recipes/bad\.py could not be loaded"):
        recipe.find("bad", tmp_path)


def test_a_part_beside_the_recipes_is_not_loaded_with_them(tmp_path):
    (tmp_path / "lion.py").write_text("import torch\n1 / 0\n")
    entries, broken = recipe.load(tmp_path)
    assert broken == []
    assert "dense_vs_moe" in entries


def test_what_a_file_prints_is_no_answer_of_a_command(tmp_path, capsys):
    (tmp_path / "loud.py").write_text("print('hello')")
    assert recipe.load(tmp_path)[1] == []
    assert capsys.readouterr() == ("", "hello\n")
    (tmp_path / "loud.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):  # Ctrl-C while it loads is the user's word
        recipe.load(tmp_path)


def test_a_user_cannot_shadow_one_of_ours(tmp_path):
    ours = Path(recipe.__file__).parents[1] / "recipes" / "dense_vs_moe.py"
    (tmp_path / "mine.py").write_text(ours.read_text())
    _, (broken,) = recipe.load(tmp_path)
    assert "declared twice" in broken.error


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(RequestError, match="did you mean 'dense_vs_moe'"):
        recipe.find("dense_vs_mo", Path("nowhere"))


@pytest.mark.parametrize(
    ("wrong", "right", "line"),
    [
        ("base = presets", "base == presets", "could not be built: own.py:8: NameError"),
        ("Tokens(2048)", "Tokens(-5)", "could not be built: own.py:9: ValueError: a horizon has"),
        ('"val_loss"', '"vl"', "could not be loaded: own.py:5: metric: input should be"),
        ('"smoke": 3', '"smoke": 0', "needs at least 1 seed at smoke, not 0"),
        ("[Tokens(2048)]", "[Tokens(2048), Tokens(4096)]", "names a horizon twice: tokens, tokens"),
    ],
)
def test_a_recipes_mistake_names_its_line(tmp_path, wrong, right, line):
    assert wrong in OWN
    (tmp_path / "own.py").write_text(OWN.replace(wrong, right, 1))
    with pytest.raises(RequestError) as said:
        resolve(recipe.find("own", tmp_path), "smoke")
    assert line in str(said.value)


def test_a_pipe_among_the_recipes_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    (broken,) = recipe.load(tmp_path)[1]
    assert (broken.file, broken.error) == ("pipe.py", "it is no regular file")
