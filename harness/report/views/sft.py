"""The view `sft`: what fine-tuning did to the loss on the assistant's tokens, and to the answers.

Losses of different stages are of different texts: they are drawn apart and never compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.config import Frozen
from harness.evidence.sections import Section
from harness.records.schema import Answer, Record
from harness.records.store import path_of
from harness.report.columns import Block, Measure, interval, tabulate, text
from harness.report.draw import Figure, Shown, figure_of
from harness.report.table import NONE, Table

DIGITS = 4
SILENCE = "(nothing)"


class StagePoint(Frozen):
    """One validation of one seed."""

    arm: str
    seed: int
    tokens: int
    """Consumed in the stage."""
    val_loss: float


class StagePanel(Frozen):
    """One stage."""

    stage: str
    scored: str
    """Which tokens its loss is of."""
    points: tuple[StagePoint, ...]
    unigram: float | None


class StageCurves(Shown):
    """All that the figure shows."""

    arms: tuple[str, ...]
    panels: tuple[StagePanel, ...]


def figure(section: Section) -> Figure | None:
    """Validation loss in each stage, a panel a stage."""
    return figure_of(
        section,
        "stages",
        curves(section),
        "validation loss in each stage",
        "Validation loss in each stage, on that stage's held-out text: mean over seeds, bands "
        "from the lowest to the highest seed. The panels' losses are of different texts. Of a "
        "stage from scratch the first updates are left out.",
    )


def curves(section: Section) -> StageCurves | None:
    """The figure's data: a panel for each stage that some run finished; None where none did."""
    panels = []
    for stage in section.group.question.stages:
        runs = _finished(section, stage)
        points = [
            StagePoint(arm=r.arm, seed=r.seed, tokens=p.tokens, val_loss=p.val_loss)
            for r in runs
            for p in r.validation
        ]
        if points:
            unigrams = {r.data.unigram_val_loss for r in runs if r.data}
            panels.append(
                StagePanel(
                    stage=stage, scored=_scored(runs[0]), points=tuple(points),
                    unigram=unigrams.pop() if len(unigrams) == 1 else None,
                )
            )  # fmt: skip
    if not panels:
        return None
    return StageCurves(
        title=section.title,
        arms=section.group.question.arms,
        panels=tuple(panels),
    )


def _finished(section: Section, stage: str) -> list[Record]:
    """The `ok` runs of a stage, an arm and a seed each: the newest where a setting was changed."""
    newest: dict[tuple[str, int], Record] = {}
    for record in sorted(section.group.records, key=lambda r: (r.created, path_of(r))):
        if record.stage == stage and record.status == "ok" and not record.repeat:
            newest[record.arm, record.seed] = record
    arms = section.group.question.arms
    return [newest[key] for key in sorted(newest, key=lambda k: (arms.index(k[0]), k[1]))]


def _is_chat(record: Record) -> bool:
    return record.config["data"].get("format") == "chat"


def _scored(record: Record) -> str:
    return "assistant's tokens" if _is_chat(record) else "all tokens"


def tables(section: Section) -> list[Table]:
    """Loss before and after each stage that starts from another's weights; answers beside each
    other; and how each hand-over was proven."""
    found = []
    for stage in section.group.question.stages:
        runs = [r for r in _finished(section, stage) if r.handover_loss is not None]
        if not runs:
            continue
        found.append(_losses(section, stage, runs))
        if any(r.samples for r in runs):
            found.append(_answers(section, stage, next(r for r in runs if r.samples)))
    return found


def _losses(section: Section, stage: str, runs: Sequence[Record]) -> Table:
    several = [
        (f"{arm}/all", of_arm)
        for arm in section.group.question.arms
        if len(of_arm := [record for record in runs if record.arm == arm]) > 1
    ]
    scored = _scored(runs[0])
    return tabulate(
        f"{section.name}.{stage}",
        f"Validation loss on the {scored} of held-out "
        f"{'conversations' if _is_chat(runs[0]) else 'documents'} before the first update of "
        f"`{stage}` and after its last.",
        "arm/seed",
        OF_A_RUN,
        [(f"{record.arm}/{record.seed}", record) for record in runs],
        Block(several, OVER_SEEDS, "a mean over seeds has no such value"),
        notes=(
            "handover: loss on a fixed probe batch, by the run (or, for a model that was given, "
            "the library) that the weights came from, and by this stage after loading them.",
            "unigram: the model that only counts tokens, on the same targets.",
        ),
        command=section.group.command,
    )


