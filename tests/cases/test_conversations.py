"""Conversations that others write: one that cannot be used costs itself, and says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.config import Source
from harness.data import sft, sources, talks, tokenizer
from harness.data.batches import read_split
from harness.data.chat import ChatFormat
from harness.data.left_out import FEWEST, FILE, Refused
from harness.errors import RequestError
from tests.data.conftest import texts

SEQ = 64
STRICT = (
    "{% for m in messages %}{% if m['role'] == 'user' and loop.index0 % 2 %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\\n' + (m['content'] | trim) + '<|im_end|>\\n' }}"
    "{% endfor %}"
)
"""Alternating roles only, and contents are trimmed: what many released templates do."""


@pytest.fixture(scope="module")
def strict(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("strict")
    tokenizer.save(tokenizer.fit(texts(50, seed=1), 400), folder, SEQ)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": STRICT}))
    return folder


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def asked(number: int, answer: Any = "yes") -> list[dict[str, Any]]:
    return [turn("user", f"question {number}"), turn("assistant", answer)]


def prepare(tmp_path: Path, fitted: Path, rows: list[Any], name: str) -> Path:
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in rows))
    source = Source(name="mine", kind="files", share=1.0, paths=(str(path),))
    stream = sources.make(source, chat=True).stream(0)
    request = sft.SftRequest(None, 1, SEQ, 0.2, 0)
    sft.build(request, [stream], fitted, tmp_path / name, lambda line: None)
    return tmp_path / name


def test_one_bad_conversation_costs_itself(tmp_path: Path, strict: Path) -> None:
    good = [asked(i) for i in range(60)]
    bad = [
        [turn("user", "a"), turn("user", "b"), turn("assistant", "c")],
        [turn("user", "d"), turn("user", "e"), turn("assistant", "f")],
        asked(101, 5),
        asked(102, None),
        "no messages",
        [turn("user", [{"type": "image"}]), turn("assistant", "c")],
        [turn("critic", "x"), turn("assistant", "c")],
    ]
    clean = prepare(tmp_path, strict, good, "clean")
    odd = prepare(tmp_path, strict, [*good[:7], *bad, *good[7:]], "odd")
    for split in ("train", "validation"):
        a, b = (read_split(place, split).chunks("labels") for place in (clean, odd))
        assert [part.tolist() for part in a] == [part.tolist() for part in b]
    found = [json.loads(line) for line in (odd / FILE).open()]
    assert [one["place"] for one in found] == [f"odd.jsonl line {n}" for n in range(8, 14)]
    assert "roles must alternate" in found[0]["detail"]
    assert str(strict) in found[0]["detail"]  # the folder that its user knows
    said = json.loads((odd / "preparation.json").read_text())["sources"][0]
    assert said["left_out"] == {
        "a content that is no text but int": 1, "a content that is no text but list": 1,
        "no list of messages": 1, "not taken by the chat template": 2,
        "with a role that is not read": 1, "without a content": 1,
    }  # fmt: skip
    assert not (clean / FILE).exists()


def test_many_end_the_preparation_and_say_why(tmp_path: Path, strict: Path) -> None:
    many = [[turn("user", "a"), *asked(i)] for i in range(100)]
    with pytest.raises(RequestError, match=f"{FEWEST + 1} of the first .* not taken by the chat"):
        prepare(tmp_path, strict, many, "many")
    few = [asked(1, 7), asked(2, 7), [turn("user", "a"), *asked(3)]]
    with pytest.raises(RequestError, match=r"of 3 rows: 2 a content that is no text but int, 1 "):
        prepare(tmp_path, strict, few, "few")


def test_a_template_that_trims_is_followed(strict: Path) -> None:
    """The tokens are transformers', and what is learnt is what the template leaves."""
    import transformers

    talk = [*asked(1, " ends in a line break\n"), *asked(2, "\n")]
    ours = ChatFormat(strict).encode(talk)
    peer = transformers.AutoTokenizer.from_pretrained(strict)
    assert ours.tokens.tolist() == peer.apply_chat_template(talk, return_dict=True)["input_ids"]
    said = peer.decode(ours.tokens[ours.scored].tolist())
    assert said == "ends in a line break<|im_end|><|im_end|>"


def test_parts_of_text_are_one_text(tmp_path: Path, strict: Path) -> None:
    def parts(text: str) -> list[dict[str, str]]:
        return [{"type": "text", "text": part} for part in (text[:3], text[3:])]

    plain = [asked(i) for i in range(60)]
    in_parts = [[turn(m["role"], parts(m["content"])) for m in talk] for talk in plain]
    for one, other in zip(plain, in_parts, strict=True):
        assert talks.talk(one) == talks.talk(other)
    assert isinstance(talks.talk([turn("user", [{"type": "text"}])]), Refused)
