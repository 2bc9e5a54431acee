"""Stages through the real door: one after another, from a given model, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from harness.records import store
from harness.records.schema import Record
from harness.train import checkpoint
from tests.e2e.conftest import Workspace, make

RECIPE = '''
"""Two stages."""
from harness import presets
from harness.config import Source, replace
from harness.recipe import Primary, Recipe, Stage, recipe

TEXTS = (Source(name="topics", kind="files", share=1.0, paths=("topics.jsonl",)),)
TALKS = (Source(name="talks", kind="files", share=1.0, paths=("talks.jsonl",)),)

def fine_tuning(arm):
    return {"data.format": "chat", "data.sources": TALKS, "data.fitted_on": TEXTS,
            "optim.muon_lr": 0.5 * arm.optim.muon_lr, "train.tokens": 256 * 12,
            "train.eval_every": 6}

@recipe("tiny_stages", primary=Primary(metric="val_loss", at="sft", pairs=()), seeds={"smoke": 1})
def tiny_stages(scale):
    """A tiny model in two stages."""
    base = replace(presets.run(scale), {
        "data.sources": TEXTS, "data.seq_len": 64, "data.vocab_size": 512, "data.val_tokens": 640,
        "model.vocab_size": 512, "model.width": 32, "model.layers": 2, "model.ffn": 64,
        "model.heads": 2, "model.kv_heads": 1, "model.head_dim": 16,
        "batch.micro_batch": 4, "train.tokens": 256 * 20, "train.eval_every": 10,
        "train.checkpoint_every": 7,
    })
    return Recipe(base, axes=[], views=["sft"], stages=[
        Stage("pretrain"),
        Stage("sft", fine_tuning, after="pretrain", prompts=("What is number 3?",)),
    ])
'''


def stages_workspace(folder: Path) -> Workspace:
    made = make(folder)
    (folder / "recipes" / "stages.py").write_text(RECIPE)
    talks = [
        {"messages": [
            {"role": "user", "content": f"What is number {n}?"},
            {"role": "assistant", "content": f"It is {n} and no other."},
        ]}
        for n in range(120)
    ]  # fmt: skip
    (folder / "talks.jsonl").write_text("\n".join(map(json.dumps, talks)))
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One in which both stages have run; tests that change it work on a copy."""
    done = stages_workspace(tmp_path_factory.mktemp("stages"))
    done.smol("run", "tiny_stages")
    return done


