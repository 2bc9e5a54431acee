"""The record: what one run leaves, whatever its end. Immutable; validated on write and on read.

A record is self-contained: it carries what its recipe asked, so that views and cards are functions
of records alone. No host name, user name or absolute path ever enters it.
"""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from harness.config import Frozen, Name
from harness.records.seen import GpuUse, MachineState

SCHEMA_VERSION = 1


def one_command(text: str) -> str:
    """A command that people are told to paste: `smol` with its words, and nothing that a shell or
    a code span would read as more. Raises ValueError for any other."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    plain = shlex.join(words) == text and text.isprintable() and "`" not in text
    if not plain or words[:1] != ["smol"]:
        raise ValueError("it is not a single `smol` command, quoted as a shell needs it")
    return text


Command = Annotated[str, AfterValidator(one_command)]
Status = Literal["ok", "diverged", "oom", "killed", "failed"]


class Question(Frozen):
    """What the recipe asked beforehand, frozen into each record."""

    summary: str
    """The recipe's first line."""
    metric: Name
    at: Name
    """Horizon of the primary question."""
    pairs: tuple[tuple[Name, Name], ...]
    """(reference arm, arm)."""
    seeds: int
    """Seeds per arm that the recipe froze for this scale."""
    first_seed: int = 0
    """They are this and those that follow."""
    looks: tuple[float, ...] = ()
    """The level of each look of a sequential design, from three seeds on
    (`harness.stats.sequential`); its `seeds` are the most that it may take. None where the number
    of seeds is fixed."""
    role: str = ""
    """What the recipe is for (`harness.recipe.Role`), where others make use of its records."""
    tuned_by: Name | None
    """The search recipe that chooses the arms' settings; None names none."""
    arms: tuple[Name, ...]
    """The arms' names, in the recipe's order."""
    notes: dict[Name, str]
    """Arm -> remark."""
    horizons: tuple[Name, ...]
    stages: tuple[Name, ...] = ()
    """Parents before children; none where a recipe has none."""
    views: tuple[str, ...]
    margin: float | None = None
    """For a timing recipe: losses within this many nats a token are equivalent."""
    equivalent: float | None = None
    """Nats a token within which arms are called equivalent; None is the effect of 2 % more tokens
    at that point of the reference's curve."""
    fewest: int | None = None
    """For a timing recipe: the blocks below which no ratio is given."""
    choices: dict[str, str] = Field(default_factory=dict)
    """Fields that the plan resolved from `auto` -> what was chosen, and why."""
    overrides: dict[str, Any]
    """`--set` of the command; anything here marks the result exploratory."""

    @property
    def frozen_seeds(self) -> range:
        """The seeds that the recipe froze."""
        return range(self.first_seed, self.first_seed + self.seeds)


class EvalPoint(Frozen):
    """One validation during training."""

    update: int
    """Updates made, counted from the stem's start."""
    tokens: int
    """Training tokens consumed, counted from the stem's start."""
    flops: float | None
    """Active training FLOPs spent, causal attention, counted from the stem's start; None where
    those of a part are not known."""
    seconds: float
    """The time of updates alone (no validation, checkpoint or set-up), from the stem's start."""
    val_loss: float
    """Mean cross-entropy, nats a token."""
    bits_per_byte: float | None
    """None where the data's tokenizer is unknown."""


class TrainPoint(Frozen):
    """The training loss at one update (thinned to at most 200 points)."""

    update: int
    tokens: int
    loss: float
    """Cross-entropy, nats a target token, mean over the update."""
    learning_rate_factor: float
    grad_norm: float


class SecondScore(Frozen):
    """The score of the second text where a horizon ended."""

    loss: float
    """Nats a token; documents as those of `HorizonEnd`."""
    bits_per_byte: float | None
    document_nats: tuple[float, ...]
    document_tokens: tuple[int, ...]


