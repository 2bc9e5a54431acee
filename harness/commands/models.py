"""From a MODEL argument to a model: which one is meant, its weights, its tokenizer.

`smollm2` (fetched weights), a run (`recipe/arm/seed/stage`, or a record's key), a checkpoint
file, or a folder that transformers loads. `resolve` reads no weights and imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from harness.commands import places, special
from harness.config import RunConfig, digest
from harness.data import assets, ends
from harness.data.manifest import Prepared, load_folder
from harness.data.prepare import find_prepared
from harness.data.tokens import END_OF_TEXT
from harness.errors import RequestError, explain, nearest
from harness.evidence import precision, query
from harness.files import sha256
from harness.launch.protocol import RunFiles, run_folder
from harness.records import store
from harness.records.schema import Record

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from models.lm import LanguageModel

FINAL = "final_model.pt"
TRUST = "SMOL_TRUST"
"""The environment's variable that holds the digest of code that a checkpoint may bring."""
DTYPES = ("bf16", "fp32")
"""The precisions that a model can be asked to compute in."""


@dataclass(frozen=True)
class Found:
    """Which model is meant, and where its weights are."""

    kind: Literal["asset", "run", "checkpoint", "folder"]
    name: str
    path: Path
    """A transformers folder, or a checkpoint file."""
    record: Record | None = None

    def digest(self) -> str:
        """A run's key, else the SHA-256 of the weights."""
        if self.record is not None:
            return self.record.key
        if self.kind == "asset":
            return assets.provenance(self.path).weights_sha256
        if self.kind == "checkpoint":
            return sha256(self.path)
        from models.hf_files import weight_files

        files = [sha256(path) for path in weight_files(self.path)]
        return files[0] if len(files) == 1 else hashlib.sha256("".join(files).encode()).hexdigest()


@dataclass(frozen=True)
class Loaded:
    """A model in memory with all that belongs to it."""

    found: Found
    model: LanguageModel
    dtype: str
    """The precision of the forward pass."""
    context: int
    """Tokens that it was trained to see at once."""
    tokenizer_folder: Path
    tokenizer: Tokenizer
    prepared: Prepared | None
    """The data of a run."""
    config: RunConfig | None
    """The configuration of a run or checkpoint; None for a transformers folder."""
    tokens: dict[str, Any] = field(default_factory=dict)
    """`bos_token_id`, `eos_token_id`, `pad_token_id`, as transformers names them."""

    @property
    def start(self) -> int:
        """The token before a document: the end of another, else the one that begins a text."""
        token: int | None = self.tokenizer.token_to_id(END_OF_TEXT)
        if token is None:
            token = self.tokens.get("bos_token_id")
        if token is None:
            raise RequestError(
                f"{self.found.name}'s tokenizer has no {END_OF_TEXT}: a document cannot start"
            )
        return token

    def encode(self, text: str) -> list[int]:
        """A prompt's tokens. Names of special tokens are special tokens; a folder's tokenizer adds
        what its post-processor says (often a first token), as transformers and `HFLM` do it; a run
        of ours was trained without."""
        ids: list[int] = self.prompting.encode(text, add_special_tokens=self.adds).ids
        check_rows(self.prompting, ids, self.model.config.vocab_size)
        return ids

    @property
    def adds(self) -> bool:
        """Whether the tokenizer's own additions stand before a prompt."""
        return self.found.kind in ("asset", "folder")

    @property
    def prefix(self) -> int:
        """The token before a text without context: as `HFLM` takes it of a folder's tokenizer,
        its first token or else its last; of ours, the end of another document."""
        names = ends.names(self.tokenizer_folder) if self.adds else {}
        for role in ("bos_token", "eos_token"):
            token: int | None = self.tokenizer.token_to_id(names.get(role, ""))
            if token is not None:
                return token
        return self.start

    @cached_property
    def prompting(self) -> Tokenizer:
        """The tokenizer, reading names of special tokens as these, unless its folder says no."""
        from harness.data import tokenizer as tokenizers

        spoken = tokenizers.load(self.tokenizer_folder)
        spoken.encode_special_tokens = tokenizers.splits_special(self.tokenizer_folder)
        return spoken

    def check_generation(self) -> None:
        """Raises RequestError for a folder whose settings make transformers take other tokens."""
        if self.adds and (why := special.other_tokens(self.found.path)):
            raise RequestError(why)

    @property
    def stops(self) -> frozenset[int]:
        """The tokens that end a text or a turn: of a transformers folder those that it says, as
        its `generate` does it, and none by their names."""
        said = special.generation_tokens(self.found.path) if self.adds else self.tokens
        ends = said.get("eos_token_id")
        known = set(ends if isinstance(ends, list) else [ends])
        if not self.adds:
            known |= {
                self.tokenizer.token_to_id(name) for name in (END_OF_TEXT, special.END_OF_TURN)
            }
        return frozenset(token for token in known if token is not None)


