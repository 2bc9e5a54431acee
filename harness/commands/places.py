"""Where things are: results and checkpoints, for a scale and the user's options. No torch."""

from __future__ import annotations

from pathlib import Path

from harness.errors import RequestError, nearest


def results_folder(scale: str | None, chosen: Path | None) -> Path:
    """`--results`, else `./results/smoke` for the smoke scale and `./results` for the others.

    Raises RequestError where something else stands in its place.
    """
    folder = chosen or (Path("results") / "smoke" if scale == "smoke" else Path("results"))
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise RequestError(f"cannot write results to {folder}: {place} is not a folder")
    return folder


def existing_results(scale: str | None, chosen: Path | None) -> Path:
    """`results_folder`, where it is only read: raises RequestError where there is none."""
    folder = results_folder(scale, chosen)
    if not folder.is_dir():
        near = [path.name for path in folder.parent.glob("*/") if (path / "records").is_dir()]
        raise RequestError(f"no results folder '{folder}'{nearest(folder.name, near)}")
    return folder


def checkpoints_folder(results: Path) -> Path:
    """`./checkpoints`; beside foreign results, inside their folder."""
    if results.resolve().is_relative_to(Path.cwd()):
        return Path("checkpoints").resolve()
    return (results / "checkpoints").resolve()
