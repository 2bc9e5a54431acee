"""`smol data prepare recipe`: the data of a recipe, where its runs will look for it; and what of a
plan's data is not there yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.commands import run_data
from harness.commands.options import ConfigOption, RecipeName, ScaleOption, SetOption
from harness.commands.planned import read_overrides, read_scale
from harness.commands.prepared import say
from harness.config import DataConfig, canonical
from harness.data import prepare
from harness.data.manifest import describe
from harness.errors import RequestError
from harness.launch import terminal
from harness.plan import needs
from harness.plan.resolved import resolve
from harness.plan.runs import Plan, Run
from harness.recipe import find


@dataclass(frozen=True)
class Options:
    """Prepare the data that a recipe reads.

    Do it before a card is paid for. It goes to the cache, where runs on this machine find it; the
    same command goes on where the last one was cut off.
    """

    recipe: RecipeName
    scale: ScaleOption = "full"
    sets: SetOption = field(default_factory=list)
    config: ConfigOption = None


def data_recipe(options: Options) -> None:
    """Prepare each specification once, and say where it lies. Raises RequestError."""
    scale = read_scale(options.scale)
    resolved = resolve(find(options.recipe), scale, read_overrides(options.config, options.sets))
    wanted = run_data.wanted(resolved.arms, resolved.recipe.stages)
    for made in run_data.prepare_all(wanted, {}, None).values():
        terminal.lines(describe(made.manifest))
        print(made.folder)
    say(f"the data of {options.recipe} at {scale} is prepared")


def is_prepared(data: DataConfig) -> bool:
    """Whether a specification's data is in the cache; what cannot be looked for is not."""
    try:
        return prepare.find_prepared(data) is not None
    except RequestError:
        return False


def missing(plan: Plan) -> list[str]:
    """A line, where something of the plan's data is not prepared here."""
    return lacking({(plan.entry.name, plan.scale): plan.runs})


def lacking(of: Mapping[tuple[str, str], Iterable[Run]]) -> list[str]:
    """One line for all questions, by (recipe, scale), whose data is not prepared here."""
    found: dict[tuple[str, str], int] = {}
    known: dict[str, bool] = {}
    for name, runs in of.items():
        for data in {canonical(r.config.data): r.config.data for r in runs}.values():
            there = known.setdefault(canonical(data), is_prepared(data))
            if not there:
                found[name] = found.get(name, 0) + needs.TOKEN_BYTES * (data.train_tokens or 0)
    if not found:
        return []
    recipe, scale = next(iter(found))
    which = ", ".join(f"{name} at {size}" for name, size in found)
    gigabytes = sum(found.values()) / 1e9
    sizes = f" ({gigabytes:.1f} GB)" if gigabytes >= 0.05 else ""
    return [
        f"data is not prepared here: of {which}{sizes}: `smol data prepare recipe {recipe} --scale "
        f"{scale}`{' and so on' if len(found) > 1 else ''}, before the card is paid for"
    ]
