"""One imaginary training project and its model card's claims, in which everything fits.

Imports nothing of the project: see `planted`.
"""

from __future__ import annotations

import math
import random

# (name in the facts, dense bf16 TFLOP/s, USD an hour somewhere)
MACHINES = [("rtx-4090", 165.2, 0.4), ("h100-sxm", 989.0, 2.9), ("h100-pcie", 756.0, 2.3)]


class Story:
    """One imaginary training project: everything about it follows from a handful of choices."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        # A model, counted tensor by tensor.
        self.head = rng.choice([32, 64, 128])
        self.kv = rng.choice([1, 2, 3, 4])
        self.q = self.kv * rng.choice([1, 2, 3, 4])
        self.width = self.q * self.head
        while self.width < 384:
            self.q, self.kv, self.width = self.q * 2, self.kv * 2, self.width * 2
        self.layers = rng.randint(6, 32)
        self.ffn = 64 * rng.randint(max(2 * self.width // 64, 1), 4 * self.width // 64)
        self.vocab = rng.choice([8192, 32000, 32768, 49152, 50257])
        self.tied = rng.random() < 0.6
        tensors = [(self.vocab, self.width)] + ([] if self.tied else [(self.vocab, self.width)])
        for _ in range(self.layers):
            tensors += [(self.width, self.q * self.head), (self.width, self.kv * self.head)]
            tensors += [(self.width, self.kv * self.head), (self.q * self.head, self.width)]
            tensors += [(self.width, self.ffn)] * 2 + [(self.ffn, self.width)]
            tensors += [(self.width, 1)] * 2
        tensors.append((self.width, 1))
        self.params = sum(a * b for a, b in tensors)
        # A run of it.
        self.seq = rng.choice([512, 1024, 2048, 4096])
        self.micro = rng.choice([2, 4, 8, 16, 32])
        self.accum = rng.choice([2, 4, 5, 8, 12])
        self.gpus = rng.choice([1, 1, 2, 4, 8])
        self.per_update = self.micro * self.accum * self.gpus * self.seq
        self.updates = rng.randint(800, 60_000)
        self.tokens = self.updates * self.per_update
        self.machine, self.peak, usual = rng.choice(MACHINES)
        self.price = round(usual * rng.uniform(0.7, 1.5), 2)
        # FLOPs a token by one of the ways in which people count.
        touched = self.params - (0 if self.tied else self.vocab * self.width)
        reach = self.seq * self.q * self.head * self.layers
        self.flops = 6 * touched + rng.choice([0, 6, 12]) * reach
        self.mfu = rng.uniform(0.12, 0.55)
        self.rate = self.mfu * self.peak * 1e12 * self.gpus / self.flops
        self.seconds = self.tokens / self.rate
        self.dollars = self.price * self.gpus * self.seconds / 3600
        # Two lengths of one arm.
        self.fixed = rng.uniform(15, 240)
        self.speed = rng.uniform(0.4, 9)
        self.short = rng.choice([100, 200, 300, 500])
        self.long = self.short * rng.choice([2, 3, 4])
        # What it learned.
        self.loss = rng.uniform(2.2, 4.5)
        self.chars = rng.uniform(3.2, 4.9)  # bytes a token
        self.old, self.new = rng.uniform(20, 60), rng.uniform(20, 60)
        while abs(self.old - self.new) < 3:
            self.new = rng.uniform(20, 60)
        cut = [rng.randint(10, 60), rng.randint(10, 30)]
        self.mix = [*cut, 100 - sum(cut)]

    # How the story prints its numbers: a few digits, now and then with a tilde.
    def digits(self, value: float) -> str:
        n = self.rng.choice([2, 3, 3, 3, 4, 4])
        shift = n - 1 - math.floor(math.log10(abs(value)))
        return f"{round(value, shift):.{max(shift, 0)}f}"

    def maybe(self, text: str) -> str:
        return f"~{text}" if self.rng.random() < 0.2 else text

    def count(self, value: float) -> str:
        for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
            if value >= size:
                return self.digits(value / size) + letter
        return self.digits(value)

    def budget(self, value: float) -> str:
        """What was chosen is exact to three digits, or marked as rounded."""
        size = next(10.0**k for k in (12, 9, 6, 3, 0) if value >= 10.0**k)
        text = self.count(value)
        near = abs(float(text.rstrip("TBMk")) * size / value - 1) < 0.009
        return self.maybe(text) if near else f"~{text}"

    def span(self, seconds: float) -> str:
        if seconds < 100:
            return self.digits(seconds) + " s"
        if seconds < 7000:
            return self.digits(seconds / 60) + " min"
        if seconds < 200_000:
            return self.digits(seconds / 3600) + " hours"
        return self.digits(seconds / 86400) + " days"

    def run_span(self, seconds: float) -> str:
        """Timings of short runs, to hundredths of a minute."""
        return f"{seconds / 60:.2f} min"

    def numbers(self) -> dict[str, str]:
        """Every number as the card prints it, by a name of our own."""
        change = self.new / self.old - 1
        # The change is printed for the two values as printed, as authors compute it.
        return {
            "params": self.maybe(self.count(self.params)),
            "weights": self.digits(self.params * 2 / 1e6) + " MB",
            "per_update": self.maybe(self.count(self.per_update)),
            "updates": f"{self.updates:,}",
            "tokens": self.budget(self.tokens),
            "rate": self.count(self.rate) + " tokens/s",
            "per_gpu": self.count(self.rate / self.gpus) + " tok/s",
            "update_time": self.digits(self.per_update / self.rate * 1000) + " ms",
            "time": self.maybe(self.span(self.seconds)),
            "mfu": f"{self.mfu * 100:.1f}%",
            "dollars": "$" + self.digits(self.dollars),
            "price": f"${self.price}/h",
            "t_short": self.run_span(self.fixed + self.short / self.speed),
            "t_long": self.run_span(self.fixed + self.long / self.speed),
            "fixed": "",
            "loss": f"{self.loss:.3f}",
            "ppl": f"{math.exp(self.loss):.1f}",
            "bpb": f"{self.loss / math.log(2) / self.chars:.3f}",
            "chars": f"{self.chars:.2f}",
            "old": f"{self.old:.1f}",
            "new": f"{self.new:.1f}",
            "change": f"{change * 100:+.1f}%",
            "mix": ", ".join(f'"{share}%"' for share in self.mix),
        }


def text(s: Story, n: dict[str, str]) -> str:
    fixed = f', fixed_time = "{n["fixed"]}"' if n["fixed"] else ""
    return f"""format = 1
