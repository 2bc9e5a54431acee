"""Which optimizers there are, and what each says of itself, without importing one (nor torch)."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.config import OptimConfig
from harness.errors import RequestError, nearest

FOLDER = Path(__file__).with_name("optimizers")


def files() -> dict[str, Path]:
    """Name -> file, of all in the folder."""
    found = {file.stem.replace("_", "-"): file for file in sorted(FOLDER.glob("*.py"))}
    return {name: file for name, file in found.items() if not name.startswith("-")}


@cache
def declared(name: str) -> dict[str, Any]:
    """The literals that an optimizer's file declares, by their names; none for a user's own."""
    if name not in files():
        return {}
    return {
        target.id: ast.literal_eval(node.value)
        for node in ast.parse(files()[name].read_text("utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in ("FIELDS", "FIXED", "LAUNCHES_A_MATRIX")
    }


def is_flat(name: str) -> bool:
    """Whether it reads the flat fields of `optim`, and has no settings of its own."""
    return "FIELDS" in declared(name)


@cache
def reads(name: str, field: str) -> bool:
    """Whether an optimizer reads a field of `optim`. One that nobody declares is everybody's."""
    owners = [one for one in files() if field.startswith(tuple(declared(one).get("FIELDS", ())))]
    return not owners or name in owners


def launches_a_matrix(name: str) -> int:
    """Kernels that it launches for one matrix in an update, where they are many."""
    launches: int = declared(name).get("LAUNCHES_A_MATRIX", 0)
    return launches


def peaks(optim: dict[str, Any]) -> dict[str, float]:
    """The peak learning rates of a configuration's `optim`, by what they are the rates of."""
    if not is_flat(optim["name"]):
        rates = {optim["name"]: optim.get("settings", {}).get("lr")}
    else:
        rates = {
            field.removesuffix("_lr"): value
            for field, value in optim.items()
            if field.endswith("_lr") and reads(optim["name"], field)
        }
    return {name: rate for name, rate in rates.items() if isinstance(rate, float)}


def check(config: OptimConfig) -> None:
    """Refuse settings for an optimizer of ours that has none, and a field of which it takes
    another value. Raises RequestError."""
    for setting in config.settings:
        raise RequestError(
            f"optim.settings.{setting}: {config.name} has no settings of its own, it reads "
            + " and ".join(f"optim.{start}*" for start in declared(config.name)["FIELDS"])
        )
    for field, value in declared(config.name).get("FIXED", {}).items():
        if getattr(config, field) not in (value, "auto"):  # which the plan will resolve
            raise RequestError(
                f"optim.name {config.name} takes optim.{field} {value} alone, not "
                f"{getattr(config, field)}"
            )


def module(name: str) -> ModuleType:
    """The module of an optimizer that reads flat fields. Raises RequestError for an unknown one."""
    if not is_flat(name):
        raise RequestError(f"no optimizer '{name}'{nearest(name, files())}")
    return importlib.import_module(f"{__package__}.optimizers.{files()[name].stem}")
