"""Claims files: what is refused and in which words, what is read, and the command itself."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from harness.audit import claims as file
from harness.audit import page as audit
from harness.audit.pool import gather
from harness.commands import audit as command
from harness.errors import CheckFailed, RequestError
from tests.audit import planted
from tests.audit.test_audit import HEAD, audited, card


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ('numbers = { tokns = "1B" }', "did you mean 'tokens'"),
        ('numbers = { time = "3 fortnights" }', "fortnights"),
        ('numbers = { time = "soon" }', "no number"),
        ("numbers = { time = true }", "not a number"),
        ('with = ["nobody"]', "no claim 'nobody'"),
        ('nmbers = { }', "did you mean 'numbers'"),
        ('step = "epoch"', "update or micro-step"),
        ("model = { width = 3 }", "vocab_size"),
        ("runs = [{ steps = 300 }]", "time"),
        ("runs = [3]", "list of tables"),
        ('with = "c"', "not a list"),
        ('evidence = { runs_each = "one" }', "no int"),
        ('evidence = { runs_each = -4 }', "below 1"),
        ('evidence = { timer_includes = [3] }', "timer_includes: 3 is not a text"),
        ('evidence = { differs_in = ["depth", 1] }', "differs_in: 1 is not a text"),
        ("with = [1]", "with: 1 is not a text"),
        ("compares = { recipe = 5, arm = [], against = {} }", "compares: 5 is not a text"),
        ('sum = { parts = 5, total = "1" }', "two parts or more"),
        ("numbers = { loss = nan }", "finite"),
        ('numbers = { tokens = "1e400" }', "beyond any number"),
        (f"numbers = {{ tokens = 1{'0' * 400} }}", "beyond any number"),
        ('numbers = { time = "-3 hours" }', "below zero"),
        ("numbers = { devices = -8 }", "below zero"),
        ('model = { width = "x", vocab_size = 1, layers = 1, heads = 1, kv_heads = 1, ffn = 1 }',
         "width"),
        ("model = { width = 8, vocab_size = 1, layers = 1, heads = 0, kv_heads = 1, ffn = 1 }",
         "heads"),
    ],
)  # fmt: skip
def test_bad_claims_are_named(claim, words):
    with pytest.raises(RequestError, match="claim c") as caught:
        audited(card(claim))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(RequestError, match="no claims file"):
        command.audit(command.Options("nowhere.toml", results=tmp_path))
    bad = tmp_path / "bad.toml"
    bad.write_text("format = ")
    with pytest.raises(RequestError, match="not TOML"):
        command.audit(command.Options(str(bad), results=tmp_path))
    bad.write_text("format = 2")
    with pytest.raises(RequestError, match="format is 2"):
        command.audit(command.Options(str(bad), results=tmp_path))


def test_hostile_files_are_refused_in_one_line(tmp_path):
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    with pytest.raises(RequestError, match="not a regular file"):
        file.load(pipe)
    for text, words in [
        ("a = " + "[" * 100_000 + "]" * 100_000, "nests too deeply"),
        ("a = " + "1" * 1_000_000, "thousands of digits"),
        (".".join(["a"] * 50_000) + " = 1", "parts"),
        ("[[" + ".".join(["a"] * 50_000) + "]]", "parts"),
        ("x" * 9_000_000, "bytes"),
        (card('numbers = { tokens = "' + "1" * 100_000 + '" }'), "too long"),
        (card(f"numbers = {{ tokens = 0x{'f' * 9000} }}"), "thousands of digits"),
    ]:
        bad = tmp_path / "bad.toml"
        bad.write_text(text)
        with pytest.raises(RequestError, match=words) as caught:
            file.load(bad)
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 400


def test_a_byte_order_mark_and_windows_lines_read(tmp_path):
    claims = tmp_path / "claims.toml"
    text = planted.sound(5).text
    claims.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert len(file.load(claims).claims) == len(file.parse(text, "t").claims)


def test_errors_name_file_line_and_claim():
    text = card('numbers = { loss = "3.1" }\n')
    text += card('note = "n"\n').removeprefix(HEAD).replace('"c"', '"d"')
    text += "[claim.numbers]\nloss = '3.1'\ntime = '3 parsecs'\n"
    line = text.splitlines().index("time = '3 parsecs'") + 1
    with pytest.raises(RequestError, match=rf"^test.toml:{line}: claim d: time = '3 parsecs'"):
        audited(text)


def test_the_example_of_the_page_holds():
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text("utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    assert [one.verdict for one in audited(example)] == ["holds"]


def test_findings_name_file_line_and_claim(capsys, tmp_path):
    path = tmp_path / "theirs.toml"
    path.write_text(card('numbers = { mfu = "112%" }'))
    with pytest.raises(CheckFailed, match=r"c \(theirs.toml:5\)"):
        command.audit(command.Options(str(path), results=tmp_path))
    assert "[does not hold] c (theirs.toml:5)" in capsys.readouterr().out


def test_claims_that_rest_on_each_other_are_refused():
    text = card('with = ["d"]\n') + card('with = ["c"]').removeprefix(HEAD).replace(
        'id = "c"', 'id = "d"'
    )
    with pytest.raises(RequestError, match="rest on each other"):
        audited(text)


def test_a_long_chain_takes_linear_time():
    """Counted, not timed: claim by claim, each hands down what it knows once."""
    chain = HEAD
    for n in range(1500):
        rests = f'with = ["c{n - 1}"]\n' if n else 'numbers = { parameters = "10M" }\n'
        chain += f'[[claim]]\nid = "c{n}"\nkind = "data"\nquote = "10M"\n{rests}'
    start = time.process_time()
    found = list(gather(file.parse(chain, "t")))
    assert found[-1].known["parameters"].text == "10M"
    assert time.process_time() - start < 5  # by following every chain to its end: 40 s


def test_the_door(tmp_path, capsys):
    sound = tmp_path / "sound.toml"
    sound.write_text(planted.sound(3).text)
    command.audit(command.Options(str(sound), as_json=True, results=tmp_path))
    told = json.loads(capsys.readouterr().out)
    assert {claim["id"] for claim in told["claims"]} >= {"model", "cost"}
    with pytest.raises(CheckFailed, match="do not hold"):
        command.audit(command.Options(markdown=True, results=tmp_path))
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| **")]
    assert len(table) == len(file.load(None).claims)


def test_a_results_folder_may_bring_its_own_claims(tmp_path):
    folder = tmp_path / "facts"
    folder.mkdir()
    (folder / "claims.toml").write_text(planted.sound(4).text)
    assert file.load(None, tmp_path).title == "an imaginary card"


def test_shipped_audits_are_quoted_and_dated():
    shipped = file.shipped()
    assert len(shipped) >= 3
    for path in shipped.values():
        loaded = file.load(path)
        for claim in loaded.claims:
            assert claim.quote
            assert claim.address.startswith("https://")
            assert claim.read.year == 2026
        assert any(one.verdict == "holds" for one in audit.audit(loaded))
