"""Reference rows: what each evaluated model scores on each text, as tables of traceable cells.

Bits per byte compare across tokenizers; whoever wins is shown. Pure functions of evaluations; may
not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from harness.records.evaluation import Evaluation, Unigram, path_of
from harness.report.tables import Cell, Column, Row, Table, millions, plain

COLUMNS = (
    Column("bits_per_byte"),
    Column("interval"),
    Column("loss", "nats/token"),
    Column("tokens"),
    Column("context", "tokens"),
    Column("parameters", "M"),
    Column("compute", left=True),
)
NOT_APPLICABLE = "–"


def tables(evaluations: Sequence[Evaluation]) -> list[Table]:
    """A table for each text that was scored, in order of their names."""
    texts: dict[tuple[str, str], list[Evaluation]] = {}
    for evaluation in evaluations:
        texts.setdefault((evaluation.text, evaluation.text_digest), []).append(evaluation)
    return [_table(texts[key]) for key in sorted(texts)]


def _table(scored: Sequence[Evaluation]) -> Table:
    one = scored[0]
    names = _names(scored)
    rows = [(e.bits_per_byte, _row(names[path_of(e)], e)) for e in scored] + _unigrams(scored)
    details = {e.subject.name: e.subject.detail for e in scored if e.subject.detail}
    return Table(
        name=f"references.{quote(one.text, safe='+,@=')}.{one.text_digest[:8]}",
        caption=f"Bits per byte on `{one.text}`: {one.documents:,} documents, {one.bytes:,} bytes "
        "of UTF-8, whatever the tokenizer; best first.",
        corner="model",
        columns=COLUMNS,
        rows=tuple(row for _, row in sorted(rows, key=lambda entry: (entry[0], entry[1].name))),
        notes=tuple(f"{name}: {detail}" for name, detail in sorted(details.items())),
    )


def _names(scored: Sequence[Evaluation]) -> dict[str, str]:
    """Path -> a row's name: the subject's, with its context or digest where two share one."""
    names = {path_of(e): e.subject.name for e in scored}
    for more in (lambda e: f"@{e.context}", lambda e: f" ({e.subject.digest[:8]})"):
        taken = list(names.values())
        names = {
            path_of(e): names[path_of(e)] + (more(e) if taken.count(names[path_of(e)]) > 1 else "")
            for e in scored
        }
    return names


def _row(name: str, e: Evaluation) -> Row:
    path = [path_of(e)]
    what = f"bits per byte of {e.subject.name} on {e.text}"
    whole = "summed nats / ln 2 / UTF-8 bytes"
    bootstrap = f"percentiles 2.5 and 97.5 of {e.resamples:,} bootstrap resamples of the documents"
    interval = (
        NOT_APPLICABLE if e.interval is None else f"{e.interval[0]:.4f} to {e.interval[1]:.4f}"
    )
    return Row(
        name,
        (
            Cell(f"{e.bits_per_byte:.4f}", tuple(path), what, whole, e.documents, e.interval),
            Cell(interval, tuple(path), what, bootstrap, e.documents, e.interval),
            plain(f"{e.loss:.4f}", path, "nats a scored token", "summed nats / tokens"),
            plain(f"{e.tokens:,}", path, "tokens scored", "sum over documents"),
            plain(f"{e.context:,}", path, "tokens of context at most", "as evaluated"),
            plain(millions(e.subject.total_parameters), path, "parameters, total", "counted"),
            plain(f"{e.dtype}, {e.device_class}", path, "precision and device", "as evaluated"),
        ),
    )


def _unigrams(scored: Sequence[Evaluation]) -> list[tuple[float, Row]]:
    """A row for each training corpus whose unigram model was scored on the text."""
    known: dict[str, tuple[Evaluation, Unigram]] = {}
    for e in scored:
        if e.unigram is not None:
            known.setdefault(e.unigram.data_digest, (e, e.unigram))
    rows = []
    for data, (e, unigram) in known.items():
        path = [path_of(e)]
        what = f"bits per byte of the unigram model of the training tokens {data[:12]}"
        bits, loss = f"{unigram.bits_per_byte:.4f}", f"{unigram.nats / e.tokens:.4f}"
        cells = [
            plain(bits, path, what, "summed nats / ln 2 / UTF-8 bytes"),
            plain(NOT_APPLICABLE, path, what, "none"),
            plain(loss, path, "nats a scored token", "summed nats / tokens"),
            plain(f"{e.tokens:,}", path, "tokens scored", "sum over documents"),
            *(plain(NOT_APPLICABLE, path, what, "none") for _ in COLUMNS[4:]),
        ]
        name = "unigram" if len(known) == 1 else f"unigram {data[:8]}"
        rows.append((unigram.bits_per_byte, Row(name, tuple(cells))))
    return rows
