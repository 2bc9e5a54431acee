"""Children that die, parents that fail, and the tail that follows them."""

from __future__ import annotations

import json

from harness.launch.protocol import MetricsLog
from harness.launch.tail import Tail


def test_a_tail_follows_what_is_appended_and_passes_over_what_was_there(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.append("update", update=3, loss=5.0, seconds=0.5)
    tail = Tail(path, tokens_per_update=100)
    tail.poll()
    assert tail.update is None
    log.append("update", update=4, loss=4.5, seconds=0.5)
    log.append("validation", update=4, val_loss=4.7)
    tail.poll()
    assert (tail.update, tail.loss, tail.val_loss) == (4, 4.5, 4.7)
    assert tail.tokens_per_second == 200


def test_a_half_written_line_waits_for_its_rest(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path, tokens_per_update=100)
    line = json.dumps({"event": "update", "update": 7, "loss": 4.0, "seconds": 1.0}) + "\n"
    path.write_text(line[:20])
    tail.poll()
    assert tail.update is None
    with path.open("a") as file:
        file.write(line[20:])
    tail.poll()
    assert tail.update == 7


def test_a_log_torn_by_a_kill_goes_on_with_a_line_of_its_own(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"event": "upda')
    MetricsLog(path).append("resume", update=5)
    assert json.loads(path.read_text().splitlines()[-1]) == {"event": "resume", "update": 5}
