"""Chat templates in any of their forms write what transformers' `apply_chat_template` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data import tokenizer
from harness.data.chat import ChatFormat
from harness.data.template import Template
from harness.errors import RequestError
from tests.cases.families import FAMILIES, Family
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


NAMED = {"default.jinja": PLAIN, "rag.jinja": SYSTEM}
IMAGE = "{{ image_token }}{{ video_token }}" + PLAIN


@pytest.mark.parametrize(
    ("files", "settings"),
    [
        (NAMED, {}), (NAMED, {"chat_template": SYSTEM}),
        (NAMED | {"../chat_template.jinja": SYSTEM}, {}),
        ({"rag.jinja": SYSTEM, "../chat_template.jinja": PLAIN}, {}),
        ({"rag.jinja": SYSTEM}, {"chat_template": PLAIN}),
        ({}, {"chat_template": {"default": PLAIN, "rag": SYSTEM}}),
        ({}, {"chat_template": [{"name": "default", "template": one} for one in (SYSTEM, PLAIN)]}),
        ({}, {"chat_template": [{"name": "rag", "template": PLAIN}]}),
        ({}, {"chat_template": IMAGE, "video_token": "<|im_start|>",
              "extra_special_tokens": {"image_token": "<|im_end|>"}}),
    ],
)  # fmt: skip
def test_several_templates_and_tokens_of_other_names(
    tmp_path: Path, files: dict[str, str], settings: dict[str, Any]
) -> None:
    """The template that transformers takes, also from a copy of the folder; or one line."""
    import transformers

    from harness.data.given import install

    tokenizer.save(tokenizer.fit(texts(50, seed=1), 400), tmp_path, 64)
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    path = tmp_path / "tokenizer_config.json"
    content = json.loads(path.read_text())
    content.pop("chat_template", None)
    path.write_text(json.dumps(content | settings))
    (tmp_path / "additional_chat_templates").mkdir()
    for name, text in files.items():
        (tmp_path / "additional_chat_templates" / name).write_text(text)
    peer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    try:
        theirs = peer.apply_chat_template(TALK, tokenize=False)
    except ValueError:
        with pytest.raises(RequestError, match="none is called 'default'"):
            Template(tmp_path)
        return
    copy = tmp_path / "copy"
    copy.mkdir()
    install(tmp_path, copy)
    for place in (tmp_path, copy):
        assert Template(place).render(TALK)[0] == theirs


def _turns(before: str, after: str) -> str:
    return (
        "{% for m in messages %}{{ " + before + " }}{{ m['content'] + '<|im_end|>' }}{{ " + after
        + " }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )  # fmt: skip


ROLE = "'<|im_start|>' + m['role'] + '\\n'"
FORMS = {
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
REFUSED = {"another end"}
TALKS = (TALK, [{"role": "system", "content": "Be kind."}, *TALK[2:]], TALK[2:])


@pytest.mark.parametrize("family", FORMS)
def test_a_form_of_template_is_transformers_or_one_line(tmp_path: Path, family: str) -> None:
    """What a template does to tokens is found by asking it, so its form must not matter."""
    import transformers

    tokenizer.save(tokenizer.fit(texts(50, seed=1), 400), tmp_path, 64)
    (tmp_path / "chat_template.jinja").write_text(FORMS[family])
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
        answers = [m["content"] for m in talk if m["role"] == "assistant"]
        if family == "trims":
            answers = [one.strip() for one in answers]
        said = [one + "<|im_end|>" for one in answers]
        assert chat.special.decode(
            ours.tokens[ours.scored].tolist(), skip_special_tokens=False
        ) == "".join(said)


def _turn(role: str, content: str, **more: str) -> dict[str, str]:
    return {"role": role, "content": content, **more}


EXCHANGES = [
    [_turn("user", "What is a <b>?"), _turn("assistant", "A tag. 🙂")],
    [_turn("user", " Sure ?\n"), _turn("assistant", "\nYes: 12 + 3.\n\n  Done. ")],
    [_turn("user", "é"), _turn("assistant", "")],
    [_turn("user", "Why?"), _turn("assistant", "<think>\nHm, let me see.\n</think>\n\nSo.")],
]
SPOKEN = [
    EXCHANGES[0],
    [_turn("system", " Be brief. "), *EXCHANGES[0]],
    [*EXCHANGES[0], *EXCHANGES[1]],
    [*EXCHANGES[1], *EXCHANGES[2], *EXCHANGES[0]],
    [*EXCHANGES[3], *EXCHANGES[0]],
    [*EXCHANGES[0], *EXCHANGES[3]],
    [*EXCHANGES[3], *EXCHANGES[3]],
]


DROPS_SYSTEM = {"mistral-v3"}
"""Writes it only where the user speaks last: what it would cost is refused."""


def _folder(place: Path, family: Family, *, tagged: bool) -> Path:
    place.mkdir()
    names = dict.fromkeys(("<|endoftext|>", family.bos, family.eos, *family.special))
    fitted = tokenizer.fit([*texts(50, seed=1), *(m["content"] for t in SPOKEN for m in t)], 420)
    fitted.add_special_tokens(list(names))
    tokenizer.save(fitted, place, 64)
    path = place / "tokenizer_config.json"
    own = {"bos_token": family.bos, "eos_token": family.eos, "chat_template": "older"}
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    (place / "chat_template.jinja").write_text(family.source(tagged=tagged))
    return place


@pytest.mark.parametrize("name", FAMILIES)
def test_a_familys_text_tokens_and_mask_are_transformers(tmp_path: Path, name: str) -> None:
    """With tags, the mask is theirs. Without, it is the one that they give for the same template
    with tags around what the assistant says and the end of its turn."""
    import transformers

    family = FAMILIES[name]
    tagged = _folder(tmp_path / "tagged", family, tagged=True)
    peer = transformers.AutoTokenizer.from_pretrained(tagged)
    chats = [ChatFormat(tagged), ChatFormat(_folder(tmp_path / "plain", family, tagged=False))]
    for talk in SPOKEN if family.system else [t for t in SPOKEN if t[0]["role"] != "system"]:
        theirs = peer.apply_chat_template(talk, return_dict=True, return_assistant_tokens_mask=True)
        prompt = peer.apply_chat_template(talk[:-1], add_generation_prompt=True)["input_ids"]
        for chat in chats:
            assert chat.text(talk) == peer.apply_chat_template(talk, tokenize=False)
            assert chat.prompt(talk[:-1]) == prompt
            if family.refused and chat is chats[1]:
                with pytest.raises(RequestError, match=family.refused):
                    chat.encode(talk)
                continue
            if name in DROPS_SYSTEM and talk[0]["role"] == "system" and chat is chats[1]:
                with pytest.raises(RequestError, match="does not write each message once"):
                    chat.encode(talk)
                continue
            ours = chat.encode(talk)
            assert ours.tokens.tolist() == theirs["input_ids"]
            assert ours.scored.astype(int).tolist() == theirs["assistant_masks"], talk
            assert ours.targets
    if not family.system:
        with pytest.raises(RequestError, match="no system turn"):
            chats[0].encode(SPOKEN[1])
