"""Conversations with tools, names and settings of a template: transformers' text, tokens and mask,
or left out with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.commands.data_sft import Options, data_sft
from harness.data import rows, tokenizer
from harness.data.chat import ChatFormat
from harness.data.talks import Talk, talk
from harness.errors import RequestError
from tests.data.conftest import texts

HERMES = """
{%- if tools %}{{- '<|im_start|>system\\n' }}{% for tool in tools %}{{- tool | tojson + '\\n' }}
{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}«{%- if m.content %}{{- m.content }}{%- endif %}
        {%- for call in m.tool_calls or [] %}
            {{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- call.function.arguments | tojson + '}\\n</tool_call>' }}
        {%- endfor %}{{- '<|im_end|>' }}»{{- '\\n' }}
    {%- elif m.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + m.content }}
        {{- '\\n</tool_response><|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + m.role + (' name=' + m.name if m.name else '') + '\\n' }}
        {{- m.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
{%- if no_thinking %}{{- '/no_think' }}{%- endif %}
"""
"""Calls behind the content, between tags; what tools say in the user's turn."""
HEADERS = """
{%- for m in messages %}
    {%- if m.role in ('tool', 'ipython') %}
        {{- '<|im_start|>ipython\\n' }}
        {{- (m.content | tojson) + '<|im_end|>' }}
    {%- elif 'tool_calls' in m %}
        {{- '<|im_start|>assistant\\n' }}«{{- '{"name": "' + m.tool_calls[0].function.name }}
        {{- '", "parameters": ' + (m.tool_calls[0].function.arguments | tojson) + '}<|im_end|>' }}»
    {%- elif m.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}«{{- m.content + '<|im_end|>' }}»
    {%- else %}
        {%- if loop.first and tools %}{{- tools | tojson(indent=4) }}{%- endif %}
        {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
"""A call stands for the whole turn; what tools say is written as JSON."""
CALLED = """
{{- bos_token }}{%- for m in messages %}
    {%- if m.role == 'user' %}
        {%- if tools and loop.last %}{{- '[TOOLS]' + (tools | tojson) + '[/TOOLS]' }}{%- endif %}
        {{- '[INST] ' + m.content + '[/INST]' }}
    {%- elif m.tool_calls is defined %}
        «{{- '[CALLS] ' + (m.tool_calls | tojson) + eos_token }}»
    {%- elif m.role == 'assistant' %}«{{- ' ' + m.content + eos_token }}»
    {%- elif m.role == 'tool' %}{{- '[RESULTS] ' + m.content + '[/RESULTS]' }}
    {%- endif %}
{%- endfor %}
"""
"""Nothing asks for an answer; tools stand before the last question."""
TOOLS = [{"type": "function", "function": {"name": "f", "description": "é <b>", "parameters": {
    "type": "object", "properties": {"x": {"type": "integer"}}}}}]  # fmt: skip
ASK = {"role": "user", "content": "ask <b>?"}
DONE = {"role": "assistant", "content": "done"}


def call(**arguments: Any) -> dict[str, Any]:
    made = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [made]}


def result(words: str) -> dict[str, Any]:
    return {"role": "tool", "content": words, "name": "f", "tool_call_id": "c1"}


ROWS: list[dict[str, Any]] = [
    {"messages": [ASK, call(x=1), result('{"a": "1\n"}'), DONE], "tools": TOOLS},
    {"messages": [ASK, call(x=None), result("yes"), DONE], "tools": json.dumps(TOOLS)},
    {"messages": [ASK | {"name": "Ann"}, DONE], "tools": None},
    {"messages": [ASK, DONE], "tools": TOOLS, "chat_template_kwargs": {"no_thinking": True}},
    {"messages": [ASK, call(x=[1, "é"])], "tools": TOOLS},
    {"messages": [ASK, DONE | {"content": "so"}, ASK, call(), result("x"), DONE]},
]


def _folder(place: Path, template: str, *, tagged: bool) -> Path:
    place.mkdir()
    tokenizer.save(tokenizer.fit(texts(50, seed=1), 400), place, 4096)
    tags = ("{%- generation %}", "{%- endgeneration %}") if tagged else ("", "")
    (place / "chat_template.jinja").write_text(template.replace("«", tags[0]).replace("»", tags[1]))
    return place


@pytest.mark.parametrize("template", [HERMES, HEADERS, CALLED], ids=["hermes", "headers", "called"])
def test_what_tools_are_asked_and_say_is_transformers(tmp_path: Path, template: str) -> None:
    """With tags the mask is theirs; without, that of the same template with tags."""
    import transformers

    tagged = _folder(tmp_path / "tagged", template, tagged=True)
    peer = transformers.AutoTokenizer.from_pretrained(tagged)
    plain = _folder(tmp_path / "plain", template, tagged=False)
    followed, refused = 0, []
    for row in ROWS:
        found = talk(dict(row))
        assert isinstance(found, Talk)
        tools = json.loads(json.dumps(row.get("tools")))
        theirs = peer.apply_chat_template(
            row["messages"], tools=json.loads(tools) if isinstance(tools, str) else tools,
            return_dict=True, return_assistant_tokens_mask=True,
            **row.get("chat_template_kwargs", {}),
        )  # fmt: skip
        for place in (tagged, plain):
            try:
                ours = ChatFormat(place).encode(found.messages, found.given)
            except RequestError as error:
                refused.append((place, str(error)))
                continue
            followed += 1
            assert ours.tokens.tolist() == theirs["input_ids"]
            assert ours.scored.astype(int).tolist() == theirs["assistant_masks"], row
    # Tools that stand before the last question alone move when more is said.
    assert followed == (9 if template is CALLED else 12)
    for where, why in refused:
        assert where is plain
        assert "writes a turn with tools otherwise" in why


def test_fields_that_a_table_fills_up_are_no_fields(tmp_path: Path) -> None:
    """Parquet gives every message the fields of all; nulls of JSON's own lines stay."""
    table = [{"messages": [ASK, call(x=1), result("y"), DONE], "tools": TOOLS}]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text(json.dumps(table[0]))
    found = [
        talk(next(iter(rows.read(tmp_path / name, "messages+tools"))).value)
        for name in ("a.parquet", "a.jsonl")
    ]
    assert found[0] == found[1]


def test_where_the_template_knows_no_tools_rows_are_counted(tmp_path: Path) -> None:
    """Whatever their number: no row of them is a fault."""
    place = tmp_path / "plain"
    place.mkdir()
    tokenizer.save(tokenizer.fit(texts(50, seed=1), 400), place, 64)
    strict = (
        "{% for m in messages %}{% if m.role in ('user', 'assistant') %}{{ '<|im_start|>' + m.role"
        " + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    )
    (place / "chat_template.jinja").write_text(strict)
    good = [{"messages": [{"role": "user", "content": f"q {i}"}, DONE]} for i in range(40)]
    odd = [ROWS[0]] * 40 + [{"messages": [ASK, result("lost"), DONE]}] * 40 + [ROWS[5]] * 5
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in odd + good))
    data_sft(Options(out=tmp_path / "out", datasets=[str(path)], tokenizer=str(place), seq_len=64))
    said = json.loads((tmp_path / "out" / "preparation.json").read_text())["sources"][0]
    assert said["left_out"] == {
        "with tools, which the chat template does not write": 40,
        "with tool_calls, which the chat template does not write": 5,
        "with tools, not taken by the chat template: does not write what the tool says": 40,
    }
    assert said["conversations"] + said["validation"] == 40
