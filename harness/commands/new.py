"""`smol new`: a recipe of one's own to start from. It runs as it is written."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import RequestError
from harness.recipe import load

FOLDER = Path("recipes")
TEMPLATE = '''"""My own comparison: `smol run {name}` trains its arms and says which is better."""

from harness import presets
from harness.recipe import Axis, Primary, Recipe, Tokens, recipe


@recipe(
    "{name}",
    # The one question, asked before anything runs: is the second arm better than the first?
    primary=Primary(metric="val_loss", at="tokens", pairs=(("low", "high"),)),
    # How many seeds each scale gets. Below three no verdict is given; five make it firm.
    # `"proxy": 5` would add a scale of about an hour on a CPU.
    seeds={{"smoke": 3}},
)
def {name}(scale):
    """Two learning rates of the Muon optimizer."""
    # A complete configuration: model, data, optimizer, schedule. `smol show {name}` prints what
    # becomes of it. Fields are changed by path, as in
    #     from harness.config import replace
    #     base = replace(base, {{"train.tokens": 40_960, "data.seq_len": 64}})
    base = presets.run(scale)
    # What varies. Each value is an arm, and may set the fields that the axis names, no others:
    # plain values where it names one field, else mappings such as
    #     {{"short": {{"data.seq_len": 64}}, "long": {{"data.seq_len": 128}}}}
    rates = Axis("rate", ["optim.muon_lr"], {{"low": 0.005, "high": 0.02}})
    # Where arms are compared: here after equally many tokens.
    return Recipe(base, axes=[rates], horizons=[Tokens(base.train.tokens)])
'''


@dataclass(frozen=True)
class Options:
    """Write a recipe of your own that runs, with comments.

    It is ./recipes/NAME.py, one file that `smol list`, `smol show` and `smol run` find there.
    """

    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="What to call the recipe.")
    ]


def new(options: Options) -> None:
    """Write the file. Raises RequestError for a name that is taken or cannot be one."""
    name = options.name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise RequestError(
            f"'{name}' cannot name a recipe: take small letters, digits and _, a letter first"
        )
    path = FOLDER / f"{name}.py"
    if path.exists():
        raise RequestError(f"'{path}' is there already")
    if name in load()[0]:
        raise RequestError(f"there is a recipe '{name}' already: `smol list` prints them")
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(TEMPLATE.format(name=name), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"cannot write '{path}': {error.strerror}") from None
    print(path)
    print(f"next:    smol run {name}")
