"""Ten thousand records: what `smol card` and `smol report` take, and that it grows in proportion.

Processor seconds, which other work on the machine disturbs less than the clock; with two cores the
figures, most of the second half, are drawn two at a time.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.records import store
from tests.report.factory import campaign

SEEDS = 100
"""1,000 records, of 10 runs a seed."""
PROGRAM = """
import json, resource, sys
from pathlib import Path
from harness.html import build
from harness.report import card
before = resource.getrusage(resource.RUSAGE_SELF)
getattr(build if sys.argv[2] == "report" else card, sys.argv[2])(Path(sys.argv[1]))
own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
spent = own.ru_utime + own.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([spent, children.ru_utime + children.ru_stime,
                  own.ru_maxrss / 1024, children.ru_maxrss / 1024]))
"""


def measured(results: Path, action: str) -> list[float]:
    """Processor seconds of the process and of its children, and peak megabytes of each."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(results), action],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    found: list[float] = json.loads(done.stdout)
    return found


def fill(results: Path, recipes: int) -> Path:
    """1,000 records for each recipe."""
    records = campaign(seeds=SEEDS)
    for number in range(recipes):
        for record in records:
            renamed = record.model_copy(update={"recipe": f"recipe_{number}"})
            path = results / store.path_of(renamed)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(store.to_json(renamed))
    return results


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_card_of_ten_thousand_records(tmp_path: Path) -> None:
    small, large = fill(tmp_path / "small", 1), fill(tmp_path / "large", 10)
    own, children, memory, of_children = measured(large, "regenerate")
    assert own + children / 2 < 10.0  # two cores
    assert max(memory, of_children) < 600.0
    assert measured(large, "report")[0] < 20.0  # one core
    reading = [measured(folder, "check")[0] for folder in (small, large)]
    # Ten times as many records, and as many recipes: a quarter more than in proportion is noise.
    assert reading[1] < 12.5 * reading[0]
    assert sum(1 for _ in itertools.islice(large.rglob("*.json"), 10_000)) == 10_000
