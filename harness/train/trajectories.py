"""Reference trajectories: what the code that trains computes, as numbers that another CPU repeats.

Tiny models in fp64 on one thread, a few updates each: every kind of model, optimizer and schedule,
and every way from text to batches. Their losses are what `harness.code.behaviour` compares. A
change that moves one of them changes behaviour; one that moves none is a refactor, as far as these
paths reach. Not seen here: bf16, compiled graphs, Triton operators and CUDA.

`python -m harness.train.trajectories` prints the numbers as JSON.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import presets
from harness.config import DataConfig, OptimConfig, ScheduleConfig, Source
from harness.data import python_text
from harness.data.batches import Batch, TrainStream, Validation, read_validation
from harness.data.build import build as build_data
from harness.data.chat import ChatFormat
from harness.data.packing import pack
from harness.optim import build, schedule
from harness.seeds import derive
from harness.train.evaluate import evaluate, expert_use
from harness.train.update import update
from models.config import ModelConfig
from models.generate import Sampling, generate
from models.lm import LanguageModel

SEED = 7
SEQ_LEN, VOCABULARY = 32, 320
MICRO_BATCH, ACCUMULATION = 2, 2
UPDATES = 6
GRAIN = 2.0**-7
"""What initial weights are rounded to; their standard deviation is about six times as much."""
CPU = torch.device("cpu")

Values = dict[str, list[float]]

_TINY = dict(
    vocab_size=VOCABULARY, width=24, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=40,
    activation="swiglu", qk_norm=False, rope_theta=10_000.0, norm_eps=1e-5, tied=True,
    init_std=0.05, max_seq_len=64, dropout=0.0, experts=0, top_k=0, balance_weight=0.0,
    z_weight=0.0, router_noise=0.0,
)  # fmt: skip
_MIXTURE = dict(experts=4, top_k=2, ffn=24, balance_weight=0.1, z_weight=0.05)

MODELS: dict[str, dict[str, Any]] = {
    "dense": {},
    "dense-own-head": dict(qk_norm=True, tied=False, activation="silu", dropout=0.2, kv_heads=1),
    "moe": _MIXTURE,
    "moe-silu": {**_MIXTURE, "activation": "silu", "qk_norm": True, "router_noise": 0.1},
}

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "muon": dict(muon_weight_decay=0.1),
    "muon-rms": dict(muon_scale="rms", muon_nesterov=False, clip_norm=0.0),
    "adamw": dict(name="adamw", adamw_weight_decay=0.2),
    # PyTorch's own iterates in bf16, which no other CPU would repeat: without iterations.
    "torch-muon": dict(name="torch-muon", muon_ns_dtype="bf16", muon_ns_iterations=0),
}
SCHEDULES = {
    "wsd": ScheduleConfig(name="wsd", warmup_updates=2, decay_fraction=0.4, final_fraction=0.0),
    "cosine": ScheduleConfig(
        name="cosine", warmup_updates=2, decay_fraction=0.2, final_fraction=0.1
    ),
}
PATHS = (
    ("dense", "muon", "wsd", ""),
    ("dense-own-head", "adamw", "cosine", "documents"),
    ("moe", "muon-rms", "cosine", "recompute"),
    ("moe-silu", "torch-muon", "wsd", ""),
    ("moe", "muon", "wsd", ""),
)
"""(model, optimizer, schedule, option)."""


def compute() -> Values:
    """All trajectories by name. Sets the number of torch's threads to 1."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    found: Values = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepared = _prepare(folder)
        found |= _data(prepared)
        validation = read_validation(prepared)
        for model, optimizer, plan, option in PATHS:
            name = "/".join(filter(None, ("train", model, optimizer, plan, option)))
            found[name] = _train(prepared, validation, model, optimizer, plan, option)
        found["schedule"] = _schedules()
        found["generate"] = _generate(prepared)
        found["chat"], found["train/chat"] = _chat(prepared)
        found["code"] = _code()
    return found


# -- data ---------------------------------------------------------------------------------------


