"""Values are what their writer meant, as `datasets` and `json` themselves hand them out."""

from __future__ import annotations

import datetime
import json
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
    ("name", "said"), [("a.jsonl.gz", r"not \.jsonl\.gz"), ("a.tsv", r"not \.tsv")]
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
