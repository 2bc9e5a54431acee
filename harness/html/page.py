"""The report as HTML: the card's parts in another order and dress, one file that needs no other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from harness.evidence.sections import Section
from harness.html import charts, library, payload
from harness.html.series import series
from harness.report.draw import Figure, picture
from harness.report.inputs import Inputs
from harness.report.pages import CARD, Pages, Part
from harness.report.table import Table, escape

TEMPLATES = "templates"
POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src {connect}; base-uri 'none'; form-action 'none'"
)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_ELSEWHERE = re.compile(r"\]\((?:cards/)?([A-Za-z0-9][A-Za-z0-9._+=@,-]*)\.md(?:#[^)]*)?\)")
VERDICTS = (
    ("none", "cannot be compared", "not comparable"),
    ("same", "equivalent within", "equivalent"),
    ("open", "no detectable difference", "not detected"),
    ("good", "is better than", "better"),
    ("bad", "is worse than", "worse"),
    ("good", "faster", "faster"),
    ("bad", "slower", "slower"),
)
"""Class, what a sentence of that kind says, and the kind's name; the first that fits."""


@dataclass(frozen=True)
class AuditShown:
    """An audit of published claims, as the page lists it."""

    title: str
    summary: str
    claims: Sequence[Mapping[str, Any]]


@dataclass
class _Drawn:
    """The charts that the page's parts ask for."""

    charts: dict[str, Any] = field(default_factory=dict)
    given: str = ""


def page(
    made: Pages, inputs: Inputs, audits: Sequence[AuditShown] = (), *, beside: bool = True,
    live: bool = False,
) -> str:  # fmt: skip
    """The whole file's text.

    `beside` says that it will lie in the results folder, so that records can be linked to; `live`
    that a server feeds it.
    """
    drawn = _Drawn()
    card = made.parts[CARD]
    tables = {part.name: part for part in card if isinstance(part, Table)}
    forest = next((p for p in card if isinstance(p, Figure)), None)
    asked = sorted(made.found, key=lambda section: not _compares(section))
    lines = [one for section in asked if (one := series(section, inputs.prices))]
    surfaces, samples = _picked(made)
    data = payload.to_json(
        {
            **payload.provenance(made.index, inputs),
            "curves": lines,
            "beside": beside,
            "live": live,
        }
    )
    environment = _environment()
    render = environment.get_template("report.html.j2").render
    context: dict[str, Any] = {
        "title": "smol-harness: report",
        "verdicts": list(_verdicts(tables.get("findings"))),
        "forest": _figure(forest, drawn) if forest else None,
        "answers": _table_named(made, "answers"),
        "lines": lines,
        "surfaces": [_figure(figure, drawn) for figure in surfaces],
        "samples": samples,
        "audits": audits,
        "facts": [tables[name] for name in ("sizes", "spent", "texts") if name in tables],
        "pages": list(_pages(made, drawn)),
        "limits": _words(next((p for p in card if isinstance(p, str) and "## Limits" in p), "")),
        "counts": _counts(inputs),
        "live": live,
    }  # fmt: skip
    script = _asset("page.js") + (_asset("live.js") if live else "")
    scripts = " ".join(library.allowed(one) for one in (script, library.plotly()))
    return render(
        **context,
        style=Markup(_asset("page.css")),
        script=Markup(script),
        policy=POLICY.format(scripts=scripts, connect="'self'" if live else "'none'"),
        data=Markup(library.pack(data)),
        charts=Markup(library.pack(payload.to_json(drawn.charts))),
        library=Markup(library.packed()),
    )


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(TEMPLATES, name).read_text("utf-8")


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("harness.html", TEMPLATES), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=StrictUndefined,
    )  # fmt: skip
    made.filters["inline"] = _inline
    made.filters["slug"] = slug
    return made


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")


def slug(name: str) -> str:
    """A name as an element's id."""
    return "at-" + re.sub(r"[^A-Za-z0-9_.-]", "-", name)


