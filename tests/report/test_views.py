"""A view of one's own is one file; what is not here is said; no code names a recipe."""

from __future__ import annotations

import ast
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

import harness
import recipes
from harness import recipe
from harness.errors import RequestError
from harness.evidence.sections import sections
from harness.records import store
from harness.report import card, own, views
from harness.report.trace import Tracer
from tests.report.factory import campaign
from tests.report.followed import everything, follow

ROOT = Path(__file__).parents[2]
SPREAD = '''"""How far apart the seeds of an arm end."""
from harness.config import Frozen
from harness.report.columns import Measure, count, interval, of_ends, spread, tabulate
from harness.report.draw import Shown, figure_of, page

class Dots(Shown):
    losses: dict[str, tuple[float, ...]]

@page(Dots, "ticks", font=9.0)
def draw(data):
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    for place, (arm, losses) in enumerate(data.losses.items()):
        axes.plot([place] * len(losses), losses, "o", label=arm)
    axes.set_ylabel("nats/token")
    axes.legend()
    return figure

class Spread:
    def ends(self, section, arm):
        return section.group.reached(arm, section.group.question.at)

    def tables(self, section):
        def losses(arm):
            return of_ends(self.ends(section, arm), lambda end: end.val_loss)
        return [tabulate(
            f"{section.name}.spread", "How far apart the seeds end.", "arm",
            [Measure("seeds", "seeds", losses, count()),
             Measure("mean", "validation loss", losses, interval("seeds", digits=3), "nats"),
             Measure("sd", "spread over seeds", losses, spread(digits=3), "nats")],
            [(arm, arm) for arm in section.group.question.arms],
            command=section.group.command)]

    def figure(self, section):
        arms = section.group.question.arms
        losses = {arm: tuple(e.val_loss for e in self.ends(section, arm)) for arm in arms}
        return figure_of(section, "spread.figure", Dots(title=section.title, losses=losses),
                         "losses by arm", "A dot a seed.")
'''
NAME = "myviews.py:Spread"
FIGURE = "figures/dense_vs_moe.smoke.cpu.spread.figure.png"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: own views beside own recipes, and records that ask for them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    for record in campaign(asked={"views": ("comparison", NAME)}):
        store.write(tmp_path / "results", record)
    return tmp_path


def test_a_view_of_ones_own_is_one_file(place: Path) -> None:
    assert SPREAD.count("\n") < 60
    (place / "recipes/myviews.py").write_text(SPREAD)
    results = place / "results"
    card.regenerate(results)
    assert card.check(results) is None
    assert (results / FIGURE).stat().st_size > 5_000
    tracer = Tracer(results)
    follow(everything(results), tracer)
    cell = tracer.cells()["dense_vs_moe.smoke.cpu.spread/dense/mean"]
    assert (cell.n, len(cell.records)) == (3, 3)
    assert "t interval" in cell.aggregation
    (place / "recipes/myviews.py").write_text(SPREAD.replace("(5, 3)", "(5, 4)"))
    own._module.cache_clear()  # another process would read the file anew
    assert f"{FIGURE}: stale: the drawing code has changed" in str(card.check(results))


def test_the_view_that_the_docs_show_works(place: Path) -> None:
    text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (shown,) = [block for block in blocks if "class Spread" in block]
    (place / "recipes/myviews.py").write_text(shown)
    cell = Tracer(place / "results").cells()["dense_vs_moe.smoke.cpu.spread/dense/sd"]
    assert cell.n == 3


def test_a_function_or_a_module_is_a_view_too(place: Path) -> None:
    function = "\ndef both(x):\n    s = Spread()\n    return [*s.tables(x), s.figure(x)]\n"
    module = "tables, figure = Spread().tables, Spread().figure\n"
    (place / "recipes/other.py").write_text(SPREAD + function + module)
    (section,) = sections(campaign())
    for name in ("other.py:both", "other.py"):
        view = own.load(name)
        assert len(view.tables(section)) == 1
        assert view.figure(section).file == Path(FIGURE).name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no file recipes/myviews.py"),
        ("x = 1\n", "myviews.py has no Spread"),
        ("Spread = 3\n", "has neither tables(section) nor figure(section)"),
        ("import nowhere_at_all\n", "myviews.py:1: ModuleNotFoundError: No module named"),
        ("import os\nos._exit(3)\n", "myviews.py:2: SystemExit"),
        ("class Spread:\n    def __init__(self, x):\n        pass\n", "cannot be made: TypeError"),
    ],
    ids=["no file", "no object", "no view", "broken", "exits", "takes arguments"],
)
def test_a_view_that_is_not_here_is_said_in_one_line(
    place: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (place / "recipes/myviews.py").write_text(text)
    page = card.render(place / "results")["cards/dense_vs_moe.md"]
    (line,) = [line for line in page.splitlines() if line.startswith(f"View `{NAME}` is not here")]
    assert said in line
    assert "dense_vs_moe.smoke.cpu.difference" in page


def test_a_view_that_breaks_is_named(place: Path) -> None:
    broken = SPREAD.replace("        def losses(arm):", "        1 / 0\n\n        def losses(arm):")
    (place / "recipes/myviews.py").write_text(broken)
    line = broken.splitlines().index("        1 / 0") + 1
    said = rf"view 'myviews.py:Spread' fails on .*: myviews.py:{line}: ZeroDivision"
    with pytest.raises(RequestError, match=said):
        card.regenerate(place / "results")


def test_every_view_that_a_recipe_names_is_a_file() -> None:
    for entry in recipe.load(ROOT / "recipes")[0].values():
        for scale in entry.seeds:
            for name in entry.at(scale).views:  # type: ignore[arg-type]
                views.find(name)


NAMED = {"harness/commands/doctor.py", "harness/data/texts.py"}
"""Files that advise a command by a recipe's name. May only shrink."""


def test_no_code_of_the_harness_names_a_recipe() -> None:
    """A literal that is a recipe's name, or a command about it. Names that are plain words, as
    `kernels`, are words of other things too."""
    names = [m.name for m in pkgutil.iter_modules(recipes.__path__) if "_" in m.name]
    assert len(names) > 5
    found = set()
    for file in sorted(Path(harness.__path__[0]).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text, short = node.value, file.relative_to(ROOT).as_posix()
                if text in names or any(f"smol run {name}" in text for name in names):
                    found.add(short)
    assert found == NAMED


def test_a_strangers_card_speaks_of_the_strangers_runs_alone(tmp_path: Path) -> None:
    renamed = [r.model_copy(update={"recipe": "theirs"}) for r in campaign()]
    for record in renamed:
        store.write(tmp_path, record)
    for name, text in card.render(tmp_path).items():
        # A record's own command is what its writer typed.
        lines = [line for line in text.splitlines() if not line.startswith("Reproduce: ")]
        for ours in ("pretrain_sft", "dense_vs_moe", "SmolLM2-135M", "seed card's pipeline"):
            assert ours not in "\n".join(lines), (name, ours)


def test_no_figure_has_ink_at_its_edge() -> None:
    """What is cut off ends at the edge: three pixels all round are as the paper at a corner."""
    figures = sorted((ROOT / "results/figures").glob("*.png"))
    assert len(figures) > 10
    for figure in figures:
        pixels = image.imread(figure)[..., :3]
        inner = np.ones(pixels.shape[:2], dtype=bool)
        inner[3:-3, 3:-3] = False
        assert abs(pixels[inner] - pixels[0, 0]).max() < 0.01, figure.name
        paper = pixels[0, 0].mean()
        assert paper < 0.1 if ".dark." in figure.name else paper > 0.99, figure.name
