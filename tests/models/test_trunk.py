"""What makes the trunk fast must not change what it computes."""

import pytest
import torch
import torch.nn.functional as F

from models.kernels import rms_norm_eager
from models.layers import positions_within
from models.lm import LanguageModel
from tests.models.small import DENSE, MOE, SILU_MOE, build, config, gradients, tokens

BASES = pytest.mark.parametrize("base", [DENSE, MOE, SILU_MOE], ids=["dense", "moe", "silu"])


@BASES
def test_working_weights_change_no_bit(base):
    model = build(base, torch.bfloat16)
    plain = gradients(model)
    with model.working_weights():
        working = gradients(model)
        again = gradients(model)
    for name, gradient in plain.items():
        assert gradient.dtype == torch.float32
        assert torch.equal(working[name], gradient), name
        assert torch.equal(again[name], gradient), name


def test_working_weights_are_of_the_update_that_uses_them():
    model = build(DENSE, torch.bfloat16)
    with model.working_weights():
        first = gradients(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    expected = gradients(model)
    with model.working_weights():
        second = gradients(model)
    assert all(torch.equal(second[name], expected[name]) for name in expected)
    assert not torch.equal(first["embedding.weight"], second["embedding.weight"])
    assert set(model.state_dict()) == set(build(DENSE).state_dict())


@BASES
def test_recomputing_changes_no_bit(base):
    plain = build(base, torch.bfloat16)
    frugal = LanguageModel(config(base), torch.bfloat16, recompute=True)
    frugal.load_state_dict(plain.state_dict())
    expected = gradients(plain)
    assert all(torch.equal(g, expected[name]) for name, g in gradients(frugal).items())


@BASES
def test_a_packed_document_is_what_it_is_alone(base):
    model = build(base)
    documents = torch.tensor([[0] * 5 + [1] * 1 + [2] * 7, [4] * 13])
    inputs = tokens(2, 13)
    with torch.no_grad():
        packed, _ = model.hidden(inputs, documents)
        for row, start, stop in ((0, 0, 5), (0, 5, 6), (0, 6, 13), (1, 0, 13)):
            alone, _ = model.hidden(inputs[row : row + 1, start:stop])
            # fp32 sums over other lengths: 1e-5 is the contract, 1e-6 seen.
            torch.testing.assert_close(packed[row, start:stop], alone[0], rtol=1e-5, atol=1e-5)


def test_positions_begin_anew_with_each_document():
    documents = torch.tensor([[7, 7, 7, 2, 2, 9], [1, 1, 1, 1, 1, 1]])
    assert positions_within(documents).tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_the_norm_by_hand_equals_torchs_in_fp64(rows, monkeypatch):
    monkeypatch.setattr(rms_norm_eager, "CACHED_BYTES", rows * 6 * 8)
    x = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 5, 6, dtype=torch.float64)
    ours, theirs = rms_norm_eager.rms_norm(x, weight, 1e-5), F.rms_norm(x, (6,), weight, 1e-5)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-14)
    expected = torch.autograd.grad(theirs, (x, weight), upstream)
    for a, b in zip(torch.autograd.grad(ours, (x, weight), upstream), expected, strict=True):
        # Sums of ten fp64 values in another order.
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


@BASES
def test_blocks_compile_whole(base):
    model = build(base, torch.bfloat16)
    expected = gradients(model)
    for block in model.blocks:
        block.compile(fullgraph=True, backend="aot_eager")
    with model.working_weights():
        compiled = gradients(model)
    for name, gradient in compiled.items():
        # The norm's gradient is torch's own where it compiles: bf16's 2^-8 of the whole.
        difference = (gradient - expected[name]).norm()
        assert difference <= 2**-7 * expected[name].norm() + 1e-6, name


@pytest.mark.parametrize("name", ["rmsnorm", "norm"])
def test_an_unknown_kernel_is_named(name):
    with pytest.raises(ValueError, match=f"no kernel '{name}'"):
        LanguageModel(config(DENSE), kernels=[name])
