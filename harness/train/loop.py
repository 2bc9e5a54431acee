"""The training loop of one run: it fits on a screen, and knows nothing of processes or records."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.data.batches import TrainStream, Validation
from harness.errors import RequestError
from harness.launch.protocol import MetricsLog, RunFiles
from harness.machine import devices
from harness.machine.clocks import GpuWatch
from harness.optim.build import Optimizers
from harness.optim.schedule import factor
from harness.plan.runs import Run
from harness.records import gates
from harness.seeds import derive
from harness.train import state
from harness.train.evaluate import Score, by_document, evaluate, expert_use
from harness.train.graphs import CompileWatch
from harness.train.progress import Progress
from harness.train.ranks import Ranks
from harness.train.update import Pending, UpdateResult, begin, update
from models.config import expected_initial_loss, known_flops_per_token
from models.lm import LanguageModel


class Diverged(Exception):
    """A loss or gradient stopped being finite."""


class Stopped(Exception):
    """Asked to stop; the state is saved."""


@dataclass(frozen=True)
class Workplace:
    """Where a loop works, and what its process does for it."""

    device: torch.device
    ranks: Ranks
    files: RunFiles
    log: MetricsLog
    source_digest: str
    save: Callable[[], None]
    """Writes the rolling checkpoint."""
    should_stop: Callable[[], bool]
    """Asked before each update."""
    answer: Callable[[LanguageModel], list[dict[str, Any]]]
    """What the model says to the stage's prompts."""
    watch: CompileWatch
    gpu: GpuWatch


class _Open(NamedTuple):
    """An update that was begun and is not noted yet."""

    made: UpdateResult | Pending
    number: int
    rate_factor: float
    started: float
    targets: np.ndarray


