"""Sizes, memory and FLOPs of models in published style, sound and with one planted error.

Counts tensor by tensor and product by product. Imports nothing of the project: see
`planted_claims`.
"""

from __future__ import annotations

from tests.audit.published_style import Maker, Rng, digits, stated


def _classic_tensors(v: int, d: int, n: int, positions: int, tied: bool) -> int:
    tensors = [(v, d)] * (1 if tied else 2) + [(positions, d)]
    for _ in range(n):
        tensors += [(d, 3 * d), (1, 3 * d), (d, d), (1, d), (d, 4 * d), (1, 4 * d), (4 * d, d)]
        tensors += [(1, d)] * 5
    return sum(a * b for a, b in [*tensors, (1, d), (1, d)])


def _millions(count: float) -> str:
    return f"{count / 1e6:.1f}M"


def _table(model: dict[str, object]) -> str:
    return "[claim.model]\n" + "\n".join(
        f"{name} = {str(value).lower() if isinstance(value, bool) else value}"
        if not isinstance(value, str) else f'{name} = "{value}"'
        for name, value in model.items()
    )  # fmt: skip


def _neox(rng: Rng, wrong: bool) -> str:
    d, n, heads = rng.choice([(512, 6, 8), (768, 12, 12), (2048, 16, 8)])
    count = _classic_tensors(50304, d, n, 0, tied=wrong)
    sizes = dict(family="gpt-neox", vocab_size=50304, width=d, layers=n, heads=heads)
    return stated("a model of {parameters}", _table(sizes), parameters=_millions(count))


def _untied(rng: Rng, wrong: bool) -> str:
    d, n, heads = rng.choice([(768, 12, 12), (1024, 24, 16)])
    count = _classic_tensors(50257, d, n, 1024, tied=wrong)
    sizes = dict(
        family="gpt2", vocab_size=50257, width=d, layers=n, heads=heads, positions=1024, tied=False
    )
    return stated("untied, {parameters}", _table(sizes), parameters=_millions(count))


def _llama_tensors(v: int, d: int, n: int, kv: int, f: int, networks: int, routed: int) -> int:
    tensors = [(v, d)]
    for _ in range(n):
        tensors += [(d, d), (d, d), (d, kv), (d, kv), (d, 1), (d, 1), (d, routed)]
        tensors += [(d, f), (d, f), (f, d)] * networks
    return sum(a * b for a, b in [*tensors, (d, 1)])


def _shared(rng: Rng, wrong: bool) -> str:
    d, n, experts, shared = 1024, rng.choice([12, 16]), rng.choice([16, 32]), rng.choice([1, 2])
    networks = experts + (0 if wrong else shared)
    count = _llama_tensors(32000, d, n, 512, 704, networks, experts)
    sizes = dict(
        vocab_size=32000, width=d, layers=n, heads=8, kv_heads=4, ffn=704, experts=experts,
        top_k=4, shared_experts=shared,
    )  # fmt: skip
    return stated("{parameters} in all", _table(sizes), parameters=_millions(count))


def _geglu(rng: Rng, wrong: bool) -> str:
    d, n = rng.choice([(768, 12), (1024, 20)])
    count = _llama_tensors(32000, d, n, d, 4 * d, 1, 0)
    if wrong:
        count -= n * 4 * d * d  # the gate forgotten
    sizes = dict(
        vocab_size=32000, width=d, layers=n, heads=8, kv_heads=8, ffn=4 * d, activation="geglu"
    )
    return stated("{parameters}", _table(sizes), parameters=_millions(count))


def _heads(rng: Rng, wrong: bool) -> str:
    d, heads = rng.choice([(5120, 40), (2048, 16)])
    v, n, f = 100_352, 16, 4 * d
    count = _llama_tensors(v, d, n, d, f, 1, 0)
    heads += 2 if wrong else 0
    sizes = dict(vocab_size=v, width=d, layers=n, heads=heads, kv_heads=heads, ffn=f)
    other = stated("{tokens} tokens", tokens="2T").replace('"c"', '"d"')
    return stated("{parameters}", _table(sizes), parameters=_millions(count)) + other


