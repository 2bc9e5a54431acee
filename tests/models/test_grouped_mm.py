import pytest
import torch

from models.kernels.grouped_mm import grouped_mm


def naive(x, weights, ends):
    rows, start = [], 0
    for weight, end in zip(weights, ends.tolist(), strict=True):
        rows.append(x[start:end] @ weight.T)
        start = end
    return torch.cat(rows)


@pytest.mark.parametrize(
    "sizes", [(3, 0, 5, 1), (0, 0, 9, 0), (9, 0, 0, 0), (0, 4, 5, 0), (0, 0, 0, 0)]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_equals_a_loop_forward_and_backward(sizes, dtype):
    torch.manual_seed(0)
    n = sum(sizes)
    ends = torch.tensor(sizes).cumsum(0).to(torch.int32)
    x, weights = torch.randn(n, 6, dtype=dtype), torch.randn(4, 7, 6, dtype=dtype)
    upstream = torch.randn(n, 7, dtype=dtype)
    ours = [t.clone().requires_grad_() for t in (x, weights)]
    reference = [t.clone().requires_grad_() for t in (x, weights)]
    y, expected = grouped_mm(*ours, ends), naive(*reference, ends)
    # The same products on the same rows: only the library's choice of blocking may differ, by
    # some units in the last place of each dtype.
    tolerance = {"rtol": 8 * torch.finfo(dtype).eps, "atol": 8 * torch.finfo(dtype).eps}
    torch.testing.assert_close(y, expected, **tolerance)
    y.backward(upstream)
    expected.backward(upstream)
    for a, b in zip(ours, reference, strict=True):
        torch.testing.assert_close(a.grad, b.grad, **tolerance)
    for group, size in enumerate(sizes):
        if size == 0:
            assert not ours[1].grad[group].any()


def test_gradcheck_with_an_empty_group():
    torch.manual_seed(0)
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    ends = torch.tensor([2, 2, 5], dtype=torch.int32)
    assert torch.autograd.gradcheck(lambda a, b: grouped_mm(a, b, ends), (x, weights))


def test_the_operator_is_well_declared():
    # Schema, fake implementation and autograd registration against what the operator does.
    x = torch.randn(5, 3, requires_grad=True)
    weights = torch.randn(3, 2, 3, requires_grad=True)
    ends = torch.tensor([2, 2, 5], dtype=torch.int32)
    torch.library.opcheck(torch.ops.smol.grouped_mm_loop, (x, weights, ends))


@pytest.mark.gpu
def test_cuda_path_equals_the_loop():
    torch.manual_seed(0)
    ends = torch.tensor([30, 30, 100], dtype=torch.int32, device="cuda")
    x = torch.randn(100, 64, device="cuda", dtype=torch.bfloat16)
    weights = torch.randn(3, 32, 64, device="cuda", dtype=torch.bfloat16)
    # One rounding to bf16 (2^-8 relative) of sums taken in another order.
    torch.testing.assert_close(
        grouped_mm(x, weights, ends), naive(x, weights, ends), rtol=2**-7, atol=2**-5
    )
