"""Fuzzed inputs: a folder with one of everything that `smol` reads, a mutant in the place of one,
and the commands that read it. What breaks the contract of the door is a fault."""

from __future__ import annotations

import json
import random
import shutil
import typing
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

import safetensors.torch
import torch

from harness.code.provenance import ROOT
from harness.commands import DOOR, Command, CommandGroup
from harness.data.prepare import prepare
from harness.records import bench
from harness.train import checkpoint
from tests.survive import mutants
from tests.survive.door import Said, smol

RECORDS = ("optimizers/adamw", "optimizers/muon")
WORKING = {"run", "campaign", "fetch", "bench step", "referee", "data prepare pretrain",
           "data prepare sft", "data prepare python-edu", "chat", "eval", "doctor"}  # fmt: skip
"""Commands that would work for minutes, or ask the network, where nothing is wrong with them."""
KEEPERS = {
    "run": "--dry-run", "campaign": "--dry-run", "referee": "--dry-run", "watch": "--json",
}  # fmt: skip
"""What keeps a command from working, or from serving for ever."""
Mutate = Callable[[random.Random], bytes]


@dataclass
class Target:
    """One input, and what reads it."""

    name: str
    path: Path
    """Relative to the folder."""
    mutate: Mutate
    reads: tuple[tuple[str, ...], ...]
    """Commands, of which each mutant meets one."""


@dataclass
class Fuzz:
    """A watched folder, and what was found in it."""

    folder: Path
    spare: Path
    """As the folder was."""
    done: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def judge(self, name: str, said: Said) -> None:
        self.done[f"{name}: exit {said.code}"] += 1
        self.slowest = max(self.slowest, said.seconds)
        for fault in said.faults():
            self.faults.append(f"{name}: {fault}")
            print(f"fault: {self.faults[-1]}", flush=True)  # known though the rest be cut off

    def lines(self) -> list[str]:
        total = Counter(what.rpartition(": ")[2] for what in self.done.elements())
        said = [f"{n:6} {what}" for what, n in sorted(self.done.items())]
        return [*said, f"{total.total():6} inputs: {dict(total)}; slowest {self.slowest:.1f} s",
                f"{len(self.faults):6} faults", *self.faults]  # fmt: skip


def made(root: Path) -> Fuzz:
    """The folder: results, claims, prices, prepared data, a model folder, checkpoints."""
    folder = root / "fuzz"
    results = folder / "results"
    for arm in RECORDS:
        shutil.copytree(ROOT / "results" / "records" / arm, results / "records" / arm)
    key = next(iter((results / "records" / RECORDS[0]).iterdir())).name.partition(".")[0]
    shutil.copytree(ROOT / "results" / "bench", results / "bench")
    shutil.copytree(ROOT / "results" / "evaluations", results / "evaluations")
    (results / "facts").mkdir()
    shutil.copy(ROOT / "harness" / "machine" / "facts" / "prices.toml", results / "facts")
    shutil.copy(ROOT / "harness" / "audit" / "published" / "claims.toml", folder)
    (folder / "recipes").mkdir()
    (folder / "text.txt").write_text("\n\n".join(f"Line {i} of a text." for i in range(400)))
    _model_folder(folder / "model")
    _data(folder)
    assert key
    made = smol("card", at=folder)
    assert made.code == 0, made
    spare = root / "spare"
    shutil.copytree(folder, spare, symlinks=True)
    return Fuzz(folder, spare)


