"""Views of what the recipe `pretrain_sft` will do, from its resolved configurations.

The seed card's key hyperparameters, commands, data mixes and known issues, generated from the
configurations that a run would use, so that they cannot say otherwise. No record is behind them:
their cells name the configuration. May not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from harness.config import RunConfig, as_before, flatten
from harness.plan import grid
from harness.recipe import SCALES, Scale, find
from harness.report.tables import Cell, Column, Row, Table

RECIPE = "pretrain_sft"
FULL: Scale = "full"
QUICK_TOKENS = 1_000_000
QUICK_UPDATES = 5
"""The quick test of the whole pipeline, as the seed card has it."""
SETTINGS = ("optim.", "schedule.", "train.", "batch.")
"""Sections of the configuration that the table of settings shows."""


@cache
def stages(scale: Scale) -> Mapping[str, RunConfig]:
    """Stage -> its configuration, parents first."""
    recipe = find(RECIPE).at(scale)
    return {step.stage.name: step.config for step in grid.arms(recipe, {})[0].steps}


def _from(scale: str) -> str:
    return f"resolved configuration of {RECIPE} at {scale}"


def _cell(text: str, what: str, scale: str) -> Cell:
    return Cell(text, (), what, _from(scale), 0)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.12g}"


def hyperparameters() -> Table:
    """A row a scale and stage: learning rates and what makes an update."""
    columns = {
        "muon_lr": lambda c: c.optim.muon_lr,
        "adamw_lr": lambda c: c.optim.adamw_lr,
        "micro_batch": lambda c: c.batch.micro_batch,
        "grad_accum": lambda c: c.batch.grad_accum,
        "seq_len": lambda c: c.data.seq_len,
        "sequences": lambda c: c.sequences_per_update,
        "tokens": lambda c: c.tokens_per_update,
        "updates": lambda c: round(c.train.tokens / c.tokens_per_update),
    }
    units = {
        "micro_batch": "sequences", "grad_accum": "micro-steps", "seq_len": "tokens",
        "sequences": "an update", "tokens": "an update",
    }  # fmt: skip
    rows = [
        Row(
            f"{scale}/{stage}",
            tuple(_cell(_number(of(config)), what, scale) for what, of in columns.items()),
        )
        for scale in reversed(SCALES)
        for stage, config in stages(scale).items()
    ]
    return Table(
        name="pipeline.hyperparameters",
        caption=f"Key hyperparameters of the stages of `{RECIPE}`.",
        corner="scale/stage",
        columns=tuple(Column(name, units.get(name, "")) for name in columns),
        rows=tuple(rows),
        notes=("A device profile may trade micro_batch against grad_accum; their product stays.",),
        command=f"smol show {RECIPE} --scale {FULL}",
    )


def settings() -> Table:
    """Every field of optimizer, schedule, batch and training at `full`, stage by stage."""
    fields = {stage: flatten(as_before(config)) for stage, config in stages(FULL).items()}
    first = next(iter(fields.values()))
    return Table(
        name="pipeline.settings",
        caption=f"Every setting of the stages of `{RECIPE}` at `{FULL}`: nothing is left to a "
        "library's default.",
        corner="field",
        columns=tuple(Column(stage) for stage in fields),
        rows=tuple(
            Row(path, tuple(_cell(_text(of[path]), path, FULL) for of in fields.values()))
            for path in first
            if path.startswith(SETTINGS)
        ),
        command=f"smol show {RECIPE} --scale {FULL}",
    )


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, int | float) else str(value)


def mixes() -> Table:
    """A row a source of each stage and scale: where it comes from, and its share."""
    rows = []
    for scale in reversed(SCALES):
        for stage, config in stages(scale).items():
            unit = "conversations" if config.data.format == "chat" else "tokens"
            for source in config.data.sources:
                values = {
                    "share": f"{source.share:.0%}",
                    "of": unit,
                    "source": source.dataset or source.kind,
                    "tokenizer": config.data.tokenizer,
                }
                cells = tuple(_cell(text, what, scale) for what, text in values.items())
                rows.append(Row(f"{scale}/{stage}/{source.name}", cells))
    chat = stages(FULL)["sft"].data
    return Table(
        name="pipeline.mixes",
        caption=f"The data of `{RECIPE}`: sources and shares asked for. What a run was given "
        "stands in its section's scope.",
        corner="scale/stage/source",
        columns=(
            Column("share"),
            Column("of", left=True),
            Column("source", left=True),
            Column("tokenizer", left=True),
        ),
        rows=tuple(rows),
        notes=(
            f"At {FULL}: {chat.conversations:,} conversations in ChatML, loss on the assistant's "
            f"tokens alone, a small source repeating up to {chat.max_epochs} times; whole "
            f"conversations packed in sequences of {chat.seq_len:,} tokens.",
        ),
        command=f"smol show {RECIPE} --scale {FULL}",
    )


def commands() -> Table:
    """The pipeline, from raw source to a model that one can talk to."""
    configs = stages(FULL)
    first = configs["pretrain"]
    tokens = first.data.train_tokens
    length = f"{QUICK_UPDATES * first.tokens_per_update}"
    known = {
        "all": ("both stages, data included", f"smol run {RECIPE} --scale {FULL}"),
        "data-pretrain": (
            "the pretraining mix alone",
            f"smol data prepare pretrain --target-tokens {tokens} --out DIR",
        ),
        "data-sft": ("the conversations alone", "smol data prepare sft --out DIR"),
        "data-python-edu": (
            "Python files, a third source",
            "smol data prepare python-edu --blobs FILE --out DIR",
        ),
        "pretrain": ("the first stage", f"smol run {RECIPE} --scale {FULL} --stage pretrain"),
        "sft": ("the second, from the first", f"smol run {RECIPE} --scale {FULL} --stage sft"),
        "chat": ("talk to the result", f"smol chat {RECIPE}/base/0/sft --scale {FULL}"),
        "quick-test": (
            f"both stages; {QUICK_TOKENS:,} pretraining tokens, {QUICK_UPDATES} updates a stage",
            f"smol run {RECIPE} --scale {FULL} --set data.train_tokens={QUICK_TOKENS} "
            f"--set train.tokens={length} --set sft.train.tokens={length}",
        ),
        "without-a-hub": ("the same on embedded text", f"smol run {RECIPE} --scale smoke"),
    }
    return Table(
        name="pipeline.commands",
        caption="The pipeline's commands.",
        corner="step",
        columns=(Column("what", left=True), Column("command", left=True)),
        rows=tuple(
            Row(step, (_cell(what, "what the command does", FULL), _cell(f"`{text}`", step, FULL)))
            for step, (what, text) in known.items()
        ),
        command=f"smol show {RECIPE} --scale {FULL}",
    )


def issues() -> Table:
    """The seed card's known issues, and their state here."""
    known = {
        "python-edu": (
            "the subset of the SmolLM corpus holds blob ids, no code",
            "solved: `smol data prepare python-edu` downloads the blobs from Software Heritage's "
            "bucket, many at a time, counts what is gone, and resumes; not part of the default mix",
        ),
        "tensor-format": (
            "folders prepared elsewhere hold plain lists, not tensors",
            "solved: `smol run --data DIR` reads lists and tensors alike",
        ),
    }
    columns = (Column("problem", left=True), Column("state", left=True))
    return Table(
        name="pipeline.issues",
        caption="Known issues of the seed card's pipeline, and their state.",
        corner="issue",
        columns=columns,
        rows=tuple(
            Row(name, tuple(Cell(text, (), "known issue", "as documented", 0) for text in texts))
            for name, texts in known.items()
        ),
        command="smol data prepare --help",
    )


def datasets() -> list[str]:
    """Ids on the Hub that the pipeline reads at `full`."""
    return [
        source.dataset
        for config in stages(FULL).values()
        for source in config.data.sources
        if source.dataset
    ]
