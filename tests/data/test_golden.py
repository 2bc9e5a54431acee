"""The bytes of prepared data stay what they are: one digest for each way into a prepared folder.

Records name the digest of the data that they were trained on, so a preparation that gives other
bytes for the same specification makes them incomparable. The texts are made here (a small standard
library, small wheels), so that the digests hold for every version of Python. They depend on the
version of `tokenizers` alone, whose file enters them.
"""

import io
import random
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from harness.commands import data_pretrain, data_sft
from harness.config import DataConfig, Source
from harness.data.adopted import open_folder
from harness.data.manifest import Prepared, load_folder
from harness.data.prepare import prepare
from harness.data.sources import stdlib, wheels

from .conftest import WORDS, texts, write_jsonl

DIGESTS = {
    "stdlib": "3af3bb4a36f1b1f3",
    "mixed": "a3a43bfb7f24450a",
    "wheels": "942d065ac4542767",
    "chat": "06efcea14522c884",
    "sft": "856f8265c989b3a2",
    "pretrain embedded": "81871a810b92b11f",
    "pretrain local": "8eda08b92163dea0",
    "adopted": "08eeacf92e4018bc",
    "adopted masked": "1788cbc8e61ac772",
}
"""The first digits."""
SPEC: dict[str, Any] = dict(
    seq_len=64, vocab_size=400, train_tokens=None, val_fraction=0.2, val_tokens=3000, split_seed=0
)
TEXT = (
    Source(name="prose", kind="stdlib-prose", share=0.6),
    Source(name="code", kind="stdlib-code", share=0.4),
)


def _module(number: int) -> str:
    """A module with docstrings, of which one paragraph stands in many modules."""
    rng = random.Random(number)

    def said(count: int) -> str:
        return " ".join(rng.choices(WORDS, k=count)) + "."

    shared = "This paragraph of more than eight words stands in very many modules."
    functions = "\n\n".join(
        f"def f{number}_{i}(a, b=None):\n"
        f'    """{said(12)}\n\n    {shared if i == 1 else said(40)}\n    """\n'
        f"    return [{', '.join(map(str, rng.choices(range(9), k=8)))}] + ['{said(8)}']"
        for i in range(4)
    )
    head = f'"""{said(30)}"""\n\nimport os\n\n\nclass C{number}:\n    """{said(9)}"""'
    return f"{head}\n\n\n{functions}\n"


