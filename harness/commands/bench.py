"""`smol bench step`: our update against others', in interleaved rounds, on this machine."""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

from harness import presets
from harness.bench import contest
from harness.bench.setting import CONTESTANTS, Compile, Setting
from harness.code import provenance
from harness.commands.run import read_device, read_scale
from harness.errors import CheckFailed, RequestError, nearest
from harness.evidence import precision
from harness.machine import hardware
from harness.stats import rounds as ratios
from models.config import ModelConfig, flops_per_token
from models.presets import KINDS, model

LEARNING_RATE = 3e-4
"""Low enough for losses of two implementations to stay together: at ten times that, a mixture of
experts chooses other experts after a few updates, and the comparison of losses says nothing."""
LOSS_MARGIN = 1e-2
"""The losses of the same updates may be so far from a peer's."""
SIZES = {"smoke": (8, 128), "proxy": (16, 256), "full": (4, 1024)}
"""Batch and sequence length where none is named."""
COMPILE: tuple[Compile, ...] = ("eager", "blocks", "whole")


def step(
    *,
    model_name: str,
    scale: str,
    batch: int | None,
    seq: int | None,
    compile_: str,
    dtype: str,
    optim: str,
    against: str,
    device: str,
    threads: int | None,
    rounds: int,
    updates: int,
    losses: int,
    same_allocator: bool,
    as_json: bool,
) -> None:
    """Time and print.

    Raises RequestError; RunFailed where a contestant could not train; CheckFailed where `losses`
    were asked to agree and do not.
    """
    names = _contestants(against)
    known = read_scale(scale)
    default_batch, default_seq = SIZES[known]
    if rounds < 1 or updates < 1:
        raise RequestError("--rounds and --updates must be at least 1")
    where = read_device(device)
    base = _setting(
        _model(model_name, known), batch or default_batch, seq or default_seq, compile_, optim,
        where, threads, read_dtype(dtype, where),
    )  # fmt: skip
    base = base.model_copy(update={"same_allocator": same_allocator})
    if "torch-muon" not in names:  # which orthogonalises in bf16, and so must what it is beside
        ours = base.optim.model_copy(update={"muon_ns_dtype": base.dtype})
        base = base.model_copy(update={"optim": ours})
    settings = [base.model_copy(update={"contestant": name}) for name in ["ours", *names]]
    settings.append(base.model_copy(update={"contestant": contest.MATMUL}))
    needed = -(-(losses - 1) // (updates + 1))  # rounds to `losses` updates, the first included
    results = contest.compete(
        settings, rounds=max(rounds, needed), updates=updates,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )  # fmt: skip
    product = results.pop(contest.MATMUL)
    report = _report(base, model_name, known, results, product)
    print(json.dumps(report, indent=1) if as_json else _text(report))
    if losses:
        check_losses(results, losses)


def read_dtype(text: str, device: str) -> Literal["bf16", "fp32"]:
    """`auto` is what the device multiplies natively. Raises RequestError for another word."""
    match text:
        case "auto":
            return precision.of_machine(device).dtype
        case "bf16" | "fp32":
            return text
    raise RequestError(f"no dtype '{text}'{nearest(text, ('auto', 'bf16', 'fp32'))}")


def _contestants(against: str) -> list[str]:
    names = [name.strip() for name in against.split(",") if name.strip()]
    for name in names:
        if name not in CONTESTANTS or name == "ours":
            others = [c for c in CONTESTANTS if c != "ours"]
            raise RequestError(f"no contestant '{name}'{nearest(name, others)}")
    if len(set(names)) < len(names):
        raise RequestError(f"--against names a contestant twice: {against}")
    return names


def _model(name: str, scale: str) -> ModelConfig:
    if name not in KINDS:
        raise RequestError(f"no model '{name}'{nearest(name, KINDS)}")
    return model(name, scale)


def _setting(
    config: ModelConfig, batch: int, seq: int, compile_: str, optim: str, device: str,
    threads: int | None, dtype: Literal["bf16", "fp32"],
) -> Setting:  # fmt: skip
    if compile_ not in COMPILE:
        raise RequestError(f"no way to compile '{compile_}'{nearest(compile_, COMPILE)}")
    if optim not in ("adamw", "muon"):
        raise RequestError(f"no optimizer '{optim}'{nearest(optim, ('adamw', 'muon'))}")
    if batch < 1 or not 2 <= seq <= config.max_seq_len:
        raise RequestError(
            f"--batch must be at least 1 and --seq from 2 to the model's {config.max_seq_len}"
        )
    constants = presets.optim(muon_lr=0.02, adamw_lr=LEARNING_RATE, weight_decay=0.1)
    return Setting(
        contestant="ours",
        model=config,
        batch=batch,
        seq=seq,
        compile=compile_,
        dtype=dtype,
        optim=constants.model_copy(update={"name": optim, "muon_ns_dtype": "bf16"}),
        device="cuda" if device == "cuda" else "cpu",
        threads=threads or hardware.cores(),
        seed=0,
    )


def _report(
    base: Setting,
    model_name: str,
    scale: str,
    results: dict[str, contest.Result],
    product: contest.Result,
) -> dict[str, Any]:
    from harness.bench.product import flops, shape

    peak = flops(base) / product.median_seconds
    per_token = flops_per_token(base.model, base.seq)
    rows = contest.as_json(results, "ours")
    for row in rows:
        row["matmul_share"] = row["tokens_per_second"] * per_token / peak
    machine = hardware.detect(base.device)
    return {
        "schema": 1,
        "what": f"{model_name} at {scale}, {base.batch} x {base.seq} tokens, {base.optim.name}, "
        f"{base.compile}, {base.dtype}, {base.threads} threads",
        "model": model_name,
        "scale": scale,
        "parameters": results["ours"].parameters,
        "batch": base.batch,
        "seq": base.seq,
        "optim": base.optim.name,
        "compile": base.compile,
        "dtype": base.dtype,
        "threads": base.threads,
        "same_allocator": base.same_allocator,
        "device": machine.device_class,
        "load_after": machine.load_after,
        "software": provenance.software(),
        "matmul": {"shape": shape(base), "flops_per_second": peak},
        "flops_per_token": per_token,
        "contestants": rows,
    }


def _text(report: dict[str, Any]) -> str:
    product = report["matmul"]
    lines = [
        f"{report['what']}, on {report['device']}",
        f"{'':<24}{'tokens/s':>9}{'seconds':>9}{'peak GB':>9}{'first s':>9}{'of matmul':>11}",
    ]
    lines += [
        f"{row['name']:<24}{row['tokens_per_second']:>9,.0f}{row['median_seconds']:>9.3f}"
        f"{row['peak_bytes'] / 1e9:>9.2f}{row['first_update_seconds']:>9.1f}"
        f"{row['matmul_share']:>11.0%}"
        for row in report["contestants"]
    ]
    for row in report["contestants"]:
        if "ratio" in row:
            speed = ratios.Ratio(row["ratio"], row["ratio_low"], row["ratio_high"]).text
            lines.append(
                f"ours is {speed} times as fast as {row['name']} with "
                f"{row['memory_ratio']:.2f} of its peak memory; losses of the same updates at "
                f"most {row['loss_distance']:.4f} apart"
            )
    lines.append(
        f"matmul: {product['flops_per_second'] / 1e9:,.0f} GFLOP/s for {product['shape']} in "
        f"{report['dtype']}, in the same rounds; intervals are over rounds of one launch"
    )
    return "\n".join(lines)


def check_losses(results: dict[str, contest.Result], updates: int) -> None:
    """Raises CheckFailed where a peer's losses of the first `updates` updates are not ours."""
    ours = results["ours"]
    for name, result in results.items():
        if result is ours or name == "torch-muon":  # the same question, another optimizer
            continue
        distance = contest.loss_distance(ours, result, updates)
        if distance > LOSS_MARGIN:
            raise CheckFailed(
                f"the losses of {updates} updates are up to {distance:.4f} from {name}'s, more "
                f"than {LOSS_MARGIN}"
            )
