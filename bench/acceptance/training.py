"""What training goes through on a card and nowhere else: `python -m bench.acceptance.training
cuda|cpu [CHECK...]`. On the CPU the same checks at tiny sizes, where a GPU's way can be taken.

Each check is a function of a device that says its numbers to `Verdicts`; a test plants a fault for
each, and it must fail.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.acceptance.verdicts import Verdicts
from harness import presets
from harness.config import RunConfig, replace
from harness.data.batches import Batch
from harness.machine.hardware import peak_of
from harness.optim import stacked
from harness.optim.build import Optimizers, build
from harness.plan import profiles
from harness.train import graphs, state
from harness.train.progress import Progress
from harness.train.update import update
from models.config import flops_per_token
from models.kernels import document_mask
from models.kernels.grouped_mm import grouped_mm
from models.lm import LanguageModel
from models.presets import model

PRODUCT = 6e-3
"""bf16 products against fp64, relative 2-norm: inputs exact, sums in fp32, one rounding (2^-9)."""
COMPILED = 1e-2
"""Nats: compiled against eager losses over a few bf16 updates."""
SAME = {"cuda": 1e-3, "cpu": 1e-6}
"""Relative: the same loss by the same code, twice; on a card atomics add in another order."""
GRADIENT = {"cuda": 2e-2, "cpu": 2e-2}
"""Relative 2-norm of bf16 gradients computed twice or by another kernel."""
MUON = 1e-3
"""Newton-Schulz in fp32 against fp64, relative 2-norm of the step."""
ROUGH = 0.1
"""The same in bf16: the iteration amplifies rounding of its input."""
FLOOR = 0.25
"""Of the card's peak FLOPs: a blocked or uncompiled path stays below; good is 0.4 and more."""


def _sizes(device: str) -> str:
    return "full" if device == "cuda" else "smoke"


def _config(device: str, kind: str = "dense") -> RunConfig:
    base = presets.run(_sizes(device))
    dtype = "bf16" if device == "cuda" else "fp32"
    small = {"model.layers": 2} if device == "cpu" else {}
    chosen = {
        "model": model(kind, _sizes(device)),
        "train.dtype": dtype,
        "optim.muon_ns_dtype": dtype,
    }
    config = replace(replace(base, chosen), small)
    return profiles.split(config, 4 if config.sequences_per_update % 4 == 0 else 1)


def _built(config: RunConfig, device: str, **options: bool) -> LanguageModel:
    dtype = torch.bfloat16 if config.train.dtype == "bf16" else torch.float32
    built = LanguageModel(config.model, dtype, **options)
    built.init_weights(0)
    return built.to(device)


def _batch(config: RunConfig, number: int, *, sequences: int | None = None) -> Batch:
    shape = (sequences or config.sequences_per_update, config.data.seq_len + 1)
    rows = np.random.default_rng(number).integers(0, config.model.vocab_size, shape)
    return Batch(rows[:, :-1].copy(), rows[:, 1:].copy(), None)


def _update(config: RunConfig, built: LanguageModel, optimizers: Optimizers, number: int) -> float:
    device = next(built.parameters()).device
    result = update(
        built, optimizers, _batch(config, number), micro_batch=config.batch.micro_batch,
        clip_norm=1.0, factor=1.0, device=device,
    )  # fmt: skip
    return result.loss


def grouped(device: str, verdicts: Verdicts) -> None:
    """bf16 products of row groups, and their gradients, uneven and empty groups among them."""
    rows, experts, width, ffn = (4096, 8, 576, 768) if device == "cuda" else (96, 4, 32, 48)
    generator = torch.Generator().manual_seed(0)
    x, w, g = (
        torch.randn(shape, generator=generator).to(torch.bfloat16).to(device)
        for shape in ((rows, width), (experts, ffn, width), (rows, ffn))
    )
    shares = torch.arange(experts) % 4  # the first of four has no rows
    ends = (shares.cumsum(0) / shares.sum() * rows).round().to(torch.int32).to(device)
    x, w = x.requires_grad_(), w.requires_grad_()
    y = grouped_mm(x, w, ends)
    gradients = torch.autograd.grad(y, (x, w), g)
    wide_x, wide_w = (t.detach().double().requires_grad_() for t in (x, w))
    stops = ends.tolist()
    truth = torch.cat(
        [wide_x[a:b] @ m.T for m, a, b in zip(wide_w, [0, *stops[:-1]], stops, strict=True)]
    )
    wide = torch.autograd.grad(truth, (wide_x, wide_w), g.double())
    verdicts.close("grouped products, bf16", y.detach(), truth.detach(), PRODUCT)
    for name, found, true in zip(("rows", "matrices"), gradients, wide, strict=True):
        verdicts.close(f"grouped products: gradient of the {name}, bf16", found, true, PRODUCT)


