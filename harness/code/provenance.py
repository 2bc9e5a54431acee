"""Which code ran: the source digest, the commit, the versions."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from harness.records.schema import Code

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds `harness/` and `models/`."""

ENTRY = "harness.train.worker"
"""The child process; what it imports from these rooms is the code that trains."""
WALKED = ("models/feed_forwards", "models/attentions", "harness/optim/optimizers")
"""Folders whose modules no import statement names: they are found by walking."""
ROOMS = ("models", "harness.data", "harness.optim", "harness.train", "harness.seeds")

PACKAGES = ("torch", "triton", "numpy", "tokenizers", "datasets", "pydantic")
"""The packages whose versions a record keeps; of these, those in `SOFTWARE_SET` decide what may be
compared."""
SOFTWARE_SET = ("python", "torch", "numpy")


@cache
def source_digest(root: Path = ROOT) -> str:
    """The digest of the syntax trees of every module of `ROOMS` that the child process can import.

    Comments, docstrings and layout do not count: only what changes behaviour may change it.
    """
    digest = hashlib.sha256()
    for module, tree in sorted(_closure(root).items()):
        digest.update(f"{module}\n{_shape(tree)!r}\n".encode())
    return digest.hexdigest()[:16]


def _closure(root: Path) -> dict[str, ast.Module]:
    """The modules of `ROOMS` reached from ENTRY by import statements, wherever they stand."""
    found: dict[str, ast.Module] = {}
    files = [file for folder in WALKED for file in sorted((root / folder).glob("*.py"))]
    walked = [".".join(file.relative_to(root).with_suffix("").parts) for file in files]
    waiting = [ENTRY, *(name for name in walked if not name.endswith(".__init__"))]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found[module] = ast.parse(_file(root, module).read_text("utf-8"))
        waiting += [name for name in _imports(root, found[module]) if name.startswith(ROOMS)]
    return found


def _imports(root: Path, tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if _exists(root, name)}


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """A tree and every statement in it: an import stands in no expression, and those are most."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "orelse", "handlers", "finalbody", "cases"):
            if isinstance(below := getattr(node, name, None), list):
                waiting += below


def _file(root: Path, module: str) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exists(root: Path, module: str) -> bool:
    return _file(root, module).is_file()


def normal_form(source: str) -> str:
    """A module's syntax without comments, docstrings and layout, as text.

    Written out here rather than by `ast.dump`, whose text differs between Python versions.
    """
    return repr(_shape(ast.parse(source)))


def _shape(node: object) -> object:
    if isinstance(node, ast.AST):
        fields = [(name, _shape(getattr(node, name, None))) for name in node._fields]
        return (type(node).__name__, *((n, v) for n, v in fields if v is not None and v != []))
    if isinstance(node, list):
        return [_shape(item) for item in node if not _is_docstring(item)]
    return node


def _is_docstring(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def code() -> Code:
    """The digest and, in a git checkout, the commit and whether tracked files differ from it:
    other than the results, which a run's own card is among."""
    commit = _git("rev-parse", "HEAD")
    asked = ("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results")
    status = _git(*asked) if commit else None
    return Code(
        source_digest=source_digest(),
        commit=commit,
        dirty=bool(status) if status is not None else None,
    )


def _git(*arguments: str) -> str | None:
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def software() -> dict[str, str]:
    """Versions of Python, the platform and the packages that can change a result."""
    return dict(_software())


@cache
def _software() -> dict[str, str]:
    versions = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    return versions


def software_set(versions: dict[str, str]) -> tuple[str, ...]:
    """The versions that two records must share to be compared."""
    return tuple(versions.get(name, "absent") for name in SOFTWARE_SET)
