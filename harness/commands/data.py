"""`smol data prepare ...`: from the user's words to a request, and what came of it in print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.sealing import PREPARATION, built_beside, check_place
from harness.errors import RequestError, nearest

if TYPE_CHECKING:
    from harness.data.conversations import Talk
    from harness.data.sft import TalkSource

SOURCES = ("hub", "embedded")
SMOLTALK = "HuggingFaceTB/smoltalk"
SMOLTALK_SHARES = {"smol-magpie-ultra": 0.8, "everyday-conversations": 0.2}
SFT_CONVERSATIONS = 50_000


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
    seed: int,
) -> None:
    """Write the fine-tuning mix to `out`. Raises RequestError; then nothing is left there."""
    from harness.data import sft

    _check(source, val_fraction)
    check_place(out)
    if source == "hub" and conversations is None:
        conversations = SFT_CONVERSATIONS
    request = sft.SftRequest(conversations, max_epochs, seq_len, val_fraction, seed)
    sources = _hub_talks(seed) if source == "hub" else _embedded_talks()
    folder = _tokenizer(tokenizer, source)
    with built_beside(out) as building:
        prepared = sft.build(request, sources, folder, building, say)
    preparation = json.loads((out / PREPARATION).read_text(encoding="utf-8"))
    print(sft.describe(preparation))
    print(f"validation: {preparation['val_target_tokens']:,} target tokens; unigram model "
          f"{prepared.manifest.unigram_val_loss:.4f} nats a token")  # fmt: skip
    print(out)


def _check(source: str, val_fraction: float) -> None:
    if source not in SOURCES:
        raise RequestError(f"no source '{source}'{nearest(source, SOURCES)}")
    if not 0.0 < val_fraction < 1.0:
        raise RequestError(f"--val-fraction must be inside (0, 1), not {val_fraction:g}")


def _tokenizer(chosen: str | None, source: str) -> Path:
    """The tokenizer's folder; without a choice SmolLM2's, embedded the smoke scale's."""
    from harness.data import given

    if chosen is not None or source == "hub":
        return given.find(chosen or given.SMOLLM2, say)
    from harness import presets
    from harness.data.prepare import prepare

    prepared = prepare(presets.run("smoke").data, progress=say)
    say(f"tokenizer: the one fitted on smoke's text, {prepared.manifest.vocab_size:,} tokens")
    return prepared.folder


def _embedded_talks() -> list[TalkSource]:
    from harness.data import conversations
    from harness.data.sft import TalkSource

    return [
        TalkSource("python-functions", "stdlib-functions", 0.8, conversations.functions(),
                   "the standard library's documented functions"),
        TalkSource("chatterbot", "wheel-talk", 0.2, conversations.chatterbot(say),
                   f"{conversations.CHATTERBOT.filename} from PyPI"),
    ]  # fmt: skip


def _hub_talks(seed: int) -> list[TalkSource]:
    """SmolTalk's two subsets at its newest commit, looked up before anything else starts."""
    from harness.data import hub
    from harness.data.conversations import talk
    from harness.data.sft import TalkSource

    def rows(table: hub.Table) -> Iterator[Talk | None]:
        for batch in hub.batches(table, seed, rows=256, progress=say):
            for messages in batch.values:
                yield talk(messages)

    sources = []
    for subset, share in SMOLTALK_SHARES.items():
        table = hub.pin(hub.Table(SMOLTALK, subset, "train", "messages"), say)
        origin = f"{SMOLTALK}/{subset}/train at {table.revision}"
        sources.append(TalkSource(subset, "hub", share, rows(table), origin))
    return sources
