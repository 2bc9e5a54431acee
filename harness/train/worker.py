"""The child process: executes one job and leaves its record. `python -P -m harness.train.worker`.

Exit code 0 when the record says `ok`, 1 when it says otherwise, 2 when there was nothing to run.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

import models
from harness.code import provenance
from harness.data.batches import TrainStream, Validation, read_validation
from harness.data.manifest import Prepared, load_folder
from harness.errors import RequestError
from harness.files import write_atomically
from harness.launch import account
from harness.launch.protocol import Job, MetricsLog, RunFiles
from harness.machine import devices, hardware, surroundings
from harness.optim import build
from harness.records import store
from harness.records.schema import Launch, Memory, Record, Status
from harness.seeds import derive
from harness.train import allocator, compiled, handover, samples, state
from harness.train.loop import Diverged, Loop, Stopped
from harness.train.progress import Progress
from models import own
from models.dtypes import DTYPES
from models.lm import LanguageModel, ParameterCount, count_parameters

ORPHAN_SECONDS = 120.0
"""How long to wait for another process that holds this run."""


class Worker:
    """One job in one process."""

    def __init__(self, job: Job) -> None:
        """Nothing heavy happens before `execute`."""
        self.job, self.run, self.files = job, job.run, job.files
        self.log = MetricsLog(self.files.metrics)
        self.progress: Progress | None = None
        self.prepared: Prepared | None = None
        self.counted: ParameterCount | None = None
        self.load_before = hardware.load_average()
        self.meter = surroundings.Meter.read() if job.launch else None
        self._stop = False
        self._parent = os.getppid()

    def execute(self) -> Record:
        """Train, and write the record whatever the end. Returns the record."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask_to_stop)
        self.log.append("start", pid=os.getpid(), key=self.run.key, first=self.run.first_update,
                        last=self.run.last_update)  # fmt: skip
        status, error = self._ending(self._train)
        record = account.record(
            self.job, status, error, progress=self.progress,
            manifest=self.prepared.manifest if self.prepared else None,
            memory=peak_memory(self.run.device), load_before=self.load_before,
            counted=self.counted, compile_seconds=compile_seconds(), launch=self._launch(),
        )  # fmt: skip
        store.write(Path(self.job.results), record)
        self._summarise(record)
        self.log.append("end", status=status, error=error)
        return record

    def _ending(self, train: Callable[[], None]) -> tuple[Status, str | None]:
        try:
            train()
        except Stopped:
            return "killed", "interrupted; its state is saved"
        except Diverged as error:
            return "diverged", str(error)
        except RequestError as error:
            return "failed", str(error)
        except (MemoryError, torch.OutOfMemoryError) as error:
            return "oom", _line(error)
        except Exception as error:
            traceback.print_exc()
            if "can't allocate memory" in str(error):  # torch's CPU allocator says so, untyped
                return "oom", _line(error)
            return "failed", _line(error)
        return "ok", None

    def _train(self) -> None:
        run, config = self.run, self.run.config
        torch.set_num_threads(config.train.threads)
        torch.use_deterministic_algorithms(devices.of(run.device).deterministic)
        # It would fill every new tensor with NaN: a tenth of an update, to find errors of ours.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        device = torch.device(run.device)
        self.prepared = load_folder(Path(self.job.data_folder))
        masked = config.train.document_mask
        stream = TrainStream(self.prepared.folder, derive(run.seed, "data"), documents=masked)
        validation = read_validation(self.prepared.folder, row_documents=masked)
        torch.manual_seed(derive(run.seed, "noise"))
        model = LanguageModel(
            config.model, DTYPES[config.train.dtype], kernels=config.train.kernels,
            recompute=config.train.recompute,
        )  # fmt: skip
        model.init_weights(derive(run.seed, "init"))
        model.to(device)
        self.counted = count_parameters(model)
        if config.train.compile == "auto":
            raise RequestError("train.compile=auto is for the plan to resolve")
        compiled.apply(model, config.train.compile, device)
        optimizers = build.build(config.optim, model)
        digest = self.job.code.source_digest
        self.progress = state.resume(
            self.files.checkpoint, run.key, digest, model, optimizers
        ) or self._begin(model, optimizers, validation, device)
        progress = self.progress
        if progress.resumed:
            self.log.append("resume", update=progress.update)
        progress.setup_seconds += time.time() - self.job.launched_at

        def save(finished: bool) -> None:
            before = progress.wall_seconds
            progress.wall_seconds = before + time.time() - self.job.launched_at
            state.save_rolling(
                self.files.checkpoint, run.key, digest, model, optimizers, progress,
                finished=finished,
            )  # fmt: skip
            progress.wall_seconds = before

        Loop(
            run, model, optimizers, stream, validation, progress, device=device,
            files=self.files, log=self.log, source_digest=digest, save=save,
            should_stop=self._should_stop, answer=self._answer,
        ).go()  # fmt: skip
        metrics = {"ends": progress.ends, "last_update": progress.update}
        state.save_final(
            self.files.final, run.key, digest, config, model, metrics, validation, device
        )

    def _answer(self, model: LanguageModel) -> list[dict[str, Any]]:
        """To the stage's prompts, in the format of its data."""
        if not self.run.prompts or self.prepared is None:
            return []
        chat = self.run.config.data.format == "chat"
        found = samples.answer(model, self.run.prompts, self.prepared.folder, chat=chat)
        return [one.model_dump() for one in found]

    def _begin(
        self,
        model: LanguageModel,
        optimizers: build.Optimizers,
        validation: Validation,
        device: torch.device,
    ) -> Progress:
        run, code = self.run, self.job.code.source_digest
        if run.start == "init":
            return Progress(update=0, seconds_before=0.0)
        if run.start == "given":
            if self.job.given is None:
                raise RequestError(f"{run.name} starts from {run.given}: nobody says where it is")
            return handover.from_given(Path(self.job.given), model, validation, device)
        if self.job.parent_folder is None or run.parent is None:
            raise RequestError(f"{run.name} starts from run {run.parent}, whose folder is unknown")
        parent = RunFiles(Path(self.job.parent_folder))
        if run.start == "final":
            known = (run.parent, code)
            return handover.from_final(parent.final, model, device, parent=known)
        branch = parent.branch(run.first_update, code)
        return state.start_from_branch(branch, run.parent, model, optimizers, validation, device)

    def _launch(self) -> Launch | None:
        """A timed job's launch, with what was seen around it and after it."""
        launch = self.job.launch
        if launch is None or launch.before is None or self.meter is None:
            return None
        during = surroundings.Meter.read().others_since(self.meter)
        after = surroundings.state(self.run.device, during)
        resumed = self.progress.resumed if self.progress else 0
        reason = surroundings.contamination(launch.before, during, after, resumed=resumed)
        return launch.model_copy(update={"after": after, "contaminated": reason})

    def _summarise(self, record: Record) -> None:
        keep = {
            "key", "status", "error", "updates_done", "tokens_done", "validation", "training",
            "ends", "timing", "stage", "config", "tokens_per_update", "handover_loss", "samples",
        }  # fmt: skip
        summary = record.model_dump_json(include=keep, indent=1)
        write_atomically(self.files.summary, summary + "\n")

    def _ask_to_stop(self, number: int, frame: object) -> None:
        self._stop = True

    def _should_stop(self) -> bool:
        # A worker whose launcher died must not go on in the dark.
        return self._stop or os.getppid() != self._parent


