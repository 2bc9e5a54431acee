"""What a run has done so far: counters, clocks, curves; saved with each checkpoint. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from harness.records.schema import (
    Answer,
    EvalPoint,
    ExpertUse,
    HorizonEnd,
    Launch,
    Samples,
    Timing,
    TrainPoint,
)

KEPT_UPDATE_TIMES = 5_000
KEPT_TRAIN_POINTS = 200


def warmup_updates(updates: int) -> int:
    """Updates left out of the steady rate: the first tenth, at least 3 (allocation, caches)."""
    return min(updates, max(3, updates // 10))


@dataclass
class Progress:
    """The measured side of a run. All seconds are of this run alone, unless said otherwise."""

    update: int
    """Updates made, counted from the stem's start."""
    seconds_before: float
    """The seconds that the updates of the runs before this one in its chain took."""
    initial_loss: float | None = None
    handover_loss: tuple[float, float] | None = None
    update_seconds: list[float] = field(default_factory=list)
    validation: list[dict[str, Any]] = field(default_factory=list)
    training: list[dict[str, Any]] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)
    experts: dict[str, Any] | None = None
    samples_before: list[dict[str, Any]] = field(default_factory=list)
    samples_after: list[dict[str, Any]] = field(default_factory=list)
    setup_seconds: float = 0.0
    eval_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    data_seconds: float = 0.0
    wall_seconds: float = 0.0
    """Up to the last checkpoint, over all processes that worked on this run."""
    resumed: int = 0
    peak_bytes: int = 0
    """Most memory that any process had taken when it saved a checkpoint."""
    finished: bool = False
    """Nothing is left to do but to write final weights and the record."""

    @property
    def seconds(self) -> float:
        """The time of updates alone, counted from the stem's start."""
        return self.seconds_before + sum(self.update_seconds)

    def to_plain(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Progress:
        """The inverse of `to_plain`."""
        pair = plain["handover_loss"]
        return cls(**{**plain, "handover_loss": tuple(pair) if pair else None})

    def timing(
        self,
        tokens_per_update: int,
        wall_seconds: float,
        concurrent_runs: int,
        *,
        compile_seconds: float | None = None,
        launch: Launch | None = None,
    ) -> Timing:
        """The record's timing section."""
        # Rounded before anything is computed from them, so that the record agrees with itself.
        times = [round(t, 6) for t in self.update_seconds]
        warmup = warmup_updates(len(times))
        steady = times[warmup:]
        rate = len(steady) * tokens_per_update / sum(steady) if steady else None
        return Timing(
            update_seconds=tuple(times[:KEPT_UPDATE_TIMES]),
            updates=len(times),
            update_seconds_sum=sum(times),
            warmup_updates=warmup,
            steady_tokens_per_second=rate,
            setup_seconds=self.setup_seconds,
            eval_seconds=self.eval_seconds,
            checkpoint_seconds=self.checkpoint_seconds,
            data_seconds=self.data_seconds,
            wall_seconds=wall_seconds,
            timed=launch is not None,
            concurrent_runs=concurrent_runs,
            resumed=self.resumed,
            compile_seconds=compile_seconds,
            launch=launch,
        )

    def answers(self) -> Samples | None:
        """The answers to the stage's prompts, where it had any."""
        if not self.samples_before and not self.samples_after:
            return None
        return Samples(
            before=tuple(Answer(**one) for one in self.samples_before),
            after=tuple(Answer(**one) for one in self.samples_after),
        )

    def expert_use(self) -> ExpertUse | None:
        """How a mixture used its experts, where a horizon ended."""
        return ExpertUse(**self.experts) if self.experts else None

    def curves(
        self,
    ) -> tuple[tuple[EvalPoint, ...], tuple[TrainPoint, ...], tuple[HorizonEnd, ...]]:
        """Validation, thinned training and horizon ends as the record keeps them."""
        stride = -(-len(self.training) // KEPT_TRAIN_POINTS) or 1
        return (
            tuple(EvalPoint(**point) for point in self.validation),
            tuple(TrainPoint(**point) for point in self.training[::stride]),
            tuple(HorizonEnd(**_frozen(end)) for end in self.ends),
        )


def _frozen(plain: dict[str, Any]) -> dict[str, Any]:
    """With tuples for lists: a checkpoint keeps the one, a record the other."""
    return {
        k: tuple(v) if isinstance(v, list) else _frozen(v) if isinstance(v, dict) else v
        for k, v in plain.items()
    }
