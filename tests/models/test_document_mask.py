"""FlexAttention within documents, as CUDA uses it: the mask, the arithmetic and the graphs, on a
CPU. Its kernels themselves are for `nox -s gpu`."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention import flex_attention as flex
from torch.nn.attention.flex_attention import create_block_mask

from models import lm
from models.kernels import document_mask
from models.kernels.attention import allowed
from models.kernels.document_mask import beginnings, block_mask, masked_attention, visible
from models.lm import LanguageModel
from tests.models.small import DENSE, MOE, build, config, gradients

CPU = torch.device("cpu")
LENGTHS = (1, 100, 128, 129, 384, 500, 640)


@pytest.fixture
def on_the_cpu(monkeypatch):
    """FlexAttention refuses gradients on a CPU, where only its kernels have none: its plain form,
    which is used where nothing compiles, has them."""
    monkeypatch.setattr(flex, "_validate_device", lambda *_: None)
    monkeypatch.setattr(document_mask, "_compiled", lambda: flex.flex_attention)


@pytest.fixture
def as_on_cuda(on_the_cpu, monkeypatch):
    """The model takes block masks, whatever its device."""
    monkeypatch.setattr(lm, "borders_of", lambda documents, _: block_mask(documents))


def documents_of(b, s, count, seed=0):
    """Numbers that neither start at 0 nor grow, each row with other borders."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, count, (b, s), generator=generator).sort(1).values
    return torch.tensor([5, 2, 9, 0, 7, 3, 8, 1])[rows]


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("s", LENGTHS)
def test_the_blocks_are_those_that_torch_finds_pair_by_pair(s, count):
    documents = documents_of(3, s, count)
    ours = block_mask(documents)
    theirs = create_block_mask(
        visible(beginnings(documents)), 3, None, s, s, device="cpu", BLOCK_SIZE=document_mask.BLOCK
    )
    pairs = zip(ours.as_tuple()[:-1], theirs.as_tuple()[:-1], strict=True)
    for number, (mine, other) in enumerate(pairs):
        if isinstance(mine, torch.Tensor):
            assert mine.dtype == other.dtype, number
            assert torch.equal(mine, other), number
        else:
            assert mine == other, number
    dense = flex.create_mask(ours.mask_mod, 3, None, s, s, device="cpu")
    assert torch.equal(dense[:, 0], allowed(documents))


@pytest.mark.parametrize(("heads", "shared"), [(9, 3), (4, 4), (3, 1)])
def test_it_attends_as_a_dense_mask_does(on_the_cpu, heads, shared):
    generator = torch.Generator().manual_seed(0)
    q, k, v, upstream = (
        torch.randn(2, 300, n, 16, generator=generator, dtype=torch.float64)
        for n in (heads, shared, shared, heads)
    )
    documents = documents_of(2, 300, 4)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    y = masked_attention(*leaves, block_mask(documents))
    expected = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
        attn_mask=allowed(documents)[:, None], enable_gqa=True,
    ).transpose(1, 2)  # fmt: skip
    found = [y, *torch.autograd.grad(y, leaves, upstream)]
    truth = [expected, *torch.autograd.grad(expected, leaves, upstream)]
    for a, b in zip(found, truth, strict=True):
        # FlexAttention's softmax is fp32 within fp64 operands: 1e-6 seen.
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("base", [DENSE, MOE], ids=["dense", "moe"])
@pytest.mark.parametrize("way", ["eager", "recompute", "blocks", "whole", "whole, recompute"])
def test_a_model_trains_through_it_compiled_once(way, base, request):
    plain = build(base)
    batches = [documents_of(2, 13, 3, seed) for seed in range(3)]
    expected = [gradients(plain, documents) for documents in batches]
    request.getfixturevalue("as_on_cuda")
    model = LanguageModel(config(base), torch.float32, recompute="recompute" in way)
    model.load_state_dict(plain.state_dict())
    counter = CompileCounterWithBackend("aot_eager")
    if way == "blocks":
        for block in model.blocks:
            block.compile(fullgraph=True, backend=counter)
    elif "whole" in way:
        model.hidden = torch.compile(model.hidden, fullgraph=True, backend=counter)
    for documents, truth in zip(batches, expected, strict=True):
        for name, gradient in gradients(model, documents).items():
            # fp32 sums in other orders, through two layers.
            torch.testing.assert_close(gradient, truth[name], rtol=1e-4, atol=1e-5)
    # Other borders need no other code, nor does the second block.
    assert counter.frame_count == (way == "blocks" or "whole" in way)


def test_only_a_gpu_gets_a_block_mask_and_fp64_never(monkeypatch):
    monkeypatch.setattr(document_mask, "block_mask", lambda documents: ("mask of", documents))
    here, there = SimpleNamespace(device=CPU), SimpleNamespace(device=torch.device("cuda"))
    assert document_mask.borders_of(here, torch.bfloat16) is here
    assert document_mask.borders_of(there, torch.float64) is there
    for dtype in (torch.bfloat16, torch.float32):
        assert document_mask.borders_of(there, dtype) == ("mask of", there)
