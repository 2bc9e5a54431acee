"""Files in the forms that well-known trainers document, read to the right numbers; what is cut
off or foreign is one clear line."""

from __future__ import annotations

import json
import math

import pytest

from harness.errors import RequestError
from harness.referee import formats
from harness.referee.reading import Reading, number

AUTORESEARCH = (
    "Vocab size: 8,192\n"
    "\rstep 00000 (0.0%) | loss: 9.010913 | lrm: 0.00 | dt: 8000ms | tok/sec: 65,536 | "
    "mfu: 4.0% | epoch: 1 | remaining: 300s    "
    "\rstep 00950 (99.9%) | loss: 2.751200 | lrm: 0.01 | dt: 315ms | tok/sec: 1,664,406 | "
    "mfu: 39.8% | epoch: 1 | remaining: 0s    \n"
    "---\n"
    "val_bpb:          0.997900\ntraining_seconds: 300.1\ntotal_seconds:    325.9\n"
    "peak_vram_mb:     45060.2\nmfu_percent:      39.80\ntotal_tokens_M:   499.6\n"
    "num_steps:        953\nnum_params_M:     50.3\ndepth:            8\n"
)
NANOCHAT = (
    "Step 00000 | Validation bpb: 3.2091\n"
    "step 00000/00500 (0.00%) | loss: 11.090355 | lrm: 1.00 | dt: 1200.10ms | tok/sec: 436,906 | "
    "mfu: 30.1 | total time: 0.00m\n"
    "Step 00250 | Validation bpb: 1.1234\n"
    "step 00499/00500 (99.80%) | loss: 3.012345 | lrm: 0.01 | dt: 900.00ms | tok/sec: 582,542 | "
    "mfu: 41.2 | total time: 7.35m\n"
    "Step 00500 | Validation bpb: 1.0421\nStep 00500 | CORE metric: 0.0712\n"
    "Peak memory usage: 43125.17MiB\nTotal training time: 7.35m\n"
    "Minimum validation bpb: 1.0420\n"
)
MODDED = (
    'import os\nprint0(f"step:{step}/{train_steps} val_loss:{val_loss:.4f} '
    'train_time:{training_time_ms:.0f}ms step_avg:{x:.2f}ms", console=True)\n'
    + "="
    * 100
    + "\nstep:0/1750 val_loss:10.8258 train_time:0ms step_avg:0.02ms\n"
    "step:1/1750 train_time:120ms step_avg:119.60ms\n"
    "step:875/1750 val_loss:3.6022 train_time:71030ms step_avg:81.18ms\n"
    "step:1750/1750 val_loss:3.2790 train_time:142361ms step_avg:81.35ms\n"
    "peak memory allocated: 31630 MiB reserved: 45976 MiB\n"
)
TRAINER_STATE = {
    "best_metric": 2.9, "epoch": 1.0, "global_step": 20, "max_steps": 20, "total_flos": 1.5e15,
    "num_input_tokens_seen": 81920, "is_local_process_zero": True,
    "log_history": [
        {"epoch": 0.5, "grad_norm": 0.9, "learning_rate": 1e-4, "loss": 3.4, "step": 10},
        {"epoch": 0.5, "eval_loss": 3.1, "eval_runtime": 2.0, "step": 10},
        {"epoch": 1.0, "grad_norm": 0.8, "learning_rate": 0.0, "loss": 3.0, "step": 20},
        {"epoch": 1.0, "eval_loss": 2.9, "eval_runtime": 2.1, "step": 20},
        {"epoch": 1.0, "step": 20, "train_loss": 3.2, "train_runtime": 64.2,
         "train_samples_per_second": 2.5},
    ],
    "stateful_callbacks": {"TrainerControl": {"args": {"should_log": False}, "attributes": {}}},
}  # fmt: skip
ALL_RESULTS = {
    "epoch": 1.0, "eval_loss": 2.9, "eval_runtime": 2.1, "perplexity": 18.17,
    "total_flos": 1.5e15, "train_loss": 3.2, "train_runtime": 64.2,
}  # fmt: skip
LM_EVAL = {
    "results": {
        "hellaswag": {
            "alias": "hellaswag", "sample_len": 10042, "acc,none": 0.2891,
            "acc_stderr,none": 0.0045, "acc_norm,none": 0.3114, "acc_norm_stderr,none": 0.0046,
        },
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 45.1,
                     "word_perplexity_stderr,none": "N/A"},
        "gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.02},
    },
    "higher_is_better": {
        "hellaswag": {"acc": True, "acc_norm": True}, "wikitext": {"word_perplexity": False},
        "gsm8k": {"exact_match": True},
    },
    "n-shot": {"hellaswag": 0}, "config": {"batch_size": "8"},
}  # fmt: skip


