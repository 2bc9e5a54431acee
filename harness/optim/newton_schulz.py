"""Newton-Schulz orthogonalisation, the heart of Muon."""

from __future__ import annotations

import torch


def orthogonalise(
    matrices: torch.Tensor,
    *,
    iterations: int,
    coefficients: tuple[float, float, float],
    eps: float,
    dtype: torch.dtype,
) -> torch.Tensor:
    """The nearest orthogonal matrix to each of `matrices`, approximately: (rows, cols), or
    (matrices, rows, cols).

    The quintic X <- a X + b (X Xᵀ) X + c (X Xᵀ)² X pushes every singular value towards 1 (Jordan
    et al., kellerjordan.github.io/posts/muon); it starts from X / (‖X‖_F + eps), whose singular
    values are at most 1. Works on the short side, where the products are smaller.
    Returns `dtype`.
    """
    a, b, c = coefficients
    x = matrices.to(dtype)
    tall = x.size(-2) > x.size(-1)
    if tall:
        x = x.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True, dtype=_norm_dtype(dtype)) + eps).to(dtype)
    for _ in range(iterations):
        gram = x @ x.mT
        polynomial = _plus_product(gram, gram, gram, beta=b, alpha=c)
        x = _plus_product(x, polynomial, x, beta=a, alpha=1.0)
    return x.mT if tall else x


def _plus_product(
    x: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *, beta: float, alpha: float
) -> torch.Tensor:
    """beta x + alpha left right, in one pass over the result: all (..., rows, cols)."""
    if x.ndim == 2:
        return torch.addmm(x, left, right, beta=beta, alpha=alpha)
    return torch.baddbmm(x, left, right, beta=beta, alpha=alpha)


def _norm_dtype(dtype: torch.dtype) -> torch.dtype:
    # A sum of 10^6 squares in bf16 would stop growing after a few hundred terms.
    return torch.float32 if dtype == torch.bfloat16 else dtype
