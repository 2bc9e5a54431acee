"""`smol run --from MODEL`: the model that a stage starts from, and whether it fits there.

Everything that can be wrong with it is found here, before anything is started or written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.commands import models
from harness.config import RunConfig
from harness.data.manifest import Prepared
from harness.errors import RequestError
from models.config import ModelConfig

LEARNING = frozenset(
    {"init_std", "dropout", "balance_weight", "z_weight", "router_noise", "max_seq_len"}
)
"""Fields that shape training or bound a length, not what the weights compute."""


@dataclass(frozen=True)
class Given:
    """A model to start from."""

    name: str
    """Kind and digest: it enters the run's key and the record, so it holds no path."""
    argument: str
    """As the user called it."""
    path: Path
    """A checkpoint, or transformers' folder."""
    model: ModelConfig
    tokenizer: Path
    """The folder of its tokenizer."""


def find(argument: str, *, scale: str | None, results: Path) -> Given:
    """The model that `--from` names, loaded once to see that it is whole.

    Raises RequestError where it is not there, damaged, truncated, or without its tokenizer.
    """
    try:
        found = models.resolve(argument, scale=scale, results=results)
    except RequestError:
        found = models.resolve(argument)  # a run of another scale's folder
    loaded = models.load(found, dtype="fp32")
    kind = {"asset": found.name, "folder": "transformers folder"}.get(found.kind, "checkpoint")
    return Given(
        f"{kind} {found.digest()[:16]}", argument, found.path.resolve(), loaded.model.config,
        loaded.tokenizer_folder,
    )  # fmt: skip


def check_architecture(given: Given, configs: Iterable[RunConfig]) -> None:
    """Raises RequestError where the model is not of the architecture that a stage trains."""
    theirs = given.model.model_dump(mode="json", exclude=set(LEARNING))
    for config in configs:
        ours = config.model.model_dump(mode="json", exclude=set(LEARNING))
        fields = [name for name in ours if ours[name] != theirs[name]]
        if fields:
            name = fields[0]
            more = f" (and {', '.join(fields[1:])})" if fields[1:] else ""
            raise RequestError(
                f"--from {given.argument}: another architecture: its {name} is {theirs[name]} and "
                f"the stage's {ours[name]}{more}; --set model.{name}=... or another --scale"
            )


def check_tokenizer(given: Given, folders: Iterable[Prepared]) -> None:
    """Raises RequestError where the stage's data was made with another tokenizer."""
    for prepared in folders:
        if not same_tokenizer(given.tokenizer, prepared.folder):
            raise RequestError(
                f"--from {given.argument}: its tokenizer is not the one that the stage's data "
                f"({prepared.manifest.tokenizer_digest[:12]}) was tokenized with: prepare data "
                "with the model's own (`smol data prepare ... --tokenizer`) and give it as --data"
            )


def same_tokenizer(one: Path, other: Path) -> bool:
    """Whether two folders' tokenizers cut and number text alike, however their files are laid
    out. One that is not there is like none."""
    from tokenizers import Tokenizer

    files = [folder / "tokenizer.json" for folder in (one, other)]
    if not all(file.is_file() for file in files):
        return False
    if files[0].read_bytes() == files[1].read_bytes():
        return True
    texts = []
    for file in files:
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        texts.append(tokenizer.to_str())
    return texts[0] == texts[1]
