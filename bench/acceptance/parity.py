"""Our models against transformers' on the device: `python -m bench.acceptance.parity cuda|cpu`.

The same weights and tokens: logits, loss and gradients in fp32, then the losses of a few bf16
updates as each trains. And documents packed together against the same documents one by one: on a
card another attention, whose compiled kernels run nowhere else.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from bench.acceptance.verdicts import Verdicts
from harness import presets
from harness.bench import peers
from harness.bench.contestant import tokens_of
from harness.bench.setting import Setting
from harness.data.batches import IGNORED
from models.hf import to_transformers
from models.lm import LanguageModel
from models.presets import model

LOGITS = 1e-4
"""Relative 2-norm, fp32: sums of up to 1536 terms in another order, through all layers."""
GRADIENTS = 1e-3
"""The same, through the layers twice."""
WORSE = 2.0
"""How many times the other's error one of two bf16 paths may have."""
LOSSES = 1e-2
"""Nats, over UPDATES bf16 updates: ours keeps activations in bf16, autocast the residual stream
in fp32."""
UPDATES = 5
BORDERS = (0, 5, 133, 300)
"""Where the documents of a row begin: within a block of keys, across one, over several."""
PACKED = 421
"""Tokens of that row."""


def main(device: str) -> int:
    """Exit code 1 where something differs."""
    scale = "full" if device == "cuda" else "smoke"
    verdicts = Verdicts()
    for kind in ("dense", "moe-active"):
        exact(kind, scale, device, verdicts)
    updates(scale, device, verdicts)
    packed(scale, device, verdicts)
    return verdicts.exit_code


def setting(contestant: str, kind: str, scale: str, device: str) -> Setting:
    """Two sequences of 128 tokens, or more on a card."""
    constants = presets.optim(muon_lr=0.02, adamw_lr=3e-4, weight_decay=0.1)
    return Setting(
        contestant=contestant, model=model(kind, scale), batch=2,
        seq=512 if device == "cuda" else 128, compile="eager", dtype="bf16",
        optim=constants.model_copy(update={"name": "adamw"}),
        device="cuda" if device == "cuda" else "cpu", threads=2, seed=0,
    )  # fmt: skip


def exact(kind: str, scale: str, device: str, verdicts: Verdicts) -> None:
    """Logits, loss and the embedding's gradient in fp32."""
    chosen = setting("ours", kind, scale, device)
    ours = LanguageModel(chosen.model, torch.float32)
    ours.init_weights(0)
    with tempfile.TemporaryDirectory() as folder:
        to_transformers(ours, Path(folder))
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device)
    ours.to(device)
    ids = torch.from_numpy(tokens_of(chosen, 0)).to(device)
    targets = torch.full_like(ids, -100)
    targets[:, :-1] = ids[:, 1:]
    with torch.no_grad():
        verdicts.close(f"{kind} {scale}: logits", ours(ids), theirs(ids).logits, LOGITS)
    sums = ours.loss_sums(ids, targets)
    (sums.cross_entropy / sums.targets).backward()
    loss = theirs(input_ids=ids, labels=ids).loss
    loss.backward()
    mean = sums.cross_entropy.detach() / sums.targets
    verdicts.close(f"{kind} {scale}: loss", mean, loss.detach(), LOGITS)
    gradient = theirs.get_input_embeddings().weight.grad
    found = ours.embedding.weight.grad
    assert found is not None
    verdicts.close(f"{kind} {scale}: gradient of the embedding", found, gradient, GRADIENTS)


def updates(scale: str, device: str, verdicts: Verdicts) -> None:
    """The losses of the first updates, as either would train."""
    losses = []
    for name in ("ours", "transformers"):
        chosen = setting(name, "dense", scale, device)
        contestant = peers.build(chosen)
        contestant.prepare()
        losses.append([contestant.update(tokens_of(chosen, number)) for number in range(UPDATES)])
    distance = max(abs(a - b) for a, b in zip(*losses, strict=True))
    verdicts.below(f"dense {scale}: losses of {UPDATES} bf16 updates", distance, LOSSES)


def packed(scale: str, device: str, verdicts: Verdicts) -> None:
    """Loss and gradient of a row of documents, in fp32 against those of the documents by
    themselves; the bf16 gradient no further from fp32 than theirs."""
    config = model("dense", scale).model_copy(update={"max_seq_len": PACKED})
    tokens = torch.randint(0, config.vocab_size, (1, PACKED), generator=torch.manual_seed(0))
    targets = tokens.roll(-1, 1)
    stops = (*BORDERS[1:], PACKED)
    targets[:, [stop - 1 for stop in stops]] = IGNORED  # the next document is not foretold
    documents = torch.zeros_like(tokens)
    for start in BORDERS[1:]:
        documents[:, start:] += 1
    tokens, targets, documents = (t.to(device) for t in (tokens, targets, documents))
    spans = list(zip(BORDERS, stops, strict=True))
    gradients = {}
    for dtype in (torch.float32, torch.bfloat16):
        ours = LanguageModel(config, dtype)
        ours.init_weights(0)
        ours.to(device)
        together = ours.loss_sums(tokens, targets, documents).cross_entropy
        alone = torch.stack(
            [ours.loss_sums(tokens[:, a:b], targets[:, a:b]).cross_entropy for a, b in spans]
        ).sum()
        name = f"dense {scale}: loss of packed documents, {str(dtype).removeprefix('torch.')}"
        bound = LOGITS if dtype == torch.float32 else LOSSES
        verdicts.close(name, together.detach(), alone.detach(), bound)
        gradients[dtype] = [
            torch.autograd.grad(loss, ours.embedding.weight)[0] for loss in (together, alone)
        ]
    wide, truth = gradients[torch.float32]
    verdicts.close(f"dense {scale}: gradient of packed documents, float32", wide, truth, GRADIENTS)
    packed_error, alone_error = (
        float((gradient - truth).norm() / truth.norm()) for gradient in gradients[torch.bfloat16]
    )
    what = f"dense {scale}: gradient of packed documents, bfloat16, to fp32 beside one by one"
    verdicts.below(what, packed_error / alone_error, WORSE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
