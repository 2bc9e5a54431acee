"""Every kernel forward and backward against fp64, beside torch's own ops in the same dtype, at
shapes that are no multiples of a block and with an upstream gradient that is not 1."""

import pytest
import torch
import torch.nn.functional as F

from harness.bench.kernels.errors import compare
from models import ops
from models.kernels import cross_entropy
from models.kernels.cross_entropy import linear_cross_entropy, linear_cross_entropy_sum
from models.kernels.grouped_gemm import grouped_gemm, grouped_gemm_reference
from models.kernels.head_cross_entropy import (
    head_cross_entropy,
    head_cross_entropy_sum,
    head_cross_entropy_sum_reference,
    softmax_gradient_,
    softmax_gradient_reference,
)
from models.kernels.rms_norm import (
    add_rms_norm,
    add_rms_norm_reference,
    rms_norm,
    rms_norm_reference,
)
from models.kernels.rope import rope
from models.kernels.swiglu import swiglu
from models.layers import rotary_angles

both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randn(*shape, dtype, scale=1.0):
    return (torch.randn(shape, dtype=torch.float64) * scale).to(dtype)


def check(kernel, reference, arguments, differentiable):
    for error in compare(kernel, reference, arguments, differentiable):
        assert error.acceptable, error


@both_dtypes
@pytest.mark.parametrize("shape", [(1, 576), (13, 192), (2, 3, 576), (53, 40)])
def test_rms_norm(dtype, shape):
    arguments = randn(*shape, dtype=dtype), randn(shape[-1], dtype=torch.float32), 1e-5
    check(rms_norm, rms_norm_reference, arguments, 2)


@both_dtypes
@pytest.mark.parametrize("shape", [(1, 576), (13, 192), (2, 3, 576), (53, 40)])
def test_add_rms_norm(dtype, shape):
    x, residual = randn(*shape, dtype=dtype), randn(*shape, dtype=dtype, scale=3.0)
    arguments = x, residual, randn(shape[-1], dtype=torch.float32), 1e-5
    check(add_rms_norm, add_rms_norm_reference, arguments, 3)


def test_rms_norm_of_a_view_and_of_zeros():
    x = randn(5, 80, dtype=torch.float32)[:, ::2]
    check(rms_norm, rms_norm_reference, (x, torch.ones(40), 1e-5), 2)
    assert not rms_norm(torch.zeros(3, 40), torch.ones(40), 1e-5).any()
    assert rms_norm(torch.zeros(0, 40), torch.ones(40), 1e-5).shape == (0, 40)


@both_dtypes
@pytest.mark.parametrize("shape", [(7, 1536), (3, 5, 192), (9, 77)])
def test_swiglu(dtype, shape):
    gate, up = randn(*shape, dtype=dtype, scale=4.0), randn(*shape, dtype=dtype)
    check(swiglu, ops.swiglu, (torch.cat((gate, up), -1),), 1)


@both_dtypes
@pytest.mark.parametrize(("heads", "width"), [(9, 64), (1, 28), (12, 48)])
def test_rope(dtype, heads, width):
    angles = rotary_angles(torch.arange(3, 14), width, 10_000.0, dtype)
    check(rope, ops.rotate, (randn(3, 11, heads, width, dtype=dtype), *angles), 1)


def test_rope_of_heads_within_a_fused_projection_and_of_a_transposed_view():
    fused = randn(2, 11, 5 * 16, dtype=torch.float32)
    angles = rotary_angles(torch.arange(11), 16, 10_000.0, torch.float32)
    inside = fused[..., : 4 * 16].unflatten(-1, (4, 16))
    turned = fused.view(2, 11, 5, 16).transpose(1, 2).contiguous().transpose(1, 2)
    for view in (inside, turned):
        assert not view.is_contiguous()
        # The same products and one sum: equal to the last bit or a rounding of it.
        torch.testing.assert_close(rope(view, *angles), ops.rotate(view, *angles))


def head_case(rows, vocab, dtype, width=64, scale=0.3):
    hidden = randn(rows, width, dtype=dtype)
    weight = randn(vocab, width, dtype=dtype, scale=scale).to(torch.float32)
    targets = torch.randint(0, vocab, (rows,))
    targets[1::3] = -100
    return hidden, weight, targets


@both_dtypes
# The large vocabulary in one chunk: of two rows, torch's own fp32 product by the weight sums its
# 49,152 terms one after another, which is ten times less exact and no affair of the kernel's.
@pytest.mark.parametrize(("rows", "vocab", "chunk"), [(5, 49_152, 5), (23, 1000, 7), (3, 97, 2)])
def test_head_cross_entropy(monkeypatch, dtype, rows, vocab, chunk):
    monkeypatch.setitem(cross_entropy.LOGITS_BYTES, "cpu", chunk * vocab * dtype.itemsize)
    arguments = head_case(rows, vocab, dtype)
    check(head_cross_entropy_sum, head_cross_entropy_sum_reference, arguments, 2)


