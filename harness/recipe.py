"""The words a recipe is written in, and the registry that finds recipes by name.

A recipe says WHAT to compare: a base configuration, the axes that vary, seeds, horizons and the
one primary question. It is declarative and imports no torch.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field

from harness.config import NAME, PART_OF_NAME, Frozen, RunConfig
from harness.errors import RequestError, UsersFault, nearest, users_code, users_module

Rung = Literal["rung1", "rung2", "rung3", "rung4", "rung5", "rung6", "rung7", "rung8"]
Scale = Literal["smoke", "proxy", "full", Rung]
Role = Literal["", "noise", "compile", "kernels", "bundle", "night"]
"""What others use a recipe's records for: `noise`, the spread over seeds beside every difference;
`compile` and `kernels`, the timings that `auto` chooses by; `bundle`, nothing, since its arms
differ in several things at once; `night` is the protocol of `smol night`."""
SCALES: tuple[Scale, ...] = ("smoke", "proxy", "full")
LADDER = "ladder"  # what `--scale` takes for all rungs that a recipe has, the smallest first
RUNGS: tuple[Scale, ...] = get_args(Rung)  # which of them a device climbs: `Device.ladder`


@dataclass(frozen=True)
class Tokens:
    """A horizon at which every arm has trained on the same number of tokens."""

    tokens: int
    name: str = "tokens"

    def __post_init__(self) -> None:
        """Refuse a length that is none."""
        if self.tokens < 1:
            raise ValueError(f"a horizon has at least 1 token, not {self.tokens}")


@dataclass(frozen=True)
class ActiveFlops:
    """A horizon at which every arm has spent the FLOPs that arm `arm` spends on the base tokens.

    FLOPs of active parameters and causal attention (`models.config.flops_per_token`).
    """

    arm: str
    name: str = "active-flops"

    @classmethod
    def of(cls, arm: str) -> ActiveFlops:
        """As many active FLOPs as `arm` spends on `base.train.tokens`."""
        return cls(arm)


Horizon = Tokens | ActiveFlops


@dataclass(frozen=True)
class Axis:
    """One thing that varies: its named values, and the fields that they may touch.

    `fields` are dotted paths; a trailing `*` stands for all below. A value is a mapping of dotted
    paths, a configuration section (with `fields=["section.*"]`), a plain value (with one field), or
    a function of the configuration that the axes before it make, which gives a mapping.
    """

    name: str
    fields: Sequence[str]
    values: Mapping[str, Any]

    def changes(self, value_name: str, before: Callable[[], RunConfig]) -> dict[str, Any]:
        """The dotted paths that a value sets, after what is `before` it. Raises RequestError for a
        value of another form."""
        value = self.values[value_name]
        if callable(value):
            try:
                with users_code():
                    value = value(before())
            except UsersFault as fault:
                raise RequestError(f"axis '{self.name}', value '{value_name}': {fault}") from None
        if isinstance(value, BaseModel):
            if len(self.fields) != 1 or not self.fields[0].endswith(".*"):
                raise RequestError(
                    f"axis '{self.name}': value '{value_name}' is a whole section, which needs "
                    f'fields=["section.*"], not {list(self.fields)}'
                )
            return {self.fields[0].removesuffix(".*"): value}
        if isinstance(value, Mapping):
            return dict(value)
        if len(self.fields) == 1 and not self.fields[0].endswith("*"):
            return {self.fields[0]: value}
        raise RequestError(
            f"axis '{self.name}': value '{value_name}' must map fields to values, "
            f"since the axis has the fields {list(self.fields)}"
        )

    def allows(self, path: str) -> bool:
        """Whether the axis declares a dotted path: itself, what it is below (a part by its field
        alone), or a part's name, which brings its settings and its code."""
        return any(
            path == known
            or path.startswith(f"{known.removesuffix('.*')}.")
            or (known.endswith(".name") and path.startswith(_belonging(known)))
            for known in self.fields
        )


def _belonging(name_field: str) -> tuple[str, ...]:
    return tuple(f"{name_field.removesuffix('name')}{field}" for field in PART_OF_NAME)


@dataclass(frozen=True)
class Stage:
    """One run in a chain: what it changes in an arm's configuration, and where it starts from.

    A stage starts from the weights that another ended with; optimizer and schedule begin anew.
    """

    name: str
    changes: Callable[[RunConfig], Mapping[str, Any]] | Mapping[str, Any] = field(
        default_factory=dict
    )
    """Dotted paths and values, or a function of the arm's configuration that gives them (as a
    tenth of each learning rate). `train.tokens` among them is the stage's own length."""
    after: str | None = None
    """The stage that it starts from; None starts from an initialisation."""
    prompts: Sequence[str] = ()
    """Texts put to the model before and after the stage, greedily; the record has the answers."""


@dataclass(frozen=True)
class Match:
    """An arm that must have as many parameters as another, to 2 %."""

    arm: str
    to: str
    by: Literal["active", "total"]


