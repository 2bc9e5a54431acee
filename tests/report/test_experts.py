"""Where tokens went, by hand; and that drawing it is repeatable."""

from __future__ import annotations

import math

import pytest

from harness.evidence.sections import Section, sections
from harness.records.schema import ExpertUse, Record
from harness.report import views
from harness.report.views import experts
from tests.report.factory import campaign, search, with_losses

USE = ExpertUse(
    tokens=100, load=((80, 40, 60, 20), (50, 50, 50, 50)), entropy=(math.log(2), math.log(4))
)


def only(records: list[Record]) -> Section:
    (section,) = sections(records)
    return section


def test_shares_entropy_and_dropped_copies_by_hand() -> None:
    # 100 tokens, each to 2 of 4 experts: an even load is 50.
    assert experts.shares(USE, 2) == [[1.6, 1.2, 0.8, 0.4], [1.0] * 4]
    assert experts.openness(USE) == pytest.approx([0.5, 1.0])
    assert experts.dropped(USE, 2) == [0, 0]
    assert experts.dropped(USE.model_copy(update={"tokens": 103}), 2) == [6, 6]


def test_experts_are_ranked_before_seeds_are_averaged() -> None:
    """Two seeds with the same loads on other experts are as uneven as either of them."""
    records = [
        r.model_copy(
            update={
                "experts": USE.model_copy(update={"load": tuple(x[r.seed :] + x[: r.seed] for x in
                                                                USE.load)}),
                "config": r.config | {"model": r.config["model"] | {"top_k": 2}},
            }
        )
        if r.experts
        else r
        for r in campaign()
    ]  # fmt: skip
    data = experts.heats(only(records))
    assert data is not None
    assert [heat.arm for heat in data.heats] == ["moe-active", "moe-total", "moe-160m"]
    assert data.heats[0].load[0] == pytest.approx((1.6, 1.2, 0.8, 0.4))
    assert data.heats[0].seeds == 3
    (table,) = experts.tables(only(records))
    cells = {a.removeprefix(f"{table.name}/"): c.text for a, c in table.cells().items()}
    assert cells["moe-active/0/busiest"] == "1.600 ± 0.000 (3)"
    assert cells["moe-active/0/idlest"] == "0.400 ± 0.000 (3)"
    assert cells["moe-active/0/entropy"] == "0.500 ± 0.000 (3)"
    assert cells["moe-active/1/dropped"] == "0"


def test_records_older_than_the_view_show_it_a_search_and_dense_arms_do_not() -> None:
    old = only(campaign(asked={"views": ("comparison", "curves")}))
    assert [figure.name.rsplit(".")[-1] for figure in views.figures(old)] == ["curves", "experts"]
    assert any(table.name.endswith(".routing") for table in views.tables(old))
    assert [figure.name.rsplit(".")[-2] for figure in views.figures(only(search()))] == ["tuning"]
    dense = only([r for r in campaign() if r.arm == "dense"])
    assert [figure.name.rsplit(".")[-1] for figure in views.figures(dense)] == ["curves"]
    assert experts.tables(dense) == []


def test_only_the_questions_horizon_is_shown() -> None:
    section = only(campaign())
    stages = {r.stage for of_arm in experts.measured(section).values() for r, _ in of_arm}
    assert stages == {"decay-tokens"}


def test_drawing_is_repeatable_and_its_digest_follows_the_loads() -> None:
    from harness.report.draw.maps import draw_experts

    data = experts.heats(only(campaign()))
    assert data is not None
    first = draw_experts(data)
    assert first.startswith(b"\x89PNG")
    assert first == draw_experts(data)
    assert len(first) < 400_000  # a README's picture
    same = experts.heats(only(with_losses(campaign(), {"dense": [6.0, 6.1, 6.2]})))
    fewer = experts.heats(only([r for r in campaign() if r.seed < 2]))
    assert same is not None
    assert fewer is not None
    assert data.digest == same.digest != fewer.digest
    assert draw_experts(fewer.model_copy(update={"heats": fewer.heats[:1]})).startswith(b"\x89PNG")
