"""`as_published` in the card: one group, called a bundle wherever it is judged."""

from __future__ import annotations

from harness.evidence.sections import sections
from harness.recipe import find
from harness.report import views
from models.config import active_parameters, total_parameters
from tests.plan import making
from tests.report.factory import published


def test_arms_that_pack_the_same_text_otherwise_stand_in_one_table() -> None:
    (section,) = sections(published())
    assert section.others == ()
    assert section.group.complete
    other = published()
    for r in other:
        assert r.data is not None
    changed = [
        r.model_copy(update={"data": r.data.model_copy(update={"tokenizer_digest": "t1"})})
        for r in other
        if r.data
    ]
    (section,) = sections(published() + changed)
    assert len(section.others) == 1  # another text is another group


def test_it_is_called_a_bundle_in_summary_notes_scope_and_verdict() -> None:
    (section,) = sections(published())
    cells = {
        address.removeprefix(f"{section.name}."): cell.text
        for table in views.tables(section)
        for address, cell in table.cells().items()
    }
    assert "a bundle" in section.group.question.summary
    assert all("a bundle" in note for note in section.group.question.notes.values())
    assert cells["difference/moe@tokens/verdict"] == (
        "not comparable: a bundle: several things differ at once"
    )
    said = cells["scope/bundle/value"]
    for field in ("model.layers", "data.seq_len", "batch.grad_accum", "optim.muon_lr"):
        assert field in said
    assert "packed in sequences of 128 and 64 tokens" in cells["scope/validation/value"]
    assert cells["scope/tuning/value"] == "none: a bundle's settings are as published"


def test_the_bundles_are_the_published_ones() -> None:
    """Parameters as counted from the seed's files, and its batches, rates and schedules."""
    _, grid = making.grid(find("as_published"), "full", {})
    dense, moe = (arm.config for arm in grid)
    assert total_parameters(dense.model) == 174_331_968
    assert (total_parameters(moe.model), active_parameters(moe.model)) == (167_814_656, 67_151_360)
    assert (dense.tokens_per_update, moe.tokens_per_update) == (98_304, 16_384)
    assert [c.optim.muon_lr for c in (dense, moe)] == [0.02, 0.04]
    assert [c.optim.adamw_lr for c in (dense, moe)] == [0.003, 0.006]
    assert [c.schedule.warmup_updates for c in (dense, moe)] == [25, 150]  # 5 % of 500 and 3,000


def test_smaller_scales_keep_the_ratios() -> None:
    for scale in ("smoke", "proxy"):
        _, grid = making.grid(find("as_published"), scale, {})
        dense, moe = (arm.config for arm in grid)
        # 30:8 layers is 3.75; whole layers come within 7 % of it.
        assert abs(dense.model.layers / moe.model.layers / 3.75 - 1) < 0.07
        assert dense.tokens_per_update == 6 * moe.tokens_per_update
        assert dense.data.seq_len == 2 * moe.data.seq_len
        assert dense.model.ffn == 4 * dense.model.width
        assert moe.model.ffn == 4 * moe.model.width
        assert moe.optim.muon_lr == 2 * dense.optim.muon_lr
