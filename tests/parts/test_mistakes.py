"""Mistakes in a part of one's own are one line that names the file and the line at fault."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import presets
from harness.config import replace
from harness.errors import RequestError
from harness.parts import probe
from harness.parts import settle as room
from models import own
from models.own import Fault

LION = """\
import torch

class Lion(torch.optim.Optimizer):
    def __init__(self, groups, lr, mix=0.9):
        super().__init__(groups, dict(lr=lr, mix=mix))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - group["mix"])
                p.sub_(group["lr"] * m.sign())
"""
SQUARE = """\
import torch

class Square(torch.nn.Module):
    def __init__(self, config, multiple=4):
        super().__init__()
        self.up = torch.nn.Linear(config.width, multiple * config.width, bias=False)
        self.down = torch.nn.Linear(multiple * config.width, config.width)
        self.gain = torch.nn.Parameter(torch.full((), 0.5))

    def forward(self, x):
        return self.gain * self.down(self.up(x).relu().square())
"""


def ask(kind: str, name: str, code: str, *, dtype: str = "bf16", **settings: Any) -> dict[str, Any]:
    """What the child would answer of one part."""
    base = replace(presets.run("smoke"), {
        "model.width": 32, "model.heads": 2, "model.kv_heads": 1, "model.head_dim": 16,
        "model.ffn": 64, "data.seq_len": 24, "train.dtype": dtype,
    })  # fmt: skip
    for module in [one for one in sys.modules if one.startswith("own_")]:
        del sys.modules[module]  # many texts of one name, which a child never has
    named = {f"{kind}.name": name, f"{kind}.settings": settings, f"{kind}.code": code}
    config = replace(base, named).model_dump(mode="json")
    return probe.answer({"kinds": [kind], "config": config, "wishes": {}})


def lion(code: str = LION, **settings: Any) -> dict[str, Any]:
    return ask("optim", "mine.py:Lion", code, **{"lr": 1e-3, **settings})


def square(code: str = SQUARE, **settings: Any) -> dict[str, Any]:
    return ask("model.feed_forward", "mine.py", code, **settings)


def test_a_sound_part_says_its_settings_and_is_counted():
    assert lion(mix=0.8)["changes"]["optim.settings"] == {"lr": 1e-3, "mix": 0.8}
    changes = square(multiple=2)["changes"]
    assert changes["model.feed_forward.settings"] == {"multiple": 2}
    counted = changes["model.feed_forward.counted"]
    matrices = 2 * 2 * 32 * 32
    assert counted["total"] == counted["active"] == matrices + 32 + 1
    assert counted["flops"] == 6 * matrices  # a bias and a gain are no matrix product


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    return self.gain", "    return x[:, :1] * self.gain", None),
        ("self.gain * self.down(", "self.down(", None),  # a parameter without a gradient
        ("return self.gain * self", "return (self.gain * self", r"mine\.py:11: '\(' was never"),
        ("self.gain * self.down(self.up(x)", "self.gain * self.down(self.down(x)",
         r"mine\.py:11: RuntimeError: "),
        ("self.down(self.up(x).relu().square())", "self.up(x)",
         r"mine\.py:10: gives \(2, 16, 128\).*not \(2, 16, 32\)"),
        ("relu().square()", "relu().log().square().sub(float('inf'))", r"mine\.py:11: .*NaN"),
        ("return self", "y = (x - x) / 0\n        return y + self", r"mine\.py:11: .*makes NaN"),
        ("self.up(x)", "self.up(x.cumsum(1).flip(1))", r"mine\.py:10: a token's .* later tokens"),
        ("import torch\n", "import torch\nimport torhc\n", r"mine\.py:2: ModuleNotFoundError"),
        ("self.up(x)", "self.upp(x)", r"mine\.py:11: AttributeError: .*upp"),
        ("return self", "torch.ones(3).view(2)\n        return self", r"mine\.py:11: RuntimeError"),
        ("def forward", "def forwards", r"mine\.py:3: NotImplementedError: .*forward"),
        ("(torch.nn.Module)", "(dict)", r"mine\.py:6: AttributeError|mine\.py:3: gives Square"),
        ("class Square", "def other():\n    pass\n\nclass Square", None),
        ("class Square", "class Other:\n    pass\n\nclass Square", r"mine\.py:1: name one of its"),
        ("self.up(x).relu().square()", "(self.up(x) * 0).sqrt()",
         r"mine\.py:11: backward: .* not finite"),
        ("self.up(x).relu().square()", "self.up(x).sigmoid_().square().sigmoid_().mul_(2)",
         r"mine\.py:11: backward: RuntimeError: one of the variables"),
        ("    def forward", "    @torch.no_grad()\n    def forward", r"mine\.py:10: none of its"),
        ("self.up(x)", "self.up(x.flip(0))", r"mine\.py:10: a sequence's result"),
        ("self.up = torch.nn.Linear(config.width, multiple * config.width, bias=False)",
         "self.up = [torch.nn.Linear(32, 128)][0].__call__; self.all = [torch.nn.Linear(32, 128)]",
         r"mine\.py:6: self\.all is a list or dict .*torch\.nn\.ModuleList"),
        ("torch.nn.Parameter(torch.full((), 0.5))", "torch.ones((), requires_grad=True)",
         r"mine\.py:8: self\.gain is a tensor .*torch\.nn\.Parameter"),
        ("self.gain * self", "torch.ones(16, 1).to(x) * self", r"mine\.py:11: .*must match"),
        ("    def forward", "    def roles(self):\n        return {'upp.weight': 'matrix'}\n\n"
         "    def forward", r"mine\.py:10: .* no parameter 'upp\.weight'; did you mean 'up\."),
        ("    def forward", "    def roles(self):\n        return {'up.weight': 'matrx'}\n\n"
         "    def forward", r"mine\.py:10: 'up\.weight' has no role 'matrx'; did you .*'matrix'"),
        ("        return self", "        raise SystemExit(4)\n        return self",
         r"mine\.py:11: SystemExit: 4"),
        ("self, config, multiple=4", "self", r"mine\.py:3: is called with the model's"),
    ],
)  # fmt: skip
def test_mistakes_in_a_feed_forward(old: str, new: str, said: str | None) -> None:
    assert old in SQUARE
    code = SQUARE.replace(old, new, 1)
    if said is None:
        square(code)
        return
    with pytest.raises(Fault, match=said) as caught:
        square(code)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("class Lion", "class Loin", r"mine\.py:3: no class .* 'Lion'; did you mean 'Loin'"),
        ("def step", "def steps", r"mine\.py:\d+: NotImplementedError"),
        ("group[\"mix\"]", "group[\"mxi\"]", r"mine\.py:12: KeyError: 'mxi'"),
        ("m.sign()", "m / (m - m)", r"mine\.py:13: .* makes infinite"),
        ("dict(lr=lr, mix=mix)", "dict(rate=lr, mix=mix)", r"mine\.py:3: its groups need `lr`"),
        ("super().__init__(groups", "super().__init__(groups[:1]", r"mine\.py:3: leaves out"),
        ("(torch.optim.Optimizer)", "", r"mine\.py:5: TypeError"),
        ("groups, lr", "lr, groups", r"mine\.py:3: 'lr' stands where the list of parameter groups"),
        ("        for group in self", "        return\n        for group in self",
         r"mine\.py:7: 2 steps change no weight"),
        ("p.sub_(", "p.data = p.data.double().sub_(", r"mine\.py:3: .*float64, which was"),
        ("m = self", "self.state[p]['f'] = print\n                m = self",
         r"mine\.py:3: .*state cannot be kept in a checkpoint"),
        ("class Lion", "Lion = 3\n\nclass Loin", r"mine\.py:3: it is int, neither class nor"),
    ],
)  # fmt: skip
def test_mistakes_in_an_optimizer(old: str, new: str, said: str) -> None:
    assert old in LION
    with pytest.raises(Fault, match=said) as caught:
        lion(LION.replace(old, new, 1))
    assert "\n" not in str(caught.value)


def test_a_setting_that_is_not_there_or_not_given():
    said = r"^mine\.py:3: optim\.settings\.mx: mine.py:Lion .* mean 'mix'"
    with pytest.raises(RequestError, match=said):
        lion(mx=0.8)
    with pytest.raises(Fault, match=r"mine\.py:3: needs a value for optim\.settings\.lr"):
        ask("optim", "mine.py:Lion", LION)


def test_installed_libraries_and_functions_are_parts_too():
    here = own.installed_version("torch.optim")
    found = ask("optim", "torch.optim:NAdam", here, lr=1e-3)["changes"]["optim.settings"]
    assert found["betas"] == [0.9, 0.999]
    two = (
        "import torch\ndef two(parameters, roles, lr):\n"
        "    flat = [p for n, p in parameters.items() if roles[n].kind == 'norm']\n"
        "    rest = [p for n, p in parameters.items() if roles[n].kind != 'norm']\n"
        "    return {'a': torch.optim.SGD(flat, lr=lr), 'b': torch.optim.AdamW(rest, lr=lr)}\n"
    )
    assert ask("optim", "two.py", two, lr=0.1)["changes"]["optim.settings"] == {"lr": 0.1}
    with pytest.raises(Fault, match=r"torch\.optim has no 'NAdm'; did you mean"):
        ask("optim", "torch.optim:NAdm", here, lr=1e-3)


def test_what_torch_cannot_count_is_not_known():
    if not hasattr(torch.ops.own_test, "double"):
        torch.library.define("own_test::double", "(Tensor x) -> Tensor")
        torch.library.impl("own_test::double", "CompositeExplicitAutograd", lambda x: x * 2)
    code = SQUARE.replace("self.up(x)", "self.up(x + torch.ops.own_test.double(x.detach()))")
    counted = square(code)["changes"]["model.feed_forward.counted"]
    assert counted["flops"] is None
    assert "own_test.double" in counted["reason"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(
            "import ctypes; ctypes.string_at(0)",
            r"^mine\.py:9: it ended its process by SIGSEGV",
            marks=pytest.mark.slow,
        ),
        ("while True: pass", r"^mine\.py:9: TimeoutError: it had not ended after 1 s"),
    ],
)
def test_a_part_that_ends_or_holds_its_process_is_named(
    line: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SMOL_CACHE", str(tmp_path))
    monkeypatch.setattr(room, "CPU_SECONDS", 1.0)
    code = LION.replace("        for group", f"        {line}\n        for group", 1)
    config = replace(presets.run("smoke"), {
        "optim.name": "mine.py:Lion", "optim.code": code, "optim.settings": {"lr": 1e-3},
        "train.dtype": "fp32",
    })  # fmt: skip
    with pytest.raises(RequestError, match=said):
        room.settle(config, (), {})


def test_of_a_child_that_ends_without_a_word_the_parts_place_is_said():
    config = replace(presets.run("smoke"), {"optim.name": "mine.py:Lion", "optim.code": LION})
    question = {"kinds": ["optim"], "config": config.model_dump(mode="json")}
    assert room._ended(question, 0, "") == (
        "mine.py:3: it ended its process with code 0: it said nothing"
    )
    hung = f'Timeout (0:04:55)!\nThread 1:\n  File "{own.MARK}mine.py", line 12 in step\n'
    assert room._ended(question, 1, hung) == "mine.py:12: it had not ended after 295 s"


def test_lists_that_only_repeat_what_torch_sees_are_no_mistake():
    square(SQUARE.replace("self.gain =", "self.both = [self.up, self.down]\n        self.gain ="))
