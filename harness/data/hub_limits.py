"""Limits to what the Hub, or whoever answers in its place, may send as an answer that is no file.

Such an answer is read whole before anybody looks at it; one without end would take all memory.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from harness.errors import RequestError

ANSWER_BYTES = 64 * 2**20
ANSWER_SECONDS = 120.0
"""A listing of a thousand files has some hundred kilobytes."""


def limit_answers() -> None:
    """Hold to these limits from now on, in every request that `huggingface_hub` makes."""
    from huggingface_hub import get_session

    client = get_session()
    hooks = client.event_hooks
    if _hold not in hooks["response"]:
        client.event_hooks = {**hooks, "response": [*hooks["response"], _hold]}
        client.headers["Accept-Encoding"] = "identity"  # what is counted is what is kept


def _hold(response: Any) -> None:
    """Called with each answer before its content is read."""
    if "json" not in response.headers.get("content-type", ""):
        return
    if response.headers.get("content-encoding", "identity") != "identity":
        raise RequestError("the Hub's answer is compressed, which nobody asked it for")
    library = sys.modules[type(response).__module__.partition(".")[0]]  # httpx, or its successor

    class Limited(library.SyncByteStream):  # type: ignore[name-defined]
        """The same content, up to the limits."""

        def __init__(self, content: Any) -> None:
            self.content = content

        def __iter__(self) -> Iterator[bytes]:
            got, began = 0, time.monotonic()
            for part in self.content:
                got += len(part)
                if got > ANSWER_BYTES or time.monotonic() - began > ANSWER_SECONDS:
                    raise RequestError(
                        f"the Hub's answer has no end: {got / 1e6:,.0f} MB after "
                        f"{time.monotonic() - began:.0f} s"
                    )
                yield part

        def close(self) -> None:
            self.content.close()

    response.stream = Limited(response.stream)
