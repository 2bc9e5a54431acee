"""What is said fits the terminal, and what is to be copied can be."""

from __future__ import annotations

import shlex

import pytest

from harness.launch import terminal


def test_lines_go_on_further_in_and_no_path_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    path = "records/" + "a" * 50 + ".json"
    terminal.lines(f"short  words\n  records of an arm that are too many words\n\n    {path}  ok")
    assert capsys.readouterr().out.split("\n") == [
        "short  words",
        "  records of an arm that are too many",
        "      words",
        "",
        f"    {path}",
        "        ok",
        "",
    ]


@pytest.mark.parametrize("columns", [20, 40, 80, 400])
def test_a_command_of_many_lines_is_still_the_same_command(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    words = ["smol", "run", "mine", "--text", "a folder/of my own, that's long  & ü.txt", "--set"]
    words += ['data.sources=[{"name": "a b"}]', "--results", "x" * 30]
    drawn = terminal.command(shlex.join(words), indent=9)
    assert shlex.split(drawn.replace("\\\n", "")) == words
    assert columns < 400 or "\n" not in drawn
    assert columns != 80 or max(map(len, drawn.split("\n"))) <= 80 - 9
