"""What must stay light stays light: modules that may not load torch, and the door's speed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness.commands
from harness.commands import DOOR, Command, CommandGroup

LIGHT = [
    "models.config", "models.presets", "harness.recipe", "harness.config", "harness.plan.runs",
    "harness.presets", "harness.launch.protocol", "harness.records.store",
    "harness.machine.hardware", "harness.machine.flops", "harness.records.gates",
    "harness.code.provenance", "harness.report.card", "harness.report.trace",
    "harness.report.views", "harness.audit.page", "harness.commands.audit",
    "harness.evidence.costs", "harness.commands.run", "harness.commands.show",
    "harness.launch.launchers.local", "harness.data.assets", "harness.commands.models",
    "harness.commands.evaluate", "harness.records.evaluation", "harness.commands.bench_step",
    "harness.commands.campaign", "harness.bench.contest", "harness.bench.saved",
    "harness.plan.campaign", "harness.plan.profiles", "harness.commands.referee",
    "harness.parts.settle", "harness.optim.registry", "models.own", "harness.html.build",
    "harness.html.server", "harness.html.terminal", "harness.launch.announce",
]  # fmt: skip
HEAVY = ("torch", "transformers", "datasets", "seaborn", "matplotlib")


def loaded(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_light_modules_load_nothing_heavy():
    modules = loaded("\n".join(f"import {name}" for name in LIGHT))
    assert not modules & set(HEAVY)


@pytest.mark.parametrize("name", ["harness.cli"])
def test_the_door_itself_loads_almost_nothing(name):
    modules = loaded(f"import {name}")
    assert not modules & {*HEAVY, "pandas", "numpy", "pydantic", "rich"}


def test_each_command_is_listed_as_it_describes_itself():
    """The table of summaries is written twice so that help need not import what it lists."""

    def commands(group: CommandGroup) -> Iterator[Command]:
        for one in group.commands.values():
            yield from commands(one) if isinstance(one, CommandGroup) else [one]

    listed = {command.module: command.summary for command in commands(DOOR)}
    for name, summary in listed.items():
        module = importlib.import_module(f"harness.commands.{name}")
        assert module.Options.__doc__.partition(".")[0] + "." == summary
        assert callable(getattr(module, name))
    folder = Path(harness.commands.__file__).parent
    have = {f.stem for f in folder.glob("*.py") if "\nclass Options:" in f.read_text()}
    # `smol run` is two files: its options stand where they are read and checked.
    assert have == (set(listed) - {"run"}) | {"request"}


def test_models_know_nothing_of_the_harness():
    modules = loaded("import models.lm, models.hf, models.generate")
    assert not [name for name in modules if name.split(".")[0] == "harness"]
