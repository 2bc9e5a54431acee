"""From what a run did to its record. Shared by the child and by the parent of a dead child.

May not import torch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.code import provenance
from harness.launch.protocol import Job
from harness.machine import devices, flops
from harness.records import store
from harness.records.schema import (
    Compilation,
    DataUse,
    Launch,
    Memory,
    Record,
    SecondUse,
    Status,
)
from harness.records.seen import GpuUse
from models.config import active_parameters, expected_initial_loss, total_parameters

if TYPE_CHECKING:
    from harness.data.manifest import Manifest, SecondText
    from harness.train.progress import Progress


@dataclass(frozen=True)
class Observed:
    """What a run's own process knows of it. A parent that writes for a dead child knows nothing."""

    progress: Progress | None = None
    """How far the run came; None where it did not begin, and then nothing was timed."""
    manifest: Manifest | None = None
    """The manifest of the data that it was to train on."""
    memory: Memory | None = None
    load_before: float | None = None
    """The machine's load before the run began."""
    parameters: tuple[int, int] | None = None
    """Total and active parameters of the model that was built; None takes the formula's."""
    compile_seconds: float | None = None
    compilation: Compilation | None = None
    """None where nothing was to be compiled."""
    launch: Launch | None = None
    """A timed job's launch, with what was seen around and after it."""
    gpu_use: GpuUse | None = None
    """What the GPU did during updates."""


NOTHING = Observed()


def made_elsewhere(job: Job) -> Record | None:
    """The record of another process that finished the job's run since it was planned."""
    run = job.run
    return store.finished_since(Path(job.results), run.recipe, run.arm, run.key, job.attempts)


def record(
    job: Job, status: Status, error: str | None, *, attempt: int, observed: Observed = NOTHING
) -> Record:
    """The record of a run, as far as it got.

    `attempt` is `store.next_attempt`, asked under the run's lock by whoever writes the record.
    """
    run, config, progress = job.run, job.run.config, observed.progress
    machine = devices.of(run.device).machine(observed.load_before)
    updates = progress.update if progress else 0
    formula = total_parameters(config.model), active_parameters(config.model)
    total, active = observed.parameters or formula
    per_update = config.tokens_per_update
    validation, training, ends = progress.curves() if progress else ((), (), ())
    timing = None
    if progress:
        wall = progress.wall_seconds + time.monotonic() - job.launched_at
        timing = progress.timing(
            per_update, wall, job.concurrent_runs,
            compile_seconds=observed.compile_seconds, launch=observed.launch,
        )  # fmt: skip
    return Record(
        schema_version=1,
        key=run.key,
        attempt=attempt,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        recipe=run.recipe,
        arm=run.arm,
        arm_values=job.arm_values,
        stage=run.stage,
        seed=run.seed,
        repeat=run.repeat,
        scale=run.scale,
        device=run.device,
        world_size=run.world_size,
        profile=run.profile,
        parent=run.parent,
        status=status,
        error=error,
        question=job.question,
        config=config.model_dump(mode="json"),
        diff=job.diff,
        first_update=run.first_update,
        last_update=run.last_update,
        updates_done=updates,
        tokens_per_update=per_update,
        tokens_done=updates * per_update,
        total_parameters=total,
        active_parameters=active,
        initial_loss=progress.initial_loss if progress else None,
        expected_initial_loss=expected_initial_loss(config.model),
        handover_loss=progress.handover_loss if progress else None,
        given=run.given,
        stage_diff=run.stage_diff,
        samples=progress.answers() if progress else None,
        validation=validation,
        training=training,
        ends=ends,
        experts=progress.expert_use() if progress else None,
        timing=timing,
        compilation=observed.compilation,
        memory=observed.memory,
        gpu_use=observed.gpu_use,
        flops=flops.account(
            config,
            machine.gpu,
            timing.steady_tokens_per_second if timing else None,
            devices=run.world_size,
        ),
        data=data_use(observed.manifest, updates * per_update) if observed.manifest else None,
        hardware=machine,
        software=provenance.software(),
        code=job.code,
        command=job.command,
        predicted_seconds=job.predicted_seconds,
    )


def data_use(manifest: Manifest, tokens_done: int) -> DataUse:
    """The record's data section from a manifest and the tokens consumed."""
    return DataUse(
        manifest_digest=manifest.digest,
        tokenizer_digest=manifest.tokenizer_digest,
        train_tokens=manifest.train_tokens,
        epochs=tokens_done / manifest.train_tokens,
        val_tokens=manifest.val_scored_tokens,
        val_bytes=manifest.val_scored_bytes,
        val_documents=manifest.val_documents,
        unigram_val_loss=manifest.unigram_val_loss,
        unigram_bits_per_byte=manifest.unigram_bits_per_byte,
        mix={source.name: source.achieved_share for source in manifest.sources},
        second=_second_use(manifest.second) if manifest.second else None,
    )


def _second_use(text: SecondText) -> SecondUse:
    return SecondUse(
        mix=text.mix,
        tokens=text.scored_tokens,
        bytes=text.scored_bytes,
        documents=text.documents,
        unigram_loss=text.unigram_loss,
    )
