"""Records as tidy pandas frames, one row an observation: `harness.results` gives them.

The numbers and verdicts are those of the card; nothing is computed here that it does not print.
Each frame is made when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import RequestError
from harness.evidence import query
from harness.evidence.differences import differences
from harness.evidence.sections import Section, sections
from harness.records import store
from harness.records.schema import Record
from harness.report.compare import METRICS, Comparison, of_section, summary
from harness.report.sentence import sentence

RUN = ("recipe", "scale", "device", "arm", "seed", "stage", "key")
"""The columns that name a run, in every frame of runs."""
END = ("update", "tokens", "flops", "seconds", "val_loss", "bits_per_byte", "epochs", "path")
"""Of an endpoint, as `evidence.endpoints.Reached` has them; `unigram` is a loss as well."""


class Results:
    """What a results folder holds. Reading 10,000 records takes some seconds, once."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Of all records of a folder, every attempt."""
        self.records = tuple(records)
        """As they were read, through their migrations."""

    @classmethod
    def read(cls, folder: str | Path) -> Results:
        """Of a folder such as `results` or `results/smoke`.

        Raises RequestError where there is none, or a file in it is no record.
        """
        place = Path(folder)
        if not (place / "records").is_dir():
            raise RequestError(f"no records in '{place}': `smol run` makes them")
        return cls(store.read_all(place))

    @cached_property
    def sections(self) -> list[Section]:
        """The parts of the card: what may share a table."""
        return sections(self.records)

    @cached_property
    def _shown(self) -> list[Record]:
        return query.attempts(self.records)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run: the newest of its attempts that ended well, else the newest.

        Columns: those that name it (`recipe scale device arm seed stage key`); `axis.NAME`, what
        its arm is on each axis; `status` and `error`; `created`, a time; `updates`, `tokens`;
        `total_parameters`, `active_parameters`; `seconds` of the whole run and
        `tokens_per_second` of its steady part (described, unless `timed`); `peak_bytes`;
        `device_class`; `initial_loss` in nats a token; `path` of the record below the folder.
        """
        return _frame([_run(record) for record in self._shown], [*RUN, "status"], ["created"])

    @cached_property
    def endpoints(self) -> pd.DataFrame:
        """A row an (arm, seed, horizon) that counts in the card.

        Columns: `section recipe scale device arm seed horizon`; `update`, `tokens`, `flops`
        (training, causal), `seconds`; `val_loss` in nats a token, `bits_per_byte`; `epochs`;
        `unigram`, the loss of a model that only counts; `path` of the record.
        """
        rows = [
            {**_place(section), "arm": end.arm, "seed": end.seed, "horizon": end.horizon,
             **{name: getattr(end, name) for name in (*END, "unigram")}}
            for section in self.sections
            for end in section.group.ends
        ]  # fmt: skip
        return _frame(rows, ["section", "recipe", "scale", "device", "arm", "seed", "horizon"])

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row a point of a run's curves.

        Columns: those that name the run; `split`, `train` or `validation`; `update`, `tokens`;
        `loss` in nats a token; of validation `bits_per_byte`, `flops`, `seconds`; of training
        `grad_norm`, `learning_rate_factor`. Of long runs training holds every n-th update.
        """
        rows: list[dict[str, Any]] = []
        for record in self._shown:
            named = _named(record)
            rows += [{**named, "split": "train", **point.model_dump()} for point in record.training]
            for seen in record.validation:
                fields = seen.model_dump()
                rows.append(
                    {**named, "split": "validation", "loss": fields.pop("val_loss"), **fields}
                )
        return _frame(rows, [*RUN, "split", "update", "tokens", "loss"])

    @cached_property
    def updates(self) -> pd.DataFrame:
        """A row a timed update: columns that name the run, `update` (counted from the run's first,
        1) and `seconds`. Of long runs the first 5,000; `timed` says whether nothing else ran."""
        rows = [
            {**_named(record), "update": record.first_update + number, "seconds": seconds,
             "timed": query.timing_fault(record) is None}
            for record in self._shown
            if record.timing is not None
            for number, seconds in enumerate(record.timing.update_seconds, 1)
        ]  # fmt: skip
        return _frame(rows, [*RUN, "update", "seconds", "timed"])

    @cached_property
    def differences(self) -> pd.DataFrame:
        """A row a comparison of an arm with its reference, at a horizon or of their rates.

        Columns: `section recipe scale device`; `arm`, `against`; `horizon` (none for rates);
        `metric`; `primary`, whether the recipe asked it beforehand; `difference`, arm less
        reference, with `low` and `high` (of rates the ratio and its interval) at `level`;
        `pairs`; `detectable` in 80 % of cases; `kind`, the verdict's first words (`better`,
        `worse`, `equivalent`, `no detectable difference`, `not comparable`, or exploratory), and
        `verdict`, all of it; `worth` in training tokens; `outlay`, minutes and memory; `sentence`,
        where the question was asked. What may not be compared has no number.
        """
        rows = [row for section in self.sections for row in _compared(section)]
        return _frame(rows, ["section", "arm", "against", "horizon", "difference", "verdict"])