def _model_folder(folder: Path) -> None:
    """A transformers folder of a very small model."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir()
    vocabulary = {chr(32 + i): i for i in range(64)} | {"<|endoftext|>": 64}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    ))  # fmt: skip
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 65,
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "hidden_act": "silu",
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 64, "tie_word_embeddings": True, "rope_theta": 10000.0,
        "attention_bias": False, "mlp_bias": False, "eos_token_id": 64, "bos_token_id": 64,
        "initializer_range": 0.02, "torch_dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {
        "embed_tokens.weight": (65, 16), "norm.weight": (16,),
        "layers.0.input_layernorm.weight": (16,), "layers.0.post_attention_layernorm.weight": (16,),
        "layers.0.self_attn.q_proj.weight": (16, 16), "layers.0.self_attn.k_proj.weight": (8, 16),
        "layers.0.self_attn.v_proj.weight": (8, 16), "layers.0.self_attn.o_proj.weight": (16, 16),
        "layers.0.mlp.gate_proj.weight": (32, 16), "layers.0.mlp.up_proj.weight": (32, 16),
        "layers.0.mlp.down_proj.weight": (16, 32),
    }  # fmt: skip
    weights = {f"model.{name}": torch.full(shape, 0.01) for name, shape in shapes.items()}
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _data(folder: Path) -> None:
    """A prepared folder of its own, and a sealed checkpoint that holds what no model is."""
    from harness import presets
    from harness.config import Source, replace

    source = Source(name="t", kind="spans", share=1.0, paths=(str(folder / "text.txt"),))
    spec = replace(presets.run("smoke"), {
        "data.sources": (source,), "data.seq_len": 16, "data.vocab_size": 300,
        "data.val_tokens": 64, "model.vocab_size": 300,
    }).data  # fmt: skip
    shutil.copytree(prepare(spec).folder, folder / "data")
    checkpoint.save(
        folder / "final_model.pt", {"model": {"a": torch.ones(3)}, "config": {}, "key": "x"}
    )


def targets(fuzz: Fuzz) -> list[Target]:
    """Every input that is no command line."""
    at, results = fuzz.folder, fuzz.folder / "results"
    records = sorted((results / "records").rglob("*.json"))
    name = records[0].relative_to(at)
    scored = sorted((results / "evaluations").rglob("*.json"))[0].relative_to(at)
    benches = [p for p in sorted((results / "bench").glob("*.json")) if p.name != bench.KERNELS]
    whole = (("records", "check"), ("card", "--check"), ("records", "check", "--json"))
    cell = next(iter(json.loads((results / "cells.json").read_text("utf-8"))["cells"]))
    compared = ("compare", "optimizers/adamw", "optimizers/muon", "--scale", "proxy")
    sample = ("sample", "model", "--prompt", "AB", "--max-tokens", "2")
    kept = ("sample", "final_model.pt", "--prompt", "AB")
    show = (("data", "show", "data"), ("data", "show", "data", "--json"))
    audit = tuple(("audit", "claims.toml", *more) for more in ((), ("--json",), ("--markdown",)))
    json_targets = [
        ("record", name, (*whole, compared, ("card",), ("show", "optimizers", "--scale", "proxy"))),
        ("cells", Path("results/cells.json"), (*whole, ("trace", cell), ("trace", cell, "--json"))),
        ("evaluation", scored, (*whole, ("card",))),
        ("bench", benches[0].relative_to(at), (*whole, ("card",))),
        ("kernels", Path("results/bench") / bench.KERNELS, whole),
        ("figures' index", Path("results/figures/figures.json"), (("card", "--check"),)),
        ("manifest", Path("data/manifest.json"), show),
        ("data set's state", Path("data/dataset/train/state.json"), show),
        ("model's config", Path("model/config.json"), (sample,)),
        ("model's tokenizer", Path("model/tokenizer.json"), (sample,)),
        ("model's tokenizer config", Path("model/tokenizer_config.json"), (sample,)),
    ]
    found = [
        Target(n, p, mutants.of_json(at / p), r) for n, p, r in json_targets if (at / p).exists()
    ]
    for n, path, reads in (
        ("claims", "claims.toml", audit), ("prices", "results/facts/prices.toml", whole),
    ):  # fmt: skip
        found.append(Target(n, Path(path), mutants.of_toml(at / path), reads))
    arrow = next((at / "data" / "dataset" / "train").glob("*.arrow")).relative_to(at)
    for n, place, reads in (
        ("weights", Path("model/model.safetensors"), (sample,)),
        ("checkpoint", Path("final_model.pt"), (kept,)),
        ("tokens", arrow, show),
        ("bytes a token", Path("data/token_bytes.npy"), show),
    ):  # fmt: skip
        found.append(Target(n, place, mutants.of_bytes(at / place), reads))
    return found


def document(fuzz: Fuzz, target: Target, chance: random.Random) -> None:
    """One mutant of a target, and one of the commands that read it."""
    path, data = fuzz.folder / target.path, target.mutate(chance)
    words = chance.choice(target.reads)
    _remove(path)
    mutants.put(path, data, chance)
    if target.name == "manifest" and chance.random() < 0.5:
        _seal_again(path)
    try:
        fuzz.judge(target.name, smol(*words, at=fuzz.folder))
    finally:
        _remove(path)
        shutil.copy2(fuzz.spare / target.path, path)
        if words == ("card",):
            _restore(fuzz)


def _seal_again(path: Path) -> None:
    """Anybody can compute a seal."""
    from harness.data.manifest import seal

    if not path.is_file():  # a pipe would be waited for
        return
    try:
        content = json.loads(path.read_bytes())
        content["seal"] = seal(content)
        path.write_text(json.dumps(content))
    except Exception:
        return


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _restore(fuzz: Fuzz) -> None:
    shutil.rmtree(fuzz.folder)
    shutil.copytree(fuzz.spare, fuzz.folder, symlinks=True)


def commands(
    group: CommandGroup = DOOR, before: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Every command, with its words."""
    for name, one in group.commands.items():
        if isinstance(one, CommandGroup):
            yield from commands(one, (*before, name))
        else:
            yield (*before, name), one


