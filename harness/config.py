"""The configuration of a run: frozen, typed, complete. Its canonical form and its key's content.

Every value that can change a result stands here: no library's default is left unsaid.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import RequestError, explain, nearest
from models.config import ModelConfig, NamedPart, Part, check_settings
from models.kernels.names import KERNELS

NAME = r"[A-Za-z0-9][A-Za-z0-9._+=@,-]{0,99}"
"""What a recipe, arm, stage, horizon or source of text may be called. Such names become folders,
files and cells of a table, here and wherever a record is sent: none may lead out of its place."""
Name = Annotated[str, Field(pattern=f"^{NAME}$")]


class Frozen(BaseModel):
    """The base of all configuration and records: no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Source(Frozen):
    """One source of documents: its kind, what it reads, and its share of the training tokens."""

    name: str
    """How the mix, the manifest and the card call it."""
    kind: str
    """The name of its class in `harness/data/sources` (`files`, `hub`, `stdlib-prose` ...), or a
    user's own class as `FILE.py:CLASS`."""
    share: float
    """The source's part of the training tokens, or of the conversations; the shares of a
    specification sum to 1."""
    paths: tuple[str, ...] = ()
    """For `files`: .txt, .jsonl, .json, .csv and .parquet files or folders of them."""
    text_column: str = "text"
    """For `files` and `hub`: the column that holds the text, or the messages."""
    dataset: str = ""
    """For `hub`: the data set's id; its subset is the source's name, its split `train`."""


class DataConfig(Frozen):
    """The data specification: what is read, how it is split, tokenized and packed."""

    sources: tuple[Source, ...]
    seq_len: int
    """Tokens in a packed sequence."""
    vocab_size: int
    """Tokens in the vocabulary of the byte-level BPE that is fitted on the train split; where a
    tokenizer is given instead, the most that it may have."""
    train_tokens: int | None
    """Tokens to prepare; None is all that the sources' shares allow without repeating one."""
    val_fraction: float
    """Share of the split units (modules, services, files) held out."""
    val_tokens: int
    """Validation tokens at most, cut at a document's end."""
    split_seed: int
    """Which units are held out, and the order of documents in the stream. Not the run's seed."""
    format: Literal["text", "chat"] = "text"
    """`text`: documents in one stream, every token scored. `chat`: whole conversations in ChatML,
    the assistant's tokens scored."""
    tokenizer: Literal["fitted", "smollm2"] = "fitted"
    fitted_on: tuple[Source, ...] = ()
    """The sources whose train split the tokenizer is fitted on, split as this data is; empty means
    `sources`."""
    conversations: int | None = None
    """For `chat`: how many conversations to train on, repeats counted; None is one epoch of the
    first source."""
    max_epochs: int = 4
    """For `chat`: how often a source that is too small for its share may repeat."""
    val_document_tokens: int | None = Field(default=None, gt=1)
    """Of each validation document at most so many tokens; None scores whole ones."""
    second: tuple[Source, ...] = ()
    """A text by which nothing is trained or chosen: as much is scored where a horizon ends."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.sources:
            raise ValueError("data.sources is empty")
        for name, those in (("sources", self.sources), ("second", self.second)):
            total = sum(source.share for source in those)
            if those and abs(total - 1.0) > 1e-6:
                raise ValueError(f"the shares of data.{name} sum to {total:g}, not 1")
        if not 0.0 < self.val_fraction < 1.0:
            raise ValueError(f"data.val_fraction must be inside (0, 1), not {self.val_fraction}")
        if self.seq_len < 2:
            raise ValueError(f"data.seq_len must be at least 2, not {self.seq_len}")
        if self.format == "chat" and (self.second or self.val_document_tokens):
            raise ValueError("data.second and data.val_document_tokens are for texts")
        return self


class BatchConfig(Frozen):
    """`micro_batch x grad_accum x seq_len` tokens make one update, of all processes together."""

    micro_batch: int
    """Sequences in one micro-step of one process, at most."""
    grad_accum: int
    """Micro-steps in one update, those of all processes together."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.micro_batch < 1 or self.grad_accum < 1:
            raise ValueError("batch.micro_batch and batch.grad_accum must be at least 1")
        return self


Precision = Literal["bf16", "fp32", "fp64", "auto"]


