"""What makes runs comparable, checked on their records; each fault is one line that names it.

Pure: records in, words out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch

from harness.errors import RequestError, nearest
from harness.records.foreign import ScriptQuestion, ScriptRecord
from harness.referee.arms import ForeignArm
from harness.referee.formats import Format
from harness.referee.reading import Way

EQUAL = 0.02
"""Budgets that differ by less than this are equal."""
TOKENS = (
    "tokens", "total_tokens", "tokens_seen", "train_tokens", "num_input_tokens_seen",
    "total_tokens_M",
)  # fmt: skip
SECONDS = ("training_seconds", "train_seconds", "train_runtime")
"""Names under which scripts report what they spent; also those that are no metric."""
COUNTERS = (*TOKENS, *SECONDS, "step", "steps", "num_steps", "epoch", "total_seconds", "seed")
ENOUGH_SEEDS = 3
"""Two seeds may agree by rounding; three that do show that the seed changes nothing."""


def refuse_unfrozen(frozen: Sequence[str], arms: Sequence[ForeignArm]) -> None:
    """Raise RequestError where a frozen file (a path, folder or glob) is not the same in all
    arms, or is in none."""
    baseline = arms[0]
    for pattern in frozen:
        if not frozen_files([pattern], baseline.files):
            raise RequestError(
                f"--frozen '{pattern}': arm '{baseline.name}' has no such file"
                f"{nearest(pattern, baseline.files)}"
            )
        for arm in arms[1:]:
            changed = frozen_files([pattern], arm.differences(baseline.files))
            if changed:
                raise RequestError(
                    f"arm '{arm.name}' changes the frozen file '{changed[0]}': data preparation "
                    "and evaluation must be the same in all arms"
                )


def frozen_files(frozen: Iterable[str], files: Iterable[str]) -> list[str]:
    """The files, of those given, that the patterns freeze."""
    patterns = [pattern.removeprefix("./").rstrip("/") for pattern in frozen]
    return sorted(f for f in files if any(fnmatch(f, p) or f.startswith(f"{p}/") for p in patterns))


def metric_of(
    asked: str | None, way: Way | None, chosen: Format, records: Sequence[ScriptRecord]
) -> tuple[str, Way] | None:
    """The metric and which way it is better, from what was asked, the format and what the
    baseline's runs reported; None while no run has reported anything.

    Raises RequestError where that leaves a choice: it is said, never guessed.
    """
    reported = dict.fromkeys(name for r in records for name in (*r.reported, *r.not_finite))
    name = asked or (chosen.metric if chosen.metric in reported or not reported else None)
    if name is None:
        names = [one for one in reported if one not in COUNTERS]
        if not names:
            return None
        marked = [one for one in names if any(one in r.directions for r in records)]
        if len(marked) == 1:  # `METRIC loss=2 lower` is the result, `METRIC size=9` beside it
            names = marked
        if len(names) > 1:
            raise RequestError(f"which metric? --metric one of: {', '.join(sorted(names)[:12])}")
        name = names[0]
    elif reported and name not in reported:
        raise RequestError(f"the baseline reports no '{name}'{nearest(name, reported)}")
    said = {r.directions[name] for r in records if name in r.directions}
    if way is None and len(said) == 1:
        way = said.pop()
    if way is None and name == chosen.metric:
        way = chosen.way
    if way is None:
        if not reported:
            return None
        raise RequestError(f"is a lower or a higher '{name}' better? say --lower or --higher")
    return name, way


def row_fault(record: ScriptRecord, metric: str | None) -> str | None:
    """Why a run does not count, in one line; None where it does."""
    if record.status != "ok":
        word = {"timeout": "timed out", "oom": "out of memory"}.get(record.status, record.status)
        return f"{word}: {record.reason}"
    if record.reading_fault is not None:
        return record.reading_fault
    if record.broken is not None:
        return record.broken
    if metric is None:
        return None
    if metric in record.not_finite:
        return f"{metric} is not finite"
    if metric not in record.reported:
        return f"it reported no '{metric}'"
    return None


def unfinished(record: ScriptRecord, metric: str | None, results: bool) -> str | None:
    """Why a run's value is none: others end with a result, and it printed points alone."""
    if results and metric in record.points_only:
        return f"it printed no result METRIC {metric}=..., only points along the run"
    return None


def opposed(
    metric: str, found: tuple[str, Way] | None, candidate: Sequence[ScriptRecord]
) -> str | None:
    """Why an arm is not compared: it says of the metric that the other way is better."""
    said = {r.directions[metric] for r in candidate if metric in r.directions}
    if found is None or said <= {found[1]}:
        return None
    return f"it says that {said.pop()} is better, and the baseline that {found[1]} is"


