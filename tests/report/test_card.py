"""The card: from records alone, and every way of going stale is seen and shown."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import RequestError
from harness.evidence.sections import sections
from harness.records import store
from harness.report import card, fresh
from harness.report.views.curves import curves
from tests.report.factory import broken, campaign, of, older, swap
from tests.report.followed import everything

ROOT = Path(__file__).parents[2]
FIGURE = "figures/dense_vs_moe.smoke.cpu.curves.png"
PAGE = "cards/dense_vs_moe.md"
EXPERTS = "figures/dense_vs_moe.smoke.cpu.experts.png"


@pytest.fixture(scope="module")
def drawn_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a failed run, an older group, and its card."""
    results = tmp_path_factory.mktemp("results")
    records = campaign()
    lost = of(records, "moe-160m", 1, "decay-tokens")
    records = swap(records, lost, broken(lost, "diverged", "loss is not finite at update 110"))
    past = older([r for r in campaign() if r.seed < 2])
    for record in [*past, *(r.model_copy(update={"attempt": 2}) for r in records)]:
        store.write(results, record)
    written = card.regenerate(results)
    assert [p.relative_to(results).as_posix() for p in written] == [
        "MODEL_CARD.md",
        "cells.json",
        PAGE,
        *(f"cards/about-{name}.md" for name in ("questions", "reading", "hours")),
        FIGURE,
        EXPERTS,
        "figures/figures.json",
    ]
    return results


@pytest.fixture
def results(drawn_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn_once, tmp_path / "results"))


def test_a_fresh_card_passes_and_is_not_written_again(results: Path) -> None:
    assert card.check(results) is None
    assert card.regenerate(results) == []
    for name, text in card.render(results).items():
        assert (results / name).read_text() == text
    text = (results / PAGE).read_text()
    views = "scope curves experts loss difference clock cost routing runs failed others"
    for view in views.split():
        name = f"dense_vs_moe.smoke.cpu.{view}"
        assert text.count(f"<!-- view: {name} begin -->") == 1
        assert text.count(f"<!-- view: {name} end -->") == 1
    assert f"](../{FIGURE})" in text
    assert f"](../{EXPERTS})" in text
    assert "### Measured on CPU" in text
    assert "### Measured on GPU" not in text


def test_what_a_strangers_cells_hold_does_not_reach_the_terminal_whole(results: Path) -> None:
    path = results / "cells.json"
    path.write_bytes(b"\x00\x9b" + "\x9b31m\x1b[2J".encode() + path.read_bytes())
    shown = card.check(results)
    assert shown is not None
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)


def test_nothing_measured(tmp_path: Path) -> None:
    assert "Nothing has been measured yet" in card.render(tmp_path)[card.CARD]
    assert card.check(tmp_path) == "MODEL_CARD.md is missing\ncells.json is missing"
    assert card.regenerate(tmp_path) == [tmp_path / "MODEL_CARD.md", tmp_path / "cells.json"]
    assert card.check(tmp_path) is None


