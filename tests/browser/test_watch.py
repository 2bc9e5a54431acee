"""A two-arm run that three browsers watch; it is killed in the middle and goes on."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.launch.announce import FILE
from tests.browser.conftest import Seen, window
from tests.e2e.conftest import Workspace, make

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
RUN = ("run", "tiny_rates", "--seeds", "1", "--set", "train.tokens=38400",
       "--set", "train.dtype=fp32")  # fmt: skip
LOOKS = [("desktop", "light"), ("desktop", "dark"), ("phone", "light")]


@contextlib.contextmanager
def server(workspace: Workspace) -> Iterator[str]:
    """The address of a `smol watch` in the workspace."""
    process = workspace.start("watch", "--results", str(workspace.results), "--port", "0")
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+\S*", line):
                yield found[0].rstrip("./,") + "/"
                break
        else:
            raise AssertionError(process.communicate())
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def says(seen: Seen, words: str) -> None:
    """Wait until the page's live part has these words."""
    seen.page.wait_for_function(
        "words => document.getElementById('live').innerText.includes(words)", arg=words,
        timeout=300_000,
    )  # fmt: skip


def everybody(pages: list[Seen], look: Callable[[Seen], Any]) -> list[Any]:
    return [look(seen) for seen in pages]


def test_three_browsers_see_a_run_killed_and_going_on(chromium: Any, tmp_path: Path) -> None:
    workspace = make(tmp_path)
    process = workspace.start(*RUN)
    while not list(workspace.folder.glob(f"checkpoints/*/{FILE}")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(server(workspace))
        pages = [stack.enter_context(window(chromium, *look)) for look in LOOKS]
        everybody(pages, lambda seen: seen.go(address))
        everybody(pages, lambda seen: says(seen, "tiny_rates at smoke is running"))
        # The curve of what has been trained so far, in each browser.
        for seen in pages:
            seen.page.wait_for_selector("#live-chart .main-svg", timeout=300_000)
            assert seen.page.evaluate("document.getElementById('live-chart').data[0].y.length") > 0
        process.send_signal(signal.SIGKILL)
        process.communicate()
        everybody(pages, lambda seen: says(seen, "was killed: its process is gone"))
        for seen, look in zip(pages, LOOKS, strict=True):
            says(seen, "the same command goes on")
            assert "smol run tiny_rates" in seen.page.inner_text("#live pre")
            assert seen.overflow() <= 0
            seen.keep(f"watch-{'-'.join(look)}-killed")
        again = workspace.start(*RUN)
        everybody(pages, lambda seen: says(seen, "is running"))
        assert again.communicate(timeout=400)[0]
        assert again.returncode == 0
        everybody(pages, lambda seen: says(seen, "tiny_rates at smoke is done"))
        # Of what this launch had to do: on a slow machine a run may have ended before the kill.
        everybody(pages, lambda seen: says(seen, " runs, 100 %"))
        for seen in pages:
            assert re.search(r"\b([1-4]) of \1 runs, 100 %", seen.page.inner_text("#live"))
        for seen, look in zip(pages, LOOKS, strict=True):
            seen.page.wait_for_selector("#again")
            seen.keep(f"watch-{'-'.join(look)}-done")
            assert seen.elsewhere() == []
            assert seen.said == []
            assert seen.accessible() == []
    assert sum(record.status == "ok" for record in workspace.records()) == 4
