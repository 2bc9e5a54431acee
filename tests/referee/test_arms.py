"""Arms: what enters a digest and what does not, revisions, names, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.errors import RequestError
from harness.referee import arms
from harness.referee.arms import ForeignArm
from tests.referee.workshop import BETTER, GOOD, arm, session


def take(folder: Path, *given: str, shared: tuple[str, ...] = ()) -> list[ForeignArm]:
    return arms.take(given, folder / "store", shared=shared, ours=())


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True,
                   capture_output=True)  # fmt: skip


def test_a_digest_is_of_contents_and_of_nothing_else(tmp_path: Path):
    first = arm(tmp_path, "one", GOOD)
    second = arm(tmp_path, "two", GOOD)
    (tmp_path / "two" / "__pycache__").mkdir()
    (tmp_path / "two" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (tmp_path / "two" / ".env").write_text("KEY=secret")
    one, two = take(tmp_path, first, second)
    assert two.files.keys() == {"train.py", ".env"}
    assert ".env" not in two.texts  # its digest is kept, its text is nobody's business
    (tmp_path / "two" / ".env").unlink()
    one, two = take(tmp_path, first, second)
    assert one.digest == two.digest
    (tmp_path / "two" / "train.py").write_text(GOOD + "#\n")
    assert take(tmp_path, first, second)[1].digest != one.digest
    assert (one.copy / "train.py").read_text() == GOOD  # the copy is of its time


def test_a_revision_is_judged_against_the_folder(tmp_path: Path):
    place = arm(tmp_path, "repo/sub", GOOD)
    git(tmp_path / "repo", "init", "-q")
    git(tmp_path / "repo", "add", ".")
    git(tmp_path / "repo", "commit", "-qm", "first")
    arm(tmp_path, "repo/sub", BETTER)
    asked = session(tmp_path, f"{place}@HEAD", place)
    assert [one.name for one in asked.arms] == ["sub@HEAD", "sub"]
    assert asked.arms[0].origin.startswith("commit ")
    assert asked.arms[0].files.keys() == {"train.py"}
    asked.spend()
    assert asked.outcome().judgements["sub"].decision == "keep"
    with pytest.raises(RequestError, match=r"no git revision .nowhere. in "):
        take(tmp_path, f"{place}@nowhere")


def test_what_is_shared_is_linked_and_enters_no_digest(tmp_path: Path):
    reads = "print(open('data/x.txt').read())\n"
    base = arm(tmp_path, "base", GOOD + reads)
    (tmp_path / "base" / "data").mkdir()
    (tmp_path / "base" / "data" / "x.txt").write_text("hello")
    other = arm(tmp_path, "other", BETTER + reads)
    asked = session(tmp_path, base, other, shared=("data",))
    assert asked.arms[0].files.keys() == {"train.py"}
    asked.spend()
    assert asked.outcome().judgements["other"].decision == "keep"


def test_names(tmp_path: Path):
    a, b = arm(tmp_path, "a/nano", GOOD), arm(tmp_path, "b/nano", BETTER)
    assert [one.name for one in take(tmp_path, a, b)] == ["a-nano", "b-nano"]
    assert [one.name for one in take(tmp_path, f"base={a}", f"new={b}")] == ["base", "new"]
    with pytest.raises(RequestError, match="two arms are called"):
        take(tmp_path, f"x={a}", f"x={b}")
    with pytest.raises(RequestError, match="an arm is its folder"):
        take(tmp_path, f"{a}/train.py")
    with pytest.raises(RequestError, match="did you mean 'nano'"):
        take(tmp_path, str(tmp_path / "a" / "nanoo"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="holds no files"):
        take(tmp_path, str(tmp_path / "empty"))


def test_a_folder_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arms, "LARGEST_BYTES", 1000)
    place = arm(tmp_path, "big", GOOD)
    (tmp_path / "big" / "data.bin").write_bytes(b"0" * 2000)
    with pytest.raises(RequestError, match=r"data.bin.*--share"):
        take(tmp_path, place)
    assert not list((tmp_path / "store").iterdir())
