"""Folders that others prepared: what `datasets` saved, with `input_ids` and maybe `labels`.

Such a folder has no manifest, often no validation split and no tokenizer. It is read as it lies,
and a prepared folder like our own is made of it in the cache, once; the given folder is never
written to. May not import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.config import digest
from harness.data.cache import build_once, cache_root
from harness.data.manifest import MANIFEST, UNKNOWN, Prepared, load_folder
from harness.errors import RequestError
from harness.files import read_json, sha256

VAL_NAMES = ("validation", "val", "valid", "dev", "test", "eval")
"""What a validation split may be called, the first that is there is taken."""
_FORMAT = 2
"""Raised with every change of what is made of the same folder."""

Progress = Callable[[str], None]


def is_foreign(folder: Path) -> bool:
    """Whether `datasets` saved this folder and nobody sealed it."""
    saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    return saved and not (folder / MANIFEST).is_file()


def open_folder(
    folder: Path, *, tokenizer: str | None = None, progress: Progress = lambda _: None
) -> Prepared:
    """A prepared folder, ours or another's. `tokenizer` (`smollm2` or a folder) says what another's
    was tokenized with, where it does not hold one.

    Raises RequestError for a folder that cannot be trained on, or a tokenizer that is not its own.
    """
    if is_foreign(folder):
        return adopt(folder, tokenizer, progress)
    prepared = load_folder(folder)
    if tokenizer is not None:
        from harness.data import given

        file = given.find(tokenizer, progress) / "tokenizer.json"
        if _sha256(file) != prepared.manifest.tokenizer_digest:
            raise RequestError(
                f"{folder} was tokenized with another tokenizer than --tokenizer {tokenizer}"
            )
    return prepared


def look(folder: Path) -> None:
    """Raises RequestError for a folder that is no prepared one, ours or another's, or that has a
    column whose meaning is not known. Nothing is built, and no token is read."""
    if not is_foreign(folder):
        load_folder(folder)
        return
    from harness.data import columns
    from harness.data.batches import Split

    for place in _parts(folder).values():
        columns.check(Split(place))


def adopt(folder: Path, tokenizer: str | None, progress: Progress) -> Prepared:
    """The prepared folder that is made of another's, found in the cache or built there.

    Raises RequestError.
    """
    from harness.data.adopting import build

    source = _tokenizer(folder, tokenizer, progress)
    parts = _parts(folder)
    if aside := _passed_over(folder, parts):
        progress(f"{folder}: splits that are passed over: {', '.join(aside)}")
    place = cache_root() / "data" / f"adopted-{_key(parts, source)}"

    def fill(temporary: Path) -> None:
        progress(f"{folder} was prepared by others: checking and sealing it in the cache")
        build(folder, parts, source, temporary, progress)

    build_once(place, fill)
    return load_folder(place)


def describe(preparation: dict[str, Any]) -> list[str]:
    """Lines for people: how validation came about, and what is not known."""
    lines = [f"prepared by others; {preparation['validation']}"]
    if "targets" in preparation:
        lines.append(preparation["targets"])
    if preparation["rows_without_target"]:
        lines.append(f"{preparation['rows_without_target']:,} rows without a target left out")
    lines.append(preparation["tokenizer"])
    return lines


def _tokenizer(folder: Path, chosen: str | None, progress: Progress) -> Path | None:
    """The tokenizer's folder: the one chosen, else the folder itself if it holds one."""
    if chosen is not None:
        from harness.data import given

        return given.find(chosen, progress)
    return folder if (folder / "tokenizer.json").is_file() else None


def _parts(folder: Path) -> dict[str, Path]:
    """`train`, and `validation` where there is such a part. Raises RequestError."""
    if not (folder / "dataset_dict.json").is_file():
        return {"train": folder}
    try:
        names = read_json(folder / "dataset_dict.json")["splits"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{folder / 'dataset_dict.json'} cannot be read ({error})") from None
    if not isinstance(names, list):
        raise RequestError(f"{folder / 'dataset_dict.json'} does not list its splits")
    if "train" not in names:
        raise RequestError(
            f"{folder} has no split 'train', only {', '.join(map(str, names))}; name it so, or "
            "give the split's own folder"
        )
    held = next((name for name in VAL_NAMES if name in names), None)
    parts = {"train": folder / "train"} | ({"validation": folder / held} if held else {})
    for place in parts.values():
        if not place.is_dir():
            raise RequestError(f"{folder} names a split '{place.name}', whose folder is missing")
    return parts


def _passed_over(folder: Path, parts: dict[str, Path]) -> list[str]:
    """The splits that are neither trained on nor validated on."""
    used = {place.name for place in parts.values()}
    if parts["train"] == folder:
        return []
    names = read_json(folder / "dataset_dict.json")["splits"]
    return [str(name) for name in names if name not in used]


def _key(parts: dict[str, Path], tokenizer: Path | None) -> str:
    """Of the bytes that decide what is built."""
    files = {
        f"{part}/{path.name}": _sha256(path)
        for part, place in parts.items()
        for path in sorted(place.iterdir())
        if path.suffix == ".arrow" or path.name == "state.json"
    }
    name = _sha256(tokenizer / "tokenizer.json") if tokenizer else UNKNOWN
    return digest({"format": _FORMAT, "files": files, "tokenizer": name})


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise RequestError(f"cannot read {path} ({error.strerror or error})") from None
