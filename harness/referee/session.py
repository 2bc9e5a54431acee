"""A comparison from arms to an answer: what is there is used, what is missing is run, then judged.

Killed at any moment and started again it goes on: each finished run has its record, and only runs
without one are started.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from filelock import FileLock, Timeout

from harness.errors import RequestError
from harness.machine import devices
from harness.machine.hardware import peak_of
from harness.machine.prices import price_of
from harness.records import foreign
from harness.records.foreign import (
    ScriptArm,
    ScriptAsked,
    ScriptRecord,
    ScriptSlot,
    ScriptSource,
)
from harness.referee import carrying, fairness, planning, versions
from harness.referee.arms import ForeignArm
from harness.referee.case import Case, Outcome
from harness.referee.output import duration
from harness.referee.planning import ForeignRun, RefereeRequest
from harness.stats.inference import MIN_PAIRS

Say = Callable[[str], None]


class Session:
    """One call of the referee."""

    def __init__(self, request: RefereeRequest, arms: Sequence[ForeignArm], say: Say) -> None:
        """Reads what is there; starts nothing. Raises RequestError for what may not be asked."""
        fairness.refuse_unfrozen(request.frozen, arms)
        first = (arms[0].digest, arms[0].command)
        same = next((a for a in arms[1:] if (a.digest, a.command) == first), None)
        if same is not None:
            say(f"{same.name} has the very files of {arms[0].name}: a comparison with itself")
        self.request, self.arms, self.say = request, list(arms), say
        self.asked = self._plan()
        begun = datetime.now(UTC).isoformat(timespec="microseconds")
        self.call = carrying.Call(request, self.asked.question, begun, arms[0].place)
        self.ran = 0
        self._read()
        self.before = set(self.case.known)

    def _plan(self) -> ScriptAsked:
        """The runs that the answer needs, and the question that they answer."""
        request, arms = self.request, self.arms
        device_class = devices.of(request.device).product()
        conditions = [
            planning.conditions_of(arm, request, device_class,
                                   versions.of_command(arm.command or request.command))
            for arm in arms
        ]  # fmt: skip
        self.slots = planning.slots(arms, request, conditions)
        self.floor = planning.floor_slots(arms[0], request, conditions[0])
        declared = request.recipe
        return ScriptAsked(
            schema_version=1, name=request.name,
            recipe=declared.name if declared else None,
            scale=declared.scale if declared else None,
            summary=declared.summary if declared else None,
            recipe_seeds=declared.seeds if declared else None,
            arms=tuple(
                ScriptArm(
                    name=arm.name, digest=arm.digest, command=carrying.command_text(under.command),
                    software=dict(under.software),
                )
                for arm, under in zip(arms, conditions, strict=True)
            ),
            metric=request.metric, way=request.way,
            format=request.format.text or request.format.name, seeds=request.seeds,
            first_seed=request.first_seed, frozen=request.frozen, equal=request.equal,
            device_class=device_class,
            slots=tuple(
                ScriptSlot(arm=one.arm.name, seed=one.seed, repeat=one.repeat, key=one.key)
                for one in [*self.floor, *self.slots]
            ),
        )  # fmt: skip

    def _read(self) -> None:
        """Take the records as they lie now."""
        records, sources = foreign.read_name(self.request.results, self.request.name)
        files = {source.digest: source.files for source in sources}
        files |= {arm.digest: arm.files for arm in self.arms}
        self.case = Case(self.asked, records, sources, files, self._stale)

    # --- before it spends

    def missing(self) -> list[ForeignRun]:
        """The runs still to be done, in order."""
        return [
            slot for slot in [*self.floor, *self.slots]
            if self._wanted(slot) and not self._pointless(slot)
        ]  # fmt: skip

    def _wanted(self, slot: ForeignRun) -> bool:
        record = self.case.known.get(slot.key)
        return record is None or self._stale(record)

    def _stale(self, record: ScriptRecord) -> bool:
        """Whether a run is to be replaced: it met a limit that is higher now, or `--fresh` or
        `--retry` asks for it."""
        if record.call == self.call.begun:
            return False
        if self.request.fresh or _had_less(record, self.request):
            return True
        if not self.request.retry:
            return False
        return fairness.row_fault(record, self.case.metric_name()) is not None

    def cost(self) -> str:
        """What the missing runs will take, in words."""
        missing = self.missing()
        if not missing:
            return "nothing is left to run"
        known = [r.seconds for r in self.case.baselines()]
        if not known:
            most = len(missing) * self.request.budget
            return f"{len(missing)} runs, {duration(most)} at most{self._dollars(most)}"
        seconds = len(missing) * sum(known) / len(known)
        return f"{len(missing)} runs, about {duration(seconds)}{self._dollars(seconds)}"

    def _dollars(self, seconds: float) -> str:
        """Of a rented GPU whose price is known; a CPU has none."""
        request = self.request
        peak = peak_of(self.asked.device_class) if request.on_gpu else None
        price = price_of(peak.name, results=request.results) if peak else None
        return f", ${seconds / 3600 * price.value:.2f} at {price.text}" if price else ""

    # --- spending

    def spend(self) -> None:
        """Run what is missing. Raises RequestError where another referee is at work here, or the
        metric cannot be told once the baseline has reported."""
        for arm in self.arms:
            foreign.write_source(self.request.results, _source(self.request.name, arm))
        lock = self.request.work / "locks" / f"{self.request.name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                self._read()
                foreign.write_question(self.request.results, self.asked)
                if ended := carrying.sweep(self.request, self.arms):
                    self.say(f"ended {ended} processes that an earlier call had left running")
                self._run_all(self.floor)
                if self.floor:
                    self.say(self.seen())
                self._run_all(self.slots)
        except Timeout:
            raise RequestError(
                f"another referee is at work on '{self.request.name}' here"
            ) from None

    def _run_all(self, slots: Sequence[ForeignRun]) -> None:
        for place, slot in enumerate(slots):
            if not self._wanted(slot) or self._pointless(slot):
                continue
            attempt = 1 + max(
                (r.attempt for r in self.case.records if r.key == slot.key), default=0
            )
            record = carrying.carry_out(self.call, slot, place, attempt)
            self.ran += 1
            self.case.add(record)
            self.say(f"[{place + 1}/{len(slots)}] {slot.words}: {self._line(record)}")

    def _line(self, record: ScriptRecord) -> str:
        """How a run ended. Tells the metric, so it stops a call that cannot be judged at once."""
        found = self.case.metric()
        name = found[0] if found else None
        fault = fairness.row_fault(record, name)
        value = f"{name} {record.reported[name]:.6g}" if name and not fault else fault or "ok"
        return f"{value}, {duration(record.seconds)}"

    def _pointless(self, slot: ForeignRun) -> bool:
        """Whether a run can no longer tell anything: its arm's seeds are incomplete already, or
        are none, or the baseline's are, or no candidate is left."""
        stopped = {arm.name for arm in self.asked.arms if self.case.barred(arm)}
        candidates = {arm.name for arm in self.arms[1:]}
        nobody_left = bool(candidates) and candidates <= stopped
        return nobody_left or not stopped.isdisjoint({slot.arm.name, self.arms[0].name})

    # --- after it

    def outcome(self) -> Outcome:
        """Judge what is there."""
        self._read()
        outcome = self.case.outcome()
        outcome.ran = self.ran
        outcome.reused = sum(slot.key in self.before for slot in self.slots)
        return outcome

    def seen(self) -> str:
        """What this comparison can see, in words."""
        found, pairs = self.case.foresight(), self.request.seeds
        if pairs < MIN_PAIRS:
            return f"{pairs} pairs never give a verdict: {MIN_PAIRS} at least"
        if found is None:
            return (
                f"how small a difference {pairs} pairs can find is not known before the baseline "
                "has run on two seeds: --noise-floor 5 would tell"
            )
        return (
            f"{pairs} pairs find a true difference of {found.detectable:.3g} in 80 % of cases "
            f"(spread of a difference {found.spread:.3g}, from {found.basis})"
        )


def _had_less(record: ScriptRecord, request: RefereeRequest) -> bool:
    """Whether a run met a limit that is higher now."""
    if record.status == "timeout":
        return record.budget_seconds < request.budget
    before, now = record.memory_limit, request.memory_limit
    return record.status == "oom" and before is not None and now is not None and before < now


def _source(name: str, arm: ForeignArm) -> ScriptSource:
    return ScriptSource(
        schema_version=1, name=name, arm=arm.name, digest=arm.digest, origin=arm.origin,
        files=arm.files, texts=arm.texts,
    )  # fmt: skip
