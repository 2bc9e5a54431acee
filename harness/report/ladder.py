"""A ladder's page: what it says of SmolLM2-135M, its rungs, forecasts and how they did. Pure.

The views `law`, `rungs`, `forecasts` and `rates` of a ladder; a cell's address is that of any view,
`optimizers.ladder.cpu.rungs/rung1@x1/difference`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness.config import Frozen
from harness.evidence.ladders import Ladder
from harness.evidence.rungs import TARGET, TOO_FAR, Climbed
from harness.evidence.transfers import Carried
from harness.records.ledger import ExpectedGap, Foretold, path_of
from harness.report.columns import Measure, given, nothing, tabulate
from harness.report.draw import Figure, Shown
from harness.report.table import Cell, Table, escape, one_line, plain
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


def page(of: Ladder) -> list[str | Table | Figure]:
    """The page: its verdict, the figure, the views."""
    reference, arm = of.found[0].pair
    figure = _figure(of)
    fitted = _law(of)
    return [
        f"# The ladder of {escape(of.recipe)} on {escape(of.device_class)}",
        f"**{escape(title(of))}.**",
        f"Made by `smol run {one_line(of.recipe)} --scale ladder`; a multiplier is the share of "
        f"{escape(reference)}'s tokens with which {escape(arm)} reaches its loss, at the same "
        f"size. The law, its interval and what was simulated of them: `harness.stats.ladder`.",
        *([figure] if figure else []),
        *([fitted] if fitted else []),
        _rungs(of),
        "## Forecasts, written before the rung was run",
        _forecasts(of) or "None yet: the first is written when two rungs are finished.",
        "## Do the learning rates carry over the sizes?",
        *_rates(of),
    ]


def page_name(of: Ladder) -> str:
    """What its page is called among those of a card."""
    return f"ladder-{of.name.replace('.ladder', '')}"


def title(of: Ladder) -> str:
    """The verdict as a sentence without its stop."""
    return of.said.verdict[0].upper() + of.said.verdict[1:]


def _figure(of: Ladder) -> Figure | None:
    data = shown(of)
    if data is None:
        return None
    reference, arm = data.pair
    return Figure(
        f"{of.name}.law.figure", data,
        f"Left: losses of {reference} and {arm} at each rung and budget, with the law's lines. "
        f"Right: the compute multiplier of {arm} by size, with its 90 % interval",
        "Means over seeds; the multiplier at 20 tokens a parameter.", _all(of), _command(of),
    )  # fmt: skip


def shown(of: Ladder) -> LawShown | None:
    """The figure's data; None where no law was fitted."""
    if of.said.judged is None:
        return None
    judged, found = of.said.judged, of.found
    rungs = []
    for one in found:
        means = one.rung.losses[0].mean(axis=0)
        logs = [
            judged.fits.design.logs(law.Design(
                np.full(len(one.rung.tokens), arm), np.full(len(one.rung.tokens), one.rung.size),
                np.array(one.rung.tokens),
            )) for arm in (0, 1)
        ]  # fmt: skip
        fits = [law.losses(judged.fits.theta, *points)[0] for points in logs]
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
        title=f"The ladder of {of.recipe}: losses with the law, and what it says of other sizes",
        pair=found[0].pair, rungs=tuple(rungs),
        sizes=sizes, multipliers=tuple(middle), low=tuple(low), high=tuple(high),
    )  # fmt: skip


def _told(log: np.ndarray) -> float:
    """A multiplier, no further than they are told apart: an end may be open."""
    return float(np.clip(np.exp(log[0]), 1.0 / TOO_FAR, TOO_FAR))


def _all(of: Ladder) -> tuple[str, ...]:
    return tuple(path for one in of.found for path in one.paths)


def _command(of: Ladder) -> str:
    return f"smol run {of.recipe} --scale ladder --device {of.device}"


