"""`smol data prepare sft`: a prepared folder of conversations for fine-tuning."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from harness.commands.options import (
    DataSeedOption,
    DataTokenizerOption,
    OutOption,
    SeqLenOption,
    SourceOption,
)
from harness.commands.prepared import check, say, tokenizer_folder
from harness.data.sealing import PREPARATION, check_place

HUB_CONVERSATIONS = 50_000


@dataclass(frozen=True)
class Options:
    """Prepare conversations for fine-tuning.

    SmolTalk, 80 % smol-magpie-ultra and 20 % everyday-conversations, in ChatML. The same command
    goes on where the last one was cut off.
    """

    out: OutOption
    source: SourceOption = "hub"
    conversations: Annotated[
        int | None,
        typer.Option(
            "--conversations",
            min=1,
            metavar="N",
            help="How many conversations. Default: 50,000 from the Hub; embedded, all.",
        ),
    ] = None
    max_epochs: Annotated[
        int,
        typer.Option(
            "--max-epochs", min=1, metavar="N", help="How often a small source may repeat."
        ),
    ] = 4
    seq_len: SeqLenOption = 2048
    tokenizer: DataTokenizerOption = None
    val_fraction: Annotated[
        float,
        typer.Option("--val-fraction", help="The share of conversations held out to validate."),
    ] = 0.05
    part_conversations: Annotated[
        int,
        typer.Option(
            "--part-conversations",
            min=1,
            metavar="N",
            help="Conversations in one file while reading, from which it can go on.",
        ),
    ] = 2048
    seed: DataSeedOption = 0


def data_sft(options: Options) -> None:
    """Write the fine-tuning mix to `out`; what was cut off goes on. Raises RequestError."""
    from harness import presets
    from harness.data import sft, sources

    out = options.out
    check(options.source, options.val_fraction)
    check_place(out)
    hub = options.source == "hub"
    request = sft.SftRequest(
        options.conversations or (HUB_CONVERSATIONS if hub else None),
        options.max_epochs,
        options.seq_len,
        options.val_fraction,
        options.seed,
        part_conversations=options.part_conversations,
    )
    wanted = presets.SMOLTALK if hub else presets.EMBEDDED_TALKS
    folder = tokenizer_folder(options.tokenizer, options.source)
    prepared = sources.build_talks(request, wanted, folder, out, say)
    preparation = json.loads((out / PREPARATION).read_text(encoding="utf-8"))
    print(sft.describe(preparation))
    print(f"validation: {preparation['val_target_tokens']:,} target tokens; unigram model "
          f"{prepared.manifest.unigram_val_loss:.4f} nats a token")  # fmt: skip
    print(out)
