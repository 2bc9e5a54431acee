from hypothesis import given
from hypothesis import strategies as st

from harness.data.api_text import plain, service_text
from harness.data.units import Paragraphs, cut, held_out

LONG = "one two three four five six seven eight"


def test_split_is_stable_and_about_the_fraction() -> None:
    names = [f"module{i}" for i in range(4000)]
    held = {n for n in names if held_out(0, n, 0.1)}
    # Binomial(4000, 0.1): four standard deviations are 76.
    assert 324 < len(held) < 476
    # A larger fraction only adds; another seed draws anew.
    assert held <= {n for n in names if held_out(0, n, 0.2)}
    assert held != {n for n in names if held_out(1, n, 0.1)}
    # Written down: a split must not move between versions of anything.
    assert sorted(held)[:4] == ["module1", "module1004", "module1016", "module1019"]


def test_repeated_paragraphs_go_and_short_ones_stay() -> None:
    seen = Paragraphs()
    assert seen.unseen(f"{LONG}\n\nExamples\n\nmore") == f"{LONG}\n\nExamples\n\nmore"
    again = f"Examples\n\n{LONG.replace(' ', '  ')}\n\nnew words only"
    assert seen.unseen(again) == "Examples\n\nnew words only"
    assert seen.dropped == 1
    assert seen.unleaked(f"{LONG} nine") == f"{LONG} nine"
    assert seen.unleaked(f"{LONG} nine") == f"{LONG} nine"


@given(st.text(alphabet="ab \n\t", max_size=200), st.integers(1, 30))
def test_cut_loses_only_blank_lines(text: str, size: int) -> None:
    parts = cut(text, size)
    lines = [line.rstrip() for part in parts for line in part.splitlines() if line.strip()]
    assert lines == [line.rstrip() for line in text.splitlines() if line.strip()]
    longest = max((len(line) for line in text.splitlines()), default=0)
    assert all(part.strip() and len(part.strip("\n")) <= max(size, longest) for part in parts)


def test_html_becomes_paragraphs() -> None:
    html = (
        "<p>Gets a <code>Queue</code> &amp; its <a href='x'>tags</a>, if a &lt; b.</p> <ul> <li> "
        "<p>First</p> </li><li>Second<br/>line</li> </ul><note><p>  Mind.  </p></note>"
    )
    assert plain(html) == [
        "Gets a Queue & its tags, if a < b.", "- First", "- Second", "line", "Mind.",
    ]  # fmt: skip


def test_a_service_says_each_paragraph_once_newest_first() -> None:
    new = {
        "documentation": "<p>Service.</p>",
        "operations": {"Put": {"documentation": "<p>Puts. </p><p>Same.</p>"}},
        "shapes": {"S": {"members": {"m": {"documentation": "<p>Same.</p>"}, "n": {}}}},
    }
    old = {"documentation": "<p>Service.</p><p>Old.</p>", "operations": {}, "shapes": {}}
    assert service_text([new, old]) == ("Service.\n\nPuts.\n\nSame.\n\nOld.", 2)
