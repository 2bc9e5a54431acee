"""Hostile inputs that a user gives by hand: claims, texts, recipes and command lines; a family of
them a function, as in `attacks`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.survive.strangers import Plant, a_folder, both, deep, instead, nothing, pipe, sparse

Attack = tuple[Any, ...]
SHOW = ("data", "show", "data")
AUDIT = ("audit", "claims.toml")
PREPARE = ("data", "prepare", "pretrain", "--out", "made", "--target-tokens", "2000",
           "--tokenizer", "data", "--seq-len", "32", "--dataset")  # fmt: skip


def claims() -> Iterator[Attack]:
    for name, content in {
        "10^5 lists": b"a = " + deep(10**5),
        "10^5 tables": b"a = " + deep(10**5, "{a=", "}"),
        "a million digits": b"a = " + b"9" * 10**6,
        "50,000 dotted parts": b".".join([b"a"] * 50_000) + b" = 1",
        "50,000 quoted parts": b".".join([b'"a b"'] * 50_000) + b" = 1",
        "50,000 parts with blanks": b" . ".join([b"a"] * 50_000) + b" = 1",
        "a table of 50,000 parts": b"[" + b".".join([b"a"] * 50_000) + b"]",
        "10^6 keys": b"\n".join(b"k%d = 1" % i for i in range(10**6)),
        "10^5 tables of claims": b"[[claim]]\n" * 10**5,
        "no text": bytes(range(256)) * 100,
        "an open string": b'a = "' + b"x" * 10**6,
        "open quotes": b'a = """' * 10**5,
        "a date": b"a = 9999-99-99T99:99:99Z",
        "controls": b'a = "\x1b[2J\x00"',
        "control characters as escapes": b'format = 1\ntitle = "\\u001b[2J\\u202e"\n',
        "comments": b"#" * 10**7,
    }.items():
        yield name, instead(content, "claims.toml"), AUDIT
    yield "a pipe", pipe("claims.toml"), AUDIT
    yield "a terabyte", sparse("claims.toml"), AUDIT
    yield "a folder", a_folder("claims.toml"), AUDIT


def texts() -> Iterator[Attack]:
    def parquet(rows: int, size: int) -> Plant:
        def plant(folder: Path) -> None:
            same = pa.array([0] * rows, pa.int32())
            long = pa.DictionaryArray.from_arrays(same, pa.array(["x" * size]))
            pq.write_table(pa.table({"text": long}), folder / "t.parquet", row_group_size=rows,
                           store_schema=False)  # fmt: skip

        return plant

    yield "parquet: 1.5 GB in 23 KB", parquet(150_000, 10_000), (*PREPARE, "t.parquet"), 0, 2
    yield "parquet: one row of 500 MB", parquet(1, 500_000_000), (*PREPARE, "t.parquet"), 0, 2
    yield "parquet: cut off", instead(b"PAR1" + b"\xff" * 100 + b"PAR1", "t.parquet"), \
        (*PREPARE, "t.parquet")  # fmt: skip
    yield "parquet: a footer of 2 GB", instead(
        b"PAR1" + b"x" * 100 + (2**31 - 1).to_bytes(4, "little") + b"PAR1", "t.parquet"
    ), (*PREPARE, "t.parquet")  # fmt: skip
    for kind in ("t.parquet", "t.jsonl", "t.txt", "t.jsonl.gz", "t.json"):
        yield f"{kind}: a pipe", pipe(kind), (*PREPARE, kind)
        yield f"{kind}: a terabyte of nothing", sparse(kind), (*PREPARE, kind)
    line = b'{"text": "' + b"x" * 10**6 + b'"}\n'
    half = instead(lambda: b'{"text": "' + b"x" * 500_000_000 + b'"}', "t.jsonl")
    yield "a line of 500 MB", half, \
        (*PREPARE, "t.jsonl"), 0, 2  # fmt: skip
    yield "a line of a million levels", instead(deep(10**6), "t.jsonl"), (*PREPARE, "t.jsonl")
    yield "300 lines of a megabyte", instead(lambda: line * 300, "t.jsonl"), \
        (*PREPARE, "t.jsonl"), 0, 2  # fmt: skip
    yield "texts that are numbers", instead(b'{"text": 5}\n' * 10, "t.jsonl"), (*PREPARE, "t.jsonl")
    yield "texts of nothing", instead(b'{"text": ""}\n' * 10**5, "t.jsonl"), (*PREPARE, "t.jsonl")
    yield "texts of control characters", instead(
        b'{"text": "\\u001b[2J\\u202e\\u0000"}\n' * 1000, "t.jsonl"
    ), (*PREPARE, "t.jsonl"), 0, 2  # fmt: skip
    for where in ("data/manifest.json", "data/token_bytes.npy", "data/dataset/train/state.json",
                  "data/dataset/train/dataset_info.json", "data/tokenizer.json"):  # fmt: skip
        yield f"{where}: a pipe", pipe(where), SHOW, 0, 2
        yield f"{where}: a terabyte", sparse(where), SHOW, 0, 2
    yield "manifest of a million levels", instead(deep(10**6), "data/manifest.json"), SHOW
    yield "bytes a token: a header of 4 GB", instead(
        b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little"), "data/token_bytes.npy"
    ), SHOW, 0, 2  # fmt: skip
    yield "bytes a token: objects", instead(
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(127)
        + b"\n", "data/token_bytes.npy",
    ), SHOW, 0, 2  # fmt: skip


