"""`smol bench step`: our update against others', in interleaved rounds, on this machine."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from harness import presets
from harness.bench import contest
from harness.bench.setting import CONTESTANTS, Compile, Setting
from harness.code import provenance
from harness.commands.options import DeviceOption, JsonOption, ScaleOption
from harness.commands.planned import read_device, read_scale
from harness.errors import CheckFailed, RequestError, nearest
from harness.evidence import precision
from harness.machine import devices, hardware
from harness.optim import registry
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


@dataclass(frozen=True)
class Options:
    """Time one update, ours against other code.

    Contestants take turns in interleaved rounds, and ratios come with intervals.
    """

    model: Annotated[
        str,
        typer.Option(
            "--model", help="The model that is trained: dense, moe-active, moe-total or moe-160m."
        ),
    ] = "dense"
    scale: ScaleOption = "full"
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", min=1, metavar="N", help="Sequences in an update. Default: by the scale."
        ),
    ] = None
    seq: Annotated[
        int | None,
        typer.Option(
            "--seq", min=2, metavar="N", help="Tokens in a sequence. Default: by the scale."
        ),
    ] = None
    compile_: Annotated[
        str, typer.Option("--compile", help="How our code is compiled: eager, blocks or whole.")
    ] = "blocks"
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            help="The precision that everyone computes in: bf16, fp32, or auto, which is what the "
            "device multiplies natively.",
        ),
    ] = "auto"
    optim: Annotated[str, typer.Option("--optim", help="The optimizer, such as adamw.")] = "adamw"
    against: Annotated[
        str,
        typer.Option(
            "--against",
            show_default=False,
            help="The others, separated by commas: transformers, transformers-compiled, moe-loop, "
            "torch-muon, ours-eager, ours-blocks, ours-whole.",
        ),
    ] = ""
    device: DeviceOption = "auto"
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, metavar="N", help="Threads of the CPU. Default: one for each core."
        ),
    ] = None
    rounds: Annotated[
        int, typer.Option("--rounds", help="How many turns each contestant takes.")
    ] = 5
    updates: Annotated[
        int, typer.Option("--updates", help="How many updates are timed in a turn.")
    ] = 2
    losses: Annotated[
        int,
        typer.Option(
            "--losses", help="Compare the losses of so many updates; exit 1 if they differ."
        ),
    ] = 0
    same_allocator: Annotated[
        bool,
        typer.Option(
            "--same-allocator",
            help="Give the others our settings of the C allocator instead of the system's.",
        ),
    ] = False
    as_json: JsonOption = False


def bench_step(options: Options) -> None:
    """Time and print.

    Raises RequestError; RunFailed where a contestant could not train; CheckFailed where `losses`
    were asked to agree and do not.
    """
    base, names = _setting(options), _contestants(options.against)
    if "torch-muon" not in names:  # which orthogonalises in bf16, and so must what it is beside
        ours = base.optim.model_copy(update={"muon_ns_dtype": base.dtype})
        base = base.model_copy(update={"optim": ours})
    settings = [
        base.model_copy(update={"contestant": name}) for name in ["ours", *names, contest.MATMUL]
    ]
    # Rounds to `losses` updates, the first included.
    needed = -(-(options.losses - 1) // (options.updates + 1))
    results = contest.compete(
        settings, rounds=max(options.rounds, needed), updates=options.updates,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )  # fmt: skip
    product = results.pop(contest.MATMUL)
    report = _report(base, options.model, options.scale, results, product)
    print(json.dumps(report, indent=1) if options.as_json else _text(report))
    if options.losses:
        check_losses(results, options.losses)


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


def _setting(options: Options) -> Setting:
    """Ours, with what all contestants share. Raises RequestError."""
    scale = read_scale(options.scale)
    config = _model(options.model, scale)
    default_batch, default_seq = SIZES[scale]
    batch, seq = options.batch or default_batch, options.seq or default_seq
    if options.rounds < 1 or options.updates < 1:
        raise RequestError("--rounds and --updates must be at least 1")
    if options.compile_ not in COMPILE:
        how = options.compile_
        raise RequestError(f"no way to compile '{how}'{nearest(how, COMPILE)}")
    known = [name for name in registry.files() if registry.is_flat(name)]
    if options.optim not in known:
        raise RequestError(f"no optimizer '{options.optim}'{nearest(options.optim, known)}")
    if batch < 1 or not 2 <= seq <= config.max_seq_len:
        raise RequestError(
            f"--batch must be at least 1 and --seq from 2 to the model's {config.max_seq_len}"
        )
    device = read_device(options.device)
    constants = presets.optim(muon_lr=0.02, adamw_lr=LEARNING_RATE, weight_decay=0.1)
    return Setting(
        contestant="ours",
        model=config,
        batch=batch,
        seq=seq,
        compile=options.compile_,
        dtype=read_dtype(options.dtype, device),
        optim=constants.model_copy(update={"name": options.optim, "muon_ns_dtype": "bf16"}),
        device=device,
        threads=options.threads or hardware.cores(),
        seed=0,
        same_allocator=options.same_allocator,
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
    machine = devices.of(base.device).machine()
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
