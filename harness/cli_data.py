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
SeedOption = Annotated[int, typer.Option("--seed", help="Of the split and the order.")]


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
    seed: SeedOption = 0,
) -> None:
    """SmolTalk, 80 % smol-magpie-ultra and 20 % everyday-conversations, in ChatML."""
    from harness.commands import data

    data.prepare_sft(
        out=out, source=source, conversations=conversations, max_epochs=max_epochs,
        seq_len=seq_len, tokenizer=tokenizer, val_fraction=val_fraction, seed=seed,
    )  # fmt: skip
