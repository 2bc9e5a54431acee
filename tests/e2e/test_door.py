"""The door as a newcomer meets it: help, completion, terminals of every width, the next step."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from harness.commands import DOOR, CommandGroup
from tests.e2e.conftest import Workspace, make

ARMS = ("tiny_rates/low", "tiny_rates/high")
CELL = "tiny_rates.smoke.cpu.loss/low/val_loss@tokens"
VERDICT = "high and low cannot be compared: 2 pairs, at least 3 needed."


@pytest.fixture(scope="module")
def place(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("door") / "copy"
    shutil.copytree(finished.folder, folder)
    return Workspace(folder)


def on_terminal(place: Workspace, *words: str, columns: int, **environment: str) -> str:
    """What `smol` shows on a terminal of that width, both streams, without its escapes."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "harness", *words], cwd=place.folder, stdin=theirs,
        stdout=theirs, stderr=theirs, close_fds=True, start_new_session=True,
        env={**inherited, "PYTHONPATH": str(place.code), "TERM": "xterm-256color",
             "HF_HUB_OFFLINE": "1", **environment},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end was closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    process.wait(timeout=60)
    text = said.decode().replace("\r\n", "\n")
    assert environment.get("TERM") != "dumb" or "\x1b" not in text
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def too_wide(text: str, columns: int) -> list[str]:
    return [line for line in text.split("\n") if len(line) > columns]


@pytest.mark.parametrize(
    ("columns", "environment"),
    [(80, {}), (50, {}), (80, {"TERM": "dumb"}), (50, {"NO_COLOR": "1"})],
    ids=["80", "50", "dumb", "no-colour"],
)
def test_nothing_is_wider_than_the_terminal_and_the_verdict_is_there(place, columns, environment):
    commands = [["run", "tiny_rates"]]
    if environment.get("TERM") != "dumb":
        commands += [["show", "tiny_rates"], ["compare", *ARMS]]
    if columns == 50:
        commands += [["records", "check"], ["trace", CELL]]
    for words in commands:
        said = on_terminal(place, *words, columns=columns, **environment)
        wide = too_wide(said, columns)
        assert not [line for line in wide if len(line.split()) > 1], words  # a path is not cut
        assert not wide or words[0] == "trace"
        if words[0] == "run":
            assert VERDICT in " ".join(said.split())
            assert "next:    smol" in said


@pytest.mark.parametrize("words", [["list"], ["doctor"], ["campaign", "--dry-run"], ["run", "-h"]])
def test_what_needs_no_run_fits_a_narrow_terminal(place, words):
    said = on_terminal(place, *words, columns=50)
    assert said.strip()
    assert not too_wide(said, 50)


def test_the_next_command_is_about_what_was_asked_for(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "copy")
    place = Workspace(tmp_path / "copy")
    (place.folder / "two words.txt").write_text((place.folder / "topics.jsonl").read_text()[:9000])
    asked = ["--text", "two words.txt", "--set", "train.tokens=256"]
    said = place.smol("run", "tiny_rates", *asked, "--arm", "low", "--seeds", "1", "--json")
    assert json.loads(said)["next"] == shlex.join(
        ["smol", "run", "tiny_rates", "--scale", "smoke", *asked]
    )


def test_a_pipe_reads_like_a_screen(place):
    said = dataclasses.replace(place, columns=80).smol("run", "tiny_rates")
    assert VERDICT in " ".join(said.split())
    assert not too_wide(said, 80)
    assert "\x1b" not in said


@pytest.mark.parametrize("words", [[], ["data"], ["records"], ["bench"], ["data", "prepare"]])
def test_a_group_alone_prints_its_help(place, words):
    said = place.smol(*words)
    assert said.startswith("Usage: smol")
    group: CommandGroup = DOOR
    for word in words:
        below = group.commands[word]
        assert isinstance(below, CommandGroup)
        group = below
    told = " ".join(said.split())
    assert all(f"{name} {one.summary}" in told for name, one in group.commands.items())


