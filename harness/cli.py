"""The door: `smol ...`, also `python -m harness ...`. Reads arguments, calls `harness.commands`.

Exit codes: 0 done, 1 a check or comparison says no, 2 the request was wrong, 3 a run failed,
130 interrupted. Imports nothing heavy: every command imports what it needs.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from harness.cli_data import data_app
from harness.cli_models import models_app
from harness.cli_options import (
    DeviceOption,
    JsonOption,
    RecipeName,
    ResultsOption,
    ScaleOption,
    SeedsOption,
    SetOption,
)
from harness.errors import CheckFailed, RequestError, RunFailed

app = typer.Typer(
    name="smol",
    help="Train small language models side by side; print a card whose numbers can be traced.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
records_app = typer.Typer(help="Validate a results folder; drop checkpoints of finished runs.")
bench_app = typer.Typer(help="How fast the update is here, against others'.")


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Recipes, one line each."""
    from harness.commands.show import list_recipes

    list_recipes(as_json=as_json)


@app.command()
def show(
    recipe: RecipeName,
    scale: ScaleOption = "smoke",
    device: DeviceOption = "auto",
    seeds: SeedsOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """The resolved plan: arms and their differences, sizes, tokens, FLOPs. Starts nothing."""
    from harness.commands.show import show as show_plan

    show_plan(recipe, scale=scale, device=device, seeds=seeds, sets=sets or [], as_json=as_json)


@app.command()
def run(
    recipe: RecipeName,
    scale: ScaleOption = "smoke",
    device: DeviceOption = "auto",
    seeds: SeedsOption = None,
    sets: SetOption = None,
    stage: Annotated[
        str | None, typer.Option("--stage", help="Only runs of this stage, and what they need.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="What the first stage, or --stage, starts from: smollm2, a run, a checkpoint, or "
            "transformers' folder.",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="[STAGE=]DIR",
            help="A prepared folder instead of the recipe's data: ours, or any that `datasets` "
            "saved with input_ids (and labels) of one length. For --stage, else for the first.",
        ),
    ] = None,
    data_tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            help="smollm2 or a folder: what a --data folder without one was tokenized with.",
        ),
    ] = None,
    results: ResultsOption = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Runs at a time; default: cores / threads.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run again what is outdated.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave outdated runs as they are.")] = False,
) -> None:
    """Run a recipe: what is finished is skipped, what was interrupted goes on."""
    from harness.commands.run import run as run_recipe

    run_recipe(
        recipe, scale=scale, device=device, seeds=seeds, sets=sets or [], stage=stage,
        data=data or [], start=start, tokenizer=data_tokenizer, results=results, jobs=jobs,
        dry_run=dry_run, fresh=fresh, keep=keep,
    )  # fmt: skip


@app.command()
def campaign(
    budget: Annotated[str, typer.Option("--budget", help="A time, such as 40m or 1h30m.")] = "40m",
    device: Annotated[
        str,
        typer.Option("--device", help="auto, cpu or cuda; with --dry-run also h100, rtx-4090 ..."),
    ] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List, start nothing.")] = False,
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """The most informative missing runs that fit the time, in order; the same command goes on."""
    from harness.commands.campaign import campaign as spend

    spend(budget=budget, device=device, dry_run=dry_run, results=results, as_json=as_json)


app.add_typer(models_app)


@app.command()
def card(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 with the difference if stale.")
    ] = False,
    results: ResultsOption = None,
) -> None:
    """Regenerate the model card and its figures from the records."""
    from harness.commands import report

    report.card(check=check, results=results)


@app.command()
def trace(
    cell: Annotated[str, typer.Argument(metavar="CELL", show_default=False)],
    results: ResultsOption = None,
) -> None:
    """A card's cell -> its records, configuration and the command that reproduces it."""
    from harness.commands import report

    report.trace(cell, results=results)


@app.command()
def audit(
    claims: Annotated[
        str | None,
        typer.Argument(
            metavar="[CLAIMS.toml]",
            help="A claims file, or a shipped audit's name; default: the seed card's claims.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table, as Markdown.")] = False,
    results: ResultsOption = None,
) -> None:
    """Published claims against arithmetic, physics and our own records; exit 1 if one fails."""
    from harness.commands.audit import audit as audit_claims

    audit_claims(claims, as_json=as_json, markdown=markdown, results=results)


