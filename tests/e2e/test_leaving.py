"""A model that leaves the house: GGUF to compute with, a page for the Hub, a push."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from tests.data.hub_server import Hub, serve
from tests.e2e.conftest import Workspace
from tests.e2e.test_models import RUN, InProcess

PROMPT = [[5, 17, 80, 301, 44, 2, 19, 7]]


@pytest.fixture(scope="module")
def place(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> InProcess:
    copy = InProcess(shutil.copytree(finished.folder, tmp_path_factory.mktemp("leaving") / "copy"))
    (copy.folder / "notes.txt").write_text("A page of notes about small models.\n" * 20)
    copy.smol("eval", RUN, "--text", "notes.txt", "--record")
    copy.smol("export", RUN, "out")
    return copy


def logits(folder: Path, **how: str) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **how)
    with torch.no_grad():
        return model(torch.tensor(PROMPT)).logits


@pytest.mark.parametrize(("kind", "bound"), [("f16", 1e-2), ("f32", 1e-5), ("q8_0", 1e-1)])
def test_gguf_gives_the_same_logits_within_its_precision(place, kind, bound):
    folder = place.folder / "out"
    if kind != "f16":
        folder = place.folder / f"as-{kind}"
        place.smol("export", RUN, folder.name, "--gguf", kind)
    (file,) = folder.glob("*.gguf")
    assert file.name == f"{folder.name}-{kind}.gguf"
    theirs = logits(folder, gguf_file=file.name)
    ours = logits(folder)
    assert (theirs - ours).abs().max() < bound
    assert ours.std() > 20 * bound or kind == "q8_0"  # the bound says something
    assert kind == "f32" or (theirs - ours).abs().max() > 0


def test_gguf_says_what_the_folder_says(place):
    from gguf import GGUFReader

    (file,) = (place.folder / "out").glob("*.gguf")
    fields = {name: field.contents() for name, field in GGUFReader(file).fields.items()}
    assert fields["general.architecture"] == "llama"
    assert fields["tokenizer.ggml.pre"] == "smollm"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(place.folder / "out" / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab()
    assert fields["tokenizer.ggml.tokens"] == sorted(vocabulary, key=vocabulary.__getitem__)
    assert fields["tokenizer.ggml.eos_token_id"] == tokenizer.token_to_id("<|endoftext|>")


def test_the_readme_is_a_card_that_the_hub_reads(place):
    folder = place.folder / "out"
    (record,) = [one for one in place.records() if one.name == RUN]
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "transformers"
    assert {"smollm2", "gguf"} <= set(card.data.tags)
    values = {
        (one.dataset_type, one.metric_type): one.metric_value for one in card.data.eval_results
    }
    (end,) = record.ends
    assert values["smol-harness/validation", "loss"] == round(end.val_loss, 5)
    assert record.key in card.text
    assert record.command in card.text
    (file,) = (folder / ".eval_results").glob("*.yaml")
    entries = yaml.safe_load(file.read_text())
    assert len(entries) == 3  # the run's end, and the evaluation that was recorded
    assert all(set(one) >= {"dataset", "value", "date", "notes"} for one in entries)
    assert entries[2]["dataset"]["id"] != entries[1]["dataset"]["id"]
    assert entries[0]["dataset"] == {"id": "smol-harness/validation", "task_id": "loss"}


def test_a_mixture_is_exported_without_gguf(place):
    said = place.smol("export", RUN, "bare", "--gguf", "none")
    assert not list((place.folder / "bare").glob("*.gguf"))
    assert "without GGUF" not in said
    wrong = place.smol("export", RUN, "worse", "--gguf", "q9", code=2)
    assert "no GGUF type 'q9'" in wrong
    assert not (place.folder / "worse").exists()


LOAD = """
import sys, numpy, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained("me/small", dtype=torch.float32)
AutoTokenizer.from_pretrained("me/small")
numpy.save(sys.argv[1], model(torch.tensor([[5, 17, 80, 301, 44, 2, 19, 7]])).logits.detach())
"""


def test_a_push_leaves_what_from_pretrained_loads(place, tmp_path):
    with serve(Hub()) as hub:
        surroundings = {
            **os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache"),
            "HF_TOKEN": "none", "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(place.code),
        }  # fmt: skip
        surroundings.pop("HF_HUB_OFFLINE", None)

        def smol(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-P", "-m", "harness", *words], cwd=place.folder,
                env=surroundings, capture_output=True, text=True, check=False,
            )  # fmt: skip

        done = smol("export", RUN, "pushed", "--push", "me/small")
        assert done.returncode == 0, done.stderr
        assert f"pushed: {hub.url}/me/small" in done.stdout
        kept = hub.repos["me/small"]
        here = place.folder / "pushed"
        files = {
            p.relative_to(here).as_posix(): p.read_bytes() for p in here.rglob("*.*") if p.is_file()
        }
        assert kept == files
        assert 'from_pretrained("me/small")' in kept["README.md"].decode()
        assert ".eval_results/smol-harness.yaml" in kept
        subprocess.run(
            [sys.executable, "-c", LOAD, str(tmp_path / "got.npy")], env=surroundings, check=True
        )
        assert np.array_equal(np.load(tmp_path / "got.npy"), logits(here).numpy())
        hub.fault = lambda path, number: "403" if path.endswith("/repos/create") else None
        refused = smol("export", RUN, "kept", "--push", "me/other")
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1
        assert "the folder 'kept' is there" in refused.stderr
    assert "say whose it is" in place.smol("export", RUN, "x", "--push", "small", code=2)
