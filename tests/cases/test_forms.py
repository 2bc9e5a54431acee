"""Conversations in the forms in which people have them: one folder of data, whichever the form."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.commands.data_sft import Options, data_sft
from harness.data import tokenizer
from harness.data.left_out import FILE
from harness.data.manifest import load_folder
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


def test_columns_without_a_conversation_are_named(tmp_path: Path, fitted: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "no", "score": 1}\n')
    with pytest.raises(RequestError, match="no conversations in the columns text, score: known"):
        _prepared(path, fitted, tmp_path / "out")
    assert not (tmp_path / "out").exists()
