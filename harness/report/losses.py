"""The view `loss`: where each arm's horizons ended, beside the unigram model.

Pure: a section's records in, a table out. May not import torch.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.evidence.sections import Group, Section
from harness.records.store import path_of
from harness.report.tables import (
    ABSENT,
    NONE,
    Cell,
    Column,
    Row,
    Table,
    estimate,
    millions,
    plain,
)
from harness.stats.inference import t_interval

UNIGRAM = "unigram"
"""The row of the unigram model, which only counts tokens."""
LOSS_DIGITS = 4


def losses(section: Section) -> Table:
    """A row an arm and one for the unigram model: parameters, losses, bits per byte."""
    group, question = section.group, section.group.question
    columns = [Column("total_parameters", "M"), Column("active_parameters", "M")]
    columns += [Column(f"val_loss@{h}", "nats/token") for h in question.horizons]
    columns += [
        Column(f"bits_per_byte@{question.at}"),
        Column(f"below_unigram@{question.at}", "nats/token"),
        Column(f"noise_floor@{question.at}", "nats/token"),
    ]
    rows = [Row(arm, _loss_cells(group, arm)) for arm in question.arms]
    return Table(
        name=f"{section.name}.loss",
        caption=(
            "Validation loss where each horizon ends, mean over seeds ± half-width of its 95 % t "
            "interval (number of seeds). Lower is better."
        ),
        corner="arm",
        columns=tuple(columns),
        rows=(*rows, _unigram_row(group)),
        notes=(
            *(f"{arm}: {note}" for arm, note in sorted(question.notes.items())),
            "noise_floor: standard deviation of the arm's loss over its seeds, nothing changed but "
            "the seed. Of a difference the paired spread counts instead.",
        ),
        command=group.command,
    )


def _loss_cells(group: Group, arm: str) -> tuple[Cell, ...]:
    question = group.question
    of_arm = [record for record in group.records if record.arm == arm]
    paths = [path_of(record) for record in of_arm]
    cells = []
    for kind in ("total", "active"):
        counts = sorted({getattr(record, f"{kind}_parameters") for record in of_arm})
        text = ", ".join(millions(count) for count in counts) or NONE
        cells.append(plain(text, paths, f"{kind} parameters, millions", "the same in all runs"))
    for horizon in question.horizons:
        rows = group.reached(arm, horizon)
        cells.append(
            estimate(
                t_interval([end.val_loss for end in rows]),
                [end.path for end in rows],
                f"validation loss at horizon {horizon}, nats a token",
                "seeds",
                digits=LOSS_DIGITS,
            )
        )
    rows = group.reached(arm, question.at)
    paths = [end.path for end in rows]
    bits = t_interval([end.bits_per_byte for end in rows if end.bits_per_byte is not None])
    below = t_interval([end.unigram - end.val_loss for end in rows if end.unigram is not None])
    sd = t_interval([end.val_loss for end in rows]).sd
    where = f"at horizon {question.at}"
    return (
        *cells,
        estimate(
            bits, paths, f"validation bits per byte {where}", "seeds",
            digits=LOSS_DIGITS,
        ),
        estimate(
            below, paths,
            f"unigram model's loss less the arm's, {where}, nats a token", "seeds",
            digits=LOSS_DIGITS,
        ),
        plain(
            ABSENT if sd is None else f"{sd:.{LOSS_DIGITS}f}", paths,
            f"standard deviation of the validation loss over seeds, {where}, nats a token",
            "sample standard deviation",
        ),
    )  # fmt: skip


def _unigram_row(group: Group) -> Row:
    """The unigram model of the same training tokens, scored on the same validation tokens."""
    paths = sorted({end.path for end in group.ends})

    def cell(known: Iterable[float | None], metric: str) -> Cell:
        values = sorted({value for value in known if value is not None})
        text = ", ".join(f"{value:.{LOSS_DIGITS}f}" for value in values) or NONE
        return plain(text, paths, metric, "the same in all runs of one data manifest")

    not_applicable = Cell(ABSENT, (), "the unigram model has no such value", "none", 0)
    return Row(
        UNIGRAM,
        (
            not_applicable,
            not_applicable,
            *(
                cell(
                    (end.unigram for end in group.ends if end.horizon == horizon),
                    f"unigram model's validation loss at horizon {horizon}, nats a token",
                )
                for horizon in group.question.horizons
            ),
            cell(
                (end.unigram_bits for end in group.ends if end.horizon == group.question.at),
                "unigram model's validation bits per byte",
            ),
            not_applicable,
            not_applicable,
        ),
    )
