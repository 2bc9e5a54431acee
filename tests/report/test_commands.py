"""The commands that read results: a folder that is not there, files that changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands import card, records_check, records_clean, trace
from harness.errors import CheckFailed, RequestError
from harness.records import store
from harness.report import card as cards
from tests.report.factory import campaign


@pytest.mark.parametrize(
    "command",
    [
        lambda folder: card.card(card.Options(results=folder)),
        lambda folder: card.card(card.Options(check=True, results=folder)),
        lambda folder: trace.trace(trace.Options("a/b/c", results=folder)),
        lambda folder: records_check.records_check(records_check.Options(folder)),
        lambda folder: records_clean.records_clean(records_clean.Options(folder)),
    ],
)
def test_a_folder_that_is_not_there_is_named_and_not_made(
    tmp_path: Path, command: Callable[[Path], None]
) -> None:
    (tmp_path / "results/records").mkdir(parents=True)
    with pytest.raises(RequestError, match=r"no results folder .*resluts'; did you mean 'results'"):
        command(tmp_path / "resluts")
    assert not (tmp_path / "resluts").exists()


def test_records_check_sees_a_field_that_no_view_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [store.write(tmp_path, record) for record in campaign() if record.arm == "dense"]
    cards.regenerate(tmp_path)
    records_check.records_check(records_check.Options(tmp_path))
    assert "sound, and the files that its card was made from" in capsys.readouterr().out
    paths[0].write_text(paths[0].read_text().replace('"load_before": 0.1', '"load_before": 0.2'))
    with pytest.raises(CheckFailed):
        records_check.records_check(records_check.Options(tmp_path))
    name = paths[0].relative_to(tmp_path).as_posix()
    assert f"{name} has changed since the card was written" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ('"threads":1', '"threads":3', "the key is not that of its configuration"),
        (' "status":', ' "status": "failed",\n "status":', "its file says 'status' twice"),
    ],
)
def test_records_check_names_what_reads_well_and_is_not_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, fault: str
) -> None:
    paths = [store.write(tmp_path, record) for record in campaign() if record.arm == "dense"]
    text = paths[0].read_text()
    assert before in text
    paths[0].write_text(text.replace(before, after, 1))
    with pytest.raises(CheckFailed, match="1 broken"):
        records_check.records_check(records_check.Options(tmp_path))
    assert fault in " ".join(capsys.readouterr().out.split())
