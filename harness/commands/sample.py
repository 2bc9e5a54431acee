"""`smol sample`: a model continues a prompt."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import models
from harness.commands.options import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelName,
    ModelScale,
    PromptOption,
    ResultsOption,
    SampleSeedOption,
    TemperatureOption,
    TokenizerOption,
    TopKOption,
    TopPOption,
)
from harness.commands.planned import read_device
from harness.errors import RequestError

if TYPE_CHECKING:
    from harness.data.pieces import Pieces


@dataclass(frozen=True)
class Options:
    """Continue a prompt with a model.

    Tokens are printed as they come.
    """

    model: ModelName
    prompt: PromptOption = ""
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", help="The most tokens to add to the prompt.")
    ] = 64
    temperature: TemperatureOption = 0.0
    top_k: TopKOption = None
    top_p: TopPOption = None
    seed: SampleSeedOption = 0
    scale: ModelScale = None
    results: ResultsOption = None
    tokenizer: TokenizerOption = None
    device: DeviceOption = "auto"
    dtype: DtypeOption = None
    as_json: JsonOption = False


def sample(options: Options) -> None:
    """Continue a prompt, printing text as it comes. Raises RequestError.

    Names of special tokens in the prompt are special tokens; an empty prompt is the start of a
    document.
    """
    from harness.data.pieces import Pieces
    from models.generate import Sampling, generate

    models.check_text("--prompt", options.prompt)
    found = models.resolve(options.model, scale=options.scale, results=options.results)
    device = read_device(options.device)
    loaded = models.load(found, dtype=options.dtype, device=device, tokenizer=options.tokenizer)
    loaded.check_generation()
    prompt = options.prompt
    tokens = loaded.encode(prompt) or [loaded.start]
    try:
        stream = generate(
            loaded.model, tokens, options.max_tokens,
            Sampling(options.temperature, options.top_k, options.top_p, options.seed),
            stop_tokens=loaded.stops,
        )  # fmt: skip
    except ValueError as error:
        raise RequestError(str(error)) from None
    new, text = _say(stream, Pieces(loaded.tokenizer, tokens), prompt, options.as_json)
    stopped = new[-1] in loaded.stops
    if options.as_json:
        end = "stop token" if stopped else "max tokens"
        answer = {"model": found.name, "prompt": prompt, "text": text, "tokens": new}
        print(json.dumps({**answer, "ended": end}, ensure_ascii=False))
        return
    print()
    why = "at its stop token" if stopped else f"at --max-tokens {options.max_tokens}"
    print(f"[{len(new)} tokens; ended {why}]", file=sys.stderr)


def _say(stream: Iterable[int], pieces: Pieces, prompt: str, silent: bool) -> tuple[list[int], str]:
    """Print what comes, unless `silent`; returns the tokens and their text."""
    new: list[int] = []
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if not silent:
            sys.stdout.write(text)
            sys.stdout.flush()

    if not silent:
        sys.stdout.write(prompt)
    for token in stream:
        new.append(token)
        say(pieces.push(token))
    say(pieces.end())
    return new, "".join(said)
