"""A prepared folder whose manifest was sealed again around other files."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.data.manifest import Prepared
from harness.errors import RequestError


@pytest.mark.parametrize("fault", [EOFError, IndexError, ValueError, RecursionError, MemoryError])
def test_whatever_its_files_raise_is_one_line(tmp_path, monkeypatch, fault):
    def raise_it(*_):
        raise fault

    monkeypatch.setattr("harness.data.batches.read_split", raise_it)
    with pytest.raises(RequestError, match="is corrupt"):
        Prepared(tmp_path, SimpleNamespace()).check()