def _before_after(record: Record) -> tuple[float, float] | None:
    points = record.validation
    if not points or points[0].update != 0:
        return None
    return points[0].val_loss, points[-1].val_loss


def _before(record: Record) -> float | None:
    pair = _before_after(record)
    return pair and pair[0]


def _after(record: Record) -> float | None:
    pair = _before_after(record)
    return pair and pair[1]


def _change(record: Record) -> float | None:
    pair = _before_after(record)
    return pair and pair[1] - pair[0]


def _of_run(
    name: str,
    what: str,
    value: Callable[[Record], Any],
    form: str = f"{{:.{DIGITS}f}}",
    unit: str = "nats/token",
) -> Measure[Record]:
    def shown(record: Record) -> str:
        found = value(record)
        return NONE if found is None else form.format(found)

    return Measure(
        name, what, lambda record: [(shown(record), path_of(record))], text("of one run"), unit
    )


OF_A_RUN = (
    _of_run("before", "validation loss before the stage, nats a token", _before),
    _of_run("after", "validation loss after the stage, nats a token", _after),
    _of_run("change", "after less before, nats a token", _change, "{:+.4f}"),
    _of_run(
        "unigram", "unigram model's loss, nats a token",
        lambda r: r.data and r.data.unigram_val_loss,
    ),
    _of_run("updates", "updates of the stage", lambda r: r.updates_done, "{:,}", ""),
    _of_run(
        "epochs", "epochs of the stage's training data", lambda r: r.data and r.data.epochs,
        "{:.2f}", "",
    ),
    _of_run(
        "handover_before", "probe loss before saving, nats a token",
        lambda r: r.handover_loss and r.handover_loss[0], "{:.6f}",
    ),
    _of_run(
        "handover_after", "probe loss after loading, nats a token",
        lambda r: r.handover_loss and r.handover_loss[1], "{:.6f}",
    ),
)  # fmt: skip


def _over_seeds(
    name: str, what: str, value: Callable[[Record], float | None], signed: bool = False
) -> Measure[Sequence[Record]]:
    def values(runs: Sequence[Record]) -> Iterator[tuple[float, str]]:
        yield from ((v, path_of(r)) for r in runs if (v := value(r)) is not None)

    how = interval("seeds", digits=DIGITS, signed=signed)
    return Measure(name, f"{what}, nats a token", values, how)


OVER_SEEDS = (
    _over_seeds("before", "validation loss before the stage", _before),
    _over_seeds("after", "validation loss after the stage", _after),
    _over_seeds("change", "after less before, paired by seed", _change, signed=True),
)

Asked = tuple[Answer, Answer]
"""The answers to one prompt, before a stage and after it."""


def _answers(section: Section, stage: str, record: Record) -> Table:
    """Of one seed: the others' stand in their records."""
    samples, path = record.samples, path_of(record)
    pairs = list(zip(samples.before, samples.after, strict=True)) if samples else []

    def said(name: str, what: str, value: Callable[[Asked], str]) -> Measure[Asked]:
        return Measure(
            name, what, lambda pair: [(value(pair), path)], text("of one run"), left=True
        )

    return tabulate(
        f"{section.name}.{stage}-samples",
        f"What the model of arm `{record.arm}`, seed {record.seed}, answers before and after "
        f"`{stage}`: greedy, in ChatML, at most 48 tokens; … where it did not end its turn, and "
        "for what a word has beyond 40 characters.",
        "prompt",
        [
            said("asked", "prompt of the recipe", lambda pair: pair[0].prompt),
            said("before", "answer before the stage, greedy", lambda pair: _spoken(pair[0])),
            said("after", "answer after the stage, greedy", lambda pair: _spoken(pair[1])),
        ],
        [(str(number), pair) for number, pair in enumerate(pairs, 1)],
        command=section.group.command,
    )


def _spoken(answer: Answer) -> str:
    text = _LONG.sub(r"\1…", answer.text.strip()) or SILENCE
    return text if answer.ended else f"{text} …"


_LONG = re.compile(r"(\S{40})\S+")
"""A word that would not fit in a column, which nobody breaks; the record has all of it."""
