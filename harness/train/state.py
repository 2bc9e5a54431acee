"""The state of a run on disk: rolling checkpoint, branch, final model; and back again.

A branch carries the loss on a probe batch: the run that starts from it proves that it got the
same model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.config import Frozen, RunConfig
from harness.data.batches import Validation
from harness.errors import RequestError
from harness.optim.build import Optimizers
from harness.train import checkpoint
from harness.train.evaluate import probe_batch, probe_loss
from harness.train.progress import Progress
from models.lm import LanguageModel

FORMAT = 1


class Origin(Frozen):
    """What a rolling checkpoint must share with the process that goes on from it."""

    key: str
    """The run's with one process, as another number of them may go on from it."""
    source_digest: str
    manifest_digest: str
    software: tuple[str, ...]
    """`provenance.software_set`."""


def save_rolling(
    path: Path,
    key: str,
    origin: Origin,
    model: LanguageModel,
    optimizers: Optimizers,
    progress: Progress,
) -> None:
    """Everything needed to resume, on a CPU bit for bit."""
    content = {
        **_common(key, model, optimizers),
        "origin": origin.model_dump(),
        "progress": progress.to_plain(),
    }
    checkpoint.save(path, content)


@dataclass
class Rolling:
    """A checkpoint from which a run of its origin may go on."""

    content: dict[str, Any]
    progress: Progress


def read_rolling(path: Path, origin: Origin) -> Rolling | None:
    """The checkpoint of a run of the same origin that was interrupted, or that is finished but for
    what is written at the end.

    None where there is none, or one of another origin. Raises Damaged for a damaged checkpoint.
    """
    if not path.exists():
        return None
    content = checkpoint.load(path)
    if content.get("origin") != origin.model_dump():
        return None
    return Rolling(content, Progress.from_plain(content["progress"]))


def resume(found: Rolling, model: LanguageModel, optimizers: Optimizers) -> Progress:
    """Restore what a checkpoint holds, and count that the run was interrupted."""
    _restore(found.content, model, optimizers)
    found.progress.resumed += 1
    return found.progress


def adopt_branch(path: Path, place: Path, key: str) -> None:
    """Put the branch at `path`, of the same run with another number of processes, at `place`."""
    checkpoint.save(place, {**checkpoint.load(path), "key": key})


def save_branch(
    path: Path,
    key: str,
    model: LanguageModel,
    optimizers: Optimizers,
    progress: Progress,
    validation: Validation,
    device: torch.device,
) -> None:
    """The state from which another stage starts, with the loss on the probe batch."""
    content = {
        **_common(key, model, optimizers),
        "update": progress.update,
        "seconds": progress.seconds,
        "probe_loss": probe_loss(model, probe_batch(validation), device),
    }
    checkpoint.save(path, content)


def start_from_branch(
    path: Path,
    parent_key: str,
    model: LanguageModel,
    optimizers: Optimizers,
    validation: Validation,
    device: torch.device,
) -> Progress:
    """Load a branch, strictly, and measure the probe batch again.

    The returned progress holds both probe losses; whether they agree is judged by the caller.
    Raises RequestError for a branch of another run, or a damaged one.
    """
    content = checkpoint.load(path)
    if content["key"] != parent_key:
        raise RequestError(f"{path.name} is of run {content['key']}, not of {parent_key}")
    _restore(content, model, optimizers)
    loss = probe_loss(model, probe_batch(validation), device)
    return Progress(
        update=content["update"],
        seconds_before=content["seconds"],
        handover_loss=(content["probe_loss"], loss),
    )


def save_final(
    path: Path,
    key: str,
    source_digest: str,
    config: RunConfig,
    model: LanguageModel,
    metrics: dict[str, Any],
    validation: Validation,
    device: torch.device,
) -> None:
    """Model state, configuration and metrics: what sampling, export and the next stage need.

    With the probe batch and the loss on it, so that whatever loads it can prove that it did.
    """
    batch = probe_batch(validation)
    documents = None if batch.documents is None else torch.from_numpy(batch.documents)
    checkpoint.save(
        path,
        {
            "format": FORMAT,
            "key": key,
            "source_digest": source_digest,
            "model": model.state_dict(),
            "config": config.model_dump(mode="json"),
            "metrics": metrics,
            "probe": {
                "tokens": torch.from_numpy(batch.tokens).int(),
                "targets": torch.from_numpy(batch.targets).int(),
                "documents": documents,
                "loss": probe_loss(model, batch, device),
            },
        },
    )


def _common(key: str, model: LanguageModel, optimizers: Optimizers) -> dict[str, Any]:
    generators: dict[str, Any] = {"cpu": torch.get_rng_state()}
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None:
        generators[accelerator.type] = torch.get_device_module(accelerator).get_rng_state()
    return {
        "format": FORMAT,
        "key": key,
        "model": model.state_dict(),
        "optimizer": optimizers.state_dict(),
        "generators": generators,
    }


def _restore(content: dict[str, Any], model: LanguageModel, optimizers: Optimizers) -> None:
    model.load_state_dict(content["model"], strict=True)
    optimizers.load_state_dict(content["optimizer"])
    torch.set_rng_state(content["generators"]["cpu"])
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None and accelerator.type in content["generators"]:
        state = content["generators"][accelerator.type]
        torch.get_device_module(accelerator).set_rng_state(state)
