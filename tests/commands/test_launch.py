"""What a job may be called, cost and hold, and that a job that is refused leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.code.provenance import ROOT
from harness.commands.launch import Options, launch
from harness.errors import RequestError
from harness.launch.rented import LEDGER
from harness.launch.templates import slurm


def ask(out: Path, monkeypatch, **changes) -> str:
    """The line with which a job is refused."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(RequestError) as refused:
        launch(Options(**{"template": "slurm", "out": out, **changes}))
    return str(refused.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"place": "gpus\n#SBATCH --mail-user=a@b"}, "--place takes a name"),
        ({"place": "gpus x"}, "--place takes a name"),
        ({"template": "hf-jobs", "place": "/"}, "--place takes a name"),
        ({"template": "hf-jobs", "place": "me/"}, "OWNER/BUCKET"),
        ({"device": "h100", "dollars": float("nan")}, "--dollars takes an amount above 0"),
        ({"device": "h100", "dollars": float("inf")}, "--dollars takes an amount above 0"),
        ({"device": ""}, "no device ''"),
        ({"budget": "9" * 18 + "h"}, "a year at most"),
        ({"budget": "9" * 5000 + "h"}, "a year at most"),
        ({"words": ["runn", "dense_vs_moe"]}, "did you mean 'run'"),
        ({"words": ["run", "a\x1b[31m"]}, "control character"),
        ({"words": ["run", "a\nb"]}, "control character"),
    ],
)
def test_what_no_provider_can_mean_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, changes, why
):
    assert why in ask(tmp_path / "deep" / "job", monkeypatch, **changes)
    assert not os.listdir(tmp_path)


def test_a_job_that_its_client_refuses_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    def refuse(self, order):
        assert (order.home / "job.sh").is_file()
        raise RequestError("sbatch refuses the job: such")

    monkeypatch.setattr(slurm.Slurm, "check", refuse)
    assert "refuses" in ask(tmp_path / "deep" / "job", monkeypatch)
    assert not os.listdir(tmp_path)
    (tmp_path / "job.sh").write_text("an earlier job's")
    ask(tmp_path, monkeypatch)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("job.sh", "an earlier job's")]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "[" * 100_000, '{"budget": 1, "spent": NaN}', '{"budget": 1, "spent": -1e9}',
     '{"budget": 1, "spent": null}', '{"budget": 1, "spent": 1e400}'],
)  # fmt: skip
def test_a_ledger_that_cannot_be_read_starts_nothing(tmp_path, monkeypatch, text):
    """Were it counted anew, the budget would be spent twice."""
    (tmp_path / LEDGER).write_text(text)
    assert f"{LEDGER} does not say what was spent" in ask(tmp_path, monkeypatch, go=True)
    assert os.listdir(tmp_path) == [LEDGER]


def test_a_ledger_that_is_a_pipe_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / LEDGER)
    assert "it is no regular file" in ask(tmp_path, monkeypatch, go=True)