def read(name: str, text: str) -> Reading:
    return formats.named(name).read(text)


def sound(name: str, text: str) -> Reading:
    reading = read(name, text)
    assert reading.fault is None
    return reading


def test_autoresearch():
    reading = sound("autoresearch", AUTORESEARCH)
    assert reading.values["val_bpb"] == 0.9979
    assert reading.values["training_seconds"] == 300.1
    assert reading.values["total_tokens_M"] == 499.6
    assert reading.curves["train_loss"] == [(0.0, 9.010913), (950.0, 2.7512)]
    cut = read("autoresearch", AUTORESEARCH.partition("---")[0])
    assert cut.fault == "no summary after a line '---': not autoresearch's output, or cut off"


def test_nanochat():
    reading = sound("nanochat", NANOCHAT)
    assert reading.values["val_bpb"] == 1.0421
    assert reading.values["min_val_bpb"] == 1.0420
    assert reading.values["core_metric"] == 0.0712
    assert reading.values["training_seconds"] == pytest.approx(441.0)
    assert reading.curves["val_bpb"][1] == (250.0, 1.1234)
    cut = read("nanochat", NANOCHAT.partition("Step 00500")[0])
    assert cut.fault == "its last validation is at step 250 of 500"
    for end in (39, NANOCHAT.index("bpb: 1.0421") + 8):  # after the first one; inside the last
        cut = read("nanochat", NANOCHAT[:end])
        assert cut.fault is not None
    assert "not nanochat's output" in str(read("nanochat", MODDED).fault)


def test_modded_nanogpt():
    reading = sound("modded-nanogpt", MODDED)
    assert reading.values["val_loss"] == 3.2790
    assert reading.values["training_seconds"] == pytest.approx(142.361)
    assert reading.values["peak_memory_mib"] == 31630
    assert len(reading.curves["val_loss"]) == 3
    cut = read("modded-nanogpt", MODDED.partition("step:1750/")[0])
    assert cut.fault == "its last validation is at step 875 of 1750"
    assert "not modded-nanogpt's log" in str(read("modded-nanogpt", NANOCHAT).fault)


def test_trainer():
    reading = sound("trainer", json.dumps(TRAINER_STATE))
    assert reading.values["eval_loss"] == 2.9
    assert reading.values["train_runtime"] == 64.2
    assert reading.values["num_input_tokens_seen"] == 81920
    assert reading.curves["loss"] == [(10.0, 3.4), (20.0, 3.0)]
    assert sound("trainer", json.dumps(ALL_RESULTS)).values["perplexity"] == 18.17
    assert "not the Trainer's file" in str(read("trainer", json.dumps(LM_EVAL)).fault)
    cut = read("trainer", json.dumps(TRAINER_STATE)[:200])
    assert str(cut.fault).startswith("not JSON, or cut off (")
    assert "\n" not in str(cut.fault)


def test_lm_eval():
    reading = sound("lm-eval", json.dumps(LM_EVAL))
    assert reading.values == {
        "hellaswag/acc": 0.2891, "hellaswag/acc_norm": 0.3114, "wikitext/word_perplexity": 45.1,
        "gsm8k/exact_match,strict-match": 0.02,
    }  # fmt: skip
    assert reading.ways["hellaswag/acc"] == "higher"
    assert reading.ways["wikitext/word_perplexity"] == "lower"
    assert "not lm-evaluation-harness's" in str(read("lm-eval", json.dumps(ALL_RESULTS)).fault)


