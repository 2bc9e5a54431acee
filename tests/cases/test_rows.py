"""Values are what their writer meant, as `datasets` and `json` themselves hand them out."""

from __future__ import annotations

import bz2
import csv
import datetime
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.commands.data_pretrain import Options, data_pretrain
from harness.config import Source
from harness.data import hub, tokenizer
from harness.data.batches import read_split
from harness.data.hub import DataTable
from harness.data.left_out import FEWEST, FILE
from harness.data.sources.tables import Files
from harness.data.texts import from_files
from harness.errors import RequestError
from tests.data.conftest import texts

SEQ = 32
ODD = 'She said "no".\n\tA café \\ 20 °'
WHEN = datetime.datetime(2024, 1, 1)


def rows_of(table: DataTable, batch: int = 3) -> list[Any]:
    found = hub.batches(table, 0, rows=batch, progress=lambda line: None)
    return [value for one in found for value in one.values]


def local(place: Path, column: str = "text") -> list[Any]:
    return rows_of(DataTable(str(place), None, "train", column))


def jsonl(path: Path, values: list[Any], column: str = "text") -> Path:
    path.write_text("".join(json.dumps({column: v}) + "\n" for v in values), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "odd",
    [12345, 1.5, True, None, ["a"], {"a": ODD}, "2024-01-01", "12:30", "null", "\ufeff", "\x00"],
)
def test_one_value_changes_no_other(tmp_path: Path, odd: Any) -> None:
    """The same values as `json.loads`, whatever type stands between texts; also where all are
    like it."""
    for values in ([ODD, odd, ODD], [odd] * 3, [odd, ODD]):
        path = jsonl(tmp_path / "a.jsonl", values)
        assert local(path) == [json.loads(line)["text"] for line in path.open()]


def test_the_hubs_files_are_read_through_their_decoding(monkeypatch, tmp_path: Path) -> None:
    """`datasets` keeps a column of mixed types, and one it was told to, as encoded JSON."""
    buffer = tmp_path / "mixed.jsonl"
    jsonl(buffer, [ODD, 7, ODD, {"a": 1}])
    stored = datasets.Dataset.from_dict(
        {"text": [ODD, 7, ODD]}, features=datasets.Features({"text": datasets.Json()})
    )
    parquet = tmp_path / "stored.parquet"
    stored.to_parquet(str(parquet))
    dates = tmp_path / "dates.parquet"
    pq.write_table(pa.table({"text": pa.array([WHEN, None])}), dates)
    for path in (buffer, parquet, dates):
        kind = "json" if path.suffix == ".jsonl" else "parquet"
        theirs = datasets.load_dataset(
            kind, data_files=str(path), split="train", streaming=True, cache_dir=str(tmp_path)
        )
        monkeypatch.setattr(hub, "_load", lambda table, theirs=theirs: theirs)
        expected = [row["text"] for row in theirs]
        assert rows_of(DataTable("of/the-hub", None, "train", "text", "main"), 2) == expected
    assert local(parquet) == stored["text"][:] == [ODD, 7, ODD]
    source = Source(name="s", kind="files", share=1.0, paths=(str(parquet),))
    with pytest.raises(RequestError, match="row 2: 'text' is no text but int"):
        Files(source).read()


def folder(tmp_path: Path, name: str, *tables: dict[str, Any]) -> Path:
    place = tmp_path / name
    place.mkdir()
    for number, columns in enumerate(tables):
        pq.write_table(pa.table(columns), place / f"{number}.parquet")
    return place


