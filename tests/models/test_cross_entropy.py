import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from harness.evidence import precision
from models.dtypes import DTYPES
from models.kernels import cross_entropy
from models.kernels.cross_entropy import linear_cross_entropy, linear_cross_entropy_sum

N, WIDTH, VOCAB = 23, 6, 31


@pytest.fixture(params=[1, 5, 1000])
def rows_a_chunk(request, monkeypatch):
    """The byte budget set to so many fp64 rows: each alone, a last chunk cut short, one chunk;
    pieces of two rows within, and the weight's gradient by 7 rows."""
    monkeypatch.setitem(cross_entropy.LOGITS_BYTES, "cpu", request.param * VOCAB * 8)
    monkeypatch.setattr(cross_entropy, "CACHED_BYTES", 2 * VOCAB * 8)
    monkeypatch.setattr(cross_entropy, "WEIGHT_ROWS", 7)


def case(dtype=torch.float64):
    torch.manual_seed(0)
    hidden = torch.randn(N, WIDTH, dtype=dtype, requires_grad=True)
    weight = torch.randn(VOCAB, WIDTH, dtype=torch.promote_types(dtype, torch.float32))
    targets = torch.randint(0, VOCAB, (N,))
    targets[[0, 7, 22]] = -100
    return hidden, weight.requires_grad_(), targets


def reference(hidden, weight, targets):
    return F.cross_entropy(hidden @ weight.T, targets, reduction="sum", ignore_index=-100)


def gradients_in_fp64(hidden, weight, targets):
    """Of the numbers that bf16 computes with, as leaves: through a cast to bf16 they would come
    back rounded to it."""
    leaves = [t.detach().to(torch.bfloat16).double().requires_grad_() for t in (hidden, weight)]
    return torch.autograd.grad(reference(*leaves, targets), leaves)


@pytest.mark.usefixtures("rows_a_chunk")
def test_equals_torch_in_fp64_also_with_an_upstream_gradient():
    hidden, weight, targets = case()
    loss = linear_cross_entropy_sum(hidden, weight, targets)
    expected = reference(hidden, weight, targets)
    # fp64 sums in another order: 1e-12 is some thousand units in the last place.
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    ours = torch.autograd.grad(loss * -0.37, (hidden, weight))
    theirs = torch.autograd.grad(expected * -0.37, (hidden, weight))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert not ours[0][[0, 7, 22]].any()


def test_a_second_backward_pass_is_refused():
    hidden, weight, targets = case()
    loss = linear_cross_entropy_sum(hidden, weight, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        loss.backward()


@pytest.mark.usefixtures("rows_a_chunk")
def test_rows_without_gradient_sum_to_the_loss():
    hidden, weight, targets = case()
    rows = linear_cross_entropy(hidden, weight, targets)
    assert not rows.requires_grad
    assert rows[7] == 0
    expected = F.cross_entropy(hidden @ weight.T, targets, reduction="none", ignore_index=-100)
    torch.testing.assert_close(rows, expected.detach(), rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy_sum(hidden, weight, targets), rows.sum())


def test_all_ignored_is_zero_with_zero_gradients():
    hidden, weight, targets = case()
    loss = linear_cross_entropy_sum(hidden, weight, torch.full_like(targets, -100))
    loss.backward()
    assert loss == 0
    assert not hidden.grad.any()
    assert not weight.grad.any()


def test_large_logits_stay_finite():
    hidden, weight, targets = case(torch.float32)
    loss = linear_cross_entropy_sum(hidden * 1e4, weight, targets)
    assert loss.isfinite()
    torch.testing.assert_close(loss, reference(hidden * 1e4, weight, targets))


def test_bf16_accumulates_in_the_masters_dtype_and_is_no_worse_than_torchs_own():
    hidden, weight, targets = case(torch.bfloat16)
    truth = gradients_in_fp64(hidden, weight, targets)
    loss = linear_cross_entropy_sum(hidden, weight, targets)
    assert loss.dtype == torch.float32
    ours = torch.autograd.grad(loss, (hidden, weight))
    logits = F.linear(hidden, weight.to(torch.bfloat16)).float()
    theirs = torch.autograd.grad(
        F.cross_entropy(logits, targets, reduction="sum", ignore_index=-100), (hidden, weight)
    )
    assert [g.dtype for g in ours] == [torch.bfloat16, torch.float32]
    for a, b, t in zip(ours, theirs, truth, strict=True):
        # Both round to bf16 at the same places; 1.2 leaves room for the luck of single roundings.
        assert (a - t).norm() <= 1.2 * (b - t).norm()


NATIVE = precision.of_machine("cpu")
FULL_ROWS, FULL_VOCAB, FULL_WIDTH = 8192, 49_152, 576
MEMORY = """
import torch
from bench.memory import extra_bytes
from models.kernels.cross_entropy import linear_cross_entropy_sum
torch.set_num_threads(2)
torch.manual_seed(0)
rows, vocab, width = {shape}
hidden = torch.randn(rows, width).to(torch.{dtype}).requires_grad_()
weight = (0.05 * torch.randn(vocab, width)).requires_grad_()
targets = torch.randint(0, vocab, (rows,))
def call():
    torch.autograd.grad(linear_cross_entropy_sum(hidden, weight, targets), (hidden, weight))
print(extra_bytes(call, "cpu"))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc for the peak")
def test_at_full_size_it_takes_at_most_250_mb_gradients_included():
    # In a process of its own: whatever else one holds would hide a peak.
    dtype = str(DTYPES[NATIVE.dtype]).removeprefix("torch.")
    code = MEMORY.format(shape=(FULL_ROWS, FULL_VOCAB, FULL_WIDTH), dtype=dtype)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True,
        timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # The weight's gradient is 113 MB of it, a bf16 copy 57, the chunk of logits 34. All logits
    # would be 805 MB in bf16 alone.
    assert 113e6 < int(done.stdout) <= 250e6


@pytest.mark.slow
@pytest.mark.skipif(not NATIVE.bf16, reason="minutes of emulated bf16; small shapes stand above")
def test_at_the_full_vocabulary_gradients_are_no_further_from_fp64_than_torchs_own():
    torch.manual_seed(0)
    rows = 512  # two chunks
    hidden = torch.randn(rows, FULL_WIDTH).to(torch.bfloat16).requires_grad_()
    weight = (0.05 * torch.randn(FULL_VOCAB, FULL_WIDTH)).requires_grad_()
    targets = torch.randint(0, FULL_VOCAB, (rows,))
    targets[::7] = -100
    leaves = (hidden, weight)

    def fused_by_torch():
        return F.linear_cross_entropy(
            hidden, weight.to(torch.bfloat16), targets, reduction="sum", ignore_index=-100
        )

    def unfused():
        logits = F.linear(hidden, weight.to(torch.bfloat16)).float()
        return F.cross_entropy(logits, targets, reduction="sum", ignore_index=-100)

    truth = gradients_in_fp64(hidden, weight, targets)
    ours = torch.autograd.grad(linear_cross_entropy_sum(hidden, weight, targets), leaves)
    for torchs in (unfused, fused_by_torch):
        theirs = torch.autograd.grad(torchs(), leaves)
        for a, b, t in zip(ours, theirs, truth, strict=True):
            # A thousandth for the order in which sums of millions of terms fall.
            assert (a - t).norm() <= 1.001 * (b - t).norm()
