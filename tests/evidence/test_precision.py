"""`dtype=auto`: what the device multiplies natively, once for all arms."""

from __future__ import annotations

import platform

import pytest

from harness import recipe
from harness.config import replace
from harness.errors import RequestError
from harness.evidence import precision
from harness.evidence.precision import Native
from harness.machine import cards, hardware
from harness.plan import runs as plan
from harness.plan.auto import Evidence
from harness.presets import run
from harness.report.views.scope import _compute
from tests.plan import making
from tests.plan.test_runs import of
from tests.report import factory

HAS, LACKS = Native(True, "it has them"), Native(False, "it lacks them")
DTYPES = recipe.Axis("dtype", ["train.dtype"], {"wide": "fp32", "narrow": "bf16"})


def make(asked: str | recipe.Entry, native: Native, **overrides: object) -> plan.Plan:
    found = recipe.find(asked) if isinstance(asked, str) else asked
    return making.make(
        found, "smoke", "cpu", overrides=overrides, tokenizer_digest=lambda data: "t",
        device_class="a CPU", evidence=Evidence(native=lambda: native),
    )  # fmt: skip


def entry(axis: recipe.Axis) -> recipe.Entry:
    primary = recipe.Primary(metric="val_loss", at="tokens", pairs=())
    built = of(run("smoke"), [axis])
    return recipe.Entry("some", primary, {"smoke": 1}, lambda scale: built, "Some recipe.")


def precisions(made: plan.Plan) -> set[tuple[str, str]]:
    return {(c.train.dtype, c.optim.muon_ns_dtype) for c in made.configs}


def test_the_plan_resolves_auto_once_and_keys_know_it():
    native, emulating = make("dense_vs_moe", HAS), make("dense_vs_moe", LACKS)
    assert precisions(native) == {("bf16", "bf16")}
    assert precisions(emulating) == {("fp32", "fp32")}
    assert emulating.choices["train.dtype"] == "fp32: it lacks them"
    assert not {r.key for r in native.runs} & {r.key for r in emulating.runs}
    named = {"train.dtype": "bf16", "optim.muon_ns_dtype": "bf16"}
    explicit = make("dense_vs_moe", LACKS, **named)
    assert [r.key for r in explicit.runs] == [r.key for r in native.runs]
    assert explicit.choices == {}


def test_the_card_says_what_auto_became():
    (record, *_) = factory.campaign("smoke", 1)
    assert _compute(record) == "bf16, eager, 1 thread"
    wide = {"train": record.config["train"] | {"dtype": "fp32"}}
    other = record.model_copy(update={"config": record.config | wide})
    assert _compute(other) == "fp32, Newton-Schulz in bf16, eager, 1 thread"


def test_an_arm_that_names_a_precision_keeps_it():
    made = make(entry(DTYPES), LACKS)
    assert {a.name: a.config.train.dtype for a in made.arms} == dict(DTYPES.values)
    assert {a.config.optim.muon_ns_dtype for a in made.arms} == {"fp32"}
    itself = recipe.Axis("dtype", ["train.dtype"], {"wide": "fp32", "auto": "auto"})
    with pytest.raises(RequestError, match=r"arm 'auto': train\.dtype=auto is resolved once"):
        make(entry(itself), LACKS)


def test_torchs_muon_keeps_all_arms_at_the_only_precision_it_knows():
    made = make("optimizers", LACKS)
    assert precisions(made) == {("fp32", "bf16")}
    assert "torch-muon knows no other" in made.choices["optim.muon_ns_dtype"]
    with pytest.raises(RequestError, match="bf16 alone"):
        make("optimizers", LACKS, **{"optim.muon_ns_dtype": "fp32"})


def test_bf16_where_it_is_emulated_is_one_line():
    base = run("smoke")
    config = replace(base, {"train.dtype": "bf16", "optim.muon_ns_dtype": "bf16"})
    adamw = replace(config, {"optim.name": "adamw"})
    both = "optim.muon_ns_dtype and train.dtype=bf16: it lacks them"
    assert precision.emulated([config, config], LACKS) == both
    assert precision.emulated([adamw], LACKS) == "train.dtype=bf16: it lacks them"
    wide = replace(config, {"train.dtype": "fp32", "optim.muon_ns_dtype": "fp32"})
    assert precision.emulated([wide], LACKS) is None
    assert precision.emulated([config], HAS) is None


@pytest.mark.parametrize(("has", "dtype"), [(True, "bf16"), (False, "fp32")])
def test_a_processor_that_lists_its_instructions_is_not_asked_further(monkeypatch, has, dtype):
    for name in precision.CAPS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hardware, "multiplies_bf16", lambda: has)
    monkeypatch.setattr(hardware, "instruction_set", lambda: "avx2")
    monkeypatch.setattr(precision, "_asked", lambda device: pytest.fail("a process was started"))
    found = precision.of_machine("cpu")
    assert found.dtype == dtype
    assert ("30 to 55 times" in found.why) is not has


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((12, 0), "bf16")]
)
def test_a_gpu_has_bf16_from_ampere_on(monkeypatch, capability, dtype):
    card = cards.Card("a card", 2**34, "", capability, "2.13.0", "13.0", 1, "580", "")
    monkeypatch.setattr(cards, "usable", lambda: card)
    assert precision.of_machine("cuda").dtype == dtype


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the variable is of x86")
def test_where_the_library_may_not_use_its_instructions_torch_is_asked(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    precision._asked.cache_clear()
    found = precision.of_machine("cpu")
    precision._asked.cache_clear()
    assert not found.bf16
    assert "torch has no bf16 products for this CPU" in found.why
    monkeypatch.setattr(precision.subprocess, "run", lambda *_, **__: pytest.fail("asked twice"))
    assert precision.of_machine("cpu") == found  # as the cache remembers
    precision._asked.cache_clear()
