"""Device profiles: the product is the recipe's, the split is the device's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import presets
from harness.config import RunConfig, replace
from harness.errors import RequestError
from harness.plan import profiles
from harness.recipe import find
from tests.plan import making

FULL = presets.run("full")


def resized(micro: int, accum: int, layers: int) -> RunConfig:
    changes = {"batch.micro_batch": micro, "batch.grad_accum": accum, "model.layers": layers}
    return replace(FULL, changes)


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 60), st.sampled_from(["24gb", "80gb"])
)
@settings(deadline=None, max_examples=50)
def test_the_product_never_changes_and_what_is_chosen_fits(micro, accum, layers, name):
    config = resized(micro, accum, layers)
    cut = profiles.apply(config, name)
    assert cut.tokens_per_update == config.tokens_per_update
    # Nothing but the split differs.
    assert replace(cut, {"batch": config.batch}) == config
    chosen = cut.batch.micro_batch
    budget = profiles.of(name).budget
    assert budget is not None
    assert chosen == 1 or profiles.memory_bytes(config, chosen) <= budget
    larger = [m for m in range(chosen + 1, micro * accum + 1) if (micro * accum) % m == 0]
    assert all(profiles.memory_bytes(config, m) > budget for m in larger)


def test_an_80_gb_card_takes_larger_micro_batches_than_a_24_gb_card():
    small, large = (profiles.apply(FULL, name).batch for name in ("rtx-4090", "h100-sxm"))
    # The seed card trained 4 x 2048 on a 4090: the profile must allow at least that there.
    assert 4 <= small.micro_batch < large.micro_batch
    assert small.micro_batch * small.grad_accum == large.micro_batch * large.grad_accum == 48


def test_a_class_of_memory_is_chosen_by_what_drivers_report():
    mib = 2**20
    assert profiles.of(24564 * mib).name == "24gb"  # GeForce RTX 4090
    assert profiles.of(23028 * mib).name == "24gb"  # A10G, L4
    assert profiles.of(81559 * mib).name == "80gb"  # H100
    assert profiles.of(143771 * mib).name == "80gb"  # H200
    assert profiles.of(40960 * mib).name == "24gb"  # A100 40GB
    assert profiles.of(16376 * mib).name == "under-24gb"
    assert profiles.of(None).name == "cpu"
    with pytest.raises(RequestError, match="did you mean 'rtx-4090'"):
        profiles.of("rtx4090")


def test_recompute_allows_larger_micro_batches():
    plain, again = FULL, replace(FULL, {"train.recompute": True})
    assert profiles.memory_bytes(again, 8) < profiles.memory_bytes(plain, 8)
    assert profiles.apply(again, "24gb").batch.micro_batch > (
        profiles.apply(plain, "24gb").batch.micro_batch
    )


def test_cpu_keeps_the_recipes_split():
    assert profiles.apply(FULL, None) == FULL
    assert profiles.apply(FULL, "cpu") == FULL


def test_arms_of_a_recipe_are_cut_alike():
    _, grid = making.grid(find("dense_vs_moe"), "full", {}, profile=profiles.of("80gb"))
    assert len({arm.config.batch for arm in grid}) == 1
    # The split is the plan's, not an arm's: it is no difference from the base.
    assert not any(path.startswith("batch") for arm in grid for path in arm.diff)
    alone = min(profiles.micro_batch(arm.config, profiles.of("80gb")) for arm in grid)
    assert grid[0].config.batch.micro_batch == alone > FULL.batch.micro_batch


def test_what_an_axis_or_the_user_set_is_left_alone():
    chosen = {"batch.micro_batch": 2, "batch.grad_accum": 24}
    _, grid = making.grid(find("dense_vs_moe"), "full", chosen, profile=profiles.of("80gb"))
    assert {arm.config.batch.micro_batch for arm in grid} == {2}
    plain = making.grid(find("as_published"), "full", {})[1]
    cut = making.grid(find("as_published"), "full", {}, profile=profiles.of("80gb"))[1]
    assert [arm.config for arm in cut] == [arm.config for arm in plain]