def test_every_digit_of_every_table_is_guarded(results: Path) -> None:
    path = results / PAGE
    lines = path.read_text().splitlines(keepends=True)
    rows = [i for i, line in enumerate(lines) if line.startswith("|")]
    assert len(rows) > 20
    for row in rows[:: len(rows) // 10]:
        place = next((i for i, c in enumerate(lines[row]) if c.isdigit()), None)
        if place is None:
            continue
        digit = str((int(lines[row][place]) + 1) % 10)
        edited = lines[row][:place] + digit + lines[row][place + 1 :]
        path.write_text("".join([*lines[:row], edited, *lines[row + 1 :]]))
        shown = card.check(results)
        assert shown is not None
        assert f"-{edited}".rstrip() in shown
        assert f"+{lines[row]}".rstrip() in shown


def _remove_record(results: Path) -> None:
    sorted((results / "records/dense_vs_moe/dense").iterdir())[0].unlink()


def _add_record(results: Path) -> None:
    store.write(results, campaign(seeds=4)[-1])


def _replace_figure(results: Path) -> None:
    (results / FIGURE).write_bytes((results / FIGURE).read_bytes() + b"x")


def _remove_figure(results: Path) -> None:
    (results / FIGURE).unlink()


def _remove_index(results: Path) -> None:
    (results / "figures/figures.json").unlink()


def _spoil_index(results: Path) -> None:
    (results / "figures/figures.json").write_text("{")


def _age_drawing_code(results: Path) -> None:
    index = results / "figures/figures.json"
    content = json.loads(index.read_text())
    content[Path(FIGURE).name]["code_digest"] = "0" * 16
    index.write_text(json.dumps(content))


def _edit_what_no_view_shows(results: Path) -> None:
    path = sorted((results / "records/dense_vs_moe/dense").iterdir())[0]
    text = path.read_text()
    assert '"load_before": 0.1' in text
    path.write_text(text.replace('"load_before": 0.1', '"load_before": 0.2'))


def _edit_cells(results: Path) -> None:
    path = results / "cells.json"
    path.write_text(path.read_text().replace('"n":3', '"n":4', 1))


def _crlf(results: Path) -> None:
    text = (results / "MODEL_CARD.md").read_bytes()
    (results / "MODEL_CARD.md").write_bytes(text.replace(b"\n", b"\r\n"))


def test_a_folder_in_a_figures_place_is_said_in_one_line(results: Path) -> None:
    (results / FIGURE).unlink()
    (results / FIGURE).mkdir()
    assert f"{FIGURE}: a folder in its place" in str(card.check(results))
    with pytest.raises(RequestError, match="cannot be written: Is a directory"):
        card.regenerate(results)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (_remove_record, "@@"),
        (_add_record, "@@"),
        (_replace_figure, f"{FIGURE}: replaced"),
        (_remove_figure, f"{FIGURE}: missing"),
        (_remove_index, f"{FIGURE}: not in figures.json"),
        (_spoil_index, f"{FIGURE}: not in figures.json"),
        (_age_drawing_code, f"{FIGURE}: stale: the drawing code has changed"),
        (_edit_cells, '"n":4'),
        (_crlf, "line ends"),
    ],
)
def test_what_went_stale_is_shown_and_mended(
    results: Path, change: Callable[[Path], None], shown: str
) -> None:
    change(results)
    found = card.check(results)
    assert found is not None
    assert shown in found
    assert card.regenerate(results) != []
    assert card.check(results) is None


def test_no_card_is_made_of_a_record_that_was_edited_after_its_last_one(results: Path) -> None:
    _edit_what_no_view_shows(results)
    assert "records/dense_vs_moe/dense/" in str(card.check(results))
    before = (results / "cells.json").read_bytes()
    with pytest.raises(RequestError, match=r"dense/.*json has changed since the card was written"):
        card.regenerate(results)
    assert (results / "cells.json").read_bytes() == before
    (results / "cells.json").unlink()  # whoever wants it all the same
    assert card.regenerate(results) != []
    assert card.check(results) is None


def test_a_strangers_picture_is_named_and_left_to_its_owner(results: Path) -> None:
    stranger = results / "figures/mine.png"
    stranger.write_bytes(b"x")
    assert card.check(results) == "figures/mine.png: no figure of these records; remove it"
    assert card.regenerate(results) == []
    assert stranger.exists()


def test_a_figure_whose_records_are_gone_is_removed(results: Path) -> None:
    shutil.rmtree(results / "records")
    assert f"{FIGURE}: no figure of these records" in str(card.check(results))
    card.regenerate(results)
    assert not (results / FIGURE).exists()
    assert not (results / EXPERTS).exists()
    assert not (results / PAGE).exists()
    assert card.check(results) is None


def test_a_page_whose_records_are_gone_is_removed_and_a_strangers_stays(results: Path) -> None:
    mine = results / "cards/notes.md"
    mine.write_text("mine")
    shutil.rmtree(results / "records")
    assert f"{PAGE}: no page of these records" in str(card.check(results))
    card.regenerate(results)
    assert [path.name for path in (results / "cards").iterdir()] == ["notes.md"]


def test_a_single_arm_has_a_card_without_differences(tmp_path: Path) -> None:
    for record in campaign(asked={"arms": ("dense",), "pairs": ()}):
        if record.arm == "dense":
            store.write(tmp_path, record)
    text = everything(tmp_path)
    assert "dense_vs_moe.smoke.cpu.loss" in text
    assert "dense_vs_moe.smoke.cpu.difference" not in text


def test_a_view_that_is_not_known_is_said_so(tmp_path: Path) -> None:
    store.write(tmp_path, campaign(asked={"views": ("comparison", "experts2")})[0])
    assert "View `experts2` is not here" in everything(tmp_path)


def test_a_figure_is_stale_when_its_data_are(results: Path) -> None:
    shown = of(campaign(), "dense", 0, "decay-tokens").model_copy(update={"attempt": 2})
    (results / store.path_of(shown)).unlink()
    assert f"{FIGURE}: stale: the records say otherwise" in str(card.check(results))


