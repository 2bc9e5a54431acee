"""Figures: what one shows and says, the one page that all are drawn on, and one entry by type.

A figure's data is a `Shown`; `@page(Type, style, ...)` registers the function that draws it, here
or in anybody's own view. Colours are Okabe and Ito's, which colour-blind readers can tell apart;
each arm also has its own marker, so that a grey print can be read. This file is light: matplotlib
is imported where a picture is drawn.
"""

from __future__ import annotations

import io
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from harness.config import Frozen, digest
from harness.evidence.sections import Section
from harness.records.store import path_of
from harness.report.table import Cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
DOTS_PER_INCH = 200
NAME, TITLE = 40, 88
"""Characters of a label and of a title that find room."""
SIZE = (8.0, 4.4)
"""Inches; a README shows it about 800 pixels wide, so a point of type is about 1.4 pixels."""


class Shown(Frozen):
    """The data of a figure: plain numbers, so that they can be checked without drawing."""

    title: str

    @property
    def digest(self) -> str:
        """The digest of the data drawn."""
        return digest(self)


class Themed(Shown):
    """The data of a figure that is also drawn for a dark page."""

    dark: bool = False

    @property
    def digest(self) -> str:
        """The digest of the data drawn, which a light page does not change."""
        return digest(self if self.dark else self.model_dump(mode="json", exclude={"dark"}))


@dataclass(frozen=True)
class Figure:
    """A view that is a figure: what it shows, and what stands around it in the card."""

    name: str
    """Section and view."""
    data: Shown
    alt: str
    """What the picture shows, for those who do not see it."""
    caption: str
    records: tuple[str, ...]
    """Files that the data come from, relative to the results folder."""
    command: str
    """What reproduces them."""

    @property
    def file(self) -> str:
        """The file's name in `<results>/figures/`."""
        return f"{self.name}.png"

    def cells(self) -> dict[str, Cell]:
        """Address -> the picture and its caption, as cells."""
        made = f"drawn from data of digest {self.data.digest}"
        n = len(self.records)
        return {
            f"{self.name}/figure": Cell(self.file, self.records, self.alt, made, n),
            f"{self.name}/caption": Cell(
                self.caption, self.records, "caption of the view", "of the figure", n
            ),
        }


def figure_of(
    section: Section, name: str, data: Shown | None, alt: str, caption: str
) -> Figure | None:
    """A figure of a section's group; None where there is nothing to show.

    `name` follows the section's own; `alt` follows "recipe at scale".
    """
    if data is None:
        return None
    return Figure(
        name=f"{section.name}.{name}",
        data=data,
        alt=f"{section.recipe} at {section.scale} scale: {alt}",
        caption=caption,
        records=tuple(path_of(record) for record in section.group.records),
        command=section.group.command,
    )


@singledispatch
def _drawn(data: Shown) -> bytes:
    raise TypeError(f"nothing draws a {type(data).__name__}")


Data = TypeVar("Data", bound=Shown)


def page(
    kind: type[Data], style: str, **sizes: float
) -> Callable[[Callable[[Data], Canvas]], Callable[[Data], bytes]]:
    """Register what draws one type of data: from it to a matplotlib figure, under a style.

    `style` is one of seaborn's; `sizes` are font sizes in points, `font` and `title`.
    """

    def register(function: Callable[[Data], Canvas]) -> Callable[[Data], bytes]:
        def drawn(data: Data) -> bytes:
            import matplotlib

            matplotlib.use("Agg")
            import seaborn as sns
            from matplotlib import pyplot as plt

            known = {"font": "font.size", "title": "axes.titlesize"}
            rc: Any = {known[name]: size for name, size in sizes.items()}
            with sns.axes_style(style), plt.rc_context(rc):
                canvas = function(data)
                if isinstance(data, Themed) and data.dark:
                    from harness.report.draw.dark import darken

                    darken(canvas)
                buffer = io.BytesIO()
                canvas.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
                plt.close(canvas)
            return buffer.getvalue()

        _drawn.register(kind, drawn)
        return drawn

    return register


def fitted(text: str, length: int) -> str:
    """A label that no edge cuts off: of a longer one the beginning and the end, where names that
    were made alike differ."""
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"


def columns_for(labels: Sequence[str]) -> int:
    """How many labels of a legend stand beside each other below a figure of `SIZE`."""
    widest = 0.6 + 0.075 * max(map(len, labels), default=0)  # inches: a marker, and the letters
    return max(1, min(4, len(labels), int(0.95 * SIZE[0] / widest)))


def load() -> None:
    """Import what draws our own data, which takes a second the first time."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")


def picture(data: Shown) -> bytes:
    """PNG bytes, the same for equal data. Raises TypeError for data that nothing draws."""
    load()
    return _drawn(data)


def style_of(place: int) -> tuple[str, str]:
    """(colour, marker) of an arm, by its place in the recipe."""
    return PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
