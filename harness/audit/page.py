"""The claims audit: published numbers against arithmetic, physics and our own records.

A function of a claims file and of records. Each claim gets what it implies with the arithmetic
shown, a verdict, and the reading under which it would hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.audit import arithmetic, evidence, ours, physics
from harness.audit.claims import Claim, ClaimsFile
from harness.audit.pool import FAILS, HOLDS, OPEN, Check, Statements, Verdict, gather
from harness.audit.readings import micro_step
from harness.records.schema import Record
from harness.report.table import escape, one_line

NOTHING = {
    "score": "a benchmark's score follows from nothing else that is stated: it takes the "
    "evaluation itself",
    "quality": "a loss follows from nothing else that is stated: it takes the evaluation itself",
}
"""Kind -> why a claim without a test cannot be tested."""


@dataclass(frozen=True)
class AuditedClaim:
    """One claim, tested."""

    claim: Claim
    checks: tuple[Check, ...]
    verdict: Verdict
    readings: tuple[str, ...]

    @property
    def implied(self) -> tuple[str, ...]:
        """What the claim implies, the decisive tests first."""
        return tuple(check.text for check in self.checks)


def audit(card: ClaimsFile, records: Sequence[Record] = ()) -> list[AuditedClaim]:
    """Every claim of a file, in its order."""
    pools = list(gather(card))
    physical = physics.checks(pools)
    return [_audited(pool, own, records) for pool, own in zip(pools, physical, strict=True)]


def _audited(
    pool: Statements, physical: Sequence[Check], records: Sequence[Record]
) -> AuditedClaim:
    found = [
        *arithmetic.checks(pool),
        *physical,
        *evidence.checks(pool),
        *ours.checks(pool, records),
    ]
    if all(check.ground == "quote" for check in found):
        why = NOTHING.get(pool.claim.kind, "nothing that is stated contradicts or confirms it")
        text = "; ".join([*arithmetic.implications(pool), why])
        found.append(Check("arithmetic", text, OPEN))
    found = _unique(found)
    verdict = _verdict(found)
    readings = [] if verdict == HOLDS else _readings(pool, found, verdict)
    return AuditedClaim(pool.claim, tuple(found), verdict, tuple(readings))


def _unique(checks: list[Check]) -> list[Check]:
    """Failures first; the same line once (arithmetic and physics share relations)."""
    order = {FAILS: 0, OPEN: 1, HOLDS: 2}
    seen: dict[str, Check] = {}
    for check in sorted(checks, key=lambda c: order[c.verdict]):
        seen.setdefault(check.text, check)
    return list(seen.values())


def _verdict(checks: list[Check]) -> Verdict:
    if any(check.verdict == FAILS for check in checks):
        return FAILS
    if any(check.verdict == OPEN and check.decisive for check in checks):
        return OPEN
    return HOLDS if any(check.verdict == HOLDS for check in checks) else OPEN


def _readings(pool: Statements, checks: list[Check], verdict: Verdict) -> list[str]:
    told = [reading for check in checks if check.verdict == verdict for reading in check.readings]
    told += [r for check in checks if check.verdict == OPEN for r in check.readings]
    stepped = micro_step(pool) if verdict == FAILS else None
    return list(dict.fromkeys(([stepped] if stepped else []) + told))


def summary(findings: Sequence[AuditedClaim]) -> str:
    """`23 claims: 12 hold, 6 do not, 5 cannot be tested`."""
    count = {v: sum(f.verdict == v for f in findings) for v in (HOLDS, FAILS, OPEN)}
    return (
        f"{len(findings)} claims: {count[HOLDS]} hold, {count[FAILS]} do not, "
        f"{count[OPEN]} cannot be tested"
    )


def markdown(card: ClaimsFile, findings: Sequence[AuditedClaim]) -> str:
    """The table, as Markdown: claim, what it implies, verdict, reading."""
    copy = f" ({escape(card.copy)})" if card.copy else ""
    lines = [
        f"## {escape(card.title)}",
        "",
        f"{escape(card.address)}, read {card.read}{copy}. {summary(findings)}.",
        "",
        "| claim | what it implies | verdict | would hold |",
        "|:---|:---|:---|:---|",
    ]
    for one in findings:
        note = f"<br>*{escape(one.claim.note)}*" if one.claim.note else ""
        lines.append(
            f"| **{escape(one.claim.id)}**: “{escape(one.claim.quote)}”{note} | "
            f"{'<br>'.join(escape(text) for text in one.implied)} | {one.verdict} | "
            f"{'<br>'.join(escape(text) for text in one.readings) or '–'} |"
        )
    return "\n".join(lines) + "\n"


def plain(card: ClaimsFile, findings: Sequence[AuditedClaim]) -> str:
    """The same for a terminal: one block a claim."""
    copy = f" ({one_line(card.copy)})" if card.copy else ""
    blocks = [f"{one_line(card.title)}\n{one_line(card.address)}, read {card.read}{copy}"]
    for one in findings:
        place = f" ({one_line(card.place(one.claim))})" if card.name else ""
        lines = [f"[{one.verdict}] {one.claim.id}{place}: “{one_line(one.claim.quote)}”"]
        if one.claim.note:
            lines.append(f"    known:   {one_line(one.claim.note)}")
        lines += [f"    implies: {text}" for text in one.implied]
        lines += [f"    holds:   {text}" for text in one.readings]
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, summary(findings)]) + "\n"


def as_json(card: ClaimsFile, findings: Sequence[AuditedClaim]) -> dict[str, Any]:
    """The same for a program."""
    return {
        "file": card.name,
        "title": card.title,
        "address": card.address,
        "read": str(card.read),
        "copy": card.copy,
        "claims": [
            {
                "id": one.claim.id,
                "line": one.claim.line,
                "kind": one.claim.kind,
                "quote": one.claim.quote,
                "address": one.claim.address,
                "read": str(one.claim.read),
                "note": one.claim.note,
                "verdict": one.verdict,
                "would_hold": list(one.readings),
                "checks": [
                    {"ground": c.ground, "implies": c.text, "verdict": c.verdict}
                    for c in one.checks
                ],
            }
            for one in findings
        ],
    }
