"""Kernels are interpreted or compiled by what TRITON_INTERPRET says when they are first imported,
and nothing can be built where they are interpreted: so `interpreted/` is for a process of its own,
which `test_in_the_interpreter.py` starts. There is nothing to test where Triton is not."""

import os
from importlib.util import find_spec

collect_ignore_glob = []
if find_spec("triton") is None:
    collect_ignore_glob = ["*"]
elif os.environ.get("TRITON_INTERPRET") != "1":
    collect_ignore_glob = ["interpreted"]