def recipes() -> Iterator[Attack]:
    # A recipe is its user's own program: what takes all memory, closes the outputs or traces the
    # interpreter ends the command that loads it, and is not tried.
    commands = (("list",), ("list", "--json"), ("show", "optimizers", "--scale", "smoke"))
    for name, text in {
        "raises": "1 / 0", "exits": "import sys; sys.exit(0)", "ends": "import os; os._exit(0)",
        "calls itself": "def f(): f()\nf()",
        "is no exception": "class E(BaseException): pass\nraise E",
        "prints": "print('{\"no\": \"JSON\"}')", "never ends": "while True: pass",
        "sleeps": "import time; time.sleep(9999)",
        "keeps a thread": "import threading, time\n"
                          "threading.Thread(target=time.sleep, args=(9999,)).start()",
        "closes stdout": "import sys\nsys.stdout.close()",
        "a list of 10^10": "x = [0] * 10**10",
        "leaves the folder": "import os\nos.chdir('/')",
        "deletes builtins": "import builtins\ndel builtins.open",
        "handles signals": "import signal\nsignal.alarm(1)",
        "exits at exit": "import atexit, os\natexit.register(os._exit, 0)",
        "forks": "import os\nos.fork()",
        "waits for input": "input()",
        "a null byte": "x = 1\x00", "a line of 1 MB": "x = '" + "y" * 10**6 + "'",
        "parentheses": "x = " + "(" * 5000 + ")" * 5000,
        "10^5 minus signs": "x = " + "-" * 10**5 + "1",
        "reads the terminal": "open('/dev/tty').read()",
        "escapes in an error": "raise ValueError('\\x1b[2J\\u202e\\n\\nsmol: all is well')",
        "an error of 10 MB": "raise ValueError('x' * 10**7)",
        "an error that cannot be said": "class E(Exception):\n"
                                        "    def __str__(self): raise self\nraise E",
    }.items():  # fmt: skip
        command = commands[len(name) % 3]
        yield f"{name}, {command[0]}", instead(text.encode(), "recipes/bad.py"), command, 0
    yield "not UTF-8", instead(b"# coding: rot13\n\xff\xfe", "recipes/bad.py"), ("list",), 0
    yield "a pipe", pipe("recipes/bad.py"), ("list",), 0
    yield "a terabyte", sparse("recipes/bad.py"), ("list",), 0
    yield "a folder", a_folder("recipes/bad.py"), ("list",), 0
    yield "one's own harness", both(
        instead(b"1/0", "harness/__init__.py"), instead(b"1/0", "json.py"),
        instead(b"1/0", "torch.py"),
    ), ("list",), 0  # fmt: skip


REFUSED = """\
data prepare sft --out nix/../o --tokenizer data
data prepare pretrain --out a/b --dataset nowhere.txt
data prepare pretrain --out data --dataset text.txt
data show results
data show text.txt
export final_model.pt a/b/c
export model results
export model /proc/x
export model /dev/null/x
report --out results
report --out /dev/null/x
card --results no/such
records clean --results no/such
records push --to nobody
run no_such
run optimizers --set a=b
run optimizers --stage x --scale smoke
run optimizers --data no/such
run optimizers --data text.txt
run optimizers --results text.txt
run optimizers --from final_model.pt --scale smoke
run optimizers --from no/such
run optimizers --launcher x
new ../x
new a/b
new optimizers
new class
launch nobody --out x/y
launch slurm --budget x --out j
referee model data --seeds 0
campaign --budget -1h
campaign --results text.txt
fetch nothing
eval model --data no/such
eval model --text x --record
eval model --suite x
bench step --model x
watch --results no/such
compare a b
trace x
audit no/such.toml"""


def refusals() -> Iterator[Attack]:
    """Exit 2 leaves nothing."""
    for line in REFUSED.split("\n"):
        words = tuple(line.split())
        yield line, nothing, words
