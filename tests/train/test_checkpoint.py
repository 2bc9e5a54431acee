"""Checkpoints come back as they were, or not at all."""

from pathlib import Path

import pytest
import torch

from harness.errors import RequestError
from harness.train import checkpoint
from tests.models import small

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


class Bomb:
    """Would leave a file behind if a loader executed it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_sealed_pickle_executes_nothing_and_is_one_line(tmp_path):
    path = tmp_path / "final_model.pt"
    checkpoint.save(path, {"model": {}, "x": Bomb(tmp_path / "executed")})
    with pytest.raises(RequestError, match="something else than tensors") as refused:
        checkpoint.load(path)
    assert "\n" not in str(refused.value)
    assert "weights_only" not in str(refused.value)
    assert not (tmp_path / "executed").exists()


WEIGHTS = small.build(small.DENSE).state_dict()
HUGE = small.config(small.DENSE, width=8_000_000, heads=1_000_000)
FIRST = "embedding.weight"


@pytest.mark.parametrize(
    ("config", "weights", "why"),
    [
        (HUGE, WEIGHTS, "where the model has"),
        (small.config(small.DENSE, layers=10**9), WEIGHTS, "1,000,000,000 layers, and"),
        (None, {**WEIGHTS, FIRST: torch.full_like(WEIGHTS[FIRST], torch.nan)}, "not finite"),
        (HUGE, {**WEIGHTS, FIRST: torch.zeros(1, 1).expand(97, 8_000_000)}, "no weights by name"),
        (None, {**WEIGHTS, "more": torch.zeros(1)}, "'more' is \\(1,\\), where the model has none"),
        (None, {FIRST: "a string"}, "no weights by name"),
        (None, 3, "no weights by name"),
    ],
)
def test_weights_that_are_no_models_are_refused_before_memory_is_taken(
    monkeypatch, config, weights, why
):
    def forbidden(*_, **__):
        raise AssertionError("memory was taken")

    monkeypatch.setattr(checkpoint.LanguageModel, "to_empty", forbidden)
    fitting = config or small.config(small.DENSE)
    with pytest.raises(RequestError, match=why):
        checkpoint.model_of(Path("x.pt"), fitting, torch.float32, weights)


def test_weights_that_fit_are_loaded():
    model = checkpoint.model_of(Path("x.pt"), small.config(small.DENSE), torch.float32, WEIGHTS)
    assert all(torch.equal(model.state_dict()[name], WEIGHTS[name]) for name in WEIGHTS)
