"""Builds ahead of time: they need Triton's compiler and no GPU, and not Triton's interpreter."""

import pytest
import torch

from harness.bench.kernels import aot
from harness.bench.kernels.aot import CARDS, LIMITS, Build, build, launches
from models.kernels.launching import label
from models.kernels.registry import OPS


def first_fitting(launch, arch):
    return next(c for c in launch.kernel.configs if launch.kernel.fits(c, arch))


@pytest.mark.parametrize("op", OPS)
def test_every_kernel_of_an_op_builds_for_both_cards_and_fits(op):
    for launch in launches(op):
        for arch in CARDS.values():
            limits = LIMITS[arch]
            config = first_fitting(launch, arch)
            built = build(op, launch, config, arch)
            assert built.misfit is None
            assert 0 < built.registers <= limits.registers
            # A multiprocessor has 65,536 registers, and a block must fit in one.
            assert built.registers * 32 * config.num_warps <= 65_536
            # Unaligned or scattered accesses would show as narrower ones.
            assert built.widest_bytes == 16
            units = {"sm_89": "mma.sync", "sm_90": "wgmma"}
            assert built.matrix_unit == (units[arch] if op == "grouped_gemm" else None)
            assert built.config == label(config)


def test_launches_are_forward_and_backward_at_the_models_widths():
    forward, backward = launches("add_rms_norm")
    assert (forward.kernel.name, backward.kernel.name) == ("rms_norm_forward", "rms_norm_backward")
    assert forward.arguments["WIDTH"] == backward.arguments["WIDTH"] == 576
    products = [one for one in launches("grouped_gemm") if one.kernel.name == "grouped_product"]
    # The input's gradient is another build: the weights are walked the other way.
    assert [(p.arguments["K"], p.arguments["N"]) for p in products] == [(576, 768), (768, 576)]


def test_a_tile_that_fits_the_larger_card_alone_is_named_with_the_reason():
    (launch, *_) = launches("grouped_gemm")
    config = next(
        c
        for c in launch.kernel.configs
        if label(c).startswith("BM=128 BN=256 BK=64 warps=8 stages=4")
    )
    small, large = (build("grouped_gemm", launch, config, arch) for arch in ("sm_89", "sm_90"))
    assert small.misfit == "wants 147456 bytes of shared memory, there are 101376"
    assert large.misfit is None
    assert not launch.kernel.fits(config, "sm_89")
    assert launch.kernel.fits(config, "sm_90")


def test_spilled_registers_are_counted():
    import triton

    (launch,) = launches("head_cross_entropy")
    # 128 fp32 values of maximum, and as many of sum, in each of 128 threads of 255 registers.
    config = triton.Config({"BLOCK": 16_384}, num_warps=4, num_stages=1)
    built = build("head_cross_entropy", launch, config, "sm_90")
    assert built.registers == 255
    assert built.spill_bytes > 0
    assert built.misfit == f"spills {built.spill_bytes} bytes"


def test_integers_and_pointers_are_specialised_as_the_launcher_does():
    launch = launches("rope")[0]
    signature, constants, attributes = aot._specialized(launch)
    names = [p.name for p in launch.kernel.function.params]
    marked = {names[index] for (index,) in attributes}
    assert signature["x_ptr"] == "*bf16"
    assert signature["cos_ptr"] == "*fp32"
    assert signature["rows"] == signature["stride"] == "i32"
    assert {"x_ptr", "y_ptr", "rows", "stride", "positions"} <= marked
    assert constants["HEADS"] == 12
    assert "ROWS" not in constants  # the configuration's own


def test_a_stride_of_one_is_a_constant():
    signature, constants, _ = aot._specialized(launches("grouped_gemm")[0])
    assert signature["k_stride"] == "constexpr"
    assert constants["k_stride"] == 1


@pytest.mark.parametrize(
    ("spill", "shared", "fits"), [(0, 101_376, True), (0, 101_377, False), (8, 0, False)]
)
def test_limits_are_inclusive(spill, shared, fits):
    built = Build("op", "kernel", "sm_89", "config", 40, spill, shared, 16, None)
    assert (built.misfit is None) == fits


def test_recording_leaves_nothing_behind():
    launches("swiglu")
    with pytest.raises(ValueError, match="runs on cuda"):
        OPS["swiglu"].kernel(torch.zeros(1, 4))
