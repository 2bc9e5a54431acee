"""The claims audit: the seed card's claims, planted errors, sound cards, and bad files."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.audit import claims as file
from harness.audit import page as audit
from harness.audit import sizes
from tests.audit import planted, planted_claims
from tests.report import factory


def seed() -> dict[str, audit.AuditedClaim]:
    card = file.load(None)
    return {one.claim.id: one for one in audit.audit(card)}


def audited(text: str) -> list[audit.AuditedClaim]:
    return audit.audit(file.parse(text, "test.toml"))


HEAD = 'format = 1\ntitle = "t"\naddress = "a"\nread = 2026-11-01\n'


def card(claim: str) -> str:
    quote = claim.replace('"', "").replace("\n", " ")  # whatever is claimed stands in it
    return f'{HEAD}[[claim]]\nid = "c"\nkind = "training"\nquote = "{quote}"\n{claim}'


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
        # 1B tokens in 1.3 hours at 1.02 GFLOP each are 132 % of a 4090's peak: 1B is 1B.
        ('device = "rtx-4090"\nnumbers = { tokens = "1B", time = "1.3 hours", flops_per_token = '
         '"1.02 GFLOP" }', "does not hold"),
        # 104 % at what is printed, and no more than 100 % if the hour was an hour and a tenth.
        ('device = "rtx-4090"\nnumbers = { tokens = "1B", time = "1 hour", flops_per_token = '
         '"0.62 GFLOP" }', "cannot be tested"),
        ('runs = [{ updates = 300, time = "2.16 min" }, { updates = 600, time = "2.16 min" }]',
         "cannot be tested"),
        ('device = "rtx-4090"\nnumbers = { tokens_per_update = 98304, parameters = "135M" }\n'
         'runs = [{ updates = 300, time = "2.16 min" }, { updates = 600, time = "2.16 min" }]',
         "does not hold"),
        ('numbers = { tokens = "10B", updates = 19073, tokens_per_update = 524288 }', "holds"),
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
        # A family's name alone: an H100 of either kind does less than 1.1 PFLOP/s, and 0.8 may be.
        ('device = "H100"\nnumbers = { flops_per_second = "1.10 PFLOP/s" }', "does not hold"),
        ('device = "H100"\nnumbers = { flops_per_second = "0.80 PFLOP/s" }', "holds"),
        ('device = "RTX 3090 Ti"\nnumbers = { flops_per_second = "75 TFLOP/s" }',
         "cannot be tested"),
        # A device that nobody here knows, by the peak that the claim states.
        ('device = "tpu-v9"\nnumbers = { flops_per_second = "1.2 PFLOP/s", peak_flops = '
         '"900 TFLOPS" }', "does not hold"),
        ('device = "h100-sxm"\nnumbers = { flops_per_device_second = "410 TFLOPS/GPU", '
         'mfu = "51%" }', "does not hold"),
        ('device = "h100-sxm"\nnumbers = { flops_per_device_second = "410 TFLOPS/GPU", '
         'mfu = "41%" }', "holds"),
        # What a device is said to do, against 6 x 1.0B parameters x tokens: 300 TFLOP/s at least.
        ('device = "h100-sxm"\nnumbers = { parameters = "1.0B", seq_len = 2048, '
         'tokens_per_device_second = "50k tokens/s/GPU", flops_per_device_second = '
         '"150 TFLOPS/GPU" }', "does not hold"),
        ('device = "h100-sxm"\nnumbers = { parameters = "1.0B", seq_len = 2048, '
         'tokens_per_device_second = "50k tokens/s/GPU", flops_per_device_second = '
         '"320 TFLOPS/GPU" }', "holds"),
        # What lies in memory: 24 GB of a 4090, whose GB are GiB at the most.
        ('device = "rtx-4090"\nnumbers = { weight_bytes = "14.5 GB", optimizer_bytes = "14 GB" }',
         "does not hold"),
        ('device = "rtx-4090"\nnumbers = { weight_bytes = "14.5 GB" }', "holds"),
        ('device = "rtx-4090"\nnumbers = { weight_bytes = "29.0 GB", devices = 2 }', "holds"),
        ('numbers = { parameters = "7.24B", bytes_per_parameter = "2 bytes", weight_bytes = '
         '"14.5 GiB" }', "does not hold"),
        ('sum = { parts = ["8T", "2T", "1.2T"], total = "11.6T" }', "does not hold"),
        ('sum = { parts = ["8T tokens", "2T", "1.2T"], total = "11.2T" }', "holds"),
        ('numbers = { parameters = "134.5M", embedding_parameters = "28.3M", '
         'non_embedding_parameters = "97.2M" }', "does not hold"),
        # Full attention over 32,768 tokens doubles the work of 1B parameters.
        ('device = "a100-80gb"\nnumbers = { parameters = "1.0B", seq_len = "32,768", mfu = "60%", '
         'tokens_per_second = "14k tokens/s" }', "holds"),
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


@pytest.mark.parametrize(
    ("model", "count"),
    [
        # As the released weights count, and their cards round.
        (dict(family="gpt2", vocab_size=50257, width=768, layers=12, heads=12, positions=1024),
         124_439_808),
        (dict(family="gpt-neox", vocab_size=50304, width=512, layers=6, heads=8), 70_426_624),
        (dict(vocab_size=32000, width=4096, layers=32, heads=32, kv_heads=8, ffn=14336,
              experts=8, top_k=2, tied=False), 46_702_792_704),
        (dict(vocab_size=102400, width=2048, layers=28, heads=16, kv_heads=16, ffn=1408,
              experts=64, top_k=6, shared_experts=2, dense_layers=1, dense_ffn=10944,
              tied=False), 16_375_728_128),
    ],
)  # fmt: skip
def test_sizes_of_released_models(model, count):
    assert sizes.read(model).total == count


def test_an_impossible_model_is_a_finding_and_the_rest_is_read():
    text = card(
        'numbers = { parameters = "13B" }\nmodel = { vocab_size = 100352, width = 5120, layers = '
        "40, heads = 42, kv_heads = 42, ffn = 13824 }\n"
    ) + card('numbers = { mfu = "40%" }').removeprefix(HEAD).replace('id = "c"', 'id = "d"')
    first, second = audited(text)
    assert first.verdict == "does not hold"
    assert "40 heads of 128" in first.readings[0]
    assert second.verdict == "cannot be tested"


def test_a_number_that_the_quote_does_not_print_holds_nothing():
    sound = 'numbers = { before = "2.0", after = "3.0", change = "+50%" }'
    for quote, verdict in [
        ("from 2.0 to 3.0: +50%", "holds"),
        ("from two to 3.0: +50%", "cannot be tested"),  # "2.0" is not what it prints
        ("3.0, by 50%", "cannot be tested"),
        ("from 2.5 to 3.0: +50%", "does not hold"),  # another number where one was copied from
        ("from 2.00 to 3.0: +50%", "holds"),
    ]:
        text = card(sound).replace('quote = "' + sound.replace('"', ""), f'quote = "{quote}')
        assert [one.verdict for one in audited(text)] == [verdict], quote


@pytest.mark.parametrize(
    ("quote", "verdict"),
    [
        ("13.5 hours", "holds"),
        ("810 min", "holds"),
        ("13.5 min", "does not hold"),
        ("14 hours", "does not hold"),
    ],
)
def test_a_quote_prints_the_unit_too(quote, verdict):
    sound = 'numbers = { time = "13.5 hours", tokens = 2_000_000_000, tokens_per_second = 41_152 }'
    text = card(sound).replace('quote = "' + sound.replace('"', ""), f'quote = "in {quote}')
    assert [one.verdict for one in audited(text)] == [verdict]


@pytest.mark.parametrize(
    ("told", "sizes_told", "verdict"),
    [
        ('non_embedding_parameters = "106M"', "vocab_size = 49152, width = 576, layers = 30, heads "
         "= 9, kv_heads = 3, ffn = 1536", "holds"),
        ('non_embedding_parameters = "120M"', "vocab_size = 49152, width = 576, layers = 30, heads "
         "= 9, kv_heads = 3, ffn = 1536", "does not hold"),
        # nanoGPT leaves the positions out, Kaplan et al. the look-up table too.
        ('non_embedding_parameters = "123.65M"', 'family = "gpt2", vocab_size = 50257, positions '
         "= 1024, layers = 12, heads = 12, width = 768", "holds"),
        ('non_embedding_parameters = "85.1M"', 'family = "gpt2", vocab_size = 50257, positions '
         "= 1024, layers = 12, heads = 12, width = 768", "holds"),
    ],
)  # fmt: skip
def test_parameters_without_the_embedding(told, sizes_told, verdict):
    found = audited(card(f"numbers = {{ {told} }}\nmodel = {{ {sizes_told} }}"))
    assert [one.verdict for one in found] == [verdict]


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