def _frame(
    rows: list[dict[str, Any]], columns: Sequence[str], times: Iterable[str] = ()
) -> pd.DataFrame:
    """With at least these columns, also where there is no row."""
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(columns))
    for name, values in frame.items():  # numbers of which some are not known
        known = values.dropna()
        if values.dtype == object and all(isinstance(one, (int, float)) for one in known):
            frame[name] = values.astype(float)
    for name in times:
        if name in frame:
            frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


def _named(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in RUN}


def _place(section: Section) -> dict[str, Any]:
    return {
        "section": section.name, "recipe": section.recipe, "scale": section.scale,
        "device": section.device,
    }  # fmt: skip


def _run(record: Record) -> dict[str, Any]:
    timing, axes = record.timing, {f"axis.{n}": v for n, v in record.arm_values.items()}
    return {
        **_named(record),
        **axes,
        "status": record.status,
        "error": record.error,
        "created": record.created,
        "updates": record.updates_done,
        "tokens": record.tokens_done,
        "total_parameters": record.total_parameters,
        "active_parameters": record.active_parameters,
        "seconds": timing.wall_seconds if timing else None,
        "tokens_per_second": timing.steady_tokens_per_second if timing else None,
        "timed": query.timing_fault(record) is None,
        "peak_bytes": record.memory.peak_bytes if record.memory else None,
        "device_class": record.hardware.device_class,
        "initial_loss": record.initial_loss,
        "path": store.path_of(record),
    }


def _compared(section: Section) -> Iterator[dict[str, Any]]:
    question = section.group.question
    metric = next(one for one in METRICS if one == question.metric)
    if metric == "tokens_per_second":
        found = [(*pair, one) for pair in question.pairs for one in of_section(section, *pair)]
    else:
        found = [(one.against, one.arm, summary(one, metric)) for one in differences(section)]
    for against, arm, one in found:
        primary = (against, arm) in question.pairs and one.horizon in (None, question.at)
        yield {
            **_place(section), "arm": arm, "against": against, "horizon": one.horizon,
            "metric": one.metric, "primary": primary, **_numbers(one),
            "sentence": sentence(section, against, arm, one) if primary else None,
        }  # fmt: skip


def _numbers(one: Comparison) -> dict[str, Any]:
    value, low, high = one.difference, None, None
    if one.ratio is not None:
        value, (low, high) = one.ratio, one.interval or (None, None)
    elif value is not None and one.half_width is not None:
        low, high = value - one.half_width, value + one.half_width
    kind = one.verdict.partition(":")[0].partition(" within ")[0].partition(" (")[0]
    return {
        "difference": value, "low": low, "high": high, "level": one.level, "pairs": one.pairs,
        "detectable": one.detectable, "kind": kind, "verdict": one.verdict, "worth": one.worth,
        "outlay": one.outlay,
    }  # fmt: skip