@app.command()
def referee(
    arms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BASELINE CANDIDATE...",
            help="Folders with a training script, or git's PATH@REV; NAME=PATH names one.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Pairs, frozen beforehand.")] = 5,
    first_seed: Annotated[
        int, typer.Option("--first-seed", min=0, max=9_999, help="New seeds, new question.")
    ] = 0,
    budget: Annotated[
        str, typer.Option("--budget", help="A run that takes longer is ended: 90s, 5m.")
    ] = "1h",
    command: Annotated[
        str,
        typer.Option(
            "--command", help="Run in the arm's folder. {seed}, or SMOL_SEED, carries the seed."
        ),
    ] = "python train.py --seed {seed}",
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="metric, blocks, autoresearch, nanochat, modded-nanogpt, json, jsonl, trainer, "
            "lm-eval (each also :FILE, a file or glob in the folder), or regex:PATTERN.",
        ),
    ] = "metric",
    metric: Annotated[str | None, typer.Option("--metric", help="Which of those reported.")] = None,
    lower: Annotated[
        bool | None, typer.Option("--lower/--higher", help="Which is better; said, not guessed.")
    ] = None,
    frozen: Annotated[
        list[str] | None,
        typer.Option("--frozen", help="A file, folder or glob that all arms share. Repeatable."),
    ] = None,
    equal: Annotated[
        list[str] | None,
        typer.Option("--equal", help="What must be equal to 2 %: tokens, seconds. Repeatable."),
    ] = None,
    share: Annotated[
        list[str] | None,
        typer.Option("--share", help="Data in the baseline's folder, linked, not copied."),
    ] = None,
    noise_floor: Annotated[
        int, typer.Option("--noise-floor", min=0, help="Baseline runs that show its spread first.")
    ] = 0,
    memory: Annotated[
        str | None, typer.Option("--memory", help="A run that takes more is ended: 8G.")
    ] = None,
    device: DeviceOption = "auto",
    again: Annotated[
        bool, typer.Option("--again/--no-again", help="Each arm's first seed a second time.")
    ] = True,
    retry: Annotated[bool, typer.Option("--retry", help="Run again what failed.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run everything again.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say the cost and what can be seen; start nothing.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the comparison; the baseline's folder.")
    ] = None,
    trace_: Annotated[
        str | None,
        typer.Option("--trace", metavar="NAME/ARM/SEED", help="Only show what a run was."),
    ] = None,
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge training scripts that are not ours. Exit 0 better, 1 not, 2 wrong request, 3 failed."""
    from harness.commands import referee as judging

    if trace_ is not None:
        judging.trace(trace_, results=results)
        return
    judging.referee(
        arms or [], name=name, seeds=seeds, first_seed=first_seed, budget=budget, command=command,
        format_=format_, metric=metric, lower=lower, frozen=frozen or [], equal=equal or [],
        share=share or [], noise_floor=noise_floor, memory=memory, device=device, again=again,
        retry=retry, fresh=fresh, dry_run=dry_run, results=results, as_json=as_json,
    )  # fmt: skip


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="B", show_default=False)],
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="val_loss, bits_per_byte or tokens_per_second; default: the recipe's question.",
        ),
    ] = None,
    scale: ScaleOption = "smoke",
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Two arms (recipe/arm) or two records (keys), with the verdict. Exit 1 where there is none."""
    from harness.commands import report

    report.compare(first, second, metric, scale=scale, results=results, as_json=as_json)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """What this machine can run, what is missing, and the command that mends it."""
    from harness.commands.doctor import doctor as examine

    examine(as_json=as_json)


@records_app.command("check")
def records_check(results: ResultsOption = None) -> None:
    """Validate every record of a results folder, also a stranger's."""
    from harness.commands import report

    report.check_records(results=results)


@records_app.command("clean")
def records_clean(results: ResultsOption = None) -> None:
    """Delete checkpoints of finished runs; final models and records stay."""
    from harness.commands import report

    report.clean_records(results=results)


@bench_app.callback()
def bench() -> None:
    """How fast the update is here, against others'."""


@bench_app.command("step")
def bench_step(
    model: Annotated[
        str, typer.Option("--model", help="dense, moe-active, moe-total or moe-160m.")
    ] = "dense",
    scale: ScaleOption = "full",
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Sequences.")] = None,
    seq: Annotated[int | None, typer.Option("--seq", min=2, help="Tokens in a sequence.")] = None,
    compile_: Annotated[
        str, typer.Option("--compile", help="Of ours: eager, blocks or whole.")
    ] = "blocks",
    optim: Annotated[str, typer.Option("--optim", help="adamw or muon.")] = "adamw",
    against: Annotated[
        str,
        typer.Option(
            "--against",
            help="Comma-separated: transformers, transformers-compiled, moe-loop, torch-muon, "
            "ours-eager, ours-blocks, ours-whole.",
        ),
    ] = "",
    device: DeviceOption = "auto",
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="All cores.")] = None,
    rounds: Annotated[int, typer.Option("--rounds", help="Everyone's turns.")] = 5,
    updates: Annotated[int, typer.Option("--updates", help="Timed in each turn.")] = 2,
    losses: Annotated[
        int,
        typer.Option("--losses", help="Exit 1 if the losses of so many updates are not a peer's."),
    ] = 0,
    same_allocator: Annotated[
        bool,
        typer.Option(
            "--same-allocator",
            help="Peers get our processes' settings of the C allocator, not the system's.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The time of one update, ours and others', in interleaved rounds, with intervals."""
    from harness.commands.bench import step

    step(
        model_name=model, scale=scale, batch=batch, seq=seq, compile_=compile_, optim=optim,
        against=against, device=device, threads=threads, rounds=rounds, updates=updates,
        losses=losses, same_allocator=same_allocator, as_json=as_json,
    )  # fmt: skip


app.add_typer(records_app, name="records")
app.add_typer(bench_app, name="bench")
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the door and turn errors into one line and an exit code."""
    code: int | None = 0
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except RequestError as error:
        code = _say(error, 2)
    except CheckFailed as error:
        code = _say(error, 1)
    except RunFailed as error:
        code = _say(error, 3)
    except typer.Exit as error:
        code = error.exit_code
    except typer.TyperException as error:
        code = _say(error.format_message(), 2)
    except (typer.Abort, KeyboardInterrupt):
        code = _say("interrupted", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left, as `| head` does
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # wherever a path may stand
            code = _say(f"'{error.filename}': {error.strerror}", 2)
        elif error.errno == errno.ENOSPC:
            code = _say(f"the output could not be written: {error.strerror}", 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python repeats it
        else:
            raise
    sys.exit(code or 0)


def _say(error: Exception | str, code: int) -> int:
    text = " ".join(str(error).split())
    if text:
        print(f"smol: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
