"""Chat templates in any of their forms write what transformers' `apply_chat_template` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data import tokenizer
from harness.data.chat import ChatFormat
from tests.data.conftest import texts

TURN = "'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>'"
PLAIN = "{% for m in messages %}{{ " + TURN + " + '\\n' }}{% endfor %}"
SYSTEM = "{{ '<|im_start|>system\\nBe brief.<|im_end|>\\n' }}" + PLAIN
TAGGED = """
{%- for m in messages %}
    {%- if m['role'] == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
        {{- m['content'] + '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
JSON = "{{ '<|im_start|>system\\n' + ({'<é>': ['&']} | tojson) + '<|im_end|>\\n' }}" + PLAIN
TALK = [
    {"role": "user", "content": " What? <b> "},
    {"role": "assistant", "content": "A tag.\n"},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "Yes."},
]


@pytest.mark.parametrize(
    ("field", "beside"),
    [
        (PLAIN, None), (None, SYSTEM), (PLAIN, SYSTEM), (SYSTEM, PLAIN), (TAGGED, None),
        (PLAIN, TAGGED), (JSON, None),
        ([{"name": "other", "template": PLAIN}, {"name": "default", "template": SYSTEM}], None),
        ([{"name": "default", "template": PLAIN}], SYSTEM),
    ],
)  # fmt: skip
def test_it_writes_what_transformers_writes(tmp_path: Path, field: Any, beside: Any) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tokenizer.fit(texts(50, seed=1), 400), tmp_path, 64)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"chat_template": field}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    if beside is not None:
        (tmp_path / "chat_template.jinja").write_text(beside)
    chat, peer = ChatFormat(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert chat.text(TALK) == peer.apply_chat_template(TALK, tokenize=False)
    assert chat.text(TALK[:3], prompt=True) == peer.apply_chat_template(
        TALK[:3], tokenize=False, add_generation_prompt=True
    )
    theirs = peer.apply_chat_template(
        TALK, return_dict=True, return_assistant_tokens_mask="generation" in str(beside or field)
    )
    ours = chat.encode(TALK)
    assert ours.tokens.tolist() == theirs["input_ids"]
    if "assistant_masks" in theirs:
        assert ours.scored.tolist() == [bool(one) for one in theirs["assistant_masks"]]
