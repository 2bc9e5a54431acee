"""The files of a transformers folder that hold its weights: one, or several that an index names."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
"""Which of several files holds which tensor, where there are several."""
MOST_BYTES = 64 * 10**6
"""What a JSON file of such a folder may have."""
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
"""Files of weights that are added to those of a model, which transformers does where it can."""


class Tensors:
    """Of several open files as of one."""

    def __init__(self, files: Sequence[Any]) -> None:
        self._holder = {name: file for file in files for name in file.keys()}  # noqa: SIM118

    def __len__(self) -> int:
        return len(self._holder)

    def keys(self) -> Iterable[str]:
        """The tensors' names."""
        return self._holder

    def shape(self, name: str) -> torch.Size:
        """The shape of one, without reading it."""
        return torch.Size(self._holder[name].get_slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """The type of one, as safetensors calls it."""
        return str(self._holder[name].get_slice(name).get_dtype())

    def get_tensor(self, name: str) -> Tensor:
        """Read one."""
        tensor: Tensor = self._holder[name].get_tensor(name)
        return tensor


def read_json(path: Path) -> Any:
    """What a JSON file says. Raises OSError where it cannot be read, and ValueError for a pipe or
    a device, from which reading might never end, for what is too large or nested too deeply, and
    for no JSON."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path.name} is no regular file")
    if found.st_size > MOST_BYTES:
        raise ValueError(f"{path.name} has {found.st_size:,} bytes, and at most {MOST_BYTES:,}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def weight_files(folder: Path) -> list[Path]:
    """The files of a transformers folder that hold its weights: the one, or those that its index
    names. Raises ValueError for an index that cannot be read."""
    index = folder / INDEX
    single = folder / WEIGHTS
    if single.exists() and not single.is_file():
        raise ValueError(f"{single} is no regular file")
    if single.is_file() or not index.is_file():
        return [single]
    try:
        names = set(read_json(index)["weight_map"].values())
        files = [folder / Path(name).name for name in sorted(names)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is not an index of weights ({error})") from None
    if missing := next((file for file in files if not file.is_file()), None):
        raise ValueError(f"{folder} holds no {missing.name}, which {INDEX} names")
    return files


def is_pointer(file: Path) -> bool:
    """Whether it is the small text that Git LFS leaves in a file's place until it is fetched."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(_POINTER)) == _POINTER


_POINTER = b"version https://git-lfs"
