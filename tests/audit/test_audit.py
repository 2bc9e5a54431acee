"""The claims audit: the seed card's claims, planted errors, sound cards, and bad files."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harness.audit import claims as file
from harness.audit import page as audit
from harness.commands import audit as command
from harness.errors import CheckFailed, RequestError
from tests.audit import planted, planted_claims
from tests.report import factory


def seed() -> dict[str, audit.AuditedClaim]:
    card = file.load(None)
    return {one.claim.id: one for one in audit.audit(card)}


def audited(text: str) -> list[audit.AuditedClaim]:
    return audit.audit(file.parse(text, "test.toml"))


def card(claim: str) -> str:
    head = 'format = 1\ntitle = "t"\naddress = "a"\nread = 2026-11-01\n'
    quote = claim.replace('"', "").replace("\n", " ")  # whatever is claimed stands in it
    return f'{head}[[claim]]\nid = "c"\nkind = "training"\nquote = "{quote}"\n{claim}'


# ---- the seed's card: what is known to be wrong with it, worked out by hand ------------------


def test_cost_table_counts_micro_steps_as_updates():
    one = seed()["tokens-a-step"]
    assert one.verdict == "does not hold"
    # 4 x 2,048 tokens in a micro-step, 98,304 in an update: 12 times.
    assert any("8,192" in text and "11.96×" in text for text in one.implied)
    assert any("micro-step" in text and "12×" in text for text in one.readings)


def test_cost_table_is_more_than_a_4090_can_do():
    one = seed()["cost-4090-1b"]
    # 1e9 / (1.4 x 3,600) = 198,413 tokens/s; 2.08 x 98,304 = 204,472.
    assert any("198,413/s" in text and "more than 100 %" in text for text in one.implied)
    # 1e9 tokens at 2.08 x 8,192 tokens/s take 16.3 hours.
    assert any("time 16.3 h" in text for text in one.readings)
    ten = seed()["cost-4090-10b"]
    # 204k tokens/s x 1.019 GFLOP = 208 TFLOP/s of 165.2, 126 %.
    assert any("208.2 TFLOP/s" in t and "126.0%" in t and "165.2" in t for t in ten.implied)


def test_eager_timings_have_a_negative_fixed_cost():
    one = seed()["eager-timings"]
    assert one.verdict == "does not hold"
    # 2.16 x 2 - 6.32 = -2.00 minutes.
    assert any("-2.00 min" in text and "below zero" in text for text in one.implied)


def test_compile_timings_fit():
    one = seed()["compile-timings"]
    assert one.verdict == "holds"
    # 3.86 x 2 - 4.80 = 2.92 minutes; 300 / (0.94 x 60) = 5.319 a second.
    assert any("2.92 min" in text and "5.319 micro-steps/s" in text for text in one.implied)


def test_151_million_sold_as_135():
    one = seed()["parameters-135m"]
    assert one.verdict == "does not hold"
    assert any("151,032,320" in text for text in one.implied)
    assert any("134,515,008" in text for text in one.readings)


def test_31_percent_is_one_run_against_one():
    one = seed()["compile-31-percent"]
    assert one.verdict == "cannot be tested"
    assert any("one run against one" in text for text in one.implied)
    assert any("compilation" in text and "inside the timer" in text for text in one.implied)
    # The arithmetic itself is sound: 6.32 / 4.80 = 1.317.
    assert any("31.7%" in text for text in one.implied)


def test_published_size_holds_and_footprint_does_not():
    found = seed()
    assert found["smollm2-size"].verdict == "holds"
    # 134.5M bf16 parameters are 269 MB, not 724.
    assert found["smollm2-footprint"].verdict == "does not hold"


def test_every_finding_shows_its_arithmetic_and_its_reading():
    for one in seed().values():
        assert one.implied
        assert one.readings or one.verdict != "does not hold"


# ---- planted errors --------------------------------------------------------------------------


def test_sound_cards_raise_few_alarms():
    alarms = [
        number
        for number in range(100)
        if any(f.verdict == "does not hold" for f in audited(planted.sound(number).text))
    ]
    assert len(alarms) <= 5


def test_planted_errors_are_found():
    """Found is: a claim that states the wrong number, or rests on it, does not hold."""
    found = dict.fromkeys(planted.KINDS, 0)
    for kind in planted.KINDS:
        for number in range(10):
            one = planted.broken(kind, number)
            flagged = {f.claim.id for f in audited(one.text) if f.verdict == "does not hold"}
            found[kind] += bool(flagged & one.planted_in)
    assert sum(found.values()) >= 90, found
    assert min(found.values()) >= 7, found  # no kind may hide behind the others


def test_errors_in_published_style_are_found_and_their_twins_raise_no_alarm():
    told = {kind: [0, 0] for kind in planted_claims.KINDS}
    alarms = []
    for pair in planted_claims.pairs():
        twin = audited(pair.sound)
        alarms += [(pair.kind, f.claim.id, f.implied) for f in twin if (f.verdict != "holds"
                   and f.claim.id == pair.where) or f.verdict == "does not hold"]  # fmt: skip
        flagged = {f.claim.id for f in audited(pair.broken) if f.verdict == "does not hold"}
        told[pair.kind][pair.where not in flagged] += 1
    found, missed = (sum(counts[i] for counts in told.values()) for i in (0, 1))
    by_kind = "; ".join(f"{kind}: {a} found, {b} missed" for kind, (a, b) in told.items())
    assert found + missed >= 60, by_kind
    assert found >= 0.95 * (found + missed), by_kind
    assert not alarms, alarms


def test_the_generator_shares_nothing_with_the_audit():
    script = (
        "import sys, tests.audit.planted as p; p.sound(1); p.broken('mfu', 1);"
        "import tests.audit.planted_claims as c; c.pairs();"
        "print([m for m in sys.modules if m.split('.')[0] in ('harness', 'models')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr


# ---- single checks, by hand ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ('numbers = { loss = "3.00", perplexity = "20.1" }', "holds"),  # e^3 = 20.09
        ('numbers = { loss = "3.00", perplexity = "20.3" }', "does not hold"),
        ('numbers = { tokens = "1.0B", updates = "1000", tokens_per_update = "1M" }', "holds"),
        ('numbers = { before = "2.0", after = "3.0", change = "+50%" }', "holds"),
        ('numbers = { before = "2.00", after = "3.00", change = "+33%" }', "does not hold"),
        ('numbers = { before = "4.00", after = "3.00", reduction = "25%" }', "holds"),
        ('numbers = { mfu = "112%" }', "does not hold"),
        ('numbers = { loss = "3.1" }', "cannot be tested"),
        ('shares = ["70%", "35%"]', "does not hold"),
        ('shares = ["33.3%", "33.3%", "33.3%"]', "holds"),  # 99.9 +- 0.15
        ('sum = { parts = ["1.1", "2.2"], mean = "1.65" }', "holds"),
        # Two passes over 2 GB of weights, 10,000 times a second: 40 TB/s of 1.008.
        ('device = "rtx-4090"\nnumbers = { parameters = "1.0B", micro_steps_per_second = '
         '"10k micro-steps/s" }', "does not hold"),
        ('device = "tpu-v9"\nnumbers = { tokens_per_second = "9M tokens/s", flops_per_token = '
         '"1 GFLOP" }', "cannot be tested"),
        ('device = "rtx-4090"\nnumbers = { tokens_per_second = "9M tokens/s", flops_per_token = '
         '"1 GFLOP" }', "does not hold"),
    ],
)  # fmt: skip
def test_single_claims(claim, verdict):
    assert [one.verdict for one in audited(card(claim))] == [verdict]


def test_two_runs_are_no_comparison_and_three_are():
    numbers = 'numbers = { before = "2.00", after = "3.00", change = "+50%" }\n'
    for runs, verdict in [(1, "cannot be tested"), (2, "cannot be tested"), (3, "holds")]:
        found = audited(card(f"{numbers}evidence = {{ runs_each = {runs} }}"))
        assert found[0].verdict == verdict


def test_our_verdicts_stand_beside_a_claim_and_decide_nothing():
    claim = 'compares = { recipe = "dense_vs_moe", arm = "moe-active", against = "dense" }'
    loaded = file.parse(card(claim), "t")
    one = audit.audit(loaded, factory.campaign())[0]
    assert any("moe-active less dense" in text and "nats" in text for text in one.implied)
    assert one.verdict == "cannot be tested"


def test_as_many_runs_are_asked_of_others_as_of_ourselves():
    from harness.audit import evidence
    from harness.stats import inference as statistics

    assert evidence.MIN_RUNS == statistics.MIN_PAIRS


@pytest.mark.parametrize("zero", ["tokens", "time", "updates", "devices", "seq_len", "loss"])
def test_a_zero_breaks_nothing(zero):
    numbers = {
        "tokens": '"1B"', "time": '"2 h"', "updates": '"500"', "tokens_per_update": '"2M"',
        "devices": "2", "seq_len": "2048", "loss": '"3.0"', "perplexity": '"20.1"',
    } | {zero: "0"}  # fmt: skip
    inside = ", ".join(f"{name} = {text}" for name, text in numbers.items())
    found = audited(card(f'device = "rtx-4090"\nnumbers = {{ {inside}, parameters = "9M" }}'))
    assert found[0].verdict == ("holds" if zero == "seq_len" else "does not hold")


# ---- files -----------------------------------------------------------------------------------


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
        command.audit("nowhere.toml", as_json=False, markdown=False, results=tmp_path)
    bad = tmp_path / "bad.toml"
    bad.write_text("format = ")
    with pytest.raises(RequestError, match="not TOML"):
        command.audit(str(bad), as_json=False, markdown=False, results=tmp_path)
    bad.write_text("format = 2")
    with pytest.raises(RequestError, match="format is 2"):
        command.audit(str(bad), as_json=False, markdown=False, results=tmp_path)


def test_the_door(tmp_path, capsys):
    sound = tmp_path / "sound.toml"
    sound.write_text(planted.sound(3).text)
    command.audit(str(sound), as_json=True, markdown=False, results=tmp_path)
    told = json.loads(capsys.readouterr().out)
    assert {claim["id"] for claim in told["claims"]} >= {"model", "cost"}
    with pytest.raises(CheckFailed, match="do not hold"):
        command.audit(None, as_json=False, markdown=True, results=tmp_path)
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| **")]
    assert len(table) == len(file.load(None).claims)


def test_a_results_folder_may_bring_its_own_claims(tmp_path):
    folder = tmp_path / "facts"
    folder.mkdir()
    (folder / "claims.toml").write_text(planted.sound(4).text)
    assert file.load(None, tmp_path).title == "an imaginary card"


def test_shipped_audits_are_quoted_and_dated():
    shipped = command.shipped()
    assert len(shipped) >= 3
    for path in shipped.values():
        loaded = file.load(path)
        for claim in loaded.claims:
            assert claim.quote
            assert claim.address.startswith("https://")
            assert claim.read.year == 2026
        assert any(one.verdict == "holds" for one in audit.audit(loaded))


def test_records_of_the_same_sizes_speak_to_a_claim():
    record = next(one for one in factory.campaign() if one.arm == "dense")
    sizes = record.config["model"]
    names = ("vocab_size", "width", "layers", "heads", "kv_heads", "head_dim", "ffn")
    model = ", ".join(f"{name} = {sizes[name]}" for name in names)
    for count, verdict in [(record.total_parameters, "holds"), (10**9, "does not hold")]:
        text = card(f"numbers = {{ parameters = {count} }}\nmodel = {{ {model} }}")
        card_read = file.parse(text, "t")
        told = [c for c in audit.audit(card_read, [record])[0].checks if c.ground == "records"]
        assert [one.verdict for one in told] == [verdict]
