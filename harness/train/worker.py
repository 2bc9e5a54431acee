"""The child process: executes one job and leaves its record. Started by `harness.train.__main__`.

Exit code 0 when the record says `ok`, 1 when it says otherwise, 2 when there was nothing to run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from pydantic import ValidationError

import models
from harness.code import provenance
from harness.data import checked
from harness.data.batches import TrainStream, Validation, read_validation
from harness.data.manifest import Prepared, load_folder
from harness.errors import RequestError, explain
from harness.files import remove_litter, write_atomically
from harness.launch import account
from harness.launch.parent import parent_of
from harness.launch.protocol import Job, MetricsLog, RunFiles
from harness.machine import clocks, devices, hardware, surroundings
from harness.optim import build
from harness.parts import loss_term
from harness.records import store
from harness.records.schema import Compilation, Launch, Memory, Record, Status
from harness.seeds import derive
from harness.train import allocator, determinism, graphs, handover, samples, seal, state
from harness.train.loop import Diverged, Loop, Stopped, Workplace
from harness.train.progress import Progress
from harness.train.ranks import ALONE, Ranks
from models import own
from models.dtypes import DTYPES
from models.lm import LanguageModel, ParameterCount, count_parameters

ORPHAN_SECONDS = 120.0
"""How long to wait for another process that holds this run."""


class Worker:
    """One job in one process, or the part of one of several."""

    def __init__(self, job: Job, ranks: Ranks = ALONE) -> None:
        """Nothing heavy happens before `execute`."""
        self.job, self.run, self.files, self.ranks = job, job.run, job.files, ranks
        self.log = MetricsLog(self.files.metrics if ranks.leads else Path(os.devnull))
        self.progress: Progress | None = None
        self.prepared: Prepared | None = None
        self.counted: ParameterCount | None = None
        self.load_before = hardware.load_average()
        self.watch = graphs.CompileWatch(self.run.config.train.compile)
        self.gpu = clocks.GpuWatch(devices.of(self.run.device).condition)
        self.meter = surroundings.Meter.read() if job.launch else None
        self._stop = False

    def execute(self) -> Record:
        """Train, and write the record whatever the end. Returns the record."""
        self._listen()
        self.log.append("start", pid=os.getpid(), token=self.job.token, key=self.run.key,
                        first=self.run.first_update, last=self.run.last_update)  # fmt: skip
        status, error = self._ending(self._train)
        record = self._record(status, error)
        self.log.append("end", status=record.status, error=record.error)
        return record

    def follow(self) -> Status:
        """Train beside the one that leads, which writes the record. What ends this one alone, the
        other would not know of: its reason is left in a file."""
        self._listen()
        status, error = self._ending(self._train)
        if status not in ("ok", "killed"):
            why = {"status": status, "error": f"process {self.ranks.rank}: {error}"}
            write_atomically(self.files.fault, json.dumps(why))
        return status

    def _listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask_to_stop)

    def _record(self, status: Status, error: str | None) -> Record:
        """Written, under the next number. One that is refused leaves one that says so and measures
        nothing: why a run ended is never lost, and its weights are kept."""
        results, run = Path(self.job.results), self.run
        attempt = store.next_attempt(results, run.recipe, run.arm, run.key)
        # Announced first: a launcher that finds this file knows that its own child wrote it.
        self.log.append("record", attempt=attempt)
        earlier = self.progress.peak_bytes if self.progress else 0
        try:
            observed = account.Observed(
                progress=self.progress,
                manifest=self.prepared.manifest if self.prepared else None,
                memory=peak_memory(run.device, earlier), load_before=self.load_before,
                parameters=self.counted, compile_seconds=compile_seconds(),
                compilation=self._compilation(), launch=self._launch(),
                gpu_use=self.gpu.found(),
            )  # fmt: skip
            record = account.record(self.job, status, error, attempt=attempt, observed=observed)
            self._summarise(record)  # before it: with its record a run is finished
            store.write(results, record)
        except (store.RefusedRecord, ValidationError) as refused:
            why = explain(refused) if isinstance(refused, ValidationError) else str(refused)
            ended: Status = "failed" if status == "ok" else status
            error = f"{error or 'trained to its end'}; but its record was refused: {why}"
            record = account.record(self.job, ended, error, attempt=attempt)
            self._summarise(record)
            store.write(results, record)
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
            # What this one saw may only be that another is gone.
            return self.files.said_fault() or ("failed", _line(error))
        return "ok", None

    def _train(self) -> None:
        run, config = self.run, self.run.config
        torch.set_num_threads(config.train.threads)
        repeatable = config.train.deterministic or devices.of(run.device).deterministic
        determinism.ask(repeatable, config.train.compile != "eager", run.device)
        # It would fill every new tensor with NaN: a tenth of an update, to find errors of ours.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        device = torch.device(run.device)
        self.ranks.join(device)
        self.prepared = load_folder(Path(self.job.data_folder))
        if self.ranks.leads:  # the others wait for it before the first update
            checked.check(self.prepared)
        masked = config.train.document_mask
        stream = TrainStream(self.prepared.folder, derive(run.seed, "data"), documents=masked)
        validation = read_validation(self.prepared.folder, row_documents=masked)
        torch.manual_seed(derive(run.seed, "noise"))
        model = LanguageModel(
            config.model, DTYPES[config.train.dtype], kernels=config.train.kernels,
            recompute=config.train.recompute,
        )  # fmt: skip
        model.init_weights(derive(run.seed, "init"))
        model.loss_term = loss_term.term(config.train.loss)
        model.to(device)
        self.counted = count_parameters(model)
        if config.train.compile == "auto":
            raise RequestError("train.compile=auto is for the plan to resolve")
        graphs.apply(model, config, device)
        optimizers = build.build(config.optim, model)
        optimizers.share(self.ranks)
        digest = self.job.code.source_digest
        origin = state.Origin(
            key=run.key_alone, source_digest=digest, manifest_digest=self.prepared.manifest.digest,
            software=provenance.software_set(provenance.software()),
        )  # fmt: skip
        found = self._resumable(origin)
        if found is None:
            progress = self._begin(model, optimizers, validation, device)
        else:
            progress = state.resume(found, model, optimizers)
            self.log.append("resume", update=progress.update)
        self.progress = progress
        self.ranks.check_equal("the update to go on from", progress.update)
        if not progress.finished:
            graphs.warm(model, config, validation, device)
        progress.setup_seconds += time.monotonic() - self.job.launched_at

        def save() -> None:
            before = progress.wall_seconds
            progress.wall_seconds = before + time.monotonic() - self.job.launched_at
            memory = peak_memory(run.device, progress.peak_bytes)
            progress.peak_bytes = memory.peak_bytes if memory else 0
            if self.ranks.leads:
                state.save_rolling(
                    self.files.checkpoint, run.key, origin, model, optimizers, progress
                )
            progress.wall_seconds = before

        workplace = Workplace(
            device=device, ranks=self.ranks, files=self.files, log=self.log, source_digest=digest,
            save=save, should_stop=self._should_stop, answer=self._answer, watch=self.watch,
            gpu=self.gpu,
        )  # fmt: skip
        with self.gpu:
            Loop(run, model, optimizers, stream, validation, progress, workplace).go()
        self.ranks.leave()
        if not self.ranks.leads:
            return
        metrics = {"ends": progress.ends, "last_update": progress.update}
        with optimizers.judged():
            state.save_final(
                self.files.final, run.key, digest, config, model, metrics, validation, device
            )

    def _resumable(self, origin: state.Origin) -> state.Rolling | None:
        """What this run goes on from: of its own checkpoint, and those that it left with another
        number of processes, the furthest that can be used."""
        best, place = None, self.files
        for files in (self.files, *self._elsewhere()):
            try:
                found = state.read_rolling(files.checkpoint, origin)
            except seal.Damaged as error:
                if files is self.files:
                    self._set_aside(files.checkpoint, f"{error}; the run begins anew")
                continue
            if found is None or not self._usable(found.progress, files):
                continue
            if best is None or found.progress.update > best.progress.update:
                best, place = found, files
        if best is not None and place is not self.files and self.ranks.leads:
            self._adopt(place, best.progress.update)
        return best

    def _elsewhere(self) -> list[RunFiles]:
        """Where this run is, or was, worked on by another number of processes."""
        found, run = [], self.run
        for file in sorted(self.files.folder.parent.glob(f"{run.stage}.{run.scale}.*/job.json")):
            try:
                other = Job.model_validate_json(file.read_bytes(), strict=False).run
            except ValidationError:
                continue
            if run.key_alone == other.key_alone and run.key != other.key:
                found.append(RunFiles(file.parent))
        return found

    def _adopt(self, place: RunFiles, update: int) -> None:
        """Take over the branches of the run whose checkpoint this one goes on from."""
        code, run = self.job.code.source_digest, self.run
        for passed in (passed for passed in run.branch_at if passed <= update):
            state.adopt_branch(place.branch(passed, code), self.files.branch(passed, code), run.key)
        said = f"goes on from update {update}, made by another number of processes"
        self.log.append("adopted", note=f"{run.name} {said}")

    def _usable(self, progress: Progress, files: RunFiles) -> bool:
        """Whether to go on from a checkpoint: not from a finished one if the run is to be trained
        again (another number of processes is another run, once it has ended), and not from behind
        a branch that was lost."""
        code = self.job.code.source_digest
        passed = [update for update in self.run.branch_at if update <= progress.update]
        whole = all(files.branch(update, code).exists() for update in passed)
        ended = progress.finished and (self.job.fresh or files is not self.files)
        return whole and not ended

    def _set_aside(self, path: Path, why: str) -> None:
        """Put a damaged checkpoint where nothing trips over it, and tell the user where."""
        if not self.ranks.leads:
            return
        self.log.append("damaged", note=f"{self.run.name}: {why}; it is {seal.set_aside(path)} now")

    def _answer(self, model: LanguageModel) -> list[dict[str, Any]]:
        """To the stage's prompts, in the format of its data."""
        if not self.run.prompts or self.prepared is None or not self.ranks.leads:
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
        final = run.start == "final"
        place = parent.final if final else parent.branch(run.first_update, code)
        try:
            if final:
                known = (run.parent, code)
                return handover.from_final(place, model, device, parent=known)
            begun = state.start_from_branch(
                place, run.parent, model, optimizers, validation, device
            )
        except seal.Damaged as error:
            self._set_aside(place, str(error))
            raise RequestError(f"{error}; the same command makes it again") from None
        if begun.handover_loss is not None:
            before, after = begun.handover_loss
            handover.check(place, before, after, given=False, device=run.device)
        return begun

    def _compilation(self) -> Compilation | None:
        """None where nothing was to be compiled, or the run did not get that far."""
        if self.watch.mode == "eager" or not self.progress or not self.progress.update_seconds:
            return None
        return self.watch.found()

    def _launch(self) -> Launch | None:
        """A timed job's launch, with what was seen around it and after it."""
        launch = self.job.launch
        if launch is None or launch.before is None or self.meter is None:
            return None
        now = surroundings.Meter.read()
        others, waited = now.others_since(self.meter), now.waited_since(self.meter)
        during = surroundings.Busy(others, waited, self.gpu.found())
        after = surroundings.state(self.run.device, during.others)
        resumed = self.progress.resumed if self.progress else 0
        reason = surroundings.contamination(
            self.run.device, launch.before, during, after, resumed=resumed, cores=hardware.cores()
        )
        if reason is None and (compilation := self._compilation()) is not None:
            reason = compilation.uncompiled
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
        return self.ranks.any_says(self._stop or orphaned(self.job))


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