class OptimConfig(Frozen):
    """The optimizer by name. Ours read the flat fields: Muon for the matrices inside blocks (`muon`
    is ours, `torch-muon` PyTorch's) and AdamW for the rest, or AdamW for all. Any other has
    `settings` of its own.

    Weight decay is decoupled and multiplied by the learning rate; it never touches norms or
    embeddings.
    """

    name: str
    """A file of ours without its ending, `FILE.py[:OBJECT]`, or `package.module:OBJECT`."""
    muon_lr: float
    muon_momentum: float
    muon_nesterov: bool
    muon_weight_decay: float
    muon_ns_iterations: int
    muon_ns_coefficients: tuple[float, float, float]
    muon_ns_eps: float
    muon_ns_dtype: Precision
    """The precision of Newton-Schulz. `auto`: the plan resolves it, by what the device multiplies
    natively."""
    muon_scale: Literal["spectral", "rms"]
    """The factor on the orthogonal update: `spectral` sqrt(max(1, rows/cols)); `rms` 0.2
    sqrt(max(rows, cols)), which matches AdamW's update size (Moonlight, arXiv 2502.16982)."""
    adamw_lr: float
    adamw_betas: tuple[float, float]
    adamw_eps: float
    adamw_weight_decay: float
    """The weight decay of those matrices, the router among them, that AdamW holds."""
    adamw_embedding_factor: float = Field(default=1.0, gt=0.0)
    """The embedding's and the head's learning rate, as a multiple of `adamw_lr`."""
    clip_norm: float
    """The most that the 2-norm of the whole gradient may be, before the optimizer; 0 does not
    clip."""
    settings: dict[str, Any] = {}
    """The keyword arguments of an optimizer that is not one of ours."""
    code: str = ""
    """Such an optimizer's file as text, or its package and version; the plan fills it in."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_settings(self.settings)
        for name in ("muon_lr", "adamw_lr", "muon_weight_decay", "adamw_weight_decay", "clip_norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"optim.{name} must not be negative: {getattr(self, name)}")
        betas = (("adamw_betas", beta) for beta in self.adamw_betas)
        for name, value in (("muon_momentum", self.muon_momentum), *betas):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"optim.{name} must be inside [0, 1), not {value}")
        return self


class ScheduleConfig(Frozen):
    """Learning-rate factor against updates.

    `wsd`: linear warm-up, constant, then a linear decay over the last `decay_fraction` of each
    horizon; one stem serves all horizons. `cosine`: warm-up, then half a cosine down to
    `final_fraction`; each horizon is a run of its own.
    """

    name: Literal["wsd", "cosine"]
    warmup_updates: Annotated[int, Field(ge=0)]
    decay_fraction: Annotated[float, Field(gt=0.0, le=1.0)]
    """The part of a horizon's updates over which the rate decays (`wsd`)."""
    final_fraction: Annotated[float, Field(ge=0.0, le=1.0)]
    """The rate at the horizon's last update, as a part of the peak rate."""
    shape: NamedPart = Part()
    """A function of one's own in the place of that fall: progress in [0, 1) -> factor."""


Compile = Literal["eager", "blocks", "whole"]
MOST_TOKENS = 10**15
"""More than anybody has trained on, and few enough for a float to count them."""


class TrainConfig(Frozen):
    """How long, in what precision, and how often the model is looked at."""

    tokens: int
    """The base budget that a recipe's horizons refer to."""
    dtype: Precision
    """The precision of the forward and backward pass; masters, optimizer state and losses are at
    least fp32. `auto`: the plan resolves it, by what the device multiplies natively."""
    compile: Compile | Literal["auto"]
    """`blocks`: each distinct block compiled once and reused; `whole`: the model as one graph;
    `auto`: the plan resolves it, by the length of the run and what was measured."""
    kernels: tuple[str, ...] | Literal["auto"]
    """The Triton kernels to use in place of torch's own, by `models.kernels.names`. `auto`: those
    that were measured to help on the device."""
    recompute: bool
    """A block's inner activations are computed again in the backward pass instead of kept."""
    document_mask: bool
    """Attention and positions end at document and conversation borders."""
    threads: int
    """CPU threads of one run; part of the key, since reductions depend on it."""
    eval_every: int
    """Updates between validations; each horizon's end is always validated."""
    eval_batch: int
    """Sequences in one validation forward pass."""
    log_every: int
    """Updates between progress messages on a plain terminal."""
    checkpoint_every: int
    """Updates between rolling checkpoints."""
    loss: NamedPart = Part()
    """A term of one's own beside the cross-entropy: (logits, targets) -> its sum over targets."""
    autotune: bool = False
    """What is compiled tries several implementations of each product, which takes minutes."""
    deterministic: bool = False
    """On a GPU the same bits each time, at a cost; a CPU gives them anyway."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in (
            "tokens", "threads", "eval_every", "eval_batch", "log_every", "checkpoint_every",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} must be at least 1, not {getattr(self, name)}")
        if self.tokens > MOST_TOKENS:
            raise ValueError(f"train.tokens is at most {MOST_TOKENS:,}, not {self.tokens:,}")
        if self.deterministic and self.autotune:
            raise ValueError("train.autotune chooses by time: not with train.deterministic")
        for kernel in self.kernels if isinstance(self.kernels, tuple) else ():
            if kernel not in KERNELS:
                raise ValueError(f"train.kernels: no kernel '{kernel}'{nearest(kernel, KERNELS)}")
        return self


class RunConfig(Frozen):
    """Everything that decides what a run computes."""

    model: ModelConfig
    data: DataConfig
    batch: BatchConfig
    optim: OptimConfig
    schedule: ScheduleConfig
    train: TrainConfig

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.model.vocab_size < self.data.vocab_size:
            raise ValueError(
                f"model.vocab_size {self.model.vocab_size} is smaller than the tokenizer's "
                f"data.vocab_size {self.data.vocab_size}"
            )
        if self.data.seq_len > self.model.max_seq_len:
            raise ValueError(
                f"data.seq_len {self.data.seq_len} is longer than model.max_seq_len "
                f"{self.model.max_seq_len}"
            )
        return self

    @property
    def tokens_per_update(self) -> int:
        """Tokens in one update of one process."""
        return self.batch.micro_batch * self.batch.grad_accum * self.data.seq_len

    @property
    def sequences_per_update(self) -> int:
        """Packed sequences in one update of one process."""
        return self.batch.micro_batch * self.batch.grad_accum


NEUTRAL_FIELDS = frozenset({"train.log_every", "train.checkpoint_every"})
"""Fields that cannot change a result: left out of the key and of arms' differences."""

