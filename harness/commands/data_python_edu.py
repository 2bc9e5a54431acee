"""`smol data prepare python-edu`: the files of python-edu, downloaded from Software Heritage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.commands.options import OutOption, SourceOption
from harness.commands.prepared import check_source, say
from harness.data.sealing import DATA, check_place, resumable
from harness.errors import RequestError
from harness.presets import SMOLLM_CORPUS


@dataclass(frozen=True)
class Options:
    """Download the Python files of python-edu.

    They come from Software Heritage. The folder is a --dataset for `smol data prepare pretrain`.
    """

    out: OutOption
    source: SourceOption = "hub"
    blobs: Annotated[
        str,
        typer.Option(
            "--blobs", help="Which files: hub, or a .parquet, .jsonl or .txt file of blob ids."
        ),
    ] = "hub"
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Only the first so many blobs."),
    ] = None
    connections: Annotated[
        int,
        typer.Option(
            "--connections", min=1, metavar="N", help="How many requests run at the same time."
        ),
    ] = 32
    max_bytes: Annotated[
        int,
        typer.Option(
            "--max-bytes",
            min=1,
            metavar="N",
            help="Leave out files longer than this when unpacked.",
        ),
    ] = 4_000_000
    part_blobs: Annotated[
        int, typer.Option("--part-blobs", min=1, metavar="N", help="Blobs in one parquet file.")
    ] = 10_000


def data_python_edu(options: Options) -> None:
    """Download the files to `out`; what was cut off goes on. Raises RequestError."""
    check_source(options.source)
    check_place(options.out)
    asked = {
        "max_bytes": options.max_bytes, "part_blobs": options.part_blobs, "limit": options.limit,
    }  # fmt: skip
    if options.source == "embedded":
        _write_embedded(options, asked)
    else:
        _download(options, asked)
    print(options.out)


def _write_embedded(options: Options, asked: dict[str, Any]) -> None:
    from harness.data import blob_twin, blobs

    if options.blobs != "hub":
        raise RequestError("--source embedded has its own files; --blobs needs hub")
    asked = {**asked, "source": options.source}
    with resumable(options.out, asked, lambda: None, say, mark=blobs.BEGUN) as (work, _):
        summary = blob_twin.build(
            work / DATA, limit=options.limit, max_bytes=options.max_bytes,
            part_blobs=options.part_blobs,
        )  # fmt: skip
    print(f"{summary['kind']}: {blobs.describe(summary['counts'])}")


def _download(options: Options, asked: dict[str, Any]) -> None:
    from harness.data import blobs, hub

    request = blobs.BlobRequest(options.connections, options.max_bytes, options.part_blobs)
    table = hub.DataTable(SMOLLM_CORPUS[0].dataset, "python-edu", "train", "blob_id")
    listed = None if options.blobs == "hub" else Path(options.blobs)
    if listed is not None and not listed.is_file():
        raise RequestError(f"--blobs: no file '{listed}'; 'hub' reads them from the Hub")
    digest = hashlib.sha256(listed.read_bytes()).hexdigest() if listed else "hub"

    def pin() -> str | None:
        return None if listed else hub.pin(table, say).revision

    def ids(revision: str | None) -> Iterator[str]:
        if listed is not None:
            return blobs.read_ids(listed)
        pinned = replace(table, revision=revision)
        found = hub.batches(pinned, 0, rows=1000, progress=say)
        return (blob_id for batch in found for blob_id in batch.values)

    asked = {**asked, "blobs": digest}
    with resumable(options.out, asked, pin, say, mark=blobs.BEGUN) as (work, revision):
        summary = blobs.build(islice(ids(revision), options.limit), request, work, say)
    print(blobs.describe(summary["counts"]))