def test_only_the_wanted_column_matters(tmp_path: Path) -> None:
    a, b = ["one", "two"], ["three"]
    empty = pa.array([], pa.string())
    cases = {
        "large": ({"text": pa.array(a, pa.large_string())}, {"text": b}),
        "dictionary": ({"text": pa.array(a).dictionary_encode()}, {"text": b}),
        "extra": ({"text": a}, {"id": [1], "text": b}),
        "types": ({"text": a, "score": [1, 2]}, {"text": b, "score": ["high"]}),
        "empty": ({"text": a}, {"text": empty}, {"text": b}),
    }
    for name, tables in cases.items():
        place = folder(tmp_path, name, *tables)
        each = [datasets.Dataset(pq.read_table(p))["text"][:] for p in sorted(place.iterdir())]
        assert sorted(local(place)) == sorted(text for part in each for text in part), name
        plain = Files(Source(name="s", kind="files", share=1.0, paths=(str(place),))).read()
        assert [unit.text for unit in plain] == a + b
    nulls = folder(tmp_path, "nulls", {"text": pa.array([None] * 2, pa.null())}, {"text": a})
    assert sorted(filter(None, local(nulls))) == sorted(a)
    missing = folder(tmp_path, "missing", {"text": a}, {"texts": b})
    with pytest.raises(RequestError, match=r"1\.parquet: no column 'text'.*'texts'"):
        local(missing)
    cut = folder(tmp_path, "cut", {"text": a}, {"text": texts(50, 1)})
    data = (cut / "1.parquet").read_bytes()
    (cut / "1.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(RequestError, match=r"1\.parquet: not a readable parquet file"):
        local(cut)


@pytest.mark.parametrize(
    ("name", "said"), [("a.jsonl.gz", r"not \.jsonl\.gz"), ("a.xlsx", r"not \.xlsx")]
)
def test_an_ending_that_is_not_read_is_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(RequestError, match=said):
        local(tmp_path / name)


def test_endings_in_capitals_are_read(tmp_path: Path) -> None:
    assert local(jsonl(tmp_path / "A.JSONL", ["one"])) == ["one"]


def test_reading_goes_on_at_any_batch(tmp_path: Path) -> None:
    for number in range(3):
        jsonl(tmp_path / f"{number}.jsonl", [f"{number} {i}" for i in range(7)])
    table = DataTable(str(tmp_path), None, "train", "text")
    read = list(hub.batches(table, 1, rows=3, progress=lambda line: None))
    for number, batch in enumerate(read):
        again = list(hub.batches(table, 1, rows=3, progress=lambda s: None, start=batch.before))
        assert again == read[number:]


def prepare(tmp_path: Path, values: list[Any], name: str) -> Path:
    out = tmp_path / name
    fitted = tmp_path / "tokenizer"
    if not fitted.is_dir():
        fitted.mkdir()
        tokenizer.save(tokenizer.fit(texts(50, seed=1), 400), fitted, SEQ)
    data_pretrain(
        Options(
            out, 3000, datasets=[str(jsonl(tmp_path / "one.jsonl", values))], seq_len=SEQ,
            tokenizer=str(fitted), val_fraction=0.2, val_tokens=500, processes=1, block_rows=4,
        )
    )  # fmt: skip
    return out


def test_what_is_no_text_is_counted_and_named(tmp_path: Path) -> None:
    good = texts(100, seed=2)
    clean = prepare(tmp_path, good, "clean")
    odd = prepare(tmp_path, [*good[:3], 12345, "half \ud800", *good[3:]], "odd")
    rows = [read_split(place, "train").chunks("input_ids")[0] for place in (clean, odd)]
    assert (rows[0] == rows[1]).all()
    assert not (clean / FILE).exists()
    assert [json.loads(line) for line in (odd / FILE).open()] == [
        {"source": "one.jsonl", "place": "one.jsonl line 4", "why": "no text but int"},
        {"source": "one.jsonl", "place": "one.jsonl line 5",
         "why": "text with half of a surrogate pair"},
    ]  # fmt: skip
    said = json.loads((odd / "preparation.json").read_text())["sources"][0]
    assert said["rows_left_out"] == 2
    with pytest.raises(RequestError, match=f"{FEWEST + 1} of the first 21 rows .* but int"):
        prepare(tmp_path, [*range(30), *good], "numbers")
    with pytest.raises(RequestError, match=r"fewer than one sequence of 32; .* 3 no text but int"):
        prepare(tmp_path, [1, 2, 3], "none")


def test_a_line_that_is_no_row_is_left_out_and_listed(tmp_path: Path) -> None:
    """A writer that was killed leaves half a line; others glue in lists, or another encoding."""
    good = texts(100, seed=2)
    clean = prepare(tmp_path, good, "clean")
    path = tmp_path / "one.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    bad = [b'{"text": "cut off\n', b'["text"]\n', '{"text": "é"}\n'.encode("latin-1")]
    path.write_bytes(b"".join([*lines[:3], *bad, *lines[3:], b'{"te']))
    out = tmp_path / "odd"
    data_pretrain(
        Options(
            out, 3000, datasets=[str(path)], seq_len=SEQ, tokenizer=str(tmp_path / "tokenizer"),
            val_fraction=0.2, val_tokens=500, processes=1, block_rows=4,
        )
    )  # fmt: skip
    rows = [read_split(place, "train").chunks("input_ids")[0] for place in (clean, out)]
    assert (rows[0] == rows[1]).all()
    found = [json.loads(line) for line in (out / FILE).open()]
    assert [(one["place"], one["why"]) for one in found] == [
        ("one.jsonl line 4", "not JSON"), ("one.jsonl line 5", "not an object"),
        ("one.jsonl line 6", "not UTF-8"),
    ]  # fmt: skip


def test_json_over_many_lines_and_csv_are_read_as_their_libraries_read_them(
    tmp_path: Path,
) -> None:
    """A list, object after object, one line a row; fields of CSV with quotes, commas and line
    breaks, and what looks like numbers or nothing stays text."""
    import pandas

    values = ["a, b", 'she said "no"\r\nand left', "007", "NA", "3.0", "é\n\nö", "[1, 2]", "true"]
    plain = [{"text": value, "id": i} for i, value in enumerate(values)]
    written = {
        "list.json": json.dumps(plain, indent=2),
        "one.json": json.dumps(plain),
        "lines.json": "\n".join(map(json.dumps, plain)),
        "pretty.jsonl": "\ufeff" + "\n".join(json.dumps(row, indent=2) for row in plain),
        "list.jsonl": json.dumps(plain, indent=1, ensure_ascii=False) + "\n",
    }
    for name, text in written.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert local(tmp_path / name) == values, name
    path = tmp_path / "a.csv"
    pandas.DataFrame(plain).to_csv(path, index=False, encoding="utf-8-sig")
    theirs = pandas.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    assert local(path) == theirs["text"].tolist() == values
    path.write_text("text,id\nfine,1\nshort\nlong,2,3\nlast,4\n")
    assert [value for value in local(path) if isinstance(value, str)] == ["fine", "last"]
    path.write_text('text,id\n"open,1\n')
    with pytest.raises(RequestError, match=r"a\.csv: line \d: not CSV"):
        local(path)
    (tmp_path / "broken.json").write_text('[\n{"text": "a"},\n')
    with pytest.raises(RequestError, match=r"broken\.json: line 1: not JSON"):
        local(tmp_path / "broken.json")
    place = tmp_path / "beside"
    place.mkdir()
    (place / "dataset_info.json").write_text("{}")
    jsonl(place / "a.jsonl", ["one"])
    assert local(place) == ["one"]


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    import datasets

    for magic in (b"PAR1", b"PARE"):
        (tmp_path / "a.parquet").write_bytes(magic + b"xxxx" + magic)
        with pytest.raises(RequestError, match="not a readable parquet file"):
            hub.columns(DataTable(str(tmp_path / "a.parquet"), None, "train", "text"), print)
    datasets.Dataset.from_list([{"text": "x"}]).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(RequestError, match=r"`datasets` saved \(state.json\)"):
        local(tmp_path / "saved")


LINES = '{"text": "%s"}\n'
CARD = """---
configs:
- config_name: en
  data_files:
  - split: train
    path: en/*.jsonl
- config_name: de
  data_files: de/*.jsonl
---
"""
FOLDERS: dict[str, tuple[list[str], str | None]] = {
    "files": (["train.jsonl", "test.jsonl", "validation.jsonl"], None),
    "shards": (["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl",
                "data/test-00000-of-00001.jsonl"], None),
    "folders": (["train/a.jsonl", "dev/a.jsonl"], None),
    "words that only look like it": (["contest.jsonl", "latest.jsonl", "values.jsonl"], None),
    "no names": (["a.jsonl", "b/c.jsonl"], None),
    "a card": (["en/a.jsonl", "de/b.jsonl"], "en"),
    "a card without a choice": (["en/a.jsonl", "de/b.jsonl"], None),
    "another subset": (["en/a.jsonl", "de/b.jsonl"], "fr"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_of_a_folder_with_splits_the_wanted_one_is_read(
    tmp_path: Path, name: str, split: str
) -> None:
    """As `datasets` reads the same folder: a clone of a data set holds its test split, too."""
    files, subset = FOLDERS[name]
    place = tmp_path / "own"
    for file in files:
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_text(LINES % file)
    if "en/a.jsonl" in files:
        (place / "README.md").write_text(CARD)
    try:
        theirs = datasets.load_dataset(
            str(place), subset, split=split, cache_dir=str(tmp_path / "cache")
        )["text"][:]
    except ValueError:
        with pytest.raises(RequestError, match=r"no split 'test'|Config.*[Aa]vailable"):
            rows_of(DataTable(str(place), subset, split, "text"))
        return
    assert sorted(rows_of(DataTable(str(place), subset, split, "text"))) == sorted(theirs)
    if split == "train" and subset is None:
        source = Source(name="s", kind="files", share=1.0, paths=(str(place),))
        assert sorted(unit.text for unit in Files(source).read()) == sorted(theirs)


def test_where_no_file_is_of_the_training_split_all_are_read(tmp_path: Path) -> None:
    for name in ("chapter.txt", "test plan.txt"):
        (tmp_path / name).write_text(name)
    assert sorted(local(tmp_path)) == ["chapter.txt", "test plan.txt"]
    both = from_files([tmp_path]).documents
    (tmp_path / "train.txt").write_text("train")
    assert local(tmp_path) == ["train"]
    assert len(from_files([tmp_path]).documents) == 3 > len(both)  # to be scored on: all of them
    with pytest.raises(RequestError, match="is one file: it has no split 'dev'"):
        rows_of(DataTable(str(tmp_path / "train.txt"), None, "dev", "text"))


@pytest.mark.parametrize("border", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig"])
def test_fields_may_stand_between_other_signs(tmp_path: Path, border: str, mark: str) -> None:
    texts_ = [ODD, "a, b; c | d\te", " é "]
    path = tmp_path / ("a.tsv" if border == "\t" else "a.csv")
    with path.open("w", encoding=mark, newline="") as file:
        csv.writer(file, delimiter=border).writerows([["id", "text"], *enumerate(texts_)])
    assert local(path) == texts_


BEGINNINGS = {
    "gzip": gzip.compress(b"x"), "bzip2": bz2.compress(b"x"), "xz": lzma.compress(b"x"),
    "zstandard": b"\x28\xb5\x2f\xfd\x00", "zip archive": b"PK\x03\x04x", "PDF": b"%PDF-1.7",
    "UTF-16": '{"text": "a"}\n'.encode("utf-16"), "Git LFS": b"version https://git-lfs.github",
}  # fmt: skip


@pytest.mark.parametrize("kind", BEGINNINGS)
@pytest.mark.parametrize("ending", ["txt", "jsonl", "csv", "json"])
def test_a_file_of_another_kind_than_its_ending_is_named(
    tmp_path: Path, kind: str, ending: str
) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(BEGINNINGS[kind])
    with pytest.raises(RequestError, match=rf"a\.{ending} is .*{kind}"):
        local(path)


def test_a_value_that_python_has_no_form_for_is_left_out(tmp_path: Path) -> None:
    """Bytes in a column of texts that are no UTF-8, as some writers let them through."""
    cut = pa.Array.from_buffers(pa.string(), 2, pa.array([b"good", b"\xff\xfe"]).buffers())
    late = pa.array([2**60], pa.timestamp("us"))
    for number, (values, kept, why) in enumerate(
        ((cut, ["good"], "not UTF-8"), (late, [], "that is no value"))
    ):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"text": values}), path)
        *found, bad = local(path)
        assert found == kept
        assert why in bad.why
