"""A kind of source in one file of a user's, from its text to the card."""

import pytest

from harness.config import Source
from harness.data import sources
from tests.e2e.conftest import RECIPE, Workspace

SOURCE = '''
"""The language reference's topics, those that are about a statement last."""

import pydoc_data.topics
from pathlib import Path

from harness.data.sources import Kind


class Topics(Kind):
    """Each topic is a document; a list of them can stand in a file beside."""

    def fingerprint(self):
        return Path("wanted.txt").read_text()

    def read(self):
        wanted = Path("wanted.txt").read_text().split()
        for name, text in sorted(pydoc_data.topics.topics.items()):
            if name[0] in wanted:
                yield text
'''
QUICK = ["run", "tiny_rates", "--seeds", "1", "--set", "train.tokens=768"]


def test_one_file_is_a_source(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(SOURCE.splitlines()) < 60
    folder = workspace.folder
    recipe = RECIPE.replace('kind="files"', 'kind="topics.py"').replace('("topics.jsonl",)', "()")
    (folder / "recipes" / "tiny.py").write_text(recipe)
    assert "no file 'topics.py' in ./recipes or ./" in workspace.smol(*QUICK, "--dry-run", code=2)
    assert "no file or folder 'x.txt'" in workspace.smol(*QUICK, "--text", "x.txt", code=2)
    (folder / "recipes" / "topics.py").write_text(SOURCE)
    said = workspace.smol(*QUICK, code=2)
    assert "source 'topics': topics.py:14: FileNotFoundError: " in said
    (folder / "wanted.txt").write_text("a b c d e f g i o s t u")
    workspace.smol(*QUICK)
    records = [record for record in workspace.records() if record.ends]
    assert {record.status for record in records} == {"ok"}
    (source,) = {record.data.mix["topics"] for record in records if record.data}
    assert source == 1.0
    assert "topics" in (workspace.results / "MODEL_CARD.md").read_text()
    monkeypatch.chdir(folder)
    before = _fingerprint()
    (folder / "wanted.txt").write_text("a b c d e f")
    other = _fingerprint()
    (folder / "recipes" / "topics.py").write_text(SOURCE.replace("name[0]", "name[-1]"))
    assert len({before, other, _fingerprint()}) == 3  # of what it reads, and of how


def _fingerprint() -> str:
    return sources.fingerprint(sources.make(Source(name="topics", kind="topics.py", share=1.0)))


def test_each_kind_of_ours_is_found_by_its_name() -> None:
    assert {"files", "hub", "stdlib-prose", "wheel-talk"} <= set(sources.known())
    for name in sources.known():
        assert sources.find(name).name == name