title = "an imaginary card"
address = "nowhere"
read = 2026-11-01
[[claim]]
id = "model"
kind = "parameters"
quote = "{n["params"]} parameters"
numbers = {{ parameters = "{n["params"]}" }}
[claim.model]
vocab_size = {s.vocab}
width = {s.width}
layers = {s.layers}
heads = {s.q}
kv_heads = {s.kv}
ffn = {s.ffn}
head_dim = {s.head}
tied = {str(s.tied).lower()}
[[claim]]
id = "weights"
kind = "memory"
quote = "{n["weights"]} in bf16"
with = ["model"]
numbers = {{ weight_bytes = "{n["weights"]}", bytes_per_parameter = 2 }}
[[claim]]
id = "batch"
kind = "training"
quote = "{n["per_update"]} tokens an update"
[claim.numbers]
micro_batch = {s.micro}
grad_accum = {s.accum}
seq_len = {s.seq}
devices = {s.gpus}
tokens_per_update = "{n["per_update"]}"
[[claim]]
id = "length"
kind = "training"
quote = "{n["updates"]} updates, {n["tokens"]} tokens"
with = ["batch"]
numbers = {{ updates = "{n["updates"]}", tokens = "{n["tokens"]}" }}
[[claim]]
id = "speed"
kind = "throughput"
quote = "{n["rate"]}, {n["per_gpu"]} a GPU, {n["time"]}, {n["update_time"]} an update"
with = ["length", "model"]
device = "{s.machine}"
[claim.numbers]
tokens_per_second = "{n["rate"]}"
time = "{n["time"]}"
tokens_per_device_second = "{n["per_gpu"]}"
time_per_update = "{n["update_time"]}"
[[claim]]
id = "mfu"
kind = "throughput"
quote = "{n["mfu"]} MFU"
with = ["speed"]
numbers = {{ mfu = "{n["mfu"]}" }}
[[claim]]
id = "cost"
kind = "cost"
quote = "{n["dollars"]} at {n["price"]}"
with = ["speed"]
numbers = {{ cost = "{n["dollars"]}", price_per_device_hour = "{n["price"]}" }}
[[claim]]
id = "timings"
kind = "timing"
quote = "{s.short} in {n["t_short"]}, {s.long} in {n["t_long"]}; fixed: {n["fixed"]}"
numbers = {{ devices = {s.gpus}{fixed} }}
[[claim.runs]]
updates = {s.short}
time = "{n["t_short"]}"
[[claim.runs]]
updates = {s.long}
time = "{n["t_long"]}"
[[claim]]
id = "quality"
kind = "quality"
quote = "{n["loss"]} / {n["ppl"]} / {n["bpb"]} at {n["chars"]} bytes a token"
[claim.numbers]
loss = "{n["loss"]}"
perplexity = "{n["ppl"]}"
bits_per_byte = "{n["bpb"]}"
bytes_per_token = "{n["chars"]}"
[[claim]]
id = "difference"
kind = "comparison"
quote = "{n["old"]} -> {n["new"]}, {n["change"]}"
numbers = {{ before = "{n["old"]}", after = "{n["new"]}", change = "{n["change"]}" }}
evidence = {{ runs_each = 5 }}
[[claim]]
id = "mix"
kind = "data"
quote = "mix {n["mix"].replace('"', "")}"
shares = [{n["mix"]}]
"""
