"""Checkpoints: written atomically, proven whole by a digest, loaded without running code.

The digest is `harness.train.seal`'s.
"""

from __future__ import annotations

import errno
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import torch

from harness.errors import RequestError
from harness.files import written_atomically
from harness.train import seal
from models.config import ModelConfig
from models.lm import LanguageModel

SPARE_BYTES = 64 * 2**20
"""Left free beside a checkpoint, for logs and records."""


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to `path`, as they are serialised: the file is never in
    memory beside them.

    Raises OSError, naming the path, where there is no room for it, and then leaves what was there.
    """
    _check_room(path, content)
    with written_atomically(path) as file:
        sealed = seal.Closing(file)
        torch.save(content, cast(IO[bytes], sealed))
        sealed.end()


def _check_room(path: Path, content: dict[str, Any]) -> None:
    """Before a byte is written: a disk that is filled takes other runs with it."""
    needed = sum(_bytes_of(content, set()))
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < needed + SPARE_BYTES:
        why = f"a checkpoint of {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        raise OSError(errno.ENOSPC, why, str(path))


def _bytes_of(content: Any, seen: set[int]) -> Iterator[int]:
    if isinstance(content, torch.Tensor):
        storage = content.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            yield storage.nbytes()
    elif isinstance(content, dict):
        for value in content.values():
            yield from _bytes_of(value, seen)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _bytes_of(value, seen)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises RequestError if it is missing, or holds more than tensors and plain values, of which
    nothing is executed; Damaged if it is truncated, changed or not ours.
    """
    body = io.BytesIO(seal.read(path))
    try:
        content = torch.load(body, map_location="cpu", weights_only=True)
    except Exception as error:  # anybody can seal a file, and torch fails in many ways
        # Torch's own words advise to execute it.
        raise RequestError(
            f"checkpoint {path.name} holds something else than tensors and plain values "
            f"({type(error).__name__}): it was not loaded"
        ) from None
    if not isinstance(content, dict):
        raise RequestError(f"checkpoint {path.name} holds {type(content).__name__}, not a dict")
    return content


def model_of(
    path: Path, config: ModelConfig, compute_dtype: torch.dtype, weights: Any
) -> LanguageModel:
    """The model of a configuration, on the CPU, with the weights that a checkpoint holds for it.

    Raises RequestError, before memory is taken for the model, for weights of other names or shapes
    than its own, for tensors that do not hold what they claim, and for values that are not finite.
    """
    misfit = f"checkpoint {path.name} does not fit its configuration:"
    if not isinstance(weights, dict) or not all(map(_is_whole, weights.values())):
        raise RequestError(f"checkpoint {path.name} holds no weights by name")
    if config.layers > len(weights):  # as many modules would be made first
        raise RequestError(f"{misfit} {config.layers:,} layers, and {len(weights):,} tensors")
    # A part that is not ours may compute what no checkpoint holds: it is built where it computes.
    own = bool(config.feed_forward.code or config.attention.code)
    with torch.device("cpu" if own else "meta"):
        model = LanguageModel(config, compute_dtype)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found = {name: tensor.shape for name, tensor in weights.items()}
    for name in sorted(expected.keys() | found.keys(), key=str):
        if expected.get(name) != found.get(name):
            raise RequestError(
                f"{misfit} '{name}' is {_shape(found.get(name))}, where the model has "
                f"{_shape(expected.get(name))}"
            )
    if odd := next((name for name in weights if not weights[name].isfinite().all()), None):
        raise RequestError(f"checkpoint {path.name} holds weights that are not finite, in '{odd}'")
    if not own:
        model.to_empty(device="cpu")
    model.load_state_dict(weights, strict=True)
    return model


def _is_whole(weight: Any) -> bool:
    """Whether it is a tensor whose every value lies in the file: one may claim more by strides."""
    if not isinstance(weight, torch.Tensor) or weight.layout != torch.strided:
        return False
    return weight.numel() * weight.element_size() <= weight.untyped_storage().nbytes()


def _shape(shape: torch.Size | None) -> str:
    return "none" if shape is None else str(tuple(shape))