def _law(of: Ladder) -> Table | None:
    """What was fitted; None where no law was."""
    said = of.said
    if said.judged is None or said.inner is None or said.outer is None:
        return None
    reference, arm = of.found[0].pair
    theta = said.judged.fits.theta[0]
    at = f"{TARGET.size / 1e6:,.0f}M parameters, 20 tokens each"
    refuted = "no" if said.judged.does_not_fit[0] else "not refuted"
    lines = {
        "multiplier": (f"{said.multiplier:.3g}", f"share of the reference's compute at {at}"),
        "interval-50": (f"{said.inner[0]:.3g} to {said.inner[1]:.3g}", "its 50 % interval"),
        "interval-90": (f"{said.outer[0]:.3g} to {said.outer[1]:.3g}", "its 90 % interval"),
        "fits": (f"{refuted}, p = {said.judged.misfit[0]:.2g}", "test of what the law leaves over"),
        "shared-exponents": (
            f"p = {said.judged.shared[0]:.2g}", "test of exponents that both arms share",
        ),
        "irreducible": (f"{math.exp(theta[0]):.3f} nats", "the loss E that both arms share"),
        f"exponents-{reference}": (
            f"{math.exp(theta[2]):.3f}, {math.exp(theta[4]):.3f}", "of size and of tokens",
        ),
        f"exponents-{arm}": (
            f"{math.exp(theta[6]):.3f}, {math.exp(theta[8]):.3f}", "of size and of tokens",
        ),
    }  # fmt: skip
    files = _all(of)
    how = "joint fit of both arms over all rungs and budgets"
    measures: list[Measure[tuple[str, str]]] = [
        given("value", lambda line: plain(line[0], files, line[1], how), left=True),
        given("of", lambda line: plain(line[1], (), "what the row is", "said"), left=True),
    ]
    return tabulate(
        f"{of.name}.law", f"L = E + A / N^alpha + B / D^beta, and what it has {at}.", "of the law",
        measures, lines.items(), command=_command(of),
    )  # fmt: skip


Place = tuple[Climbed, int]
"""A rung and the place of one of its budgets."""


def _rungs(of: Ladder) -> Table:
    """A row a rung and budget."""
    reference, arm = of.found[0].pair

    def fact(name: str, say: Callable[[Place], str], unit: str = "") -> Measure[Place]:
        return given(
            name,
            lambda at: plain(
                say(at), at[0].files(0, 1, budget=at[1]), name, "the same in all runs"
            ),
            unit,
        )

    def loss(place: int, name: str) -> Measure[Place]:
        def cell(at: Place) -> Cell:
            values = at[0].rung.losses[0, :, place, at[1]]
            files = at[0].files(place, budget=at[1])
            return plain(f"{values.mean():.4f}", files, "validation loss", "mean over seeds")

        return given(name, cell, "nats/token")

    def difference(at: Place) -> Cell:
        each = _difference(at)
        files = at[0].files(0, 1, budget=at[1])
        what = f"validation loss of {arm} less {reference}'s"
        return plain(f"{each.mean():+.4f}", files, what, "mean over seeds", len(each))

    def spread(at: Place) -> Cell:
        each, files = _difference(at), at[0].files(0, 1, budget=at[1])
        if len(each) < 2:
            return nothing("one seed", files)
        return plain(f"{each.std(ddof=1):.4f}", files, "paired sd", "over seeds", len(each))

    return tabulate(
        f"{of.name}.rungs",
        f"Validation loss at each rung's budgets, and {arm} less {reference}, paired by seed.",
        "rung@budget",
        [
            fact("parameters", lambda at: f"{at[0].rung.size:,.0f}"),
            fact("tokens", lambda at: f"{at[0].rung.tokens[at[1]]:,.0f}"),
            fact("seeds", lambda at: str(len(at[0].seeds))),
            loss(0, reference),
            loss(1, arm),
            given("difference", difference, "nats/token"),
            given("paired_sd", spread, "nats/token"),
        ],
        [
            (f"{one.scale}@{name}", (one, place))
            for one in of.found for place, name in enumerate(one.budgets)
        ],
        command=_command(of),
    )  # fmt: skip


def _difference(at: Place) -> np.ndarray:
    losses: np.ndarray = at[0].rung.losses[0, :, 1, at[1]] - at[0].rung.losses[0, :, 0, at[1]]
    return losses


Told = tuple[Foretold, int, Climbed | None]
"""A line of the ledger, the place of one of its budgets, and the rung as it came."""


