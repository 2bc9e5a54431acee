"""`smol export`: a model of ours as a folder that transformers loads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import models, places
from harness.commands.options import ModelName, ModelScale, ResultsOption, TokenizerOption
from harness.data import gguf_write
from harness.errors import RequestError
from harness.files import new_folder

if TYPE_CHECKING:
    from harness.commands.models import Loaded

NO_GGUF = "none"


@dataclass(frozen=True)
class Options:
    """Write a folder that transformers can load.

    `from_pretrained` takes it; the tokenizer is included, and a README with what was measured.
    """

    model: ModelName
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", show_default=False, help="The folder to make.")
    ]
    scale: ModelScale = None
    results: ResultsOption = None
    tokenizer: TokenizerOption = None
    gguf: Annotated[
        str,
        typer.Option(
            "--gguf",
            metavar="TYPE",
            help="Write a dense model as GGUF, too, for llama.cpp: f16, f32, q8_0, or none.",
        ),
    ] = "f16"
    push: Annotated[
        str | None,
        typer.Option(
            "--push", metavar="OWNER/NAME", show_default=False,
            help="Upload the folder to this repository of the Hub (or of HF_ENDPOINT).",
        ),
    ] = None  # fmt: skip


def export(options: Options) -> None:
    """Write a folder that transformers' `from_pretrained` loads, tokenizer included.

    It appears whole or not at all. Raises RequestError for a folder that is not empty and for a
    model that transformers has no counterpart for.
    """
    from harness.data.given import FILES
    from models.hf import to_transformers

    folder = options.folder
    if options.gguf != NO_GGUF:
        gguf_write.check_type(options.gguf)
    if options.push is not None:
        _check_repository(options.push)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"'{folder}' is there already and is not an empty folder")
    found = models.resolve(options.model, scale=options.scale, results=options.results)
    loaded = models.load(found, tokenizer=options.tokenizer)
    files = [loaded.tokenizer_folder / name for name in FILES]
    try:
        with new_folder(folder) as fresh:
            to_transformers(
                loaded.model, fresh, [file for file in files if file.is_file()], **loaded.tokens
            )
            if not loaded.adds:
                _without_additions(fresh)
            _end_turns(fresh, loaded)
            _add_pages(fresh, folder.resolve().name, loaded, options)
    except ValueError as error:
        raise RequestError(f"{found.name}: {error}") from None
    except OSError as error:
        raise RequestError(f"cannot write '{folder}': {error.strerror or error}") from None
    print(f"{found.name}: {folder}")
    if options.gguf != NO_GGUF and not any(folder.glob("*.gguf")):
        print("  without GGUF: it is written of dense models that cut texts like GPT-2 or SmolLM")
    print(f'  transformers.AutoModelForCausalLM.from_pretrained("{folder}")')
    if options.push is not None:
        print(f"  pushed: {_push(folder, options.push)}")


def _check_repository(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise RequestError(f"--push {name}: {str(error).splitlines()[0]}") from None
    if "/" not in name:
        raise RequestError(f"--push {name}: say whose it is, OWNER/{name}")


def _add_pages(folder: Path, name: str, loaded: Loaded, options: Options) -> None:
    """GGUF, README.md and `.eval_results/`, from what is known of the model."""
    from harness.records import evaluation
    from harness.report import exported

    files, found = [], loaded.found
    if options.gguf != NO_GGUF and gguf_write.is_expressible(folder):
        files = [f"{name}-{options.gguf}.gguf"]
        gguf_write.write(folder, folder / files[0], options.gguf)
    scale = found.record.scale if found.record else options.scale
    results = places.results_folder(scale, options.results)
    digest = found.digest()
    scored = [one for one in evaluation.read_all(results) if one.subject.digest == digest]
    exported.write(folder, found.name, found.record, scored, files, options.push or name)


def _push(folder: Path, repository: str) -> str:
    """Its address. Raises RequestError with what the Hub says; the folder stays."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    hub = HfApi()
    try:
        hub.create_repo(repository, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder, commit_message="Export")
    except (HfHubHTTPError, OSError, ValueError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RequestError(f"--push {repository}: {said}; the folder '{folder}' is there") from None
    return f"{hub.endpoint}/{repository}"


def _without_additions(folder: Path) -> None:
    """Of a tokenizer that puts tokens around texts: one that does not, as our runs are trained;
    what generates from the folder then sees what `smol sample` of the run sees."""
    from harness.data import ends
    from harness.data.tokenizer import load, said_in

    spoken = load(folder)
    if spoken.encode("a").ids == spoken.encode("a", add_special_tokens=False).ids:
        return
    # A class of its own would put them there again; what it alone names is written down.
    settings = ends.names(folder) | said_in(folder, "tokenizer_config.json")
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    plain = json.loads(spoken.to_str()) | {"post_processor": None}
    text = json.dumps(plain, indent=2, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    kept = {k: v for k, v in settings.items() if k not in ("add_bos_token", "add_eos_token")}
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _end_turns(folder: Path, loaded: Loaded) -> None:
    """Of a model of conversations: the tokenizer's end is the end of a turn, too, as released chat
    models have it; what stops at `tokenizer.eos_token` then stops there."""
    ends = loaded.tokens.get("eos_token_id")
    if not isinstance(ends, list) or loaded.config is None:
        return
    from harness.data.tokenizer import said_in

    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        content = said_in(folder, name)
        if path.is_file() and (content.get("eos_token") or name == "tokenizer_config.json"):
            content["eos_token"] = loaded.tokenizer.id_to_token(ends[-1])
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
