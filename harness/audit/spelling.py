"""Text as pages print it, in one form: minus signs, spaces, powers of ten, spelt-out numbers.

Changes how numbers are written and never what they are. May know nothing of quantities or claims.
"""

from __future__ import annotations

import re

_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SIGNS = str.maketrans({
    "−": "-", "‑": "-", "‐": "-", "∼": "~", "～": "~", "％": "%", "’": "'", "µ": "u", "μ": "u",
    "⩽": "≤", "⩾": "≥", "⨯": "×", "✕": "×", "⋅": "·",
})  # fmt: skip
_GROUP = r"(?<=\d)[\u2007\u2008\u2009\u200a\u202f\u00a0'](?=\d{3}(?!\d))"
"""What groups three digits beside a comma: thin and fixed spaces, an apostrophe."""
_SPACED = re.compile(r"(?<![\d.,_])\d{1,3}(?: \d{3})+(?![\d_]|[.,]?\d)")
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SPELT = {
    **{word: number for number, word in enumerate(_ONES)},
    **{word: 20 + 10 * i for i, word in enumerate(_TENS)},
    **{
        f"{ten}-{_ONES[one]}": 20 + 10 * i + one
        for i, ten in enumerate(_TENS) for one in range(1, 10)
    },
}  # fmt: skip
_WORD = re.compile(rf"(?i)\b(?:{'|'.join(sorted(_SPELT, key=len, reverse=True))})\b")
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
_MEMORY = re.compile(
    r"(?<![A-Z])([A-Z]{1,3}\d{1,4}[A-Za-z]?)(?:(?:[- ](?:SXM\d?|PCIe|NVL))?[- ]\d{2,3} ?GB?\b"
    r"|[- ](?:SXM\d?|PCIe|NVL)\b)"
)
"""A device's name with its memory or its socket, as in "A100-SXM4-80GB"."""


def plain(text: str) -> str:
    """Text with its signs, powers of ten, groups of digits and spaces in one form; quotes too."""
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+", lambda raised: f"^{raised[0].translate(_RAISED)}", text)
    text = re.sub(_GROUP, ",", text.translate(_SIGNS))
    text = re.sub(r"(?<!\d)10\*\*(?=[+-]?\d)", "10^", text)
    text = re.sub(r"(?<=[A-Za-z])[ ·]s\^-1\b", "/s", text)
    return " ".join(text.split())


def of_number(text: str) -> str:
    """The plain form of a text that is one printed number, whose words may be taken as they are:
    "one hour", "1 000 000", "US$72", "62.5% (± 0.4)", "A100-40G GPU"."""
    text = spelt_out(joined(plain(text)))
    text = re.sub(r"^[–—](?=\s*[\d.$€£¥])", "-", text)
    text = re.sub(r"\bUS\$", "$", text)
    text = re.sub(r"\b(USD|EUR|GBP|JPY) ?(?=[\d.])", lambda money: _SYMBOLS[money[1]], text)
    text = re.sub(r"\s*\(\s*((?:±|\+/-)[^()]*)\)", r" \1", text)
    text = re.sub(r"\b(RTX|GTX|TPU) (?=v?\d)", r"\1", text)
    return _MEMORY.sub(r"\1", text)


def joined(text: str) -> str:
    """ "1 000 000" as one number; of a quote it is one of two readings."""
    return _SPACED.sub(lambda number: number[0].replace(" ", ","), text)


def spelt_out(text: str) -> str:
    """ "eight GPUs" with digits."""
    return _WORD.sub(lambda word: str(_SPELT[word[0].lower()]), text)
