"""Reference rows: what each evaluated model scores on each text, as tables of traceable cells.

Bits per byte compare across tokenizers; whoever wins is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from harness.records.evaluation import Evaluation, Unigram, path_of
from harness.report.columns import Block, Measure, given, tabulate, text
from harness.report.table import ABSENT, Cell, Table, millions
from harness.stats.bootstrap import bits_per_byte_interval


def tables(evaluations: Sequence[Evaluation]) -> list[Table]:
    """A table for each text that was scored, in order of their names."""
    texts: dict[tuple[str, str], list[Evaluation]] = {}
    for evaluation in evaluations:
        texts.setdefault((evaluation.text, evaluation.text_digest), []).append(evaluation)
    return [_table(texts[key]) for key in sorted(texts)]


@dataclass(frozen=True)
class Pair:
    """Two runs of one recipe, scale and seed on the same documents: an arm and its reference."""

    arm: Evaluation
    reference: Evaluation

    @property
    def documents(self) -> list[tuple[float, int]]:
        """(nats of the arm less those of its reference, bytes), a document one."""
        both = zip(self.arm.document_nats, self.reference.document_nats, strict=True)
        less = [ours - theirs for ours, theirs in both]
        return list(zip(less, self.arm.document_bytes, strict=True))

    @property
    def difference(self) -> float:
        """Bits a byte, below 0 the arm is better."""
        return self.arm.bits_per_byte - self.reference.bits_per_byte

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the difference, over documents drawn together for both."""
        nats, sizes = zip(*self.documents, strict=True)
        return bits_per_byte_interval(nats, sizes)


def paired(
    evaluations: Sequence[Evaluation],
    reference_of: Mapping[str, str],
    group_of: Mapping[str, int] | None = None,
) -> list[Table]:
    """Every arm less its recipe's reference on each text, both on the same documents.

    `reference_of` names a recipe's reference arm; `group_of` says of a run's key which of the
    groups that may share a cell it is in: other settings' or other data's runs are no pair. The
    rows' intervals of the tables above are too wide to tell two models apart: most of what they
    hold is how hard the documents are, for both.
    """
    found = _pairs(evaluations, reference_of, group_of or {})
    if not found:
        return []
    names = _names([pair.arm for pair in found], lambda e: f"@{e.text}")
    rows = [(names[path_of(pair.arm)], pair) for pair in found]
    return [
        tabulate(
            "references.paired",
            "An arm less its recipe's reference in bits per byte, below 0 the arm is better: both "
            "on the same documents, which the interval resamples together. One seed: it says "
            "nothing of others.",
            "run@text",
            PAIRED,
            rows,
        )
    ]


def _pairs(
    evaluations: Sequence[Evaluation], reference_of: Mapping[str, str], group_of: Mapping[str, int]
) -> list[Pair]:
    runs: dict[tuple[Any, ...], Evaluation] = {
        (
            e.text, e.text_digest, e.context, e.subject.scale,
            group_of.get(e.subject.digest, -1), e.subject.name,
        ): e
        for e in evaluations
        if e.subject.kind == "run"
    }  # fmt: skip
    found = []
    for (*where, name), one in sorted(
        runs.items(), key=lambda run: (run[0][0], run[0][-1], run[0])
    ):
        recipe, arm, *rest = name.split("/")
        reference = reference_of.get(recipe)
        other = runs.get((*where, "/".join([recipe, str(reference), *rest])))
        if arm != reference and other is not None:
            found.append(Pair(one, other))
    return found


def _table(scored: Sequence[Evaluation]) -> Table:
    one = scored[0]
    names = _names(scored)
    rows: list[tuple[float, Block[Any]]] = [
        (e.bits_per_byte, Block([(names[path_of(e)], e)], MEASURES)) for e in scored
    ]
    rows += _unigrams(scored)
    rows.sort(key=lambda entry: (entry[0], next(iter(entry[1].rows))[0]))
    details = {e.subject.name: e.subject.detail for e in scored if e.subject.detail}
    return tabulate(
        f"references.{quote(one.text, safe='+,@=')}.{one.text_digest[:8]}",
        f"Bits per byte on `{one.text}`: {one.documents:,} documents, {one.bytes:,} bytes "
        "of UTF-8, whatever the tokenizer; best first.",
        "model",
        MEASURES,
        [],
        *(block for _, block in rows),
        notes=[f"{name}: {detail}" for name, detail in sorted(details.items())],
    )


def _names(
    scored: Sequence[Evaluation], after: Callable[[Evaluation], str] = lambda _: ""
) -> dict[str, str]:
    """Path -> a row's name: the subject's and what comes `after` it, with its context or digest
    where two share one."""
    names = {path_of(e): e.subject.name + after(e) for e in scored}
    for more in (lambda e: f"@{e.context}", lambda e: f" ({e.subject.digest[:8]})"):
        apart: dict[str, set[str]] = {}
        for e in scored:
            apart.setdefault(names[path_of(e)], set()).add(more(e))
        names = {
            path_of(e): names[path_of(e)] + (more(e) if len(apart[names[path_of(e)]]) > 1 else "")
            for e in scored
        }
    return names


