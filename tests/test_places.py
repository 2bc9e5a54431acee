"""Where this runs: other systems and other Pythons, as far as it can be known on this one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "models", "recipes")
ELSEWHERE_ABSENT = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"}
"""Modules of the standard library that Windows does not have."""
LEFT_IN_3_14 = {
    "aifc", "asyncore", "asynchat", "audioop", "cgi", "cgitb", "chunk", "crypt", "distutils",
    "imghdr", "imp", "mailcap", "msilib", "nntplib", "pipes", "smtpd", "sndhdr", "spwd", "sunau",
    "telnetlib", "uu", "xdrlib", "lib2to3",
}  # fmt: skip
"""Modules of Python 3.11's library that 3.12 to 3.14 have no more."""
FAKED = """
import sys, importlib.abc
# Other people's packages have wheels of their own there: they are imported as they are here.
import filelock, numpy, platformdirs, psutil, pyarrow, pydantic, rich.console, scipy.special
import sysconfig, typer, yaml, zoneinfo; sysconfig.get_config_vars()
sys.modules.pop("harness", None)
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
for name in {absent!r}:
    sys.modules.pop(name, None)
sys.platform = {platform!r}
import harness.cli, pkgutil, importlib, recipes
import harness.launch, harness.launch.launchers.local, harness.launch.execute, harness.launch.warm
from harness.launch import warm
assert not warm.possible()
for package in (recipes, importlib.import_module("harness.machine.devices")):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{{package.__name__}}.{{module.name}}")
sys.argv = ["smol", "list"]
harness.cli.main()
"""


def files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported_at_once(tree: ast.Module) -> set[str]:
    """Top-level modules that importing a file imports: not those inside functions or under a
    condition."""
    found = set[str]()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_the_sources_are_of_every_python_that_is_promised(minor):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"Programming Language :: Python :: 3.{minor}" in project["classifiers"]
    for path in files():
        tree = ast.parse(path.read_text("utf-8"), feature_version=(3, minor))
        gone = LEFT_IN_3_14 & {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names] if isinstance(node, ast.Import)
                else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            )
        }  # fmt: skip
        assert not gone, (path, gone)


def test_no_file_imports_at_once_what_another_system_lacks():
    for path in files():
        lacking = ELSEWHERE_ABSENT & imported_at_once(ast.parse(path.read_text("utf-8")))
        assert not lacking, (path, lacking)


@pytest.mark.parametrize("platform", ["darwin"])
def test_the_door_and_the_launcher_open_on_another_system(platform, tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", FAKED.format(absent=sorted(ELSEWHERE_ABSENT - {"pwd", "grp"}),
                                                  platform=platform)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "dense_vs_moe" in done.stdout
