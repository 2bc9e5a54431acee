"""The door's preparations against a Hub on loopback, healthy, failing, absent; killed and resumed.

Real text (the standard library's prose) in parquet, reached only through HF_ENDPOINT.
"""

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, load_from_disk

from harness.data import hub_limits, tokenizer
from harness.data.batches import TrainStream, read_validation
from harness.data.manifest import load_folder
from harness.data.mix import shuffled
from harness.data.sources import stdlib
from harness.data.sources.stdlib import functions
from harness.data.tokens import END_OF_TEXT
from harness.data.units import cut, held_out
from harness.errors import RequestError
from tests.data.hub_bench import (
    CORPUS,
    FILES,
    SEQ,
    SMOLTALK,
    TARGET,
    Bench,
    assert_same_files,
    repository,
)
from tests.data.hub_server import SHA, Hub, serve


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    units = [unit.text.encode(errors="ignore").decode() for unit in stdlib.prose()]
    texts = [text for unit in units for text in cut(unit, 700)]
    unique = list(dict.fromkeys(texts))[:900]
    documents = {"fineweb-edu-dedup": unique[:600], "cosmopedia-v2": unique[600:]}
    hub = Hub()
    hub.repos[CORPUS] = repository(
        {
            name: {"text": many, "id": [str(i) for i in range(len(many))]}
            for name, many in documents.items()
        }
    )
    talks = [list(one.messages) for one in functions()][:450]
    hub.repos[SMOLTALK] = repository(
        {
            "smol-magpie-ultra": {"messages": talks[:400]},
            "everyday-conversations": {"messages": talks[400:]},
        }
    )
    (folder / "tokenizer").mkdir()
    tokenizer.save(tokenizer.fit(unique, 1000), folder / "tokenizer", SEQ)
    with serve(hub):
        yield Bench(hub, folder, documents)


@pytest.fixture(scope="module")
def mix(bench) -> Path:
    """The mix as a healthy Hub gives it, by one process."""
    bench.hub.fault = lambda path, number: None
    bench.run(*bench.pretrain(bench.folder / "mix"))
    return bench.folder / "mix"


