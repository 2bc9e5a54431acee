"""`smol fetch`, `smol sample`, `smol export`: bringing a model here, hearing it, giving it away."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from harness import assets
from harness.commands import models
from harness.commands.run import read_device
from harness.errors import RequestError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def fetch(name: str, *, source: str) -> None:
    """Bring a released model into the cache, and say where it is. Raises RequestError."""
    folder = assets.fetch(name, lambda line: print(line, flush=True), source)
    known = assets.provenance(folder)
    print(f"{name}: {folder}")
    print(f"  from {known.detail}")


def sample(
    argument: str,
    *,
    prompt: str,
    max_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    scale: str | None,
    results: Path | None,
    tokenizer: Path | None,
    device: str,
    dtype: str | None,
    as_json: bool,
) -> None:
    """Continue a prompt, printing text as it comes. Raises RequestError.

    Names of special tokens in the prompt are special tokens; an empty prompt is the start of a
    document.
    """
    from harness.data.pieces import Pieces
    from models.generate import generate

    models.check_text("--prompt", prompt)
    found = models.resolve(argument, scale=scale, results=results)
    loaded = models.load(found, dtype=dtype, device=read_device(device), tokenizer=tokenizer)
    tokens = loaded.encode(prompt) or [loaded.start]
    try:
        stream = generate(
            loaded.model, tokens, max_tokens, temperature=temperature, top_k=top_k, top_p=top_p,
            stop_tokens=loaded.stops, seed=seed,
        )  # fmt: skip
    except ValueError as error:
        raise RequestError(str(error)) from None
    pieces = Pieces(loaded.tokenizer, tokens)
    new: list[int] = []
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if not as_json:
            sys.stdout.write(text)
            sys.stdout.flush()

    if not as_json:
        sys.stdout.write(prompt)
    for token in stream:
        new.append(token)
        say(pieces.push(token))
    say(pieces.end())
    stopped = new[-1] in loaded.stops
    if as_json:
        end = "stop token" if stopped else "max tokens"
        answer = {"model": found.name, "prompt": prompt, "text": "".join(said), "tokens": new}
        print(json.dumps({**answer, "ended": end}, ensure_ascii=False))
        return
    print()
    why = "at its stop token" if stopped else f"at --max-tokens {max_tokens}"
    print(f"[{len(new)} tokens; ended {why}]", file=sys.stderr)


def export(
    argument: str,
    folder: Path,
    *,
    scale: str | None,
    results: Path | None,
    tokenizer: Path | None,
) -> None:
    """Write a folder that transformers' `from_pretrained` loads, tokenizer included.

    It appears whole or not at all. Raises RequestError for a folder that is not empty and for a
    model that transformers has no counterpart for.
    """
    from models.hf import to_transformers

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"'{folder}' is there already and is not an empty folder")
    found = models.resolve(argument, scale=scale, results=results)
    loaded = models.load(found, tokenizer=tokenizer)
    files = [loaded.tokenizer_folder / name for name in TOKENIZER_FILES]
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        to_transformers(
            loaded.model, temporary, [file for file in files if file.is_file()], **loaded.tokens
        )
        temporary.chmod(0o755)  # mkdtemp's folder is for its owner alone
        os.replace(temporary, folder)
    except ValueError as error:
        raise RequestError(f"{found.name}: {error}") from None
    except OSError as error:
        raise RequestError(f"cannot write '{folder}': {error.strerror or error}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    print(f"{found.name}: {folder}")
    print(f'  transformers.AutoModelForCausalLM.from_pretrained("{folder}")')
