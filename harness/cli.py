"""The door: `smol ...`, also `python -m harness ...`. Reads arguments, calls `harness.commands`.

Exit codes: 0 done, 1 a check or comparison says no, 2 the request was wrong, 3 a run failed,
130 interrupted. Imports nothing heavy: every command imports what it needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

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

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", show_default=False)]
ScaleOption = Annotated[str, typer.Option("--scale", help="smoke, proxy or full.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
SeedsOption = Annotated[
    int | None,
    typer.Option("--seeds", help="Another number than the recipe's marks results exploratory."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="field=value for every arm, e.g. optim.muon_lr=0.02. Repeatable."),
]
ResultsOption = Annotated[
    Path | None,
    typer.Option("--results", help="Results folder; ./results, and ./results/smoke at smoke."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


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
    stage: Annotated[str | None, typer.Option("--stage", help="Only runs of this stage.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="A prepared folder instead of the recipe's data.")
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
        recipe, scale=scale, device=device, seeds=seeds, sets=sets or [], stage=stage, data=data,
        results=results, jobs=jobs, dry_run=dry_run, fresh=fresh, keep=keep,
    )  # fmt: skip


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


app.add_typer(records_app, name="records")


def main() -> None:
    """Run the door and turn errors into one line and an exit code."""
    code: int | None = 0
    try:
        code = app(standalone_mode=False)
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
    sys.exit(code or 0)


def _say(error: Exception | str, code: int) -> int:
    text = " ".join(str(error).split())
    if text:
        print(f"smol: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
