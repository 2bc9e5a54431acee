"""What the commands of `smol data prepare` share: sources, the tokenizer, a line of progress."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import RequestError, nearest
from harness.launch import terminal

if TYPE_CHECKING:
    from harness.data.hub import DataTable

SOURCES = ("hub", "embedded")
DatasetOption = Annotated[
    list[str],
    typer.Option(
        "--dataset",
        show_default=False,
        help="An id on the Hub, or a local file or folder. May be repeated. Default: that of the "
        "seed card.",
    ),
]
SubsetOption = Annotated[
    list[str],
    typer.Option(
        "--subset",
        show_default=False,
        help="The subset of each --dataset in turn, '-' for none. Default: none, but for the seed "
        "card's.",
    ),
]
ShareOption = Annotated[
    list[float],
    typer.Option(
        "--share",
        show_default=False,
        help="The share that each --dataset gives (of the tokens, or conversations), in turn.",
    ),
]
SplitOption = Annotated[
    list[str],
    typer.Option(
        "--split",
        show_default=False,
        help="The split of each --dataset, in turn. Default: train.",
    ),
]


def say(line: str) -> None:
    """A line of progress."""
    terminal.lines(line)


def check_source(source: str) -> None:
    """Raises RequestError for a source that is none."""
    if source not in SOURCES:
        raise RequestError(f"no source '{source}'{nearest(source, SOURCES)}")


def check(source: str, val_fraction: float) -> None:
    """Raises RequestError for a source that is none, or a share that leaves nothing to train on."""
    check_source(source)
    if not 0.0 < val_fraction < 1.0:
        raise RequestError(f"--val-fraction must be inside (0, 1), not {val_fraction:g}")


def tokenizer_folder(chosen: str | None, source: str, scale: str = "smoke") -> Path:
    """The tokenizer's folder; without a choice SmolLM2's, embedded the scale's own."""
    from harness.data import given

    if chosen is not None or source == "hub":
        return given.find(chosen or given.SMOLLM2, say)
    from harness import presets
    from harness.data.prepare import prepare

    prepared = prepare(presets.run(scale).data, progress=say)
    say(f"tokenizer: the one fitted on {scale}'s text, {prepared.manifest.vocab_size:,} tokens")
    return prepared.folder


def tables(
    datasets: list[str],
    subsets: list[str],
    shares: list[float],
    splits: list[str],
    columns: list[str],
) -> list[tuple[DataTable, float]]:
    """What is read and its share; an option given once counts for all. Raises RequestError."""
    from harness.data.hub import DataTable
    from harness.presets import SMOLLM_CORPUS

    corpus = SMOLLM_CORPUS[0].dataset
    if not datasets and not subsets:
        subsets = [source.name for source in SMOLLM_CORPUS]
        shares = shares or [source.share for source in SMOLLM_CORPUS]
    datasets = datasets or [corpus]
    count = max(len(datasets), len(subsets), 1)
    shares = shares or ([1.0] if count == 1 else [])

    def each(option: str, given: list[str], default: str) -> list[str]:
        many = given or [default]
        if len(many) not in (1, count):
            raise RequestError(f"{option} is given {len(many)} times for {count} sources")
        return many * count if len(many) == 1 else many

    if len(shares) != count:
        raise RequestError(f"--share is given {len(shares)} times for {count} sources")
    # Written so that NaN, which compares false with everything, is refused as well.
    if not (all(share > 0 for share in shares) and abs(sum(shares) - 1.0) <= 1e-6):
        raise RequestError(f"the shares must be positive and sum to 1, not {sum(shares):g}")
    found = [
        (DataTable(dataset, None if subset == "-" else subset, split, column), share)
        for dataset, subset, split, column, share in zip(
            each("--dataset", datasets, corpus), each("--subset", subsets, "-"),
            each("--split", splits, "train"), each("--text-column", columns, "text"),
            shares, strict=True,
        )
    ]  # fmt: skip
    for table, _ in found:
        check_there(table)
    names = [table.name for table, _ in found]
    if len(set(names)) < len(names):
        raise RequestError(f"two sources of one name: {', '.join(names)}")
    return found


_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def check_there(table: DataTable) -> None:
    """Raises RequestError for what is a path rather than an id on the Hub, and is not there."""
    from harness.data.rows import ENDINGS

    name = table.dataset
    path = name.startswith(("/", ".", "~")) or not _HUB_ID.fullmatch(name)
    if not table.local and (path or Path(name).suffix.lower() in ENDINGS):
        raise RequestError(f"no file or folder '{name}', and that is no id of the Hub either")
