"""Where documents come from: one class a kind of source, found by walking this folder.

A kind is added by one file, here or beside one's own recipe, that holds a subclass of `Kind`. A
specification names ours by `Kind.name`, and a user's own as `FILE.py:CLASS` (`FILE.py` where it
holds one alone), looked for in `./recipes` and then in `./`. May not import tokenizers, datasets or
pyarrow when it is loaded: a run that finds its data prepared must be quick.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from harness.config import DataConfig, Source, as_before
from harness.data.left_out import text_fault
from harness.data.streams import Position, SourceBatch, Stream, listed
from harness.data.units import Paragraphs, TextUnit, cut, held_out
from harness.errors import RequestError, UsersFault, nearest, users_module, users_work

FOLDERS = (Path("recipes"), Path())
"""Where a user's own file is looked for."""

Progress = Callable[[str], None]


class Kind(ABC):
    """One kind of source. A new one says what its text depends on (`fingerprint`) and gives its
    documents (`read`); the rest has defaults.
    """

    name: ClassVar[str] = ""
    """How `Source.kind` names it; a user's own is named by its file."""
    holds: ClassVar[frozenset[str]] = frozenset({"text"})
    """The formats of data that it can give: `text`, `chat` (conversations)."""
    names_dataset: ClassVar[bool] = False
    """Whether its sources name a `dataset`; those of other kinds of ours must not."""
    streams: ClassVar[bool] = False
    """Whether it is too large, or too slow, to be read as a whole: rows are then written as they
    come, with a tokenizer that is given, and what was cut off goes on."""
    origin: str = ""
    """For the manifest: where the documents were read; empty: the source's name and kind."""
    note: ClassVar[str] = ""
    """What a reader of the card must know of data of this kind."""
    code: ClassVar[str] = ""
    """The digest of a user's own file; what it reads may depend on all of it."""

    def __init__(
        self, source: Source, *, chat: bool = False, progress: Progress = lambda _: None
    ) -> None:
        self.source, self.chat, self.progress = source, chat, progress
        self.origin = self.origin or f"{source.name} of {source.kind}"

    @abstractmethod
    def fingerprint(self) -> str:
        """What the documents depend on besides the specification and this class: it changes when
        they do. Data is prepared once for each. Raises RequestError."""

    @abstractmethod
    def read(self) -> Iterable[Any]:
        """The documents: texts (str), or `Unit`s where several share text and may not be split;
        for conversations, lists of messages (`{"role": ..., "content": ...}`) or `Talk`s.

        Raises RequestError.
        """

    def split(
        self, units: Sequence[TextUnit], seed: int, fraction: float
    ) -> tuple[Sequence[TextUnit], Sequence[TextUnit]]:
        """(train, validation), about `fraction` of the units held out: by a hash of their names,
        so that a unit's side does not depend on the others. Raises RequestError."""
        sides: tuple[list[TextUnit], list[TextUnit]] = [], []
        for unit in units:
            sides[held_out(seed, unit.name, fraction)].append(unit)
        return sides

    def documents(self, unit: TextUnit, seen: Paragraphs, *, validation: bool) -> list[str]:
        """What of a unit enters the stream, as documents: all of it, as it is."""
        return [unit.text]

    def asked(self) -> Any:
        """Plain JSON, by which a preparation that goes on knows that it is the same one."""
        return as_before(self.source, "data.sources")

    def revision(self) -> str | None:
        """The newest state of what can change while it is read, so that all of it is read at one;
        None where nothing can. Raises RequestError."""
        return None

    def stream(self, seed: int, revision: str | None = None) -> Stream:
        """The documents as a stream, in an order that may depend on `seed`, at a `revision`."""

        def batches(start: Position | None) -> Iterator[SourceBatch]:
            what = "conversation" if self.chat else "document"
            return listed(_read(self), what)(start)

        return Stream(
            self.source.name, self.source.kind, self.source.share, self.origin, batches,
            self.source.text_column,
        )  # fmt: skip


class Prose(Kind):
    """Prose that may repeat itself: a paragraph stands once, wherever it was seen first."""

    def documents(self, unit: TextUnit, seen: Paragraphs, *, validation: bool) -> list[str]:
        return cut(seen.unseen(_encodable(unit.text)))


class SourceCode(Kind):
    """Code: training keeps its repeats, and validation loses what stands in training."""

    def documents(self, unit: TextUnit, seen: Paragraphs, *, validation: bool) -> list[str]:
        text = _encodable(unit.text)
        if validation:
            return cut(seen.unleaked(text))
        seen.remember(text)
        return cut(text)


def _encodable(text: str) -> str:
    """Half surrogates stand in a few modules' strings; UTF-8 has no form for them."""
    return text.encode(errors="ignore").decode()


@cache
def known() -> dict[str, str]:
    """Our own kinds and the modules that hold them, read from the files: a plan asks, and importing
    them all is slow."""
    declared = re.compile(r'^    name = "([^"]+)"$', re.MULTILINE)
    return {
        kind: f"{__name__}.{file.stem}"
        for file in sorted(Path(__file__).parent.glob("*.py"))
        for kind in declared.findall(file.read_text("utf-8"))
    }


