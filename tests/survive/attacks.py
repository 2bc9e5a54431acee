"""The hostile inputs, a family of them a function: (what it is, what puts it there, the command
that meets it, the exit codes that are right: 2 where none is said)."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from harness.train import checkpoint
from tests.survive import given
from tests.survive.given import AUDIT, SHOW, Attack
from tests.survive.strangers import (
    CARD,
    CHECK,
    FRESH,
    SAMPLE,
    Plant,
    a_folder,
    both,
    deep,
    edited,
    instead,
    link,
    moved_to,
    nothing,
    pipe,
    record_of,
    sparse,
)  # fmt: skip

OUT = "../outside"
KEPT = ("sample", "final_model.pt", "--prompt", "AB", "--max-tokens", "2")
CHAT = ("chat", "model", "--prompt", "AB", "--max-tokens", "2")


def names_that_lead_out() -> Iterator[Attack]:
    for recipe in ("../../x", "/etc/x", "..", ".", "a/b", "a\\b", "C:x", "a\n b", "-rf",
                   "~x", "a" * 200, "", " ", "\u202ex", "a%2Fb", "$(id)", "nul\x00"):  # fmt: skip
        yield f"recipe {recipe[:20]!r}", moved_to(recipe, "x"), CHECK
        if recipe[:1] in ("/", "."):
            yield f"recipe {recipe[:20]!r}, card", moved_to(recipe, "x"), CARD
    for arm in ("../x", "/x", "a b/../../c", "x\ty", "é/..", "."):
        yield f"arm {arm!r}", moved_to("optimizers", arm), CARD
    for name, value in (("stage", "../../x"), ("scale", "/x"), ("key", "../x"), ("device", "../x")):
        yield f"{name} {value!r}", edited(_set(name, value)), CHECK
    yield "run's name as a path", nothing, ("sample", "../../etc/passwd/x/y", "--prompt", "A")
    yield "a cell's name as a path", nothing, ("trace", "../../../etc/passwd")
    yield "figures' index names a file outside", edited(_figures, "results/figures/figures.json"), \
        CARD, 0, 2  # fmt: skip


def links() -> Iterator[Attack]:
    for command in (CARD, CHECK, FRESH, ("report",), ("records", "clean")):
        yield f"figures lead out, {command[-1]}", both(
            link("results/figures", "../../outside"),
        ), command, 0, 1, 2  # fmt: skip
    yield "records lead out", link("results/records", "../../outside"), CHECK
    yield "results lead nowhere", link("results", "nowhere"), CHECK
    yield "a record leads to a device", _record_links("/dev/zero"), CHECK
    yield "a record leads to memory", _record_links("/proc/self/mem"), CHECK
    yield "a record leads to itself", _record_links("itself.json"), CHECK
    yield "card leads out", link("results/MODEL_CARD.md", "../../outside/victim.png"), CARD, 0, 2
    yield "cells lead out", link("results/cells.json", "../../outside/victim.png"), CARD, 0, 2
    yield "cards lead out", link("results/cards", "../../outside"), CARD, 0, 2
    yield "report leads out", link("report.html", "../outside/victim.png"), ("report",), 0, 2
    yield "bench leads out", link("results/bench", "../../outside"), CHECK, 0, 1, 2
    yield "evaluations lead out", link("results/evaluations", "../../outside"), CHECK, 0, 2
    yield "facts lead to a device", link("results/facts/prices.toml", "/dev/zero"), CHECK, 1, 2
    yield "a tokenizer leads to a device", link("model/tokenizer.json", "/dev/zero"), SAMPLE
    yield "weights lead to a device", link("model/model.safetensors", "/dev/zero"), SAMPLE
    yield "config leads to a device", link("model/config.json", "/dev/zero"), SAMPLE
    yield "manifest leads to a device", link("data/manifest.json", "/dev/zero"), SHOW
    yield "checkpoint leads to a device", link("final_model.pt", "/dev/zero"), KEPT
    yield "claims lead to a device", link("claims.toml", "/dev/zero"), AUDIT
    yield "recipes lead to a device", link("recipes/x.py", "/dev/zero"), ("list",), 0
    yield "checkpoints lead out, clean", link("checkpoints", "../outside"), ("records", "clean"), \
        0, 2  # fmt: skip


def checkpoints() -> Iterator[Attack]:
    for command in (KEPT, ("eval", "final_model.pt"), ("chat", "final_model.pt", "--prompt", "x"),
                    ("export", "final_model.pt", "out")):  # fmt: skip
        yield f"a pickle that executes, {command[0]}", _saved({"model": {}, "x": _Bomb()}), command
        yield f"a pipe, {command[0]}", pipe("final_model.pt"), command
    yield "a terabyte of nothing", sparse("final_model.pt"), KEPT
    yield "300 GB of nothing", sparse("final_model.pt", 3 * 10**11), KEPT
    yield "no mark", instead(b"PK\x03\x04" + b"x" * 10**6, "final_model.pt"), KEPT
    yield "a folder", a_folder("final_model.pt"), KEPT
    yield "a list", _saved([1]), KEPT
    yield "lists in lists", _saved({"model": {}, "config": _nested(200)}), KEPT
    yield "a ZIP bomb", _zip_bomb("final_model.pt"), KEPT
    yield "a precision that is none", _saved(_model(dtype="auto")), KEPT
    yield "a model of 10^7 x 10^4", _saved(_model(width=10**7, layers=10**4)), KEPT
    yield "a vocabulary of 10^12", _saved(_model(vocab_size=10**12)), KEPT
    yield "a context of 10^12", _saved(_model(context=10**12)), KEPT
    yield "negative width", _saved(_model(width=-8)), KEPT
    yield "a tensor that claims more than it holds", _saved(
        {**_model(), "model": {"embedding.weight": torch.zeros(1, 1).expand(10**6, 10**6)}}
    ), KEPT  # fmt: skip
    yield "10^5 tensors", _saved({**_model(), "model": _many(20_000)}), KEPT
    for name in ("pytorch_model.bin", "model.safetensors"):
        yield f"{name} is a pipe", both(_gone("model/model.safetensors"), pipe(f"model/{name}")), \
            SAMPLE  # fmt: skip
        yield f"{name} has a terabyte", both(
            _gone("model/model.safetensors"), sparse(f"model/{name}")
        ), SAMPLE  # fmt: skip
    yield "safetensors: a header of 10^18", instead(
        (10**18).to_bytes(8, "little") + b"{}", "model/model.safetensors"
    ), SAMPLE  # fmt: skip
    yield "safetensors: offsets beyond the file", instead(
        lambda: _safetensors(
            {"x": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}
        ),
        "model/model.safetensors",
    ), SAMPLE  # fmt: skip
    yield "safetensors: shape of zero times all", instead(
        lambda: _safetensors({"x": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}),
        "model/model.safetensors",
    ), SAMPLE  # fmt: skip
    yield "an index of shards that leads out", both(
        _gone("model/model.safetensors"),
        instead(json.dumps({"weight_map": {"x": "../../outside/victim.png"}}).encode(),
                "model/model.safetensors.index.json"),
    ), SAMPLE  # fmt: skip
    yield "weights that are not finite", _weights(torch.nan), SAMPLE
    for name, value in (("num_hidden_layers", 10**9), ("hidden_size", 10**9), ("head_dim", 0),
                        ("vocab_size", 10**12), ("num_attention_heads", -1),
                        ("rope_theta", float("nan")),
                        ("max_position_embeddings", 10**15), ("intermediate_size", "64"),
                        ("model_type", "../x"),
                        ("auto_map", {"AutoModel": "evil.Model"})):  # fmt: skip
        plant = both(edited(_set(name, value), "model/config.json"), instead(
            b"open('../outside/executed', 'w')\nclass Model: pass\n", "model/evil.py"))  # fmt: skip
        yield f"config.json: {name} = {value}", plant, SAMPLE, 0, 2
    yield "config.json of 10^6 levels", instead(deep(10**6), "model/config.json"), SAMPLE
    yield "tokenizer.json of 10^6 levels", instead(deep(10**6), "model/tokenizer.json"), SAMPLE
    yield "tokenizer.json of a terabyte", sparse("model/tokenizer.json"), SAMPLE
    yield "tokenizer_config of a terabyte", sparse("model/tokenizer_config.json"), SAMPLE, 0, 2
    yield "config.json is a pipe", pipe("model/config.json"), SAMPLE
    yield "tokenizer.json is a pipe", pipe("model/tokenizer.json"), SAMPLE


def templates() -> Iterator[Attack]:
    loop = "{% for i in range(99999) %}"
    for name, text in {
        "three loops": f"{loop * 3}{{% endfor %}}{{% endfor %}}{{% endfor %}}",
        "10 GB of x": "{{ 'x' * 9999999999 }}",
        "a list of 10^10": "{{ [0] * 9999999999 }}",
        "centered in 10 GB": "{{ 'x'.center(9999999999) }}",
        "a format of 10 GB": "{{ '%9999999999d' % 1 }}",
        "a format method of 10 GB": "{{ '{:9999999999}'.format(1) }}",
        "a filter of 10 GB": "{{ 'x' | center(9999999999) }}",
        "indent by 10^9": "{{ 'a\\nb' | indent(9999999999) }}",
        "a power": "{{ 9 ** (9 ** 9) }}",
        "a shift": "{{ 1.__lshift__(99999999999) }}",
        "doubling": "{% set ns = namespace(x='x') %}{% for i in range(60) %}"
                    "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "a product of ranges": "{{ range(99999) | list | string * 99999 }}",
        "sum of a range": "{{ range(9999999999) | sum }}",
        "a batch": "{{ range(99999) | batch(9999999999, 'x') | list }}",
        "a slice": "{{ [1] | slice(999999999) | list }}",
        "lipsum": "{{ lipsum(n=99999999) }}",
        "escape by class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "escape by globals": "{{ cycler.__init__.__globals__.os.system('touch ../outside/x') }}",
        "escape by attr": "{{ ''|attr('__class__') }}",
        "escape by format": "{{ '{0.__class__.__mro__}'.format('') }}",
        "escape by import": "{% import 'os' as o %}{{ o.system('touch ../outside/x') }}",
        "escape by include": "{% include '/etc/passwd' %}",
        "control characters": "\x1b[2J{{ messages[0]['content'] }}\x9b31m",
        "5,000 nested ifs": "{% if 1 %}" * 5000 + "{% endif %}" * 5000,
        "5,000 parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "an endless regex": "{{ ('a' * 99999) | wordwrap(1, true, '\\n') }}",
        "urlize": "{{ ('http://' * 50000) | urlize }}",
        "tojson": "{{ ([[]] * 999) | tojson(indent=99999999) }}",
    }.items():  # fmt: skip
        yield name, edited(_set("chat_template", text), "model/tokenizer_config.json"), CHAT, 0, 2
    yield "a file of a terabyte", sparse("model/chat_template.jinja"), CHAT
    yield "a file that is a pipe", pipe("model/chat_template.jinja"), CHAT


def records() -> Iterator[Attack]:
    def keys(number: int) -> Callable[[], bytes]:
        return lambda: json.dumps({f"key{i}": i for i in range(number)}).encode()

    yield "900 KB of keys", instead(keys(60_000)), CHECK
    for command in (CHECK, CARD):
        yield f"3 million keys, {command[-1]}", instead(keys(3_000_000)), command
        yield f"a terabyte of nothing, {command[-1]}", _for_record(sparse), command
        yield f"a pipe, {command[-1]}", _for_record(pipe), command
    yield "900 KB of unknown keys in a record", edited(
        lambda r: r.update({f"k{i}": 0 for i in range(50_000)})
    ), CHECK  # fmt: skip
    yield "a million levels", instead(deep(10**6)), CHECK
    yield "a million objects", instead(deep(10**6, '{"a":', "}")), CHECK
    yield "an integer of a million digits", instead(b'{"seed": ' + b"9" * 10**6 + b"}"), CHECK
    yield "a number of 10^6 exponents", instead(b'{"seed": 1e' + b"9" * 10**5 + b"}"), CHECK
    yield "keys said twice", _twice, CHECK
    yield "lone surrogates", edited(_set("error", "\ud800")), CHECK, 0, 2
    yield "UTF-16", instead(lambda: '{"a": 1}'.encode("utf-16")), CHECK
    yield "bytes that are no text", instead(bytes(range(256)) * 1000), CHECK
    yield "a text of 900 KB", edited(lambda r: r.update(status="failed", error="x" * 900_000)), \
        CHECK, 0, 2  # fmt: skip
    yield "10^5 points", edited(lambda r: r.update(training=r["training"] * 20_000)), CHECK, 0, 2
    yield "10,000 files that are none", _litter(10_000), CHECK
    yield "folders in folders", _deep_folders, CHECK
    for where in ("results/cells.json", "results/facts/prices.toml", "results/figures/figures.json",
                  "results/MODEL_CARD.md", "results/bench/x.json",
                  "results/evaluations/a/b.1.json", "results/facts/claims.toml"):  # fmt: skip
        command = ("audit",) if "claims" in where else FRESH if "figures" in where else CHECK
        command = FRESH if "CARD" in where else command
        yield f"{where} is a pipe", pipe(where), command, 1, 2
        yield f"{where} has a terabyte", sparse(where), command, 1, 2
    yield (
        "cells of a million levels",
        instead(deep(10**6), "results/cells.json"),
        ("trace", "a/b/c"),
    )
    yield "prices of 10^5 lists", instead(b"a = " + deep(10**5), "results/facts/prices.toml"), CHECK
    yield "a bench of 10^6 rows", instead(
        lambda: json.dumps({"rows": [0] * 10**6}).encode(), "results/bench/x.json"
    ), CHECK  # fmt: skip
    for field in ("config", "config.batch", "config.data", "config.model", "config.train",
                  "config.optim", "batch.micro_batch", "data.seq_len", "hardware", "software",
                  "timing", "validation", "training", "ends", "code", "question"):  # fmt: skip
        for value in (None, [], "x"):  # the rest is fuzzed
            yield f"{field} = {value!r}", edited(_put(field, value)), CHECK, 0, 2


FAMILIES = (
    names_that_lead_out, links, checkpoints, templates, records, given.claims, given.texts,
    given.recipes, given.refusals,
)  # fmt: skip


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("../outside/executed", "w"))


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update({name: value})


def _put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A field by its dotted path, below `config` where it is not at the top."""
    *outer, name = path.split(".")

    def change(content: dict[str, Any]) -> None:
        place = content if not outer or outer[0] in content else content["config"]
        for one in outer:
            place = place[one]
        place[name] = value

    return change


