"""pytest's side of the suites: options, turns as parameters, and the files in results/bench."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from bench.groups import Group, Size, turns
from harness.bench import saved
from harness.machine import devices, hardware

SUITES: dict[str, list[Group]] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    options = parser.getgroup("smol bench")
    options.addoption("--bench-save", type=Path, help="results folder to keep the rows in")
    options.addoption("--bench-rounds", type=int, help="instead of each group's own number")
    options.addoption("--bench-tiny", action="store_true", help="a rehearsal, saying nothing")
    options.addoption(
        "--bench-quick", action="store_true", help="without what takes a minute to compile"
    )
    options.addoption("--bench-device", default="auto", help="auto, cpu or cuda")


def size_of(config: pytest.Config) -> Size:
    device = config.getoption("--bench-device")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--bench-device cuda, but torch sees no CUDA device")
    tiny = config.getoption("--bench-tiny")
    quick = tiny or config.getoption("--bench-quick")
    return Size(device, tiny, quick, config.getoption("--bench-rounds"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes a `turn` is run for every turn of its module's `groups(size)`."""
    if "turn" not in metafunc.fixturenames:
        return
    size = size_of(metafunc.config)
    groups = metafunc.module.groups(size)
    for group in groups:
        group.rounds = size.rounds or group.rounds
    suite = metafunc.module.__name__.rpartition(".")[2].removeprefix("test_")
    SUITES[suite] = groups
    every = turns(groups)
    metafunc.parametrize("turn", every, ids=[turn.id for turn in every])


@pytest.fixture(scope="session", autouse=True)
def threads() -> None:
    torch.set_num_threads(hardware.cores())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep the suites of which everybody had every turn."""
    folder = session.config.getoption("--bench-save")
    if folder is None or size_of(session.config).quick:
        return
    device = devices.of(size_of(session.config).device).product()
    for suite, groups in SUITES.items():
        if all(group.complete for group in groups):
            saved.write(folder, suite, device, [row for group in groups for row in group.rows()])
        elif any(group.timings for group in groups):
            print(f"\n{suite}: not all turns were taken; nothing is kept", file=sys.stderr)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A table a group: medians, and how many times as fast as the base."""
    for group in (group for groups in SUITES.values() for group in groups if group.complete):
        terminalreporter.write_line("")
        terminalreporter.write_line(group.name, bold=True)
        for row in group.rows():
            terminalreporter.write_line(f"  {saved.text(row)}")