def resolve(argument: str, *, scale: str | None = None, results: Path | None = None) -> Found:
    """Which model an argument means.

    Raises RequestError where it means none, or several, or its weights are not here; with the
    nearest names, or the command that brings them.
    """
    if argument in assets.ASSETS:
        folder = assets.find(argument)
        if folder is None:
            raise RequestError(f"{argument} is not here yet; `smol fetch {argument}` brings it")
        return Found("asset", folder.name, folder)
    path = Path(argument).expanduser()
    if path.is_file():
        return Found("checkpoint", path.name, path)
    if path.is_dir():
        return _in_folder(path)
    return _run(argument, scale, results)


def _in_folder(path: Path) -> Found:
    if (path / "config.json").is_file():
        return Found("folder", path.resolve().name, path)
    if (path / FINAL).is_file():
        return Found("checkpoint", path.resolve().name, path / FINAL)
    raise RequestError(
        f"'{path}' is a folder without config.json (transformers') or {FINAL} (ours)"
    )


def _run(argument: str, scale: str | None, results: Path | None) -> Found:
    if results is not None or scale is not None:
        folders = [places.results_folder(scale, results)]
    else:
        usual = [places.results_folder("smoke", None), places.results_folder(None, None)]
        folders = places.with_records() or usual
    found: list[tuple[Path, Record]] = []
    names: set[str] = set()
    for folder in folders:
        for record in query.attempts(store.read_all(folder)):
            if scale is None or record.scale == scale:
                names.add(record.name)
                if argument in (record.name, record.key):
                    found.append((folder, record))
    if not found:
        where = " and ".join(str(folder) for folder in folders)
        near = nearest(argument, names | set(assets.ASSETS))
        raise RequestError(
            f"no model '{argument}': not smollm2, a run in {where}, a checkpoint or a folder{near}"
        )
    # Of runs that share a name only those whose weights are here are meant.
    here = [(folder, record) for folder, record in found if _final(folder, record).is_file()]
    keys = {record.key: record for _, record in here or found}
    if len(keys) > 1:
        which = ", ".join(f"{r.key} ({r.scale}, {r.created:.10})" for r in list(keys.values())[:6])
        scales = "--scale, or " if len({r.scale for r in keys.values()}) > 1 else ""
        raise RequestError(f"'{argument}' names {len(keys)} runs; say {scales}a key: {which}")
    if here:  # recipes may share a run: the same weights, in whichever folder they are
        folder, record = here[0]
        return Found("run", record.name, _final(folder, record), record)
    folder, record = found[0]
    how = f" --results {results}" if results is not None else ""
    again = " --fresh" if record.status == "ok" else ""
    ended = "" if record.status == "ok" else f" (it ended as {record.status})"
    raise RequestError(
        f"the weights of {record.name} are not here{ended}; `{record.command}{how}{again}` trains "
        "its recipe again"
    )


def _final(results: Path, record: Record) -> Path:
    return RunFiles(run_folder(places.checkpoints_folder(results), record)).final


def load(
    found: Found, *, dtype: str | None = None, device: str = "cpu", tokenizer: Path | None = None
) -> Loaded:
    """The model on a device, computing in `dtype` (as it was trained; for folders what the
    device multiplies natively).

    `tokenizer` is a folder to take instead of the one that is found. Raises RequestError for
    weights, a configuration or a tokenizer that are missing, damaged or do not fit together, and
    for an unknown `dtype`.
    """
    check_dtype(dtype)
    from harness.data import tokenizer as tokenizers

    config: RunConfig | None = None
    prepared: Prepared | None = None
    if found.path.is_dir():
        from models.dtypes import DTYPES as BY_NAME
        from models.hf import from_transformers

        dtype = dtype or precision.of_machine(device).dtype
        try:
            model = from_transformers(found.path, BY_NAME[dtype])
        except ValueError as error:
            raise RequestError(str(error)) from None
        context = model.config.max_seq_len
        folder = tokenizer or found.path
        tokens = special.generation_tokens(found.path)
        special.check_tokens(found.path, tokens, model.config.vocab_size)
    else:
        model, config = _from_checkpoint(found, dtype)
        dtype = dtype or config.train.dtype
        context = config.data.seq_len
        if tokenizer is None:
            prepared = _prepared(found, config)
            folder = prepared.folder
        else:
            folder = tokenizer
        tokens = {}
    fitted = tokenizers.load(folder)
    if not tokens:
        end = ends.of_text(folder, fitted)
        tokens = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end)
        if config is not None and config.data.format == "chat":
            turn = special.end_of_turn(folder, fitted)
            if None not in (end, turn) and end != turn:
                tokens["eos_token_id"] = [end, turn]  # a model of conversations ends turns with it
    rows, added = model.config.vocab_size, fitted.get_added_tokens_decoder()
    beyond = {i: name for name, i in fitted.get_vocab(True).items() if i >= rows}
    if learnt := [name for i, name in beyond.items() if i not in added or not added[i].special]:
        raise RequestError(
            f"{found.name} has a vocabulary of {rows:,}, and the tokenizer in {folder} "
            f"{len(beyond):,} tokens more ({learnt[0]!r}): it is another model's"
        )
    model = model.to(device).eval()
    return Loaded(found, model, dtype, context, folder, fitted, prepared, config, tokens)


