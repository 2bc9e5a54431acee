"""The view `experts`: where the routers sent the validation tokens at the horizon's end.

An expert's number means nothing across seeds (expert 3 of one is not expert 3 of another), so
experts are ranked by load within each layer and seed before anything is averaged.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from harness.config import Frozen
from harness.evidence.sections import Section
from harness.records.schema import ExpertUse, Record
from harness.records.store import path_of
from harness.report.columns import Found, Measure, interval, tabulate, total
from harness.report.draw import Figure, Shown, figure_of
from harness.report.table import Table

DIGITS = 3


class Heat(Frozen):
    """One arm's mixture of experts, mean over seeds."""

    arm: str
    seeds: int
    top_k: int
    load: tuple[tuple[float, ...], ...]
    """(layers, experts): share of an even load, the busiest expert of each layer first."""
    entropy: tuple[float, ...]
    """(layers,): routing entropy as a share of ln experts."""


class Heats(Shown):
    """All that the figure shows."""

    heats: tuple[Heat, ...]


Measured = Sequence[tuple[Record, ExpertUse]]
"""An arm's records that say where tokens went, a seed each."""


def measured(section: Section) -> dict[str, list[tuple[Record, ExpertUse]]]:
    """Arm -> its records at the question's horizon that say where tokens went, a seed each."""
    found = {}
    for arm in section.group.question.arms:
        shown = {end.path for end in section.group.reached(arm, section.group.question.at)}
        records = [(r, r.experts) for r in section.group.records if r.arm == arm and r.experts]
        if of_arm := [(r, use) for r, use in records if path_of(r) in shown]:
            found[arm] = of_arm
    return found


def _top_k(record: Record) -> int:
    return int(record.config["model"]["top_k"])


def shares(use: ExpertUse, top_k: int) -> list[list[float]]:
    """(layers, experts) load / (tokens x top_k / experts), descending within a layer."""
    return [_shares(use, layer, top_k) for layer in range(len(use.load))]


def _shares(use: ExpertUse, layer: int, top_k: int) -> list[float]:
    load = use.load[layer]
    return sorted((count * len(load) / (use.tokens * top_k) for count in load), reverse=True)


def openness(use: ExpertUse) -> list[float]:
    """(layers,) routing entropy / ln experts: 1 is a router that does not choose."""
    return [_openness(use, layer) for layer in range(len(use.load))]


def _openness(use: ExpertUse, layer: int) -> float:
    return use.entropy[layer] / math.log(len(use.load[layer]))


def dropped(use: ExpertUse, top_k: int) -> list[int]:
    """(layers,) token copies that no expert took: tokens x top_k less the load's sum."""
    return [_dropped(use, layer, top_k) for layer in range(len(use.load))]


def _dropped(use: ExpertUse, layer: int, top_k: int) -> int:
    return use.tokens * top_k - sum(use.load[layer])


def heats(section: Section) -> Heats | None:
    """The figure's data; None where no record says where tokens went."""
    found = measured(section)
    if not found:
        return None
    return Heats(
        title=section.title,
        heats=tuple(_heat(arm, of_arm) for arm, of_arm in found.items()),
    )


def _heat(arm: str, of_arm: Sequence[tuple[Record, ExpertUse]]) -> Heat:
    ranked = [shares(use, _top_k(record)) for record, use in of_arm]
    entropies = [openness(use) for _, use in of_arm]
    return Heat(
        arm=arm,
        seeds=len(of_arm),
        top_k=_top_k(of_arm[0][0]),
        load=tuple(
            tuple(statistics.fmean(seeds) for seeds in zip(*layer, strict=True))
            for layer in zip(*ranked, strict=True)
        ),
        entropy=tuple(statistics.fmean(layer) for layer in zip(*entropies, strict=True)),
    )


def figure(section: Section) -> Figure | None:
    """A map an arm of the load of each expert, layer by layer."""
    return figure_of(
        section,
        "experts",
        heats(section),
        "load of each expert, layer by layer",
        "Where the routers sent the validation tokens: each expert's load as a share of an "
        "even one, mean over seeds, ranked within each layer and seed because an expert's "
        "number means nothing across seeds. Right of each row: routing entropy / ln experts.",
    )


def tables(section: Section) -> list[Table]:
    """A row for each arm and layer: busiest and idlest expert, entropy, dropped copies."""
    found = measured(section)
    if not found:
        return []
    rows = [
        (f"{arm}/{layer}", (arm, of_arm, layer))
        for arm, of_arm in found.items()
        for layer in range(len(of_arm[0][1].load))
    ]
    return [
        tabulate(
            f"{section.name}.routing",
            f"Where the routers sent the validation tokens at horizon "
            f"`{section.group.question.at}`, mean over seeds ± half-width of its 95 % t "
            "interval (number of seeds).",
            "arm/layer",
            MEASURES,
            rows,
            notes=(
                "An even load sends tokens × top_k / experts to each expert: 1 is even, the number "
                "of experts over top_k is one expert taking every token.",
                "entropy: of a token's routing distribution, as a share of ln experts; 1 is a "
                "router that does not choose.",
                "dropped: tokens × top_k less what the experts took; routing here has no capacity "
                "limit, so it should be 0.",
            ),
            command=section.group.command,
        )
    ]


Layer = tuple[str, Measured, int]
"""An arm, its records, and which of its layers."""


def _of_layer(value: Callable[[Record, ExpertUse, int], float]) -> Callable[[Layer], Found]:
    return lambda row: [(value(r, use, row[2]), path_of(r)) for r, use in row[1]]


def _mean(
    name: str, what: str, unit: str, value: Callable[[Record, ExpertUse, int], float]
) -> Measure[Layer]:
    return Measure(
        name, lambda row: f"{what}, layer {row[2]} of {row[0]}", _of_layer(value),
        interval("seeds", digits=DIGITS), unit,
    )  # fmt: skip


MEASURES: tuple[Measure[Layer], ...] = (
    _mean(
        "busiest", "share of an even load that the busiest expert took", "of an even load",
        lambda r, use, layer: _shares(use, layer, _top_k(r))[0],
    ),
    _mean(
        "idlest", "share of an even load that the idlest expert took", "of an even load",
        lambda r, use, layer: _shares(use, layer, _top_k(r))[-1],
    ),
    _mean(
        "entropy", "mean routing entropy of a token / ln experts", "of ln experts",
        lambda _, use, layer: _openness(use, layer),
    ),
    Measure(
        "dropped", "token copies that no expert took",
        _of_layer(lambda r, use, layer: _dropped(use, layer, _top_k(r))),
        total("sum over seeds of tokens x top_k - load"), "token copies",
    ),
)  # fmt: skip
