import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.config import Source
from harness.data import hub, rows
from harness.data.sources.tables import Files
from harness.errors import RequestError


def source(*paths: Path | str, column: str = "text") -> Source:
    return Source(
        name="mine", kind="files", share=1.0, paths=tuple(map(str, paths)), text_column=column
    )


def test_txt_jsonl_parquet_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffwhole file".encode())
    (tmp_path / "b.jsonl").write_text('{"body": "row one"}\n\n{"body": "  "}\n{"body": "ü"}\n')
    (tmp_path / "c").mkdir()
    pq.write_table(pa.table({"body": ["in parquet", None]}), tmp_path / "c" / "d.parquet")
    (tmp_path / "ignored.md").write_text("no")
    read = Files(source(tmp_path, column="body")).read()
    assert [unit.text for unit in read] == ["whole file", "row one", "ü", "in parquet"]
    assert len({unit.name for unit in read}) == 4


def test_equal_documents_are_one_unit_and_moving_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("same")
    (tmp_path / "b.jsonl").write_text('{"text": "same"}\n')
    one, two = Files(source(tmp_path)).read()
    assert one.name == two.name
    before = Files(source(tmp_path / "a.txt")).fingerprint()
    (tmp_path / "a.txt").rename(tmp_path / "z.txt")
    assert Files(source(tmp_path / "z.txt")).fingerprint() == before
    (tmp_path / "z.txt").write_text("samf")
    assert Files(source(tmp_path / "z.txt")).fingerprint() != before


def _broken(folder: Path, name: str) -> Source:
    path = folder / name
    match name:
        case "none":
            return source()
        case "absent.txt":
            return source(path)
        case "table.xls":
            path.write_text("a,b")
        case "empty":
            path.mkdir()
        case "latin.txt":
            path.write_bytes(b"caf\xe9")
        case "broken.jsonl":
            path.write_text('{"text": "fine"}\n{"text": \n')
        case "list.jsonl":
            path.write_text("[1]\n")
        case "column.jsonl":
            path.write_text('{"text": "fine"}\n{"texts": "other"}\n')
        case "number.jsonl":
            path.write_text('{"text": 3}\n')
        case "surrogate.jsonl":
            path.write_text(json.dumps({"text": "\ud800"}))
        case "broken.parquet":
            path.write_bytes(b"PAR1 no")
        case "column.parquet":
            pq.write_table(pa.table({"content": ["x"]}), path)
    return source(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", "source 'mine' reads files, but its paths are empty"),
        ("absent.txt", "no file or folder '{path}'"),
        ("table.xls", "{path}' must end in .txt, .jsonl, .parquet, .json, .csv or .tsv, not '.xls"),
        ("empty", "folder '{path}' holds no .txt, .jsonl, .parquet, .json, .csv or .tsv file"),
        ("latin.txt", "{path}: not UTF-8 (byte 4)"),
        ("broken.jsonl", "{path}: line 2: not JSON"),
        ("list.jsonl", "{path}: line 1: not an object (list)"),
        ("column.jsonl", "{path}: line 2: no column 'text'; did you mean 'texts'?"),
        ("number.jsonl", "{path}: line 1: 'text' is no text but int"),
        ("surrogate.jsonl", "{path}: line 1: 'text' is text with half of a surrogate pair"),
        ("broken.parquet", "{path}: not a readable parquet file"),
        ("column.parquet", "{path}: no column 'text'; known: content"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(RequestError) as error:
        Files(_broken(tmp_path, name)).read()
    message = str(error.value)
    assert message.startswith("source 'mine'")
    assert expected.format(path=tmp_path / name) in message
    assert "\n" not in message


def test_a_text_of_more_than_memory_holds_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MOST_BYTES", 1000)
    monkeypatch.setattr(rows, "ROW_BYTES", 1000)
    for name, text in (
        ("one.txt", "x" * 1001),
        ("line.jsonl", '{"text": "' + "x" * 1001 + '"}\n'),
        ("list.json", "[\n" + '{"text": "a"},\n' * 100 + '{"text": "a"}]'),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(RequestError, match=f"{name}: .*(MB|at most)"):
            list(rows.read(path, "text"))
    monkeypatch.setattr(rows, "MOST_BYTES", 10_000)
    wide = tmp_path / "wide.json"  # one line, and no row
    wide.write_text("[" + '{"text": "a"}, ' * 100 + '{"text": "a"}]')
    assert len(list(rows.read(wide, "text"))) == 101
    many = tmp_path / "many.jsonl"  # longer in all, and a row a line
    many.write_text('{"text": "a"}\n' * 500)
    assert len(list(rows.read(many, "text"))) == 500


def test_books_are_handed_out_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "CHARACTERS", 10)
    path = tmp_path / "books.jsonl"
    texts = ["a", "b", "c" * 9, "d" * 50, "e", "f"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    stream = Files(source(path)).stream(0)
    parts = list(stream.batches(None))
    assert [list(part.values) for part in parts] == [texts[:3], texts[3:4], texts[4:]]
    again = [text for part in stream.batches(parts[1].before) for text in part.values]
    assert again == texts[3:], "a preparation goes on where it stood"
