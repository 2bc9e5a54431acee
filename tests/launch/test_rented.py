"""Jobs for machines elsewhere: what they say, who accepts them, and how they are followed."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.code.provenance import ROOT
from harness.errors import RequestError
from harness.launch import account, templates
from harness.launch.rented import LEDGER, Follower, Ledger, Patience
from harness.launch.templates import (
    RESULTS,
    JobTemplate,
    Rental,
    client_environment,
    hf_jobs,
    refuse_secrets,
)
from harness.records import store
from tests.launch import provider
from tests.launch.test_timed import PLAN, job

QUICK = Patience(ask=0.15, fetch=0.5, lag=1.5, least=3.0, margin=2.5)
BUDGET, RECORDS = 60, 6


def order(folder: Path, **changes) -> Rental:
    fields = {
        "name": "smol", "code": ROOT, "home": folder, "words": ("campaign", "--device", "cuda"),
        "seconds": 3600, "gpu": "a100-80gb", "place": None,
    }  # fmt: skip
    return Rental(**{**fields, **changes})


class StandIn(JobTemplate):
    """A provider on this machine."""

    name, client, install = "stand-in", sys.executable, ""

    def __init__(self, cloud: Path) -> None:
        self.cloud = cloud

    def _call(self, *words: str) -> list[str]:
        return [sys.executable, provider.__file__, str(self.cloud), *words]

    def files(self, order):
        return {"job.sh": f"limit {order.seconds}\n"}

    def check_command(self, order):
        return ["true"]

    def submit(self, order):
        limit = (order.home / "job.sh").read_text().split()[1]
        return self._call("submit", str(order.home), limit)

    def ask(self, order):
        return self._call("ask")

    def state(self, said, order):
        return said.strip()

    def fetch(self, order):
        return self._call("fetch", str(order.home))

    def cancel(self, order):
        return self._call("cancel")


def campaign(folder: Path, budget: int = BUDGET) -> tuple[bool, float, int]:
    """Whether it came to its end, what the provider's bill says, and the records at home."""
    cloud, home = folder / f"cloud-{folder.name}", folder / "home"
    todo = job(folder, None).model_copy(update={"results": str(cloud / "to-do")})
    for number in range(RECORDS):
        run = PLAN.runs[number]
        one = todo.model_copy(update={"run": run})
        record = account.record(one, "failed", "x", attempt=1)
        store.write(cloud / "to-do", record)
    (home / RESULTS).mkdir(parents=True)
    ended = Follower(StandIn(cloud), order(home, seconds=budget), lambda _: None, QUICK).follow()
    bill = cloud / "bill"
    spent = sum(map(float, bill.read_text().split())) if bill.exists() else 0.0
    found = store.read_all(home / RESULTS)
    assert len({record.key for record in found}) == len(found)
    assert not list(home.rglob("*.new"))
    return ended, spent, len(found)


def test_two_campaigns_end_within_budget_with_their_records(tmp_path):
    for ended, spent, records in _campaigns(tmp_path, 2):
        assert (ended, records) == (True, RECORDS)
        assert spent <= BUDGET


def test_where_the_budget_ends_first_it_is_kept_and_what_was_done_is_at_home(tmp_path):
    (tmp_path / f"cloud-{tmp_path.name}").mkdir()
    (tmp_path / f"cloud-{tmp_path.name}" / "pace").write_text("1.0")
    ended, spent, records = campaign(tmp_path, budget=7)
    assert not ended
    assert 0 < records < RECORDS
    assert 0 < spent <= 7


@pytest.mark.cluster
def test_twenty_of_twenty_campaigns_end_within_budget_with_their_records(tmp_path):
    found = _campaigns(tmp_path, 20)
    print(found)
    assert [(ended, records) for ended, _, records in found] == [(True, RECORDS)] * 20
    assert max(spent for _, spent, _ in found) <= BUDGET


def _campaigns(folder: Path, count: int) -> list[tuple[bool, float, int]]:
    places = [folder / str(number) for number in range(count)]
    for place in places:
        place.mkdir()
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(campaign, places))


