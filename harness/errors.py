"""The errors that the door turns into one line and an exit code, and what makes such errors of the
faults of others' code. May import nothing of ours."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pydantic import ValidationError

PATIENCE_SECONDS = 20.0
"""How long a user's file may take to load, or a recipe to be built."""


class RequestError(Exception):
    """The request was wrong: one clear line naming what, and the nearest right thing. Exit 2."""


class NotInstalled(RequestError):
    """What was asked for needs a package that is not here."""


class CheckFailed(Exception):
    """A check or a comparison says no. Exit 1."""


class RunFailed(Exception):
    """A run failed; its record says how. Exit 3."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known word, else the known words (at most twelve)."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"; known: {shown}" if known else ""


def explain(error: ValidationError) -> str:
    """The first fault of a validation error as one line: field, what is wrong, the value."""
    fault = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if not path:
        return message
    if fault["type"] == "value_error":
        return f"{path}: {message}"
    # Of a long value its beginning will do: where a field is missing it is all that is around it.
    return f"{path}: {message[0].lower()}{message[1:]}, not {fault['input']!r:.200}"


class UsersFault(Exception):
    """What a user's code raised or did, in one line."""


class TooLong(BaseException):
    """Code took longer than it may. Not an Exception: code that catches these must not go on."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TooLong inside after so many seconds: in the main thread of POSIX alone, where a signal
    can interrupt what runs; elsewhere it may go on."""
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield
        return

    def too_long(number: int, frame: object) -> NoReturn:
        raise TooLong(f"it took more than {seconds:g} s")

    earlier = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, earlier)


@contextlib.contextmanager
def users_code() -> Iterator[None]:
    """Run a user's code inside. It may raise, exit, print or hang, and harms no command.

    What it prints goes to stderr, since stdout is the command's. Raises UsersFault for what it
    raises, but for Ctrl-C and RequestError, and where it tries to end the process or takes longer
    than `PATIENCE_SECONDS`.
    """
    exit_now = os._exit

    def leave(status: int) -> NoReturn:
        raise SystemExit(f"os._exit({status})")

    try:
        os._exit = leave
        with time_limit(PATIENCE_SECONDS), contextlib.redirect_stdout(sys.stderr):
            yield
    except (RequestError, KeyboardInterrupt):
        raise
    except TooLong as error:
        raise UsersFault(str(error)) from None
    except BaseException as error:
        raise UsersFault(told(error)) from None
    finally:
        os._exit = exit_now


@contextlib.contextmanager
def users_work(subject: str) -> Iterator[None]:
    """As `users_code`, for work that may last and be Ctrl-C'd, such as reading a user's source:
    what it raises becomes RequestError, `subject: file.py:6: ...`."""
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(f"{subject}: {told(error)}") from error


def users_module(file: Path, name: str) -> ModuleType:
    """A user's file as a module, executed anew under `users_code`, and there as `name` to what it
    defines (dataclasses look their module up). Raises UsersFault, and RequestError of the file's
    own."""
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsersFault("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with users_code():
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


OURS = tuple(str(Path(__file__).resolve().parents[1] / name) for name in ("harness", "models"))
"""Folders of our own code, where a user's mistake only comes to light."""


def _message(error: BaseException) -> str:
    """What an error says, in one line; a user's own may fail at that, or write to the terminal."""
    try:
        said = str(error)
    except BaseException:
        return "its message cannot be read"
    line = " ".join(said[:3000].split())[:300]
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def told(error: BaseException) -> str:
    """`file.py:6: NameError: ...`, of the last line of the user's own that led to an error."""
    pydantic = sys.modules.get("pydantic")  # whoever raised its error has imported it
    if pydantic is not None and isinstance(error, pydantic.ValidationError):
        what = explain(error)
    else:
        what = f"{type(error).__name__}: {_message(error)}"
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{Path(error.filename).name}:{error.lineno}: {what}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        beside = (*OURS, sys.prefix, sys.base_prefix, "<")
        if not frame.filename.startswith(beside):
            return f"{Path(frame.filename).name}:{frame.lineno}: {what}"
    return what
