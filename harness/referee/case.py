"""A comparison as its question and its records have it: what counts, what was seen, the verdicts.

Pure: whoever has the records can draw the answer again, without the scripts or this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from harness.records import foreign
from harness.records.foreign import ScriptArm, ScriptAsked, ScriptRecord, ScriptSource
from harness.referee import fairness, formats, judging, planning
from harness.referee.judging import Foresight, Judgement
from harness.referee.reading import Way


@dataclass
class Outcome:
    """What a comparison came to."""

    asked: ScriptAsked
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
    earlier_seeds: set[int] = field(default_factory=set)
    ran: int = 0
    """Runs that this call started; none where the records alone are read."""
    reused: int = 0

    @property
    def next_seed(self) -> int:
        """The first seed that no question has seen."""
        return max({self.asked.first_seed - 1, *self.earlier_seeds}) + 1

    def exit_code(self) -> int:
        """0 where a candidate is better, 3 where a run failed, else 1."""
        if any(self.faults.values()):
            return 3
        if not self.judgements:  # a noise floor alone
            return 0
        return 0 if any(j.decision == "keep" for j in self.judgements.values()) else 1


def _fresh(record: ScriptRecord) -> bool:
    return False


@dataclass
class Case:
    """A question and all the records of its name."""

    asked: ScriptAsked
    records: list[ScriptRecord]
    sources: list[ScriptSource]
    files: Mapping[str, Mapping[str, str]]
    """Digest of an arm -> its files."""
    stale: Callable[[ScriptRecord], bool] = _fresh
    """Whether a run is to be replaced by one that has not run yet."""

    @cached_property
    def known(self) -> dict[str, ScriptRecord]:
        """Key -> its last attempt."""
        return foreign.newest(self.records)

    def add(self, record: ScriptRecord) -> None:
        """A run has ended."""
        self.records.append(record)
        self.known[record.key] = record

    # --- what is known of the arms

    def _alike(self, arm: ScriptArm) -> list[ScriptRecord]:
        """All first runs of an arm under these conditions, of any seed and question."""
        wanted = (arm.digest, arm.command, self.asked.format, self.asked.device_class, arm.software)
        return [
            r for r in self.known.values() if r.repeat == 0 and wanted == (
                r.arm_digest, r.command, r.format, r.hardware.device_class, r.software
            )
        ]  # fmt: skip

    def baselines(self) -> list[ScriptRecord]:
        """The runs of the baseline, those of other questions too."""
        return self._alike(self.asked.arms[0])

    def metric(self) -> tuple[str, Way] | None:
        """The metric and its way, as soon as they can be known; see `fairness.metric_of`."""
        asked = self.asked
        reported = [r for r in self.baselines() if r.status == "ok"]
        return fairness.metric_of(asked.metric, asked.way, formats.named(asked.format), reported)

    def metric_name(self) -> str | None:
        """The metric alone."""
        found = self.metric()
        return found[0] if found else None

    def foresight(self) -> Foresight | None:
        """What the frozen seeds can find, from the baseline's runs that are there."""
        name = self.metric_name()
        if name is None:
            return None
        counted = [r for r in self.baselines() if fairness.row_fault(r, name) is None]
        values = [r.reported[name] for r in counted]
        return judging.foresee(values, self.asked.seeds, max(1, len(self.asked.arms) - 1))

    def runs(self, arm: ScriptArm) -> list[ScriptRecord]:
        """An arm's runs for this question, those of a noise floor last."""
        mine = [slot for slot in self.asked.slots if slot.arm == arm.name]
        mine.sort(key=lambda slot: slot.seed >= planning.FLOOR_SEED)
        return [self.known[slot.key] for slot in mine if slot.key in self.known]

    def faults(self, arm: ScriptArm) -> list[tuple[ScriptRecord, str]]:
        """An arm's runs that do not count, and why."""
        name, ends = self.metric_name(), self._ends_with_result()
        found = [
            (r, fairness.row_fault(r, name) or fairness.unfinished(r, name, ends))
            for r in self.runs(arm) if not self.stale(r)
        ]  # fmt: skip
        return [(record, fault) for record, fault in found if fault is not None]

    def _ends_with_result(self) -> bool:
        """Whether any run of this question printed the metric as a result, not along the run."""
        name = self.metric_name()
        every = [record for arm in self.asked.arms for record in self.runs(arm)]
        return any(name in r.reported and name not in r.points_only for r in every)

    def barred(self, arm: ScriptArm) -> str | None:
        """Why nothing can be said of an arm, from its own runs."""
        faults = self.faults(arm)
        if faults:
            record, fault = faults[0]
            return f"seed {record.seed}: {fault}"
        name = self.metric_name()
        if name is None:
            return None
        return fairness.seed_fault(self.runs(arm), name, self.asked.seeds)

    def outdated(self) -> list[str]:
        """Runs of the arms' names that are of other files."""
        keys = [slot.key for slot in self.asked.slots]
        return planning.outdated(self.asked.arms, self.records, keys, self.files)

    # --- judging

    def outcome(self) -> Outcome:
        """Judge what is there."""
        found = self.metric()
        metric, way = found or (None, None)
        arms = self.asked.arms
        outcome = Outcome(
            self.asked, metric, way,
            {arm.name: self.runs(arm) for arm in arms}, {},
            {arm.name: self.faults(arm) for arm in arms},
            {arm.name: self._notes(arm, metric) for arm in arms},
            self.foresight(), self.outdated(),
            {r.seed for r in self.records if r.seed < planning.FLOOR_SEED},
        )  # fmt: skip
        if len(arms) > 1:
            values = {arm.name: self._values(arm, metric) for arm in arms}
            outcome.judgements = judging.judge(
                values.pop(arms[0].name), values, seeds=self.asked.frozen_seeds,
                lower=way != "higher", barred=self._bars(metric),
            )  # fmt: skip
        return outcome

    def _values(self, arm: ScriptArm, metric: str | None) -> dict[int, float]:
        if metric is None:
            return {}
        pairs = self._pairs(arm)
        return {r.seed: r.reported[metric] for r in pairs if fairness.row_fault(r, metric) is None}

    def _bars(self, metric: str | None) -> dict[str, str]:
        own = self.barred(self.asked.arms[0])
        if metric is None and own is None:
            own = "no run has reported a metric"
        bars = {}
        for arm in self.asked.arms[1:]:
            bar = f"the baseline: {own}" if own else self._bar(arm, metric)
            if bar is not None:
                bars[arm.name] = bar
        return bars

    def _bar(self, arm: ScriptArm, metric: str | None) -> str | None:
        """Why nothing can be said of a candidate, from its own runs or beside the baseline's."""
        own, pairs = self.barred(arm), self._pairs(arm)
        if own is not None or metric is None or not pairs:
            return own
        if self.asked.way is None and (turned := fairness.opposed(metric, self.metric(), pairs)):
            return turned
        frozen = self.asked.recipe_seeds
        if frozen not in (None, self.asked.seeds):
            return f"exploratory: the recipe froze {frozen} seeds"
        done = {r.seed for r in self._alike(arm)} & {r.seed for r in self.baselines()}
        looked = fairness.exploratory(self.asked.question, metric, pairs, done)
        return looked or fairness.unequal(
            self.asked.equal, self._pairs(self.asked.arms[0]), pairs
        )  # fmt: skip

    def _pairs(self, arm: ScriptArm) -> list[ScriptRecord]:
        wanted = self.asked.frozen_seeds
        return [r for r in self.runs(arm) if r.seed in wanted and not r.repeat]

    def _notes(self, arm: ScriptArm, metric: str | None) -> list[str]:
        """What stands beside an arm's verdict."""
        notes, baseline = [], self.asked.arms[0]
        noise = fairness.own_noise(self.runs(arm), metric) if metric else None
        if noise:
            notes.append(f"the same seed twice differs by {noise:.3g}: the script's own noise")
        ours, theirs = self._pairs(arm), self._pairs(baseline)
        if arm is not baseline and ours and theirs:
            if difference := fairness.budgets(theirs, ours):
                notes.append(difference)
            if fairness.apart(theirs, ours):
                notes.append("not interleaved: some of the pairs' runs are of different calls")
        seen = dict.fromkeys(note for r in self.runs(arm) for note in r.notes)
        return [*notes, *seen]


def of_name(results: Path, name: str) -> Case | None:
    """One comparison; None where its question is not known.

    Raises RequestError for a file that is none of its own.
    """
    asked = foreign.read_question(results, name)
    if asked is None:
        return None
    records, sources = foreign.read_name(results, name)
    return Case(asked, records, sources, {source.digest: source.files for source in sources})


def read(results: Path) -> list[Case]:
    """Every comparison of a results folder whose question is known, by name."""
    found = [of_name(results, name) for name in foreign.names(results)]
    return [case for case in found if case is not None]
