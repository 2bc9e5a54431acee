"""The words of a recipe whose arms are somebody's training scripts.

    from harness.referee.recipe import Script, Scripts, scripts

    @scripts("warmup", seeds={"smoke": 3, "proxy": 5})
    def warmup(scale):
        \"\"\"A longer warm-up against the fork's own.\"\"\"
        return Scripts(
            {"as-is": Script("../fork@main"), "longer": Script("../fork")},
            command="python train.py --seed {seed}", metric="val_loss", better="lower",
        )

It lies in `./recipes/*.py` as any other does. Paths are relative to the file that declares it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness import recipe as recipes
from harness.errors import RequestError, UsersFault, users_code
from harness.recipe import Entry, Primary, Recipe, Scale

UNMIXED = (
    "an arm of ours and a script are not judged together: our losses are of our validation "
    "documents and a script's are what it says of itself, so that their difference means nothing"
)


@dataclass(frozen=True)
class Script:
    """One version of a script: a folder, or `PATH@REV` of git, and the command that runs it."""

    place: str
    command: str | None = None
    """`{seed}` or the variable SMOL_SEED carries the seed; None is the comparison's."""


@dataclass(frozen=True)
class Scripts:
    """What a recipe of scripts compares; the fields are the options of `smol referee`."""

    arms: Mapping[str, Script]
    """By name, the baseline first."""
    command: str = "python train.py --seed {seed}"
    metric: str | None = None
    """None is the one that is reported, or the format's own."""
    better: Literal["lower", "higher"] | None = None
    """None is what the script's output, or the format, says."""
    format: str = "metric"
    budget: str = "1h"
    memory: str | None = None
    frozen: Sequence[str] = ()
    equal: Sequence[str] = ()
    share: Sequence[str] = ()
    noise_floor: int = 0
    again: bool = True


@dataclass(frozen=True)
class ScriptsEntry(Entry):
    """A registered recipe of scripts. What only arms of ours have, it refuses in one line."""

    def at(self, scale: Scale) -> Recipe:
        """Never a recipe of ours: raises RequestError."""
        raise RequestError(
            f"recipe '{self.name}' compares scripts, which smol list, show, run, card, trace and "
            "compare take"
        )

    def scripts(self, scale: Scale) -> Scripts:
        """The comparison at a scale. Raises RequestError if there is none, or no comparison."""
        if scale not in self.seeds:
            raise RequestError(
                f"recipe '{self.name}' has no scale '{scale}'; it has {', '.join(self.seeds)}"
            )
        try:
            with users_code():
                built: Any = self.build(scale)
        except (UsersFault, TypeError) as fault:
            raise RequestError(f"recipe '{self.name}' could not be built: {fault}") from None
        if isinstance(built, Recipe):
            raise RequestError(f"recipe '{self.name}' returned a Recipe: {UNMIXED}; use @recipe")
        if not isinstance(built, Scripts):
            raise RequestError(
                f"recipe '{self.name}' returned {type(built).__name__}, not Scripts(...)"
            )
        _check(self.name, built)
        return built


def _check(name: str, built: Scripts) -> None:
    if not isinstance(built.arms, Mapping) or len(built.arms) < 2:
        raise RequestError(f"recipe '{name}': Scripts takes two arms at least, by name")
    for arm, script in built.arms.items():
        recipes.check_name("an arm", arm)
        if not isinstance(script, Script):
            raise RequestError(f"recipe '{name}', arm '{arm}' is no Script(...): {UNMIXED}")
    if built.better not in (None, "lower", "higher"):
        raise RequestError(f"recipe '{name}': better is 'lower' or 'higher', not {built.better!r}")
    for field in ("frozen", "equal", "share"):
        if isinstance(getattr(built, field), str):
            raise RequestError(f"recipe '{name}': {field} is a list, not one text")


def scripts(
    name: str, *, seeds: Mapping[str, int], first_seed: int = 0
) -> Callable[[Callable[[Any], Scripts]], Callable[[Any], Scripts]]:
    """Register a function `scale -> Scripts` under a name; its docstring is the summary.

    Raises RequestError for a name that no record could carry, or fewer than 2 seeds.
    """
    for scale, count in seeds.items():
        if not isinstance(count, int) or count < 2:
            raise RequestError(f"recipe '{name}' needs at least 2 seeds at {scale}, not {count}")
    question = Primary(metric="val_loss", at="end", pairs=())  # what ours are asked; unused
    declare: Any = recipes.recipe(
        name, primary=question, seeds=seeds, first_seed=first_seed, kind=ScriptsEntry
    )
    register: Callable[[Callable[[Any], Scripts]], Callable[[Any], Scripts]] = declare
    return register
