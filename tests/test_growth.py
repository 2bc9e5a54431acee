"""A configuration that grows: fields that today's records could not have change none of them.

The fields are planted in a copy of the tree, which is then asked what this tree is asked.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.code.provenance import ROOT
from harness.config import ADDED, as_before, identity, replace
from harness.presets import run
from harness.records import keys, store

SECTIONS = {
    "harness/config.py": {
        "Source": "data.sources", "DataConfig": "data", "BatchConfig": "batch",
        "OptimConfig": "optim", "ScheduleConfig": "schedule", "TrainConfig": "train",
    },
    "models/config.py": {"ModelConfig": "model"},
}  # fmt: skip
"""File -> class -> where in the configuration it stands."""

QUESTIONS = """
import json, sys
from pathlib import Path
from pydantic import ValidationError
from harness.config import RunConfig, flatten, identity
from harness.data import prepare, sealing, sources
from harness.plan.forecast import Forecast
from harness.evidence.query import Recorded
from harness.records import keys, store
from harness.recipe import load
from harness.evidence import sections
from harness.plan import runs as plan
from harness.plan.resolved import resolve

def read_as_written(config):
    try:
        return identity(RunConfig.model_validate_json(json.dumps(config))) == identity(config)
    except ValidationError:
        return False

records = store.read_all(Path(sys.argv[1]))
device_class = records[0].hardware.device_class
data = Recorded(records)
sources.fingerprint = lambda kind: kind.source.name  # the texts are the same, and reading them slow
planned, specifications, rates = {}, {}, {}
for entry in load()[0].values():
    if "proxy" not in entry.seeds or not entry.at("proxy").runs_on("cpu"):
        continue
    if "optimizer_field" in entry.name:  # asks a child about each library's optimizer, a minute
        continue
    made = plan.make(resolve(entry, "proxy"), plan.Where("cpu", device_class),
                     data.tokenizer_digest)
    planned[entry.name] = [run.key for run in made.runs]
    forecast = Forecast(device_class, None, records)
    for run in made.runs:
        spec = run.config.data
        specifications[run.key] = [sealing.content_digest(spec, "t", "a", "b"),
                                   prepare._place(spec, sources.make_all(spec)).name]
        rates[run.key] = forecast.rate(run.config)[1]
print(json.dumps({
    "fields": [path for path in flatten(run.config) if "gained" in path],
    "faults": keys.faults(records),
    "read": sum(read_as_written(one.config) for one in records),
    "planned": planned,
    "specifications": specifications,
    "rates": rates,
    "groups": [one.group for one in sections.runs(records)],
}))
"""


def answers(tree: Path) -> dict[str, Any]:
    """What the code of a tree says of the committed records and of its recipes."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", QUESTIONS, str(ROOT / "results")],
        env={"PYTHONPATH": str(tree)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree with a field `gained` more in each class of the configuration."""
    tree = tmp_path_factory.mktemp("grown")
    for name in ("harness", "models", "recipes"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    added = {}
    for file, classes in SECTIONS.items():
        text = (tree / file).read_text("utf-8")
        for name, place in classes.items():
            start = rf'(class {name}\(\w+\):\n    """.*?"""\n)'
            text, count = re.subn(start, r"\1\n    gained: float = 0.5\n", text, flags=re.DOTALL)
            assert count == 1, name
            added[f"{place}.gained"] = 0.5
        (tree / file).write_text(text, "utf-8")
    with (tree / "harness/config.py").open("a") as file:
        file.write(f"\nADDED.update({added!r})\n")
    return tree


def test_a_field_more_in_each_section_changes_no_key_no_group_and_no_data(grown: Path) -> None:
    before, after = answers(ROOT), answers(grown)
    assert before["fields"] == []
    assert len(after["fields"]) == len(SECTIONS["harness/config.py"])  # a source's is in a list
    assert before["faults"] == []
    # A gained field has as its default what means "as before", else no older record were read.
    assert before["read"] > 500  # the rest lack fields that entered the key as soon as they came
    finished = {record.key for record in store.read_all(ROOT / "results")}
    planned = {key for made in before["planned"].values() for key in made}
    assert len(planned & finished) > 300  # else the recipes have nothing to do with the records
    del before["fields"], after["fields"]
    assert after == before


def test_a_gained_field_counts_as_soon_as_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(run("proxy"))
    monkeypatch.setitem(ADDED, "optim.clip_norm", run("proxy").optim.clip_norm)
    source = run("proxy").data.sources[0].model_dump(mode="json")
    monkeypatch.setitem(ADDED, "data.sources.dataset", "")
    assert set(before) - set(identity(run("proxy"))) == {"optim.clip_norm"}
    assert identity(replace(run("proxy"), {"optim.clip_norm": 0.25}))["optim.clip_norm"] == 0.25
    plain = {"sources": [source], "fitted_on": [source, source | {"dataset": "x"}]}
    sparse = as_before(plain, "data")
    del source["dataset"]
    assert sparse == {"sources": [source], "fitted_on": [source, source | {"dataset": "x"}]}


def test_a_record_whose_configuration_was_changed_is_found() -> None:
    records = store.read_all(ROOT / "results")
    changed = list(records)
    for place in range(0, len(records), 25):
        record = records[place]
        optim = record.config["optim"] | {"adamw_lr": record.config["optim"]["adamw_lr"] * 2}
        changed[place] = record.model_copy(update={"config": record.config | {"optim": optim}})
    found = keys.faults(changed)
    assert [line.split(" ")[0] for line in found] == [record.name for record in records[::25]]