def test_the_mix_keeps_its_shares_and_loses_nothing(bench, mix):
    prepared = load_folder(mix)
    prepared.check()
    said = prepared.manifest
    assert said.train_tokens == TARGET // SEQ * SEQ
    plain = tokenizer.load(mix)
    longest = max(
        len(ids) for many in bench.documents.values() for ids in tokenizer.encode(plain, many)
    )
    for use in said.sources:
        assert abs(use.train_tokens - use.share * said.train_tokens) <= longest
    # Validation never stands in train; each document at most once, and nothing else.
    end = plain.token_to_id(END_OF_TEXT)
    data = load_from_disk(str(mix / "dataset"))
    val = np.array(data["validation"]["input_ids"]).ravel()
    held = decode(plain, np.split(val, np.flatnonzero(val == end) + 1)[:-1])
    everything = {text for many in bench.documents.values() for text in many}
    assert len(held) > 10
    assert len(set(held)) == len(held)
    assert set(held) <= everything
    counts = json.loads((mix / "preparation.json").read_text())["sources"]
    read = {source["name"]: source["documents"] + source["held_out_documents"] for source in counts}
    assert sum(read.values()) > 200
    assert said.unigram_val_loss < np.log(said.vocab_size)
    # Undo the shuffle inside each file: the stream is each subset's files in their shuffled order
    # less what is held out, and no document is missing or twice.
    rows = []
    for number, path in enumerate(sorted((mix / "dataset" / "train").glob("*.arrow"))):
        block = np.array(Dataset.from_file(str(path))["input_ids"])
        plainly = np.empty_like(block)
        plainly[shuffled(len(block), 0, 1 + number)] = block
        rows.append(plainly.ravel())
    stream = np.concatenate(rows)
    texts = decode(plain, np.split(stream, np.flatnonzero(stream == end) + 1)[:-1])
    for many in bench.documents.values():
        files = [many[i * len(many) // FILES : (i + 1) * len(many) // FILES] for i in range(FILES)]
        order = [text for i in shuffled(FILES, 0, 0) for text in files[i]]
        mine = [text for text in texts if text in set(many)]
        unit = {text: hashlib.sha256(text.encode()).hexdigest() for text in order}
        expected = [text for text in order if not held_out(0, unit[text], 0.1)]
        assert len(mine) > 60
        assert mine == expected[: len(mine)]
    assert len(texts) == sum(text in everything for text in texts)
    assert TrainStream(mix, 0).rows(0, 2).tokens.shape == (2, SEQ)
    assert read_validation(mix).targets.shape[1] == SEQ
    assert json.loads((mix / "preparation.json").read_text())["sources"][0]["origin"].endswith(SHA)


def decode(plain, parts) -> list[str]:
    end = plain.token_to_id(END_OF_TEXT)
    return [plain.decode([int(i) for i in part if i != end]) for part in parts]


def test_failures_cost_retries_and_change_nothing(bench, mix):
    """Every seventh request fails with a 500, every fifth answer breaks off in the middle; and two
    processes tokenize."""
    hit = []

    def fault(path: str, number: int) -> str | None:
        kind = "500" if number % 7 == 3 else "drop" if number % 5 == 2 else None
        if kind == "drop" and not path.endswith(".parquet"):
            return None
        if kind:
            hit.append(kind)
        return kind

    bench.hub.fault = fault
    bench.run(*bench.pretrain(bench.folder / "faulty", processes=2))
    bench.hub.fault = lambda path, number: None
    assert {"500", "drop"} <= set(hit)
    assert_same_files(mix, bench.folder / "faulty")


def test_killed_and_started_again_it_ends_with_the_same_bytes(bench, mix):
    def slow(path: str, number: int) -> None:
        if path.endswith(".parquet"):
            time.sleep(0.1)

    out = bench.folder / "killed"
    work = out.with_name("killed.partial")
    bench.hub.fault = slow
    for blocks in (2, 9):
        process = bench.start(*bench.pretrain(out))
        train = work / "data" / "dataset" / "train"
        deadline = time.monotonic() + 60
        while not (train / f"data-{blocks:05d}.arrow").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists()
        assert (work / "state.npz").exists()
    bench.hub.fault = lambda path, number: None
    changed = [*bench.pretrain(out), "--seed", "3"]
    assert "another seed" in bench.run(*changed, code=2)
    assert "going on from" in bench.run(*bench.pretrain(out))
    assert not work.exists()
    assert_same_files(mix, out)
    assert "exists already" in bench.run(*bench.pretrain(out), code=2)


@pytest.fixture(scope="module")
def talks(bench) -> Path:
    """The conversations as a healthy Hub gives them."""
    bench.hub.fault = lambda path, number: None
    bench.run(*bench.sft(bench.folder / "sft"))
    return bench.folder / "sft"


def test_conversations_come_from_the_hub(bench, talks):
    said = json.loads((talks / "preparation.json").read_text())
    big, small = said["sources"]
    assert big["conversations"] == 240
    assert small["conversations"] == 60
    assert small["distinct"] <= 50
    assert small["epochs"] > 1
    load_folder(talks).check()


def test_failures_cost_retries_and_no_conversation(bench, talks):
    """Every ninth request fails with a 500, every third file's answer breaks off."""
    hit, files = [], itertools.count()

    def fault(path: str, number: int) -> str | None:
        kind = "500" if number % 9 == 4 else None
        if kind is None and path.endswith(".parquet") and next(files) % 3 == 1:
            kind = "drop"
        if kind:
            hit.append(kind)
        return kind

    bench.hub.fault = fault
    printed = bench.run(*bench.sft(bench.folder / "sft-faulty"))
    bench.hub.fault = lambda path, number: None
    assert {"500", "drop"} <= set(hit)
    assert "(asked 20 %)" in printed
    assert_same_files(talks, bench.folder / "sft-faulty")


def test_killed_conversations_end_with_the_same_bytes(bench, talks):
    """Killed while it reads the first source, then the second, then started again."""

    def slow(path: str, number: int) -> None:
        if path.endswith(".parquet"):
            time.sleep(0.1)

    out = bench.folder / "sft-killed"
    work = out.with_name("sft-killed.partial")
    bench.hub.fault = slow
    for part in ("pool-0-00001.npz", "pool-1-00000.npz"):
        process = bench.start(*bench.sft(out))
        deadline = time.monotonic() + 60
        while not (work / part).exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists()
    bench.hub.fault = lambda path, number: None
    changed = [*bench.sft(out), "--max-epochs", "2"]
    assert "another max_epochs" in bench.run(*changed, code=2)
    bench.hub.requests.clear()
    said = bench.run(*bench.sft(out))
    assert "going on from" in said
    files = [path for path in bench.hub.requests if path.endswith(".parquet")]
    assert not [path for path in files if "smol-magpie-ultra" in path]  # it was read to its end
    assert not work.exists()
    assert_same_files(talks, out)


@pytest.mark.parametrize(
    ("source", "asked"),
    [("pretrain", CORPUS), ("sft", SMOLTALK), ("python-edu", f"{CORPUS} python-edu")],
)
def test_without_a_hub_one_line_says_what_was_tried(bench, source, asked):
    """And names the twin that needs none; which is never taken unasked."""
    nowhere = "http://127.0.0.1:9"
    out = bench.folder / f"nothing-{source}" / "inside"
    command = {
        "pretrain": bench.pretrain(out), "sft": bench.sft(out),
        "python-edu": ["python-edu", "--out", str(out)],
    }[source]  # fmt: skip
    line = bench.run(*command, code=2, endpoint=nowhere)
    assert nowhere in line
    assert asked in line
    assert "tried 3 times" in line
    assert "--source embedded" in line
    assert not out.parent.exists()


def test_python_edu_joins_the_mix_as_a_third_source(bench):
    bench.hub.fault = lambda path, number: None
    code, out = bench.folder / "code", bench.folder / "three"
    bench.run("python-edu", "--source", "embedded", "--limit", "120", "--out", str(code))
    shares = {"fineweb-edu-dedup": 0.6, "cosmopedia-v2": 0.2, "code": 0.2}
    options = []
    for dataset, subset, share in zip(
        (CORPUS, CORPUS, str(code)), ("fineweb-edu-dedup", "cosmopedia-v2", "-"), shares.values(),
        strict=True,
    ):  # fmt: skip
        options += ["--dataset", dataset, "--subset", subset, "--share", str(share)]
    bench.run(*bench.pretrain(out), *options)
    prepared = load_folder(out)
    prepared.check()
    assert [source.name for source in prepared.manifest.sources] == list(shares)
    plain = tokenizer.load(out)
    rows = pq.read_table(next(code.glob("*.parquet")))["text"].to_pylist()
    longest = max(map(len, tokenizer.encode(plain, rows)))  # longer than any of the prose
    for use in prepared.manifest.sources:
        assert use.train_tokens > 0
        assert abs(use.train_tokens - use.share * prepared.manifest.train_tokens) <= longest


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dataset", "No/where"], "does not give No/where"),
        (["--subset", "fineweb", "--share", "1"], "does not give"),
        (["--subset", "cosmopedia-v2", "--text-column", "txt"], "no column 'txt'; did you mean"),
        (["--share", "0.5", "--share", "0.6"], "sum to 1, not 1.1"),
        (["--share", "nan", "--share", "nan"], "sum to 1, not nan"),
        (["--seed", "-1"], "'--seed'"),
        (["--subset", "a", "--subset", "b"], "--share is given 0 times for 2"),
        (["--source", "hug"], "did you mean 'hub'"),
        (["--tokenizer", "nowhere"], "neither 'smollm2' nor a folder"),
    ],
)
def test_a_wrong_request_is_one_line(bench, options, words):
    out = bench.folder / "wrong"
    line = bench.run(*bench.pretrain(out), *options, code=2)
    assert words in line
    assert not out.exists()
    assert not out.with_name("wrong.partial").exists()


