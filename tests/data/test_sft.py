"""The fine-tuning mix: shares and epochs, whole conversations in rows, targets everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import load_from_disk

from harness.data import sft, talks, tokenizer
from harness.data.batches import IGNORED, TrainStream, read_validation
from harness.data.chat import END_OF_TURN, ChatFormat
from harness.data.manifest import load_folder
from harness.data.sources import stdlib
from harness.data.streams import Stream, listed
from harness.errors import RequestError

SEQ = 96


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [one["content"] for many in made("big", 300) for one in many.messages]
    tokenizer.save(tokenizer.fit(texts, 400), folder, SEQ)
    return folder


def made(name: str, count: int, turns: int = 1) -> list[talks.Talk]:
    """Conversations in which every turn says where it comes from."""
    found = []
    for i in range(count):
        messages = []
        for t in range(turns + i % 2):
            messages += [
                {"role": "user", "content": f"{name} {i} question {t}?"},
                {"role": "assistant", "content": f"{name} {i} answer {t}" + "!" * (i % 5)},
            ]
        found.append(talks.talk(messages))
    return found


def prepare(folder: Path, fitted: Path, big, small, **changes):
    sources = [
        Stream("big", "test", 0.8, "here", listed(big, "conversation")),
        Stream("small", "test", 0.2, "there", listed(small, "conversation")),
    ]
    fields = dict(conversations=None, max_epochs=4, seq_len=SEQ, val_fraction=0.1, seed=0)
    sft.build(sft.SftRequest(**(fields | changes)), sources, fitted, folder, lambda _: None)
    return load_folder(folder), json.loads((folder / "preparation.json").read_text())


def test_rows_hold_whole_conversations_and_targets(tmp_path, fitted):
    prepared, _ = prepare(tmp_path / "out", fitted, made("big", 200), made("small", 100))
    prepared.check()
    data = load_from_disk(str(tmp_path / "out" / "dataset"))
    chat = ChatFormat(tmp_path / "out")
    end = chat.plain.token_to_id("<|endoftext|>")
    seen = []
    for split in ("train", "validation"):
        for row in data[split]:
            ids, labels, documents = (
                np.array(row[name]) for name in ("input_ids", "labels", "documents")
            )
            assert (labels[1:] != IGNORED).any()
            real = documents >= 0
            assert (ids[~real] == end).all()
            assert (labels[~real] == IGNORED).all()
            assert (labels[labels != IGNORED] == ids[labels != IGNORED]).all()
            for document in np.unique(documents[real]):
                mine = documents == document
                text = chat.plain.decode(ids[mine].tolist(), skip_special_tokens=False)
                said = chat.plain.decode(
                    ids[mine & (labels != IGNORED)].tolist(), skip_special_tokens=False
                )
                # Whole: it parses back into turns, and the answers are what is scored.
                parts = text.split("<|im_start|>")[1:]
                assert all(part.endswith(END_OF_TURN + "\n") for part in parts)
                answers = [p.removeprefix("assistant\n")[:-1] for p in parts if p[0] == "a"]
                assert said == "".join(answers)
                assert len(answers) * 2 == len(parts)
                seen.append((split, text))
    train = [text for split, text in seen if split == "train"]
    held = [text for split, text in seen if split == "validation"]
    assert not set(train) & set(held)
    assert len(held) + len(set(train)) >= 200
    stream = TrainStream(tmp_path / "out", 0)
    assert (stream.rows(0, 3).targets != IGNORED).any(axis=1).all()
    assert read_validation(tmp_path / "out").targets.max() > 0


def test_a_small_source_repeats_to_its_share_and_no_further(tmp_path, fitted):
    _, wide = prepare(tmp_path / "a", fitted, made("big", 200), made("small", 30))
    big, small = wide["sources"]
    assert small["conversations"] == round(big["conversations"] / 0.8 * 0.2)
    assert 1 < small["epochs"] <= 4
    assert small["achieved_share"] == pytest.approx(0.2, abs=1 / wide["conversations"])
    _, capped = prepare(tmp_path / "b", fitted, made("big", 200), made("small", 8), max_epochs=2)
    big, small = capped["sources"]
    assert small["epochs"] == 2.0
    assert small["conversations"] == 2 * small["distinct"]
    assert small["achieved_share"] < 0.1
    assert f"{100 * small['achieved_share']:.2f} % (asked 20 %)" in sft.describe(capped)


def test_the_number_asked_for_is_exact(tmp_path, fitted):
    _, said = prepare(
        tmp_path / "a", fitted, made("big", 300), made("small", 100), conversations=100
    )
    assert [source["conversations"] for source in said["sources"]] == [80, 20]


def test_a_share_of_less_than_one_conversation_is_none(tmp_path, fitted):
    """80 % of two are two, and 20 % none: nothing is wrong with the small source."""
    _, said = prepare(
        tmp_path / "a", fitted, made("big", 300), made("small", 100), conversations=2,
        val_fraction=0.5,
    )  # fmt: skip
    assert [source["conversations"] for source in said["sources"]] == [2, 0]


def test_what_does_not_fit_is_cut_at_a_turn_or_dropped(tmp_path, fitted):
    long = [
        talks.talk([
            {"role": "user", "content": f"{i}"}, {"role": "assistant", "content": "short"},
            {"role": "user", "content": "more"}, {"role": "assistant", "content": "word " * 200},
        ])
        for i in range(20)
    ]  # fmt: skip
    hopeless = [
        talks.talk([{"role": "user", "content": "word " * 200 + str(i)},
                    {"role": "assistant", "content": "no"}])
        for i in range(7)
    ]  # fmt: skip
    mute = [talks.talk([{"role": "user", "content": "hello?"}])] * 3
    broken = [talks.talk([{"role": "narrator", "content": "x"}]), talks.talk("no messages")]
    _, said = prepare(tmp_path / "a", fitted, made("big", 50), [*long, *hopeless, *mute, *broken])
    assert said["sources"][1]["left_out"] == {
        "no list of messages": 1, "too long and dropped": 7, "truncated at a turn": 20,
        "with a role that is not read": 1, "without an answer": 3,
    }  # fmt: skip


def test_the_same_request_gives_the_same_bytes(tmp_path, fitted):
    for name in ("a", "b"):
        prepare(tmp_path / name, fitted, made("big", 80), made("small", 20))
    for path in sorted((tmp_path / "a").rglob("*")):
        if path.is_file():
            twin = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert path.read_bytes() == twin.read_bytes(), path


def test_nothing_to_train_on_is_one_line(tmp_path, fitted):
    with pytest.raises(RequestError, match="'small' gives no conversation"):
        prepare(tmp_path / "a", fitted, made("big", 80), [])


def test_functions_of_the_standard_library_become_questions():
    found = stdlib.functions()
    assert len(found) > 1000
    everything = {m["content"] for one in found for m in one.messages if m["role"] == "user"}
    assert any("shutil.copyfile" in question for question in everything)
    assert any(len(one.messages) > 4 for one in found)
    for one in found:
        roles = [m["role"] for m in one.messages if m["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
