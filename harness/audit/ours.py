"""What our own records say of a claim: sizes, timed rates, and the verdicts of our comparisons.

Another scale or device than the claim's can neither confirm nor refute it, and says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from harness.audit.pool import FAILS, HOLDS, OPEN, Check, Statements
from harness.machine.hardware import peak_of
from harness.records.schema import Record

_SIZES = (
    "vocab_size", "width", "layers", "heads", "kv_heads", "head_dim", "ffn", "activation",
    "qk_norm", "tied", "experts", "top_k",
)  # fmt: skip


def checks(pool: Statements, records: Sequence[Record]) -> list[Check]:
    """All that the records have to say."""
    same = [record for record in records if _same_sizes(record, pool)]
    found = [*_parameters(pool, same), *_rates(pool, same)]
    if pool.claim.compares and records:
        found += _verdicts(pool.claim.compares, records)
    return found


def _same_sizes(record: Record, pool: Statements) -> bool:
    if pool.model is None or pool.model.config is None:
        return False
    ours, theirs = record.config.get("model", {}), pool.model.config.model_dump(mode="json")
    return all(ours.get(name) == theirs[name] for name in _SIZES)


def _parameters(pool: Statements, same: Sequence[Record]) -> list[Check]:
    stated = pool.claim.numbers.get("parameters")
    if stated is None or not same:
        return []
    counts = sorted({record.total_parameters for record in same})
    agrees = all(stated.interval.holds(count) for count in counts)
    text = f"{len(same)} of our records count {', '.join(f'{c:,}' for c in counts)} parameters"
    return [Check("records", text, HOLDS if agrees else FAILS)]


def _rates(pool: Statements, same: Sequence[Record]) -> list[Check]:
    """Timing runs on the claimed device only: a training run's rate describes, no more."""
    stated = pool.claim.numbers.get("tokens_per_second")
    if stated is None or pool.peak is None:
        return []
    rates = [
        record.timing.steady_tokens_per_second
        for record in same
        if record.status == "ok"
        and record.timing is not None
        and record.timing.timed
        and record.timing.steady_tokens_per_second is not None
        and peak_of(record.hardware.gpu) == pool.peak
    ]
    if not rates:
        return []
    text = (
        f"{len(rates)} timing runs of ours on a {pool.peak.name}: median "
        f"{statistics.median(rates):,.0f} tokens/s [{min(rates):,.0f}, {max(rates):,.0f}]"
    )
    inside = stated.interval.low <= max(rates) and stated.interval.high >= min(rates)
    return [Check("records", text, HOLDS if inside else OPEN, ("for other code than ours",))]


def _verdicts(compares: Mapping[str, Any], records: Sequence[Record]) -> list[Check]:
    """The verdicts of our comparison of the same two arms, wherever it was run."""
    from harness.evidence.differences import differences  # only where a claim asks
    from harness.evidence.sections import sections

    of_recipe = [record for record in records if record.recipe == compares["recipe"]]
    found = []
    for section in sections(of_recipe) if of_recipe else []:
        for one in differences(section):
            if {one.arm, one.against} != {compares["arm"], compares["against"]}:
                continue
            if one.value.mean is None:
                continue
            verdict = one.verdict.text if one.verdict else "exploratory, no verdict"
            text = (
                f"ours, {section.name} at horizon {one.horizon}: {one.arm} less {one.against} "
                f"{one.value.mean:+.4f} nats a token over {one.value.n} pairs, {verdict}; at that "
                f"scale and device, and no other"
            )
            found.append(Check("records", text, OPEN))
    return found
