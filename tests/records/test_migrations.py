"""Records of other schema versions: older ones are brought up to date, newer ones refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RequestError
from harness.records import migrations, store
from tests.report.factory import campaign

ONE = campaign()[0]


def older(content: dict[str, Any]) -> dict[str, Any]:
    """The record as an imagined version 0 had it: one count of parameters, and no attempts."""
    del content["attempt"]
    content["parameters"] = [content.pop("total_parameters"), content.pop("active_parameters")]
    return content | {"schema_version": 0}


def from_zero(content: dict[str, Any]) -> dict[str, Any]:
    total, active = content["parameters"]
    rest = {name: value for name, value in content.items() if name != "parameters"}
    return rest | {"attempt": 1, "total_parameters": total, "active_parameters": active}


def test_an_older_record_is_read_as_todays_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.write(tmp_path, ONE)
    path.write_text(json.dumps(older(json.loads(path.read_text()))))
    before = path.read_bytes()
    with pytest.raises(RequestError, match=r"schema_version is 0, and this smol reads 1$"):
        store.read_all(tmp_path)
    monkeypatch.setitem(migrations.MIGRATIONS, 0, from_zero)
    assert store.read_all(tmp_path) == [ONE]
    assert path.read_bytes() == before


def test_several_steps_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (-1, 0):
        step = {"trail": version}
        monkeypatch.setitem(
            migrations.MIGRATIONS,
            version,
            lambda content, step=step: content | {"trail": [*content["trail"], step["trail"]]},
        )
    current = migrations.to_current({"schema_version": -1, "trail": []})
    assert current == {"schema_version": 1, "trail": [-1, 0]}


@pytest.mark.parametrize("version", [None, "1", 1.5, [1]])
def test_what_is_no_version_is_named(tmp_path: Path, version: object) -> None:
    path = store.write(tmp_path, ONE)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": version}))
    with pytest.raises(RequestError, match=r"schema_version is .*, and this smol reads 1$"):
        store.read_all(tmp_path)