def check(data: DataConfig) -> None:
    """Raises RequestError for a source of a kind that is not there; reads nothing of ours."""
    for source in (*data.sources, *data.fitted_on, *data.second):
        _place(source.kind)


def find(kind: str) -> type[Kind]:
    """The class that `Source.kind` names. Raises RequestError for one that is not there."""
    place = _place(kind)
    if not isinstance(place, str):
        return place
    found = vars(importlib.import_module(place)).values()
    return next(one for one in found if isinstance(one, type) and vars(one).get("name") == kind)


def _place(kind: str) -> str | type[Kind]:
    """The module that holds a kind of ours, or a user's own class."""
    file, _, wanted = kind.partition(":")
    if file.endswith(".py"):
        return _own(file, wanted)
    if kind not in known():
        raise RequestError(
            f"no kind of source '{kind}'{nearest(kind, known())} (your own is FILE.py:CLASS)"
        )
    return known()[kind]


def make(source: Source, *, chat: bool = False, progress: Progress = lambda _: None) -> Kind:
    """A source of its kind, ready to be read.

    Raises RequestError for a kind that is not there, that does not hold what is wanted, and for
    fields that do not go with it.
    """
    kind = find(source.kind)
    if ("chat" if chat else "text") not in kind.holds:
        what = "conversations" if chat else "text"
        raise RequestError(f"source '{source.name}' ({source.kind}) holds no {what}")
    if bool(source.dataset) != kind.names_dataset and not kind.code:
        needs = "needs a" if kind.names_dataset else "has no"
        raise RequestError(f"source '{source.name}': kind {source.kind} {needs} `dataset`")
    try:
        return kind(source, chat=chat, progress=progress)
    except TypeError as error:  # of a user's class: a method is missing
        raise RequestError(f"source '{source.name}' ({source.kind}): {error}") from None


def make_all(data: DataConfig, progress: Progress = lambda _: None) -> list[Kind]:
    """Each source of a specification, ready to be read. Raises RequestError."""
    names = [source.name for source in data.sources]
    if len(set(names)) < len(names):
        raise RequestError(f"data.sources has two sources of one name: {', '.join(names)}")
    chat = data.format == "chat"
    return [make(source, chat=chat, progress=progress) for source in data.sources]


def note(kind: str) -> str:
    """What a reader of the card must know of a kind of ours; nothing is known of others."""
    return find(kind).note if kind in known() else ""


def fingerprint(kind: Kind) -> str:
    """All that a source's documents depend on, besides the specification. Raises RequestError."""
    with _users(kind):
        own = kind.fingerprint()
    return f"{kind.code} {own}" if kind.code else own


def units(kind: Kind) -> list[TextUnit]:
    """A source's texts, each in its unit. Raises RequestError for one without any."""
    kind.progress(f"reading {kind.source.name} ({kind.source.kind})")
    found = [one if isinstance(one, TextUnit) else _unit(kind, one) for one in _read(kind)]
    if not any(unit.text.strip() for unit in found):
        raise RequestError(f"the corpus is empty: source '{kind.source.name}' holds no text")
    return found


def _unit(kind: Kind, text: Any) -> TextUnit:
    fault = "no text but None" if text is None else text_fault(text)
    if fault:
        raise RequestError(f"source '{kind.source.name}' ({kind.source.kind}) gives {fault}")
    return TextUnit(hashlib.sha256(text.encode()).hexdigest(), text)


def _read(kind: Kind) -> list[Any]:
    with _users(kind):
        return list(kind.read())


def _users(kind: Kind) -> AbstractContextManager[None]:
    """Where a user's own class may raise anything, and a fault of ours must not be called its."""
    return users_work(f"source '{kind.source.name}'") if kind.code else nullcontext()


def _own(place: str, wanted: str) -> type[Kind]:
    """A class of a user's own file. Raises RequestError."""
    files = [folder / place for folder in FOLDERS if (folder / place).is_file()]
    if not files or Path(place).is_absolute():  # data is named alike wherever its folder lies
        raise RequestError(f"no file '{place}' in ./recipes or ./ with a kind of source")
    text = files[0].read_bytes()
    code = hashlib.sha256(text).hexdigest()
    try:
        module = users_module(files[0].resolve(), f"own_source_{code[:16]}")
    except UsersFault as why:
        raise RequestError(f"{place} cannot be loaded: {why}") from None
    found = {
        name: one
        for name, one in vars(module).items()
        if isinstance(one, type) and issubclass(one, Kind) and one.__module__ == module.__name__
    }
    name = wanted or (next(iter(found)) if len(found) == 1 else "")
    if name not in found:
        raise RequestError(
            f"{place} has no kind of source '{wanted}'{nearest(wanted, found)}"
            if wanted
            else f"{place} holds {len(found)} kinds of source, a subclass of "
            f"harness.data.sources.Kind each: {', '.join(found) or 'none'}"
        )
    found[name].code = code
    return found[name]
