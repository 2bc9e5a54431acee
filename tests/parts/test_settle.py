"""A plan with parts of one's own: how they are found, what enters keys, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness import presets
from harness.config import identity, replace
from harness.errors import RequestError
from harness.optim import registry
from harness.parts import files
from harness.parts import settle as room
from harness.parts.settle import settle
from harness.plan import runs as planning
from harness.plan.grid import arms
from harness.recipe import ActiveFlops, Axis, Recipe, Tokens
from models import own
from models.config import active_parameters, flops_per_token, total_parameters

BASE = presets.run("smoke")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """The questions that a child was asked; in its place one that has a setting `mix`."""
    monkeypatch.setenv("SMOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("class Lion: ...\n")
    seen: list[dict[str, Any]] = []

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        seen.append(question)
        changes: dict[str, Any] = {}
        for kind in question["kinds"]:
            wishes = {p: v for p, v in question["wishes"].items() if p.endswith(".mix")}
            changes |= {f"{kind}.settings": {"mix": 0.9}, **wishes}
            if kind != "optim":
                counted = {"total": 1000, "active": 900, "flops": None, "reason": "it is odd"}
                changes[f"{kind}.counted"] = counted
        return {"changes": changes, "taken": list(question["wishes"]) if wishes else []}

    monkeypatch.setattr(room, "_ask", answer)
    return seen


def test_parts_of_ours_start_nothing_and_leave_the_configuration_alone(asked):
    for name in registry.files():
        config = replace(BASE, {"optim.name": name})
        assert settle(config, (), {}).config == config
    assert asked == []


def test_the_text_and_the_settings_are_in_the_configuration_and_so_in_the_key(asked):
    config = replace(BASE, {"optim.name": "mine.py:Lion"})
    found = settle(config, (), {}).config
    assert (found.optim.code, found.optim.settings) == ("class Lion: ...\n", {"mix": 0.9})
    assert {"optim.code", "optim.settings.mix"} <= identity(found).keys()
    assert settle(found, (), {}).config == found
    settle(config, (), {})
    assert len(asked) == 2  # the settled configuration is another question; the same is remembered
    Path("mine.py").write_text("class Lion: pass\n")
    assert settle(config, (), {}).config != found


def test_a_file_beside_the_recipe_comes_first(asked, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.py").write_text("class Lion: 'other'\n")
    config = replace(BASE, {"optim.name": "mine.py:Lion"})
    assert settle(config, (tmp_path / "other",), {}).config.optim.code.endswith("'other'\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optim.name": "muom"}, "no optimizer 'muom'; did you mean 'muon'"),
        ({"optim.name": "mime.py:Lion"}, r"no file 'mime.py'.*did you mean 'mine\.py'"),
        ({"optim.name": "/etc/mine.py"}, "a part is named from a folder"),
        ({"optim.settings.mix": 0.1}, r"optim\.settings\.mix: muon has no settings of its own"),
        ({"optim.name": "torch-muon", "optim.muon_ns_dtype": "fp32"}, "takes .* bf16 alone"),
        ({"model.feed_forward": "swigloo"}, "no feed-forward 'swigloo'; did you mean 'swiglu'"),
        ({"model.attention.settings.x": 1}, "no part is named at model.attention"),
        ({"optim.nam": "x"}, r"no field 'optim\.nam'"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest(asked, changes, said):
    with pytest.raises(RequestError, match=said):
        settle(replace(BASE, changes), (), {})
    assert asked == []


def grid(overrides: dict[str, Any], **values: Any) -> dict[str, Any]:
    axis = Axis("part", ["optim.name", "model.feed_forward"], values)
    made = arms(Recipe(BASE, [axis]), overrides)
    return {arm.name: arm for arm in made}


def test_a_file_in_our_folder_is_a_part_by_its_name(asked, monkeypatch, tmp_path):
    folder = tmp_path / "optimizers"
    shutil.copytree(registry.FOLDER, folder)
    (folder / "new_lion.py").write_text("class NewLion: ...\n")
    monkeypatch.setattr(registry, "FOLDER", folder)
    monkeypatch.setitem(files.FOLDERS, "optim", folder)
    found = settle(replace(BASE, {"optim.name": "new-lion"}), (), {}).config.optim
    assert (found.code, found.settings) == ("class NewLion: ...\n", {"mix": 0.9})
    assert not registry.reads("new-lion", "muon_lr")


def test_an_axis_that_names_a_part_may_touch_what_belongs_to_it(asked):
    found = grid(
        {}, ours={}, lion={"optim.name": "mine.py:Lion"}, ff={"model.feed_forward": "mine.py"}
    )
    assert found["ours"].diff == {}
    assert found["lion"].diff["optim.code"].startswith("sha256 ")
    assert found["ff"].config.model.feed_forward.counted is not None
    # Else a section's arms would not be told to differ in it.
    assert "model.feed_forward.counted.flops" in found["ff"].diff
    axis = Axis("clip", ["optim.clip_norm"], {"a": {}, "b": {"optim.name": "mine.py:Lion"}})
    with pytest.raises(
        RequestError, match=r"differ in optim\.\w+ .*which their axes do not declare"
    ):
        arms(Recipe(BASE, [axis]), {})


def test_a_setting_on_the_command_line_reaches_the_arms_that_have_it(asked):
    lion = {"optim.name": "mine.py:Lion"}
    found = grid({"optim.settings.mix": 0.5}, ours={}, lion=lion)
    assert found["lion"].config.optim.settings == {"mix": 0.5}
    assert found["ours"].config == BASE
    with pytest.raises(
        RequestError, match=r"no arm's part has 'optim\.settings\.mx'.* mean .*mix'"
    ):
        grid({"optim.settings.mx": 0.5}, ours={}, lion=lion)


def test_the_name_alone_begins_a_part_anew():
    base = replace(BASE, {"optim.name": "mine.py:Lion", "optim.settings.mix": 0.5})
    assert replace(base, {"optim.name": "adamw"}).optim.settings == {}
    again = replace(base, {"optim.settings.mix": 0.1, "optim.name": "other.py"})
    assert again.optim.settings == {"mix": 0.1}
    named = {"model.feed_forward": "a.py", "model.feed_forward.settings.n": 2}
    part = replace(base, named).model.feed_forward
    assert (part.name, part.settings) == ("a.py", {"n": 2})


def test_counts_take_the_part_and_unknown_flops_refuse_equal_flops(asked):
    dense, mine = grid({}, dense={}, mine={"model.feed_forward": "mine.py"}).values()
    less = 3 * BASE.model.width * BASE.model.ffn
    for count, part in ((total_parameters, 1000), (active_parameters, 900)):
        gap = count(dense.config.model) - count(mine.config.model)
        assert gap == BASE.model.layers * (less - part)
    with pytest.raises(ValueError, match="not known: it is odd"):
        flops_per_token(mine.config.model, 128)
    assert planning.endpoint(Tokens(10_240), mine, ()).flops is None
    with pytest.raises(RequestError, match=r"'active-flops', arm 'mine': .* not known: it is odd"):
        planning.endpoint(ActiveFlops.of("dense"), mine, [dense, mine])


def test_a_known_part_counts_as_it_was_counted():
    counted = {"total": 3 * 64 * 96, "active": 3 * 64 * 96, "flops": 6.0 * 3 * 64 * 96}
    model = BASE.model.model_copy(update={"width": 64, "ffn": 96})
    plain = replace(BASE, {"model": model}).model
    same = replace(BASE, {"model": model, "model.feed_forward.counted": counted}).model
    assert total_parameters(same) == total_parameters(plain)
    assert flops_per_token(same, 128) == flops_per_token(plain, 128)


def test_optimizers_say_of_themselves_what_a_plan_asks():
    declared = {name: registry.declared(name) for name in registry.files()}
    assert set(declared) == {"adamw", "muon", "torch-muon"}
    optim = json.loads(BASE.optim.model_dump_json())
    assert registry.peaks(optim) == {"muon": optim["muon_lr"], "adamw": optim["adamw_lr"]}
    assert registry.peaks({"name": "a.py:B", "settings": {"lr": 0.1}}) == {"a.py:B": 0.1}
    assert not registry.reads("adamw", "muon_lr")
    assert registry.reads("adamw", "clip_norm")
    assert not registry.reads("a.py:B", "adamw_lr")


def test_one_public_class_needs_no_name():
    assert own.load("a.py", "class A: ...\nclass _B: ...\ndef f(): ...\n").__name__ == "A"
