"""Checkpoints come back as they were, or not at all."""

import pytest
import torch

from harness.errors import RequestError
from harness.train import checkpoint

CONTENT = {"model": {"w": torch.arange(1000.0).view(20, 50)}, "update": 3, "names": ["a", "b"]}


def test_round_trip(tmp_path):
    path = tmp_path / "model.pt"
    checkpoint.save(path, CONTENT)
    back = checkpoint.load(path)
    assert torch.equal(back["model"]["w"], CONTENT["model"]["w"])
    assert {k: back[k] for k in ("update", "names")} == {"update": 3, "names": ["a", "b"]}
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_plain_torch_load_takes_it_too(tmp_path):
    checkpoint.save(tmp_path / "model.pt", CONTENT)
    assert torch.load(tmp_path / "model.pt", weights_only=True)["update"] == 3


def test_any_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "model.pt"
    checkpoint.save(path, CONTENT)
    good = path.read_bytes()
    for place in range(0, len(good), 97):
        bad = bytearray(good)
        bad[place] ^= 0x10
        path.write_bytes(bytes(bad))
        with pytest.raises(RequestError, match=r"model\.pt"):
            checkpoint.load(path)


@pytest.mark.parametrize("keep", [0, 10, 3000])
def test_truncation_is_noticed(tmp_path, keep):
    path = tmp_path / "model.pt"
    checkpoint.save(path, CONTENT)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RequestError, match="truncated, or was not written here"):
        checkpoint.load(path)
