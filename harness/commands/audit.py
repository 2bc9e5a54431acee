"""`smol audit`: published claims against arithmetic, physics and our own records. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.audit import claims as file
from harness.audit import page as audits
from harness.commands import places
from harness.commands.options import JsonOption, ResultsOption
from harness.errors import CheckFailed, RequestError, nearest
from harness.launch import terminal
from harness.records import store


@dataclass(frozen=True)
class Options:
    """Check published claims against arithmetic and physics.

    Our own records are asked as well. Exit code 1 if a claim does not hold.
    """

    claims: Annotated[
        str | None,
        typer.Argument(
            metavar="[CLAIMS.toml]",
            show_default=False,
            help="A claims file, or a shipped audit's name. Default: the seed card's claims.",
        ),
    ] = None
    as_json: JsonOption = False
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = (
        False
    )
    results: ResultsOption = None


def audit(options: Options) -> None:
    """Print the audit of a claims file, of a shipped one by name, or of the seed card.

    Raises CheckFailed where a claim does not hold, RequestError for a file that is none.
    """
    folder = places.results_folder(None, options.results)
    card = file.load(_path(options.claims), folder)
    findings = audits.audit(card, store.read_all(folder))
    if options.as_json:
        print(json.dumps(audits.as_json(card, findings), indent=1, ensure_ascii=False))
    elif options.markdown:
        print(audits.markdown(card, findings), end="")
    else:
        terminal.lines(audits.plain(card, findings).rstrip("\n"))
    failed = [
        f"{one.claim.id} ({card.place(one.claim)})"
        for one in findings
        if one.verdict == "does not hold"
    ]
    if failed:
        noun = "claim does" if len(failed) == 1 else "claims do"
        raise CheckFailed(f"{len(failed)} of {len(findings)} {noun} not hold: {', '.join(failed)}")


def _path(claims: str | None) -> Path | None:
    if claims is None:
        return None
    if claims in file.shipped():
        return file.shipped()[claims]
    path = Path(claims)
    if not path.exists():
        raise RequestError(f"no claims file '{claims}'{nearest(claims, file.shipped())}")
    return path
