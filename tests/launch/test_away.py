"""A run on another machine, without one: what travels, what is refused, who is heard."""

from __future__ import annotations

import hashlib
import importlib.util
import json

import pytest

from harness.errors import RequestError
from harness.launch import away, launchers
from harness.launch.away import Keeper, Superseded
from harness.records.schema import Record
from tests.launch.test_local import start_as
from tests.launch.test_timed import job

CHILD = """
import json, sys, time
from pathlib import Path
file = Path(sys.argv[1])
job = json.loads(file.read_text())
model = file.with_name("model.pt")
text = model.read_bytes() + b"+1"
(Path(job["data_folder"]) / "manifest.json").read_bytes()
with open(file.with_name("metrics.jsonl"), "a") as log:
    log.write(json.dumps({"event": "start", "token": job["token"]}) + "\\n")
    log.write(json.dumps({"event": "update", "update": 1}) + "\\n")
    log.write('{"event": "torn')
new = file.with_name("new")
new.write_bytes(text)
new.replace(model)
file.with_name("final_model.pt").write_bytes(b"x" * 50)
print("its last words")
"""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A job of the launcher's machine, with a checkpoint and data there."""
    monkeypatch.setenv("SMOL_CACHE", str(tmp_path / "cache"))
    found = job(tmp_path / "there", None)
    found.files.folder.mkdir(parents=True)
    found.files.checkpoint.write_bytes(b"state")
    data = tmp_path / "there" / "data"
    (data / "dataset").mkdir(parents=True)
    (data / "manifest.json").write_text("{}")
    (data / "dataset" / "part.arrow").write_bytes(bytes(range(256)))
    return found


def test_a_run_takes_its_checkpoint_along_and_sends_back_what_it_leaves(
    asked, tmp_path, monkeypatch
):
    start_as(CHILD, monkeypatch)
    monkeypatch.setattr(away, "PIECE_BYTES", 7)  # several pieces
    keeper, calls = Keeper(), list[str]()

    def ask(name, *words):
        calls.append(name)
        return getattr(keeper, name)(*words)

    for state in (b"state+1", b"state+1+1"):
        record = Record.model_validate_json(away.work(asked.model_dump_json(), ask))
        assert record.status == "failed"
        assert "its last words" in record.error
        assert asked.files.checkpoint.read_bytes() == state
    assert asked.files.final.read_bytes() == b"x" * 50
    lines = asked.files.metrics.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["start", "update"] * 2
    # Data came once, and nothing but the keeper wrote to the launcher's folder.
    (place,) = (path for path in (tmp_path / "cache" / "away").iterdir() if path.is_dir())
    assert (place / "dataset" / "part.arrow").read_bytes() == bytes(range(256))
    assert not (tmp_path / "there" / "results").exists()
    assert not list(asked.files.folder.glob(".writing-*"))


def test_who_was_thought_dead_is_not_heard_any_more(asked):
    keeper, target = Keeper(), str(asked.files.checkpoint)
    whole = hashlib.sha256(b"new").hexdigest()
    keeper.begin("k", "first")
    assert keeper.hear("k", "first", str(asked.files.metrics), b"") is False
    keeper.begin("k", "second")
    with pytest.raises(Superseded):
        keeper.write("k", "first", target, 0, b"new", whole)
    with pytest.raises(Superseded):
        keeper.hear("k", "first", str(asked.files.metrics), b"{}\n")
    with pytest.raises(OSError, match="did not arrive"):
        keeper.write("k", "second", target, 0, b"nex", whole)
    assert asked.files.checkpoint.read_bytes() == b"state"
    keeper.stop()
    assert keeper.hear("k", "second", str(asked.files.metrics), b"") is True
    keeper.write("k", "second", target, 0, b"new", whole)
    assert asked.files.checkpoint.read_bytes() == b"new"


def test_without_ray_one_line_says_how_to_get_it(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "ray" else real(name)
    )
    with pytest.raises(RequestError) as refused:
        launchers.find("ray")
    assert str(refused.value).startswith("--launcher ray: Ray is not installed: pip install")
    with pytest.raises(RequestError, match="--address goes with --launcher ray, not with local"):
        launchers.find("local", 1, "10.0.0.1:6379")
