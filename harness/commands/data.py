"""`smol data prepare ...`: from the user's words to a request, and what came of it in print."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.manifest import describe
from harness.data.sealing import DATA, PREPARATION, check_place, resumable
from harness.errors import RequestError, nearest

if TYPE_CHECKING:
    from harness.data.hub import Batch, Table
    from harness.data.pretrain import PretrainRequest
    from harness.data.read_ahead import TextSource

SOURCES = ("hub", "embedded")
SFT_CONVERSATIONS = 50_000
CORPUS = "HuggingFaceTB/smollm-corpus"
CORPUS_SHARES = {"fineweb-edu-dedup": 0.7, "cosmopedia-v2": 0.3}
SMALL_TARGET = 500_000
"""Up to here the standard library's text suffices; above, embedded text comes from wheels."""
BATCH_ROWS = 64
"""Documents that one process tokenizes at a time."""


def say(line: str) -> None:
    """A line of progress."""
    print(line, flush=True)


def prepare_sft(
    *,
    out: Path,
    source: str,
    conversations: int | None,
    max_epochs: int,
    seq_len: int,
    tokenizer: str | None,
    val_fraction: float,
    part_conversations: int,
    seed: int,
) -> None:
    """Write the fine-tuning mix to `out`; what was cut off goes on. Raises RequestError."""
    from harness import presets
    from harness.data import sft, sources

    _check(source, val_fraction)
    check_place(out)
    if source == "hub" and conversations is None:
        conversations = SFT_CONVERSATIONS
    request = sft.SftRequest(
        conversations, max_epochs, seq_len, val_fraction, seed,
        part_conversations=part_conversations,
    )  # fmt: skip
    wanted = presets.SMOLTALK if source == "hub" else presets.EMBEDDED_TALKS
    prepared = sources.build_talks(request, wanted, _tokenizer(tokenizer, source), out, say)
    preparation = json.loads((out / PREPARATION).read_text(encoding="utf-8"))
    print(sft.describe(preparation))
    print(f"validation: {preparation['val_target_tokens']:,} target tokens; unigram model "
          f"{prepared.manifest.unigram_val_loss:.4f} nats a token")  # fmt: skip
    print(out)


def prepare_pretrain(
    *,
    out: Path,
    target_tokens: int,
    source: str,
    datasets: list[str],
    subsets: list[str],
    shares: list[float],
    splits: list[str],
    columns: list[str],
    seq_len: int,
    tokenizer: str | None,
    val_fraction: float,
    val_tokens: int,
    processes: int | None,
    block_rows: int,
    seed: int,
) -> None:
    """Write the pretraining mix to `out`; what was cut off goes on. Raises RequestError."""
    from harness.data import pretrain
    from harness.data.pretrain_state import STATE
    from harness.machine.hardware import cores

    _check(source, val_fraction)
    check_place(out)
    request = pretrain.PretrainRequest(
        target_tokens, seq_len, val_fraction, val_tokens, seed, block_rows
    )
    chosen = tables(datasets, subsets, shares, splits, columns) if source == "hub" else []
    if source == "embedded" and (datasets or subsets or shares or splits or columns):
        raise RequestError("--source embedded has its own text; --dataset and the like need hub")
    folder = _tokenizer(tokenizer, source, "smoke" if target_tokens <= SMALL_TARGET else "proxy")
    asked = {
        **asdict(request),
        "source": source,
        "tokenizer": hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest(),
        "tables": [[asdict(table), share] for table, share in chosen],
    }

    def pin() -> list[str | None]:
        from harness.data import hub

        return [hub.pin(table, say).revision for table, _ in chosen]

    with resumable(out, asked, pin, say, mark=STATE) as (work, revisions):
        if source == "hub":
            pinned = [
                (replace(table, revision=revision), share)
                for (table, share), revision in zip(chosen, revisions, strict=True)
            ]
            sources = [_streamed(table, share, request) for table, share in pinned]
        else:
            sources = _embedded_texts(request)
        prepared = pretrain.build(
            request, sources, folder, work, say, processes=processes or cores()
        )
    print(describe(prepared.manifest))
    print(out)


