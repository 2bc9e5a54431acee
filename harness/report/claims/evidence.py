"""What a comparison was resting on, and what our own records say of a claim.

Sound arithmetic does not make one run against one an effect: that question stays open.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.records.schema import Record
from harness.report.claims.checks import FAILS, HOLDS, OPEN, Check
from harness.report.claims.interval import Interval
from harness.report.claims.pool import Pool
from harness.report.claims.solve import quantity
from harness.report.statistics import MIN_PAIRS


def checks(pool: Pool, records: Sequence[Record]) -> list[Check]:
    """How a difference was come by, then the records that speak to the claim."""
    return [*_comparison(pool), *_records(pool, records)]


def _comparison(pool: Pool) -> list[Check]:
    evidence, found = pool.claim.evidence, []
    runs = evidence.get("runs_each")
    if runs is not None and runs < MIN_PAIRS:
        each = "one run against one" if runs == 1 else f"{runs} runs against {runs}"
        text = f"{each}: nothing says how far two runs of the same arm lie apart"
        reading = "as a description of these very runs, without an effect"
        found.append(Check("evidence", text, OPEN, (reading,), decisive=True))
    included = evidence.get("timer_includes", ())
    if included:
        text = f"{_listed(included)} inside the timer: a ratio of whole runs of one length"
        reading = "for runs of exactly this length, started as these were"
        found.append(Check("evidence", text, OPEN, (reading,), decisive=True))
    differs = evidence.get("differs_in", ())
    if len(differs) > 1:
        text = f"the arms differ in {_listed(differs)}: a bundle, not one cause"
        found.append(Check("evidence", text, OPEN, ("of the bundle as a whole",), decisive=True))
    if evidence.get("tuned_equally") is False:
        text = "the arms were not tuned equally"
        found.append(Check("evidence", text, OPEN, ("at these settings alone",), decisive=True))
    return found


def _listed(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _records(pool: Pool, records: Sequence[Record]) -> list[Check]:
    """Records of the same sizes: their counted parameters, and timed rates on the same device."""
    model = pool.model
    if model is None or model.config is None:
        return []
    same = [record for record in records if _same_sizes(record, pool)]
    if not same:
        return []
    found = []
    stated = pool.claim.numbers.get("parameters")
    if stated is not None:
        counts = sorted({record.total_parameters for record in same})
        agrees = all(stated.interval.holds(count) for count in counts)
        text = f"{len(same)} of our records count {', '.join(f'{c:,}' for c in counts)} parameters"
        found.append(Check("records", text, HOLDS if agrees else FAILS))
    return found + _rates(pool, same)


def _same_sizes(record: Record, pool: Pool) -> bool:
    ours = record.config.get("model", {})
    assert pool.model is not None  # asked before
    assert pool.model.config is not None
    theirs = pool.model.config.model_dump(mode="json")
    sizes = (
        "vocab_size", "width", "layers", "heads", "kv_heads", "head_dim", "ffn", "activation",
        "qk_norm", "tied", "experts", "top_k",
    )  # fmt: skip
    return all(ours.get(name) == theirs[name] for name in sizes)


def _rates(pool: Pool, same: Sequence[Record]) -> list[Check]:
    """Timing runs only, on the claimed device: a training run's rate describes, no more."""
    stated = pool.claim.numbers.get("tokens_per_second")
    if stated is None or pool.peak is None:
        return []
    from harness.measure.hardware import peak_of

    rates = [
        record.timing.steady_tokens_per_second
        for record in same
        if record.status == "ok"
        and record.timing is not None
        and record.timing.timed
        and record.timing.steady_tokens_per_second is not None
        and (peak_of(record.hardware.gpu) == pool.peak)
    ]
    if not rates:
        return []
    middle = statistics.median(rates)
    low, high = min(rates), max(rates)
    text = (
        f"{len(rates)} timing runs of ours on a {pool.peak.name}: median "
        f"{quantity('tokens_per_second', Interval(middle, middle))} [{low:,.0f}, {high:,.0f}]"
    )
    verdict = HOLDS if stated.interval.overlaps(Interval(low, high)) else OPEN
    return [Check("records", text, verdict, ("for other code than ours",), decisive=False)]
