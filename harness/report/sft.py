"""The view `sft`: what fine-tuning did to the loss on the assistant's tokens, and to the answers.

Pure: records in, tables and a figure's data out. Losses of different stages are of different
texts: they are drawn apart and never compared. May not import torch, seaborn or matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.config import Frozen, digest
from harness.evidence.sections import Section
from harness.records.schema import Answer, Record
from harness.records.store import path_of
from harness.report.tables import NONE, Cell, Column, Row, Table, estimate, plain
from harness.stats.inference import t_interval

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


class StageCurves(Frozen):
    """All that the figure shows."""

    title: str
    arms: tuple[str, ...]
    panels: tuple[StagePanel, ...]

    @property
    def digest(self) -> str:
        """Of the data drawn."""
        return digest(self)


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
    rows = [_seed_row(record) for record in runs]
    for arm in section.group.question.arms:
        of_arm = [record for record in runs if record.arm == arm]
        if len(of_arm) > 1:
            rows.append(_mean_row(arm, of_arm))
    scored = _scored(runs[0])
    return Table(
        name=f"{section.name}.{stage}",
        caption=(
            f"Validation loss on the {scored} of held-out "
            f"{'conversations' if _is_chat(runs[0]) else 'documents'} before the first update of "
            f"`{stage}` and after its last."
        ),
        corner="arm/seed",
        columns=(
            Column("before", "nats/token"),
            Column("after", "nats/token"),
            Column("change", "nats/token"),
            Column("unigram", "nats/token"),
            Column("updates"),
            Column("epochs"),
            Column("handover_before", "nats/token"),
            Column("handover_after", "nats/token"),
        ),
        rows=tuple(rows),
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


def _seed_row(record: Record) -> Row:
    paths = [path_of(record)]
    pair = _before_after(record)

    def value(number: float | None, metric: str, text: str = f"{{:.{DIGITS}f}}") -> Cell:
        shown = NONE if number is None else text.format(number)
        return plain(shown, paths, metric, "of one run")

    handover = record.handover_loss or (None, None)
    data = record.data
    return Row(
        f"{record.arm}/{record.seed}",
        (
            value(pair and pair[0], "validation loss before the stage, nats a token"),
            value(pair and pair[1], "validation loss after the stage, nats a token"),
            value(pair and pair[1] - pair[0], "after less before, nats a token", "{:+.4f}"),
            value(data.unigram_val_loss if data else None, "unigram model's loss, nats a token"),
            value(record.updates_done, "updates of the stage", "{:,}"),
            value(data.epochs if data else None, "epochs of the stage's training data", "{:.2f}"),
            value(handover[0], "probe loss before saving, nats a token", "{:.6f}"),
            value(handover[1], "probe loss after loading, nats a token", "{:.6f}"),
        ),
    )


def _mean_row(arm: str, runs: Sequence[Record]) -> Row:
    paths = [path_of(record) for record in runs]
    pairs = [pair for record in runs if (pair := _before_after(record))]
    kinds = (
        ([before for before, _ in pairs], "validation loss before the stage", False),
        ([after for _, after in pairs], "validation loss after the stage", False),
        ([after - before for before, after in pairs], "after less before, paired by seed", True),
    )
    not_applicable = Cell("–", (), "a mean over seeds has no such value", "none", 0)
    return Row(
        f"{arm}/all",
        (
            *(
                estimate(
                    t_interval(values), paths, f"{metric}, nats a token", "seeds", digits=DIGITS,
                    signed=signed,
                )
                for values, metric, signed in kinds
            ),
            *([not_applicable] * 5),
        ),
    )  # fmt: skip


def _answers(section: Section, stage: str, record: Record) -> Table:
    """Of one seed: the others' stand in their records."""
    samples = record.samples
    pairs = list(zip(samples.before, samples.after, strict=True)) if samples else []
    paths = [path_of(record)]

    def cell(answer: Answer, when: str) -> Cell:
        text = answer.text.strip() or SILENCE
        return plain(
            text if answer.ended else f"{text} …", paths,
            f"answer {when} the stage, greedy", "of one run",
        )  # fmt: skip

    return Table(
        name=f"{section.name}.{stage}-samples",
        caption=(
            f"What the model of arm `{record.arm}`, seed {record.seed}, answers before and after "
            f"`{stage}`: greedy, in ChatML, at most 48 tokens; … where it did not end its turn."
        ),
        corner="prompt",
        columns=(
            Column("asked", left=True),
            Column("before", left=True),
            Column("after", left=True),
        ),
        rows=tuple(
            Row(
                str(number),
                (
                    plain(before.prompt, paths, "prompt of the recipe", "of one run"),
                    cell(before, "before"),
                    cell(after, "after"),
                ),
            )
            for number, (before, after) in enumerate(pairs, 1)
        ),
        command=section.group.command,
    )
