"""A Hub on loopback with its data sets, and the door's preparations started against it."""

import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.hub_server import Hub

CORPUS = "HuggingFaceTB/smollm-corpus"
SMOLTALK = "HuggingFaceTB/smoltalk"
FILES = 3
TARGET = 60_000
SEQ = 256


def parquet(columns: dict[str, list]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, row_group_size=40)
    return buffer.getvalue()


def repository(subsets: dict[str, dict[str, list]]) -> dict[str, bytes]:
    """A data set with a README that names its subsets, each in a few parquet files."""
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train-*\n"
        for name in subsets
    )
    files = {"README.md": f"---\nconfigs:\n{configs}---\nText.\n".encode()}
    for name, columns in subsets.items():
        rows = len(next(iter(columns.values())))
        for i in range(FILES):
            part = slice(i * rows // FILES, (i + 1) * rows // FILES)
            files[f"{name}/train-{i:05d}-of-{FILES:05d}.parquet"] = parquet(
                {column: values[part] for column, values in columns.items()}
            )
    return files


@dataclass
class Bench:
    """A Hub, a tokenizer, and what was put into the Hub."""

    hub: Hub
    folder: Path
    documents: dict[str, list[str]]

    def start(self, *arguments: str, endpoint: str | None = None) -> subprocess.Popen[str]:
        environment = {
            **os.environ, "HF_ENDPOINT": endpoint or self.hub.url,
            "HF_HOME": str(self.folder / "hf"), "SMOL_CACHE": str(self.folder / "cache"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "harness", "data", "prepare", *arguments],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=self.folder,
        )  # fmt: skip

    def run(self, *arguments: str, code: int = 0, endpoint: str | None = None) -> str:
        process = self.start(*arguments, endpoint=endpoint)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"{out}\n{err}"
        if code:
            assert err.count("\n") == 1, err
        return out if not code else err

    def pretrain(self, out: Path, processes: int = 1) -> list[str]:
        return [
            "pretrain", "--target-tokens", str(TARGET), "--seq-len", str(SEQ), "--out", str(out),
            "--tokenizer", str(self.folder / "tokenizer"), "--val-fraction", "0.1",
            "--block-rows", "13", "--processes", str(processes),
        ]  # fmt: skip

    def sft(self, out: Path) -> list[str]:
        return [
            "sft", "--conversations", "300", "--seq-len", "512", "--out", str(out), "--tokenizer",
            str(self.folder / "tokenizer"), "--val-fraction", "0.1", "--part-conversations", "50",
        ]  # fmt: skip


def assert_same_files(a: Path, b: Path) -> None:
    def listing(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    left, right = listing(a), listing(b)
    assert sorted(left) == sorted(right)
    assert [name for name in left if left[name] != right[name]] == []
