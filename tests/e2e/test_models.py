"""Finished models through the real door: heard, scored, exported; and every way of asking wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import cli
from harness.config import RunConfig, replace
from harness.data import tokenizer
from harness.data.batches import Validation
from harness.records import evaluation
from harness.train import state
from models.hf import from_transformers
from models.lm import LanguageModel
from tests.e2e.conftest import Workspace

RUN = "tiny_rates/low/0/decay-tokens"


class InProcess(Workspace):
    """A workspace whose door is opened in this process: torch is imported once."""

    def smol(self, *arguments: str, code: int = 0) -> str:
        out, err = io.StringIO(), io.StringIO()
        before, argv = Path.cwd(), sys.argv
        os.chdir(self.folder)
        sys.argv = ["smol", *arguments]
        try:
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                pytest.raises(SystemExit) as ended,
            ):
                cli.main()
        finally:
            os.chdir(before)
            sys.argv = argv
        said, complained = out.getvalue(), err.getvalue()
        assert ended.value.code == code, f"exit {ended.value.code}\n{said}\n{complained}"
        if code:
            assert complained.count("\n") == 1, complained
            assert complained.startswith("smol: "), complained
        return said if not code else said + complained


@pytest.fixture(scope="module")
def place(finished: Workspace, tmp_path_factory) -> Workspace:
    """A copy with an exported model beside."""
    folder = tmp_path_factory.mktemp("models") / "copy"
    shutil.copytree(finished.folder, folder)
    copy = InProcess(folder)
    copy.smol("export", RUN, "exported")
    return copy


def record_of(place: Workspace):
    return next(r for r in place.records() if r.name == RUN)


def test_a_runs_own_validation_gives_the_loss_of_its_record(place):
    record = record_of(place)
    said = json.loads(place.smol("eval", RUN, "--json"))
    # The same rows by the same code on the same CPU: the contract is 1e-3, and it is exact.
    assert said["nats"] / said["tokens"] == pytest.approx(record.ends[0].val_loss, abs=1e-12)
    assert said["bits_per_byte"] == pytest.approx(record.ends[0].bits_per_byte, abs=1e-12)
    assert said["bytes"] == record.data.val_bytes
    assert said["unigram"]["bits_per_byte"] == record.data.unigram_bits_per_byte
    by_key = json.loads(place.smol("eval", record.key, "--scale", "smoke", "--json"))
    assert by_key["nats"] == said["nats"]


def test_an_exported_run_is_the_same_model_in_transformers(place):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from harness.data.batches import read_validation
    from harness.data.prepare import load_folder

    folder = place.folder / "exported"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    job = json.loads((place.run_folder("low", 0, "decay-tokens") / "job.json").read_text())
    rows = read_validation(load_folder(Path(job["data_folder"])).folder)
    with torch.no_grad():
        logits = theirs(input_ids=torch.from_numpy(rows.tokens)).logits
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), torch.from_numpy(rows.targets).flatten()
        )
    # The record's may be in bf16, theirs is in fp32; the contract is 1e-3.
    assert float(loss) == pytest.approx(record_of(place).ends[0].val_loss, abs=1e-3)
    assert tokenizer.decode(tokenizer("some text").input_ids) == "some text"
    assert tokenizer.eos_token == "<|endoftext|>"
    assert theirs.generation_config.eos_token_id == tokenizer.eos_token_id

    state = place.weights("low", 0, "decay-tokens")
    again = from_transformers(folder, torch.float32)
    for name, parameter in again.named_parameters():
        assert torch.equal(parameter, state[name]), name


def test_the_exported_folder_scores_as_the_run(place):
    job = json.loads((place.run_folder("low", 0, "decay-tokens") / "job.json").read_text())
    said = json.loads(place.smol("eval", "exported", "--data", job["data_folder"], "--json"))
    own = json.loads(place.smol("eval", RUN, "--json"))
    assert said["nats"] == pytest.approx(own["nats"], rel=1e-9)  # one precision; other batch sizes
    assert said["subject"]["kind"] == "folder"


def test_whole_documents_are_scored_recorded_and_shown_in_the_card(place):
    text = place.folder / "two.jsonl"
    text.write_text('{"text": "A first document."}\n{"text": "Ein zweites, mit Ümlaut."}\n')
    said = json.loads(place.smol("eval", RUN, "--text", "two.jsonl", "--json", "--record"))
    (one,) = evaluation.read_all(place.results)
    assert one.bits_per_byte == said["bits_per_byte"]
    assert (one.documents, one.bytes) == (2, 17 + 25)
    assert one.context == 32  # as the run was trained
    assert one.unigram is not None
    assert str(place.folder) not in one.model_dump_json()
    place.smol("card", "--results", str(place.results))
    card = (place.results / "cards/about-references.md").read_text()
    assert f"{one.bits_per_byte:.4f}" in card
    place.smol("card", "--check", "--results", str(place.results))
    view = f"references.two.{one.text_digest[:8]}"
    answer = place.smol("trace", f"{view}/{RUN}/bits_per_byte", "--results", str(place.results))
    assert one.command in re.sub(r" \\\n +", " ", answer)
    assert "1 evaluations" in place.smol("records", "check", "--results", str(place.results))


def test_sampling_is_greedy_unless_asked_and_repeats_with_its_seed(place):
    first = place.smol("sample", RUN, "--prompt", "The ", "--max-tokens", "8")
    assert first.startswith("The ")
    assert place.smol("sample", "exported", "--prompt", "The ", "--max-tokens", "8") == first
    drawn = ("--prompt", "The ", "--max-tokens", "8", "--temperature", "1", "--top-k", "50",
             "--top-p", "0.9", "--json", "--seed")  # fmt: skip
    one, same, other = (json.loads(place.smol("sample", RUN, *drawn, s)) for s in ("1", "1", "2"))
    assert one == same
    assert one["tokens"] != other["tokens"]


def broken(place: Workspace, name: str) -> Path:
    return Path(shutil.copytree(place.folder / "exported", place.folder / name))


def another_architecture(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))


def missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors")


def extra_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"extra.weight": torch.ones(1)}, folder / "model.safetensors")


def wrong_vocabulary(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 511}))


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def foreign_tokenizer(folder: Path) -> None:
    fitted = tokenizer.load(folder)
    fitted.add_tokens(["one", "more"])
    fitted.save(str(folder / "tokenizer.json"))


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (another_architecture, "is of architecture 'gpt2'"),
        (missing_tensor, "lacks the tensor 'model.norm.weight'"),
        (extra_tensor, "holds, beyond the model, the tensor 'extra.weight'"),
        (wrong_vocabulary, "config.json's vocab_size"),
        (truncated, "is damaged or truncated"),
        (foreign_tokenizer, "it is another model's"),
        (no_tokenizer, "no tokenizer.json"),
        (no_config, "is a folder without config.json"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_broken_folder_is_one_clear_line(place, damage, words):
    name = damage.__name__
    damage(broken(place, name))
    assert words in place.smol("sample", f"./{name}", "--prompt", "x", code=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["eval", "tiny_rates/low/0/decay-token"], f"did you mean '{RUN}'?"),
        (["eval", "smollm2"], "`smol fetch smollm2` brings it"),
        (["eval", RUN, "--text", "stdlib-topic"], "did you mean 'stdlib-topics'?"),
        (["eval", RUN, "--text", "validation", "--text", "two.jsonl"], "stands alone"),
        (["eval", RUN, "--text", "heldout-proxy"], "smol run dense_vs_moe --scale proxy"),
        (["eval", RUN, "--context", "8"], "--context goes with whole documents"),
        (["eval", RUN, "--text", "topics.jsonl", "--context", "4096"], "outside 1.."),
        (["eval", RUN, "--dtype", "fp8"], "no dtype 'fp8'"),
        (["eval", "exported", "--text", "validation"], "no validation rows of its own"),
        (["eval", "exported", "--data", "nowhere"], "nowhere"),
        (["sample", RUN, "--top-p", "2", "--prompt", "x"], "top_p"),
        (["sample", RUN, "--max-tokens", "100000"], "positions"),
        (["sample", RUN, "--temperature", "1e-300", "--prompt", "x"], "at least 1e-06"),
        (["sample", RUN, "--dtype", "fp8"], "no dtype 'fp8'"),
        (["sample", RUN, "--prompt", "a\udcffb"], "--prompt is not UTF-8 text"),
        (["chat", RUN, "--prompt", "a", "--system", "a\udcffb"], "--system is not UTF-8 text"),
        (["chat", 300 * "a", "--prompt", "x"], "File name too long"),
        (["sample", "topics.jsonl"], "was not written here"),
        (["sample", "recipes"], "is a folder without config.json"),
        (["export", RUN, "exported"], "is not an empty folder"),
        (["export", RUN, "topics.jsonl"], "is not an empty folder"),
        (["export", RUN, "topics.jsonl/inside"], "cannot write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_request_says_so_and_changes_nothing(place, arguments, words):
    before = {str(p) for p in place.folder.rglob("*") if "__pycache__" not in str(p)}
    assert words in place.smol(*arguments, code=2)
    after = {str(p) for p in place.folder.rglob("*") if "__pycache__" not in str(p)}
    assert after == before


def test_weights_or_data_that_are_gone_say_what_brings_them_back(place, tmp_path):
    run = "tiny_rates/high/1/decay-tokens"
    folder = place.run_folder("high", 1, "decay-tokens")
    final = (folder / "final_model.pt").read_bytes()
    (folder / "final_model.pt").unlink()
    said = place.smol("eval", run, code=2)
    assert "`smol run tiny_rates --scale smoke --device cpu --fresh`" in said

    # A checkpoint alone, where its data can be found neither by its job nor by its configuration.
    lonely = tmp_path / "final_model.pt"
    lonely.write_bytes(final)
    elsewhere = InProcess(tmp_path)
    said = elsewhere.smol("sample", "final_model.pt", "--prompt", "x", code=2)
    assert "a checkpoint does not hold it" in said
    given = str(place.folder / "exported")
    out = elsewhere.smol(
        "sample", "final_model.pt", "--tokenizer", given, "--prompt", "The ", "--max-tokens", "2"
    )
    assert out.startswith("The ")
    lonely.write_bytes(final[:-1000])
    assert "is truncated" in elsewhere.smol("sample", "final_model.pt", code=2)


def test_a_model_without_a_counterpart_in_transformers_says_why(place):
    config = RunConfig.model_validate_json(json.dumps(record_of(place).config))
    config = replace(config, {"model.activation": "silu"})
    model = LanguageModel(config.model)
    model.init_weights(0)
    row = np.arange(8)[None]
    probe = Validation(row, np.roll(row, -1, 1), np.zeros_like(row), np.ones(8, dtype=np.int64))
    state.save_final(
        place.folder / "silu.pt", "key", "code", config, model, {}, probe, torch.device("cpu")
    )
    said = place.smol("export", "silu.pt", "silu", "--tokenizer", "exported", code=2)
    assert "no counterpart for a two-matrix SiLU feed-forward" in said
    assert not (place.folder / "silu").exists()
    assert not list(place.folder.glob(".silu-*"))
