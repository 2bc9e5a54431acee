"""Preparing tokens scales: two processes against one and against `datasets.map`, and memory."""

import math
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data import tokenizer
from harness.data.sources import stdlib
from harness.data.units import cut

pytestmark = pytest.mark.slow
TOKENS = 10_000_000
SEQ = 2048

PEER = """
import sys, time
from itertools import chain
from pathlib import Path
import numpy as np
from datasets import load_dataset

files, folder, out, seq, how = sys.argv[1:6]
seq = int(seq)

if how == "transformers":
    from transformers import AutoTokenizer
    fitted = AutoTokenizer.from_pretrained(folder)

    def pack(batch):
        texts = fitted(batch["text"], add_special_tokens=False, return_attention_mask=False)
        ids = list(chain.from_iterable([*t, fitted.eos_token_id] for t in texts["input_ids"]))
        return {"input_ids": [ids[i : i + seq] for i in range(0, len(ids) - seq + 1, seq)]}
else:
    from harness.data import tokenizer
    fitted = tokenizer.load(Path(folder))

    def pack(batch):
        ids = np.concatenate(list(tokenizer.encode(fitted, batch["text"])))
        rows = len(ids) // seq
        return {"input_ids": list(ids[: rows * seq].reshape(rows, seq))}

data = load_dataset("parquet", data_files=files, split="train", cache_dir=out + ".cache")
started = time.perf_counter()
packed = data.map(pack, batched=True, batch_size=1000, num_proc=2, remove_columns=["text"])
packed.save_to_disk(out)
print("rate", len(packed) * seq / (time.perf_counter() - started))
"""
"""A plain pipeline over `datasets.map`: with transformers' tokenizer as its documentation has it,
or ("bare") with the very call that we make, so that only the tokenizer itself is left to race."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Some eleven million tokens: the standard library's text, several times over, each copy of a
    document under a number of its own."""
    folder = tmp_path_factory.mktemp("scale")
    units = [*stdlib.prose(), *stdlib.code()]
    texts = [t for u in units for t in cut(u.text.encode(errors="ignore").decode())]
    (folder / "tokenizer").mkdir()
    fitted = tokenizer.fit(texts, 8192)
    tokenizer.save(fitted, folder / "tokenizer", SEQ)
    once = sum(map(len, tokenizer.encode(fitted, texts)))
    copies = int(TOKENS * 1.1 / once) + 1
    many = [f"{i}. {text}" for i in range(copies) for text in texts]
    pq.write_table(pa.table({"text": many}), folder / "text.parquet", row_group_size=1000)
    return folder


def environment() -> dict[str, str]:
    return {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


def prepare(
    corpus: Path, name: str, tokens: int, processes: int, *, watched: bool = False
) -> tuple[float, int]:
    """(tokens a second of the steady part, peak of the summed memory of all processes, where it
    is watched: the watching takes a part of a core, which a race must not)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "data", "prepare", "pretrain", "--target-tokens",
         str(tokens), "--dataset", str(corpus / "text.parquet"), "--share", "1", "--tokenizer",
         str(corpus / "tokenizer"), "--processes", str(processes), "--block-rows", "128",
         "--out", str(corpus / name)],
        env=environment(), text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    peak = [0]
    watcher = threading.Thread(target=watch, args=(process, peak))
    if watched:
        watcher.start()
    out, _ = process.communicate(timeout=600)
    if watched:
        watcher.join()
    assert process.returncode == 0, out
    rates = re.findall(r"\(100 %\), ([\d,]+) tokens/s", out)  # none where it took under a second
    return float(rates[-1].replace(",", "")) if rates else math.nan, peak[0]


def watch(process: subprocess.Popen[str], peak: list[int]) -> None:
    while process.poll() is None:
        total = private(process.pid) + sum(map(private, descendants(process.pid)))
        peak[0] = max(peak[0], total)
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [d for c in map(int, children) for d in (c, *descendants(c))]


def private(pid: int) -> int:
    """Bytes that are this process's own: files that are mapped count for nobody."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"RssAnon:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


def peer(corpus: Path, how: str, name: str) -> float:
    """Tokens a second."""
    done = subprocess.run(
        [sys.executable, "-c", PEER, str(corpus / "text.parquet"), str(corpus / "tokenizer"),
         str(corpus / name), str(SEQ), how],
        env=environment(), capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    return float(done.stdout.rsplit("rate", 1)[1])


@pytest.mark.timeout(1200)
def test_two_processes_beat_one_and_the_plain_map(corpus):
    """In turn, three times; medians of the ratios."""
    rates: dict[str, list[float]] = {"one": [], "two": [], "transformers": [], "bare": []}
    for i in range(3):
        rates["one"].append(prepare(corpus, f"one{i}", TOKENS, 1)[0])
        rates["two"].append(prepare(corpus, f"two{i}", TOKENS, 2)[0])
        for how in ("transformers", "bare"):
            rates[how].append(peer(corpus, how, f"{how}{i}"))
    times = {
        name: statistics.median(b / a for a, b in zip(others, rates["two"], strict=True))
        for name, others in rates.items()
    }
    print(rates, {name: f"{ratio:.2f}" for name, ratio in times.items()})
    assert times["one"] >= 1.6
    assert times["transformers"] >= 1.0
    # The bare pipeline does less (no split, no digests, no resuming): a tie, since both are bound
    # by the tokenizer. Nine rounds on two quiet cores gave medians of 0.99, 1.00 and 1.00, and
    # single ratios scatter by 4 %.
    assert times["bare"] >= 0.96


def test_memory_stays_flat(corpus):
    """Ten times the tokens, less than a tenth more memory over all processes."""
    small = prepare(corpus, "small", TOKENS // 10, 2, watched=True)[1]
    large = prepare(corpus, "large", TOKENS, 2, watched=True)[1]
    print(f"{small / 2**20:.0f} MiB at {TOKENS // 10:,}, {large / 2**20:.0f} MiB at {TOKENS:,}")
    assert large < 1.1 * small
