"""From a results folder to the page: what is read, audited and put together."""

from __future__ import annotations

from pathlib import Path

from harness.audit import claims
from harness.audit import page as audits
from harness.html import page
from harness.html.page import AuditShown
from harness.report import inputs, pages
from harness.report.inputs import Inputs


def report(results: Path, *, beside: bool = True, live: bool = False) -> str:
    """The report of a results folder, as HTML. Raises RequestError for a broken folder.

    `beside` says that the file will lie in that folder; `live` that a server feeds it.
    """
    read = inputs.read(results)
    return page.page(pages.build(read), read, audited(results, read), beside=beside, live=live)


def audited(results: Path, read: Inputs) -> list[AuditShown]:
    """The audits that come with the package, against these records: the seed card's first."""
    found = []
    for path in (None, *claims.shipped().values()):
        card = claims.load(path, results)
        findings = audits.audit(card, read.records)
        plain = audits.as_json(card, findings)
        found.append(AuditShown(card.title, audits.summary(findings), plain["claims"]))
    return found
