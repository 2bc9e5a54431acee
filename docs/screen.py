"""A picture of what a command prints: `python docs/screen.py IMAGE.svg COMMAND...`, or, of a
session that `script` has kept, `python docs/screen.py IMAGE.svg --typed FILE COMMAND...`.

The command runs on a terminal of 80 columns. What it erased again, as a progress table, is not in
the picture; of a long text only the ends are. `tests/docs` compares the one of
`smol compare` with what is printed now.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH, FIRST, LAST = 80, 3, 22
"""Columns; lines of the beginning and of the end that are shown."""
PASSING = re.compile(r"Script |\[ *\d+%\]")
"""What `script` says itself, and headlines of progress."""
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
"""As rich's own, but for the fonts, which it would fetch from elsewhere."""


def shown(typed: str) -> list[str]:
    """The lines that stand on the terminal after all cursor moves; colours stay in them."""
    lines, row = [""], 0
    for part in re.split(r"(\x1b\[\d*[AK]|\x1b\[\?\d+[hl]|\r\n|\n|\r)", typed):
        if part.endswith("A") and part.startswith("\x1b["):
            row = max(0, row - int(part[2:-1] or 1))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part in ("\r\n", "\n"):
            row += 1
            if row == len(lines):
                lines.append("")
        elif not part.startswith("\x1b[?") and part != "\r":
            lines[row] += part
    return [line for line in lines if not PASSING.match(Text.from_ansi(line).plain)]


def main(image: Path, words: list[str]) -> None:
    """Write the picture."""
    if words[0] == "--typed":
        typed, words = Path(words[1]).read_text("utf-8"), words[2:]
    else:
        with tempfile.NamedTemporaryFile() as kept:
            subprocess.run(
                ["script", "-qec", f"stty cols {WIDTH} rows 40; {' '.join(words)}", kept.name],
                stdout=subprocess.DEVNULL, check=True,
            )  # fmt: skip
            typed = Path(kept.name).read_text("utf-8")
    lines = shown(typed)
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) > FIRST + LAST + 1:
        lines = [*lines[:FIRST], "  ...", *lines[-LAST:]]
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    command = " ".join(Path(words[0]).name if i == 0 else word for i, word in enumerate(words))
    console.print(Text(f"$ {command}", style="bold"))
    for line in lines:
        console.print(Text.from_ansi(line))
    console.save_svg(str(image), title=command, code_format=FORMAT, unique_id=image.stem)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
