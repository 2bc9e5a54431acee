"""What the figure shows, and that drawing the same data twice gives the same bytes."""

from __future__ import annotations

from harness.evidence.sections import sections
from harness.report.views.curves import curves
from tests.report.factory import broken, campaign, of, swap, with_losses


def test_lines_ends_and_branches() -> None:
    records = campaign()
    lost = of(records, "dense", 1, "decay-tokens")
    (section,) = sections(swap(records, lost, broken(lost, "diverged", "loss is not finite")))
    data = curves(section)
    stages = {(line.arm, line.stage) for line in data.lines}
    assert ("dense", "stem") in stages
    assert ("moe-total", "decay-active-flops") in stages
    stem = next(line for line in data.lines if (line.arm, line.stage) == ("dense", "stem"))
    branch = next(
        line for line in data.lines if (line.arm, line.stage) == ("dense", "decay-tokens")
    )
    assert {p.seed for p in stem.points} == {0, 1, 2}
    assert {p.seed for p in branch.points} == {0, 2}
    starts = {p.seed: p for p in stem.points if p.tokens == branch.points[0].tokens}
    assert branch.points[0] == starts[0]  # the branch begins where the stem stood
    end = next(e for e in data.ends if (e.arm, e.horizon) == ("dense", "tokens"))
    assert (end.tokens, end.n) == (122_880, 2)
    assert data.unigram == 6.76


def test_the_frame_shows_what_is_compared_and_no_empty_air() -> None:
    (section,) = sections(campaign())
    data = curves(section)
    assert data.frame is not None
    bottom, top = data.frame
    points = [point.val_loss for line in data.lines for point in line.points]
    assert bottom < min(points)
    bounds = [bound for end in data.ends for bound in end.interval]
    assert max(bounds) < top < max(bounds) + 0.7 * max(max(bounds) - bottom, 0.1)
    assert f"from {max(points):.2f}" in data.cut
    assert (f"unigram model at {data.unigram:.2f}" in data.cut) == (data.unigram > top)
    low = [line.model_copy(update={"points": line.points[-1:]}) for line in data.lines]
    late = data.model_copy(update={"lines": tuple(low), "unigram": None})
    assert late.cut == ""
    assert late.frame[1] <= top
    assert data.model_copy(update={"lines": (), "ends": ()}).frame is None


def test_the_digest_follows_the_data() -> None:
    (one,), (same,) = sections(campaign()), sections(campaign())
    (other,) = sections(with_losses(campaign(), {"dense": [6.0, 6.1, 6.2]}))
    assert curves(one).digest == curves(same).digest != curves(other).digest


def test_drawing_is_repeatable_also_with_one_seed_and_one_arm() -> None:
    from harness.report.draw.lines import draw_curves

    for records in (campaign(), [r for r in campaign() if (r.arm, r.seed) == ("dense", 0)]):
        (section,) = sections(records)
        first = draw_curves(curves(section))
        assert first.startswith(b"\x89PNG")
        assert first == draw_curves(curves(section))
        assert len(first) < 400_000  # a README's picture
    stem_only = [r for r in campaign() if (r.arm, r.stage) == ("dense", "stem")]
    (section,) = sections(stem_only)
    assert draw_curves(curves(section)).startswith(b"\x89PNG")
    failed = [broken(stem_only[0], "oom", "out of memory", validation=())]
    (section,) = sections(failed)
    assert draw_curves(curves(section)).startswith(b"\x89PNG")


def test_the_dark_variant_is_the_same_drawing_in_other_colours() -> None:
    """A light page's digest knows nothing of it; its paper is dark and its words are light."""
    import io

    import numpy as np
    from PIL import Image

    from harness.report import draw
    from harness.report.views.findings import Forest, ForestRow

    row = ForestRow(
        title="b − a", section="one", difference=-0.2, interval=(-0.3, -0.1), detectable=0.1,
        margin=0.05, noise=0.02,
    )  # fmt: skip
    light = Forest(title="differences", rows=(row,))
    dark = light.model_copy(update={"dark": True})
    assert light.digest != dark.digest
    white, black = (
        np.asarray(Image.open(io.BytesIO(draw.picture(data))).convert("L"), dtype=float)
        for data in (light, dark)
    )
    assert white.shape == black.shape
    assert np.median(white) == 255
    assert np.median(black) < 20
    ink = white < 120  # words, axes, the point: what is dark on light is light on dark
    assert ink.mean() > 0.002
    assert (black[ink] > 90).mean() > 0.95
