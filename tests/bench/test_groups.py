"""Groups of contestants that take turns: in which order, and what their rows say."""

import json
import math
from types import SimpleNamespace

import pytest

from bench.groups import Group, turns
from harness.bench import saved
from harness.records.bench import BenchRow, read_all


class Clock:
    """Stands in for pytest-benchmark: every call of a work "takes" what the work says."""

    def pedantic(self, work, rounds, iterations, warmup_rounds):
        every = [work() for _ in range(warmup_rounds + rounds)]
        data = every[warmup_rounds:]
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=data))


class Drifting:
    """Takes `share` of a time that grows with every call of anybody."""

    calls = 0
    closed = 0

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self) -> float:
        Drifting.calls += 1
        return self.share * (1.0 + 0.1 * Drifting.calls)

    def extra(self):
        return {"peak_bytes": 7}

    def close(self) -> None:
        Drifting.closed += 1


def test_turns_are_interleaved_and_a_drift_hardly_moves_the_ratio():
    group = Group(
        "sum", "slow", {"slow": lambda: Drifting(2.0), "fast": lambda: Drifting(1.0)}, rounds=8
    )
    every = turns([group])
    assert [turn.name for turn in every[:4]] == ["slow", "fast", "fast", "slow"]
    for turn in every:
        turn.take(Clock())  # type: ignore[arg-type]
    assert group.complete
    assert not group.works  # everything was let go of
    assert Drifting.closed == 2
    slow, fast = group.rows()
    assert slow.ratio_to_base is None
    assert fast.base == "slow"
    # Over the 32 calls the drift is fourfold; taken one contestant after the other, the ratio of
    # medians would have been 1.1.
    assert fast.ratio_to_base == pytest.approx(2.0, rel=0.02)
    assert fast.ratio_low < 2.0 < fast.ratio_high  # type: ignore[operator]
    assert fast.extra == {"peak_bytes": 7}


class Says(Drifting):
    def __init__(self, value: float) -> None:
        super().__init__(1.0)
        self.value = value

    def says(self) -> float:
        return self.value


@pytest.mark.parametrize(("value", "wrong"), [(1.01, False), (1.05, True), (math.nan, True)])
def test_what_is_fast_and_wrong_is_no_contestant(value, wrong):
    group = Group("g", "base", {"base": lambda: Says(1.0), "other": lambda: Says(value)}, rounds=1)
    first, last = turns([group])
    first.take(Clock())  # type: ignore[arg-type]
    if wrong:
        with pytest.raises(AssertionError, match="g: other says"):
            last.take(Clock())  # type: ignore[arg-type]
    else:
        last.take(Clock())  # type: ignore[arg-type]


def test_a_saved_suite_is_what_a_reader_of_the_card_needs(tmp_path):
    extra = {"tokens_per_second": 10.0}
    rows = [
        BenchRow(group="g", name="n", median_seconds=0.5, iqr_seconds=0.1, rounds=7, extra=extra)
    ]
    path = saved.write(tmp_path, "update", "NVIDIA H100 80GB HBM3", rows)
    assert path == tmp_path / "bench" / "update.nvidia-h100-80gb-hbm3.json"
    assert read_all(tmp_path)[0]["bench/update.nvidia-h100-80gb-hbm3.json"].rows == tuple(rows)
    kept = json.loads(path.read_text())
    assert set(kept) == {"schema", "device", "date", "software", "rows"}
    assert kept["rows"][0] == {
        "group": "g", "name": "n", "median_seconds": 0.5, "iqr_seconds": 0.1, "rounds": 7,
        "ratio_to_base": None, "ratio_low": None, "ratio_high": None, "base": None,
        "extra": {"tokens_per_second": 10.0},
    }  # fmt: skip
