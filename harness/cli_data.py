"""The door's `smol data prepare ...`. Reads arguments, calls `harness.commands.data`.

Imports nothing heavy, like the rest of the door.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(help="Prepare data: tokenized, packed, sealed.", no_args_is_help=True)
prepare_app = typer.Typer(
    help="Write a prepared folder, for `smol run --data`.", no_args_is_help=True
)
data_app.add_typer(prepare_app, name="prepare")

OutOption = Annotated[Path, typer.Option("--out", help="The folder to make.", show_default=False)]
FromOption = Annotated[
    str, typer.Option("--source", help="hub, or embedded: real text that needs no Hub.")
]
TokenizerOption = Annotated[
    str | None,
    typer.Option("--tokenizer", help="smollm2, or a folder; default: smollm2 from the Hub, "
                 "embedded one that is fitted on its text."),
]  # fmt: skip
SeqLenOption = Annotated[int, typer.Option("--seq-len", min=2, help="Tokens in a sequence.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of the split and the order.")]


@prepare_app.command()
def pretrain(
    out: OutOption,
    target_tokens: Annotated[
        int,
        typer.Option(
            "--target-tokens", min=1, help="1,000,000 is the quick test.", show_default=False
        ),
    ],
    source: FromOption = "hub",
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            help="An id on the Hub, or a local file or folder. Repeatable; "
            "default: HuggingFaceTB/smollm-corpus.",
        ),
    ] = None,
    subset: Annotated[
        list[str] | None,
        typer.Option(
            "--subset",
            help="Of each --dataset in turn, '-' for none. Default: "
            "fineweb-edu-dedup and cosmopedia-v2.",
        ),
    ] = None,
    share: Annotated[
        list[float] | None,
        typer.Option("--share", help="Of the tokens, in the same order. Default: 0.7 and 0.3."),
    ] = None,
    split: Annotated[list[str] | None, typer.Option("--split", help="Default: train.")] = None,
    text_column: Annotated[
        list[str] | None, typer.Option("--text-column", help="Default: text.")
    ] = None,
    seq_len: SeqLenOption = 2048,
    tokenizer: TokenizerOption = None,
    val_fraction: Annotated[
        float, typer.Option("--val-fraction", help="Of the documents, held out.")
    ] = 0.02,
    val_tokens: Annotated[
        int, typer.Option("--val-tokens", min=1, help="Validation tokens at most.")
    ] = 1_048_576,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Default: the cores.")
    ] = None,
    block_rows: Annotated[
        int,
        typer.Option(
            "--block-rows",
            min=1,
            help="Sequences in one file; the state is saved and rows are shuffled by such blocks.",
        ),
    ] = 2048,
    seed: SeedOption = 0,
) -> None:
    """The SmolLM corpus, 70 % FineWeb-Edu and 30 % Cosmopedia v2 by tokens; goes on if cut off."""
    from harness.commands import data

    data.prepare_pretrain(
        out=out, target_tokens=target_tokens, source=source, datasets=dataset or [],
        subsets=subset or [], shares=share or [], splits=split or [], columns=text_column or [],
        seq_len=seq_len, tokenizer=tokenizer, val_fraction=val_fraction, val_tokens=val_tokens,
        processes=processes, block_rows=block_rows, seed=seed,
    )  # fmt: skip


@prepare_app.command()
def sft(
    out: OutOption,
    source: FromOption = "hub",
    conversations: Annotated[
        int | None,
        typer.Option("--conversations", min=1, help="Default: 50,000 from the Hub; embedded, all."),
    ] = None,
    max_epochs: Annotated[
        int, typer.Option("--max-epochs", min=1, help="How often a small source may repeat.")
    ] = 4,
    seq_len: SeqLenOption = 2048,
    tokenizer: TokenizerOption = None,
    val_fraction: Annotated[float, typer.Option("--val-fraction", help="Held out.")] = 0.05,
    part_conversations: Annotated[
        int,
        typer.Option(
            "--part-conversations", min=1, help="Kept in one file while reading, to go on from."
        ),
    ] = 2048,
    seed: SeedOption = 0,
) -> None:
    """SmolTalk, 80 % smol-magpie-ultra and 20 % everyday-conversations, in ChatML; goes on if cut
    off."""
    from harness.commands import data

    data.prepare_sft(
        out=out, source=source, conversations=conversations, max_epochs=max_epochs,
        seq_len=seq_len, tokenizer=tokenizer, val_fraction=val_fraction,
        part_conversations=part_conversations, seed=seed,
    )  # fmt: skip


@prepare_app.command("python-edu")
def python_edu(
    out: OutOption,
    source: FromOption = "hub",
    blobs: Annotated[
        str,
        typer.Option("--blobs", help="hub, or a .parquet, .jsonl or .txt file of blob ids."),
    ] = "hub",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first so many blobs.")
    ] = None,
    connections: Annotated[
        int, typer.Option("--connections", min=1, help="Requests in flight.")
    ] = 32,
    max_bytes: Annotated[
        int, typer.Option("--max-bytes", min=1, help="Of a file, unpacked; longer is left out.")
    ] = 4_000_000,
    part_blobs: Annotated[
        int, typer.Option("--part-blobs", min=1, help="Blobs of one parquet file.")
    ] = 10_000,
) -> None:
    """The files of python-edu from Software Heritage; the folder is a --dataset for pretrain."""
    from harness.commands import data

    data.prepare_python_edu(
        out=out, source=source, blobs=blobs, limit=limit, connections=connections,
        max_bytes=max_bytes, part_blobs=part_blobs,
    )  # fmt: skip