def test_a_budget_is_counted_while_a_job_may_be_at_work_and_over_whoever_follows():
    ledger = Ledger(budget=1000)
    ledger.count(50.0)
    ledger.begin(100.0, 400)
    ledger.count(250.0)
    ledger.count(200.0)  # a clock that is set back takes nothing away
    assert (ledger.spent, ledger.left) == (150.0, 850.0)
    ledger.count(10_000.0)  # nobody looked, and the job's own limit has passed
    assert ledger.spent == 400.0
    ledger.running = False
    ledger.count(20_000.0)
    assert ledger.spent == 400.0


def test_a_follower_goes_on_with_what_is_left(tmp_path):
    (tmp_path / LEDGER).write_text(json.dumps({"budget": 60, "spent": 58.0, "starts": 3}))
    cloud = tmp_path / "cloud"
    cloud.mkdir()
    follower = Follower(StandIn(cloud), order(tmp_path, seconds=BUDGET), lambda _: None, QUICK)
    assert follower.follow() is False
    assert not list(cloud.glob("machine*"))


@pytest.mark.parametrize("said", ['{"a": 1}', "[3]", "7", '[{"status": null}]', "[" * 100_000])
@pytest.mark.parametrize("name", ["hf-jobs", "skypilot", "slurm"])
def test_an_answer_of_no_known_form_stops_no_follower(tmp_path, monkeypatch, name, said):
    follower = Follower(templates.find(name), order(tmp_path, place="a/b"), print, QUICK)
    monkeypatch.setattr(follower, "_command", lambda words: said)
    assert follower._state() in (None, "absent", "running", "ended")


def test_what_a_client_says_need_not_be_text(tmp_path):
    class Garbled(StandIn):
        def check_command(self, order):
            return ["sh", "-c", "printf 'no\\377' >&2; exit 1"]

    with pytest.raises(RequestError, match="refuses the job: no"):
        Garbled(tmp_path).check(order(tmp_path))


PLACES = {"slurm": "gpus", "skypilot": "runpod", "hf-jobs": "me/results"}


@pytest.mark.parametrize("name", sorted(PLACES))
def test_a_job_holds_its_limit_and_no_secret(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")
    asked = order(tmp_path, place=PLACES[name])
    files = templates.find(name).files(asked)
    refuse_secrets(list(files.values()))
    text = "\n".join(files.values())
    assert "timeout --signal=TERM" in text
    assert "3600" in text
    assert 'smol" campaign --device cuda --budget' in text
    for words in ("hf_abcdefghijklmnopqrstuvwxyz", "https://me:pass@host/x", "AKIA" + "A" * 16):
        with pytest.raises(RequestError) as refused:
            refuse_secrets([text + words])
        assert words not in str(refused.value)


@pytest.mark.parametrize("name", ["hf-jobs", "slurm", "skypilot"])
def test_its_own_client_accepts_a_job_and_refuses_a_broken_one(tmp_path, monkeypatch, name):
    """Offline: no address of the provider is known to the client."""
    template = templates.find(name)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    if shutil.which(template.client, path=client_environment()["PATH"]) is None:
        # Said in the one line that the user sees, and nothing is started.
        assert "is not installed here" in str(template.check(order(tmp_path, place="a/b")))
        return
    for gpu in (None, "a100-80gb"):
        asked = order(tmp_path, place=PLACES[name], gpu=gpu)
        for file, text in template.files(asked).items():
            (tmp_path / file).write_text(text)
        assert template.check(asked) is None
    broken = {"slurm": ("--time=", "--time=x"), "skypilot": ("resources:", "resourced:")}
    if name in broken:
        file = tmp_path / next(iter(template.files(asked)))
        file.write_text(file.read_text().replace(*broken[name]))
    else:
        monkeypatch.setitem(hf_jobs.FLAVORS, "a100-80gb", "abacus")
    with pytest.raises(RequestError, match=f"{template.client} refuses the job"):
        template.check(asked)