AS_A_RECIPE_DOES = """
import sys
from harness.config import DataConfig, Source
from harness.data.prepare import prepare
from harness.presets import SMOLLM_CORPUS, SMOLTALK
texts = Source(name="prose", kind="files", share=1.0, paths=(sys.argv[1],))
common = dict(seq_len=256, vocab_size=1000, val_fraction=0.1, val_tokens=4096, split_seed=0,
              fitted_on=(texts,))
for made in (
    DataConfig(sources=SMOLLM_CORPUS, train_tokens=40_000, **common),
    DataConfig(sources=SMOLTALK, format="chat", conversations=200, train_tokens=None, **common),
):
    manifest = prepare(made).manifest
    print(manifest.tokenizer_digest, *(s.achieved_share for s in manifest.sources))
"""


def test_a_recipes_specification_of_the_hub_is_prepared_once(bench):
    """Both stages' data by the specification alone, with one tokenizer; found again, not read."""
    bench.hub.fault = lambda path, number: None
    rows = bench.folder / "prose.jsonl"
    many = bench.documents["fineweb-edu-dedup"]
    rows.write_text("\n".join(json.dumps({"text": one}) for one in many), encoding="utf-8")

    def prepared() -> list[list[str]]:
        done = subprocess.run(
            [sys.executable, "-c", AS_A_RECIPE_DOES, str(rows)], text=True, check=True,
            capture_output=True, timeout=240,
            env={**os.environ, "HF_ENDPOINT": bench.hub.url, "PYTHONPATH": os.getcwd(),
                 "HF_HOME": str(bench.folder / "hf2"), "SMOL_CACHE": str(bench.folder / "cache2")},
        )  # fmt: skip
        return [line.split() for line in done.stdout.splitlines()]

    texts, talks = prepared()
    assert texts[0] == talks[0]  # the tokenizer
    assert float(texts[1]) == pytest.approx(0.7, abs=0.02)  # one document of 40,000 tokens
    assert float(talks[1]) == pytest.approx(0.8)
    before = bench.hub.requests.total()
    assert prepared() == [texts, talks]
    assert bench.hub.requests.total() == before


def test_an_answer_without_end_takes_little_memory_and_is_one_line(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(hub_limits, "ANSWER_BYTES", 10**6)
    hub = Hub()
    hub.fault = lambda path, number: "endless"
    with serve(hub):
        api = huggingface_hub.HfApi(endpoint=hub.url)
        hub_limits.limit_answers()
        with pytest.raises(RequestError, match=r"the Hub's answer has no end: 1 MB"):
            api.dataset_info("some/thing", timeout=20)
