"""The prepared data of a run: made from the recipe's specification, or given by the user as --data.

Whatever does not fit the model, the sequence length or the stages' common tokenizer is refused
here, before anything is started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.commands.start import same_tokenizer
from harness.config import RunConfig, canonical
from harness.data.adopted import open_folder
from harness.data.manifest import UNKNOWN, Prepared
from harness.data.prepare import prepare
from harness.errors import RequestError, nearest
from harness.launch import terminal
from harness.plan.grid import Arm
from harness.recipe import Stage, check_name


@dataclass(frozen=True)
class Wanted:
    """One configuration that needs data."""

    stage: str | None
    after: str | None
    arm: str
    config: RunConfig


def wanted(grid: Sequence[Arm], stages: Sequence[Stage]) -> list[Wanted]:
    """Every configuration of the plan: the arms', or those of their stages."""
    if not stages:
        return [Wanted(None, None, arm.name, arm.config) for arm in grid]
    names = {stage.name for stage in stages}
    return [
        Wanted(step.stage.name, step.stage.after, arm.name, step.config)
        for arm in grid
        for step in arm.steps
        if step.stage.name in names
    ]


def read_folders(
    pairs: Sequence[str], stages: Sequence[Stage], stage: str | None
) -> dict[str | None, Path]:
    """`["DIR"]` or `["sft=DIR", ...]` -> stage -> folder.

    A folder without a stage is for `stage` where one is asked for, else for the first; where the
    recipe has none, for all. Raises RequestError for an unknown or repeated stage.
    """
    names = [one.name for one in stages]
    found: dict[str | None, Path] = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if equals and name in names:
            key: str | None = name
        elif equals and names and not Path(pair).exists():
            raise RequestError(f"--data {pair}: no stage '{name}'{nearest(name, names)}")
        else:
            key, folder = (stage or names[0]) if names else None, pair
        if key in found:
            raise RequestError(f"--data is given twice for {key or 'the recipe'}")
        found[key] = Path(folder).expanduser()
    return found


def own_text(paths: Sequence[Path], folders: Sequence[str]) -> dict[str, Any]:
    """The override that makes a user's files all of the text; none without files. `folders` are
    those of --data. Raises RequestError for what cannot be read."""
    if not paths:
        return {}
    if any("=" not in folder for folder in folders):
        raise RequestError("--text and --data exclude each other, but for --data STAGE=DIR")
    from harness.data.sources.tables import of_paths

    return {"data.sources": (of_paths(paths),)}


def prepare_all(
    needs: Sequence[Wanted], folders: Mapping[str | None, Path], tokenizer: str | None
) -> dict[str, Prepared]:
    """Each distinct data specification (by its canonical form), prepared. Raises RequestError."""

    opened = {
        folder: open_folder(folder, tokenizer=tokenizer, progress=terminal.say)
        for folder in dict.fromkeys(folders.values())
    }
    prepared: dict[str, Prepared] = {}
    for need in needs:
        data = canonical(need.config.data)
        if need.stage in folders:
            given = opened[folders[need.stage]]
            check_fits(given, need.config, folders[need.stage])
            if prepared.setdefault(data, given) is not given:
                raise RequestError(
                    f"stage '{need.stage}' and one before it have the same data specification: "
                    "--data must be given for both or for neither"
                )
        elif data not in prepared:
            prepared[data] = prepare(need.config.data, progress=terminal.say)
    _check_tokenizers(needs, prepared)
    for source in (one for place in prepared.values() for one in place.manifest.sources):
        check_name("a source", source.name)  # now, not when the record of a whole run is written
    return prepared


def check_fits(folder: Prepared, config: RunConfig, given: Path) -> None:
    """Raises RequestError where a configuration cannot be trained on a given folder."""
    manifest = folder.manifest
    if manifest.seq_len != config.data.seq_len:
        raise RequestError(
            f"{given} holds sequences of {manifest.seq_len} tokens; the recipe trains on "
            f"data.seq_len={config.data.seq_len}"
        )
    if manifest.vocab_size > config.model.vocab_size:
        raise RequestError(
            f"{given} has a vocabulary of {manifest.vocab_size:,} tokens, and the model one of "
            f"{config.model.vocab_size:,}: --set model.vocab_size={manifest.vocab_size}"
        )


def _check_tokenizers(needs: Sequence[Wanted], prepared: Mapping[str, Prepared]) -> None:
    """A stage must read the tokens that the weights have learned. Raises RequestError."""
    by_place = {(need.arm, need.stage): prepared[canonical(need.config.data)] for need in needs}
    for need in needs:
        mine = by_place[need.arm, need.stage]
        before = by_place.get((need.arm, need.after)) if need.after else None
        if before is None or UNKNOWN in (
            mine.manifest.tokenizer_digest, before.manifest.tokenizer_digest,
        ):  # fmt: skip
            continue
        if not same_tokenizer(mine.folder, before.folder):
            raise RequestError(
                f"stage '{need.stage}' reads data of another tokenizer "
                f"({mine.manifest.tokenizer_digest[:12]}) than '{need.after}', whose weights it "
                f"starts from ({before.manifest.tokenizer_digest[:12]})"
            )
