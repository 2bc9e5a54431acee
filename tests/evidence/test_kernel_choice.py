"""`kernels=auto` by what was measured on the device, and by nothing else."""

from __future__ import annotations

import pytest

from harness import recipe
from harness.config import replace
from harness.errors import RequestError
from harness.evidence.kernel_choice import KernelRatio, choose
from harness.plan.auto import Evidence
from harness.presets import run
from tests.plan import making

MEASURED = {
    "rope": KernelRatio(1.01, 0.99, 1.03),  # a tie
    "rms_norm": KernelRatio(1.06, 1.04, 1.08),
    "grouped_gemm": KernelRatio(0.7, 0.6, 0.8),
    "swiglu": KernelRatio(1.02, 1.001, 1.04),
}


def test_only_what_surely_helps_is_on():
    chosen = choose(MEASURED, "kernels.full.gpu.throughput")
    assert chosen.value == ("rms_norm", "swiglu")
    assert "rope 1.010 [0.990, 1.030]" in chosen.reason
    assert chosen.reason.endswith("(measured: kernels.full.gpu.throughput)")


def test_without_evidence_torchs_own_stay():
    assert choose({}) == ((), "not measured on this device")


@pytest.mark.parametrize(("measured", "kernels"), [(MEASURED, ("rms_norm", "swiglu")), ({}, ())])
def test_the_plan_resolves_auto_once_for_all_arms(measured, kernels):
    made = making.make(
        recipe.find("dense_vs_moe"), "smoke", "cpu", overrides={"train.kernels": "auto"},
        tokenizer_digest=lambda data: "t", device_class="a CPU",
        evidence=Evidence(kernel_ratios=lambda: (measured, "a.view")),
    )  # fmt: skip
    assert {run.config.train.kernels for run in made.runs} == {kernels}
    assert made.choices["train.kernels"].startswith(", ".join(kernels) or "none: not measured")


def test_an_unknown_kernel_is_named_with_the_nearest():
    with pytest.raises(RequestError, match="no kernel 'rmsnorm'; did you mean 'rms_norm'"):
        replace(run("smoke"), {"train.kernels": ("rmsnorm",)})
