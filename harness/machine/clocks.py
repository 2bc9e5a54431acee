"""A GPU's clocks, heat and throttling while updates go on, looked at once a second.

Before and after a run a card is idle and cool, and shows nothing. What is kept does not grow with
the run: sums, and how often each clock was seen.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from harness.records.seen import GpuState, GpuUse

SECONDS = 1.0
LAST_SECONDS = 2.0
"""How long the end of a run waits for a look that is being taken: a driver may hang."""


class GpuWatch:
    """A thread beside the training, where the device can be looked at at all."""

    def __init__(self, look: Callable[[], GpuState | str | None], seconds: float = SECONDS) -> None:
        """`look` is a device's `condition`. Nothing is started yet."""
        self.updating = False
        """Set by whoever trains: only then a look counts."""
        self._look, self._seconds = look, seconds
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._sm: Counter[int] = Counter()
        self._memory: Counter[int] = Counter()
        self._throttled: Counter[str] = Counter()
        self._hottest = self._processes = 0
        self._watts = 0.0

    def __enter__(self) -> GpuWatch:
        """Begin, unless the device has nothing to be looked at, or nobody who looks."""
        if isinstance(self._look(), GpuState):
            self._over.clear()
            self._thread = threading.Thread(target=self._watch, daemon=True, name="clocks")
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, however the training did."""
        self.updating = False
        self._over.set()
        if self._thread is not None:
            self._thread.join(LAST_SECONDS)

    def _watch(self) -> None:
        while not self._over.wait(self._seconds):
            if not self.updating:
                continue
            seen = self._look()
            if not isinstance(seen, GpuState):
                return  # the driver has gone: what was seen stays
            if self.updating:  # still: a look takes a moment
                self._note(seen)

    def _note(self, seen: GpuState) -> None:
        with self._lock:
            self._sm[seen.sm_mhz] += 1
            self._memory[seen.memory_mhz] += 1
            self._throttled.update(seen.throttled)
            self._hottest = max(self._hottest, seen.temperature)
            self._processes = max(self._processes, seen.processes)
            self._watts += seen.watts

    def found(self) -> GpuUse | None:
        """For the record; None where nothing was seen."""
        with self._lock:
            samples = self._sm.total()
            if not samples:
                return None
            return GpuUse(
                samples=samples,
                sm_mhz=(min(self._sm), _median(self._sm), max(self._sm)),
                memory_mhz=_median(self._memory),
                temperature=self._hottest,
                watts=round(self._watts / samples, 1),
                throttled={
                    name: round(count / samples, 4)
                    for name, count in sorted(self._throttled.items())
                },
                processes=self._processes,
            )


def _median(seen: Counter[int]) -> int:
    half, passed = seen.total() / 2, 0
    for value in sorted(seen):
        passed += seen[value]
        if passed >= half:
            return value
    raise ValueError("the median of nothing")