@pytest.fixture(autouse=True)
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A standard library and wheels of our own."""
    library = tmp_path / "library"
    (library / "pydoc_data").mkdir(parents=True)
    for number in range(40):
        (library / f"m{number:02d}.py").write_text(_module(number))
    topics = {f"topic{i}": f"About {i}.\n\n" + "\n\n".join(texts(4, seed=i)) for i in range(12)}
    (library / "pydoc_data" / "topics.py").write_text(f"topics = {topics!r}\n")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(library)})
    monkeypatch.setattr(wheels, "fetch", lambda wheel, *_, **__: _wheel(tmp_path, wheel.name))
    caches = (stdlib._texts, stdlib._modules, wheels._modules)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def _wheel(folder: Path, name: str) -> Path:
    import gzip
    import json

    held: dict[str, bytes] = {}
    if name == "chatterbot_corpus":
        turns = [[text[:40], text[40:90]] for text in texts(60, seed=5)]
        lines = json.dumps({"conversations": turns})  # JSON is YAML
        held = {"chatterbot_corpus/data/english/talk.yml": lines.encode()}
    else:
        first = 100 if name == "sympy" else 200
        held = {f"{name}/m{i}.py": _module(first + i).encode() for i in range(30)}
    if name == "botocore":
        for i in range(8):
            service = {"operations": {"Go": {"documentation": f"<p>{texts(1, seed=i)[0]}</p>"}}}
            held[f"botocore/data/s{i}/2020/service-2.json.gz"] = gzip.compress(
                json.dumps(service).encode()
            )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in held.items():
            archive.writestr(member, content)
    path = folder / f"{name}.whl"
    path.write_bytes(buffer.getvalue())
    return path


def test_texts_with_a_fitted_tokenizer(tmp_path: Path) -> None:
    files = write_jsonl(tmp_path / "mine.jsonl", texts(200, seed=1))
    mine = Source(name="mine", kind="files", share=0.2, paths=(str(files),))
    shares = {0: 0.5, 1: 0.3}
    mixed = (*(one.model_copy(update={"share": shares[i]}) for i, one in enumerate(TEXT)), mine)
    _check("stdlib", prepare(DataConfig(sources=TEXT, **SPEC)))
    _check("mixed", prepare(DataConfig(sources=mixed, **{**SPEC, "train_tokens": 20_000})))
    wheel = (
        Source(name="prose", kind="wheel-prose", share=0.7),
        Source(name="code", kind="wheel-code", share=0.3),
    )
    _check("wheels", prepare(DataConfig(sources=wheel, **SPEC)))


def test_conversations(tmp_path: Path) -> None:
    import json

    lines = [
        json.dumps({"messages": [{"role": "user", "content": text[:50]},
                                 {"role": "assistant", "content": text[50:]}]})
        for text in texts(80, seed=9)
    ]  # fmt: skip
    own = tmp_path / "talks.jsonl"
    own.write_text("\n".join([*lines, '{"messages": "none"}']))
    sources = (
        Source(name="functions", kind="stdlib-functions", share=0.5),
        Source(name="chatterbot", kind="wheel-talk", share=0.2),
        Source(name="own", kind="files", share=0.3, paths=(str(own),)),
    )
    chat = {**SPEC, "format": "chat", "fitted_on": TEXT, "val_tokens": 4000}
    _check("chat", prepare(DataConfig(sources=sources, **chat)))
    fitted = prepare(DataConfig(sources=TEXT, **SPEC)).folder
    options = data_sft.Options(
        out=tmp_path / "sft", source="embedded", seq_len=128, tokenizer=str(fitted)
    )
    data_sft.data_sft(options)
    _check("sft", load_folder(options.out))


def test_streams_with_a_given_tokenizer(tmp_path: Path) -> None:
    fitted = prepare(DataConfig(sources=TEXT, **SPEC)).folder
    given: dict[str, Any] = dict(
        seq_len=64, tokenizer=str(fitted), processes=1, block_rows=32, val_tokens=2000
    )
    embedded = data_pretrain.Options(
        out=tmp_path / "embedded", target_tokens=20_000, source="embedded", **given
    )
    data_pretrain.data_pretrain(embedded)
    _check("pretrain embedded", load_folder(embedded.out))
    paths = [write_jsonl(tmp_path / f"{i}.jsonl", texts(300, seed=i)) for i in (1, 2)]
    local = data_pretrain.Options(
        out=tmp_path / "local", target_tokens=15_000, datasets=[str(path) for path in paths],
        shares=[0.7, 0.3], val_fraction=0.2, seed=3, **given,
    )  # fmt: skip
    data_pretrain.data_pretrain(local)
    _check("pretrain local", load_folder(local.out))


def test_folders_of_others(tmp_path: Path) -> None:
    rng = random.Random(2)
    rows = [[rng.randrange(300) for _ in range(32)] for _ in range(300)]
    mask = [[int(rng.random() < 0.7) for _ in range(32)] for _ in rows]
    plain = datasets.Dataset.from_dict({"input_ids": rows})
    plain.save_to_disk(str(tmp_path / "plain"))
    masked = datasets.Dataset.from_dict({"input_ids": rows, "completion_mask": mask})
    datasets.DatasetDict({"train": masked, "test": masked.select(range(40))}).save_to_disk(
        str(tmp_path / "masked")
    )
    fitted = prepare(DataConfig(sources=TEXT, **SPEC)).folder
    _check("adopted", open_folder(tmp_path / "plain"))
    _check("adopted masked", open_folder(tmp_path / "masked", tokenizer=str(fitted)))


def _check(name: str, prepared: Prepared) -> None:
    prepared.check()
    found = prepared.manifest
    assert found.train_rows > 5
    assert found.val_rows > 2
    assert found.digest[:16] == DIGESTS[name]
