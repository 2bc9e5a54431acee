"""The view `loss`: where each arm's horizons ended, beside the unigram model, which only counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.evidence.endpoints import Reached
from harness.evidence.sections import Group, Section
from harness.records.schema import Record
from harness.report.columns import (
    Block,
    Found,
    Measure,
    interval,
    of_ends,
    of_records,
    same,
    spread,
    tabulate,
)
from harness.report.table import Table, millions

UNIGRAM = "unigram"
"""The row of the unigram model."""
LOSS_DIGITS = 4


def tables(section: Section) -> list[Table]:
    """A row an arm and one for the unigram model: parameters, losses, bits per byte."""
    group, question = section.group, section.group.question
    return [
        tabulate(
            f"{section.name}.loss",
            "Validation loss where each horizon ends, mean over seeds ± half-width of its 95 % t "
            "interval (number of seeds). Lower is better.",
            "arm",
            _measures(group),
            [(arm, arm) for arm in question.arms],
            Block([(UNIGRAM, group)], _of_unigram(group), "the unigram model has no such value"),
            notes=(
                *(f"{arm}: {note}" for arm, note in sorted(question.notes.items())),
                "noise_floor: standard deviation of the arm's loss over its seeds, nothing "
                "changed but the seed. Of a difference the paired spread counts instead.",
            ),
            command=group.command,
        )
    ]


def _measures(group: Group) -> list[Measure[str]]:
    at = group.question.at
    where = f"at horizon {at}"

    def counted(kind: str) -> Measure[str]:
        def of_arm(arm: str) -> Found:
            records = (r for r in group.records if r.arm == arm)
            return of_records(records, lambda r: _parameters(r, kind))

        what = f"{kind} parameters, millions"
        return Measure(f"{kind}_parameters", what, of_arm, same(form=millions), "M")

    def at_end(
        name: str, what: str, horizon: str, value: Callable[[Reached], Any], unit: str = ""
    ) -> Measure[str]:
        how = interval("seeds", digits=LOSS_DIGITS)
        return Measure(
            name, what, lambda arm: of_ends(group.reached(arm, horizon), value), how, unit
        )

    return [
        counted("total"),
        counted("active"),
        *(
            at_end(
                f"val_loss@{h}", f"validation loss at horizon {h}, nats a token", h,
                lambda end: end.val_loss, "nats/token",
            )
            for h in group.question.horizons
        ),
        at_end(
            f"bits_per_byte@{at}", f"validation bits per byte {where}", at,
            lambda end: end.bits_per_byte,
        ),
        at_end(
            f"below_unigram@{at}", f"unigram model's loss less the arm's, {where}, nats a token",
            at, _below, "nats/token",
        ),
        Measure(
            f"noise_floor@{at}",
            f"standard deviation of the validation loss over seeds, {where}, nats a token",
            lambda arm: of_ends(group.reached(arm, at), lambda end: end.val_loss),
            spread(digits=LOSS_DIGITS),
            "nats/token",
        ),
    ]  # fmt: skip


def _parameters(record: Record, kind: str) -> int:
    return record.total_parameters if kind == "total" else record.active_parameters


def _below(end: Reached) -> float | None:
    return None if end.unigram is None else end.unigram - end.val_loss


def _of_unigram(group: Group) -> list[Measure[Group]]:
    """The unigram model of the same training tokens, scored on the same validation tokens."""
    files = sorted({end.path for end in group.ends})
    how = same("the same in all runs of one data manifest", form=f"{{:.{LOSS_DIGITS}f}}")

    def known(horizon: str, name: str) -> Callable[[Group], Found]:
        def values(of: Group) -> Found:
            ends = [end for end in of.ends if end.horizon == horizon]
            found = {v for end in ends if (v := getattr(end, name)) is not None}
            yield from ((value, ()) for value in found)

        return values

    def measure(name: str, what: str, horizon: str, value: str) -> Measure[Group]:
        # Whichever runs gave the value, all stand behind it: each must have the same.
        return Measure(name, what, known(horizon, value), lambda v, _, w: how(v, tuple(files), w))

    at = group.question.at
    return [
        *(
            measure(
                f"val_loss@{h}", f"unigram model's validation loss at horizon {h}, nats a token",
                h, "unigram",
            )
            for h in group.question.horizons
        ),
        measure(
            f"bits_per_byte@{at}", "unigram model's validation bits per byte", at, "unigram_bits"
        ),
    ]  # fmt: skip
