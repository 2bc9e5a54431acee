"""The warm process and an undisturbed run, made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.survive.place import Reference, Warm


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    with Warm() as process:
        yield process


@pytest.fixture(scope="session")
def reference(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return Reference.made(warm, tmp_path_factory.mktemp("undisturbed") / "place")
