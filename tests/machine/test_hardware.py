"""A machine's kind, from what the system says of it."""

import platform

import pytest

from harness.machine.hardware import described, has_bf16

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


def test_the_first_processor_counts_and_its_numbers_tell_its_generation() -> None:
    text = TEXT.format(family=26, model=2, name="AMD  EPYC")
    assert described(text) == ("AMD EPYC", "avx512_bf16", "family 26 model 2")


def test_a_processor_that_says_nothing_still_has_a_name() -> None:
    model, isa, generation = described("processor\t: 0\nFeatures\t: fp asimd\n")
    assert model
    assert (isa, generation) == ("asimd", "")
    assert described("")[1] == platform.machine()


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("flags : avx2 avx512f avx512_bf16", True),
        ("flags : avx512f amx_bf16", True),
        ("flags : avx2 avx512f avx512_vnni", False),
        ("flags : avx2", False),
        ("flags : avx2 avx_ne_convert", None),
        ("Features : fp asimd", False),
        ("Features : fp asimd bf16", None),  # what the library does with it depends on its build
        ("", None),
    ],
)
def test_bf16_is_read_off_the_instructions_or_left_open(line: str, known: bool | None) -> None:
    assert has_bf16(line) is known
