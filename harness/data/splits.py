"""Which files of a folder are its training split: as `datasets` reads the same folder.

A folder as the Hub has it says so in its README, or by the names of its files (`test.jsonl`,
`data/validation-00000.parquet`); to train on all of them would be to train on the test.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.errors import RequestError, nearest

_NAMED = re.compile(r"train|test|val|dev|eval", re.IGNORECASE)
_CONFIGURED = re.compile(r"^(configs|data_files):", re.MULTILINE)


def chosen(
    folder: Path, files: Sequence[Path], split: str = "train", subset: str | None = None
) -> list[Path]:
    """The `files` of a folder that are its split; all, where nothing says which are training.

    Raises RequestError for a split or subset that it does not have.
    """
    readme = folder / "README.md"
    says = readme.is_file() and _CONFIGURED.search(readme.read_text("utf-8", errors="replace"))
    if not says:
        subset = None  # is then a name in the mix, nothing more
    parts: dict[str, set[Path]] = {}
    if says or any(_NAMED.search(str(file.relative_to(folder))) for file in files):
        parts = _parts(folder, subset)
    if split not in parts:
        if split != "train":
            raise RequestError(f"'{folder}' has no split '{split}'{nearest(split, parts)}")
        return list(files)
    whole = folder.expanduser().resolve()
    taken = [file for file in files if whole / file.relative_to(folder) in parts[split]]
    if files and not taken:
        one = min(parts[split]).relative_to(whole)
        raise RequestError(f"'{folder}' has its split '{split}' in {one}, which is not read")
    return taken


def _parts(folder: Path, subset: str | None) -> dict[str, set[Path]]:
    """Split -> files, empty where `datasets` does not make a data set of the folder."""
    import datasets

    try:
        with tempfile.TemporaryDirectory() as cache:
            made = datasets.load_dataset_builder(str(folder), subset, cache_dir=cache)
        found = made.config.data_files or {}
    except Exception as error:  # what it raises has no common class
        said = " ".join(str(error).split())
        if "onfig" in said and "available" in said.lower():  # several subsets, or another one
            raise RequestError(f"'{folder}': {said.split(' Example of')[0]}") from None
        return {}
    return {str(name): {Path(one) for one in files} for name, files in found.items()}
