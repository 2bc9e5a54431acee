"""One contestant of `smol bench step` in its own process: `python -P -m harness.bench.contestant`.

Reads its setting and then commands from standard input, writes answers to standard output, one
JSON object a line, and waits without using the processor while others are at work. A process of
its own, so that its peak memory is its own, and compiled code, thread pools and allocator state
of one contestant cannot help or hinder another.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import sys
import time
import traceback
from functools import cache
from typing import Any

import numpy as np
import torch

from harness.bench.peers import Contestant, build
from harness.bench.setting import Order, Reply, Setting
from harness.machine import devices, hardware
from harness.train import allocator

ZIPF_OFFSET = 2.7
"""The offset in the tokens' distribution (Mandelbrot's form): with it a loss falls as a text's does
at first."""


def tokens_of(setting: Setting, update: int) -> np.ndarray:
    """(batch, seq) int64: what every contestant's update number `update` trains on.

    Independent draws, token i with a probability proportional to 1 / (i + 2.7).
    """
    vocabulary = setting.model.vocab_size
    draws = np.random.default_rng([setting.seed, update]).random((setting.batch, setting.seq))
    found = np.searchsorted(_bounds(vocabulary), draws)
    return found.clip(max=vocabulary - 1).astype(np.int64)


@cache
def _bounds(vocabulary: int) -> np.ndarray:
    weights = 1.0 / (np.arange(vocabulary) + ZIPF_OFFSET)
    return np.cumsum(weights / weights.sum())


def peak_bytes(device: str) -> int:
    """The highest resident memory of this process, or of the device's allocator on CUDA."""
    if devices.of(device).own_memory:
        return int(torch.get_device_module(device).max_memory_allocated())
    return hardware.peak_resident_bytes()


def release(device: str) -> None:
    """Give unused memory back, so that those who wait do not hold what the next one needs."""
    gc.collect()
    if devices.of(device).own_memory:
        torch.get_device_module(device).empty_cache()
    elif sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        if trim is not None:
            trim(0)


def serve(setting: Setting, commands: Any, answers: Any) -> None:
    """Build, make the first update, answer, and then do as told until the input ends."""
    torch.set_num_threads(setting.threads)
    numbers = itertools.count(1)

    def one() -> tuple[float, float]:
        tokens = tokens_of(setting, next(numbers))
        started = time.perf_counter()
        loss = contestant.update(tokens)
        return time.perf_counter() - started, loss

    def answer(**fields: Any) -> None:
        text = Reply(peak_bytes=peak_bytes(setting.device), **fields).model_dump_json()
        answers.write(text + "\n")
        answers.flush()

    contestant: Contestant = build(setting)
    tokens = tokens_of(setting, 0)
    started = time.perf_counter()
    contestant.prepare()
    loss = contestant.update(tokens)
    first = time.perf_counter() - started
    answer(first_update_seconds=first, losses=(loss,), parameters=contestant.parameters)
    release(setting.device)
    for line in commands:
        command = Order.model_validate_json(line)
        results = [one() for _ in range(command.updates)]
        timed = tuple(seconds for seconds, _ in results[command.untimed :])
        answer(seconds=timed, losses=tuple(loss for _, loss in results))
        if command.rest:
            release(setting.device)


def main() -> int:
    """The process. Exit code 1 where it failed; its last answer says why."""
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        setting = Setting.model_validate_json(sys.stdin.readline())
        if setting.keeps_memory:
            allocator.keep_freed_memory()
        serve(setting, sys.stdin, answers)
    except Exception as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        failed = f"{type(error).__name__}: {lines[0][:300]}"
        answers.write(Reply(failed=failed).model_dump_json() + "\n")
        answers.flush()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