class Loop:
    """One run's loop over updates, with what it needs to do them."""

    def __init__(
        self,
        run: Run,
        model: LanguageModel,
        optimizers: Optimizers,
        stream: TrainStream,
        validation: Validation,
        progress: Progress,
        workplace: Workplace,
    ) -> None:
        self.run, self.model, self.optimizers = run, model, optimizers
        self.stream, self.validation, self.progress = stream, validation, progress
        self.at, self.device, self.ranks = workplace, workplace.device, workplace.ranks
        per_token = known_flops_per_token(run.config.model, run.config.data.seq_len)
        self.behind = devices.of(self.device.type).runs_behind
        self._open: _Open | None = None
        self._read_at = 0.0
        self.flops_per_update = per_token and run.config.tokens_per_update * per_token

    def go(self) -> None:
        """Train to the run's last update; what is finished is not done again.

        Raises Diverged, or Stopped once the state is saved.
        """
        try:
            self._go()
        finally:
            if self._open is not None:  # an error came first: nobody has seen its loss
                self.progress.update = self._open.number

    def _go(self) -> None:
        run, train, progress = self.run, self.run.config.train, self.progress
        if progress.finished:
            return
        if progress.update == 0 and run.start in ("final", "given") and not progress.validation:
            self._validate()  # what the stage begins with, on what it is to learn
        if progress.update == 0 and not progress.samples_before:
            progress.samples_before = self._answers()
        while progress.update < run.last_update:
            if self.at.should_stop():
                self._settle()
                self._checkpoint()
                raise Stopped
            self._update()
            if progress.update == run.last_update and run.endpoints:
                self._reach_horizons()
            elif progress.update % train.eval_every == 0:
                self._validate()
            if progress.update in run.branch_at:
                self._branch()
            if progress.update % train.checkpoint_every == 0 < run.last_update - progress.update:
                self._checkpoint()
        progress.samples_after = self._answers()
        progress.finished = True
        self._checkpoint()

    def _answers(self) -> list[dict[str, Any]]:
        started = time.perf_counter()
        with self.optimizers.judged():
            answers = self.at.answer(self.model)
        self.progress.eval_seconds += time.perf_counter() - started
        return answers

    def _update(self) -> None:
        run, config, progress = self.run, self.run.config, self.progress
        number = progress.update
        self.at.gpu.updating = True
        rate_factor = factor(config.schedule, number, run.decay_start, run.last_update)
        started = time.perf_counter()
        sequences = config.sequences_per_update
        batch = self.stream.rows(number * sequences, sequences)
        progress.data_seconds += time.perf_counter() - started
        if self.ranks.count > 1:
            # Not the same noise in each; and of no earlier state, so that any number may go on.
            torch.manual_seed(derive(run.seed, f"noise of update {number}, {self.ranks.rank}"))
        made = (begin if self.behind else update)(
            self.model, self.optimizers, batch, micro_batch=config.batch.micro_batch,
            clip_norm=config.optim.clip_norm, factor=rate_factor, device=self.device,
            ranks=self.ranks,
        )  # fmt: skip
        self._settle()  # the one before, while the device works on this one
        progress.update += 1
        self._open = _Open(made, number, rate_factor, started, batch.targets)
        looked_at = self._is_looked_at()
        if not self.behind or looked_at:
            self._settle()
        self.at.gpu.updating = not looked_at
        if (why := self.at.watch.look(progress.update)) is not None:
            self.at.log.append("uncompiled", note=f"{run.name}: {why}")

    def _is_looked_at(self) -> bool:
        """Whether anything follows that takes the weights as they are now, or their time."""
        run, train, done = self.run, self.run.config.train, self.progress.update
        every = (train.eval_every, train.checkpoint_every)
        return (
            done == run.last_update
            or done in run.branch_at
            or any(done % one == 0 for one in every)
        )  # fmt: skip

    def _settle(self) -> None:
        """Read and note the update that is open, if one is. Raises Diverged."""
        run, config, progress, one = self.run, self.run.config, self.progress, self._open
        if one is None:
            return
        self._open = None
        result = one.made if isinstance(one.made, UpdateResult) else one.made.read()
        now = time.perf_counter()
        # An update that was begun while the device was busy with the one before is timed from
        # there: so what is between two readings is counted once.
        seconds, self._read_at = now - max(one.started, self._read_at), now
        if not (result.loss - result.loss == 0.0 and result.grad_norm - result.grad_norm == 0.0):
            progress.update = one.number
            raise Diverged(
                f"loss {result.loss}, gradient norm {result.grad_norm} at update {one.number}"
            )
        progress.update_seconds.append(seconds)
        if one.number == 0 and run.start == "init":
            self._check_initial(result.loss, one.targets)
        point = {
            "update": one.number + 1,
            "tokens": (one.number + 1) * config.tokens_per_update,
            "loss": result.loss,
            "learning_rate_factor": one.rate_factor,
            "grad_norm": result.grad_norm,
        }
        progress.training.append(point)
        self.at.log.append("update", **point, seconds=round(seconds, 6))

    def _check_initial(self, loss: float, targets: np.ndarray) -> None:
        """Before the rest is computed: a record could not be kept. Raises RequestError."""
        fault = gates.initial_loss(loss, expected_initial_loss(self.run.config.model))
        if fault is not None:
            odd = gates.odd_targets(targets)
            raise RequestError(f"{fault}; {odd}" if odd else fault)
        self.progress.initial_loss = loss

    def _validate(self) -> tuple[dict[str, Any], Score]:
        config, progress = self.run.config, self.progress
        started = time.perf_counter()
        with self.optimizers.judged():
            score = evaluate(
                self.model, self.validation, config.train.eval_batch, self.device, self.ranks
            )
        progress.eval_seconds += time.perf_counter() - started
        point = {
            "update": progress.update,
            "tokens": progress.update * config.tokens_per_update,
            "flops": self.flops_per_update and progress.update * self.flops_per_update,
            "seconds": progress.seconds,
            "val_loss": score.loss,
            "bits_per_byte": score.bits_per_byte,
        }
        progress.validation.append(point)
        self.at.log.append("validation", **point)
        return point, score

    def _reach_horizons(self) -> None:
        point, score = self._validate()
        parts = by_document(score, self.validation)
        started = time.perf_counter()
        if (other := self.validation.second) is not None:
            rows = self.run.config.train.eval_batch
            with self.optimizers.judged():
                second = evaluate(self.model, other, rows, self.device, self.ranks)
            parts["second"] = {
                "loss": second.loss, "bits_per_byte": second.bits_per_byte,
                **by_document(second, other),
            }  # fmt: skip
        self.progress.ends = [{"horizon": e.horizon, **point, **parts} for e in self.run.endpoints]
        with self.optimizers.judged():
            use = expert_use(
                self.model, self.validation, self.run.config.train.eval_batch, self.device,
                self.ranks,
            )  # fmt: skip
        self.progress.eval_seconds += time.perf_counter() - started
        self.progress.experts = use.model_dump() if use else None

    def _branch(self) -> None:
        if not self.ranks.leads:
            return
        started = time.perf_counter()
        path = self.at.files.branch(self.progress.update, self.at.source_digest)
        state.save_branch(
            path, self.run.key, self.model, self.optimizers, self.progress, self.validation,
            self.device,
        )  # fmt: skip
        self.progress.checkpoint_seconds += time.perf_counter() - started

    def _checkpoint(self) -> None:
        started = time.perf_counter()
        self.at.save()
        self.progress.checkpoint_seconds += time.perf_counter() - started
        self.at.log.append("checkpoint", update=self.progress.update)
