"""A comparison from arms to an answer: what is there is used, what is missing is run, then judged.

Killed at any moment and started again it goes on: each finished run has its record, and only runs
without one are started.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from filelock import FileLock, Timeout

from harness.errors import RequestError
from harness.machine import devices
from harness.machine.hardware import peak_of
from harness.machine.prices import price_of
from harness.records import foreign
from harness.records.foreign import ScriptQuestion, ScriptRecord, ScriptSource
from harness.referee import carrying, fairness, judging, planning, versions
from harness.referee.arms import ForeignArm
from harness.referee.judging import Foresight, Judgement
from harness.referee.planning import Conditions, ForeignRun, RefereeRequest
from harness.referee.reading import Way
from harness.stats.inference import MIN_PAIRS

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What a comparison came to."""

    request: RefereeRequest
    arms: list[ForeignArm]
    metric: str | None
    way: Way | None
    records: dict[str, list[ScriptRecord]]
    """Arm -> its runs for this question, repeats included."""
    judgements: dict[str, Judgement]
    faults: dict[str, list[tuple[ScriptRecord, str]]]
    """Arm -> its runs that do not count, and why."""
    notes: dict[str, list[str]]
    """Arm -> what a reader must know beside the verdict."""
    foresight: Foresight | None
    outdated: list[str]
    ran: int = 0
    reused: int = 0
    cost: str = ""
    earlier_seeds: set[int] = field(default_factory=set)

    @property
    def next_seed(self) -> int:
        """The first seed that no question has seen."""
        return max({self.request.first_seed - 1, *self.earlier_seeds}) + 1

    def exit_code(self) -> int:
        """0 where a candidate is better, 3 where a run failed, else 1."""
        if any(self.faults.values()):
            return 3
        if not self.judgements:  # a noise floor alone
            return 0
        return 0 if any(j.decision == "keep" for j in self.judgements.values()) else 1