def prepare_python_edu(
    *,
    out: Path,
    source: str,
    blobs: str,
    limit: int | None,
    connections: int,
    max_bytes: int,
    part_blobs: int,
) -> None:
    """Download the files to `out`; what was cut off goes on. Raises RequestError."""
    from harness.data import blob_twin, hub
    from harness.data import blobs as download

    _check_source(source)
    check_place(out)
    if source == "embedded":
        if blobs != "hub":
            raise RequestError("--source embedded has its own files; --blobs needs hub")
        plain = {"source": source, "limit": limit, "max_bytes": max_bytes, "part_blobs": part_blobs}
        with resumable(out, plain, lambda: None, say, mark=download.BEGUN) as (work, _):
            summary = blob_twin.build(
                work / DATA, limit=limit, max_bytes=max_bytes, part_blobs=part_blobs
            )
        print(f"{summary['kind']}: {download.describe(summary['counts'])}")
        print(out)
        return
    request = download.BlobRequest(connections, max_bytes, part_blobs)
    table = hub.Table(CORPUS, "python-edu", "train", "blob_id")
    asked: dict[str, Any] = {"max_bytes": max_bytes, "part_blobs": part_blobs, "limit": limit}
    if blobs == "hub":
        asked["blobs"] = "hub"
    elif not Path(blobs).is_file():
        raise RequestError(f"--blobs: no file '{blobs}'; 'hub' reads them from the Hub")
    else:
        asked["blobs"] = hashlib.sha256(Path(blobs).read_bytes()).hexdigest()

    def pin() -> str | None:
        return hub.pin(table, say).revision if blobs == "hub" else None

    def ids(revision: str | None) -> Iterator[str]:
        if blobs != "hub":
            return download.read_ids(Path(blobs))
        pinned = replace(table, revision=revision)
        found = hub.batches(pinned, 0, rows=1000, progress=say)
        return (blob_id for batch in found for blob_id in batch.values)

    with resumable(out, asked, pin, say, mark=download.BEGUN) as (work, revision):
        summary = download.build(islice(ids(revision), limit), request, work, say)
    print(download.describe(summary["counts"]))
    print(out)


def tables(
    datasets: list[str],
    subsets: list[str],
    shares: list[float],
    splits: list[str],
    columns: list[str],
) -> list[tuple[Table, float]]:
    """What is read and its share; an option given once counts for all. Raises RequestError."""
    from harness.data.hub import Table

    if not datasets and not subsets:
        subsets = list(CORPUS_SHARES)
        shares = shares or list(CORPUS_SHARES.values())
    datasets = datasets or [CORPUS]
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
        (Table(dataset, None if subset == "-" else subset, split, column), share)
        for dataset, subset, split, column, share in zip(
            each("--dataset", datasets, CORPUS), each("--subset", subsets, "-"),
            each("--split", splits, "train"), each("--text-column", columns, "text"),
            shares, strict=True,
        )
    ]  # fmt: skip
    names = [table.name for table, _ in found]
    if len(set(names)) < len(names):
        raise RequestError(f"two sources of one name: {', '.join(names)}")
    return found


def _streamed(table: Table, share: float, request: PretrainRequest) -> TextSource:
    from harness.data import sources

    return sources.streamed_text(
        table, share, seed=request.seed, val_fraction=request.val_fraction, progress=say
    )


def _embedded_texts(request: PretrainRequest) -> list[TextSource]:
    """The text of smoke or proxy, split by module and service as there."""
    from harness import presets
    from harness.data.build import read_documents
    from harness.data.hub import Batch
    from harness.data.mix import shuffled
    from harness.data.read_ahead import TextSource

    scale = "smoke" if request.target_tokens <= SMALL_TARGET else "proxy"
    spec = presets.run(scale).data.model_copy(update={"split_seed": request.seed})
    documents, _ = read_documents(spec, say)
    sources = []
    for number, (source, both) in enumerate(zip(spec.sources, documents, strict=True)):
        texts = [*both.train, *both.val]
        texts = [texts[i] for i in shuffled(len(texts), request.seed, number)]
        val = {hashlib.sha256(text.encode()).digest() for text in both.val}

        def batches(start: dict[str, Any] | None, texts: list[str] = texts) -> Iterator[Batch]:
            for row in range(start["row"] if start else 0, len(texts), BATCH_ROWS):
                yield Batch({"row": row}, texts[row : row + BATCH_ROWS])

        def held(text: str, val: set[bytes] = val) -> bool:
            return hashlib.sha256(text.encode()).digest() in val

        sources.append(
            TextSource(source.name, source.kind, source.share, "text",
                       f"embedded, as for the {scale} scale", batches, held)
        )  # fmt: skip
    return sources


def _check_source(source: str) -> None:
    if source not in SOURCES:
        raise RequestError(f"no source '{source}'{nearest(source, SOURCES)}")


def _check(source: str, val_fraction: float) -> None:
    _check_source(source)
    if not 0.0 < val_fraction < 1.0:
        raise RequestError(f"--val-fraction must be inside (0, 1), not {val_fraction:g}")


def _tokenizer(chosen: str | None, source: str, scale: str = "smoke") -> Path:
    """The tokenizer's folder; without a choice SmolLM2's, embedded the scale's own."""
    from harness.data import given

    if chosen is not None or source == "hub":
        return given.find(chosen or given.SMOLLM2, say)
    from harness import presets
    from harness.data.prepare import prepare

    prepared = prepare(presets.run(scale).data, progress=say)
    say(f"tokenizer: the one fitted on {scale}'s text, {prepared.manifest.vocab_size:,} tokens")
    return prepared.folder
