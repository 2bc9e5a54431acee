"""Synthetic records of `dense_vs_moe` that pass every gate: stems, decays, seeds, accidents."""

from __future__ import annotations

import dataclasses
import math
import random
from functools import cache
from typing import Any
from unittest import mock

import recipes.dense_vs_moe as compared
import recipes.tune_dense_vs_moe as declared
from harness import recipe
from harness.config import replace
from harness.plan import runs as plan
from harness.records.schema import (
    Code,
    DataUse,
    EvalPoint,
    ExpertUse,
    Flops,
    Hardware,
    HorizonEnd,
    Memory,
    Question,
    Record,
    Timing,
    TrainPoint,
)
from models.config import active_parameters, flops_per_token, total_parameters
from tests.plan import making

VAL_TOKENS, VAL_BYTES = 16_256, 50_000
UNIGRAM = 6.76
SKILL = {"dense": 6.00, "moe-active": 5.90, "moe-total": 6.05, "moe-160m": 6.20, "moe": 5.95}
"""The first name with which an arm's begins decides; `moe` is a bundle of `as_published`."""
CPU = "Some CPU 3000 (AVX-512)"
GRID = {"FACTORS": (0.5, 1.0, 2.0, 4.0), "DECAYS": (0.0, 0.1, 0.4)}
"""Of the synthetic search, whatever the recipe's own has become."""


@cache
def entry() -> recipe.Entry:
    """`dense_vs_moe` with lengths of its own, so that no test hangs on a preset's, and with the
    base's settings for every arm, whatever searches have found since."""
    found = recipe.find("dense_vs_moe")

    def build(scale: recipe.Scale) -> recipe.Recipe:
        with mock.patch.object(compared, "TUNED", {}):
            real = found.build(scale)
        base = replace(real.base, {"train.tokens": 122_880, "train.eval_every": 20})
        horizons: list[recipe.Horizon] = [
            recipe.Tokens(122_880), recipe.ActiveFlops.of("dense"),
        ]  # fmt: skip
        return dataclasses.replace(real, base=base, horizons=horizons)

    return dataclasses.replace(found, build=build, seeds={"smoke": 3, "proxy": 5})


@cache
def make_plan(scale: str = "smoke", seeds: int = 3, device: str = "cpu", **sets: Any) -> plan.Plan:
    """The plan of `dense_vs_moe`; keyword `train__tokens=1` stands for `--set train.tokens=1`."""
    return making.make(
        entry(),
        scale,  # type: ignore[arg-type]
        device,
        seeds=seeds,
        overrides={name.replace("__", "."): value for name, value in sets.items()},
        tokenizer_digest=lambda data: "t0",
        device_class=CPU if device == "cpu" else "NVIDIA H100 80GB HBM3",
    )


def question(made: plan.Plan, overrides: dict[str, Any] | None = None, **changes: Any) -> Question:
    """What the plan's recipe asked."""
    primary = made.entry.primary
    return Question(
        summary=made.entry.summary,
        metric=primary.metric,
        at=primary.at,
        pairs=primary.pairs,
        seeds=made.entry.seeds[made.scale],
        first_seed=made.entry.first_seed,
        role=made.recipe.role,
        # One search is behind a made-up campaign; the wider one where the recipe has two.
        tuned_by=(made.recipe.tuned_by or "").replace("recheck_", "tune_") or None,
        arms=tuple(arm.name for arm in made.arms),
        notes=dict(made.recipe.notes),
        horizons=tuple(horizon.name for horizon in made.recipe.horizons),
        views=tuple(made.recipe.views),
        overrides=overrides or {},
    ).model_copy(update=changes)


def loss_of(arm: str, seed: int, progress: float, annealed: bool) -> float:
    """A made-up curve: from ln 4096 down, lower once annealed, with a little noise of its seed."""
    noise = random.Random(f"{seed}").gauss(0, 0.02) + random.Random(f"{arm}{seed}").gauss(0, 0.008)
    skill = next((value for name, value in SKILL.items() if arm.startswith(name)), 6.0)
    floor = skill + (0.0 if annealed else 0.12)
    return round(floor + (8.4 - floor) * math.exp(-4.5 * progress) + noise, 5)


