"""A tokenizer's own chat template, read and rendered as transformers does it, within limits.

What a template may do is transformers' business: which file stands above which, its settings, the
names that it may use, the tags around what the assistant says. May not import transformers.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.data.ends import said_by
from harness.data.limits import memory_limit
from harness.errors import RequestError, TooLong, time_limit
from harness.files import read_json, read_regular

SECONDS = 5.0
BYTES = 2**29
"""What a template may take for one conversation, which takes ours a fraction of a millisecond."""

DAY = "SOURCE_DATE_EPOCH"
"""The environment's variable that fixes the day that a template may write (`strftime_now`), in
seconds since 1970, as reproducible builds have it; unset, it is today's, as in transformers."""

T = TypeVar("T")

_TAG = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token",
          "mask_token")  # fmt: skip


class Template:
    """The compiled template of a tokenizer's folder."""

    def __init__(self, folder: Path) -> None:
        """Raises RequestError where there is none, or it cannot be read."""
        self.folder = folder
        config = _object(folder / "tokenizer_config.json")
        source = _source(folder, config)
        self.tagged = _TAG.search(source) is not None
        """Whether its tags say what of a conversation is the assistant's."""
        self._words = frozenset(re.findall(r"\w+", source))
        self.dated = "strftime_now" in source
        """Whether it may write the day."""
        self._compiled = self._guarded(lambda: _environment().from_string(source), "is not one")
        self._names = _special(said_by(config, _object(folder / "special_tokens_map.json")))

    def reads(self, name: str) -> bool:
        """Whether a field or variable can matter to it: whether it has the name at all."""
        return name in self._words

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        prompt: bool = False,
        given: Mapping[str, Any] | None = None,
    ) -> tuple[str, list[tuple[int, int]]]:
        """The conversation as it is written, and where (from, to, in characters) its tags say that
        the assistant speaks; with `prompt`, up to where the assistant begins. `given` are `tools`,
        `documents` and other variables of the template.

        Raises RequestError where the template refuses it.
        """
        spoken = [_message(message) for message in messages]
        blocks: list[str] = []
        said: list[tuple[int, int]] = []

        def write() -> str:
            environment = self._compiled.environment
            environment.spoken = (blocks, said)
            # One by one: the tags ask how much was written before them.
            for block in self._compiled.generate(
                messages=spoken, add_generation_prompt=prompt,
                **{"tools": None, "documents": None, **self._names, **(given or {})},
            ):  # fmt: skip
                blocks.append(block)  # noqa: PERF402
            return "".join(blocks)

        return self._guarded(write, "says"), said

    def _guarded(self, work: Callable[[], T], refuses: str) -> T:
        """`work` within a template's time and memory; whatever it raises is one RequestError."""
        import jinja2

        where = f"the chat template of {self.folder}"
        try:
            with memory_limit(BYTES), time_limit(SECONDS):
                return work()
        except TooLong as error:
            raise RequestError(f"{where}: {error}") from None
        except jinja2.TemplateError as error:
            raise RequestError(f"{where} {refuses}: {_line(error)}") from None
        except Exception as error:  # whatever its expressions raise on these messages
            raise RequestError(f"{where} fails: {type(error).__name__}: {_line(error)}") from None


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a template sees of a message: with its reasoning under the names that are in use."""
    given = dict(message)
    if reasoning := message.get("reasoning_content"):
        given |= {"reasoning_content": reasoning, "thinking": reasoning}
    return given


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _object(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path) if path.is_file() else {}
    except ValueError as error:
        raise RequestError(f"{path} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path} holds no object but {type(content).__name__}")
    return content


def _source(folder: Path, config: dict[str, Any]) -> str:
    named = _files(folder)
    if named:  # stand above the field, which older tools leave there
        source: Any = named
    else:
        source = config.get("chat_template")
    if isinstance(source, list):  # several named ones, of which a later one replaces an earlier
        source = {one.get("name"): one.get("template") for one in source if isinstance(one, dict)}
    if isinstance(source, dict):  # the one for chat is called default
        if source and "default" not in source:
            raise RequestError(
                f"the tokenizer of {folder} has chat templates "
                f"{', '.join(map(repr, source))}, but none is called 'default'"
            )
        source = source.get("default")
    if source is None:
        raise RequestError(f"the tokenizer of {folder} has no chat template")
    if not isinstance(source, str):
        raise RequestError(f"the chat template of {folder} is no text but {type(source).__name__}")
    return source


MOST_BYTES = 10**6
"""What a template may have in a file of its own."""
SEVERAL = "additional_chat_templates"
"""The folder of a tokenizer's named templates, of which one may be the default."""


def _files(folder: Path) -> dict[str, str]:
    """Name -> template, of those in files of their own; later ones replace earlier ones."""
    beside = folder / "chat_template.jinja"
    files = {"default": beside} if beside.is_file() else {}
    files |= {path.stem: path for path in sorted((folder / SEVERAL).glob("*.jinja"))}
    return {
        name: read_regular(path, MOST_BYTES).decode("utf-8", errors="replace")
        for name, path in files.items()
    }


def settle(source: Path, folder: Path) -> None:
    """Write the template that a tokenizer's `source` folder means into a copy of its files, where
    it has several in a folder of their own."""
    if "default" in (files := _files(source)) and (source / SEVERAL).is_dir():
        (folder / "chat_template.jinja").write_text(files["default"], encoding="utf-8")


def _special(config: dict[str, Any]) -> dict[str, Any]:
    """Name -> text of the special tokens that a template may write: the usual ones, and those that
    a tokenizer names itself (`image_token`)."""
    more = [config.get(key) for key in ("extra_special_tokens", "model_specific_special_tokens")]
    own = {name for name in config if name.endswith("_token")} - set(_NAMED)
    given = {name: config[name] for name in own if isinstance(config[name], str | dict)}
    for tokens in more:
        given |= tokens if isinstance(tokens, dict) else {}
    given |= {name: config.get(name) for name in _NAMED}
    return {
        name: value["content"] if isinstance(value, dict) else value
        for name, value in given.items()
        if value is not None and (not isinstance(value, dict) or "content" in value)
    }


def _environment() -> Any:
    """The settings that transformers documents for chat templates."""
    import jinja2
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` around what the assistant says: written as it stands, and where."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

        def _said(self, caller: Callable[[], str]) -> str:
            text = caller()
            blocks, said = self.environment.spoken  # type: ignore[attr-defined]
            start = sum(map(len, blocks))
            said.append((start, start + len(text)))
            return text

    class Sandbox(ImmutableSandboxedEnvironment):
        """Without powers that take for ever: a signal cannot interrupt them."""

        intercepted_binops = frozenset({"**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if not isinstance(right, int | float) or abs(right) > 64:
                raise jinja2.TemplateError(f"a power of {right!r} is not computed")
            return left**right

    environment = Sandbox(
        trim_blocks=True, lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", Generation],
    )  # fmt: skip
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _day
    environment.filters["tojson"] = _to_json
    return environment


def _day(form: str) -> str:
    fixed = os.environ.get(DAY, "")
    return time.strftime(form, time.gmtime(int(fixed)) if fixed.isdigit() else time.localtime())


def _to_json(value: Any, ensure_ascii: bool = False, **settings: Any) -> str:
    """Without jinja's escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **settings)


def _refuse(message: str) -> str:
    import jinja2

    raise jinja2.TemplateError(message)
