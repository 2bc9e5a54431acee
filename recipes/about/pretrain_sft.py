"""What `pretrain_sft` will do, from its resolved configurations: commands, data, settings, issues.

Generated from the configurations that a run would use, so that they cannot say otherwise. No
record is behind them: their cells name the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from harness.config import RunConfig, Source, as_before, flatten
from harness.plan import grid
from harness.recipe import SCALES, Scale, find
from harness.report.columns import Measure, given, tabulate
from harness.report.table import Cell, Table, plain

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


def about(_: object) -> list[str | Table]:
    """The recipe's page below its results: the order of a reader who wants to run it."""
    return [
        "## What it does\n\n"
        "Two stages: pretraining, then fine-tuning on conversations from its weights. Documents "
        "are split before packing, tokenized with byte-level BPE, joined by an end-of-document "
        "token and packed into sequences of one length; conversations are packed whole. The "
        "hand-over is proven by an equal loss on a probe batch before saving and after loading.",
        commands(),
        mixes(),
        hyperparameters(),
        settings(),
        issues(),
    ]


def _cell(said: str, what: str, scale: str) -> Cell:
    """A value of the configuration at a scale: no record is behind it."""
    return plain(said, (), what, f"resolved configuration of {RECIPE} at {scale}")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.12g}"


Staged = tuple[str, RunConfig]
"""A scale, and the configuration of one of its stages."""


def _of_stage(name: str, value: Callable[[RunConfig], float], unit: str = "") -> Measure[Staged]:
    return given(name, lambda row: _cell(_number(value(row[1])), name, row[0]), unit)


HYPERPARAMETERS = (
    _of_stage("muon_lr", lambda c: c.optim.muon_lr),
    _of_stage("adamw_lr", lambda c: c.optim.adamw_lr),
    _of_stage("micro_batch", lambda c: c.batch.micro_batch, "sequences"),
    _of_stage("grad_accum", lambda c: c.batch.grad_accum, "micro-steps"),
    _of_stage("seq_len", lambda c: c.data.seq_len, "tokens"),
    _of_stage("sequences", lambda c: c.sequences_per_update, "an update"),
    _of_stage("tokens", lambda c: c.tokens_per_update, "an update"),
    _of_stage("updates", lambda c: round(c.train.tokens / c.tokens_per_update)),
)


def hyperparameters() -> Table:
    """A row a scale and stage: learning rates and what makes an update."""
    return tabulate(
        "pipeline.hyperparameters",
        f"Key hyperparameters of the stages of `{RECIPE}`.",
        "scale/stage",
        HYPERPARAMETERS,
        [
            (f"{scale}/{stage}", (scale, config))
            for scale in reversed(SCALES)
            for stage, config in stages(scale).items()
        ],
        notes=("A device profile may trade micro_batch against grad_accum; their product stays.",),
        command=f"smol show {RECIPE} --scale {FULL}",
    )


def settings() -> Table:
    """Every field of optimizer, schedule, batch and training at `full`, stage by stage."""
    fields = {stage: flatten(as_before(config)) for stage, config in stages(FULL).items()}
    first = next(iter(fields.values()))

    def of_stage(stage: str) -> Measure[str]:
        return given(stage, lambda path: _cell(_text(fields[stage][path]), path, FULL))

    return tabulate(
        "pipeline.settings",
        f"Every setting of the stages of `{RECIPE}` at `{FULL}`: nothing is left to a "
        "library's default.",
        "field",
        [of_stage(stage) for stage in fields],
        [(path, path) for path in first if path.startswith(SETTINGS)],
        command=f"smol show {RECIPE} --scale {FULL}",
    )


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, int | float) else str(value)


def _of_source(
    name: str, value: Callable[[Source, RunConfig], str], *, left: bool = True
) -> Measure[tuple[str, RunConfig, Source]]:
    return given(name, lambda row: _cell(value(row[2], row[1]), name, row[0]), left=left)


SOURCES = (
    _of_source("share", lambda source, _: f"{source.share:.0%}", left=False),
    _of_source("of", lambda _, c: "conversations" if c.data.format == "chat" else "tokens"),
    _of_source("source", lambda source, _: source.dataset or source.kind),
    _of_source("tokenizer", lambda _, config: config.data.tokenizer),
)


def mixes() -> Table:
    """A row a source of each stage and scale: where it comes from, and its share."""
    chat = stages(FULL)["sft"].data
    return tabulate(
        "pipeline.mixes",
        f"The data of `{RECIPE}`: sources and shares asked for. What a run was given "
        "stands in its section's scope.",
        "scale/stage/source",
        SOURCES,
        [
            (f"{scale}/{stage}/{source.name}", (scale, config, source))
            for scale in reversed(SCALES)
            for stage, config in stages(scale).items()
            for source in config.data.sources
        ],
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
    return tabulate(
        "pipeline.commands",
        "The pipeline's commands.",
        "step",
        [
            given("what", lambda row: _cell(row[1][0], "what the command does", FULL), left=True),
            given("command", lambda row: _cell(f"`{row[1][1]}`", row[0], FULL), left=True),
        ],
        [(step, (step, said)) for step, said in known.items()],
        command=f"smol show {RECIPE} --scale {FULL}",
    )  # fmt: skip


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

    def said(name: str, place: int) -> Measure[tuple[str, str]]:
        return given(
            name, lambda row: plain(row[place], (), "known issue", "as documented"), left=True
        )

    return tabulate(
        "pipeline.issues",
        "Known issues of the seed card's pipeline, and their state.",
        "issue",
        [said("problem", 0), said("state", 1)],
        list(known.items()),
        command="smol data prepare --help",
    )
