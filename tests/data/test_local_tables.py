"""Local files as a source of the mix: what cannot be read is one line at once, without retries."""

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.commands import data_pretrain
from harness.data import hub, rows, tokenizer
from harness.data.hub import DataTable
from harness.errors import RequestError
from tests.data.conftest import texts, write_jsonl

SEQ = 32


def read(place: Path) -> list[str]:
    table = DataTable(str(place), None, "train", "text")
    return [t for b in hub.batches(table, 0, rows=64, progress=refuse) for t in b.values]


def refuse(line: str) -> None:
    raise AssertionError(f"a second try: {line}")


def no_rows(path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{bad\n{"text": "a"}\n', "a.jsonl: line 1: not JSON"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("a.txt", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("a.txt", b"\xfc\xfa", "a.txt: not UTF-8"),
        ("a.parquet", b"PAR1 and no more", "a.parquet: not a readable parquet"),
        ("a.jsonl", b"", "is empty"),
        ("a.parquet", None, "is empty"),
    ],
)
def test_what_cannot_be_read_is_one_line_at_once(tmp_path, capfd, name, content, words):
    place = tmp_path / "texts"
    place.mkdir()
    if content is None:
        no_rows(place / name)
    else:
        (place / name).write_bytes(content)
    started = time.monotonic()
    with pytest.raises(RequestError, match=words) as caught:
        read(place)
    assert time.monotonic() - started < 60  # eight tries are a hundred seconds
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # nor does the library say it


def test_a_link_to_nothing_and_a_column_twice_are_named(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ["one"])
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "gone.jsonl")
    with pytest.raises(RequestError, match=r"b\.jsonl is a link to a file that is not there"):
        read(tmp_path)
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(RequestError, match="more than one column 'text'"):
        read(tmp_path / "c.parquet")


def test_an_empty_file_beside_others_holds_nothing(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ["one", "two"])
    (tmp_path / "b.jsonl").write_bytes(b"")
    assert read(tmp_path) == ["one", "two"]


def test_a_place_that_a_folder_cannot_take_is_refused_before_the_work(tmp_path):
    fitted = tmp_path / "tokenizer"
    fitted.mkdir()
    tokenizer.save(tokenizer.fit(texts(50, seed=1), 400), fitted, SEQ)
    source = write_jsonl(tmp_path / "one.jsonl", texts(50, seed=1))
    out = tmp_path / "out"
    out.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RequestError, match="exists already"):
        data_pretrain.data_pretrain(
            data_pretrain.Options(out, 500, datasets=[str(source)], tokenizer=str(fitted))
        )
    assert sorted(tmp_path.rglob("*")) == before


def test_a_parquet_file_of_gigabytes_in_kilobytes_is_read_a_little_at_a_time(tmp_path):
    same = pa.array([0] * 200_000, pa.int32())
    long = pa.DictionaryArray.from_arrays(same, pa.array(["x" * 999]))
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"text": long}), path, row_group_size=200_000, store_schema=False)
    assert path.stat().st_size < 200_000
    pool = pa.default_memory_pool()
    before = pool.max_memory()
    assert sum(len(row.value) for row in rows.read(path, "text")) == 200_000 * 999
    assert pool.max_memory() - before < 50 * 2**20
