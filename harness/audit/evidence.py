"""What a comparison was resting on: runs an arm, what the timer held, what else differed.

Sound arithmetic does not make one run against one an effect: that question stays open.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.audit.checks import OPEN, Check
from harness.audit.pool import Pool

MIN_RUNS = 3
"""As many runs an arm as our own verdicts ask for (`report.statistics.MIN_PAIRS`, whose import
takes a second)."""


def checks(pool: Pool) -> list[Check]:
    """Every reason why a difference, however sound its arithmetic, says less than it seems to."""
    evidence, found = pool.claim.evidence, []
    runs = evidence.get("runs_each")
    if runs is not None and runs < MIN_RUNS:
        each = "one run against one" if runs == 1 else f"{runs} runs against {runs}"
        text = f"{each}: nothing says how far two runs of the same arm lie apart"
        reading = "as a description of these very runs, without an effect"
        found.append(Check("evidence", text, OPEN, (reading,), decisive=True))
    included = evidence.get("timer_includes", ())
    if included:
        text = f"{_listed(included)} inside the timer: a ratio of whole runs of one length"
        reading = "for runs of exactly this length, started as these were"
        found.append(Check("evidence", text, OPEN, (reading,), decisive=True))
    differs = evidence.get("differs_in", ())
    if len(differs) > 1:
        text = f"the arms differ in {_listed(differs)}: a bundle, not one cause"
        found.append(Check("evidence", text, OPEN, ("of the bundle as a whole",), decisive=True))
    if evidence.get("tuned_equally") is False:
        text = "the arms were not tuned equally"
        found.append(Check("evidence", text, OPEN, ("at these settings alone",), decisive=True))
    return found


def _listed(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