def _forecasts(of: Ladder) -> Table | None:
    """Every forecast beside what came, hit or miss; None where there is none."""
    by_scale = {one.scale: one for one in of.found}
    rows: list[tuple[str, Told]] = []
    for line in of.forecasts:
        came = by_scale.get(line.rung)
        for place, tokens in enumerate(line.tokens):
            whole = came is not None and place < len(came.budgets)
            name = came.budgets[place] if came is not None and whole else f"{tokens:,}"
            rows.append((f"{line.rung}@{name}", (line, place, came if whole else None)))
    if not rows:
        return None
    file = path_of(Path(), of.recipe).as_posix()

    def told(name: str, say: Callable[[ExpectedGap], str], unit: str = "") -> Measure[Told]:
        what = f"{name}, of arm less reference, as it was written before the rung was run"
        return given(
            name, lambda at: plain(say(at[0].differences[at[1]]), (file,), what, "forecast"), unit
        )

    def scored(name: str, say: Callable[[ExpectedGap, float], str]) -> Measure[Told]:
        def cell(at: Told) -> Cell:
            line, place, came = at
            if came is None:
                return nothing("not run yet", (file,))
            files = (file, *came.files(0, 1, budget=place))
            value = float(_difference((came, place)).mean())
            return plain(
                say(line.differences[place], value), files, name, "mean over seeds",
                len(came.seeds),
            )  # fmt: skip

        return given(name, cell)

    def early(at: Told) -> Cell:
        line, _, came = at
        late = came is not None and line.made >= came.created
        words = f"{line.made}, after the rung was run" if late else line.made
        return plain(words, (file,), "when the forecast was written", "said")

    def inside(ends: tuple[float, float], value: float) -> str:
        return "hit" if ends[0] <= value <= ends[1] else "miss"

    return tabulate(
        f"{of.name}.forecasts",
        "What was expected of a rung before it was run, from those below it, and what came.",
        "rung@budget",
        [
            given("written", early, left=True),
            told("expected", lambda cell: f"{cell.expected:+.4f}", "nats/token"),
            told("in-50", lambda cell: _ends(cell.inner), "nats/token"),
            told("in-90", lambda cell: _ends(cell.outer), "nats/token"),
            scored("came", lambda _, value: f"{value:+.4f}"),
            scored("hit-50", lambda cell, value: inside(cell.inner, value)),
            scored("hit-90", lambda cell, value: inside(cell.outer, value)),
            scored("sign", lambda cell, value: "same" if value * cell.expected > 0 else "other"),
        ],
        rows,
        command=_command(of),
    )


def _ends(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}"


Searched = tuple[Carried, int]
"""An arm's searches and the place of one rung."""


def _rates(of: Ladder) -> list[str | Table]:
    """Whether settings transfer, in a sentence an arm; what each rung's search says."""
    if not of.carried:
        return ["Not known: no search over these arms' learning rates was run at the rungs."]
    measures: list[Measure[Searched]] = [
        _rate("width", "", lambda one, at: f"{one.sizes[at].width:.0f}"),
        _rate("used", "", lambda one, at: _said(one.used[at], ".3g", "not run")),
        _rate("best", "", lambda one, at: (
            f"{one.sizes[at].optimum[0]:.3g}" if one.sizes[at].inside else "at the search's edge"
        )),
        _rate("lost", "nats/token", lambda one, at: _said(_lost(one, at), ".4f", "")),
        _rate("noise", "nats/token", lambda one, at: f"{one.sizes[at].noise:.4f}"),
        _rate("by_law", "", lambda one, at: (
            f"{one.law.expected:.3g}, width to the {one.law.exponent:+.2f}"
            if one.law and at == THIRD else ""
        )),
        _rate("lost_by_law", "nats/token", lambda one, at: (
            f"{one.law.cost:.4f}" if one.law and at == THIRD else ""
        )),
    ]  # fmt: skip
    return [
        "; ".join(escape(_transfers(one)) for one in of.carried) + ".",
        tabulate(
            f"{of.name}.rates",
            "Learning rates at the rungs: used by the ladder, best in the search, and what the "
            "used one loses against the best; noise is what two seeds differ by.",
            "arm@rung",
            measures,
            [
                (f"{one.arm}@{scale}", (one, place))
                for one in of.carried for place, scale in enumerate(one.scales)
            ],
            notes=("by_law: the power of the width through the two smallest rungs' best rates.",),
        ),
    ]  # fmt: skip


THIRD = 2
"""The place of the rung that tests the law of the two below it."""


def _rate(name: str, unit: str, say: Callable[[Carried, int], str]) -> Measure[Searched]:
    return given(
        name,
        lambda at: plain(say(*at) or "–", at[0].paths, name, "of a search's parabola"),
        unit,
    )


def _lost(one: Carried, at: int) -> float | None:
    used, size = one.used[at], one.sizes[at]
    return size.near(used) - size.optimum[1] if used is not None and size.inside else None


def _said(value: float | None, form: str, none: str) -> str:
    return none if value is None else f"{value:{form}}"


def _transfers(one: Carried) -> str:
    if one.law is None:
        return f"{one.arm}: not known, {one.why}"
    if one.law.holds:
        return (
            f"{one.arm}: its settings transfer (the law of the two smallest rungs costs "
            f"{one.law.cost:.4f} nats at the third, less than the {one.law.noise:.4f} that two "
            f"runs differ by in their seed alone)"
        )
    return (
        f"{one.arm}: settings do not transfer, by {one.law.cost:.4f} nats at the third rung "
        f"(two runs differ by {one.law.noise:.4f} in their seed alone)"
    )
