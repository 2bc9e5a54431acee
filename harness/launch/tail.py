"""Following a child's `metrics.jsonl`: what it has done so far, without talking to it. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Tail:
    """The last known state of one running child."""

    path: Path
    tokens_per_update: int
    update: int | None = None
    loss: float | None = None
    val_loss: float | None = None
    tokens_per_second: float | None = None
    """Of the last updates, smoothed."""
    _offset: int = 0
    _rest: str = ""

    def __post_init__(self) -> None:
        """Lines of an earlier process are passed over."""
        if self.path.exists():
            self._offset = self.path.stat().st_size

    def poll(self) -> None:
        """Read what was appended since."""
        if not self.path.exists():
            return
        with open(self.path, encoding="utf-8") as file:
            file.seek(self._offset)
            text = self._rest + file.read()
            self._offset = file.tell()
        *lines, self._rest = text.split("\n")
        for line in filter(None, lines):
            self._take(json.loads(line))

    def _take(self, event: dict[str, float]) -> None:
        if "update" in event:
            self.update = int(event["update"])
        if "seconds" in event and "loss" in event:
            self.loss = event["loss"]
            rate = self.tokens_per_update / max(event["seconds"], 1e-9)
            before = self.tokens_per_second
            self.tokens_per_second = rate if before is None else 0.8 * before + 0.2 * rate
        if "val_loss" in event:
            self.val_loss = event["val_loss"]
