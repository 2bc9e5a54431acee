"""Newton-Schulz orthogonalisation, the heart of Muon."""

from __future__ import annotations

import torch
from torch import Tensor

TOGETHER = 3
"""Iterations done at once, on the short side's square matrices, where `WIDE`: each but the last
takes three products of the short side in place of two of both sides. The Gram matrix is not
measured again between them, so rounding may grow with their number. Two CPU cores, bf16,
1536 x 576: 10.6 ms, one by one 13.2, two at once 11.3, all five 9.4; on a Gaussian matrix all are
as near to the orthogonal factor. Five were not tried on badly conditioned ones."""

WIDE = 2.0
"""Columns to rows from which that is done."""

HALVED_ROWS = 384
"""The number of rows from which half of a symmetric product is worth a copy: at 576 rows it takes
0.8 to 0.9 of the whole's time, at 256 rows 1.2 to 1.5 of it. Batches never take halves."""


def orthogonalise(
    matrices: Tensor,
    *,
    iterations: int,
    coefficients: tuple[float, float, float],
    eps: float,
    dtype: torch.dtype,
) -> Tensor:
    """The nearest orthogonal matrix to each of `matrices`, approximately: (rows, cols), or
    (matrices, rows, cols).

    The quintic X <- (a I + b X Xᵀ + c (X Xᵀ)²) X pushes every singular value towards 1 (Jordan
    et al., kellerjordan.github.io/posts/muon); it starts from X / (‖X‖_F + eps), whose singular
    values are at most 1. Works on the short side, where the products are smaller.
    Returns `dtype`.
    """
    x = matrices.to(dtype)
    x = x / (torch.linalg.matrix_norm(x, keepdim=True, dtype=_norm_dtype(dtype)) + eps).to(dtype)
    short, long = sorted(x.shape[-2:])
    together = TOGETHER if long >= WIDE * short else 1
    tall = x.size(-2) > x.size(-1)
    while iterations > 0:
        factor = _factor(x.mT if tall else x, min(together, iterations), coefficients)
        x = x @ factor if tall else factor @ x
        iterations -= together
    return x


def _factor(x: Tensor, iterations: int, coefficients: tuple[float, float, float]) -> Tensor:
    """What `iterations` multiply x, (..., rows, cols), by: (..., rows, rows).

    One multiplies it by P = a I + b G + c G², G = X Xᵀ, whereupon the next one's G is P G P. All
    are polynomials of the first G: they commute, and their products are symmetric.
    """
    a, b, c = coefficients
    if c > 0.0:
        # A complete square and a constant: one product, no sum to pass over, and less to cancel
        # in bf16. The Gram matrix carries the root of c.
        gram_scale, shift = c**0.5, b / (2.0 * c**0.5)
        rest = a - shift * shift
    else:
        gram_scale, rest = 1.0, a
    gram = _symmetric_product(x, x.mT, gram_scale)
    factor: Tensor | None = None
    while True:
        if c > 0.0:
            diagonal = _diagonal(gram).clone()
            _diagonal(gram).add_(shift)
            p = _symmetric_product(gram, gram)
            _diagonal(gram).copy_(diagonal)
        else:
            p = _symmetric_product(gram, gram, c).add_(gram, alpha=b)
        _diagonal(p).add_(rest)
        factor = p if factor is None else _symmetric_product(p, factor)
        iterations -= 1
        if not iterations:
            return factor
        gram = _symmetric_product(p, _symmetric_product(gram, p))


def _diagonal(square: Tensor) -> Tensor:
    return square.diagonal(dim1=-2, dim2=-1)


def _symmetric_product(left: Tensor, right: Tensor, alpha: float = 1.0) -> Tensor:
    """alpha left right, (..., rows, rows), of factors whose product is symmetric."""
    rows = left.size(-2)
    out = left.new_empty(*left.shape[:-1], rows)
    if left.ndim == 3 or left.is_cuda or rows < HALVED_ROWS:
        return _product(left, right, alpha, out)
    upper, lower = slice(0, rows // 2), slice(rows // 2, rows)
    for half in (upper, lower):
        _product(left[half], right[:, half.start :], alpha, out[half, half.start :])
    out[lower, upper] = out[upper, lower].mT
    return out


def _product(left: Tensor, right: Tensor, alpha: float, out: Tensor) -> Tensor:
    if alpha == 1.0:
        return torch.matmul(left, right, out=out)
    scaled = torch.addmm if left.ndim == 2 else torch.baddbmm
    return scaled(out, left, right, beta=0.0, alpha=alpha, out=out)


def _norm_dtype(dtype: torch.dtype) -> torch.dtype:
    # A sum of 10^6 squares in bf16 would stop growing after a few hundred terms.
    return torch.float32 if dtype == torch.bfloat16 else dtype
