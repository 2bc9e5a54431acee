"""The Triton kernels that can be switched on, each alone. May not import torch or Triton."""

KERNELS = ("rms_norm", "swiglu", "rope", "head_cross_entropy", "grouped_gemm")