def orphaned(job: Job) -> bool:
    """Whether what started this process died: it must not go on in the dark."""
    return os.getppid() != parent_of(job.launcher)


def peak_memory(device: str, earlier: int) -> Memory | None:
    """Peak of the device's own allocator, else the resident memory of this process; of an
    `earlier` process of the run where that is more. None where nothing was ever allocated."""
    if devices.of(device).own_memory:
        peak = max(torch.get_device_module(device).max_memory_allocated(), earlier)
        return Memory(peak_bytes=peak, kind=device) if peak else None
    return Memory(peak_bytes=max(hardware.peak_resident_bytes(), earlier), kind="rss")


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
    ranks = Ranks.of_environment() if job.run.world_size > 1 else ALONE
    if not ranks.leads:
        return 0 if Worker(job, ranks).follow() in ("ok", "killed") else 1
    try:
        # An orphan of a killed launcher may still be at work: it notices, and stops, or finishes.
        with FileLock(job.files.lock, timeout=ORPHAN_SECONDS):
            if orphaned(job):  # while it waited
                return 2
            remove_litter(job.files.folder)
            done = account.made_elsewhere(job) if job.run.world_size == 1 else None
            record = done or Worker(job, ranks).execute()
    except Timeout:
        print("another process is working on this run", file=sys.stderr)
        return 2
    return 0 if record.status == "ok" else 1