def test_the_version_is_the_distributions(place):
    from importlib.metadata import version

    assert place.smol("--version").strip() == f"smol-harness {version('smol-harness')}"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("smol run tin", "tiny_rates"),
        ("smol run tiny_rates --scale pr", "proxy"),
        ("smol compare tiny_rates/l", "tiny_rates/low"),
        ("smol trace tiny_rates.smoke.cpu.loss/low/val", "tiny_rates.smoke.cpu.loss/low/val_loss@"),
    ],
)
def test_the_shell_completes_recipes_scales_arms_and_cells(place, typed, offered):
    environment = {
        **os.environ, "PYTHONPATH": str(place.code), "_SMOL_COMPLETE": "complete_bash",
        "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness"], cwd=place.folder, env=environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.startswith(offered)


def test_what_was_just_run_is_found(place):
    cell = "tiny_rates.smoke.cpu.loss/low/val_loss@tokens"
    traced = json.loads(place.smol("trace", cell, "--json"))
    assert (traced["address"], traced["n"]) == (cell, 2)
    assert "8 records in results/smoke are sound" in place.smol("records", "check")
    assert "up to date" in place.smol("card")
    assert not (place.folder / "results" / "MODEL_CARD.md").exists()
    for names in (ARMS, ARMS[::-1]):
        assert "not comparable: 2 pairs" in place.smol("compare", *names, code=1)
    told = json.loads(place.smol("run", "tiny_rates", "--json"))
    assert told["verdicts"] == [VERDICT]
    assert told["runs"] == []


def test_another_results_folder_is_found_and_its_sections_by_set(place, tmp_path):
    there = make(tmp_path / "other")
    shutil.copytree(place.results, there.folder / "elsewhere")
    for path in (there.folder / "elsewhere" / "records").rglob("*.json"):
        record = json.loads(path.read_text())
        record["question"]["overrides"] = {"train.eval_every": 5}
        path.write_text(json.dumps(record))
    (there.folder / "checkpoints").mkdir()
    (there.folder / "checkpoints" / ".last-results").write_text("elsewhere\n")
    assert "--set train.eval_every=5" in there.smol("compare", *ARMS, code=1)
    same = there.smol("compare", *ARMS, "--set", "train.eval_every=5", code=1)
    assert "exploratory, --set train.eval_every=5" in same
    there.smol("compare", *ARMS, "--set", "train.eval_every=6", code=2)


def test_where_nothing_was_run_each_says_so(tmp_path):
    there = make(tmp_path)
    assert "`smol run` makes it" in there.smol("card", code=2)
    (there.folder / "results").mkdir()
    assert "nothing has been measured" in there.smol("card", code=2)
    assert "there are no records in results" in there.smol("records", "check", code=1)
    assert list((there.folder / "results").iterdir()) == []
    assert "a guess" in there.smol("show", "tiny_rates")


def test_a_new_recipe_is_listed_as_it_is_and_never_written_over(tmp_path):
    there = make(tmp_path)
    path = Path(there.smol("new", "mine").splitlines()[0])
    written = (there.folder / path).read_text()
    assert "mine" in there.smol("list")
    assert "12 runs" in there.smol("show", "mine")
    assert "is there already" in there.smol("new", "mine", code=2)
    assert "small letters" in there.smol("new", "Not-a-name", code=2)
    assert (there.folder / path).read_text() == written


def test_a_file_of_settings_stands_behind_set(place):
    settings = place.folder / "settings.toml"
    settings.write_text("[optim]\nadamw_lr = 0.5\n[train]\neval_every = 5\n")
    shown = place.smol(
        "show", "tiny_rates", "--config", str(settings), "--set", "train.eval_every=6", "--json"
    )
    assert json.loads(shown)["recipe"] == "tiny_rates"
    settings.write_text("[optim]\nadam_lr = 0.5\n")
    assert "did you mean 'optim.adamw_lr'" in place.smol(
        "run", "tiny_rates", "--config", str(settings), code=2
    )
    settings.write_text("[optim")
    assert "is not TOML" in place.smol("run", "tiny_rates", "--config", str(settings), code=2)


def test_an_arm_that_is_none_is_refused(place):
    said = place.smol("run", "tiny_rates", "--arm", "hihg", code=2)
    assert "no arm 'hihg'; did you mean 'high'?" in said