def expert_use(run: plan.Run) -> ExpertUse | None:
    """Uneven loads that add up: expert e of E takes in proportion to E + (e + seed + layer) % E."""
    model = run.config.model
    if not model.is_moe or not run.endpoints:
        return None
    n = model.experts
    copies = VAL_TOKENS * model.top_k
    load = []
    for layer in range(model.layers):
        weights = [n + (e + run.seed + layer) % n for e in range(n)]
        counts = [copies * w // sum(weights) for w in weights]
        counts[0] += copies - sum(counts)
        load.append(tuple(counts))
    entropy = tuple(math.log(n) * (0.8 - 0.05 * layer) for layer in range(model.layers))
    return ExpertUse(tokens=VAL_TOKENS, load=tuple(load), entropy=entropy)


def record(made: plan.Plan, run: plan.Run, asked: Question, **changes: Any) -> Record:
    """The record of one finished run of a plan."""
    config, per_update = run.config, run.config.tokens_per_update
    per_token = flops_per_token(config.model, config.data.seq_len)
    rate = 9000.0 if run.arm == "dense" else 5000.0
    second = per_update / rate
    longest = max(other.last_update for other in made.runs if other.arm == run.arm)

    def at(update: int, annealed: bool) -> dict[str, Any]:
        loss = loss_of(run.arm, run.seed, update / longest, annealed)
        return {
            "update": update,
            "tokens": update * per_update,
            "flops": update * per_update * per_token,
            "seconds": update * second,
            "val_loss": loss,
            "bits_per_byte": loss * VAL_TOKENS / math.log(2) / VAL_BYTES,
        }

    decays = run.decay_start is not None
    updates = range(run.first_update, run.last_update + 1)
    evaluated = [u for u in updates if u % config.train.eval_every == 0 or u == run.last_update]
    made_here = run.last_update - run.first_update
    times = tuple(second + (2.0 if i == 0 else 0.0) for i in range(made_here))
    from_scratch = run.first_update == 0
    arm = next(arm for arm in made.arms if arm.name == run.arm)
    content: dict[str, Any] = {
        "schema_version": 1,
        "key": run.key,
        "attempt": 1,
        "created": "2026-11-23T10:00:00+00:00",
        "recipe": run.recipe,
        "arm": run.arm,
        "arm_values": dict(arm.values),
        "stage": run.stage,
        "seed": run.seed,
        "repeat": run.repeat,
        "scale": run.scale,
        "device": run.device,
        "world_size": run.world_size,
        "parent": run.parent,
        "status": "ok",
        "error": None,
        "question": asked,
        "config": config.model_dump(mode="json"),
        "diff": dict(plan.flatten(arm.diff)),
        "first_update": run.first_update,
        "last_update": run.last_update,
        "updates_done": run.last_update,
        "tokens_per_update": per_update,
        "tokens_done": run.last_update * per_update,
        "total_parameters": total_parameters(config.model),
        "active_parameters": active_parameters(config.model),
        "initial_loss": 8.5 if from_scratch else None,
        "expected_initial_loss": 8.5 if from_scratch else None,
        "handover_loss": None if from_scratch else (6.1, 6.1),
        "validation": tuple(EvalPoint(**at(u, decays and u == run.last_update)) for u in evaluated),
        "training": tuple(
            TrainPoint(
                update=u,
                tokens=u * per_update,
                loss=loss_of(run.arm, run.seed, u / longest, False),
                learning_rate_factor=1.0,
                grad_norm=0.5,
            )
            for u in updates
            if u % 10 == 0
        ),
        "ends": tuple(
            HorizonEnd(horizon=end.horizon, **at(end.update, True)) for end in run.endpoints
        ),
        "experts": expert_use(run),
        "timing": Timing(
            update_seconds=times,
            updates=made_here,
            update_seconds_sum=math.fsum(times),
            warmup_updates=5,
            steady_tokens_per_second=rate,
            setup_seconds=3.0,
            eval_seconds=1.0,
            checkpoint_seconds=0.2,
            data_seconds=0.1,
            wall_seconds=math.fsum(times) + 4.2,
            timed=False,
            concurrent_runs=1,
            resumed=0,
        ),
        "memory": Memory(peak_bytes=700_000_000 + 1_000_000 * run.seed, kind="rss"),
        "flops": Flops(
            per_token_causal=per_token,
            per_token_noncausal=flops_per_token(config.model, config.data.seq_len, causal=False),
            peak_flops=None,
            peak_source=None,
            mfu_causal=None,
            mfu_noncausal=None,
        ),
        "data": DataUse(
            manifest_digest="m0",
            tokenizer_digest="t0",
            train_tokens=2_000_000,
            epochs=run.last_update * per_update / 2_000_000,
            val_tokens=VAL_TOKENS,
            val_bytes=VAL_BYTES,
            val_documents=40,
            unigram_val_loss=UNIGRAM,
            unigram_bits_per_byte=UNIGRAM * VAL_TOKENS / math.log(2) / VAL_BYTES,
            mix={"prose": 0.7, "code": 0.3},
        ),
        "hardware": Hardware(
            device_class=CPU if run.device == "cpu" else "NVIDIA H100 80GB HBM3",
            cpu="Some CPU 3000",
            cores=2,
            memory_bytes=24 * 10**9,
            gpu=None if run.device == "cpu" else "NVIDIA H100 80GB HBM3",
            gpu_memory_bytes=None,
            driver=None,
            load_before=0.1,
            load_after=1.0,
        ),
        "software": {"python": "3.12.3", "torch": "2.13.0", "numpy": "2.4.0"},
        "code": Code(source_digest="c0de0000c0de0000", commit=None, dirty=None),
        "command": f"smol run {run.recipe} --scale {run.scale}",
    }
    return Record(**{**content, **changes})


def campaign(
    scale: str = "smoke",
    seeds: int = 3,
    device: str = "cpu",
    sets: dict[str, Any] | None = None,
    asked: dict[str, Any] | None = None,
    **changes: Any,
) -> list[Record]:
    """Every run of the recipe at a scale, finished; `changes` are set in each record."""
    sets = sets or {}
    made = make_plan(scale, seeds, device, **{k.replace(".", "__"): v for k, v in sets.items()})
    q = question(made, sets, **(asked or {}))
    return [record(made, run, q, **changes) for run in made.runs]


@cache
def _plan_of(name: str, scale: str) -> plan.Plan:
    with mock.patch.multiple(declared, **GRID):
        return making.make(
            recipe.find(name),
            scale,  # type: ignore[arg-type]
            "cpu",
            tokenizer_digest=lambda data: "t0",
            device_class=CPU,
        )


def search(
    scale: str = "smoke", best: dict[str, tuple[float, float]] | None = None, **changes: Any
) -> list[Record]:
    """The finished search of `dense_vs_moe`: losses rise on both sides of an arm's `best` (factor
    on the rates, weight decay), by default the base's own settings."""
    made = _plan_of("tune_dense_vs_moe", scale)
    asked = question(made)
    bits = VAL_TOKENS / math.log(2) / VAL_BYTES

    def loss(run: plan.Run) -> float:
        arm = next(name for name in SKILL if run.arm.startswith(name))
        rate, decay = (best or {}).get(arm, (1.0, 0.0))
        base = made.recipe.base.optim.muon_lr
        away = abs(math.log2(run.config.optim.muon_lr / base / rate))
        return SKILL[arm] + 0.1 * away + abs(run.config.optim.muon_weight_decay - decay)

    found = []
    for run in made.runs:
        one = record(made, run, asked, **changes)
        new = {"val_loss": loss(run), "bits_per_byte": loss(run) * bits}
        ends = tuple(end.model_copy(update=new) for end in one.ends)
        found.append(one.model_copy(update={"ends": ends}))
    return found


def published() -> list[Record]:
    """The finished `as_published` at smoke; each arm packs the same text its own way."""
    made = _plan_of("as_published", "smoke")
    asked = question(made)
    found = [record(made, run, asked) for run in made.runs]

    def packed(r: Record) -> Record:
        assert r.data is not None
        manifest = f"m{r.config['data']['seq_len']}"
        return r.model_copy(
            update={"data": r.data.model_copy(update={"manifest_digest": manifest})}
        )

    return [packed(r) for r in found]


def broken(good: Record, status: str, error: str, **changes: Any) -> Record:
    """The same run, ended early: no endpoints, half its updates."""
    done = (good.first_update + good.last_update) // 2
    update = {
        "status": status,
        "error": error,
        "ends": (),
        "updates_done": done,
        "tokens_done": done * good.tokens_per_update,
        "validation": tuple(p for p in good.validation if p.update <= done),
        "training": tuple(p for p in good.training if p.update <= done),
    }
    return good.model_copy(update=update | changes)


def with_losses(records: list[Record], losses: dict[str, list[float]]) -> list[Record]:
    """The same records, their endpoints' losses replaced: arm -> one value a seed."""
    bits = VAL_TOKENS / math.log(2) / VAL_BYTES

    def changed(r: Record) -> Record:
        if r.arm not in losses or not r.ends:
            return r
        new = {"val_loss": losses[r.arm][r.seed], "bits_per_byte": losses[r.arm][r.seed] * bits}
        return r.model_copy(update={"ends": tuple(e.model_copy(update=new) for e in r.ends)})

    return [changed(record) for record in records]


def with_documents(records: list[Record], apart: dict[str, float]) -> list[Record]:
    """The same records, four documents in each endpoint: the first `apart` nats a token from the
    others in an arm, the mean as it was."""
    tokens = (VAL_TOKENS // 4,) * 4

    def parted(r: Record) -> Record:
        by = apart.get(r.arm, 0.0)
        steps = (by, -by / 3, -by / 3, -by / 3)
        ends = [
            e.model_copy(
                update={
                    "document_nats": tuple((e.val_loss + d) * tokens[0] for d in steps),
                    "document_tokens": tokens,
                }
            )
            for e in r.ends
        ]
        return r.model_copy(update={"ends": tuple(ends)})

    return [parted(record) for record in records]


def swap(records: list[Record], old: Record, *new: Record) -> list[Record]:
    """The records with one replaced by others (or by none)."""
    return [r for record in records for r in (new if record is old else (record,))]


def older(records: list[Record], code: str = "01dc0de001dc0de0", **changes: Any) -> list[Record]:
    """The same runs under another code, days before, as earlier attempts."""
    changes = {
        "created": "2026-11-20T10:00:00+00:00",
        "code": Code(source_digest=code, commit=None, dirty=None),
        "attempt": 1,
        **changes,
    }
    return [record.model_copy(update=changes) for record in records]


def of(records: list[Record], arm: str, seed: int, stage: str) -> Record:
    """The one record of that name."""
    return next(r for r in records if (r.arm, r.seed, r.stage) == (arm, seed, stage))
