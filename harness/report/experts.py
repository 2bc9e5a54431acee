"""The view `experts`: where the routers sent the validation tokens at the horizon's end.

Pure: records in, a table and a figure's data out. An expert's number means nothing across seeds
(expert 3 of one is not expert 3 of another), so experts are ranked by load within each layer and
seed before anything is averaged. May not import torch, seaborn or matplotlib.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from harness.config import Frozen, digest
from harness.evidence.sections import Section
from harness.records.schema import ExpertUse, Record
from harness.records.store import path_of
from harness.report.tables import Column, Row, Table, estimate, plain
from harness.stats.inference import t_interval

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


class Heats(Frozen):
    """All that the figure shows."""

    title: str
    heats: tuple[Heat, ...]

    @property
    def digest(self) -> str:
        """Of the data drawn."""
        return digest(self)


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
    return [
        sorted((count * len(layer) / (use.tokens * top_k) for count in layer), reverse=True)
        for layer in use.load
    ]


def openness(use: ExpertUse) -> list[float]:
    """(layers,) routing entropy / ln experts: 1 is a router that does not choose."""
    return [h / math.log(len(layer)) for h, layer in zip(use.entropy, use.load, strict=True)]


def dropped(use: ExpertUse, top_k: int) -> list[int]:
    """(layers,) token copies that no expert took: tokens x top_k less the load's sum."""
    return [use.tokens * top_k - sum(layer) for layer in use.load]


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


def tables(section: Section) -> list[Table]:
    """A row for each arm and layer: busiest and idlest expert, entropy, dropped copies."""
    found = measured(section)
    if not found:
        return []
    return [
        Table(
            name=f"{section.name}.routing",
            caption=(
                f"Where the routers sent the validation tokens at horizon "
                f"`{section.group.question.at}`, mean over seeds ± half-width of its 95 % t "
                "interval (number of seeds)."
            ),
            corner="arm/layer",
            columns=(
                Column("busiest", "of an even load"),
                Column("idlest", "of an even load"),
                Column("entropy", "of ln experts"),
                Column("dropped", "token copies"),
            ),
            rows=tuple(row for arm, of_arm in found.items() for row in _rows(arm, of_arm)),
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


def _rows(arm: str, of_arm: Sequence[tuple[Record, ExpertUse]]) -> list[Row]:
    paths = [path_of(record) for record, _ in of_arm]
    per_seed: list[Mapping[str, list[float]]] = []
    lost: list[list[int]] = []
    for record, use in of_arm:
        ranked = shares(use, _top_k(record))
        per_seed.append(
            {
                "share of an even load that the busiest expert took": [row[0] for row in ranked],
                "share of an even load that the idlest expert took": [row[-1] for row in ranked],
                "mean routing entropy of a token / ln experts": openness(use),
            }
        )
        lost.append(dropped(use, _top_k(record)))
    return [
        Row(
            f"{arm}/{layer}",
            (
                *(
                    estimate(
                        t_interval([seed[what][layer] for seed in per_seed]), paths,
                        f"{what}, layer {layer} of {arm}", "seeds", digits=DIGITS,
                    )
                    for what in per_seed[0]
                ),
                plain(
                    str(sum(seed[layer] for seed in lost)), paths,
                    "token copies that no expert took", "sum over seeds of tokens x top_k - load",
                ),
            ),
        )
        for layer in range(len(of_arm[0][1].load))
    ]  # fmt: skip