@both_dtypes
def test_head_cross_entropy_is_its_plain_twin(dtype):
    arguments = head_case(23, 1000, dtype)
    leaves = [t.requires_grad_() for t in arguments[:2]]
    ours, plain = (
        torch.autograd.grad(f(*arguments), leaves)
        for f in (head_cross_entropy_sum, linear_cross_entropy_sum)
    )
    for a, b in zip(ours, plain, strict=True):
        # Single roundings may fall the other way: two units in the last place of the largest.
        torch.testing.assert_close(
            a, b, rtol=0, atol=2 * torch.finfo(dtype).eps * float(b.abs().max())
        )
    rows, expected = head_cross_entropy(*arguments), linear_cross_entropy(*arguments)
    # fp32 arithmetic on the same logits in both dtypes: losses near 10, to some 1e-7 of that.
    torch.testing.assert_close(rows, expected, rtol=1e-6, atol=2e-6)
    with torch.no_grad():
        torch.testing.assert_close(head_cross_entropy_sum(*arguments), expected.sum())


def test_all_targets_ignored_gives_zeros():
    hidden, weight, targets = head_case(5, 97, torch.bfloat16)
    leaves = hidden.requires_grad_(), weight.requires_grad_()
    loss = head_cross_entropy_sum(hidden, weight, torch.full_like(targets, -100))
    assert loss == 0
    for grad in torch.autograd.grad(loss * -0.37, leaves):
        assert not grad.any()


def test_large_logits_stay_finite_and_right():
    hidden, weight, targets = head_case(9, 1000, torch.float32, scale=3e3)
    check(head_cross_entropy_sum, head_cross_entropy_sum_reference, (hidden, weight, targets), 2)


@both_dtypes
def test_the_logits_chunk_becomes_its_gradient(dtype):
    logits = randn(7, 1536, dtype=dtype, scale=3.0)
    targets = torch.tensor([0, 1535, -100, 3, 4, -100, 700])
    losses, grad = softmax_gradient_reference(logits, targets)
    (_, exact) = softmax_gradient_reference(logits.double(), targets)
    ours = softmax_gradient_(logits, targets)
    torch.testing.assert_close(ours, losses, rtol=1e-6, atol=1e-6)  # fp32 sums in another order
    assert (logits - exact).norm() <= 2 * (grad - exact).norm()
    assert not logits[[2, 5]].any()


@both_dtypes
@pytest.mark.parametrize(
    ("sizes", "inputs", "outputs"),
    [
        ((33, 0, 1, 7), 192, 130),
        ((0, 0, 9, 0), 40, 192),
        ((5, 64, 0), 576, 24),
        ((4, 0, 0, 0), 24, 1536),
    ],
)
def test_grouped_gemm(dtype, sizes, inputs, outputs):
    ends = torch.tensor(sizes).cumsum(0).to(torch.int32)
    x = randn(sum(sizes), inputs, dtype=dtype)
    weights = randn(len(sizes), outputs, inputs, dtype=dtype, scale=0.1)
    check(grouped_gemm, grouped_gemm_reference, (x, weights, ends), 2)


def test_grouped_gemm_without_any_row():
    x, weights = torch.zeros(0, 8, requires_grad=True), torch.ones(2, 4, 8, requires_grad=True)
    y = grouped_gemm(x, weights, torch.zeros(2, dtype=torch.int32))
    y.sum().backward()
    assert y.shape == (0, 4)
    assert not weights.grad.any()


def test_gradients_are_those_of_the_functions():
    def leaf(*shape):
        return torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def grad_is_right(function, *arguments):
        assert torch.autograd.gradcheck(function, arguments, fast_mode=True)

    grad_is_right(lambda x, w: rms_norm(x, w, 1e-5), leaf(3, 5), leaf(5))
    grad_is_right(lambda x, r, w: add_rms_norm(x, r, w, 1e-5), leaf(3, 5), leaf(3, 5), leaf(5))
    grad_is_right(swiglu, leaf(3, 6))
    cos, sin = leaf(3, 1, 2).detach(), leaf(3, 1, 2).detach()
    grad_is_right(lambda x: rope(x, cos, sin), leaf(1, 3, 2, 4))
    targets = torch.tensor([0, -100, 4])
    grad_is_right(lambda h, w: head_cross_entropy_sum(h, w, targets), leaf(3, 4), leaf(5, 4))
    ends = torch.tensor([1, 1, 3], dtype=torch.int32)
    grad_is_right(lambda x, w: grouped_gemm(x, w, ends), leaf(3, 4), leaf(3, 2, 4))


def test_the_truncating_cast_would_show():
    # What `rounding_casts` mends: without it every bf16 test above would judge the interpreter.
    ones = torch.ones(1, 16, dtype=torch.bfloat16)
    exact = float(F.silu(torch.tensor(1.0, dtype=torch.float64)))  # 0.731058...
    assert float(swiglu(ones)[0, 0]) == float(torch.tensor(exact).to(torch.bfloat16))
