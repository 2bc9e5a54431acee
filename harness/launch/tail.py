"""Following a child's `metrics.jsonl`: what it has done so far, without talking to it. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Tail:
    """The last known state of one running child.

    Lines before its `start` with `token` are another process's, perhaps one that a launcher left
    behind and that is still at work: they are passed over. Without a token every new line counts.
    """

    path: Path
    tokens_per_update: int
    token: str | None
    update: int | None = None
    loss: float | None = None
    val_loss: float | None = None
    tokens_per_second: float | None = None
    """The rate of the last updates, smoothed."""
    attempt: int | None = None
    """The number under which the child has announced its record."""
    notes: list[str] = field(default_factory=list)
    """Lines for the user that nobody has shown yet."""
    _started: bool = False
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
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:  # empty, or torn by the end of a process that was here before
                continue
            self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        self._started |= self.token is None or event.get("token") == self.token
        if not self._started:
            return
        if "note" in event:
            self.notes.append(event["note"])
        if event.get("event") == "record":
            self.attempt = event["attempt"]
        if "update" in event:
            self.update = int(event["update"])
        if "seconds" in event and "loss" in event:
            self.loss = event["loss"]
            rate = self.tokens_per_update / max(event["seconds"], 1e-9)
            before = self.tokens_per_second
            self.tokens_per_second = rate if before is None else 0.8 * before + 0.2 * rate
        if "val_loss" in event:
            self.val_loss = event["val_loss"]