def _texts() -> Iterator[str]:
    """Documents of made-up sentences; `random` repeats itself on every platform and version."""
    source = random.Random(SEED)
    words = ["".join(source.choices("aeioustrnlé", k=source.randint(2, 7))) for _ in range(150)]
    shared = " ".join(source.choices(words, k=40)) + "."
    for number in range(120):
        sentences = [
            " ".join(source.choices(words, k=source.randint(4, 14))).capitalize() + "."
            for _ in range(source.randint(2, 9))
        ]
        # One paragraph stands in many documents: repeats are dropped, and may not leak.
        parts = [" ".join(sentences), *([shared] if number % 7 == 0 else [])]
        yield "\n\n".join(parts)


def _prepare(folder: Path) -> Path:
    rows = list(_texts())
    for name, part in (("a", rows[:80]), ("b", rows[80:])):
        lines = (json.dumps({"text": text}) for text in part)
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    sources = tuple(
        Source(name=name, kind="files", share=share, paths=(str(folder / f"{name}.jsonl"),))
        for name, share in (("a", 0.7), ("b", 0.3))
    )
    place = folder / "prepared"
    place.mkdir()
    base = presets.run("smoke").data.model_dump()
    spec = {
        **base, "sources": tuple(s.model_dump() for s in sources), "seq_len": SEQ_LEN,
        "vocab_size": VOCABULARY, "train_tokens": None, "val_fraction": 0.15, "val_tokens": 1_500,
        "split_seed": 3,
    }  # fmt: skip
    build_data(DataConfig.model_validate(spec), place, lambda line: None)
    return place


def _sum(*arrays: np.ndarray) -> float:
    """A checksum that a double holds exactly."""
    total = 0
    for array in arrays:
        whole = np.ascontiguousarray(array, dtype=np.int64)
        total = zlib.crc32(whole.astype("<i8").tobytes(), total)
    return float(total)


def _data(prepared: Path) -> Values:
    stream = TrainStream(prepared, derive(SEED, "data"), documents=True)
    first, later = stream.rows(0, 8), stream.rows(10_000, 4)
    validation = read_validation(prepared, row_documents=True)
    assert validation.row_documents is not None
    documents = [batch.documents for batch in (first, later) if batch.documents is not None]
    manifest = json.loads((prepared / "manifest.json").read_text("utf-8"))
    counts = ("train_tokens", "val_scored_tokens", "val_scored_bytes", "unigram_val_loss")
    return {
        "data/train": [
            _sum(first.tokens), _sum(first.targets), _sum(later.tokens), _sum(*documents),
        ],
        "data/validation": [
            _sum(validation.tokens), _sum(validation.targets), _sum(validation.documents),
            _sum(validation.token_bytes), _sum(validation.row_documents),
        ],
        "data/counts": [float(manifest[name]) for name in counts],
    }  # fmt: skip


# -- training -----------------------------------------------------------------------------------


def _optim(name: str) -> OptimConfig:
    base = presets.optim(muon_lr=0.02, adamw_lr=0.005, weight_decay=0.05).model_dump()
    given = {"muon_ns_dtype": "fp64", **OPTIMIZERS[name]}
    return OptimConfig.model_validate({**base, **given})


def _model(*, recompute: bool = False, **changes: Any) -> LanguageModel:
    torch.manual_seed(derive(SEED, "noise"))
    sizes = ModelConfig.model_validate({**_TINY, **changes})
    model = LanguageModel(sizes, torch.float64, recompute=recompute)
    model.init_weights(derive(SEED, "init"))
    with torch.no_grad():
        for parameter in model.parameters():
            # Normal draws differ in their last bits between instruction sets.
            parameter.copy_((parameter / GRAIN).round() * GRAIN)
    return model.double()