def _figures(content: dict[str, Any]) -> None:
    inner = next(v for v in content.values() if isinstance(v, dict)) if content else content
    inner["../../outside/victim.png"] = next(iter(inner.values()), "x")
    content["../../outside/victim.png"] = next(iter(content.values()), "x")


def _record_links(to: str) -> Plant:
    def plant(folder: Path) -> None:
        path = record_of(folder)
        path.unlink()
        path.symlink_to(path.name if to == "itself.json" else to)

    return plant


def _for_record(kind: Callable[[str], Plant]) -> Plant:
    def plant(folder: Path) -> None:
        kind(record_of(folder).relative_to(folder).as_posix())(folder)

    return plant


def _twice(folder: Path) -> None:
    path = record_of(folder)
    path.write_text('{"status": "failed",' + path.read_text().lstrip().removeprefix("{"))


def _litter(number: int) -> Plant:
    def plant(folder: Path) -> None:
        for i in range(number):
            (folder / "results" / "records" / f"file{i}").touch()

    return plant


def _deep_folders(folder: Path) -> None:
    place = folder / "results" / "records"
    os.makedirs(place / "/".join(["d"] * 900))
    (place / "/".join(["d"] * 900) / "x.json").write_text("{}")


def _gone(where: str) -> Plant:
    return lambda folder: (folder / where).unlink()