@pytest.fixture
def copy(trained: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(trained.folder, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def by_stage(workspace: Workspace) -> dict[str, Record]:
    return {record.stage: record for record in workspace.records()}


def folder_of(workspace: Workspace, stage: str) -> Path:
    (folder,) = (workspace.folder / "checkpoints/tiny_stages/base/0").glob(f"{stage}.*")
    return folder


def test_a_stage_starts_from_the_weights_before_and_proves_it(trained):
    records = by_stage(trained)
    assert {record.status for record in records.values()} == {"ok"}
    pretrain, sft = records["pretrain"], records["sft"]
    assert sft.parent == pretrain.key
    assert pretrain.handover_loss is None
    before, after = sft.handover_loss
    assert before == after  # same weights, same batch, same CPU: no tolerance needed
    assert sft.data.tokenizer_digest == pretrain.data.tokenizer_digest
    assert sft.config["optim"]["muon_lr"] == 0.5 * pretrain.config["optim"]["muon_lr"]
    assert sft.initial_loss is None
    assert sft.training[0].loss < 6.0  # that of weights that learned, not ln 512 = 6.24


def test_fine_tuning_lowers_the_loss_on_held_out_assistants_tokens(trained):
    points = by_stage(trained)["sft"].validation
    assert [point.update for point in points] == [0, 6, 12]
    assert points[-1].val_loss < points[0].val_loss - 0.3


def test_answers_before_and_after_stand_in_the_record_and_the_card(trained):
    samples = by_stage(trained)["sft"].samples
    assert [answer.prompt for answer in samples.before] == ["What is number 3?"]
    assert samples.before[0].tokens
    assert samples.after[0].text != samples.before[0].text
    card = (trained.results / "cards/tiny_stages.md").read_text()
    assert "tiny_stages.smoke.cpu.sft`" in card
    assert "tiny_stages.smoke.cpu.sft-samples`" in card
    assert (trained.results / "figures" / "tiny_stages.smoke.cpu.stages.png").is_file()
    trained.smol("card", "--check", "--results", str(trained.results))


def test_each_stage_leaves_the_four_files(trained):
    for stage in ("pretrain", "sft"):
        names = {path.name for path in folder_of(trained, stage).iterdir()}
        assert {"model.pt", "final_model.pt", "metrics.json", "metrics_plot.png"} <= names


def test_a_stage_alone_runs_with_what_it_needs(copy, tmp_path):
    assert "nothing to do" in copy.smol("run", "tiny_stages", "--stage", "sft")
    sft = by_stage(copy)["sft"]
    (copy.results / store.path_of(sft)).unlink()
    assert "1 runs of 2" in copy.smol("run", "tiny_stages", "--stage", "sft")
    assert by_stage(copy)["sft"].training == sft.training  # bit for bit
    fresh = stages_workspace(tmp_path / "fresh")
    said = fresh.smol("run", "tiny_stages", "--stage", "sft")
    assert "tiny_stages/base/0/pretrain runs first" in said
    assert by_stage(fresh)["sft"].training == sft.training


def test_an_override_of_a_stage_holds_there_alone(copy):
    said = copy.smol("run", "tiny_stages", "--set", "sft.optim.muon_lr=0.002")
    assert "1 runs of 2" in said  # the first stage is what it was
    rates = {r.config["optim"]["muon_lr"] for r in copy.records() if r.stage == "sft"}
    assert rates == {0.01, 0.002}
    assert "did you mean 'optim.muon_lr'" in copy.smol(
        "run", "tiny_stages", "--set", "sft.optim.muon_l=0.002", code=2
    )


# -- from a given model ------------------------------------------------------------------------


def test_a_stage_starts_from_a_checkpoint_or_a_transformers_folder(copy):
    final = folder_of(copy, "pretrain") / "final_model.pt"
    copy.smol("run", "tiny_stages", "--stage", "sft", "--from", str(final))
    copy.smol("export", "tiny_stages/base/0/pretrain", "theirs")
    copy.smol("run", "tiny_stages", "--stage", "sft", "--from", "theirs")
    sft = [record for record in copy.records() if record.stage == "sft"]
    given = {record.given.split()[0]: record for record in sft if record.given}
    assert set(given) == {"checkpoint", "transformers"}
    straight = next(record for record in sft if not record.given)
    for record in given.values():
        assert record.parent is None
        assert record.training == straight.training  # the same weights, the same data
        assert record.question.overrides == {"--from": record.given}
    before, after = given["transformers"].handover_loss
    assert before == pytest.approx(after, rel=1e-5)  # fp32 twice, in another order of sums


def untouched(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """All files but locks, caches and pictures: size and time."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for part in ("checkpoints", "results")
        for path in (workspace.folder / part).rglob("*")
        if path.is_file() and ".code" not in path.parts
    }


def refused(workspace: Workspace, *arguments: str) -> str:
    before = untouched(workspace)
    said = workspace.smol("run", "tiny_stages", *arguments, code=2)
    assert untouched(workspace) == before
    return said


def test_what_does_not_fit_is_refused_before_anything_is_touched(trained, tmp_path):
    final = folder_of(trained, "pretrain") / "final_model.pt"
    given = ["--stage", "sft", "--from"]
    assert "another architecture: its width is 32 and the stage's 48" in refused(
        trained, "--set", "model.width=48", *given, str(final)
    )
    short = tmp_path / "final_model.pt"
    short.write_bytes(final.read_bytes()[:-1000])
    assert "truncated" in refused(trained, *given, str(short))
    rolling = folder_of(trained, "pretrain") / "model.pt"
    assert "only final_model.pt can be used" in refused(trained, *given, str(rolling))
    assert "no model 'nowhere'" in refused(trained, *given, "nowhere")
    assert "another tokenizer" in refused(trained, "--set", "sft.data.split_seed=1")
    assert "another architecture" in refused(trained, "--set", "sft.model.ffn=96")
    assert "no stage 'sf'; did you mean 'sft'?" in refused(
        trained, "--stage", "sf", "--from", str(final)
    )
    prepared = json.loads((folder_of(trained, "sft") / "job.json").read_text())["data_folder"]
    assert "holds sequences of 64 tokens" in refused(
        trained, "--set", "data.seq_len=32", "--stage", "sft", "--data", prepared
    )
    other = by_other_tokenizer(trained, tmp_path)
    assert "its tokenizer is not the one" in refused(trained, *given, other)


def by_other_tokenizer(workspace: Workspace, place: Path) -> str:
    """A transformers folder of the same sizes whose tokenizer numbers tokens otherwise."""
    folder = place / "other"
    workspace.smol("export", "tiny_stages/base/0/pretrain", str(folder))
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    a, b = sorted(vocabulary, key=vocabulary.__getitem__)[300:302]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    file.write_text(json.dumps(content))
    return str(folder)


def test_weights_that_did_not_arrive_fail_the_hand_over(copy):
    """A checkpoint whose weights are not those of its probe is found out by the loss."""
    file = folder_of(copy, "pretrain") / "final_model.pt"
    content = checkpoint.load(file)
    content["model"]["embedding.weight"] = torch.randn_like(content["model"]["embedding.weight"])
    checkpoint.save(file, content)
    (copy.results / store.path_of(by_stage(copy)["sft"])).unlink()
    (folder_of(copy, "sft") / "model.pt").unlink()  # or its finished state would go to the record
    process = copy.start("run", "tiny_stages")
    _, err = process.communicate(timeout=240)
    assert process.returncode == 3
    assert "the hand-over from final_model.pt failed" in err


# -- talking -----------------------------------------------------------------------------------


def test_chat_answers_a_prompt_and_says_where_it_ended(trained):
    process = trained.start(
        "chat", "tiny_stages/base/0/sft", "--prompt", "What is number 5?", "--max-tokens", "3"
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err.strip().endswith("ended at --max-tokens 3]") or "<|im_end|>" in err
    assert out.endswith("\n")


def test_an_exported_chat_model_ends_where_ours_does(trained, tmp_path):
    """transformers' generation stops at the end of a turn; the model before it knows no turns."""
    import transformers

    for stage, ends in (("pretrain", 0), ("sft", [0, 2])):
        folder = tmp_path / stage
        trained.smol("export", f"tiny_stages/base/0/{stage}", str(folder))
        peer = transformers.AutoTokenizer.from_pretrained(folder)
        assert peer.convert_ids_to_tokens([0, 2]) == ["<|endoftext|>", "<|im_end|>"]
        assert peer.eos_token_id == (ends[-1] if isinstance(ends, list) else ends)
        for settings in (transformers.GenerationConfig, transformers.AutoConfig):
            assert settings.from_pretrained(folder).eos_token_id == ends


@pytest.mark.slow
def test_elsewhere_a_fine_tuned_model_stops_by_itself_and_says_what_ours_says(copy, tmp_path):
    """Trained until it answers, exported, and asked through transformers' own `generate`."""
    import transformers

    # Each answer some fifty times: enough to learn by heart that an answer ends.
    long = "sft.train.tokens=76800"
    copy.smol("run", "tiny_stages", "--set", long, "--set", "sft.train.eval_every=300")
    finished = copy.folder.glob("checkpoints/**/sft.*/final_model.pt")
    newest = max(finished, key=lambda path: path.stat().st_mtime)
    folder = tmp_path / "out"
    copy.smol("export", str(newest), str(folder))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    question = "What is number 7?"
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True,
        return_tensors="pt", return_dict=True,
    )  # fmt: skip
    answer = model.generate(**asked, max_new_tokens=40, do_sample=False)
    new = answer[0, asked["input_ids"].shape[1] :].tolist()
    assert len(new) < 40, "it never stopped"
    assert new[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    words = tokenizer.decode(new[:-1])
    assert "no other" in words
    said = copy.smol(
        "chat", str(folder), "--prompt", question, "--max-tokens", "40", "--temperature", "0",
    )  # fmt: skip
    assert said.strip() == words.strip()