class HorizonEnd(Frozen):
    """The measured end of a horizon."""

    horizon: Name
    update: int
    tokens: int
    flops: float | None
    seconds: float
    """The time of updates alone, the stem's included."""
    val_loss: float
    bits_per_byte: float | None
    document_nats: tuple[float, ...] | None = None
    """Summed over each document's scored tokens, in the data's order, neighbours together where
    there are many (`train.evaluate.by_document`). None where it was not recorded."""
    document_tokens: tuple[int, ...] | None = None
    """Scored tokens of each; set exactly where `document_nats` is."""
    second: SecondScore | None = None
    """None where the data has no second text."""


class ExpertUse(Frozen):
    """Where the router sent the validation tokens at the end of a run."""

    tokens: int
    """Tokens routed, each to `top_k` experts."""
    load: tuple[tuple[int, ...], ...]
    """Layer by layer, token copies that each expert took; a layer sums to tokens x top_k unless
    copies were dropped."""
    entropy: tuple[float, ...]
    """Layer by layer, mean entropy of a token's routing distribution, nats; ln(experts) is a
    router that does not choose."""


class Launch(Frozen):
    """What makes a run a timing run."""

    campaign: str
    """The same for all launches of one command: when it began, UTC."""
    place: int
    """Which launch of the campaign it was, counted from 0."""
    cache: Literal["private", "shared"]
    """Whether the cache of compiled code was empty at the start (cold) or the user's own (warm)."""
    before: MachineState | None = None
    after: MachineState | None = None
    contaminated: str | None = None
    """Why it does not count; None where it does."""


class Answer(Frozen):
    """What a model said to a prompt, greedily."""

    prompt: str
    text: str
    tokens: int
    """How many tokens were generated, with the one that ended the answer."""
    ended: bool
    """Whether the answer ended by itself, at its end-of-turn or end-of-text token, and not at the
    most tokens that it was given."""


class Samples(Frozen):
    """A stage's prompts, answered before its first update and after its last."""

    before: tuple[Answer, ...]
    after: tuple[Answer, ...]


class Timing(Frozen):
    """Seconds on a monotonic clock; every concern is timed apart."""

    update_seconds: tuple[float, ...]
    """Raw, one an update, in order; at most 5,000 kept."""
    updates: int
    """All updates that this record times, kept or not."""
    update_seconds_sum: float
    warmup_updates: int
    """Left out of the steady rate."""
    steady_tokens_per_second: float | None
    """Tokens after warm-up / their update seconds; None where nothing is left after warm-up."""
    setup_seconds: float
    """Process start to the first update: imports, data, model, optimizer, checkpoint loading."""
    eval_seconds: float
    checkpoint_seconds: float
    data_seconds: float
    """Waiting for batches; also inside update_seconds."""
    wall_seconds: float
    """Process start to the record."""
    timed: bool
    """A timing run: interleaved launches, nothing else running. False is description only."""
    concurrent_runs: int
    """Runs that the launcher allowed at once."""
    resumed: int
    """How often the run was interrupted and went on."""
    compile_seconds: float | None = None
    """Inside updates and evaluations: torch's compiler, forward and backward. None where it was
    not recorded."""
    launch: Launch | None = None
    """What a launch saw around itself; there exactly where the run is `timed`."""


class Compilation(Frozen):
    """What torch's compiler did in the process that ended the run."""

    graphs: int
    """Forward graphs that were compiled: one for each function and set of shapes."""
    breaks: int
    """Places at which a graph broke into two."""
    last_update: int | None
    """Updates that were done when the last graph was there; None where there was none."""
    uncompiled: str | None
    """Why the run, or a part of it, ran uncompiled although it was to be compiled; None where
    nothing did."""


class Memory(Frozen):
    """Peak memory of the process or its device."""

    peak_bytes: int
    kind: str
    """`rss`, resident in the process, or the name of the device whose allocator tells."""


class Flops(Frozen):
    """FLOPs accounting and utilisation."""

    per_token_causal: float
    per_token_noncausal: float
    peak_flops: float | None
    """The FLOPs a second that the device can reach in this precision; None for a device without a
    known peak."""
    peak_source: str | None
    mfu_causal: float | None
    mfu_noncausal: float | None


class SecondUse(Frozen):
    """A text that nothing was trained on or chosen by."""

    mix: dict[Name, float]
    """Share of its tokens by source."""
    tokens: int
    """Scored where a horizon ends."""
    bytes: int
    documents: int
    unigram_loss: float
    """Nats a token of the training tokens' unigram model."""


