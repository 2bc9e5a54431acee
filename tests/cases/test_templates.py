"""Chat templates in any of their forms write what transformers' `apply_chat_template` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data import tokenizer
from harness.data.chat import ChatFormat
from harness.errors import RequestError
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
    import transformers

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


def _turns(before: str, after: str) -> str:
    return (
        "{% for m in messages %}{{ " + before + " }}{{ m['content'] + '<|im_end|>' }}{{ " + after
        + " }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )  # fmt: skip


ROLE = "'<|im_start|>' + m['role'] + '\\n'"
FAMILIES = {
    "bos first": "{{ bos_token }}" + _turns(ROLE, "'\\n'"),
    "nothing between turns": _turns(ROLE, "''"),
    "two lines between": _turns(ROLE, "'\\n\\n'"),
    "role in brackets": _turns("'[' + m['role'] | upper + '] '", "'\\n'"),
    "names in a dict": "{% set names = {'user': 'Human', 'assistant': 'AI', 'system': 'S'} %}"
    + _turns("names[m['role']] + ': '", "'\\n'"),
    "default system": "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nHelp."
    "<|im_end|>\\n' }}{% endif %}" + _turns(ROLE, "'\\n'"),
    "namespace": "{% set ns = namespace(n=0) %}"
    + _turns("(ns.n | string) + " + ROLE, "'\\n'"),
    "macro": "{% macro head(r) %}<|im_start|>{{ r }}\n{% endmacro %}"
    + _turns("head(m['role'])", "'\\n'"),
    "eos at the end": _turns(ROLE, "eos_token if loop.last else '\\n'"),
    "whitespace control": "\n  {%- for m in messages -%}\n  {{- " + ROLE
    + " + m['content'] -}}\n  {{- '<|im_end|>' -}}\n  {%- endfor -%}\n",
    "trims": _turns(ROLE, "'\\n'").replace("m['content']", "m['content'] | trim"),
    "drops thinking": _turns(ROLE, "'\\n'").replace(
        "m['content']", "m['content'].split('</think>')[-1]"
    ),
    "another end": PLAIN.replace("<|im_end|>", "<end_of_turn>"),
    "alternation": "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + _turns(ROLE, "'\\n'"),
    "date": "{{ strftime_now('%Y') }}" + _turns(ROLE, "'\\n'"),
    "loop controls": "{% for m in messages %}{% if not m['content'] %}{% continue %}{% endif %}{{ "
    + ROLE + " + m['content'] + '<|im_end|>\\n' }}{% endfor %}",
}  # fmt: skip
REFUSED = {"trims", "another end", "date"}
TALKS = (TALK, [{"role": "system", "content": "Be kind."}, *TALK[2:]], TALK[2:])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_template_is_transformers_or_one_line(tmp_path: Path, family: str) -> None:
    """What a template does to tokens is found by asking it, so its form must not matter."""
    import transformers

    tokenizer.save(tokenizer.fit(texts(50, seed=1), 400), tmp_path, 64)
    (tmp_path / "chat_template.jinja").write_text(FAMILIES[family])
    peer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for talk in TALKS:
        if family == "alternation" and talk[0]["role"] == "system":
            continue
        refused = ""
        try:
            chat = ChatFormat(tmp_path)
            ours, text = chat.encode(talk), chat.text(talk)
        except RequestError as error:
            refused = str(error)
        if refused:
            assert family in REFUSED
            assert "\n" not in refused
            continue
        assert text == peer.apply_chat_template(talk, tokenize=False)
        assert ours.tokens.tolist() == peer.apply_chat_template(talk, return_dict=True)["input_ids"]
        said = [m["content"] + "<|im_end|>" for m in talk if m["role"] == "assistant"]
        assert chat.special.decode(
            ours.tokens[ours.scored].tolist(), skip_special_tokens=False
        ) == "".join(said)
