"""What the package says of itself, in the several places where tools look for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_uv_is_constrained_as_pip_is() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    assert set(PROJECT["tool"]["uv"]["constraint-dependencies"]) == pinned


def test_the_citation_names_the_version_that_is_installed() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PROJECT["project"]["version"]


def test_every_package_is_typed_for_those_who_import_it() -> None:
    for package in ("harness", "models", "recipes"):
        assert (ROOT / package / "py.typed").is_file()
        assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"][package]


@pytest.mark.parametrize("taken", ["__init__.py", "config.py"])
def test_another_wheel_that_owns_models_is_named_in_one_line(tmp_path: Path, taken: str) -> None:
    """Installed after ours it has written over our files; one that we need not is no fault."""
    site = tmp_path / "site"
    for package in ("harness", "models", "recipes"):
        shutil.copytree(ROOT / package, site / package)
    (site / "models" / taken).write_text("class Config: pass\n")
    info = site / "other_models-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-models\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"models/{taken},,\nother_models-1.0.dist-info/RECORD,,\n")
    (info / "top_level.txt").write_text("models\n")
    here = tmp_path / "here"
    for name in ("harness", "models", "recipes"):  # the user's own folders are never taken for ours
        (here / name).mkdir(parents=True)
        (here / name / "__init__.py").write_text("raise SystemExit('imported')\n")
    for arguments in (["list"], ["show", "dense_vs_moe", "--scale", "smoke"]):
        done = subprocess.run(
            [sys.executable, "-m", "harness", *arguments], cwd=here, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}, check=False,
        )  # fmt: skip
        if taken == "__init__.py":
            assert done.returncode == 0, done.stderr
            continue
        assert done.returncode == 2
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert "'models' is not smol-harness's own" in line
        assert "other-models" in line
        assert "environment of its own" in line
