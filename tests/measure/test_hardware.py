"""A machine's kind, from what the system says of it."""

import platform

import pytest

from harness.measure.hardware import described

TEXT = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: {family}
model\t\t: {model}
model name\t: {name}
flags\t\t: fpu avx2 avx512f avx512_bf16

processor\t: 1
cpu family\t: 99
model name\t: another
flags\t\t: amx_bf16
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AMD EPYC", "AMD EPYC family 26 model 2"),
        ("AMD EPYC 9555  64-Core Processor", "AMD EPYC 9555 64-Core Processor"),
    ],
)
def test_a_hidden_product_is_told_apart_by_family_and_model(name: str, expected: str) -> None:
    text = TEXT.format(family=26, model=2, name=name)
    assert described(text) == (expected, "avx512_bf16")


def test_a_processor_that_says_nothing_still_has_a_name() -> None:
    model, isa = described("processor\t: 0\nFeatures\t: fp asimd\n")
    assert model
    assert isa == "asimd"
    assert described("")[1] == platform.machine()