def _here(text: str) -> str:
    """Links to the card's pages as links within this one."""
    return _ELSEWHERE.sub(lambda found: f"](#{slug('page-' + found[1])})", text)


def _words(text: str) -> Markup:
    """Markdown as HTML; tags in it are text, and headings stand below the page's own."""
    plain = _COMMENT.sub("", _FRONT.sub("", text)).strip()
    made = _markdown().render(_here(plain))
    return Markup(re.sub(r"(</?)h[1-5]>", r"\1h4>", made))


def _inline(text: str) -> Markup:
    """One line as the card prints it: code spans and links within the page, nothing else."""
    return Markup(_markdown().renderInline(_here(escape(text))))


def _compares(section: Section) -> bool:
    """Whether a section has a question about losses and an answer to it: those are drawn first."""
    question = section.group.question
    return bool(question.pairs) and question.metric == "val_loss" and section.role != "bundle"


def _verdicts(findings: Table | None) -> Iterator[dict[str, Any]]:
    for row in findings.rows if findings else ():
        answer = row.cells[0].text
        kind, _, word = next((v for v in VERDICTS if v[1] in answer), ("open", "", "described"))
        address = f"findings/{row.name}/answer"
        yield {"address": address, "kind": kind, "word": word, "text": answer}


def _counts(inputs: Inputs) -> dict[str, Any]:
    ended = [record for record in inputs.records if record.status == "ok"]
    return {
        "records": len(inputs.records),
        "ok": len(ended),
        "recipes": len({record.recipe for record in inputs.records}),
        "newest": max((record.created for record in inputs.records), default=None),
    }


def _pages(made: Pages, drawn: _Drawn) -> Iterator[dict[str, Any]]:
    """The card's pages, with their parts as the template prints them."""
    for file, parts in made.parts.items():
        if file == CARD:
            continue
        name = PurePosixPath(file).stem
        yield {
            "name": name,
            "title": name.removeprefix("about-"),
            "summary": _summary(parts),
            "parts": [_part(part, drawn) for part in parts if _shown(part)],
        }


def _summary(parts: Sequence[Part]) -> str:
    words = [p for p in parts if isinstance(p, str) and not p.startswith(("<!--", "# "))]
    first = words[0] if words else ""
    return first if len(first) < 160 and "\n" not in first and not first.startswith("#") else ""


def _shown(part: Part) -> bool:
    return not (isinstance(part, str) and part.startswith("<!--"))


def _part(part: Part, drawn: _Drawn) -> dict[str, Any]:
    if isinstance(part, Table):
        return {"kind": "table", "table": part}
    if isinstance(part, Figure):
        return {"kind": "figure", **_figure(part, drawn)}
    return {"kind": "words", "html": _words(part)}


def _figure(figure: Figure, drawn: _Drawn) -> dict[str, Any]:
    """A chart that the script draws, or, of data that it cannot, the picture itself."""
    made = charts.chart(figure.data)
    if made is not None:
        drawn.charts[figure.name] = made
    curves = made is None and figure.name.endswith(".curves")
    return {
        "name": figure.name, "alt": figure.alt, "caption": figure.caption,
        "height": made["height"] if made else 0, "curves": curves,
        "picture": None if made or curves else _embedded(figure),
    }  # fmt: skip


def _embedded(figure: Figure) -> str:
    from base64 import b64encode

    return f"data:image/png;base64,{b64encode(picture(figure.data)).decode()}"


def _picked(made: Pages) -> tuple[list[Figure], list[Table]]:
    """The searches' maps, and the answers before and after a stage."""
    parts = [part for parts in made.parts.values() for part in parts]
    surfaces = [p for p in parts if isinstance(p, Figure) and p.name.endswith(".tuning.figure")]
    samples = [p for p in parts if isinstance(p, Table) and p.name.endswith("-samples")]
    return surfaces, samples


def _table_named(made: Pages, name: str) -> Table | None:
    parts = (part for parts in made.parts.values() for part in parts)
    return next((p for p in parts if isinstance(p, Table) and p.name == name), None)
