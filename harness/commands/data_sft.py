"""`smol data prepare sft`: a prepared folder of conversations for fine-tuning."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

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
from harness.data.sealing import PREPARATION, check_place
from harness.errors import RequestError

if TYPE_CHECKING:
    from harness.data.sources import Kind

HUB_CONVERSATIONS = 50_000


@dataclass(frozen=True)
class Options:
    """Prepare conversations for fine-tuning.

    SmolTalk, 80 % smol-magpie-ultra and 20 % everyday-conversations, in ChatML, or your own. The
    same command goes on where the last one was cut off.
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
    datasets: DatasetOption = field(default_factory=list)
    subsets: SubsetOption = field(default_factory=list)
    shares: ShareOption = field(default_factory=list)
    splits: SplitOption = field(default_factory=list)
    columns: Annotated[
        list[str],
        typer.Option(
            "--column",
            show_default=False,
            help="What holds the conversations of each --dataset, in turn: messages, "
            "conversations, prompt+completion, instruction+input+output ... Default: the form "
            "that its columns have.",
        ),
    ] = field(default_factory=list)
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
    from harness.data.prepare import mix_conversations

    out = options.out
    check(options.source, options.val_fraction)
    check_place(out)
    hub = options.source == "hub" and not options.datasets
    request = sft.SftRequest(
        options.conversations or (HUB_CONVERSATIONS if hub else None),
        options.max_epochs,
        options.seq_len,
        options.val_fraction,
        options.seed,
        part_conversations=options.part_conversations,
    )
    if options.datasets:
        kinds = _given(options)
    else:
        wanted = presets.SMOLTALK if hub else presets.EMBEDDED_TALKS
        kinds = [sources.make(source, chat=True, progress=say) for source in wanted]
    folder = tokenizer_folder(options.tokenizer, options.source)
    prepared = mix_conversations(request, kinds, folder, out, say)
    preparation = json.loads((out / PREPARATION).read_text(encoding="utf-8"))
    print(sft.describe(preparation))
    print(f"validation: {preparation['val_target_tokens']:,} target tokens; unigram model "
          f"{prepared.manifest.unigram_val_loss:.4f} nats a token")  # fmt: skip
    print(out)


def _given(options: Options) -> list[Kind]:
    """The user's own data sets, in whichever form they have. Raises RequestError."""
    from harness.data import hub
    from harness.data.sources.tables import of_table
    from harness.data.talks import form_of

    if options.source != "hub":
        raise RequestError("--source embedded has its own conversations; --dataset needs hub")
    found = tables(
        options.datasets, options.subsets, options.shares, options.splits, options.columns
    )
    kinds: list[Kind] = []
    for table, share in found:
        if not options.columns:
            form = form_of(hub.columns(table, say))
            say(f"{table.name}: conversations in the form {form}")
            table = replace(table, column=form)
        kinds.append(of_table(table, share, say, chat=True))
    return kinds