class DataUse(Frozen):
    """What was trained and validated on."""

    manifest_digest: str
    tokenizer_digest: str
    train_tokens: int
    """Available in one epoch."""
    epochs: float
    """Consumed up to this run's last update, the stem's included."""
    val_tokens: int
    """Scored in each validation."""
    val_bytes: int
    """UTF-8 bytes of the scored text; 0 where the tokenizer is unknown."""
    val_documents: int
    unigram_val_loss: float
    """Nats a token of the train split's unigram model on the same validation tokens."""
    unigram_bits_per_byte: float | None
    mix: dict[Name, float]
    """Achieved share of training tokens by source."""
    second: SecondUse | None = None
    """The second text; None where the data has none."""


class Hardware(Frozen):
    """The machine by kind, never by name."""

    device_class: str
    """GPU product, or CPU model and instruction set."""
    cpu: str
    cores: int
    memory_bytes: int
    gpu: str | None
    gpu_memory_bytes: int | None
    driver: str | None
    load_before: float | None
    """One-minute load average at the start."""
    load_after: float | None


class Code(Frozen):
    """Which code ran."""

    source_digest: str
    """The digest of the syntax trees of models/ and of the rooms that train."""
    behaviour_digest: str | None = None
    """The digest of the reference trajectories, where this source's are the committed ones and the
    run uses no Triton kernel; else None."""
    commit: str | None
    dirty: bool | None


class Record(Frozen):
    """One run."""

    schema_version: Literal[1]
    key: Name
    attempt: int
    created: str
    """UTC, ISO 8601, to the second."""
    recipe: Name
    arm: Name
    arm_values: dict[str, str]
    stage: Name
    seed: int
    repeat: int
    scale: Name
    device: Name
    """The kind, as `--device` takes it."""
    world_size: int
    """Processes that shared each update."""
    profile: str | None = None
    """The device profile that cut updates into micro-steps (`config.batch`); None where it left
    the recipe's split."""
    parent: Name | None
    status: Status
    error: str | None
    """One line for what is not `ok`."""
    question: Question
    config: dict[str, Any]
    """The resolved RunConfig."""
    diff: dict[str, Any]
    """Dotted fields in which the arm differs from the recipe's base."""
    first_update: int
    last_update: int
    """Planned, half-open."""
    updates_done: int
    """Updates made, counted from the stem's start."""
    tokens_per_update: int
    tokens_done: int
    total_parameters: int
    active_parameters: int
    initial_loss: float | None
    """Training loss of the first update of a run from scratch."""
    expected_initial_loss: float | None
    """What the initialisation implies: ln vocabulary + half the variance of the logits."""
    handover_loss: tuple[float, float] | None
    """A stage's proof: loss on a probe batch before saving (by the parent) and after loading."""
    given: str | None = None
    """The model that the user gave to start from, by its kind and digest; None where none was."""
    stage_diff: dict[str, Any] = Field(default_factory=dict)
    """Dotted fields in which a recipe's stage differs from its arm."""
    samples: Samples | None = None
    validation: tuple[EvalPoint, ...]
    training: tuple[TrainPoint, ...]
    ends: tuple[HorizonEnd, ...]
    experts: ExpertUse | None = None
    """How a mixture of experts used its experts, where a horizon ended."""
    timing: Timing | None
    compilation: Compilation | None = None
    """None where nothing was to be compiled, and in records from before it was looked at."""
    memory: Memory | None
    gpu_use: GpuUse | None = None
    """None on a device without such clocks, and in records from before it was looked at."""
    flops: Flops | None
    data: DataUse | None
    hardware: Hardware
    software: dict[str, str]
    """Package -> version; python and platform too."""
    code: Code
    command: Command
    """Reproduces the run's recipe at this scale."""
    predicted_seconds: float | None = None
    """How long the whole process (`timing.wall_seconds`) would take, as forecast before it started;
    None where no rate was known."""

    @property
    def name(self) -> str:
        """`recipe/arm/seed/stage`."""
        return f"{self.recipe}/{self.arm}/{self.seed}/{self.stage}"