def seed_fault(records: Sequence[ScriptRecord], metric: str, asked: int) -> str | None:
    """Why an arm's seeds are none: all its runs, of `ENOUGH_SEEDS` seeds or all that were asked
    for, gave the very same values along the run and at its end."""
    counted = {r.seed: r for r in records if r.repeat == 0 and row_fault(r, metric) is None}
    if len(counted) < max(2, min(ENOUGH_SEEDS, asked)):
        return None
    results = {(r.reported[metric], r.curves.get(metric)) for r in counted.values()}
    return "the seed changes nothing" if len(results) == 1 else None


def own_noise(records: Sequence[ScriptRecord], metric: str) -> float | None:
    """How far one seed's two runs lie apart; None where it ran only once."""
    by_seed: dict[int, list[float]] = {}
    for record in records:
        if row_fault(record, metric) is None:
            by_seed.setdefault(record.seed, []).append(record.reported[metric])
    spreads = [max(values) - min(values) for values in by_seed.values() if len(values) > 1]
    return max(spreads, default=None)


def budgets(baseline: Sequence[ScriptRecord], candidate: Sequence[ScriptRecord]) -> str | None:
    """What the two spent, where neither tokens nor training seconds are equal to 2 %; None where
    one of them is, and that was the budget."""
    gaps = {}
    for word, names in (("tokens", TOKENS), ("training seconds", SECONDS)):
        name = next((n for n in names if _all_report(n, (*baseline, *candidate))), None)
        if name is not None:
            gaps[word] = gap(name, baseline, candidate)
    if not gaps:
        return "the script reports neither tokens nor seconds: equal budgets are not checked"
    if any(abs(value) <= EQUAL for value in gaps.values()):
        return None
    return "budgets differ: " + ", ".join(f"{100 * v:+.1f} % {word}" for word, v in gaps.items())


def unequal(
    names: Sequence[str], baseline: Sequence[ScriptRecord], candidate: Sequence[ScriptRecord]
) -> str | None:
    """Which quantity that was to be equal is not, to 2 %."""
    for name in names:
        if not _all_report(name, (*baseline, *candidate)):
            return f"'{name}' was to be equal, and is not reported"
        if abs(gap(name, baseline, candidate)) > EQUAL:
            value = 100 * gap(name, baseline, candidate)
            return f"'{name}' was to be equal, and differs by {value:+.1f} %"
    return None


def quantity(record: ScriptRecord, name: str) -> float | None:
    """A reported number, or `seconds` of wall clock."""
    return record.reported.get(name, record.seconds if name == "seconds" else None)


def _all_report(name: str, records: Sequence[ScriptRecord]) -> bool:
    return bool(records) and all(quantity(r, name) is not None for r in records)


def gap(name: str, baseline: Sequence[ScriptRecord], candidate: Sequence[ScriptRecord]) -> float:
    """Relative difference of the means: candidate over baseline, less 1."""
    ours, theirs = (
        sum(quantity(r, name) or 0.0 for r in some) / len(some) for some in (candidate, baseline)
    )
    if theirs == 0.0:
        return 0.0 if ours == 0.0 else float("inf")
    return ours / theirs - 1.0


def apart(baseline: Sequence[ScriptRecord], candidate: Sequence[ScriptRecord]) -> bool:
    """Whether a pair's two runs are of different calls, so that their order was not interleaved."""
    calls = {(r.seed, r.repeat): r.call for r in baseline}
    return any(calls.get((r.seed, r.repeat)) != r.call for r in candidate)


def exploratory(
    question: ScriptQuestion,
    metric: str,
    candidate: Sequence[ScriptRecord],
    done: set[int],
) -> str | None:
    """Why an answer would follow a look: these seeds were judged before, in another question.

    `candidate` are the records that would be judged, `done` the seeds of which both arms have
    records. A question that was never complete had no answer.
    """
    for earlier in dict.fromkeys(r.question for r in candidate):
        if earlier.baseline_digest != question.baseline_digest:
            continue
        if not set(earlier.frozen_seeds) <= done:
            continue
        if earlier.frozen_seeds != question.frozen_seeds:
            return (
                f"exploratory: the seeds {_span(earlier.frozen_seeds)} were judged before; a new "
                "answer takes new seeds, see --first-seed"
            )
        if earlier.metric not in (None, metric) and any(earlier.metric in r.reported
                                                        for r in candidate):  # fmt: skip
            return f"exploratory: these seeds were judged by '{earlier.metric}' before"
    return None


def _span(seeds: range) -> str:
    return f"{seeds.start} to {seeds.stop - 1}"