def check_rows(tokenizer: Tokenizer, ids: Sequence[int], rows: int) -> None:
    """Raises RequestError for a token that a model of `rows` rows does not know: one that was added
    to the tokenizer and not to the model, as padding often is, and that a text now names."""
    if beyond := [i for i in ids if i >= rows]:
        raise RequestError(
            f"the text holds {tokenizer.id_to_token(beyond[0])!r}, which was added to the "
            f"tokenizer and has no row in the model (token {beyond[0]:,} of {rows:,})"
        )


def check_dtype(dtype: str | None) -> None:
    """Raises RequestError for one that is not known; None is the model's own."""
    if dtype is not None and dtype not in DTYPES:
        raise RequestError(f"no dtype '{dtype}'{nearest(dtype, DTYPES)}")


def check_text(what: str, text: str) -> None:
    """Raises RequestError for half of a surrogate pair: bytes of the command line or of what is
    typed that are not UTF-8."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise RequestError(f"{what} is not UTF-8 text")


def _from_checkpoint(found: Found, dtype: str | None) -> tuple[LanguageModel, RunConfig]:
    from harness.train import checkpoint
    from models.dtypes import DTYPES as BY_NAME

    content = checkpoint.load(found.path)
    if "config" not in content or "model" not in content:
        raise RequestError(
            f"checkpoint {found.path.name} holds no configuration: only {FINAL} can be used alone"
        )
    if found.record is not None and content["key"] != found.record.key:
        raise RequestError(
            f"checkpoint of {found.name} is of run {content['key']}, not of {found.record.key}"
        )
    try:
        config = RunConfig.model_validate_json(json.dumps(content["config"]))
    except ValidationError as error:
        raise RequestError(
            f"checkpoint {found.path.name} is of another version: {explain(error)}"
        ) from None
    if config.train.dtype not in BY_NAME:  # as `auto`, which a run resolves before it begins
        raise RequestError(
            f"checkpoint {found.path.name} was written by no run: its precision is "
            f"'{config.train.dtype}'"
        )
    _check_own_code(found, config)
    dtype_of_forward = BY_NAME[dtype or config.train.dtype]
    model = checkpoint.model_of(found.path, config.model, dtype_of_forward, content["model"])
    return model, config


def _check_own_code(found: Found, config: RunConfig) -> None:
    """Raises RequestError where a model is in part made by code that its checkpoint brings, and
    nobody has said that it may run: a file may come from anywhere."""
    parts = [part for part in (config.model.feed_forward, config.model.attention) if part.code]
    known = digest([part.code for part in parts])
    if parts and found.kind != "run" and os.environ.get(TRUST) != known:
        raise RequestError(
            f"checkpoint {found.path.name} brings code of its own "
            f"({', '.join(part.name for part in parts)}); if you trust it, set {TRUST}={known}"
        )


def _prepared(found: Found, config: RunConfig) -> Prepared:
    """The data that a run was trained on: where its job says, else in the cache."""
    wanted = found.record.data.manifest_digest if found.record and found.record.data else None
    prepared = _of_job(found.path) or _of_cache(config)
    again = "`smol run` of its recipe prepares it again"
    if found.record is not None:
        again = f"`{found.record.command}` prepares it again"
    if prepared is None:
        raise RequestError(
            f"the tokenizer of {found.name} is not here: a checkpoint does not hold it, and the "
            f"run's prepared data is not in the cache; {again}, or give --tokenizer DIR"
        )
    if wanted is not None and prepared.manifest.digest != wanted:
        raise RequestError(
            f"the prepared data in {prepared.folder} is not what {found.name} was trained on "
            f"({prepared.manifest.digest[:12]} instead of {wanted[:12]})"
        )
    return prepared


def _of_job(final: Path) -> Prepared | None:
    job = RunFiles(final.parent).job
    try:
        folder = Path(json.loads(job.read_text(encoding="utf-8"))["data_folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a checkpoint that was moved has none beside it: the cache is asked next
    return load_folder(folder) if folder.is_dir() else None


def _of_cache(config: RunConfig) -> Prepared | None:
    try:
        return find_prepared(config.data)
    except RequestError:
        return None  # its files were moved or changed since: not there, as the caller will say
