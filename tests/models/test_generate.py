from collections import Counter

import pytest
import torch
from transformers import AutoModelForCausalLM

from models.generate import GREEDY, Sampling, choose, generate
from models.hf import to_transformers
from models.layers import KVCache
from tests.models.small import DENSE, MOE, SILU_MOE, build, tokens

BASES = {"dense": DENSE, "moe": MOE, "silu-moe": SILU_MOE}
PROMPT = [5, 9, 33, 2]


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@pytest.mark.parametrize("settings", [{}, {"temperature": 1.5, "top_k": 40, "top_p": 0.95}])
def test_cached_equals_uncached_token_for_token(base, settings):
    network = build(base)
    drawn = Sampling(**settings)
    cached = list(generate(network, PROMPT, 60, drawn, cached=True))
    assert len(cached) == 60
    assert len(set(cached)) > 2
    assert cached == list(generate(network, PROMPT, 60, drawn, cached=False))


@pytest.mark.parametrize("base", [DENSE, MOE], ids=["dense", "moe"])
def test_greedy_equals_transformers(base, tmp_path):
    network = build(base)
    to_transformers(network, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    for seed in range(5):
        prompt = tokens(1, 6, seed=seed)
        expected = theirs.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=20
        )
        assert [*prompt[0].tolist(), *generate(network, prompt[0].tolist(), 20)] == expected[
            0
        ].tolist()


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_a_cache_filled_in_pieces_gives_the_whole_sequences_logits(base):
    network, inputs = build(base, torch.float64).eval(), tokens(2, 12)
    cache = KVCache(network.config, 2, 12, torch.float64, inputs.device)
    with torch.no_grad():
        pieces = [network(piece, cache) for piece in inputs.split([5, 1, 4, 2], dim=1)]
        # fp64; products of other shapes sum in another order.
        torch.testing.assert_close(torch.cat(pieces, 1), network(inputs), rtol=1e-10, atol=1e-12)
    assert cache.length == 12


def test_a_seed_repeats_and_another_does_not():
    network = build(DENSE)
    runs = [list(generate(network, PROMPT, 30, Sampling(2.0, seed=s))) for s in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_a_stop_token_comes_last_and_the_mode_is_given_back():
    network = build(DENSE).train()
    free = list(generate(network, PROMPT, 30))
    assert (
        list(generate(network, PROMPT, 30, stop_tokens=[free[3]]))
        == free[: free.index(free[3]) + 1]
    )
    assert network.training


def test_sampling_follows_the_cut_distribution():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 3.0])
    generator = torch.Generator().manual_seed(0)
    draws = 4000

    def shares(temperature, top_k, top_p):
        drawn = Sampling(temperature, top_k, top_p)
        seen = Counter(choose(logits, drawn, generator) for _ in range(draws))
        return torch.tensor([seen[token] / draws for token in range(5)])

    def expected(temperature, kept):
        p = (logits / temperature).softmax(0)
        p = torch.where(torch.tensor([t in kept for t in range(5)]), p, 0.0)
        return p / p.sum()

    # At temperature 1 the probabilities are .23 .09 .03 .01 .64: a nucleus of 0.8 needs two.
    for (temperature, top_k, top_p), kept in {
        (1.0, None, None): {0, 1, 2, 3, 4},
        (2.0, 3, None): {0, 1, 4},
        (1.0, None, 0.8): {0, 4},
        (1.0, None, 0.5): {4},
        (1.0, 2, 1.0): {0, 4},
    }.items():
        got, want = shares(temperature, top_k, top_p), expected(temperature, kept)
        assert not got[want == 0].any()
        # 0.5 / sqrt(draws) bounds the standard error of a share: four of them.
        assert (got - want).abs().max() < 4 * 0.5 / draws**0.5
    assert choose(logits, GREEDY, generator) == 4


@pytest.mark.parametrize(
    ("prompt", "new", "settings", "line"),
    [
        ([], 5, {}, "the prompt has no tokens"),
        ([97], 5, {}, "outside the vocabulary of 97"),
        (PROMPT, 0, {}, "max_new_tokens must be at least 1"),
        (PROMPT, 61, {}, "4 prompt tokens and 61 new ones are more than the model's 64"),
        (PROMPT, 5, {"temperature": -1.0}, "temperature"),
        (PROMPT, 5, {"temperature": 1.0, "top_k": 0}, "top_k"),
        (PROMPT, 5, {"temperature": 1.0, "top_p": 0.0}, "top_p"),
    ],
)
def test_a_wrong_request_is_refused_before_the_first_token(prompt, new, settings, line):
    with pytest.raises(ValueError, match=line):
        generate(build(DENSE), prompt, new, Sampling(**settings))
