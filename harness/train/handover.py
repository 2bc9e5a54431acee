"""How a stage gets the weights that it starts from, and the proof that it did.

The proof is the loss on a fixed probe batch, before saving and after loading: names that do not
match, or weights that were left at random, cannot keep it. Loading is strict.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from harness.data.batches import IGNORED, Batch, Validation
from harness.errors import RequestError
from harness.records import gates
from harness.train import checkpoint
from harness.train.evaluate import probe_batch, probe_loss
from harness.train.progress import Progress
from models.lm import LanguageModel


def from_final(
    path: Path, model: LanguageModel, device: torch.device, *, parent: tuple[str, str] | None
) -> Progress:
    """The weights that another run ended with; optimizer, schedule and counters begin anew.

    `parent` is the key and source digest that it must have been run with; None takes any.
    Raises RequestError for a file of another run, a damaged one, weights of another architecture,
    or a probe loss that is not the same.
    """
    content = checkpoint.load(path)
    found = (content.get("key"), content.get("source_digest"))
    if parent is not None and found != parent:
        raise RequestError(
            f"{path.name} is of run {found[0]} and code {found[1]}, not of {' and '.join(parent)}"
        )
    probe = content.get("probe")
    if "model" not in content or probe is None:
        raise RequestError(
            f"{path.name} holds no weights with a probe batch that would prove their hand-over: "
            "a stage starts from a final_model.pt of this version"
        )
    _load(path, content["model"], model)
    documents = None if probe["documents"] is None else probe["documents"].numpy()
    batch = Batch(probe["tokens"].long().numpy(), probe["targets"].long().numpy(), documents)
    after = probe_loss(model, batch, device)
    return _proven(path, probe["loss"], after, given=parent is None, device=device.type)


def from_given(
    place: Path, model: LanguageModel, validation: Validation, device: torch.device
) -> Progress:
    """The weights of a model that the user gave: a final_model.pt, or a transformers folder.

    A folder is proven by transformers itself: its loss on a row of our validation beside ours
    (both fp32, on the CPU). Raises RequestError as `from_final` does.
    """
    if not place.is_dir():
        return from_final(place, model, device, parent=None)
    from transformers import AutoModelForCausalLM

    from models.hf import from_transformers

    try:
        ours = from_transformers(place, torch.float32)
    except ValueError as error:
        raise RequestError(f"{place.name}: {error}") from None
    _load(place, ours.state_dict(), model)
    whole = probe_batch(validation)
    # One row: all its logits are in memory here.
    batch = Batch(whole.tokens[:1], whole.targets[:1])
    theirs = AutoModelForCausalLM.from_pretrained(
        place, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    ).eval()
    with torch.no_grad():
        logits = theirs(torch.from_numpy(batch.tokens)).logits[0]
        targets = torch.from_numpy(batch.targets[0])
        before = float(F.cross_entropy(logits, targets, ignore_index=IGNORED))
    return _proven(place, before, probe_loss(ours, batch, torch.device("cpu")), given=True)


def _load(place: Path, weights: dict[str, torch.Tensor], model: LanguageModel) -> None:
    try:
        model.load_state_dict(weights, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        why = str(error).splitlines()[-1].strip()
        raise RequestError(f"{place.name} is of another architecture: {why}") from None


def check(place: Path, before: float, after: float, *, given: bool, device: str) -> None:
    """Before anything is trained from it. Raises RequestError where the losses are of two models,
    by the bound of the kind of device."""
    if not gates.handed_over(before, after, given=given, device=device):
        raise RequestError(
            f"the hand-over from {place.name} failed: its probe batch had the loss {before:.6f} "
            f"before saving and has {after:.6f} after loading"
        )


def _proven(
    place: Path, before: float, after: float, *, given: bool, device: str = "cpu"
) -> Progress:
    check(place, before, after, given=given, device=device)
    return Progress(update=0, seconds_before=0.0, handover_loss=(before, after))
