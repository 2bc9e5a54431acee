"""`smol chat`: a conversation in ChatML with a model, answered token by token from a KV cache.

The model's own chat template writes the turns; an answer ends at the end-of-turn token or at
--max-tokens, and stderr says which.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import typer

from harness.commands import models
from harness.commands.models import Loaded
from harness.commands.options import (
    DeviceOption,
    ModelName,
    ModelScale,
    ResultsOption,
    SampleSeedOption,
    TemperatureOption,
    TokenizerOption,
    TopKOption,
    TopPOption,
)
from harness.commands.planned import read_device
from harness.data.chat import ChatFormat, Message
from harness.errors import RequestError
from harness.machine import devices


@dataclass(frozen=True)
class Options:
    """Talk with a model, turn by turn.

    The turns are written by the model's own chat template (ChatML), and an answer stops at the
    end-of-turn token.
    """

    model: ModelName
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help="Answer this one turn. Default: answer what is typed."),
    ] = None
    system: Annotated[
        str | None, typer.Option("--system", help="The system's turn, before the first.")
    ] = None
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", help="The most tokens in an answer.")
    ] = 256
    temperature: TemperatureOption = 0.0
    top_k: TopKOption = None
    top_p: TopPOption = None
    seed: SampleSeedOption = 0
    scale: ModelScale = None
    results: ResultsOption = None
    tokenizer: TokenizerOption = None
    device: DeviceOption = "auto"
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            help="Compute in bf16 or fp32. Default: fp32 on a CPU, on a GPU as it was trained.",
        ),
    ] = None


def chat(options: Options) -> None:
    """Answer one prompt, or turn by turn what is typed. Raises RequestError.

    Without `dtype` a CPU computes in fp32: the weights are, and greedy choices between logits
    that bf16 rounds to the same value would fall by number.
    """
    models.check_text("--prompt", options.prompt or "")
    models.check_text("--system", options.system or "")
    found = models.resolve(options.model, scale=options.scale, results=options.results)
    where = read_device(options.device)
    dtype = options.dtype or ("fp32" if devices.of(where).deterministic else None)
    loaded = models.load(found, dtype=dtype, device=where, tokenizer=options.tokenizer)
    loaded.check_generation()
    talk = LiveChat(loaded, ChatFormat(loaded.tokenizer_folder), options)
    for words in [options.prompt] if options.prompt is not None else _typed():
        talk.answer(words)


def _typed() -> Iterator[str]:
    """What the user says, a line a turn; a terminal is asked for it, and told how to leave.
    Raises RequestError for what is no text."""
    on_terminal = sys.stdin.isatty()
    if on_terminal:
        print("Say something; an empty line or Ctrl-D ends.", file=sys.stderr)
    while True:
        try:
            line = input("> " if on_terminal else "")
        except EOFError:
            return
        if line.strip():
            models.check_text("what was typed", line)
            yield line
        elif on_terminal:
            return


class LiveChat:
    """A conversation so far."""

    def __init__(self, loaded: Loaded, template: ChatFormat, sampling: Options) -> None:
        self.loaded, self.template, self.sampling = loaded, template, sampling
        words = sampling.system
        self.opening: list[Message] = [{"role": "system", "content": words}] if words else []
        self.turns: list[Message] = []

    def answer(self, words: str) -> str:
        """Print the answer as it comes, and keep it. Raises RequestError for a prompt that does
        not fit, or settings out of range."""
        from harness.data.pieces import Pieces
        from models.generate import Sampling, generate

        s = self.sampling
        self.turns.append({"role": "user", "content": words})
        tokens = self._fitting()
        stops = self.loaded.stops | self._turn_end
        try:
            stream = generate(
                self.loaded.model, tokens, s.max_tokens,
                Sampling(s.temperature, s.top_k, s.top_p, s.seed + len(self.turns) // 2),
                stop_tokens=stops,
            )  # fmt: skip
        except ValueError as error:
            raise RequestError(str(error)) from None
        pieces, said, last, count = Pieces(self.loaded.tokenizer, tokens), "", -1, 0
        for last in stream:
            count += 1
            said += _say(pieces.push(last))
        said += _say(pieces.end())
        print()
        name = self.loaded.tokenizer.id_to_token(last)
        why = f"at {name}" if last in stops else f"at --max-tokens {s.max_tokens}"
        print(f"[{count} tokens; ended {why}]", file=sys.stderr)
        self.turns.append({"role": "assistant", "content": said})
        return said

    @cached_property
    def _turn_end(self) -> frozenset[int]:
        """What the template ends turns with: some folders name it nowhere else."""
        try:
            return frozenset([self.template.end_of_turn])
        except RequestError:
            return frozenset()

    def _fitting(self) -> list[int]:
        """The prompt's tokens; the oldest exchange is forgotten, and said so, until they fit."""
        most = self.loaded.model.config.max_seq_len - self.sampling.max_tokens
        while True:
            tokens = self.template.prompt([*self.opening, *self.turns])
            if len(tokens) <= most or len(self.turns) == 1:
                return tokens  # one that is too long alone is refused by `generate`
            del self.turns[:2]
            print("[too long: the oldest exchange is forgotten]", file=sys.stderr)


def _say(text: str) -> str:
    sys.stdout.write(text)
    sys.stdout.flush()
    return text