@dataclass(frozen=True)
class Launches:
    """The recipe times its arms: every arm and every length is launched on its own, with nothing
    else running, arms interleaved (ABBA). The launches of one seed are a block, within which arms
    are paired; horizons are the run lengths, each a whole run from an initialisation.
    """

    margin: float
    """Nats a token: a variant whose loss is not within this of its reference shows no speed-up."""
    cache: Literal["private", "shared"] = "private"
    """Where a launch finds compiled code: in a `private` cache that is empty at each launch (cold),
    or in the user's own, `shared` one (warm)."""
    fewest: int = 5
    """Blocks below which no ratio is given."""


LOOKS = (0.0005, 0.0026, 0.0071, 0.014, 0.0229, 0.0334)
"""Two-sided levels of the looks after 3, 4, ... 8 pairs; why these, `harness.stats.sequential`."""


@dataclass(frozen=True)
class Sequential:
    """Seeds bought one by one, by a rule fixed beforehand (`harness.stats.sequential`): from three
    on each is looked at, and the comparison ends where it has found something, where more would
    hardly find anything, or after `max` seeds.

    Raises RequestError for a `max` that the rule has no levels for.
    """

    max: int = 2 + len(LOOKS)

    def __post_init__(self) -> None:
        """Refuse what the rule was not made for."""
        if not 4 <= self.max <= 2 + len(LOOKS):
            raise RequestError(
                f"Sequential(max={self.max}): the rule has levels for 4 to {2 + len(LOOKS)} seeds"
            )

    @property
    def looks(self) -> tuple[float, ...]:
        """The level of each look."""
        return LOOKS[: self.max - 2]


class Primary(Frozen):
    """The one question that a recipe asks beforehand; everything else is exploratory."""

    metric: Literal["val_loss", "tokens_per_second"]
    at: str
    """A horizon's name."""
    pairs: tuple[tuple[str, str], ...]
    """(reference arm, arm): is the second better than the first?"""
    equivalent: float | None = Field(default=None, gt=0.0)
    """Nats a token within which the losses of two arms are called equivalent. None is what 2 %
    more tokens would bring at that point of the reference's curve."""


@dataclass(frozen=True)
class Recipe:
    """What a recipe's function returns for one scale."""

    base: RunConfig
    axes: Sequence[Axis]
    horizons: Sequence[Horizon] = ()
    """Where there are stages, each one's end is a horizon of its name, and none is given here."""
    stages: Sequence[Stage] = ()
    """Parents before children; none is one stretch of training to the horizons."""
    matches: Sequence[Match] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    """Arm -> a remark that stands beside it in every table."""
    role: Role = ""
    """What others use its records for; most recipes have no such role."""
    tuned_by: str | None = None
    """The recipe whose equal searches choose the arms' learning rates and weight decay. The card
    holds what was used against what its records found."""
    timing: Launches | None = None
    """How the arms are timed, where the question is one of speed; else None."""
    devices: Sequence[str] = ()
    """The kinds that it can be run on; none named is any."""
    views: Sequence[str] = ("comparison", "curves")
    """Names of views in `harness.report.views`, by name so that a recipe stays light; or
    `FILE.py:OBJECT` of one's own, beside the recipe (`harness.report.own`)."""

    def runs_on(self, device: str) -> bool:
        """Whether it can be run on a kind of device."""
        return not self.devices or device in self.devices


@dataclass(frozen=True)
class Entry:
    """A registered recipe."""

    name: str
    primary: Primary
    seeds: Mapping[str, int]
    """Scale -> number of seeds, frozen: another number marks the result exploratory. Of a
    sequential design the most."""
    build: Callable[[Scale], Recipe]
    summary: str
    first_seed: int = 0
    """The seeds are this and those that follow: a search keeps clear of the verdict's."""
    about: str | None = None
    """`FILE.py:FUNCTION` beside the recipe, which gives the words, tables and figures that its page
    of the card shows below its results (`harness.report.own`)."""
    looks: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Scale -> the levels of its looks, where its seeds are `Sequential`."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where its file lies: a user's parts may lie beside it."""
        code = getattr(inspect.unwrap(self.build), "__code__", None)
        return (Path(code.co_filename).parent,) if code is not None else ()

    def at(self, scale: Scale) -> Recipe:
        """The recipe at a scale. Raises RequestError if it has none there."""
        if scale not in self.seeds:
            raise RequestError(
                f"recipe '{self.name}' has no scale '{scale}'; it has {', '.join(self.seeds)}"
            )
        try:
            with users_code():
                built = self.build(scale)
        except UsersFault as fault:
            raise RequestError(f"recipe '{self.name}' could not be built: {fault}") from None
        if not isinstance(built, Recipe):
            raise RequestError(
                f"recipe '{self.name}' returned {type(built).__name__}, not a Recipe"
            )
        return built


