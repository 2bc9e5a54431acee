"""Where things are: results and checkpoints, for a scale and the user's options. No torch."""

from __future__ import annotations

from pathlib import Path

from harness.errors import RequestError, nearest
from harness.files import write_atomically
from harness.recipe import LADDER, RUNGS

LAST = Path("checkpoints") / ".last-results"
"""Names the folder that the last run in this directory has written to."""


def results_folder(scale: str | None, chosen: Path | None) -> Path:
    """`--results`, else `./results/smoke` for the smoke scale, `./results/ladder` for a
    ladder's rungs and `./results` for the others.

    Raises RequestError where something else stands in its place.
    """
    usual = Path("results")
    apart = "smoke" if scale == "smoke" else LADDER if scale in (LADDER, *RUNGS) else ""
    folder = chosen or usual / apart
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise RequestError(f"{folder} cannot be a results folder: {place} is not a folder")
    return folder


def existing_results(chosen: Path | None) -> Path:
    """The folder whose card and records are meant, where it is only read: `chosen`, else
    `./results` if runs have left records there, else where the last run here has written.

    Raises RequestError where there is none.
    """
    return next(iter(candidates(chosen)))


def candidates(chosen: Path | None) -> list[Path]:
    """Every folder with results that a command may mean, the likeliest first.

    Raises RequestError where there is none.
    """
    if chosen is not None:
        if not results_folder(None, chosen).is_dir():
            near = [path.name for path in chosen.parent.glob("*/") if (path / "records").is_dir()]
            raise RequestError(f"no results folder '{chosen}'{nearest(chosen.name, near)}")
        return [chosen]
    usual = results_folder(None, None)
    found = with_records()
    if not found and not usual.is_dir():
        raise RequestError(f"no results folder '{usual}': `smol run` makes it")
    return found or [usual]


def with_records() -> list[Path]:
    """The folders here in which runs have left records: `./results`, where the last run has
    written, and `./results/smoke`."""
    usual, smoke = results_folder(None, None), results_folder("smoke", None)
    places: dict[Path, Path] = {}
    for place in (usual, *_last(), smoke):  # `--results` may have named one of them by another path
        places.setdefault(place.resolve(), place)
    kinds = ("records", "scripts")
    return [place for place in places.values() if any((place / kind).is_dir() for kind in kinds)]


def remember(results: Path) -> None:
    """Note where a run writes, for the commands that read."""
    LAST.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(LAST, f"{results}\n")


def _last() -> list[Path]:
    """Where the last run here has written, if anything is known of it."""
    try:
        return [Path(LAST.read_text(encoding="utf-8").strip())]
    except (OSError, UnicodeDecodeError):
        return []


def trackers_folder(results: Path) -> Path:
    """Where trackers keep what they keep on this machine, a folder each: beside checkpoints."""
    return checkpoints_folder(results) / ".trackers"


def checkpoints_folder(results: Path) -> Path:
    """`./checkpoints`; beside foreign results, inside their folder."""
    if results.resolve().is_relative_to(Path.cwd()):
        return Path("checkpoints").resolve()
    return (results / "checkpoints").resolve()
