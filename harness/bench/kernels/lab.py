"""What can be known of the kernels without a GPU: `python -m harness.bench.kernels.lab`.

Errors against fp64 beside torch's own, builds for two architectures, and times predicted from
bytes and FLOPs; `--write` keeps them in `results/bench/kernels.json`. Exit code 1 where an error
is too large, a kernel has no configuration that fits, or one that does not is not in
`models/kernels/unfit.py`; what is there and fits, `first_update.py` sees, which builds every shape.
Says nothing of measured speed: only a GPU can.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.code.provenance import ROOT, normal_form
from harness.errors import RequestError, nearest
from harness.files import write_atomically
from harness.machine.hardware import peaks

SCHEMA = 1
OUTPUT = Path("bench") / "kernels.json"
"""Where the file lies, below the results folder."""
ELEMENT_BYTES = 2
"""The size of a bf16 value, which predictions are made for."""


def digest() -> str:
    """Of the syntax of everything in `models/kernels`: evidence of other code is stale."""
    parts = [
        f"{path.name}\n{normal_form(path.read_text('utf-8'))}\n"
        for path in sorted((ROOT / "models" / "kernels").glob("*.py"))
    ]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def errors(ops: Sequence[str]) -> list[dict[str, Any]]:
    """The error table, from a process of its own: nothing can be built where Triton interprets."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.bench.kernels.errors", *ops],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=3600,
    )  # fmt: skip
    return json.loads(done.stdout)


def builds(ops: Sequence[str]) -> list[dict[str, Any]]:
    """Every build, and why it does not fit where it does not."""
    from dataclasses import asdict

    from harness.bench.kernels import aot

    return [
        asdict(b) | {"misfit": b.misfit} for b in aot.builds(list(ops), list(aot.CARDS.values()))
    ]


def predictions(ops: Sequence[str]) -> list[dict[str, Any]]:
    """Milliseconds of forward and backward on each card: each phase takes the longer of its
    memory's and its matrix units' time (the roofline, DOI 10.1145/1498765.1498785), at full peak.
    Launches, caches and clocks are left out: no kernel will be faster, all will be slower."""
    from harness.bench.kernels.aot import CARDS
    from models.kernels.registry import OPS, Phase, rows_of

    def milliseconds(phases: Iterable[Phase], card: str) -> float:
        _, peak = peaks()[card]
        return 1e3 * sum(
            max(p.bytes_moved / peak.bandwidth, p.flops / peak.bf16_flops) for p in phases
        )

    rows = []
    for op in ops:
        cost = OPS[op].cost(rows_of(op), ELEMENT_BYTES)
        for card in CARDS:
            fused, eager = (milliseconds(phases, card) for phases in (cost.fused, cost.eager))
            rows.append(
                {"op": op, "card": card, "rows": rows_of(op), "fused_ms": fused, "eager_ms": eager}
            )
    return rows


def objections(report: dict[str, Any]) -> list[str]:
    """What a reader must not overlook, one line each; none is the answer to hope for."""
    from models.kernels.unfit import UNFIT

    found = [
        f"{e['op']} in {e['dtype']}: the {e['quantity']}'s error {e['kernel']:.2e} is more than "
        f"twice torch's {e['torch']:.2e}"
        for e in report["errors"]
        if not e["acceptable"]
    ]
    misfits: dict[tuple[str, str], set[str]] = {}
    every: dict[tuple[str, str], set[str]] = {}
    for b in report["builds"]:
        place = (b["kernel"], b["arch"])
        every.setdefault(place, set()).add(b["config"])
        if b["misfit"]:
            misfits.setdefault(place, set()).add(b["config"])
    for place, configs in every.items():
        out = misfits.get(place, set())
        if out == configs:
            found.append(f"{place[0]}: no configuration fits {place[1]}")
        known = UNFIT.get(place, frozenset()) & configs
        found += [f"{place[0]} on {place[1]}: add '{c}' to UNFIT" for c in sorted(out - known)]
    return found


def measure(ops: Sequence[str]) -> dict[str, Any]:
    """The whole report, as `--write` keeps it."""
    report = {
        "schema": SCHEMA,
        "digest": digest(),
        "software": {name: importlib.metadata.version(name) for name in ("torch", "triton")},
        "errors": errors(ops),
        "builds": builds(ops),
        "predictions": predictions(ops),
    }
    return report | {"objections": objections(report)}


def _built(report: dict[str, Any]) -> list[str]:
    """A line for each kernel and architecture, and one for each configuration that is pruned."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for b in report["builds"]:
        groups.setdefault((b["kernel"], b["arch"]), []).append(b)
    lines = []
    for (kernel, arch), group in groups.items():
        configs = {b["config"] for b in group}
        pruned = {b["config"]: b["misfit"] for b in group if b["misfit"]}
        kept = [b for b in group if b["config"] not in pruned]
        registers = [b["registers"] for b in kept] or [0]
        shared = max((b["shared_bytes"] for b in kept), default=0)
        unit = next((b["matrix_unit"] for b in group if b["matrix_unit"]), "")
        lines.append(
            f"  {kernel:<24}{arch:<7}{len(configs) - len(pruned):>3} of {len(configs):>2} kept"
            f"{min(registers):>6}-{max(registers)} registers{shared:>9} shared  {unit}".rstrip()
        )
        lines += [f"    pruned {config}: {reason}" for config, reason in pruned.items()]
    return lines


def text(report: dict[str, Any]) -> str:
    """The report as three tables for a terminal."""
    lines = ["Error relative to fp64 (interpreter), and torch's own"]
    lines += [
        f"  {e['op']:<19}{e['dtype']:<10}{e['quantity']:<22}{e['kernel']:>10.2e}{e['torch']:>10.2e}"
        for e in report["errors"]
    ]
    lines += ["", "Builds ahead of time: registers a thread, shared bytes a block", *_built(report)]
    lines += ["", "Predicted milliseconds, forward and backward, of one layer's op (not measured)"]
    lines += [
        f"  {p['op']:<19}{p['card']:<10}{p['rows']:>6} rows  kernels {p['fused_ms']:.3f}"
        f"  eager torch {p['eager_ms']:.3f}"
        for p in report["predictions"]
    ]
    if report["objections"]:
        lines += ["", *report["objections"]]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(prog="kernels", description=__doc__)
    parser.add_argument("ops", nargs="*", help="only these ops")
    parser.add_argument("--write", action="store_true", help=f"keep the report as {OUTPUT}")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    asked = parser.parse_args(arguments)
    try:
        ops = _chosen(asked.ops)
        if asked.write and asked.ops:
            raise RequestError("--write keeps the report of all ops: name none beside it")
    except RequestError as error:
        print(error, file=sys.stderr)
        return 2
    report = measure(ops)
    print(json.dumps(report, indent=1) if asked.json else text(report))
    if asked.write:
        write_atomically(asked.results / OUTPUT, json.dumps(report, indent=1) + "\n")
    return 1 if report["objections"] else 0


def _chosen(names: Sequence[str]) -> list[str]:
    """Raises RequestError for a name that is no op, and where nothing can be built."""
    try:
        from models.kernels.launching import INTERPRETED
        from models.kernels.registry import OPS
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        raise RequestError("kernels need Triton: pip install triton") from error
    if INTERPRETED:
        raise RequestError("nothing can be built with TRITON_INTERPRET=1: unset it")
    for name in names:
        if name not in OPS:
            raise RequestError(f"no kernel op '{name}'{nearest(name, OPS)}")
    return list(names) or list(OPS)


if __name__ == "__main__":
    sys.exit(main())
