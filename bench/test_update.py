"""One update, dense and mixture, each way to compile it, beside its peers; a process each.

At sizes that leave the suite its minutes: `smol bench step` times the full ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from bench.groups import Group, Size, Turn
from harness import presets
from harness.bench.contest import Player
from harness.bench.setting import Setting
from harness.evidence import precision
from harness.machine import hardware
from models.presets import model

OURS = ("ours-eager", "ours-blocks", "ours-whole")


def groups(size: Size) -> list[Group]:
    """(model, scale, batch, tokens a sequence, peers), the first peer being the base."""
    everyone = ("transformers", "transformers-compiled")
    chosen: list[tuple[str, str, int, int, tuple[str, ...]]] = size.of(
        cpu=[
            ("dense", "full", 1, 512, everyone),
            ("dense", "proxy", 16, 256, everyone[:1]),
            ("moe-160m", "full", 1, 512, ("moe-loop",)),
            ("moe-active", "proxy", 16, 256, ("moe-loop",)),
        ],
        cuda=[
            ("dense", "full", 4, 2048, everyone),
            ("moe-160m", "full", 16, 1024, ("moe-loop",)),
        ],
        tiny=[
            ("dense", "smoke", 2, 32, everyone[:1]),
            ("moe-160m", "smoke", 2, 32, ("moe-loop",)),
        ],
    )
    return [_group(size, *each) for each in chosen]


def _group(
    size: Size, kind: str, scale: str, batch: int, seq: int, peers: tuple[str, ...]
) -> Group:
    optim = presets.optim(muon_lr=0.02, adamw_lr=3e-4, weight_decay=0.1)
    base = Setting(
        contestant="ours",
        model=model(kind, scale),
        batch=batch,
        seq=seq,
        compile="eager",
        dtype=precision.of_machine(size.device).dtype,
        optim=optim.model_copy(update={"name": "adamw"}),
        device="cuda" if size.device == "cuda" else "cpu",
        threads=hardware.cores(),
        seed=0,
    )
    ours = OURS[:1] if size.tiny else OURS[:2] if size.quick else OURS
    contestants: dict[str, Callable[[], Update]] = {
        name: partial(Update, base.model_copy(update={"contestant": name}))
        for name in (*(peers[:1] if size.quick else peers), *ours)
    }
    name = f"update, {kind} {scale}, {batch} x {seq} tokens, AdamW, {base.dtype}"
    return Group(name, peers[0], contestants, rounds=5)


class Update:
    """A contestant of `smol bench step`, in its own process."""

    def __init__(self, setting: Setting) -> None:
        self.tokens = setting.tokens
        self.folder = TemporaryDirectory(prefix="smol-bench-")
        cache = Path(self.folder.name)
        self.player = Player(setting, cache, cache / "log")
        self.last = self.player.begin()
        self.first = self.last.first_update_seconds
        self.seconds: list[float] = []

    def __call__(self) -> None:
        self.last = self.player.update(1, 0, rest=False)
        self.seconds += self.last.seconds

    def rest(self) -> None:
        """Others' turns come: their peaks need the memory."""
        self.player.update(0, 0)

    def says(self) -> float:
        return self.last.losses[-1]

    def extra(self) -> dict[str, Any]:
        median = sorted(self.seconds)[len(self.seconds) // 2]
        return {
            "tokens_per_second": self.tokens / median,
            "peak_bytes": self.last.peak_bytes,
            "first_update_seconds": self.first,
        }

    def close(self) -> None:
        self.player.close()
        self.folder.cleanup()


def test_update(turn: Turn, benchmark: BenchmarkFixture) -> None:
    turn.take(benchmark)
