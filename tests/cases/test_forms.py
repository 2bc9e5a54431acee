"""Conversations in the forms in which people have them: one folder of data, whichever the form."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.commands.data_sft import Options, data_sft
from harness.commands.data_show import Options as Show
from harness.commands.data_show import data_show
from harness.data import tokenizer
from harness.data.chat import ChatFormat
from harness.data.left_out import FILE, Refused
from harness.data.manifest import load_folder
from harness.data.talks import form_of, talk
from harness.errors import RequestError

PAIRS = [(f"What is number {i}?", f"It is {i * 7} of {i}." + "!" * (i % 3)) for i in range(60)]


def _turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


FORMS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "messages": lambda q, a: {"messages": _turns(q, a), "source": "x"},
    "conversations": lambda q, a: {
        "id": 1, "conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]
    },
    "prompt+completion": lambda q, a: {"prompt": q, "completion": a},
    "prompt+completion of turns": lambda q, a: {
        "prompt": _turns(q, a)[:1], "completion": _turns(q, a)[1:]
    },
    "instruction+input+output": lambda q, a: {"instruction": q, "input": "", "output": a},
    "instruction+input+output without input": lambda q, a: {"instruction": q, "output": a},
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(tokenizer.fit([text for pair in PAIRS for text in pair], 320), folder, 64)
    return folder


def _prepared(path: Path, fitted: Path, out: Path) -> Path:
    data_sft(Options(out=out, datasets=[str(path)], tokenizer=str(fitted), seq_len=64))
    return out


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_each_form_gives_the_same_tokens(tmp_path: Path, fitted: Path, ending: str) -> None:
    found = {}
    for number, (name, row) in enumerate(FORMS.items()):
        rows = [row(*pair) for pair in PAIRS]
        path = tmp_path / f"{number}" / f"own.{ending}"
        path.parent.mkdir()
        if ending == "jsonl":
            path.write_text("".join(json.dumps(one) + "\n" for one in rows))
        else:
            pq.write_table(pa.Table.from_pylist(rows), path)
        said = load_folder(_prepared(path, fitted, tmp_path / f"out{number}")).manifest
        found[name] = (said.train_digest, said.val_digest, said.labels_digest)
    assert len(set(found.values())) == 1, found


def test_an_input_stands_below_its_instruction_and_a_missing_answer_is_left_out(
    tmp_path: Path, fitted: Path
) -> None:
    path = tmp_path / "alpaca.jsonl"
    rows = [{"instruction": q, "input": "of ten", "output": a} for q, a in PAIRS]
    rows[3].pop("output")
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    out = _prepared(path, fitted, tmp_path / "out")
    (left,) = (out / FILE).read_text().splitlines()
    assert json.loads(left)["place"] == "alpaca.jsonl line 4"
    import datasets

    text = tokenizer.load(out).decode(
        datasets.load_from_disk(str(out / "dataset"))["train"]["input_ids"][0],
        skip_special_tokens=False,
    )
    assert "?\n\nof ten<|im_end|>" in text


def test_files_of_other_endings_are_counted(
    tmp_path: Path, fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "own"
    place.mkdir()
    for name in ("a.md", "b.md", "LICENSE"):
        (place / name).write_text("not data")
    rows = (json.dumps(FORMS["messages"](*pair)) for pair in PAIRS)
    (place / "talks.jsonl").write_text("\n".join(rows))
    _prepared(place, fitted, tmp_path / "out")
    assert "are passed over: 2 .md, 1 no ending" in capsys.readouterr().out


def test_columns_without_a_conversation_are_named(tmp_path: Path, fitted: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "no", "score": 1}\n')
    with pytest.raises(RequestError, match="no conversations in the columns text, score: known"):
        _prepared(path, fitted, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_learnt_and_what_was_left_out_is_shown(
    tmp_path: Path, fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [FORMS["messages"](*pair) for pair in PAIRS]
    rows[5]["messages"][1]["content"] = None
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    out = _prepared(path, fitted, tmp_path / "out")
    capsys.readouterr()
    data_show(Show(folder=out, rows=1))
    said = capsys.readouterr().out
    assert "left out of own.jsonl: 1 without a content; left_out.jsonl lists rows" in said
    shown = said[said.index("train row 0") :]
    learnt = re.findall("«(.*?)»", shown, re.DOTALL)
    assert learnt
    answers = {answer for _, answer in PAIRS}
    # Exactly what the assistant says, and the end of its turn.
    assert {one.removesuffix("<|im_end|>") for one in learnt} <= answers
    assert all(one.endswith("<|im_end|>") for one in learnt)
    assert "What is number" in re.sub("«.*?»", "", shown, flags=re.DOTALL)


def _talk(row: dict[str, Any]) -> Any:
    """What a row with these columns is taken for."""
    form = form_of(tuple(row))
    names = form.split("+")
    return talk(row[form] if len(names) == 1 else {name: row.get(name) for name in names})


def test_columns_that_say_more_are_read_or_the_row_is_counted() -> None:
    asked = _turns("q", "a")
    system = {"role": "system", "content": "s"}
    pairs = [["x", "y"]]
    assert _talk({"conversations": asked, "system": "s"}).messages == (system, *asked)
    assert _talk({"messages": [system, *asked], "system": "t"}).messages == (system, *asked)
    assert _talk({"messages": asked, "system": "", "tools": "[]"}).messages == tuple(asked)
    row = {"instruction": "q", "input": "", "output": "a", "system": "s", "history": pairs}
    assert _talk(row).messages == (system, *_turns("x", "y"), *asked)
    row = {"system_prompt": "s", "question": "q", "answer": "a"}
    assert _talk(row).messages == (system, *asked)
    tools = {"tools": '[{"name": "f"}]', "chat_template_kwargs": {"enable_thinking": False}}
    assert _talk({"messages": asked, **tools}).given == {
        "tools": [{"name": "f"}], "enable_thinking": False
    }  # fmt: skip


ASKED = _turns("q", "a")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"prompt": "q", "completion": "a", "label": False}, "no good answer"),
        ({"prompt": "q", "completion": "a", "weight": 0.0}, "not to be learnt"),
        ({"messages": ASKED, "weight": 0.5}, "another weight than 0 or 1"),
        ({"messages": ASKED, "images": ["x.png"]}, "with images"),
        ({"messages": ASKED, "functions": '[{"name": "f"}]'}, "with functions"),
        ({"messages": ASKED, "documents": "no list"}, "no list of objects"),
        ({"messages": ASKED, "tools": [1]}, "no list of objects"),
        ({"messages": ASKED, "chat_template_kwargs": [1]}, "no object"),
        ({"messages": ASKED, "chat_template_kwargs": {"messages": []}}, "what the row has"),
        ({"messages": [*ASKED[:1], ASKED[1] | {"tools": [{"name": "f"}]}]}, "in a message"),
        ({"instruction": "q", "output": "a", "history": [["x"]]}, "no list of pairs"),
        ({"instruction": "q", "output": "a", "history": "[[1]]"}, "no list of pairs"),
        ({"instruction": "q", "output": "a", "history": 3}, "no list of pairs"),
        ({"instruction": "q", "input": 7, "output": "a"}, "no text but int"),
        ({"instruction": None, "input": "x", "output": "a"}, "without a content"),
        ({"prompt": b"q", "completion": "a"}, "no text but bytes"),
        ({"instruction": 5, "input": "x", "output": "a"}, "no text but int"),
        ({"messages": json.dumps(ASKED)[:-1]}, "no list of messages"),
    ],
)
def test_a_column_that_changes_what_is_learnt_leaves_the_row_out(
    row: dict[str, Any], why: str
) -> None:
    found = _talk(row)
    assert isinstance(found, Refused)
    assert why in found.why


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "completion": "a", "label": True, "weight": 1.0},
        {"messages": ASKED, "label": 0, "images": [], "tools": "null", "functions": {}},
        {"messages": [{"role": "human", "value": "q"}, {"from": "model", "content": "a"}]},
        {"conversations": [{"from": "human", "value": [{"type": "text", "text": "q"}]}, ASKED[1]]},
        {"question": "q", "response": "a"},
        {"messages": json.dumps(ASKED)},
        {"conversations": str(ASKED)},
        {"prompt": json.dumps(ASKED[:1]), "completion": json.dumps(ASKED[1:])},
        {"input": "q", "output": "a"},
    ],
)
def test_what_says_nothing_more_is_the_plain_conversation(row: dict[str, Any]) -> None:
    assert _talk(row).messages == tuple(ASKED)


def test_a_context_is_read_as_part_of_the_question() -> None:
    for form in (("instruction", "context", "response"), ("question", "context", "answer")):
        row = dict(zip(form, ("q", "c", "a"), strict=True))
        assert _talk(row).messages == tuple(_turns("q\n\nc", "a"))
        assert _talk(row | {"context": ""}).messages == tuple(ASKED)


def test_a_column_that_only_later_rows_have_is_read(tmp_path: Path, fitted: Path) -> None:
    rows = [FORMS["messages"](*pair) for pair in PAIRS]
    rows[7]["system"] = "Count."
    place = tmp_path / "own"
    place.mkdir()
    for name, part in (("a", rows[:5]), ("b", rows[5:])):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in part))
    out = _prepared(place, fitted, tmp_path / "out")
    import datasets

    parts = datasets.load_from_disk(str(out / "dataset"))
    ids = [token for part in parts.values() for row in part["input_ids"] for token in row]
    assert "Count." in tokenizer.load(out).decode(ids)


def test_fields_of_a_message_that_carry_meaning_are_read_or_the_row_is_counted() -> None:
    asked = _turns("q", "a")
    assert talk([asked[0], asked[1] | {"thinking": "hm"}]).messages[1] == {
        "role": "assistant", "content": "a", "reasoning_content": "hm"
    }  # fmt: skip
    empty = {"tool_calls": [], "reasoning_content": None, "weight": 1, "train": None}
    assert talk([m | empty for m in asked]).messages == tuple(asked)
    for field in (
        {"tool_calls": {"name": "f"}}, {"tools": [{"name": "f"}]}, {"images": ["x"]},
        {"weight": 0}, {"weight": "0"}, {"weight": 0.5}, {"train": False}, {"training": "false"},
        {"masked": True}, {"loss": False},
    ):  # fmt: skip
        assert isinstance(talk([asked[0], asked[1] | field]), Refused)


def test_of_turns_in_two_columns_the_answers_alone_are_learnt() -> None:
    """As TRL has it: what the assistant said in the prompt is read only, which no mask here says.
    A text that looks like turns of somebody else is a text."""
    asked, answer = _turns("q", "a")
    before = _turns("q0", "a0")
    rows = {"prompt": [*before, asked], "completion": [answer]}
    for row in (rows, {name: json.dumps(turns) for name, turns in rows.items()}):
        found = talk(dict(row))
        assert isinstance(found, Refused)
        assert (found.why, found.selection) == ("with an answer that is not to be learnt", True)
    found = talk({"prompt": [asked], "completion": [asked, answer]})
    assert isinstance(found, Refused)
    assert "that another begins" in found.why
    words = json.dumps([asked])
    found = talk({"prompt": "Write a chat.", "completion": words})
    assert found.messages == tuple(_turns("Write a chat.", words))
    found = talk({"prompt": json.dumps([asked]), "completion": json.dumps([answer])})
    assert found.messages == (asked, answer)


def test_reasoning_that_the_template_does_not_write_is_refused(
    tmp_path: Path, fitted: Path
) -> None:
    talk_ = [_turns("q", "a")[0], _turns("q", "a")[1] | {"reasoning_content": "hm"}]
    with pytest.raises(RequestError, match="does not write reasoning_content"):
        ChatFormat(fitted).encode(talk_)
    tagged = tmp_path / "tagged"  # whose mask is transformers': it would be lost without a word
    shutil.copytree(fitted, tagged)
    (tagged / "chat_template.jinja").write_text(
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    )
    with pytest.raises(RequestError, match="does not write reasoning_content"):
        ChatFormat(tagged).encode(talk_)


def test_a_path_that_is_not_there_is_no_id_and_a_refusal_leaves_nothing(
    tmp_path: Path, fitted: Path
) -> None:
    for name in ("/nope", "../nope", "nope.jsonl", "a/b/c"):
        with pytest.raises(RequestError, match="no file or folder"):
            _prepared(Path(name), fitted, tmp_path / "out")
    path = tmp_path / "own.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "q"}]}\n')
    with pytest.raises(RequestError, match="1 without an answer"):
        _prepared(path, fitted, tmp_path / "out")
    assert {one.name for one in tmp_path.iterdir()} == {"own.jsonl"}


def test_few_conversations_hold_one_out(tmp_path: Path, fitted: Path) -> None:
    path = tmp_path / "own.jsonl"
    rows = [FORMS["messages"](*pair) for pair in PAIRS]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    options = Options(out=tmp_path / "out", datasets=[str(path)], tokenizer=str(fitted),
                      seq_len=64, conversations=1)  # fmt: skip
    data_sft(options)
    said = json.loads((tmp_path / "out" / "preparation.json").read_text())["sources"][0]
    assert (said["conversations"], said["validation"]) == (1, 1)
