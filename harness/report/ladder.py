"""A ladder's page: what it says of SmolLM2-135M, its rungs, forecasts and how they did. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.config import Frozen
from harness.evidence.rungs import TARGET, TOO_FAR, Climbed, Said
from harness.evidence.transfers import Carried
from harness.report.draw import Shown
from harness.stats import law
from harness.stats.law import Spot

SIZES = 9
"""Sizes between the smallest rung and the target at which the figure has the multiplier."""


class RungShown(Frozen):
    """One rung of the figure."""

    name: str
    size: float
    tokens: tuple[float, ...]
    measured: tuple[tuple[float, ...], tuple[float, ...]]
    """Mean losses of reference and arm, a budget each."""
    fitted: tuple[tuple[float, ...], tuple[float, ...]]
    """What the law has there."""


class LawShown(Shown):
    """All that the figure of a ladder shows."""

    pair: tuple[str, str]
    rungs: tuple[RungShown, ...]
    sizes: tuple[float, ...]
    """Parameters, at 20 tokens each."""
    multipliers: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    """The 90 % interval of each."""


def shown(recipe: str, found: Sequence[Climbed], said: Said) -> LawShown | None:
    """The figure's data; None where no law was fitted."""
    if said.judged is None:
        return None
    judged = said.judged
    rungs = []
    for one in found:
        means = one.rung.losses[0].mean(axis=0)
        logs = [
            judged.fits.design.logs(law.Design(
                np.full(len(one.rung.tokens), arm), np.full(len(one.rung.tokens), one.rung.size),
                np.array(one.rung.tokens),
            )) for arm in (0, 1)
        ]  # fmt: skip
        fits = [law.losses(judged.fits.theta, *of)[0] for of in logs]
        rungs.append(RungShown(
            name=one.scale, size=one.rung.size, tokens=one.rung.tokens,
            measured=(tuple(means[0]), tuple(means[1])),
            fitted=(tuple(fits[0]), tuple(fits[1])),
        ))  # fmt: skip
    sizes = tuple(map(float, np.geomspace(found[0].rung.size, TARGET.size, SIZES)))
    middle, low, high = [], [], []
    for size in sizes:
        at = Spot(size, size * TARGET.tokens / TARGET.size)
        ends = judged.interval(at, 0.9)
        middle.append(_told(judged.gain(at)))
        low.append(_told(ends.low))
        high.append(_told(ends.high))
    return LawShown(
        title=f"The ladder of {recipe}: losses with the law, and what it says of other sizes",
        pair=found[0].pair, rungs=tuple(rungs),
        sizes=sizes, multipliers=tuple(middle), low=tuple(low), high=tuple(high),
    )  # fmt: skip


def _told(log: np.ndarray) -> float:
    """A multiplier, no further than they are told apart: an end may be open."""
    return float(np.clip(np.exp(log[0]), 1.0 / TOO_FAR, TOO_FAR))


def text(
    recipe: str,
    found: Sequence[Climbed],
    ledger: Sequence[Mapping[str, Any]],
    said: Said,
    *,
    carried: Sequence[Carried] = (),
    figure: str = "",
) -> str:
    """The page in Markdown; `figure` is the picture's file beside it."""
    reference, arm = found[0].pair
    parts = [
        f"# The ladder of {recipe}",
        f"**{said.verdict[0].upper()}{said.verdict[1:]}.**",
        f"Written by `smol run {recipe} --scale ladder` from its records; a multiplier is the "
        f"share of {reference}'s tokens with which {arm} reaches its loss, at the same size. The "
        f"law, its interval and what was simulated of them: `harness.stats.ladder`.",
        *([f"![{_alt(reference, arm)}]({figure})"] if figure else []),
        "## The law",
        _law(said, reference, arm),
        "## The rungs",
        _rungs(found),
        "## Forecasts, written before the rung was run",
        _scores(found, ledger),
        "## Do the learning rates carry over the sizes?",
        *_carried(carried),
    ]
    return "\n\n".join(parts) + "\n"


def _alt(reference: str, arm: str) -> str:
    return (
        f"Left: losses of {reference} and {arm} at each rung and budget, with the law's lines. "
        f"Right: the compute multiplier of {arm} by size, with its 90 % interval"
    )


def _carried(carried: Sequence[Carried]) -> list[str]:
    if not carried:
        return ["Not known: no search over these arms' learning rates was run at the rungs."]
    said = []
    for one in carried:
        if one.law is None:
            said.append(f"{one.arm}: not known, {one.why}")
        elif one.law.holds:
            said.append(
                f"{one.arm}: its settings transfer (the law of the two smallest rungs costs "
                f"{one.law.cost:.4f} nats at the third, less than the {one.law.noise:.4f} that two "
                f"runs differ by in their seed alone)"
            )
        else:
            said.append(
                f"{one.arm}: settings do not transfer, by {one.law.cost:.4f} nats at the third rung"
                f" (two runs differ by {one.law.noise:.4f} in their seed alone)"
            )
    rows = []
    for one in carried:
        for place, (scale, size) in enumerate(zip(one.scales, one.sizes, strict=True)):
            rate, least = size.optimum if size.inside else (None, None)
            used = one.used[place]
            cells = [
                one.arm, scale, f"{size.width:.0f}", "not run" if used is None else f"{used:.3g}",
                "at the search's edge" if rate is None else f"{rate:.3g}",
                "" if least is None or used is None else f"{size.near(used) - least:.4f}",
                f"{size.noise:.4f}",
            ]  # fmt: skip
            tested = one.law if place == 2 else None  # the third rung
            by_law = (
                [f"{tested.expected:.3g} (width to the {tested.exponent:+.2f})",
                 f"{tested.cost:.4f}"] if tested else ["", ""]
            )  # fmt: skip
            rows.append(cells + by_law)
    table = _table(
        ["arm", "rung", "width", "rate used", "best rate", "nats lost by the rate used",
         "noise of two seeds, nats", "rate by the law of the two smallest", "nats lost by it"],
        rows,
    )  # fmt: skip
    return ["; ".join(said) + ".", table]


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