def compile_seconds() -> float:
    """Seconds that torch's compiler has taken in this process, forward and backward graphs.

    From the compiler's own clocks: a frame's whole compilation, and the backward graphs that it
    compiles later.
    """
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is None:
        return 0.0
    clocks = dynamo.compilation_time_metrics
    outermost = ("_compile.compile_inner", "backward._backward_impl")
    return round(sum(sum(clocks.get(name, ())) for name in outermost), 6)


def peak_memory(device: str) -> Memory:
    """Peak of the device's own allocator, else the resident memory of this process."""
    if devices.of(device).own_memory:
        peak = torch.get_device_module(device).max_memory_allocated()
        return Memory(peak_bytes=peak, kind=device)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return Memory(peak_bytes=peak, kind="rss")


def _line(error: BaseException) -> str:
    """One line; with file and line number where a part that is not ours is at fault."""
    return own.where(error) or own.said(error)


def main() -> int:
    """Execute the job whose file is the only argument."""
    allocator.keep_freed_memory()
    job = Job.model_validate_json(Path(sys.argv[1]).read_text("utf-8"), strict=False)
    if provenance.ROOT not in Path(next(iter(models.__path__))).resolve().parents:
        print(f"'models' is not the harness's own package: {models.__path__}", file=sys.stderr)
        return 2
    try:
        # An orphan of a killed launcher may still be saving its state: it notices, and stops.
        with FileLock(job.files.lock, timeout=ORPHAN_SECONDS):
            record = Worker(job).execute()
    except Timeout:
        print("another process is working on this run", file=sys.stderr)
        return 2
    return 0 if record.status == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
