"""Data is proven before it is trained on: no flipped bit of it passes, and it is read once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands import data_croissant, data_show
from harness.config import DataConfig
from harness.data import checked
from harness.data.manifest import Prepared
from harness.data.prepare import prepare
from harness.errors import RequestError

Spec = Callable[..., DataConfig]


def tokens_file(prepared: Prepared, split: str) -> Path:
    (file,) = (prepared.folder / "dataset" / split).glob("*.arrow")
    return file


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_flipped_bit_of_the_tokens_is_noticed_though_the_size_is_the_same(
    spec: Spec, split: str
) -> None:
    prepared = prepare(spec())
    checked.check(prepared)
    file = tokens_file(prepared, split)
    flip(file, file.stat().st_size // 2)
    with pytest.raises(RequestError, match=f"is corrupt: the {split} tokens are not the manifest"):
        checked.check(prepared)
    with pytest.raises(RequestError):  # and nothing was remembered of it
        checked.check(prepared)


def test_a_flipped_bit_in_the_bytes_of_a_scored_token_is_noticed(spec: Spec) -> None:
    prepared = prepare(spec())
    sizes = prepared.folder / "token_bytes.npy"
    content = bytearray(sizes.read_bytes())
    for place in range(len(content) - 4 * 100, len(content), 4):  # a hundred tokens' low bytes
        content[place] ^= 8
    sizes.write_bytes(content)
    with pytest.raises(RequestError, match=r"token_bytes\.npy is not what the manifest counted"):
        checked.check(prepared)


def test_what_was_proven_is_not_read_again_until_a_file_changes(
    spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(spec())
    times = []
    proof = Prepared.check
    monkeypatch.setattr(Prepared, "check", lambda self: times.append(1) or proof(self))
    checked.check(prepared)
    checked.check(prepared)
    assert len(times) == 1
    tokens_file(prepared, "train").touch()
    checked.check(prepared)
    assert len(times) == 2


@pytest.mark.parametrize("split", ["train", "validation"])
def test_what_shows_or_describes_a_folder_proves_it_first(
    spec: Spec, split: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token whose sign has flipped is in no vocabulary: a traceback, where it is looked up."""
    prepared = prepare(spec())
    file = tokens_file(prepared, split)
    content = bytearray(file.read_bytes())
    content[len(content) // 2 // 4 * 4 + 3] ^= 0x80
    file.write_bytes(content)
    with pytest.raises(RequestError, match="is corrupt"):
        data_show.data_show(data_show.Options(prepared.folder))
    with pytest.raises(RequestError, match="is corrupt"):
        data_croissant.data_croissant(data_croissant.Options(prepared.folder))
    assert capsys.readouterr().out == ""