@dataclass(frozen=True)
class Broken:
    """A recipe file that could not be loaded, and why, in one line."""

    name: str
    file: str
    error: str


_registering: dict[str, Entry] = {}


def check_name(kind: str, name: str) -> None:
    """Raise RequestError for a name that a record could not carry; `kind` says whose it is."""
    if not re.fullmatch(NAME, name):
        raise RequestError(
            f"'{name}' cannot name {kind}: at most 100 letters, digits and ._+=,@- "
            "with a letter or digit first"
        )


def recipe(
    name: str,
    *,
    primary: Primary,
    seeds: Mapping[str, int | Sequential],
    first_seed: int = 0,
    about: str | None = None,
    kind: type[Entry] = Entry,
) -> Callable[[Callable[[Any], Recipe]], Callable[[Any], Recipe]]:
    """Register a function `scale -> Recipe` under a name; its docstring is the summary.

    Raises RequestError for a name that no record could carry.
    """
    check_name("a recipe", name)
    for scale, count in seeds.items():
        if not isinstance(count, Sequential) and count < 1:
            raise RequestError(f"recipe '{name}' needs at least 1 seed at {scale}, not {count}")

    def register(build: Callable[[Any], Recipe]) -> Callable[[Any], Recipe]:
        document = build.__doc__ or _written_docstring(build)
        if not document:
            raise ValueError(f"recipe '{name}' needs a docstring that says what it compares")
        if name in _registering:
            raise ValueError(f"recipe '{name}' is declared twice")
        summary = document.strip().splitlines()[0]
        most = {s: n.max if isinstance(n, Sequential) else n for s, n in seeds.items()}
        looks = {s: n.looks for s, n in seeds.items() if isinstance(n, Sequential)}
        if looks and (primary.metric != "val_loss" or not primary.pairs):
            raise RequestError(
                f"recipe '{name}': Sequential seeds need a question of losses with a pair of arms "
                "to look at"
            )
        _registering[name] = kind(name, primary, most, build, summary, first_seed, about, looks)
        return build

    return register


def _written_docstring(build: Callable[[Any], Recipe]) -> str | None:
    """The docstring as it stands in the source: `python -OO` keeps none in the function."""
    (function,) = ast.parse(inspect.getsource(build)).body
    return ast.get_docstring(function) if isinstance(function, ast.FunctionDef) else None


def load(user_folder: Path | None = None) -> tuple[dict[str, Entry], list[Broken]]:
    """All recipes by name: ours, then the user's `./recipes/*.py`; and the files that broke.

    A user's recipe of the same name as one of ours is refused (listed as broken), not shadowed.
    """
    import recipes as ours

    for module in pkgutil.iter_modules(ours.__path__):
        importlib.import_module(f"recipes.{module.name}")  # registers once; cached afterwards
    for name, entry in list(_registering.items()):
        if not entry.build.__module__.startswith("recipes."):
            del _registering[name]  # a user's, of an earlier call
    broken: list[Broken] = []
    folder = user_folder if user_folder is not None else Path.cwd() / "recipes"
    if folder.is_dir() and folder.resolve() not in {Path(p).resolve() for p in ours.__path__}:
        for file in sorted(folder.glob("*.py")):
            if not file.name.startswith("_") and not _is_part(file):
                broken += _load_file(file)
    return dict(_registering), broken


def _is_part(file: Path) -> bool:
    """Whether a file is an optimizer or the like that lies beside the recipes: it imports torch,
    which no plan may wait for, and nothing of the harness."""
    try:
        body = ast.parse(file.read_text("utf-8")).body if file.is_file() else []
    except (OSError, ValueError, SyntaxError, MemoryError, RecursionError):
        return False  # loading it will say what is wrong
    names = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in body if isinstance(node, ast.ImportFrom)]
    tops = {name.partition(".")[0] for name in names}
    return "torch" in tops and "harness" not in tops


def _load_file(file: Path) -> list[Broken]:
    if not file.is_file():
        return [Broken(file.stem, file.name, "it is no regular file")]  # a pipe would never end
    before = dict(_registering)
    try:
        users_module(file, f"_user_recipe_{file.stem}")
    except (UsersFault, RequestError) as fault:  # reported, not hidden
        _registering.clear()
        _registering.update(before)
        return [Broken(file.stem, file.name, str(fault))]
    return []


def find(name: str, user_folder: Path | None = None) -> Entry:
    """The recipe of that name. Raises RequestError with the nearest name, or why a file broke."""
    entries, broken = load(user_folder)
    if name in entries:
        return entries[name]
    broken.sort(key=lambda file: file.name != name)
    said = [f"recipes/{file.file} could not be loaded: {file.error}" for file in broken[:1]]
    named = bool(broken) and broken[0].name == name
    raise RequestError("; ".join([f"no recipe '{name}'{nearest(name, entries)}", *said][named:]))
