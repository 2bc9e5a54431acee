"""What a first update builds, and the table of what does not fit held against the builds."""

from __future__ import annotations

import pytest

from harness.bench.kernels import first_update, used
from harness.bench.kernels.aot import LIMITS
from harness.bench.kernels.first_update import BuildCost
from models.kernels import unfit


def test_what_a_mixture_builds_is_what_it_launches():
    """Two products and the gradients of both, where an example of the operator has one."""
    found = used.launches_of("moe-160m")
    products = [one for one in found if one.kernel.name == "grouped_product"]
    assert sorted((p.arguments["K"], p.arguments["N"]) for p in products) == [
        (512, 2048), (512, 2048), (2048, 512), (2048, 512),
    ]  # fmt: skip
    assert len([one for one in found if one.kernel.name == "grouped_weight_gradient"]) == 2
    heads = [one for one in found if one.kernel.name == "softmax_gradient"]
    assert sorted(one.arguments["GRADIENT"] for one in heads) == [False, True]
    widths = {one.arguments["WIDTH"] for one in found if one.kernel.name == "rms_norm_forward"}
    assert widths == {64, 512}  # of queries and keys, too
    assert {used.switch(one) for one in found} == {
        "rms_norm", "rope", "head_cross_entropy", "grouped_gemm",
    }  # fmt: skip


def cost(
    *tried: str, arch: str = "sm_90", kinds=("dense",), op="rope", **misfits: str
) -> BuildCost:
    return BuildCost(op, "k", arch, kinds, tried, 2.0, misfits)


@pytest.mark.parametrize(
    ("table", "found", "said"),
    [
        ((), [cost("a", "b")], []),
        (("b",), [cost("a"), cost("a", b="spills")], []),
        ((), [cost("a"), cost("a", "b", b="why")], ["k on sm_90: add 'b' to UNFIT (why)"]),
        (("b",), [cost("a")], ["k on sm_90: 'b' fits after all"]),
        (("a",), [cost(a="wants")], ["k on sm_90: no configuration fits"]),
    ],
)  # fmt: skip
def test_the_table_is_held_against_the_builds_in_both_directions(table, found, said, monkeypatch):
    monkeypatch.setattr(unfit, "UNFIT", {("k", "sm_90"): frozenset(table)})
    assert first_update.objections(found) == said


def test_a_models_sum_is_of_what_it_launches():
    found = [
        cost("a", kinds=("dense", "moe-active"), op="head_cross_entropy"),
        cost("a", kinds=("moe-active",), op="grouped_gemm"),
        cost("a", kinds=("moe-total",), op="grouped_gemm"),
    ]
    assert first_update.sums(found, "dense", ("head_cross_entropy",)) == (2.0, 2.0)
    assert first_update.sums(found, "moe-active", ("head_cross_entropy",)) == (2.0, 4.0)


def test_the_table_names_kernels_configurations_and_architectures_that_there_are():
    from models.kernels.launching import label

    known = {
        launch.kernel.name: {label(config) for config in launch.kernel.configs}
        for launch in used.launches_of("moe-active")
    }
    for (kernel, arch), configs in unfit.UNFIT.items():
        assert arch in LIMITS
        assert configs < known[kernel]
