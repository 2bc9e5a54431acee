"""What is said of a card that is too small for `full`: a slice, or a laptop's."""

from __future__ import annotations

import pytest

from harness.commands import doctor
from harness.commands.show import Options, show
from harness.evidence import precision
from harness.machine import cards

WHOLE = cards.Card(
    product="NVIDIA H100 80GB HBM3", memory_bytes=85_000_000_000, uuid="a", capability=(9, 0),
    torch="2.13.0", cuda="13.0", count=1, driver="580.95.05", triton="",
)  # fmt: skip
SLICE = cards.Card(
    product="NVIDIA H100 80GB HBM3 MIG 1g.10gb", memory_bytes=10_200_000_000, uuid="b",
    capability=(9, 0), torch="2.13.0", cuda="13.0", count=1, driver="580.95.05", triton="",
)  # fmt: skip


@pytest.mark.parametrize(("card", "small"), [(WHOLE, False), (SLICE, True)])
def test_a_card_that_full_does_not_fit_is_not_offered_it(
    card, small, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(cards, "usable", lambda: card)
    monkeypatch.setattr(precision, "of_machine", lambda device: precision.unasked())
    found = doctor._gpu()[0]
    assert found.present
    assert ("all scales" not in found.detail) is small
    show(Options("dense_vs_moe", "full", "cuda", results=tmp_path))
    said = " ".join(capsys.readouterr().out.split())
    assert ("more than is safe of this card's 10" in said) is small