def _nested(levels: int) -> Any:
    found: Any = []
    for _ in range(levels):
        found = [found]
    return found


def _saved(content: Any) -> Plant:
    return lambda folder: checkpoint.save(folder / "final_model.pt", content)


def _model(**changes: Any) -> dict[str, Any]:
    """A checkpoint's content whose configuration is changed."""
    from harness import presets

    config = presets.run("smoke").model_dump(mode="json")
    config["train"]["dtype"] = changes.pop("dtype", "fp32")
    config["model"].update(changes)
    return {"model": {"embedding.weight": torch.zeros(3, 3)}, "config": config, "key": "x"}


def _many(number: int) -> dict[str, torch.Tensor]:
    one = torch.zeros(1)
    return {f"t{i}": one for i in range(number)}


def _zip_bomb(where: str) -> Plant:
    """An archive whose one entry is 4 GB of zeros, sealed as ours are."""
    from harness.train import seal

    def plant(folder: Path) -> None:
        path = folder / where
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("x/data.pkl", "x/version"):
                with archive.open(name, "w", force_zip64=True) as file:
                    for _ in range(2000 if name.endswith("pkl") else 0):
                        file.write(bytes(10**6))
        path.write_bytes(seal.close(path.read_bytes()))

    return plant


def _safetensors(header: dict[str, Any]) -> bytes:
    said = json.dumps(header).encode()
    return len(said).to_bytes(8, "little") + said


def _weights(value: float) -> Plant:
    def plant(folder: Path) -> None:
        path = folder / "model" / "model.safetensors"
        found = {n: torch.full_like(t, value) for n, t in safetensors.torch.load_file(path).items()}
        safetensors.torch.save_file(found, path, {"format": "pt"})

    return plant
