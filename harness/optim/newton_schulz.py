"""Newton-Schulz orthogonalisation, the heart of Muon."""

from __future__ import annotations

import torch

BY_TWO = 2.0
"""Columns to rows from which two iterations are done at once: five products of the short side
replace two of both sides. Measured on two CPU cores at 576 x 1536 in bf16: 14.4 ms against 17.5.
The next Gram matrix then carries the rounding of the last, so never more than two."""

HALVED_ROWS = 384
"""From which half of a symmetric product is worth a copy: at 576 rows it takes 0.8 to 0.9 of the
whole's time, at 256 rows 1.2 to 1.5 of it."""


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
    by_two = x.size(-1) >= BY_TWO * x.size(-2)
    while iterations > 0:
        gram = _gram(x)
        p = _symmetric_plus_product(
            gram, gram, gram, beta=b, alpha=c
        )  # one iteration is X <- (a I + p) X
        if by_two and iterations >= 2:
            # The next Gram matrix is (a I + p) G (a I + p), and the next factor a I + q.
            half_way = _symmetric_plus_product(gram, p, gram, beta=a, alpha=1.0)
            gram = _symmetric_plus_product(half_way, half_way, p, beta=a, alpha=1.0)
            q = _symmetric_plus_product(gram, gram, gram, beta=b, alpha=c)
            both = _symmetric_plus_product(p, q, p, beta=a, alpha=1.0).add_(q, alpha=a)
            x = _plus_product(x, both, x, beta=a * a, alpha=1.0)
            iterations -= 2
        else:
            x = _plus_product(x, p, x, beta=a, alpha=1.0)
            iterations -= 1
    return x.mT if tall else x


def _gram(x: torch.Tensor) -> torch.Tensor:
    """X Xᵀ of (..., rows, cols)."""
    if not _by_halves(x):
        return x @ x.mT
    gram = x.new_empty(x.size(0), x.size(0))
    for rows in _halves(x.size(0)):
        torch.mm(x[rows], x[rows.start :].mT, out=gram[rows, rows.start :])
    return _mirrored(gram)


def _symmetric_plus_product(
    x: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *, beta: float, alpha: float
) -> torch.Tensor:
    """beta x + alpha left right, (..., rows, rows), where x and the factors are polynomials of one
    symmetric matrix, and so the result is symmetric."""
    if not _by_halves(x):
        return _plus_product(x, left, right, beta=beta, alpha=alpha)
    out = torch.empty_like(x)
    for rows in _halves(x.size(0)):
        torch.addmm(
            x[rows, rows.start :], left[rows], right[:, rows.start :], beta=beta, alpha=alpha,
            out=out[rows, rows.start :],
        )  # fmt: skip
    return _mirrored(out)


def _by_halves(x: torch.Tensor) -> bool:
    """One large matrix on the CPU."""
    return x.ndim == 2 and not x.is_cuda and x.size(0) >= HALVED_ROWS


def _halves(rows: int) -> tuple[slice, slice]:
    return slice(0, rows // 2), slice(rows // 2, rows)


def _mirrored(square: torch.Tensor) -> torch.Tensor:
    """In place: the lower left half becomes the upper right one's mirror."""
    upper, lower = _halves(square.size(0))
    square[lower, upper] = square[upper, lower].mT
    return square


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
