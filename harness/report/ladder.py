"""A ladder's page: what it says of SmolLM2-135M, its rungs, forecasts and how they did. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.evidence.rungs import TARGET, Climbed, Said


def text(
    recipe: str, found: Sequence[Climbed], ledger: Sequence[Mapping[str, Any]], said: Said
) -> str:
    """The page in Markdown."""
    reference, arm = found[0].pair
    parts = [
        f"# The ladder of {recipe}",
        f"**{said.verdict[0].upper()}{said.verdict[1:]}.**",
        f"Written by `smol run {recipe} --scale ladder` from its records; a multiplier is the "
        f"share of {reference}'s tokens with which {arm} reaches its loss, at the same size. The "
        f"law, its interval and what was simulated of them: `harness.stats.ladder`.",
        "## The law",
        _law(said, reference, arm),
        "## The rungs",
        _rungs(found),
        "## Forecasts, written before the rung was run",
        _scores(found, ledger),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _law(said: Said, reference: str, arm: str) -> str:
    if said.judged is None or said.inner is None or said.outer is None:
        return "None was fitted."
    theta = said.judged.fits.theta[0]
    fits = f"p = {said.judged.misfit[0]:.2g}"
    rows = [
        ["multiplier at " + f"{TARGET.size / 1e6:,.0f}M, 20 tokens a parameter",
         f"{said.multiplier:.3g}"],
        ["its 50 % interval", f"{said.inner[0]:.3g} to {said.inner[1]:.3g}"],
        ["its 90 % interval", f"{said.outer[0]:.3g} to {said.outer[1]:.3g}"],
        ["does the law fit", ("no, " if said.judged.does_not_fit[0] else "not refuted, ") + fits],
        ["exponents shared by both arms", f"p = {said.judged.shared[0]:.2g}"],
        ["irreducible loss E", f"{math.exp(theta[0]):.3f} nats"],
        [f"exponents of {reference}, size and tokens",
         f"{math.exp(theta[2]):.3f}, {math.exp(theta[4]):.3f}"],
        [f"exponents of {arm}, size and tokens",
         f"{math.exp(theta[6]):.3f}, {math.exp(theta[8]):.3f}"],
    ]  # fmt: skip
    return _table(["of the law", "value"], rows)


def _rungs(found: Sequence[Climbed]) -> str:
    reference, arm = found[0].pair
    rows = []
    for one in found:
        means = one.rung.losses[0].mean(axis=0)
        for place, tokens in enumerate(one.rung.tokens):
            each = one.rung.losses[0, :, 1, place] - one.rung.losses[0, :, 0, place]
            spread = f" (sd {each.std(ddof=1):.4f})" if len(each) > 1 else ""
            rows.append([
                one.scale, f"{one.rung.size:,.0f}", f"{tokens:,.0f}", str(len(one.seeds)),
                f"{means[0, place]:.4f}", f"{means[1, place]:.4f}", f"{each.mean():+.4f}{spread}",
            ])  # fmt: skip
    return _table(
        ["rung", "parameters", "tokens", "seeds", reference, arm, "difference (sd over seeds)"],
        rows,
    )


def _scores(found: Sequence[Climbed], ledger: Sequence[Mapping[str, Any]]) -> str:
    """Every forecast beside what came, hit or miss."""
    by_scale = {one.scale: one for one in found}
    rows = []
    for line in ledger:
        came = by_scale.get(line["rung"])
        for place, tokens in enumerate(line["tokens"]):
            cell = line["differences"][place]
            ends = [f"{cell[level][0]:+.4f} to {cell[level][1]:+.4f}" for level in ("50", "90")]
            row = [line["rung"], line["made"], f"{tokens:,.0f}", f"{cell['expected']:+.4f}", *ends]
            if came is None or len(came.rung.tokens) <= place:
                rows.append([*row, "not run yet", "", ""])
                continue
            value = float((came.rung.losses[0, :, 1] - came.rung.losses[0, :, 0])[:, place].mean())
            hits = [
                "hit" if cell[level][0] <= value <= cell[level][1] else "miss"
                for level in ("50", "90")
            ]
            early = "" if line["made"] < came.created else " (written after the rung)"
            sign = "same" if value * cell["expected"] > 0 else "other"
            rows.append([*row, f"{value:+.4f}", f"{' / '.join(hits)}{early}", sign])
    if not rows:
        return "None yet: the first is written when two rungs are finished."
    return _table(
        ["rung", "written", "tokens", "difference expected", "50 %", "90 %", "came",
         "50 % / 90 %", "sign"],
        rows,
    )  # fmt: skip
