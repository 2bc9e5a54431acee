"""Tokenize and pack with a plain `datasets.map`, as one would write it: the peer of
`smol data prepare`. `python -m bench.peers.datasets_map PARQUET TOKENIZER OUT SEQ PROCESSES`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from datasets import load_dataset

from harness.data import tokenizer


def main(parquet: str, folder: str, out: str, seq: int, processes: int) -> None:
    fitted = tokenizer.load(Path(folder))

    def pack(batch: dict[str, list[str]]) -> dict[str, list[np.ndarray]]:
        ids = np.concatenate(list(tokenizer.encode(fitted, batch["text"])))
        rows = len(ids) // seq
        return {"input_ids": list(ids[: rows * seq].reshape(rows, seq))}

    data = load_dataset("parquet", data_files=parquet, split="train", cache_dir=f"{out}.cache")
    packed = data.map(
        pack, batched=True, batch_size=1000, num_proc=processes, remove_columns=["text"]
    )
    packed.save_to_disk(out)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:6]))
