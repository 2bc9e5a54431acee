"""The door: `smol ...`, also `python -m harness ...`. A command is a file in `harness.commands`.

Exit codes: 0 done, 1 a check or comparison says no, 2 the request was wrong, 3 a run failed,
130 interrupted. A command's file is imported when it is called or its help is asked for.
"""

from __future__ import annotations

import dataclasses
import errno
import importlib
import inspect
import os
import sys
import typing
from collections.abc import Callable
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup

from harness.commands import DOOR, Command, CommandGroup
from harness.errors import CheckFailed, RequestError, RunFailed, nearest
from harness.launch import terminal
from harness.records.untrusted import without_controls

SETTINGS = {"help_option_names": ["-h", "--help"]}


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called."""

    group: CommandGroup

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Refuses a word that is no command, with the nearest that is one."""
        if args[0] not in self.group.commands and not ctx.resilient_parsing:
            raise RequestError(f"no command '{args[0]}'{nearest(args[0], self.group.commands)}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the table's order."""
        return list(self.group.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, from its file; None where there is none of that name."""
        found = self.group.commands.get(cmd_name)
        if found is None:
            return None
        if isinstance(found, CommandGroup):
            return _group(cmd_name, found)
        return _command(cmd_name, found)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The summaries as they stand in the table, whole and without an import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, c.summary) for name, c in self.group.commands.items()])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """A group alone prints its help, which is no mistake."""
        if not args and not ctx.resilient_parsing:
            print(ctx.get_help())
            ctx.exit(0)
        return super().parse_args(ctx, args)


def _group(name: str, group: CommandGroup, *, root: bool = False) -> LazyGroup:
    app = typer.Typer(
        name=name, help=group.summary, cls=LazyGroup, add_completion=root, rich_markup_mode=None,
        context_settings=SETTINGS,
    )  # fmt: skip
    app.callback()(_root if root else lambda: None)
    made = typer.main.get_command(app)
    assert isinstance(made, LazyGroup)
    made.group = group
    return made


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"smol-harness {version('smol-harness')}")
        raise typer.Exit


def _root(
    version: typing.Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """The options of `smol` itself."""


def _command(name: str, command: Command) -> Any:
    module = importlib.import_module(f"harness.commands.{command.module}")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    text = module.Options.__doc__ or command.summary  # `python -OO` keeps no docstring
    app.command(name, help=text)(_callback(module, getattr(module, command.module)))
    return typer.main.get_command(app)


def _callback(module: ModuleType, work: Callable[[Any], None]) -> Callable[..., None]:
    """`work`, which takes the module's `Options`, as a function with an argument a field: so an
    option is written once, as that field."""
    hints = typing.get_type_hints(module.Options, include_extras=True)

    def callback(**given: Any) -> None:
        work(module.Options(**given))

    callback.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field),
                annotation=hints[field.name],
            )
            for field in dataclasses.fields(module.Options)
        ]
    )  # fmt: skip
    callback.__annotations__ = hints
    return callback


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


MOST_SAID = 4000
"""Characters of an error."""


def main() -> None:
    """Run the door and turn errors into one line and an exit code."""
    code: int | None = 0
    try:
        _check_surroundings()
        code = _group("smol", DOOR, root=True)(prog_name="smol", standalone_mode=False)
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
        code = 141  # the reader of our output left, as `| head` does; 1 would be a check's no
        sys.stderr.close()
    except ImportError as error:
        code = _say(_foreign(error), 2)
    except MemoryError:  # such as for a file of somebody else's that is larger than it looks
        code = _say("this takes more memory than there is", 2)
    except OSError as error:  # wherever a path may stand, and whatever a disk may do
        named = error.filename is not None
        place = error.filename if named else "the output could not be written"
        code = _say(f"{place}: {error.strerror}" if error.strerror else error, 2)
        if not named:  # Python would write what is left once more at its end, and say so again
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code or 0)


def _check_surroundings() -> None:
    """Raise OSError where what every command needs is not there: it would end half-way."""
    if sys.stdout is None:  # as after `>&-`: the next file that is opened would get what we print
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "<stdout>")
    try:
        os.getcwd()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "the working folder") from None


def _foreign(error: ImportError) -> str:
    """What to say where a package of ours turned out to be somebody else's, as where a second
    wheel has written its own `models` over ours. Raises the error itself where it is another."""
    from importlib.metadata import packages_distributions

    top = (error.name or "").partition(".")[0]
    owners = packages_distributions().get(top, [])
    others = [name for name in dict.fromkeys(owners) if name != "smol-harness"]
    if top not in ("models", "recipes") or not (others or error.path):
        raise error
    place = f" ({error.path})" if error.path else ""
    by = f"the installed package {' and '.join(others)} has" if others else "something else has"
    return (
        f"the Python package '{top}' is not smol-harness's own{place}: {by} one of that name; "
        "install smol-harness into an environment of its own"
    )


def _say(error: Exception | str, code: int) -> int:
    # What it quotes may be a name or a word that writes over a terminal.
    text = without_controls(" ".join(str(error).split()), kept="")
    if len(text) > MOST_SAID:  # it repeats words of the command, however long
        text = f"{text[: MOST_SAID - 500]} ... {text[-500:]}"
    if text:
        said = f"smol: {text}"  # one line for a program, as many as a terminal needs
        print(terminal.wrapped(said) if sys.stderr.isatty() else said, file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