def test_json_and_lines():
    nested = {"best": {"val": {"loss": 2.5}}, "steps": 10, "name": "x", "ok": True, "runs": [1.0]}
    assert sound("json", json.dumps(nested)).values == {"best.val.loss": 2.5, "steps": 10.0}
    assert "not a JSON object" in str(read("json", "[1, 2]").fault)
    text = '{"step": 1, "loss": 3.0}\n{"step": 5, "loss": NaN}\n{"step": 9, "loss": 2.0}\n'
    reading = sound("jsonl", text)
    assert reading.values["loss"] == 2.0
    assert reading.curves["loss"] == [(1.0, 3.0), (9.0, 2.0)]
    assert str(read("jsonl", text + '{"step": 1').fault).startswith("line 4: not JSON, or cut off")


def test_metric_lines_and_blocks():
    reading = sound(
        "metric", "x\nMETRIC loss=2.5 step=1\nMETRIC  loss = 1.5e0 lower\nMETRIC n=1,000"
    )
    assert reading.values == {"loss": 1.5, "n": 1000.0}
    assert reading.ways == {"loss": "lower"}
    assert sound("metric", "METRIC loss=2.5 step=1\nMETRIC loss=2.0 step=2").values["loss"] == 2.0
    assert sound("metric", "METRIC loss=2\nMETRIC loss=2.0").values == {"loss": 2.0}
    assert read("metric", "METRIC loss=2\nMETRIC loss=3").fault is not None
    assert math.isnan(sound("metric", "METRIC loss=NaN").values["loss"])
    assert sound("metric", "METRIC loss=-inf").not_finite == ("loss",)
    assert sound("blocks", "loss: 3\nnote: none\nloss: 2\n").values == {"loss": 2.0}
    assert sound("blocks", "loss: 3\n---\nscore: 1.5\n").values == {"score": 1.5}
    assert "stands twice" in str(read("blocks", "---\nscore: 1.5\nscore: 2\n").fault)


def test_regex():
    pattern = r"regex:iter (?P<step>\d+): (?P<name>\w+)=(?P<value>\S+)"
    reading = sound(pattern, "iter 1: val=3.5\niter 2: val=3.25\n")
    assert reading.values == {"val": 3.25}
    assert reading.curves["val"] == [(1.0, 3.5), (2.0, 3.25)]
    assert sound(r"regex:loss is (\S+)", "loss is 4").values == {"metric": 4.0}
    assert "which is no number" in str(read(r"regex:loss is (\S+)", "loss is bad").fault)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nanochatt", "no format 'nanochatt'; did you mean 'nanochat'?"),
        ("regex:(", "no regular expression"),
        ("regex:loss", "must be a group"),
        ("json:/etc/passwd", "no file inside the run's folder"),
        ("json:../x.json", "no file inside the run's folder"),
    ],
)
def test_wrong_formats_are_refused_in_one_line(text: str, says: str):
    with pytest.raises(RequestError) as error:
        formats.named(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers():
    assert number("1,234.5") == 1234.5
    assert number("-1e-3") == -0.001
    assert number("12%") is None
    assert [number(text) for text in ("1,5", "0,123", "1,2345")] == [None] * 3
    assert number("12,345,678") == 12_345_678
    assert formats.named("metric").read("METRIC a=1,5").fault == ("METRIC a=1,5 is no number")
    assert number("true") is None


def test_a_summary_cut_off_inside_a_number_is_not_taken_for_one():
    whole = "---\nval_bpb:          0.997900\nnum_steps:        953\ndepth:            8"
    reading = formats.named("autoresearch").read
    assert reading(whole).fault is None  # a copy without its last line's end
    assert reading(whole[:24]).fault == "its summary is cut off before 'depth'"
    forks = reading("---\nval_bpb: 0.9979\n")  # prints less, and ends its line
    assert (forks.fault, forks.finite) == (None, {"val_bpb": 0.9979})


def test_colours_are_no_part_of_a_line():
    log = "\x1b[32mstep:0/2 val_loss:10.5 train_time:0ms\x1b[0m\nstep:2/2 val_loss:3.5 x\n"
    reading = formats.named("modded-nanogpt").read(log)
    assert reading.curves["val_loss"] == [(0.0, 10.5), (2.0, 3.5)]
    assert formats.named("metric").read("\x1b[1mMETRIC a=1\x1b[0m\n").finite == {"a": 1.0}
