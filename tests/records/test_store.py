"""The store: written once, read whole, and every foreign or broken file named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RequestError
from harness.evidence import query
from harness.records import store
from harness.records.schema import Record
from tests.report.factory import broken, campaign

ONE = campaign()[0]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    records = campaign()
    paths = [store.write(tmp_path, record) for record in records]
    assert paths[0] == tmp_path / "records/dense_vs_moe/dense" / f"{ONE.key}.1.json"
    back = {store.path_of(record): record for record in store.read_all(tmp_path)}
    assert back == {store.path_of(record): record for record in records}
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".")]


def test_json_has_a_line_a_key_and_a_line_a_point() -> None:
    text = store.to_json(ONE)
    assert json.loads(text) == ONE.model_dump(mode="json")
    changed = ONE.model_copy(update={"seed": 7})
    before, after = text.splitlines(), store.to_json(changed).splitlines()
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    assert sum('"bits_per_byte"' in line for line in before) == len(ONE.validation) + len(ONE.ends)


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    path = store.write(tmp_path, ONE)
    before = path.read_bytes()
    with pytest.raises(RequestError, match="never overwritten"):
        store.write(tmp_path, ONE)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": "../../x"}, {"recipe": "/etc/x"}, {"arm": ".hidden"}, {"arm": "a\nb"},
        {"stage": "stem/../.."}, {"ends": ({**ONE.validation[0].model_dump(), "horizon": "a b"},)},
        {"data": {**ONE.data.model_dump(), "mix": {"<script>": 1.0}}}, {"scale": "x" * 101},
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_no_records(tmp_path: Path, change: dict[str, Any]) -> None:
    content = json.loads(store.to_json(ONE)) | change
    relative = store.relative_path(content["recipe"], content["arm"], ONE.key, 1)
    place = tmp_path / "in" / "a" / "folder" / "records" / "dense_vs_moe" / "dense"
    place.mkdir(parents=True)
    (place / Path(relative).name).write_text(json.dumps(content))
    with pytest.raises(RequestError, match=r"not a valid record: .*should match pattern"):
        store.read_all(tmp_path / "in" / "a" / "folder")


def test_a_name_that_leads_elsewhere_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(store.RefusedRecord, match="should match pattern"):
        store.write(tmp_path / "a" / "b", ONE.model_copy(update={"recipe": "../../x"}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens_done": ONE.tokens_done + 1}, "not plausible: tokens_done"),
        ({"initial_loss": float("nan")}, "'initial_loss' holds NaN"),
        ({"status": "fine"}, "status: "),
        ({"config": ONE.config | {"optim": 3}}, "config.optim is no section"),
        (
            {"config": ONE.config | {"train": ONE.config["train"] | {"threads": "two"}}},
            "config.train.threads: .* not 'two'",
        ),
        (  # what the gates would calculate with
            {"config": ONE.config | {"batch": ONE.config["batch"] | {"micro_batch": None}}},
            r"config.batch.micro_batch: .* not None",
        ),
    ],
)
def test_an_implausible_record_leaves_nothing(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        store.write(tmp_path, ONE.model_copy(update=change))
    assert list(tmp_path.iterdir()) == []


def _spoil_json(path: Path) -> None:
    path.write_text(path.read_text()[:-40])


def _spoil_version(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 9}))


def _spoil_section(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"config": content["config"] | {"batch": [2, 4]}}))


def _spoil_missing(path: Path) -> None:
    content = json.loads(path.read_text())
    del content["config"]["model"], content["seed"]
    path.write_text(json.dumps(content))


def _spoil_size(path: Path) -> None:
    with path.open("ab") as file:  # as a sparse file: nothing is written
        file.truncate(10**12)


def _spoil_type(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": "zero"}))


def _spoil_field(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "x"}))


def _spoil_place(path: Path) -> None:
    path.rename(path.with_name(path.name.replace(".1.", ".2.")))


def _spoil_depth(path: Path) -> None:
    path.write_text("[" * 100_000 + "]" * 100_000)


def _spoil_kind(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _spoil_bytes(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_spoil_json, "not JSON"),
        (_spoil_bytes, "not JSON"),
        (_spoil_depth, "not JSON"),
        (_spoil_kind, "no regular file"),
        (_spoil_version, "schema version 9, newer than 1, the newest that this smol reads"),
        (_spoil_section, "config.batch is no section"),
        (_spoil_missing, "seed: field required, not .{200}$"),
        (_spoil_size, "it has 1,000,000.0 MB, and such a file at most 4"),
        (_spoil_type, "seed: .* not 'zero'"),
        (_spoil_field, "host: "),
        (_spoil_place, "says of itself that it is records/dense_vs_moe/dense/.*1.json"),
    ],
)
def test_a_spoilt_record_is_named(tmp_path: Path, spoil: object, message: str) -> None:
    path = store.write(tmp_path, ONE)
    spoil(path)  # type: ignore[operator]
    with pytest.raises(RequestError, match=f"^records/dense_vs_moe/dense/.*{message}") as caught:
        store.read_all(tmp_path)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["notes.txt", "dense_vs_moe/a.1.json", "a/b/c/d.1.json"])
def test_a_foreign_file_is_named(tmp_path: Path, name: str) -> None:
    store.write(tmp_path, ONE)
    foreign = tmp_path / "records" / name
    foreign.parent.mkdir(parents=True, exist_ok=True)
    foreign.write_text("{}")
    with pytest.raises(RequestError, match=f"^records/{name} is not a record"):
        store.read_all(tmp_path)


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "results"
    place.write_text("mine")
    for results in (place, place / "deeper"):
        with pytest.raises(RequestError, match="is a file"):
            store.check_writable(results)
        with pytest.raises(RequestError, match="is a file"):
            store.write(results, ONE)
    with pytest.raises(RequestError, match="is a file"):
        store.read_all(place)
    assert place.read_text() == "mine"
    assert store.read_all(tmp_path / "nothing") == []
    store.check_writable(tmp_path / "nothing" / "yet")
    assert not (tmp_path / "nothing").exists()


def test_attempts_count_up_and_the_newest_that_ended_well_counts(tmp_path: Path) -> None:
    assert store.next_attempt(tmp_path, ONE.recipe, ONE.arm, ONE.key) == 1
    first = broken(ONE, "killed", "SIGKILL")
    store.write(tmp_path, first)
    assert store.next_attempt(tmp_path, ONE.recipe, ONE.arm, ONE.key) == 2
    second: Record = ONE.model_copy(update={"attempt": 2})
    tenth: Record = ONE.model_copy(update={"attempt": 10})
    store.write(tmp_path, second)
    store.write(tmp_path, tenth)
    assert store.next_attempt(tmp_path, ONE.recipe, ONE.arm, ONE.key) == 11
    assert query.attempts(store.read_all(tmp_path)) == [tenth]


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by its mode, which the tests' user may be above."""
    store.write(tmp_path, ONE)
    scandir = os.scandir

    def refuse(place: str) -> object:
        if str(place).endswith("/dense"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(RequestError, match="dense cannot be read: Permission denied"):
        store.read_all(tmp_path)


def test_a_name_that_stands_twice_is_found(tmp_path: Path) -> None:
    """A reader that takes the first would see another status than one that takes the last."""
    path = store.write(tmp_path, ONE)
    assert store.repeated_keys(path) == []
    path.write_text(path.read_text().replace(' "status":', ' "status": "failed",\n "status":', 1))
    assert store.read_all(tmp_path) == [ONE]
    assert store.repeated_keys(path) == ["status"]