class Session:
    """One call of the referee."""

    def __init__(self, request: RefereeRequest, arms: Sequence[ForeignArm], say: Say) -> None:
        """Reads what is there; starts nothing. Raises RequestError for what may not be asked."""
        fairness.refuse_unfrozen(request.frozen, arms)
        same = next((a for a in arms[1:] if a.digest == arms[0].digest), None)
        if same is not None:
            say(f"{same.name} has the very files of {arms[0].name}: a comparison with itself")
        self.request, self.arms, self.say = request, list(arms), say
        software = versions.of_command(request.command)
        device_class = devices.of(request.device).product()
        conditions = planning.conditions_of(request, device_class, software)
        self._plan(conditions)
        self.call = carrying.Call(
            request, self._question(), datetime.now(UTC).isoformat(timespec="microseconds"),
            software, arms[0].place,
        )  # fmt: skip
        self.ran = 0
        self._read()
        self.before = set(self.known)

    def _plan(self, conditions: Conditions) -> None:
        self.slots = planning.slots(self.arms, self.request, conditions)
        self.floor = planning.floor_slots(self.arms[0], self.request, conditions)
        self.conditions = conditions

    def _question(self) -> ScriptQuestion:
        request, baseline = self.request, self.arms[0]
        return ScriptQuestion(
            baseline=baseline.name, baseline_digest=baseline.digest, seeds=request.seeds,
            first_seed=request.first_seed, metric=request.metric,
        )  # fmt: skip

    def _read(self) -> None:
        """Take the records as they lie now."""
        self.all, self.sources = foreign.read_name(self.request.results, self.request.name)
        self.known = foreign.newest(self.all)

    # --- before it spends

    def missing(self) -> list[ForeignRun]:
        """The runs still to be done, in order."""
        return [
            slot for slot in [*self.floor, *self.slots]
            if self._wanted(slot) and not self._pointless(slot)
        ]  # fmt: skip

    def _wanted(self, slot: ForeignRun) -> bool:
        record = self.known.get(slot.key)
        return record is None or self._stale(record)

    def _stale(self, record: ScriptRecord) -> bool:
        """Whether a run is to be replaced: it met a limit that is higher now, or `--fresh` or
        `--retry` asks for it."""
        if record.call == self.call.begun:
            return False
        if self.request.fresh or _had_less(record, self.request):
            return True
        return self.request.retry and fairness.row_fault(record, self._metric_name()) is not None

    def outdated(self) -> list[str]:
        """Runs of the arms' names that are of other files."""
        files = {source.digest: source.files for source in self.sources}
        keys = [slot.key for slot in [*self.floor, *self.slots]]
        return planning.outdated(self.arms, self.all, keys, files)

    def _baselines(self) -> list[ScriptRecord]:
        """All runs of the baseline under these conditions, of any seed and question."""
        baseline = self.arms[0]
        return [
            r for r in self.known.values()
            if r.arm_digest == baseline.digest and r.repeat == 0
            and r.key == planning.key_of(baseline.digest, self.conditions, r.seed, 0)
        ]  # fmt: skip

    def metric(self) -> tuple[str, Way] | None:
        """The metric and its way, as soon as they can be known; see `fairness.metric_of`."""
        request = self.request
        reported = [r for r in self._baselines() if r.status == "ok"]
        return fairness.metric_of(request.metric, request.way, request.format, reported)

    def _metric_name(self) -> str | None:
        found = self.metric()
        return found[0] if found else None

    def foresight(self) -> Foresight | None:
        """What the frozen seeds can find, from the baseline's runs that are there."""
        name = self._metric_name()
        if name is None:
            return None
        counted = [r for r in self._baselines() if fairness.row_fault(r, name) is None]
        values = [r.reported[name] for r in counted]
        return judging.foresee(values, self.request.seeds, max(1, len(self.arms) - 1))

    def cost(self) -> str:
        """What the missing runs will take, in words."""
        missing = self.missing()
        if not missing:
            return "nothing is left to run"
        known = [r.seconds for r in self._baselines()]
        if not known:
            most = len(missing) * self.request.budget
            return f"{len(missing)} runs, {duration(most)} at most{self._dollars(most)}"
        seconds = len(missing) * sum(known) / len(known)
        return f"{len(missing)} runs, about {duration(seconds)}{self._dollars(seconds)}"

    def _dollars(self, seconds: float) -> str:
        """Of a rented GPU whose price is known; a CPU has none."""
        request = self.request
        peak = peak_of(self.conditions.device_class) if request.on_gpu else None
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
            attempt = 1 + max((r.attempt for r in self.all if r.key == slot.key), default=0)
            record = carrying.carry_out(self.call, slot, place, attempt)
            self.ran += 1
            self.all.append(record)
            self.known[record.key] = record
            self.say(f"[{place + 1}/{len(slots)}] {slot.words}: {self._line(record)}")

    def _line(self, record: ScriptRecord) -> str:
        """How a run ended. Tells the metric, so it stops a call that cannot be judged at once."""
        found = self.metric()
        name = found[0] if found else None
        fault = fairness.row_fault(record, name)
        value = f"{name} {record.reported[name]:.6g}" if name and not fault else fault or "ok"
        return f"{value}, {duration(record.seconds)}"

    def _pointless(self, slot: ForeignRun) -> bool:
        """Whether a run can no longer tell anything: its arm's seeds are incomplete already, or
        are none, or the baseline's are, or no candidate is left."""
        stopped = {arm.name for arm in self.arms if self._barred(arm)}
        candidates = {arm.name for arm in self.arms[1:]}
        nobody_left = bool(candidates) and candidates <= stopped
        return nobody_left or not stopped.isdisjoint({slot.arm.name, self.arms[0].name})

    # --- judging

    def _runs(self, arm: ForeignArm) -> list[ScriptRecord]:
        keys = [slot.key for slot in self.slots if slot.arm.name == arm.name]
        keys += [slot.key for slot in self.floor if slot.arm.name == arm.name]
        return [self.known[key] for key in keys if key in self.known]

    def _faults(self, arm: ForeignArm) -> list[tuple[ScriptRecord, str]]:
        name = self._metric_name()
        found = [(r, fairness.row_fault(r, name)) for r in self._runs(arm) if not self._stale(r)]
        return [(record, fault) for record, fault in found if fault is not None]

    def _barred(self, arm: ForeignArm) -> str | None:
        """Why nothing can be said of an arm, from its own runs."""
        faults = self._faults(arm)
        if faults:
            record, fault = faults[0]
            return f"seed {record.seed}: {fault}"
        name = self._metric_name()
        if name is None:
            return None
        return fairness.seed_fault(self._runs(arm), name, self.request.seeds)

    def outcome(self) -> Outcome:
        """Judge what is there."""
        self._read()
        found = self.metric()
        metric, way = found or (None, None)
        baseline, candidates = self.arms[0], self.arms[1:]
        runs = {arm.name: self._runs(arm) for arm in self.arms}
        outcome = Outcome(
            self.request, self.arms, metric, way, runs, {},
            {arm.name: self._faults(arm) for arm in self.arms},
            {arm.name: self._notes(arm, metric) for arm in self.arms},
            self.foresight(), self.outdated(), self.ran,
            sum(slot.key in self.before for slot in self.slots), self.cost(),
            {r.seed for r in self.all if r.seed < planning.FLOOR_SEED},
        )  # fmt: skip
        if not candidates:
            return outcome
        values = {arm.name: self._values(arm, metric) for arm in self.arms}
        outcome.judgements = judging.judge(
            values.pop(baseline.name), values, seeds=self.request.frozen_seeds,
            lower=way != "higher", barred=self._bars(metric),
        )  # fmt: skip
        return outcome

    def _values(self, arm: ForeignArm, metric: str | None) -> dict[int, float]:
        if metric is None:
            return {}
        wanted = self.request.frozen_seeds
        return {
            r.seed: r.reported[metric] for r in self._runs(arm)
            if r.repeat == 0 and r.seed in wanted and fairness.row_fault(r, metric) is None
        }  # fmt: skip

    def _bars(self, metric: str | None) -> dict[str, str]:
        baseline = self.arms[0]
        own = self._barred(baseline)
        if metric is None and own is None:
            own = "no run has reported a metric"
        done: dict[str, set[int]] = {}
        for record in self.known.values():
            same = planning.key_of(record.arm_digest, self.conditions, record.seed, 0)
            if record.key == same:
                done.setdefault(record.arm_digest, set()).add(record.seed)
        bars = {}
        for arm in self.arms[1:]:
            bar = f"the baseline: {own}" if own else self._bar(arm, metric, done)
            if bar is not None:
                bars[arm.name] = bar
        return bars

    def _bar(self, arm: ForeignArm, metric: str | None, done: dict[str, set[int]]) -> str | None:
        """Why nothing can be said of a candidate, from its own runs or beside the baseline's."""
        own, asked = self._barred(arm), self._pairs(arm)
        if own is not None or metric is None or not asked:
            return own
        looked = fairness.exploratory(self.call.question, metric, asked, done, arm.digest)
        return looked or fairness.unequal(self.request.equal, self._pairs(self.arms[0]), asked)

    def _pairs(self, arm: ForeignArm) -> list[ScriptRecord]:
        return [r for r in self._runs(arm) if r.seed in self.request.frozen_seeds and not r.repeat]

    def _notes(self, arm: ForeignArm, metric: str | None) -> list[str]:
        """What stands beside an arm's verdict."""
        notes = []
        noise = fairness.own_noise(self._runs(arm), metric) if metric else None
        if noise:
            notes.append(f"the same seed twice differs by {noise:.3g}: the script's own noise")
        ours, theirs = self._pairs(arm), self._pairs(self.arms[0])
        if arm is not self.arms[0] and ours and theirs:
            if difference := fairness.budgets(theirs, ours):
                notes.append(difference)
            if fairness.apart(theirs, ours):
                notes.append("not interleaved: some of the pairs' runs are of different calls")
        seen = dict.fromkeys(note for r in self._runs(arm) for note in r.notes)
        return [*notes, *seen]

    def seen(self) -> str:
        """What this comparison can see, in words."""
        found, pairs = self.foresight(), self.request.seeds
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


def duration(seconds: float) -> str:
    """As people say it: 0.2 s, 45 s, 12 min, 3.5 h."""
    if seconds < 90.0:
        return f"{seconds:.1f} s" if seconds < 10.0 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400.0 else f"{seconds / 3600:.1f} h"