def _inner(rng: Rng, wrong: bool) -> str:
    d, size = rng.choice([(2048, 128), (1024, 64)])
    heads = d // size // (2 if wrong else 1)
    sizes = dict(
        family="gpt-neox", vocab_size=50304, width=d, layers=16, heads=heads, head_dim=size
    )
    count = _classic_tensors(50304, d, 16, 0, tied=False)
    return stated("{parameters}", _table(sizes), parameters=_millions(count))


def _tokens_each(rng: Rng, wrong: bool) -> str:
    count, ratio = rng.uniform(100e6, 900e6), rng.choice([20, 40])
    tokens = count * ratio * (rng.choice([0.5, 1.6]) if wrong else 1)
    return stated(
        "{parameters} parameters, {tokens} tokens: {tokens_per_parameter}",
        parameters=f"{digits(count / 1e6)}M", tokens=f"{digits(tokens / 1e9)}B",
        tokens_per_parameter=f"{ratio} tokens per parameter",
    )  # fmt: skip


def _optimizer(rng: Rng, wrong: bool) -> str:
    count = rng.uniform(100e6, 3e9)
    size = count * (rng.choice([5.5, 10.2]) if wrong else 8)
    return stated(
        "AdamW's moments of {parameters}: {optimizer_bytes}",
        parameters=f"{digits(count / 1e6, 4)}M",
        optimizer_bytes=f"{digits(size / 1e9, 4)} GB",
    )  # fmt: skip


def _cache(rng: Rng, wrong: bool) -> str:
    d, n, heads, kv = rng.choice([(4096, 32, 32, 8), (2048, 22, 32, 4)])
    length = rng.choice([2048, 8192])
    size = 2 * n * (heads if wrong else kv) * (d // heads) * length * 2
    sizes = dict(vocab_size=32000, width=d, layers=n, heads=heads, kv_heads=kv, ffn=2 * d)
    return stated(
        "{kv_cache_bytes} at {seq_len} tokens", _table(sizes), seq_len=f"{length:,}",
        kv_cache_bytes=f"{size / 2**20:,.1f} MiB",
    )  # fmt: skip


SCALING = ((768, 10, 12, 2.2), (1088, 14, 17, 5.1), (1536, 18, 12, 11.8), (2048, 24, 16, 26.3))


def _flops(d: int, n: int, heads: int, look_up: bool, masked: bool) -> float:
    """Training FLOPs a token at 2,048 positions and a vocabulary of 50,257, product by product."""
    products = [(d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)]
    a_layer = sum(2 * a * b for a, b in products) + 2 * 2 * 2048 * d / (2 if masked else 1)
    softmax = 0 if masked else 3 * heads * 2048
    ends = 2 * 50257 * d * (2 if look_up else 1)
    return 3 * (n * (a_layer + softmax) + ends)


def _rows(rng: Rng, odd: float | None, other: bool) -> str:
    text, chosen = "", rng.randrange(1, 4)
    for row, (d, n, heads, tokens) in enumerate(SCALING):
        each = _flops(d, n, heads, look_up=True, masked=False)
        if row == chosen and other:
            each = _flops(d, n, heads, look_up=False, masked=True)
        total = each * tokens * 1e9 * (odd if odd and row == chosen else 1)
        sizes = dict(
            family="gpt2", vocab_size=50257, width=d, layers=n, heads=heads, positions=2048
        )
        name = "c" if row == chosen else f"row-{row}"
        text += stated(
            "{tokens} tokens, {total_flops}", _table(sizes), tokens=f"{tokens}B",
            total_flops=f"{total:.2E}", seq_len="=2048",
        ).replace('id = "c"', f'id = "{name}"')  # fmt: skip
    return text


def _appendix_f(rng: Rng, wrong: bool) -> str:
    return _rows(rng, rng.choice([0.6, 1.4]) if wrong else None, other=False)


def _one_convention(rng: Rng, wrong: bool) -> str:
    return _rows(rng, None, other=wrong)


KINDS: dict[str, Maker] = {
    "GPT-NeoX": _neox, "untied GPT-2": _untied, "shared experts": _shared, "GeGLU": _geglu,
    "impossible heads": _heads, "heads and width": _inner, "tokens a parameter": _tokens_each,
    "optimizer memory": _optimizer, "KV cache": _cache, "appendix F": _appendix_f,
    "one convention": _one_convention,
}  # fmt: skip
