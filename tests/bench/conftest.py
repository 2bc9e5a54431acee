"""Kernels can be built only where Triton is, which is Linux."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("triton") else ["test_aot.py", "test_kernels_lab.py"]
