"""Edits of the code that trains: 40 that change what it computes, and 20 that do not.

Each is (file, what stands there once, what is planted instead). An edit whose place is gone has
rotted with the code and wants another; the test says so.
"""

from __future__ import annotations

Edit = tuple[str, str, str]

EXPERTS = "models/feed_forwards/experts.py"
OURS = "harness/optim/optimizers/muon.py"
ADAMW = "harness/optim/optimizers/adamw.py"
TORCHS = "harness/optim/optimizers/torch_muon.py"
SILU = "models/feed_forwards/silu.py"

CHANGES: tuple[Edit, ...] = (
    # Models.
    ("models/ops.py", "first * cos - second * sin", "first * cos + second * sin"),
    ("models/ops.py", "second * cos + first * sin", "second * cos - first * sin"),
    ("models/ops.py", "return F.silu(gate) * up", "return F.silu(up) * gate"),
    ("models/ops.py", "total = residual + x", "total = residual - x"),
    ("models/layers.py", "frequencies = 1.0 / theta**exponents", "frequencies = theta**exponents"),
    ("models/layers.py", "torch.arange(0, head_dim, 2,", "torch.arange(1, head_dim, 2,"),
    ("models/attentions/grouped_query.py", "tril(total - new)", "tril(total - new - 1)"),
    ("models/kernels/document_mask.py", "documents[:, 1:] != documents[:, :-1]",
     "documents[:, 1:] == documents[:, :-1]"),
    ("models/block.py", "return x + y, routing", "return normed + y, routing"),
    (SILU, "self.down(F.silu(self.up(x)))", "self.down(F.gelu(self.up(x)))"),
    (EXPERTS, "weights = chosen_p / chosen_p.sum(-1, keepdim=True)", "weights = chosen_p"),
    (EXPERTS, "probabilities.mean(1)).sum(-1)", "probabilities.mean(1)).mean(-1)"),
    (EXPERTS, "z = log_total.square().mean(1)", "z = log_total.mean(1)"),
    (EXPERTS, "order // self.top_k", "order % (order.numel() // self.top_k)"),
    (EXPERTS, "logits + self.noise * torch", "logits - 2 * self.noise * torch"),
    ("models/lm.py", "draw * self.config.init_std", "draw * self.config.init_std**2"),
    ("models/lm.py", "start + tokens.shape[1], device=tokens.device)",
     "start + tokens.shape[1], device=tokens.device) + 2 * start"),
    ("models/lm.py", "self.config.balance_weight * balance", "self.config.z_weight * balance"),
    ("models/kernels/cross_entropy.py", "p.amax(1).log() - at_target",
     "p.amax(1).log() + at_target"),
    ("models/kernels/grouped_mm.py", "[0, *stops[:-1]]", "[0, *stops[:-2], stops[-3]]"),
    # Optimizers and schedules.
    (OURS, "max(1.0, rows / cols)", "max(1.0, cols / rows)"),
    (OURS, "0.2 * max(rows, cols)", "0.2 * min(rows, cols)"),
    ("harness/optim/newton_schulz.py", "dtype=_norm_dtype(dtype)) + eps)",
     "dtype=_norm_dtype(dtype)) + 1e-2)"),
    (ADAMW, '{"params": spared, "weight_decay": 0.0}',
     '{"params": spared, "weight_decay": config.adamw_weight_decay}'),
    (ADAMW, "eps=config.adamw_eps", "eps=1e3 * config.adamw_eps"),
    (TORCHS, "momentum=config.muon_momentum", "momentum=0.9"),
    (TORCHS, '"spectral": "original"', '"spectral": "match_rms_adamw"'),
    ("harness/optim/schedule.py", "return (update + 1) / schedule.warmup_updates",
     "return update / schedule.warmup_updates"),
    ("harness/optim/schedule.py", "(update - decay_start) / max(1, end - decay_start)",
     "(update - decay_start + 1) / max(1, end - decay_start)"),
    ("harness/optim/schedule.py", "1.0 - math.cos(math.pi * progress)",
     "1.0 + math.cos(math.pi * progress)"),
    # Data, and what makes a loss of it.
    ("harness/data/batches.py", "targets[:, :-1] = labels[:, 1:]",
     "targets[:, :-1] = labels[:, :-1]"),
    ("harness/data/batches.py", "begins[:, 1:] = tokens[:, :-1] == self.end_of_document",
     "begins[:, 1:] = tokens[:, 1:] == self.end_of_document"),
    ("harness/data/batches.py", "SeedSequence([self._seed, epoch])",
     "SeedSequence([self._seed, 0])"),
    ("harness/data/chat.py", "scored[first : last + 1 if last else len(tokens)] = True",
     "scored[first : last if last else len(tokens)] = True"),
    ("harness/data/packing.py", "-len(items[i][1].tokens), i", "len(items[i][1].tokens), i"),
    ("harness/data/mix.py", "taken[source] += size(item)", "taken[source] += 1"),
    ("harness/data/tokenizer.py", "individual_digits=True", "individual_digits=False"),
    ("harness/data/units.py", '{split_seed}\\0{name}"', '{split_seed}{name}"'),
    ("harness/train/update.py", "cross_entropy = sums.cross_entropy / targets_in_update",
     "cross_entropy = sums.cross_entropy / batch.targets.size"),
    ("harness/train/evaluate.py", "documents = np.roll(data.documents, -1, axis=1)[scored]",
     "documents = np.roll(data.documents, 1, axis=1)[scored]"),
)  # fmt: skip