def compiled(device: str, verdicts: Verdicts) -> None:
    """The losses of a few updates, compiled as a run is and eager; nothing fell back."""
    from torch._dynamo.utils import counters

    counters.clear()  # what was compiled before, in this process, is none of this check's
    losses = []
    for mode in ("eager", "blocks"):
        config = replace(_config(device), {"train.compile": mode})
        built = _built(config, device)
        graphs.apply(built, config, torch.device(device))
        optimizers, watch = build(config.optim, built), graphs.CompileWatch(mode)
        losses.append([_update(config, built, optimizers, number) for number in range(3)])
        if (why := watch.look(3)) is not None:
            print(why)
            verdicts.failed += 1
    distance = max(abs(a - b) for a, b in zip(*losses, strict=True))
    verdicts.below("compiled against eager losses", distance, COMPILED)


def documents(device: str, verdicts: Verdicts) -> None:
    """Attention within documents, 9 heads on 3, in the way of a card against a dense mask; on a
    card inside a compiled function, at 2,048 tokens, with gradients."""
    length = 2048 if device == "cuda" else 256
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, length, heads, 64, generator=generator) for heads in (9, 3, 3))
    numbers = torch.zeros(2, length, dtype=torch.int64)
    for row, starts in enumerate(((1, 100, 130), (length // 2, length // 2 + 1, length - 3))):
        for start in starts:
            numbers[row, start:] += 1
    numbers = numbers.to(device)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    q, k, v = (t.to(device, dtype).requires_grad_(device == "cuda") for t in (q, k, v))
    mask = document_mask.block_mask(numbers)
    flex = document_mask.masked_attention
    if device == "cuda":
        flex = torch.compile(flex, dynamic=False, fullgraph=True)
        y = flex(q, k, v, mask)
    else:  # uncompiled: its CPU kernels have no backward pass
        from torch.nn.attention.flex_attention import flex_attention

        shape = (t.transpose(1, 2) for t in (q, k, v))
        y = flex_attention(*shape, block_mask=mask, enable_gqa=True).transpose(1, 2)
    seen = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    seen = seen & (numbers[:, :, None] == numbers[:, None, :])
    wide = [t.detach().double().requires_grad_() for t in (q, k, v)]
    wq, wk, wv = (t.transpose(1, 2) for t in wide)
    scores = wq @ wk.repeat_interleave(3, 1).mT / 8.0
    scores = scores.masked_fill(~seen[:, None], float("-inf"))
    truth = (scores.softmax(-1) @ wv.repeat_interleave(3, 1)).transpose(1, 2)
    bound = GRADIENT[device] if device == "cuda" else 1e-5
    verdicts.close("attention within documents", y.detach(), truth.detach(), bound)
    if device == "cuda":
        upstream = torch.randn(y.shape, generator=generator).to(device, dtype)
        found = torch.autograd.grad(y, (q, k, v), upstream)
        true = torch.autograd.grad(truth, wide, upstream.double())
        for name, a, b in zip("qkv", found, true, strict=True):
            verdicts.close(f"attention within documents: gradient of {name}", a, b, bound)


def recompute(device: str, verdicts: Verdicts) -> None:
    """Gradients with activations kept and computed again."""
    config, gradients = _config(device, "moe-active"), []
    for again in (False, True):
        built = _built(config, device, recompute=again)
        batch = _batch(config, 0, sequences=2)
        tokens, targets = (torch.from_numpy(a).to(device) for a in (batch.tokens, batch.targets))
        sums = built.loss_sums(tokens, targets)
        (sums.cross_entropy / targets.numel() + sums.routing / 2).backward()
        gradients.append(
            torch.cat([p.grad.flatten().cpu() for p in built.parameters() if p.grad is not None])
        )
    bound = GRADIENT[device] if device == "cuda" else 1e-5
    verdicts.close("gradients with recompute", gradients[1], gradients[0], bound)


def muon(device: str, verdicts: Verdicts) -> None:
    """The stacked step of a GPU against matrix by matrix in fp64 on the CPU."""
    config = _config("cpu", "moe-active")
    steps = {}
    for name, where, dtype, own in (
        ("truth", "cpu", "fp64", torch.float64),
        ("fp32", device, "fp32", torch.float32),
        ("bf16", device, "bf16", torch.float32),
    ):
        settings = config.optim.model_copy(
            update={"muon_ns_dtype": dtype, "muon_weight_decay": 0.0}
        )
        built = LanguageModel(config.model, torch.float32)
        built.init_weights(0)
        built = built.to(where, own)
        before = [p.detach().clone() for p in built.parameters()]
        generator = torch.Generator().manual_seed(1)
        for p in built.parameters():
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(where, own)
        part = build(settings, built).parts["muon"]
        if name == "truth":
            part.step()
        else:
            (group,) = part.param_groups
            stacked.step(part, group)  # type: ignore[arg-type]
        after = [p.detach() - b for p, b in zip(built.parameters(), before, strict=True)]
        steps[name] = torch.cat([t.flatten().double().cpu() for t in after])
    verdicts.close("Muon, stacked, fp32, against fp64", steps["fp32"], steps["truth"], MUON)
    verdicts.close("Muon, stacked, bf16, against fp64", steps["bf16"], steps["truth"], ROUGH)


def resume(device: str, verdicts: Verdicts) -> None:
    """A checkpoint taken after two updates goes on as the run itself did; and its weights have the
    same loss on a fixed batch, as a hand-over proves them."""
    config = _config(device)
    origin = state.Origin(key="k", source_digest="s", manifest_digest="m", software=())
    built = _built(config, device)
    optimizers = build(config.optim, built)
    for number in range(2):
        _update(config, built, optimizers, number)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model.pt"
        state.save_rolling(place, "k", origin, built, optimizers, Progress(2, 0.0))
        other = _built(config, device)
        restored = build(config.optim, other)
        found = state.read_rolling(place, origin)
        assert found is not None
        state.resume(found, other, restored)
    fixed = _batch(config, 99, sequences=2)
    tokens, targets = (torch.from_numpy(a).to(device) for a in (fixed.tokens, fixed.targets))
    probes = [float(m.token_losses(tokens, targets).double().mean()) for m in (built, other)]
    distance = abs(probes[1] - probes[0]) / probes[0]
    verdicts.below("hand-over: loss on a fixed batch, relative", distance, SAME[device])
    losses = [
        [_update(config, m, o, number) for number in (2, 3)]
        for m, o in ((built, optimizers), (other, restored))
    ]
    worst = max(abs(a - b) / a for a, b in zip(*losses, strict=True))
    verdicts.below("resumed: losses of two more updates, relative", worst, SAME[device])


def peak(device: str, verdicts: Verdicts) -> None:
    """The memory of the micro-step that the device's profile chooses, against the estimate; on the
    CPU what an eager one keeps for its backward pass, against what the estimate says of that."""
    config = replace(presets.run(_sizes(device)), {"train.compile": "blocks"})
    constant = 0.0
    if device == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory
        config = profiles.apply(replace(config, {"train.dtype": "bf16"}), memory)
        built = _built(config, device)
        graphs.apply(built, config, torch.device(device))
        optimizers = build(config.optim, built)
        torch.cuda.reset_peak_memory_stats()
        for number in range(2):
            _update(config, built, optimizers, number)
        used = float(torch.cuda.max_memory_allocated())
    else:
        config = replace(config, {"train.dtype": "fp32", "train.compile": "eager"})
        built, kept = _built(config, device), {}
        constant = profiles.memory_bytes(config, 0)

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        batch = _batch(config, 0, sequences=config.batch.micro_batch)
        tokens, targets = (torch.from_numpy(a) for a in (batch.tokens, batch.targets))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            built.loss_sums(tokens, targets).cross_entropy.backward()
        for parameter in built.parameters():
            kept.pop(parameter.untyped_storage().data_ptr(), None)
        used = float(sum(kept.values()))
    micro = config.batch.micro_batch
    verdicts.below(
        f"memory of a micro-step of {micro} sequences, of the estimate",
        used / (profiles.memory_bytes(config, micro) - constant), 1.0,
    )  # fmt: skip


def speed(device: str, verdicts: Verdicts) -> None:
    """Tokens a second of the compiled model against a floor; on the CPU the floor is one token."""
    config = replace(_config(device), {"train.compile": "blocks" if device == "cuda" else "eager"})
    if device == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory
        config = profiles.apply(config, memory)
    built = _built(config, device)
    graphs.apply(built, config, torch.device(device))
    optimizers = build(config.optim, built)
    times = []
    for number in range(6 if device == "cuda" else 2):
        started = time.perf_counter()
        _update(config, built, optimizers, number)
        times.append(time.perf_counter() - started)
    rate = config.tokens_per_update / min(times)
    floor = 1.0
    if device == "cuda" and (known := peak_of(torch.cuda.get_device_name())) is not None:
        per_token = flops_per_token(config.model, config.data.seq_len)
        floor = FLOOR * known.bf16_flops / per_token
    print(f"{rate:,.0f} tokens a second; at least {floor:,.0f}")
    verdicts.below("speed floor over speed", floor / rate, 1.0)


CHECKS: dict[str, Callable[[str, Verdicts], None]] = {
    one.__name__: one
    for one in (grouped, compiled, documents, recompute, muon, resume, peak, speed)
}


def main(device: str, names: list[str]) -> int:
    """Exit code 1 where a check fails; the others still run."""
    verdicts = Verdicts()
    for name in names or CHECKS:
        started = time.monotonic()
        try:
            CHECKS[name](device, verdicts)
        except Exception as error:
            verdicts.failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {str(error).splitlines()[0]}")
        print(f"-- {name}: {time.monotonic() - started:.0f} s", flush=True)
    return verdicts.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