def _train(
    prepared: Path, validation: Validation, model: str, optimizer: str, plan: str, option: str
) -> list[float]:
    """Loss, routing loss and gradient norm of every update, then validation and router."""
    trained = _model(recompute=option == "recompute", **MODELS[model])
    config, rates = _optim(optimizer), SCHEDULES[plan]
    optimizers = build.build(config, trained)
    stream = TrainStream(prepared, derive(SEED, "data"), documents=option == "documents")
    rows, values = MICRO_BATCH * ACCUMULATION, list[float]()
    decay = 2 if plan == "cosine" else 4
    for number in range(UPDATES):
        seen = update(
            trained, optimizers, stream.rows(number * rows, rows), micro_batch=MICRO_BATCH,
            clip_norm=config.clip_norm, factor=schedule.factor(rates, number, decay, UPDATES),
            device=CPU,
        )  # fmt: skip
        values += [seen.loss, seen.routing_loss, seen.grad_norm]
    score = evaluate(trained, validation, 4, CPU)
    values += [score.loss, float(score.document_nats.max()), float(score.tokens)]
    if (use := expert_use(trained, validation, 4, CPU)) is not None:
        values += [*use.entropy, *(float(count) for layer in use.load for count in layer)]
    return values


def _schedules() -> list[float]:
    return [
        schedule.factor(one, number, start, 20)
        for one in SCHEDULES.values()
        for start in (None, 12)
        for number in range(20)
    ]


def _generate(prepared: Path) -> list[float]:
    """Greedy and sampled tokens with the cache, and logits with and without it."""
    model = _model(**MODELS["dense-own-head"]).eval()
    prompt = [int(token) for token in read_validation(prepared).tokens[0, :9]]
    greedy = list(generate(model, prompt, 8))
    sampled = list(generate(model, prompt, 8, Sampling(0.9, top_k=40, top_p=0.9, seed=SEED)))
    with torch.no_grad():
        logits = model(torch.tensor([prompt]))
    return [*map(float, greedy), *map(float, sampled), float(logits.square().mean())]


# -- conversations and code ---------------------------------------------------------------------

_TALKS = [
    [("system", "Be brief."), ("user", "What is it?"), ("assistant", "It is a test, you see.")],
    [("user", "Aeiou?"), ("assistant", "Yes."), ("user", "é?"), ("assistant", "No <|im_end|>.")],
    [("user", ""), ("assistant", "Nothing was said.")],
]


def _chat(prepared: Path) -> tuple[list[float], list[float]]:
    """What is packed and scored of conversations; and the losses of updates on them."""
    chat = ChatFormat(prepared)
    talks = [[{"role": role, "content": text} for role, text in talk] for talk in _TALKS]
    encoded = chat.encode_many(talks)
    longest = max(len(one.tokens) for one in encoded)
    rows, owner = pack(
        [(i % 2, one) for i, one in enumerate(encoded)], longest + 8, chat.end_of_turn
    )
    prompt = np.array(chat.prompt(talks[0][:2]))
    values = [
        _sum(rows.tokens), _sum(rows.labels), _sum(rows.documents), _sum(owner), _sum(prompt),
        *(float(one.targets) for one in encoded),
    ]  # fmt: skip
    model = _model(max_seq_len=longest + 8)
    optimizers = build.build(_optim("muon"), model)
    targets = np.full_like(rows.labels, -100)
    targets[:, :-1] = rows.labels[:, 1:]
    batch = Batch(rows.tokens.astype(np.int64), targets.astype(np.int64))
    losses = []
    for _ in range(3):
        seen = update(
            model, optimizers, batch, micro_batch=1, clip_norm=1.0, factor=1.0, device=CPU
        )  # fmt: skip
        losses += [seen.loss, seen.grad_norm]
    return values, losses


_SOURCE = '''\
"""A module."""
import math


def area(r):
    """Of a circle."""
    return math.pi * r**2


class Shape:
    """Has an area."""

    TABLE = (1, 2, 3)

    def area(self):
        """Abstract."""
'''


def _code() -> list[float]:
    """Python source taken apart into prose and code."""
    tree = python_text.parse(_SOURCE)
    assert tree is not None
    parts = (python_text.docstrings(tree), python_text.without_docstrings(_SOURCE, tree))
    return [float(zlib.crc32(part.encode())) for part in parts]


def main() -> int:
    """Print the numbers as JSON."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    print(json.dumps(compute()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