REFACTORS: tuple[Edit, ...] = (
    ("models/ops.py", "return F.silu(gate) * up", "return up * F.silu(gate)"),
    ("models/ops.py", "gate, up = gate_up.chunk(2, dim=-1)",
     "half = gate_up.shape[-1] // 2\n    gate, up = gate_up[..., :half], gate_up[..., half:]"),
    ("models/ops.py", "total = residual + x", "total = x + residual"),
    ("models/layers.py", "frequencies = 1.0 / theta**exponents",
     "frequencies = theta ** (-exponents)"),
    ("models/layers.py", "return angles.cos(), angles.sin()",
     "cosines, sines = torch.cos(angles), torch.sin(angles)\n    return cosines, sines"),
    ("models/block.py", "return x + y, routing", "z = y + x\n        return z, routing"),
    (EXPERTS, "log_total = logits.logsumexp(-1)",
     "log_total = torch.logsumexp(logits, -1)"),
    (EXPERTS, "chosen_p / chosen_p.sum(-1, keepdim=True)",
     "chosen_p.div(chosen_p.sum(dim=-1).unsqueeze(-1))"),
    (EXPERTS, "order = chosen.argsort(stable=True)",
     "order = chosen.sort(stable=True).indices"),
    ("models/lm.py", "balance = torch.stack([r.balance for r in routings]).sum()",
     "balance = sum(r.balance.sum() for r in routings)"),
    ("models/kernels/cross_entropy.py", "losses = largest - p.amax(1).log() - at_target",
     "losses = (largest - at_target) - p.amax(1).log()"),
    ("harness/optim/newton_schulz.py", "x = x @ factor if tall else factor @ x",
     "x = (factor @ x.mT).mT if tall else factor @ x"),
    (OURS, "max(1.0, rows / cols) ** 0.5",
     "max(rows / cols, 1.0) ** 0.5  # tall matrices move more"),
    ("harness/optim/schedule.py", "return 1.0 - (1.0 - schedule.final_fraction) * progress",
     "return schedule.final_fraction * progress + (1.0 - progress)"),
    (ADAMW, "[group for group in groups if group[\"params\"]]",
     "list(filter(lambda group: len(group[\"params\"]) > 0, groups))"),
    ("harness/data/batches.py", "targets = np.full_like(tokens, IGNORED)",
     "targets = np.empty_like(tokens)\n        targets[:] = IGNORED"),
    ("harness/data/mix.py", "return min(wanted, key=lambda i: (taken[i] / shares[i], i))",
     "return sorted(wanted, key=lambda i: (taken[i] / shares[i], i))[0]"),
    ("harness/data/packing.py", "at = part.stop", "at += len(one.tokens)"),
    ("harness/train/update.py", "sequences = len(batch.tokens)",
     "sequences: int = batch.tokens.shape[0]"),
    ("harness/train/evaluate.py", "nats=float(nats[scored].sum())",
     "nats=float(nats.sum(where=scored))"),
)  # fmt: skip
