"""From the name of a part to its text: a file of ours, a user's file, or an installed package.

A user's file lies beside the recipe's, in ./recipes or in the current folder. Nothing of it runs
here. May not import torch.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from harness.errors import NotInstalled, RequestError, nearest
from harness.optim import registry
from models import own

MODELS = Path(own.__file__).parent
FOLDERS: dict[str, Path | None] = {
    "optim": registry.FOLDER,
    "model.feed_forward": MODELS / "feed_forwards",
    "model.attention": MODELS / "attentions",
    "schedule.shape": None,
    "train.loss": None,
}
"""Where the configuration names a part of each kind -> the folder of ours, if there is one."""
WHAT = {
    "optim": "optimizer",
    "model.feed_forward": "feed-forward",
    "model.attention": "attention",
    "schedule.shape": "schedule",
    "train.loss": "loss term",
}


EXTRAS = {"pytorch_optimizer": "optimizers"}
"""Package -> the extra of ours that brings it."""


def defined_at(name: str, code: str) -> str:
    """`FILE:LINE` at which a text defines what a part's name means, as far as can be told without
    running it; of an installed package, the name."""
    named = own.read_name(name)
    if not named.is_file:
        return name
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError):
        body = []
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else ()
        names = [one.id for one in targets if isinstance(one, ast.Name)]
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        if named.found in names or (not named.found and names and names[0][0] != "_"):
            return f"{named.place}:{node.lineno}"
    return f"{named.place}:1"


def code_of(kind: str, name: str, beside: Sequence[Path]) -> str:
    """The text of the file that a part's name means, or `distribution version` of its package.

    Raises RequestError where there is none, with the nearest name.
    """
    named = own.read_name(name)
    if not named.is_file:
        if not named.place or not named.found:
            raise RequestError(f"'{name}' names no {WHAT[kind]}: package.module:CLASS does")
        top = named.place.partition(".")[0]
        if importlib.util.find_spec(top) is None:
            extra = EXTRAS.get(top)
            how = f": pip install -e '.[{extra}]'" if extra else ""
            raise NotInstalled(f"'{name}' needs the package '{top}', which is not installed{how}")
        return own.installed_version(named.place)
    if ":" not in name and not name.endswith(".py"):
        folder = FOLDERS[kind]
        ours = {
            file.stem.replace("_", "-"): file
            for file in (sorted(folder.glob("*.py")) if folder else ())
            if not file.name.startswith("_")
        }
        if name not in ours:
            hint = nearest(name, ours) or ": FILE.py[:OBJECT], or package.module:OBJECT"
            raise RequestError(f"no {WHAT[kind]} '{name}'{hint}")
        return _text(ours[name])
    if Path(named.place).is_absolute():
        raise RequestError(f"{named.place}: a part is named from a folder, so that records can be")
    places = [*beside, Path("recipes"), Path()]
    for folder in places:
        if (folder / named.place).is_file():
            return _text(folder / named.place)
    files = {file.name for folder in places for file in folder.glob("*.py")}
    raise RequestError(
        f"no file '{named.place}' beside the recipe, in ./recipes or here"
        f"{nearest(named.place, files)}"
    )


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{file.name}: {own.said(error)}") from None
