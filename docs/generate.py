"""What the site holds beside the pages that are written: a page a command, a page a public name,
and the order of all of them. mkdocs runs this as a hook; see mkdocs.yml.

A command's page is made of the door itself, so it cannot say anything else than `--help` does. A
name's page is its docstring. A new page in docs/, a new command and a new name need no line here.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

FIRST = (
    "index",
    "first-run",
    "verdicts",
    "recipes",
    "parts",
    "data",
    "stages",
    "models",
    "records",
    "frames",
)
"""Written pages that a reader takes in this order; the others follow by name."""
LAST = ("numerics", "architecture")
APART = {"cli", "__main__", "__init__"}
"""Modules at the root of `harness` that nobody imports."""
BEYOND = {
    "harness.launch.base": ("Launcher", "Task"),
    "harness.launch.protocol": ("Job",),
    "harness.data.sources": ("Kind",),
    "harness.report.columns": ("Measure", "of_ends", "spread", "tabulate"),
    "harness.records.schema": ("Record",),
    "harness.report.frames": ("Results",),
    "harness.launch.tracking": ("Tracker", "Tracked", "TrackedPoint"),
}
"""Public names that live in a room: what a user's own part, view or script is made of."""


def on_config(config: Any) -> Any:
    """The order of the pages, which mkdocs would otherwise take from the names of the files."""
    here = {
        page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        for page in (ROOT / "docs").rglob("*.md")
    }
    known = [page for page in FIRST if page in here]
    end = [page for page in LAST if page in here]
    books = [f"notebooks/{book.stem}.md" for book in _notebooks()]
    others = sorted(here - {*known, *end})
    written = [f"{page}.md" for page in (*known, *others, *end)]
    commands = ["commands/index.md", *(f"commands/{_slug(words)}.md" for words, _ in commands_of())]
    names = ["names/index.md", *(f"names/{place}.md" for place in _places().values())]
    config["nav"] = [*written, {"Notebooks": books}, {"Commands": commands}, {"Names": names}]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made here."""
    from mkdocs.structure.files import File

    for place, text in {**command_pages(), **name_pages(), **notebook_pages()}.items():
        files.append(File.generated(config, place, content=text))
    return files


def _notebooks() -> list[Path]:
    return sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def notebook_pages() -> dict[str, str]:
    """Place -> text of a page a notebook: its cells, without what they give."""
    pages = {}
    for book in _notebooks():
        cells = json.loads(book.read_text("utf-8"))["cells"]
        texts = [
            text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
            for cell in cells
            if (text := "".join(cell["source"]))
        ]
        pages[f"notebooks/{book.stem}.md"] = "\n\n".join(texts) + "\n"
    return pages


# -- commands -----------------------------------------------------------------------------------


def commands_of() -> Iterator[tuple[str, Any]]:
    """Every command of the door, as the words that call it without `smol`, in its own order."""
    from harness import cli
    from harness.commands import DOOR

    def below(group: Any, words: str) -> Iterator[tuple[str, Any]]:
        for name in group.list_commands(None):
            command = group.get_command(None, name)
            if isinstance(command, cli.LazyGroup):
                yield from below(command, f"{words}{name} ")
            else:
                yield f"{words}{name}", command

    yield from below(cli._group("smol", DOOR, root=True), "")


def command_pages() -> dict[str, str]:
    """Place -> text of a page a command, and of their list."""
    pages, rows = {}, []
    for words, command in commands_of():
        context = command.context_class(command, info_name=f"smol {words}")
        usage = command.get_usage(context).removeprefix("Usage: ")
        parts = [f"# smol {words}", command.help, f"```text\n{usage}\n```"]
        for kind, title in (("argument", "Arguments"), ("option", "Options")):
            records = [
                found
                for parameter in command.params
                if parameter.param_type_name == kind
                and (found := parameter.get_help_record(context))
            ]
            if records:
                parts += [f"## {title}", _definitions(records)]
        pages[f"commands/{_slug(words)}.md"] = "\n\n".join(parts) + "\n"
        first = command.help.strip().partition("\n\n")[0].replace("\n", " ")
        rows.append(f"- [`smol {words}`]({_slug(words)}.md): {first}")
    start = "# Commands\n\nEach also says this itself: `smol COMMAND --help`.\n\n"
    return {**pages, "commands/index.md": start + "\n".join(rows) + "\n"}


def _definitions(records: list[tuple[str, str]]) -> str:
    return "\n".join(f"- `{name}`: {_plain(text)}" for name, text in records)


def _plain(text: str) -> str:
    """A help text in which no character means anything to Markdown, but for its backticks."""
    code = False
    out = []
    for letter in text:
        code ^= letter == "`"
        out.append(f"\\{letter}" if letter in "*_[]<>" and not code else letter)
    return "".join(out)


def _slug(words: str) -> str:
    return words.replace(" ", "-")


# -- names --------------------------------------------------------------------------------------


def public_names() -> dict[str, str]:
    """Dotted path -> first sentence: each module at the root of `harness`, each name that it
    defines without an underscore, and what stands in BEYOND. Read from the text alone."""
    found: dict[str, str] = {}
    root = ROOT / "harness"
    for file in sorted(root.glob("*.py")):
        if file.stem not in APART:
            found.update(_module(f"harness.{file.stem}", file))
    if names := _names(root / "__init__.py"):
        found.update({f"harness.{name}": said for name, said in names.items()})
    for module, wanted in BEYOND.items():
        place = ROOT / module.replace(".", "/")
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        names = _names(file)
        found.update({f"{module}.{name}": names[name] for name in wanted})
    return found


def _module(path: str, file: Path) -> dict[str, str]:
    said = _first(ast.get_docstring(ast.parse(file.read_text("utf-8"))))
    return {path: said, **{f"{path}.{name}": text for name, text in _names(file).items()}}


def _names(file: Path) -> dict[str, str]:
    body = ast.parse(file.read_text("utf-8")).body
    found: dict[str, str] = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        name = said = None
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            name, said = node.name, ast.get_docstring(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = target.id if isinstance(target, ast.Name) else None
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                said = str(after.value.value)
        if name and not name.startswith("_"):
            found[name] = _first(said)
    return found


def _first(docstring: str | None) -> str:
    """The first sentence of a docstring."""
    text = " ".join((docstring or "").split())
    return text.partition(". ")[0].rstrip(".:")


def _places() -> dict[str, str]:
    """Path -> name of its page; two that differ in capitals alone must not share a file."""
    places: dict[str, str] = {}
    taken: set[str] = set()
    for path in public_names():
        place = path
        while place.lower() in taken:
            place += "_"
        taken.add(place.lower())
        places[path] = place
    return places


def name_pages() -> dict[str, str]:
    """Place -> text of a page a name, and of their list."""
    pages, rows, names, places = {}, [], public_names(), _places()
    modules = {
        path for path in names if (ROOT / path.replace(".", "/")).with_suffix(".py").exists()
    }
    for path, said in names.items():
        is_module = path in modules
        title = path if is_module else path.rpartition(".")[2]
        text = f"# {title}\n\n"
        if is_module:
            members = [name for name in names if name.rpartition(".")[0] == path]
            text += f"::: {path}\n    options:\n      members: false\n\n" + "\n".join(
                f"- [{name.rpartition('.')[2]}]({places[name]}.md): {names[name]}"
                for name in members
            )
        else:
            text += f"::: {path}\n"
        pages[f"names/{places[path]}.md"] = text + "\n"
        rows.append(f"{'' if is_module else '    '}- [{path}]({places[path]}.md): {said}")
    start = (
        "# Names\n\nWhat a recipe, a part or a script of your own may import. "
        "Everything else may change from one version to the next.\n\n"
    )
    return {**pages, "names/index.md": start + "\n".join(rows) + "\n"}