_PART: dict[str, Any] = {"": {}, ".name": "", ".settings": {}, ".code": "", ".counted": None}

ADDED: dict[str, Any] = {
    "optim.settings": {},
    "optim.code": "",
    "optim.adamw_embedding_factor": 1.0,
    "data.val_document_tokens": None,
    "data.second": [],
    "train.autotune": False,
    "train.deterministic": False,
    **{
        f"{part}{field}": value
        for part in ("model.feed_forward", "model.attention", "schedule.shape", "train.loss")
        for field, value in _PART.items()
    },
}
"""Fields that the schema gained after records were written: dotted path -> the value, as JSON has
it, that means "as before". It is also the field's default, so that older configurations can be
read. Digests and comparisons leave such a field out at this value, so that a record written before
the field existed keeps its key. A field of a source is `data.sources.NAME`, which holds for
`data.fitted_on` and `data.second` too. A table that was gained stands here with each of its fields,
and is as before where nothing of it is left. No entry is ever removed or changed: keys need it.
"""


def as_before(config: BaseModel | Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """A configuration, or its `section` (`"data"`), as digests and comparisons see it: plain
    values, without the fields of `ADDED` that are at the value that means "as before"."""
    data = config.model_dump(mode="json") if isinstance(config, BaseModel) else config
    kept = {}
    for name, value in data.items():
        path = f"{section}.{name}" if section else name
        # The sources of a tokenizer and of a second text gain the same fields as any other.
        like = "data.sources" if path in ("data.fitted_on", "data.second") else path
        value, old = _parts_as_before(value, like), ADDED.get(path, ...)
        if old is ... or (old is not value and canonical(old) != canonical(value)):
            kept[name] = value
    return kept


def _parts_as_before(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return as_before(value, path)
    if isinstance(value, list | tuple):
        return [_parts_as_before(part, path) for part in value]
    return value


def flatten(config: BaseModel | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted path -> plain value, in the order of declaration. Tuples are leaves, as lists."""
    data = config.model_dump(mode="json") if isinstance(config, BaseModel) else config
    flat: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any, length: int = 16) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def identity(config: RunConfig | Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, or a record's, as it enters the key: dotted path -> plain value, without
    the neutral fields and without those of `ADDED` that are as before."""
    return {k: v for k, v in flatten(as_before(config)).items() if k not in NEUTRAL_FIELDS}


def replace(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A copy with dotted fields replaced and everything checked again.

    Raises RequestError for an unknown path or a value of the wrong type.
    """
    data = config.model_dump()
    # A whole before what it holds, and a part's name before its settings.
    for path in sorted(changes, key=lambda path: (path.count("."), not path.endswith(".name"))):
        _assign(data, path, changes[path])
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise RequestError(explain(error)) from None


PART_OF_NAME: dict[str, Any] = {"settings": {}, "code": "", "counted": None}
"""What belongs to a part's `name`, beside it: with another name it begins anew."""


def _assign(data: dict[str, Any], path: str, value: Any) -> None:
    known = [*flatten(data), *data]
    *sections, leaf = path.split(".")
    node: Any = data
    for section in sections:
        if not isinstance(node, dict) or section not in node:
            raise RequestError(f"no field '{path}'{nearest(path, known)}")
        node = node[section]
    settings = bool(sections) and sections[-1] == "settings"  # whose names the part knows
    if not isinstance(node, dict) or (leaf not in node and not settings):
        raise RequestError(f"no field '{path}'{nearest(path, known)}")
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(node.get(leaf), dict) and isinstance(value, str):
        value = {"name": value, **copy.deepcopy(PART_OF_NAME)}  # a part by its name alone
    if leaf == "name" and value != node[leaf]:
        node.update(copy.deepcopy({k: v for k, v in PART_OF_NAME.items() if k in node}))
    node[leaf] = copy.deepcopy(value)  # later paths may assign inside it, and it is the caller's