def test_a_broken_record_or_a_file_in_place_is_a_request_error(
    results: Path, tmp_path: Path
) -> None:
    place = tmp_path / "file"
    place.write_text("mine")
    for action in (card.regenerate, card.check, card.render):
        with pytest.raises(RequestError, match="is a file"):
            action(place)
    (results / "records/notes.txt").write_text("mine")
    before = (results / "MODEL_CARD.md").read_bytes()
    with pytest.raises(RequestError, match=r"records/notes\.txt is not a record"):
        card.regenerate(results)
    assert (results / "MODEL_CARD.md").read_bytes() == before


def test_a_record_that_contradicts_itself_makes_no_card(results: Path) -> None:
    path = sorted((results / "records/dense_vs_moe/dense").iterdir())[0]
    text = path.read_text()
    path.write_text(text.replace('"tokens_done": ', '"tokens_done": 1'))
    assert text != path.read_text()
    before = (results / "MODEL_CARD.md").read_bytes()
    with pytest.raises(RequestError, match="is not plausible: tokens_done 1"):
        card.regenerate(results)
    assert (results / "MODEL_CARD.md").read_bytes() == before


def test_the_drawing_codes_digest_minds_behaviour_only() -> None:
    code = '"""Doc."""\nDPI = 200\n\ndef f(x):\n    """Doc."""\n    return x + DPI\n'
    same = '"""Other."""\nDPI = 200  # dots\n\n\ndef f(x):\n    return (x + DPI)\n'
    assert fresh.code_digest(code) == fresh.code_digest(same)
    assert fresh.code_digest(code) != fresh.code_digest(code.replace("200", "100"))
    assert fresh.code_digest(code) != fresh.code_digest(code.replace("+", "-"))


def test_checking_draws_nothing_and_imports_nothing_heavy(results: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from harness.report import card, trace; "
        "assert card.check(Path(sys.argv[1])) is None; "
        "heavy = {'torch', 'matplotlib', 'seaborn', 'scipy.stats', 'transformers', 'datasets'}; "
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(results)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_the_readme_says_of_the_comparison_what_the_card_says() -> None:
    view = "dense_vs_moe.proxy.cpu.difference/moe-active@tokens"
    kept = json.loads((ROOT / "results" / "cells.json").read_text("utf-8"))
    cells = kept["cells"]
    difference, spread = cells[f"{view}/difference"]["text"].removesuffix(" (5)").split(" ± ")
    verdict = cells[f"{view}/verdict"]["text"]
    says = f"`moe-active` is {verdict} than `dense`, by {difference.lstrip('+-')} ± {spread} nats"
    readme = (ROOT / "README.md").read_text("utf-8")
    assert says in readme
    second = cells[f"{view}/second"]["text"].removesuffix(" (5)").lstrip("-")
    assert cells[f"{view}/agrees"]["text"] == "same sign"
    assert f", and by {second} on a second text" in readme
    other = "references.paired/dense_vs_moe/moe-active/0/decay-tokens@stdlib-topics (f6925be5)"
    of = cells["dense_vs_moe.proxy.cpu.loss/moe-active/val_loss@tokens"]["records"]
    assert any("f6925be5" in path for path in kept["sets"][of])  # a run of the same table
    less = cells[f"{other}/difference"]["text"].removeprefix("-")
    low, high = cells[f"{other}/interval"]["text"].split(" to ")
    assert (
        f"needs {less} bits a byte less than `dense` (95 % interval over documents "
        f"{high.removeprefix('-')} to {low.removeprefix('-')};" in readme
    )


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "..\\x.png"])
def test_a_figure_is_drawn_in_its_folder_alone(tmp_path: Path, name: str) -> None:
    shown = curves(sections(campaign())[0])
    with pytest.raises(RequestError, match="cannot name a figure"):
        fresh.refresh(tmp_path / "results", {name: shown})
    assert list(tmp_path.iterdir()) == []


def test_figures_behind_a_link_are_left_alone(results: Path, tmp_path: Path) -> None:
    folder, theirs = results / fresh.FOLDER, tmp_path / "theirs"
    folder.rename(theirs)
    folder.symlink_to(theirs)
    before = {path.name: path.read_bytes() for path in theirs.iterdir()}
    (victim,) = sorted((results / "records").rglob("*.json"))[:1]
    victim.unlink()
    with pytest.raises(RequestError, match="link to elsewhere"):
        card.regenerate(results)
    assert {path.name: path.read_bytes() for path in theirs.iterdir()} == before
