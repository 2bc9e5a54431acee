"""`smol export`: a model of ours as a folder that transformers loads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import models
from harness.commands.options import ModelName, ModelScale, ResultsOption, TokenizerOption
from harness.errors import RequestError
from harness.files import new_folder

if TYPE_CHECKING:
    from harness.commands.models import Loaded

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@dataclass(frozen=True)
class Options:
    """Write a folder that transformers can load.

    `from_pretrained` takes it; the tokenizer is included.
    """

    model: ModelName
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", show_default=False, help="The folder to make.")
    ]
    scale: ModelScale = None
    results: ResultsOption = None
    tokenizer: TokenizerOption = None


def export(options: Options) -> None:
    """Write a folder that transformers' `from_pretrained` loads, tokenizer included.

    It appears whole or not at all. Raises RequestError for a folder that is not empty and for a
    model that transformers has no counterpart for.
    """
    from models.hf import to_transformers

    folder = options.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"'{folder}' is there already and is not an empty folder")
    found = models.resolve(options.model, scale=options.scale, results=options.results)
    loaded = models.load(found, tokenizer=options.tokenizer)
    files = [loaded.tokenizer_folder / name for name in TOKENIZER_FILES]
    try:
        with new_folder(folder) as fresh:
            to_transformers(
                loaded.model, fresh, [file for file in files if file.is_file()], **loaded.tokens
            )
            _end_turns(fresh, loaded)
    except ValueError as error:
        raise RequestError(f"{found.name}: {error}") from None
    except OSError as error:
        raise RequestError(f"cannot write '{folder}': {error.strerror or error}") from None
    print(f"{found.name}: {folder}")
    print(f'  transformers.AutoModelForCausalLM.from_pretrained("{folder}")')


def _end_turns(folder: Path, loaded: Loaded) -> None:
    """Of a model of conversations: the tokenizer's end is the end of a turn, too, as released chat
    models have it; what stops at `tokenizer.eos_token` then stops there."""
    ends = loaded.tokens.get("eos_token_id")
    path = folder / "tokenizer_config.json"
    if isinstance(ends, list) and loaded.config is not None and path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        content["eos_token"] = loaded.tokenizer.id_to_token(ends[-1])
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
