"""Everything that a clone needs: `nox -s run -- RECIPE`, and those that `nox -l` lists.

All sessions share one environment, `.venv`, since torch alone is up to several gigabytes. It is
made on first use and brought up to date when pyproject.toml or constraints.txt change. Afterwards
`.venv/bin/smol` is there to be used directly.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "none"

ROOT = Path(__file__).parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
DEFINES = ("pyproject.toml", "constraints.txt")


def ready(session: nox.Session, extra: str = "dev") -> None:
    """Make or update the shared environment, if what defines it has changed.

    `extra` is the optional part of pyproject.toml that the session needs beside `dev`: what only
    some sessions use is not installed before the first of them.
    """
    content = b"".join((ROOT / name).read_bytes() for name in DEFINES)
    wanted = hashlib.sha256(content + sys.version.encode()).hexdigest()
    stamp = VENV / ("smol-stamp" if extra == "dev" else f"smol-stamp-{extra}")
    if stamp.exists() and stamp.read_text() == wanted:
        return
    session.log(f"setting up .venv for {extra} (a minute or two, once)")
    if extra == "dev":
        session.run(sys.executable, "-m", "venv", str(VENV), external=True)
    else:
        ready(session)
    session.run(
        str(BIN / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "-c", "constraints.txt", "-e", f".[{extra}]", external=True,
    )  # fmt: skip
    stamp.write_text(wanted)


def call(session: nox.Session, program: str, *arguments: str, extra: str = "dev") -> None:
    """Run a program of the shared environment, with what `extra` adds to it."""
    ready(session, extra)
    session.run(str(BIN / program), *arguments, external=True)


@nox.session
def run(session: nox.Session) -> None:
    """`smol run RECIPE ...`."""
    call(session, "smol", "run", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The tests that take minutes, two at a time; arguments go to pytest."""
    call(session, "pytest", "--numprocesses=2", "--dist=loadgroup", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The slower checks."""
    call(session, "pytest", "-m", "slow", *session.posargs)


@nox.session
def cluster(session: nox.Session) -> None:
    """Runs over the nodes of a Ray cluster on this machine, some of which are killed; and jobs for
    rented machines. Some twenty minutes on two cores."""
    call(session, "pytest", "-m", "cluster", *session.posargs, extra="ray")


@nox.session
def browser(session: nox.Session) -> None:
    """Report, watch and card in a real browser (Debian's chromium); pictures of them are left in
    screenshots/."""
    call(session, "pytest", "-m", "browser", *(session.posargs or ["tests/browser"]),
         extra="browser")  # fmt: skip


@nox.session
def survive(session: nox.Session) -> None:
    """What runs and the door survive, with progress and figures: kills, full disks, flipped bits,
    launchers at once, hostile and fuzzed inputs. An hour or so on two idle cores; in parts by
    `-- -k kills` (disks, long, imports, flipped, launchers, strangers, fuzz). Full disks only where
    one may mount."""
    call(session, "pytest", "-m", "survive", "-s", "-v", "-n", "0", "--durations=0",
         "--durations-min=1", "tests/survive", *session.posargs)  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, mypy, and the arrows between rooms (import-linter)."""
    call(session, "ruff", "check", ".")
    call(session, "ruff", "format", "--check", ".")
    call(session, "mypy")
    call(session, "lint-imports")


@nox.session
def bench(session: nox.Session) -> None:
    """The pytest-benchmark suites, kept in results/bench/; arguments go to pytest. Under twenty
    minutes on two cores, and they mean something only where nothing else runs."""
    call(
        session, "pytest", "bench", "--benchmark-quiet", "--timeout=1800", "-p", "no:cacheprovider",
        "--bench-save=results", *session.posargs,
    )  # fmt: skip


@nox.session
def gpu(session: nox.Session) -> None:
    """Acceptance on one CUDA card in some twenty minutes: parity, kernels, training, benches, a
    short run of each recipe. Fails where there is no card; `-- --rehearse` does the same on the
    CPU, tiny."""
    call(session, "python", "-m", "bench.acceptance", *session.posargs)


@nox.session
def fakegpu(session: nox.Session) -> None:
    """SmolLM2-135M and its mixtures at full size on fake CUDA tensors, with PyPI's CUDA build of
    torch (about 3 GB, once) in an environment of its own, `.venv-cuda`. No card is needed."""
    place = ROOT / ".venv-cuda"
    python = str(place / BIN.name / "python")
    stamp = place / "smol-stamp"
    content = b"".join((ROOT / name).read_bytes() for name in DEFINES)
    wanted = hashlib.sha256(content + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        session.run(sys.executable, "-m", "venv", str(place), external=True)
        # PyPI's own build, whatever this machine's settings would put before it.
        session.run(
            python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "-c", "constraints.txt", "-e", ".", "pytest", "pytest-timeout", external=True,
            env={"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""},
        )  # fmt: skip
        stamp.write_text(wanted)
    session.run(
        python, "-m", "pytest", "-m", "fakegpu", "-s", "--timeout=1800",
        *(session.posargs or ["tests/bench/test_fake_cuda.py"]), external=True,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@nox.session
def card(session: nox.Session) -> None:
    """`smol card`: regenerate the model card and its figures; `-- --check` to compare only."""
    for folder in ("results", "results/ladder"):
        call(session, "smol", "card", "--results", folder, *session.posargs)


@nox.session
def trackers(session: nox.Session) -> None:
    """What `--track` keeps, read back by each tracker's own library."""
    call(session, "pytest", "-m", "trackers", *session.posargs, extra="trackers")


@nox.session
def docs(session: nox.Session) -> None:
    """The site, into site/, where every warning is an error, and what it promises: links, a page
    for every name and command, notebooks that run."""
    call(session, "mkdocs", "build", "--strict", "--quiet", extra="docs")
    call(session, "pytest", "-m", "docs", *session.posargs, extra="docs")


@nox.session
def kernels(session: nox.Session) -> None:
    """What is known of the Triton kernels without a GPU: errors, builds, predicted times;
    `-- --write` keeps it in results/bench/kernels.json."""
    call(session, "python", "-m", "harness.bench.kernels.lab", *session.posargs)
    if not session.posargs:
        call(session, "python", "-m", "harness.bench.kernels.first_update")


@nox.session
def behaviour(session: nox.Session) -> None:
    """Whether the code that trains still computes what is committed; `-- --write` commits what it
    computes now."""
    call(session, "python", "-m", "harness.code.behaviour", *session.posargs)
