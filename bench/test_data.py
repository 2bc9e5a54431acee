"""Batches from a prepared folder, and preparing one: beside `datasets` used plainly."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pytest_benchmark.fixture import BenchmarkFixture

from bench.groups import Group, Size, Turn
from harness.data import tokenizer
from harness.data.batches import TrainStream
from harness.data.sources import stdlib
from harness.data.units import cut

SEQ = 1024
BATCH = 8
BATCHES = 64


def groups(size: Size) -> list[Group]:
    rows = size.of(cpu=8192, cuda=8192, tiny=BATCH * BATCHES)
    tokens = size.of(cpu=2_000_000, cuda=2_000_000, tiny=200_000)
    return [
        Group(
            f"data loading, {BATCHES} batches of {BATCH} x {SEQ} tokens of {rows} rows, shuffled",
            "datasets, iterated",
            {
                "datasets, iterated": partial(Iterated, rows),
                "ours, TrainStream": partial(Streamed, rows),
            },
        ),
        Group(
            f"tokenize and pack {tokens:,} tokens, 2 processes, command to data on disk",
            "datasets.map",
            {
                "datasets.map": partial(Mapped, tokens),
                "ours, smol data prepare": partial(Prepared, tokens),
            },
            rounds=3,
            untimed=0,
        ),
    ]


@cache
def scratch() -> Path:
    """Kept as long as the process."""
    scratch.folder = TemporaryDirectory(prefix="smol-bench-data-")  # type: ignore[attr-defined]
    return Path(scratch.folder.name)  # type: ignore[attr-defined]


@cache
def packed(rows: int) -> Path:
    """A `datasets` folder of noise, in a folder as the harness reads it."""
    from datasets import Dataset

    folder = scratch() / f"packed-{rows}"
    noise = np.random.default_rng(0).integers(0, 49_152, (rows, SEQ), dtype=np.int32)
    Dataset.from_dict({"input_ids": list(noise)}).save_to_disk(folder / "train")
    return folder


class Streamed:
    """The next batches of the training stream, epoch after epoch."""

    def __init__(self, rows: int) -> None:
        self.stream = TrainStream(packed(rows), 0)
        self.next = itertools.count()

    def __call__(self) -> None:
        for _ in range(BATCHES):
            self.stream.rows(next(self.next) * BATCH, BATCH)

    def extra(self) -> dict[str, Any]:
        return {"tokens_a_call": BATCHES * BATCH * SEQ}


class Iterated:
    """Shuffled by index and iterated in numpy's format, targets shifted: as one would write it."""

    def __init__(self, rows: int) -> None:
        self.rows, self.epochs = rows, itertools.count()
        self.batches = iter(())  # type: ignore[var-annotated]

    def _epoch(self) -> Any:
        from datasets import load_from_disk

        data = load_from_disk(str(packed(self.rows) / "train"))
        return data.shuffle(seed=next(self.epochs)).with_format("numpy").iter(BATCH)

    def __call__(self) -> None:
        for _ in range(BATCHES):
            batch = next(self.batches, None)
            if batch is None:
                self.batches = self._epoch()
                batch = next(self.batches)
            tokens = batch["input_ids"].astype(np.int64)
            targets = np.full_like(tokens, -100)
            targets[:, :-1] = tokens[:, 1:]


@cache
def corpus(tokens: int) -> Path:
    """Text of the standard library in one parquet file, and a tokenizer fitted to it."""
    folder = scratch() / f"corpus-{tokens}"
    (folder / "tokenizer").mkdir(parents=True)
    texts = [t for u in stdlib.code() for t in cut(u.text.encode(errors="ignore").decode())]
    fitted = tokenizer.fit(texts[:2000], 4096)
    tokenizer.save(fitted, folder / "tokenizer", SEQ)
    found, enough = 0, []
    for number in itertools.count():
        text = f"{number}. {texts[number % len(texts)]}"
        found += len(next(iter(tokenizer.encode(fitted, [text]))))
        enough.append(text)
        if found > 1.05 * tokens:
            break
    pq.write_table(pa.table({"text": enough}), folder / "text.parquet", row_group_size=1000)
    return folder


class Program:
    """A program that leaves a folder, which is removed before the next call."""

    def __init__(self, name: str, tokens: int) -> None:
        self.folder = corpus(tokens)
        self.out = self.folder / name
        self.tokens = tokens

    def command(self) -> list[str]:
        raise NotImplementedError

    def __call__(self) -> None:
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *self.command()], env=environment, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def rest(self) -> None:
        for folder in (self.out, Path(f"{self.out}.cache")):
            shutil.rmtree(folder, ignore_errors=True)

    def extra(self) -> dict[str, Any]:
        return {"tokens_a_call": self.tokens}


class Prepared(Program):
    """`smol data prepare pretrain` on a local file."""

    def __init__(self, tokens: int) -> None:
        super().__init__("ours", tokens)

    def command(self) -> list[str]:
        return [
            "-m", "harness", "data", "prepare", "pretrain", "--target-tokens", str(self.tokens),
            "--dataset", str(self.folder / "text.parquet"), "--share", "1",
            "--tokenizer", str(self.folder / "tokenizer"), "--processes", "2",
            "--seq-len", str(SEQ), "--out", str(self.out),
        ]  # fmt: skip


class Mapped(Program):
    """`datasets.map` and `save_to_disk`."""

    def __init__(self, tokens: int) -> None:
        super().__init__("map", tokens)

    def command(self) -> list[str]:
        return [
            "-m", "bench.peers.datasets_map", str(self.folder / "text.parquet"),
            str(self.folder / "tokenizer"), str(self.out), str(SEQ), "2",
        ]  # fmt: skip


def test_data(turn: Turn, benchmark: BenchmarkFixture) -> None:
    turn.take(benchmark)
