"""A prepared folder whose manifest was sealed again around other files."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from harness.data.manifest import MANIFEST, Prepared, load_folder, seal
from harness.data.prepare import prepare
from harness.errors import RequestError


@pytest.mark.parametrize("fault", [EOFError, IndexError, ValueError, RecursionError, MemoryError])
def test_whatever_its_files_raise_is_one_line(tmp_path, monkeypatch, fault):
    def raise_it(*_):
        raise fault

    monkeypatch.setattr("harness.data.batches.read_split", raise_it)
    with pytest.raises(RequestError, match="is corrupt"):
        Prepared(tmp_path, SimpleNamespace()).check()


@pytest.mark.parametrize("count", [-1, 10**400])
def test_a_count_that_no_disk_holds_is_one_line(spec, count):
    file = prepare(spec()).folder / MANIFEST
    content = json.loads(file.read_text())
    content["sources"][0]["train_bytes"] = count
    content["seal"] = seal(content)
    file.write_text(json.dumps(content))
    with pytest.raises(RequestError, match=r"not a manifest .*train_bytes"):
        load_folder(file.parent)


@pytest.mark.parametrize(
    "header", ["{'descr': '<i4', (", "{'descr': '<i4'}", "{" * 90, " x\n  y\n z"]
)
def test_an_array_whose_header_is_damaged_is_one_line(spec, header):
    prepared = prepare(spec())
    file = prepared.folder / "token_bytes.npy"
    content = file.read_bytes()
    file.write_bytes(content[:10] + header.encode().ljust(118) + content[128:])
    with pytest.raises(RequestError, match=r"cannot read .*token_bytes\.npy") as refused:
        prepared.check()
    assert "\n" not in str(refused.value)
