"""What the commands of `smol data prepare` share: sources, the tokenizer, a line of progress."""

from __future__ import annotations

from pathlib import Path

from harness.errors import RequestError, nearest

SOURCES = ("hub", "embedded")
CORPUS = "HuggingFaceTB/smollm-corpus"


def say(line: str) -> None:
    """A line of progress."""
    print(line, flush=True)


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
