"""Parts that are not ours: a class or function in a file's text, or in an installed package.

The text is what runs, not the file: a configuration carries it, so that whoever has the
configuration has the part. A mistake in it is told by the file's name and line (`where`).
May not import torch: a plan asks how a name is meant.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import linecache
import sys
import types
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

MARK = "own part "
"""How the file names of such code begin, as tracebacks have them; the file's own name follows."""


class Fault(Exception):
    """What is wrong with a part, in one line that names its file and line."""


class Named(NamedTuple):
    """What the name of a part says."""

    place: str
    """A file, or a module of an installed package."""
    found: str
    """The class or function in it; empty where the only public one is meant."""
    is_file: bool


def read_name(name: str) -> Named:
    """`FILE.py[:OBJECT]`, or `package.module:OBJECT`; a plain word is a file without its ending."""
    place, colon, found = name.rpartition(":")
    if colon:
        return Named(place, found, place.endswith(".py"))
    return Named(name if name.endswith(".py") else f"{name.replace('-', '_')}.py", "", True)


def load(name: str, code: str) -> Any:
    """The class or function that a name means: in the text `code`, or in an installed package of
    which `code` is `distribution version`.

    Raises Fault where it is not there, the text cannot be run, or another version is installed.
    """
    named = read_name(name)
    if not named.is_file:
        return _installed(named, code)
    label = f"{MARK}{named.place}"
    module = types.ModuleType(f"own_{hashlib.sha256(code.encode()).hexdigest()[:16]}")
    if module.__name__ in sys.modules:
        module = sys.modules[module.__name__]
    else:
        linecache.cache[label] = (len(code), None, code.splitlines(keepends=True), label)
        module.__file__ = label
        sys.modules[module.__name__] = module
        try:
            exec(compile(code, label, "exec"), module.__dict__)
        except BaseException as error:
            del sys.modules[module.__name__]
            raise Fault(where(error) or f"{named.place}: {said(error)}") from None
    found = named.found or _only_one(named.place, code)
    if not hasattr(module, found):
        known = _public(code)
        near = get_close_matches(found, known, n=1)
        line = known[near[0]] if near else 1
        hint = f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(known) or 'none'}"
        raise Fault(f"{named.place}:{line}: no class or function '{found}'{hint}")
    return getattr(module, found)


def _installed(named: Named, code: str) -> Any:
    try:
        module = importlib.import_module(named.place)
    except ImportError as error:
        raise Fault(f"{named.place}:{named.found}: {said(error)}") from None
    here = installed_version(named.place)
    if code and here != code:
        raise Fault(f"{named.place}:{named.found} was of {code}, and here is {here}")
    if not hasattr(module, named.found):
        near = get_close_matches(named.found, dir(module), n=1)
        raise Fault(
            f"{named.place} has no '{named.found}'"
            + (f"; did you mean '{near[0]}'?" if near else "")
        )
    return getattr(module, named.found)


@functools.cache
def installed_version(module: str) -> str:
    """`distribution version` of the package that a module belongs to. Half a second, once, where
    the distribution's name is another."""
    top = module.partition(".")[0]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        own = importlib.metadata.distribution(top)
        if any(file.parts[0] == top for file in own.files or ()):
            return f"{own.name} {own.version}"
    names = importlib.metadata.packages_distributions().get(top, [top])
    try:
        return f"{names[0]} {importlib.metadata.version(names[0])}"
    except importlib.metadata.PackageNotFoundError:
        return f"{top} of no version"


def _public(code: str) -> dict[str, int]:
    """The public classes of a text, or where it has none its functions, and their lines."""
    body = ast.parse(code).body
    for kind in (ast.ClassDef, ast.FunctionDef):
        found = {n.name: n.lineno for n in body if isinstance(n, kind) and n.name[0] != "_"}
        if found:
            return found
    return {}


def _only_one(place: str, code: str) -> str:
    known = _public(code)
    if len(known) != 1:
        which = ", ".join(known) or "no class and no function"
        raise Fault(f"{place}:1: name one of its parts, as {place}:NAME; it has {which}")
    return next(iter(known))


def arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are handed in: JSON knows lists alone, and libraries want tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}


def called(part: Any, settings: Mapping[str, Any]) -> Any:
    """What a schedule or a loss is called as: an object of a class, which takes its settings when
    it is made, or a function with its settings filled in."""
    given = arguments(settings)
    return part(**given) if isinstance(part, type) else functools.partial(part, **given)


def plain(text: str) -> dict[str, Any]:
    """Settings from their canonical text."""
    found: dict[str, Any] = json.loads(text)
    return found


def where(error: BaseException, part: Any = None) -> str | None:
    """`FILE:LINE: what`, of the innermost line of an own part that an error went through; None
    where it went through none, and `part` (a class or function) is none either."""
    if isinstance(error, Fault):
        return str(error)
    if isinstance(error, SyntaxError) and (error.filename or "").startswith(MARK):
        return f"{(error.filename or '').removeprefix(MARK)}:{error.lineno}: {error.msg}"
    place, trace = None, error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith(MARK):
            place = f"{name.removeprefix(MARK)}:{trace.tb_lineno}"
        trace = trace.tb_next
    place = place or (line_of(part) if part is not None else None)
    return f"{place}: {said(error)}" if place else None


def line_of(part: Any) -> str:
    """`FILE:LINE` at which a class or function begins; of an installed one, its name."""
    try:
        _, first = inspect.getsourcelines(part)
        file = inspect.getsourcefile(part) or ""
    except (OSError, TypeError):
        file = ""
    name = getattr(part, "__qualname__", str(part))
    if file.startswith(MARK):
        return f"{file.removeprefix(MARK)}:{first}"
    return f"{getattr(part, '__module__', '')}:{name}"


def said(error: BaseException) -> str:
    """An error as one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__
