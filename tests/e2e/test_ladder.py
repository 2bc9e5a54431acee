"""A ladder through the door: rungs run, one forecast before it, the page and what may not be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.records import ledger, store
from harness.records.schema import Record
from tests.e2e.conftest import Workspace

RECIPE = '''
"""A ladder of tiny models."""
from harness import presets
from harness.config import Source, replace
from harness.recipe import RUNGS, Axis, Primary, Recipe, Tokens, recipe

@recipe("tiny_ladder", primary=Primary(metric="val_loss", at="tokens", pairs=(("low", "high"),)),
        seeds={SEEDS})
def tiny_ladder(scale):
    """Two learning rates over three sizes and three budgets."""
    width = 16 + 8 * RUNGS.index(scale)
    base = replace(presets.run(scale), {
        "data.sources": (Source(name="topics", kind="files", share=1.0, paths=("topics.jsonl",)),),
        "data.seq_len": 32, "data.vocab_size": 512, "data.val_tokens": 640,
        "model.vocab_size": 512, "model.width": width, "model.layers": 1, "model.ffn": 2 * width,
        "model.heads": 2, "model.kv_heads": 1, "model.head_dim": 8,
        "batch.micro_batch": 4, "schedule.warmup_updates": 2, "train.threads": 1,
    })
    sizes = (10, 20, 40)
    budgets = [128 * size * (RUNGS.index(scale) + 1) for size in sizes]
    return Recipe(replace(base, {"train.tokens": budgets[-1]}),
                  axes=[Axis("rate", ["optim.muon_lr"], {"low": 0.01, "high": 0.03})],
                  horizons=[Tokens(n, name) for n, name in zip(budgets, ("a", "b", "tokens"))])
'''


def _climb(workspace: Workspace, rungs: int) -> tuple[Path, list[Record]]:
    """A ladder of so many rungs, two seeds each, run; its results and records."""
    seeds = {f"rung{i + 1}": 2 for i in range(rungs)}
    (workspace.folder / "recipes" / "tiny.py").write_text(RECIPE.replace("{SEEDS}", repr(seeds)))
    results = workspace.folder / "results" / "ladder"
    process = workspace.start("run", "tiny_ladder", "--scale", "ladder")
    out, err = process.communicate(timeout=600)  # half a minute where nothing else runs
    assert process.returncode == 0, out + err
    records = store.read_all(results)
    assert {r.status for r in records} == {"ok"}
    assert len(records) == rungs * 2 * 2 * 4  # rungs, arms, seeds; a stem and three decays
    assert not (workspace.folder / "results" / "records").exists()
    return results, records


def test_two_rungs_and_three_budgets(workspace: Workspace) -> None:
    (workspace.folder / "recipes" / "tiny.py").write_text(
        RECIPE.replace("{SEEDS}", '{"rung1": 2, "rung2": 2}')
    )
    said = workspace.smol("show", "tiny_ladder", "--scale", "ladder")
    for device in ("rtx-4090", "h100-sxm"):
        assert f"time on {device}: about " in said
    assert "it can tell arms apart at 135M" in said or "it can tell nothing" in said
    assert "--set" in workspace.smol(
        "run", "tiny_ladder", "--scale", "ladder", "--set", "optim.muon_lr=1", code=2
    )
    assert "has no ladder" in workspace.smol("run", "noise_floor", "--scale", "ladder", code=2)
    assert not (workspace.folder / "results" / "ladder").exists(), "a refusal leaves nothing"
    results, _ = _climb(workspace, 2)
    page = (results / "cards" / "ladder-tiny_ladder.cpu.md").read_text()
    assert page.count("\n| rung1@") == page.count("\n| rung2@") == 6  # a table in two parts
    assert "this ladder cannot tell" in page.lower()
    workspace.smol("card", "--check", "--results", str(results))
    assert "None yet: the first is written when two rungs are finished." in page


@pytest.mark.slow
def test_a_rung_is_forecast_before_it_is_run(workspace: Workspace) -> None:
    results, records = _climb(workspace, 3)
    file = ledger.path_of(results, "tiny_ladder")
    (line,) = ledger.read(file)
    assert line["rung"] == "rung3"
    before = min(r.created for r in records if r.scale == "rung3")
    assert line["made"] <= before, "the forecast was written before the rung was run"
    assert len(line["from"]) == 2 * 2 * 2 * 3, "from the ends of the two rungs below"
    page = (results / "cards" / "ladder-tiny_ladder.cpu.md").read_text()
    assert page.count(line["made"]) == 3, "a row a budget"
    assert page.count(" hit ") + page.count(" miss ") == 6, "each scored twice"

    kept = file.read_text()
    workspace.smol("run", "tiny_ladder", "--scale", "ladder")
    assert file.read_text() == kept, "what is finished is not forecast again"
    changed = json.loads(kept)
    changed["differences"][0]["expected"] += 1.0
    file.write_text(json.dumps(changed) + "\n")
    process = workspace.start("run", "tiny_ladder", "--scale", "ladder")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 2, out + err
    assert "not as it was written" in err