def _whole(e: Evaluation) -> Cell:
    how = "summed nats / ln 2 / UTF-8 bytes"
    return _bits(e, f"{e.bits_per_byte:.4f}", how)


def _resampled(e: Evaluation) -> Cell:
    shown = ABSENT if e.interval is None else f"{e.interval[0]:.4f} to {e.interval[1]:.4f}"
    how = f"percentiles 2.5 and 97.5 of {e.resamples:,} bootstrap resamples of the documents"
    return _bits(e, shown, how)


def _bits(e: Evaluation, shown: str, how: str) -> Cell:
    what = f"bits per byte of {e.subject.name} on {e.text}"
    return Cell(shown, (path_of(e),), what, how, e.documents, e.interval)


def _as_evaluated(
    name: str, what: str, value: Callable[[Evaluation], str], how: str = "as evaluated",
    unit: str = "", *, left: bool = False,
) -> Measure[Evaluation]:  # fmt: skip
    return Measure(name, what, lambda e: [(value(e), path_of(e))], text(how), unit, left)


MEASURES = (
    given("bits_per_byte", _whole),
    given("interval", _resampled),
    _as_evaluated(
        "loss", "nats a scored token", lambda e: f"{e.loss:.4f}", "summed nats / tokens",
        "nats/token",
    ),
    _as_evaluated("tokens", "tokens scored", lambda e: f"{e.tokens:,}", "sum over documents"),
    _as_evaluated(
        "context", "tokens of context at most", lambda e: f"{e.context:,}", unit="tokens"
    ),
    _as_evaluated(
        "parameters", "parameters, total", lambda e: millions(e.subject.total_parameters),
        "counted", "M",
    ),
    _as_evaluated(
        "compute", "precision and device", lambda e: f"{e.dtype}, {e.device_class}", left=True
    ),
)  # fmt: skip


def _paired(
    name: str, value: Callable[[Pair], str], how: str, unit: str = "", *, left: bool = False
) -> Measure[Pair]:
    def cell(pair: Pair) -> Cell:
        files = (path_of(pair.arm), path_of(pair.reference))
        what = f"{name} of {pair.arm.subject.name} and {pair.reference.subject.name}"
        return Cell(value(pair), files, what, how, pair.arm.documents)

    return given(name, cell, unit, left=left)


def _range(pair: Pair) -> str:
    return ABSENT if pair.interval is None else "{:+.4f} to {:+.4f}".format(*pair.interval)


PAIRED = (
    _paired("reference", lambda p: p.reference.subject.name.split("/")[1], "declared", left=True),
    _paired(
        "difference", lambda p: f"{p.difference:+.4f}", "summed nats / ln 2 / bytes, subtracted",
        "bits/byte",
    ),
    _paired("interval", _range, "percentiles 2.5 and 97.5 of resamples of the documents"),
    _paired("documents", lambda p: f"{p.arm.documents:,}", "as evaluated"),
)  # fmt: skip

Scored = tuple[Evaluation, Unigram]


def _of_unigram(data: str) -> list[Measure[Scored]]:
    what = f"bits per byte of the unigram model of the training tokens {data[:12]}"

    def measure(name: str, what: str, value: Callable[[Scored], str], how: str) -> Measure[Scored]:
        return Measure(name, what, lambda row: [(value(row), path_of(row[0]))], text(how))

    nothing = [
        measure(name, what, lambda _: ABSENT, "none")
        for name in ("interval", "context", "parameters", "compute")
    ]
    return [
        measure(
            "bits_per_byte", what, lambda row: f"{row[1].bits_per_byte:.4f}",
            "summed nats / ln 2 / UTF-8 bytes",
        ),
        measure(
            "loss", "nats a scored token", lambda row: f"{row[1].nats / row[0].tokens:.4f}",
            "summed nats / tokens",
        ),
        measure("tokens", "tokens scored", lambda row: f"{row[0].tokens:,}", "sum over documents"),
        *nothing,
    ]  # fmt: skip


def _unigrams(scored: Sequence[Evaluation]) -> list[tuple[float, Block[Scored]]]:
    """A row for each training corpus whose unigram model was scored on the text."""
    known: dict[str, Scored] = {}
    for e in scored:
        if e.unigram is not None:
            known.setdefault(e.unigram.data_digest, (e, e.unigram))
    return [
        (
            row[1].bits_per_byte,
            Block(
                [("unigram" if len(known) == 1 else f"unigram {data[:8]}", row)], _of_unigram(data)
            ),
        )
        for data, row in known.items()
    ]
