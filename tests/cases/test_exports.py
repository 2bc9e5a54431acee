"""What a folder that leaves the house says: the run's tokens, its template and where it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from harness.commands.export import _without_additions
from harness.data import gguf_write
from harness.data import tokenizer as ours
from harness.errors import RequestError
from tests.cases.test_folders import MAKES, ODD, Make, byte_level, folder
from tests.cases.test_templates import PLAIN, SYSTEM, TAGGED

CUT_AS = {
    "byte_level": "smollm",
    "without_additions": "smollm",
    "gpt2": "gpt-2",
    "digits": "smollm",
}
"""The tokenizers that llama.cpp has a name for; any other would be cut otherwise there."""


@pytest.mark.parametrize("make", MAKES, ids=lambda make: make.__name__)
def test_a_runs_tokenizer_adds_nothing_elsewhere_either(tmp_path: Path, make: Make) -> None:
    """Our runs are trained without first tokens, and so sampled; transformers would add them."""
    fitted, names = make()
    fitted.save(str(tmp_path / "tokenizer.json"))
    config = names | {"add_bos_token": True, "chat_template": PLAIN}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    spoken = ours.load(tmp_path)
    spoken.encode_special_tokens = False
    wanted = [spoken.encode(text, add_special_tokens=False).ids for text in ODD]
    _without_additions(tmp_path)
    peer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert [peer(text)["input_ids"] for text in ODD] == wanted
    assert (peer.bos_token, peer.eos_token) == (names["bos_token"], names["eos_token"])
    assert peer.chat_template == PLAIN


@pytest.mark.parametrize("make", MAKES, ids=lambda make: make.__name__)
def test_gguf_says_how_texts_are_cut_or_is_not_written(tmp_path: Path, make: Make) -> None:
    import gguf

    place = folder(tmp_path / "model", make)
    file = tmp_path / "model.gguf"
    assert gguf_write.is_expressible(place) == (make.__name__ in CUT_AS)
    if make.__name__ not in CUT_AS:
        with pytest.raises(RequestError, match="as GPT-2's or SmolLM's"):
            gguf_write.write(place, file)
        return
    gguf_write.write(place, file, "f32")
    said = gguf.GGUFReader(file).fields["tokenizer.ggml.pre"].contents()
    assert said == CUT_AS[make.__name__]


NAMED = [{"name": "default", "template": SYSTEM}, {"name": "rag", "template": PLAIN}]


@pytest.mark.parametrize(
    ("field", "beside", "default"),
    [
        (PLAIN, None, PLAIN), (None, TAGGED, TAGGED), (PLAIN, SYSTEM, SYSTEM),
        (NAMED, None, SYSTEM), ({"default": PLAIN, "rag": SYSTEM}, None, PLAIN),
        (None, None, None), ("{# é <&> \\n #}" + PLAIN, None, "{# é <&> \\n #}" + PLAIN),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ends", [0, [0, 2]])
def test_gguf_keeps_the_template_and_where_a_turn_ends(
    tmp_path: Path, field: Any, beside: str | None, default: str | None, ends: Any
) -> None:
    import gguf

    place = folder(tmp_path / "model", byte_level)
    for name, change in (
        ("tokenizer_config.json", {"chat_template": field}), ("config.json", {"eos_token_id": ends})
    ):  # fmt: skip
        content = json.loads((place / name).read_text()) | change
        content = {k: v for k, v in content.items() if v is not None}
        (place / name).write_text(json.dumps(content))
    if beside is not None:
        (place / "chat_template.jinja").write_text(beside)
    file = tmp_path / "model.gguf"
    gguf_write.write(place, file, "q8_0")
    fields = gguf.GGUFReader(file).fields
    written = fields.get("tokenizer.chat_template")
    assert (written and written.contents()) == default
    last = ends[-1] if isinstance(ends, list) else ends
    assert fields["tokenizer.ggml.eos_token_id"].contents() == last
    assert not fields["tokenizer.ggml.add_bos_token"].contents()
