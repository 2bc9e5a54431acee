"""`smol data prepare pretrain`: a prepared folder of text for pretraining."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands.options import (
    DataSeedOption,
    DataTokenizerOption,
    OutOption,
    SeqLenOption,
    SourceOption,
)
from harness.commands.prepared import CORPUS, check, say, tokenizer_folder
from harness.data.manifest import describe
from harness.data.sealing import check_place, resumable
from harness.errors import RequestError

if TYPE_CHECKING:
    from harness.data.hub import Batch, Table
    from harness.data.pretrain import PretrainRequest
    from harness.data.read_ahead import TextSource

CORPUS_SHARES = {"fineweb-edu-dedup": 0.7, "cosmopedia-v2": 0.3}
SMALL_TARGET = 500_000
"""Up to here the standard library's text suffices; above, embedded text comes from wheels."""
BATCH_ROWS = 64
"""Documents that one process tokenizes at a time."""


@dataclass(frozen=True)
class Options:
    """Prepare text for pretraining.

    The SmolLM corpus, 70 % FineWeb-Edu and 30 % Cosmopedia v2 by tokens, or other data sets. The
    same command goes on where the last one was cut off.
    """

    out: OutOption
    target_tokens: Annotated[
        int,
        typer.Option(
            "--target-tokens",
            min=1,
            metavar="N",
            show_default=False,
            help="How many tokens to train on; 1,000,000 is the quick test.",
        ),
    ]
    source: SourceOption = "hub"
    datasets: Annotated[
        list[str],
        typer.Option(
            "--dataset",
            metavar="ID",
            show_default=False,
            help="An id on the Hub, or a local file or folder. May be repeated. "
            "Default: HuggingFaceTB/smollm-corpus.",
        ),
    ] = field(default_factory=list)
    subsets: Annotated[
        list[str],
        typer.Option(
            "--subset",
            metavar="NAME",
            show_default=False,
            help="The subset of each --dataset in turn, '-' for none. Default: "
            "fineweb-edu-dedup and cosmopedia-v2.",
        ),
    ] = field(default_factory=list)
    shares: Annotated[
        list[float],
        typer.Option(
            "--share",
            metavar="SHARE",
            show_default=False,
            help="The share of the tokens that each --dataset gives, in turn. "
            "Default: 0.7 and 0.3.",
        ),
    ] = field(default_factory=list)
    splits: Annotated[
        list[str],
        typer.Option(
            "--split",
            metavar="NAME",
            show_default=False,
            help="The split of each --dataset, in turn. Default: train.",
        ),
    ] = field(default_factory=list)
    columns: Annotated[
        list[str],
        typer.Option(
            "--text-column",
            metavar="NAME",
            show_default=False,
            help="The column that holds the text of each --dataset, in turn. Default: text.",
        ),
    ] = field(default_factory=list)
    seq_len: SeqLenOption = 2048
    tokenizer: DataTokenizerOption = None
    val_fraction: Annotated[
        float, typer.Option("--val-fraction", help="The share of documents held out to validate.")
    ] = 0.02
    val_tokens: Annotated[
        int,
        typer.Option(
            "--val-tokens", min=1, metavar="N", help="The most validation tokens to keep."
        ),
    ] = 1_048_576
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            metavar="N",
            help="How many processes tokenize. Default: one for each core.",
        ),
    ] = None
    block_rows: Annotated[
        int,
        typer.Option(
            "--block-rows",
            min=1,
            metavar="N",
            help="Sequences in one file. Rows are shuffled, and the state is saved, by such "
            "blocks.",
        ),
    ] = 2048
    seed: DataSeedOption = 0


def data_pretrain(options: Options) -> None:
    """Write the pretraining mix to `out`; what was cut off goes on. Raises RequestError."""
    from harness.data import pretrain
    from harness.data.pretrain_state import STATE
    from harness.machine.hardware import cores

    check(options.source, options.val_fraction)
    check_place(options.out)
    request = pretrain.PretrainRequest(
        options.target_tokens, options.seq_len, options.val_fraction, options.val_tokens,
        options.seed, options.block_rows,
    )  # fmt: skip
    chosen = _chosen(options)
    scale = "smoke" if options.target_tokens <= SMALL_TARGET else "proxy"
    folder = tokenizer_folder(options.tokenizer, options.source, scale)
    asked = {
        **asdict(request),
        "source": options.source,
        "tokenizer": hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest(),
        "tables": [[asdict(table), share] for table, share in chosen],
    }

    def pin() -> list[str | None]:
        from harness.data import hub

        return [hub.pin(table, say).revision for table, _ in chosen]

    with resumable(options.out, asked, pin, say, mark=STATE) as (work, revisions):
        if options.source == "hub":
            pinned = [
                (replace(table, revision=revision), share)
                for (table, share), revision in zip(chosen, revisions, strict=True)
            ]
            sources = [_streamed(table, share, request) for table, share in pinned]
        else:
            sources = _embedded_texts(request)
        prepared = pretrain.build(
            request, sources, folder, work, say, processes=options.processes or cores()
        )
    print(describe(prepared.manifest))
    print(options.out)


def _chosen(options: Options) -> list[tuple[Table, float]]:
    """The Hub's tables and their shares; none where the text is embedded. Raises RequestError."""
    given = (options.datasets, options.subsets, options.shares, options.splits, options.columns)
    if options.source == "hub":
        return tables(*given)
    if any(given):
        raise RequestError("--source embedded has its own text; --dataset and the like need hub")
    return []


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
