"""What lm-evaluation-harness's tasks ask of a folder: as its own `HFLM` answers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from harness.data.tokens import END_OF_TEXT
from tests.cases.test_folders import byte_level, folder
from tests.e2e.test_tasks import instances, ours, theirs

STOPS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no stops": {"until": []},
    "one": {"until": "e"},
    "several": {"until": ["zzz", " t", "e", ""]},
    "a special token": {"until": ["<|im_start|>"]},
    "a special token and others": {"until": ["\n\n", "<|im_start|>", "zzz"]},
    "the end": {"until": [END_OF_TEXT]},
    "not sampled, with a temperature": {"do_sample": False, "temperature": 0.7},
    "of no temperature": {"temperature": 0.0},
    "sampling left open": {"do_sample": None},
    "another bound": {"until": ["zzz"], "max_tokens": 7},
}


@pytest.fixture(scope="module")
def speaks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says special tokens in the middle of its text."""
    place = folder(tmp_path_factory.mktemp("speaks") / "model", byte_level)
    model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    said = model.generate(torch.tensor([[1, 40, 41]]), max_new_tokens=12, do_sample=False)[0]
    with torch.no_grad():  # <|im_start|> in the place of a token that it says
        model.lm_head.weight[1] = 1.05 * model.lm_head.weight[said[7]]
    model.save_pretrained(place)
    return place


def test_a_task_may_stop_at_special_tokens_and_several_texts(speaks: Path) -> None:
    mine, peer = ours(speaks), theirs(speaks)
    differ = set()
    for name, settings in STOPS.items():
        for text in ("global with return", "not", "the\nline "):
            one = instances("generate_until", [(text, {"max_gen_toks": 24, **settings})])
            if "max_tokens" in settings:
                one[0].arguments[1].pop("max_gen_toks")
            said = mine.generate_until(one)
            assert said == peer.generate_until(one), (name, text)
            differ.add(said[0])
    assert len(differ) > 4


TALKS = [
    [{"role": "user", "content": "How many?"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How many?"}],
    [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "The answer is "}],
    [{"role": "system", "content": "Be."}, {"role": "user", "content": "How many?"},
     {"role": "assistant", "content": "It"}],
]  # fmt: skip
TURN = "<|im_start|>{{ m.role }}\n{{ CONTENT }}<|im_end|>\n"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


@pytest.mark.parametrize("content", ["m.content", "m.content | trim"])
@pytest.mark.parametrize("refuses", [True, False])
def test_a_task_writes_conversations_as_hflm_does(
    speaks: Path, content: str, *, refuses: bool
) -> None:
    """Also where the assistant has begun already, and where the template takes no system turn."""
    no = "{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    turn = (no if refuses else "") + TURN.replace("CONTENT", content)
    template = "{% for m in messages %}" + turn + "{% endfor %}" + ASK
    (speaks / "chat_template.jinja").write_text(template)
    mine, peer = ours(speaks), theirs(speaks)
    for talk in TALKS:
        for asks in (True, False):
            assert mine.apply_chat_template(talk, asks) == peer.apply_chat_template(talk, asks)