def options(command: Command) -> list[str]:
    """The long options of a command, as its `Options` say them."""
    import importlib

    module = importlib.import_module(f"harness.commands.{command.module}")
    hints = typing.get_type_hints(module.Options, include_extras=True)
    found = []
    for one in fields(module.Options):
        said = [
            word for info in typing.get_args(hints[one.name])[1:]
            for word in (getattr(info, "param_decls", None) or ())
        ]  # fmt: skip
        is_option = any(
            type(i).__name__ == "OptionInfo" for i in typing.get_args(hints[one.name])[1:]
        )
        found += said or ([f"--{one.name.replace('_', '-')}"] if is_option else [])
    return [word for word in found if isinstance(word, str) and word.startswith("-")]


VALUES = (
    "results", "results/records", "claims.toml", "model", "data", "final_model.pt", "text.txt",
    "optimizers", "optimizers/adamw", "dense_vs_moe", "proxy", "smoke", "full", "cpu", "cuda", "1",
    "0", "-1", "3", "1e9", "10m", "train.tokens=1", "train.tokens=x", "optim.muon_lr=nan", "a=b",
    "model.width=0", "data.seq_len=999999999999999999999", "=", "sft=data", "no/such/place",
    "/dev/null", "/dev/zero", "/proc/self/mem", "nix/../o", "é", "👩‍🚀", "x" * 3000, "--", "-", "~",
    "$HOME", "*",
    *mutants.ODD_TEXTS,
)  # fmt: skip


def command_line(fuzz: Fuzz, chance: random.Random) -> None:
    """A random command line: a command, its options or others', wild values."""
    every = list(commands())
    words, command = chance.choice(every)
    given = list(words)
    if chance.random() < 0.05:
        given[-1] = chance.choice([given[-1][:-1], given[-1].upper(), given[-1] + "x", ""])
    known = options(command)
    for _ in range(chance.randint(0, 4)):
        if known and chance.random() < 0.75:
            given.append(chance.choice(known))
            if chance.random() < 0.7:
                given.append(chance.choice(VALUES))
        elif chance.random() < 0.2:
            given.append(chance.choice(options(chance.choice(every)[1]) or ["--x"]))
        else:
            given.append(chance.choice(VALUES))
    name = " ".join(words)
    if name in KEEPERS:
        given.append(KEEPERS[name])
    elif name in WORKING:
        given.append("--no-such-option")
    given = [word for word in given if "\x00" not in word]  # no process can be given one
    wrote = smol(*given, at=fuzz.folder)
    fuzz.judge("command line", wrote)
    if wrote.changed:
        _restore(fuzz)
