"""Kernels are interpreted or compiled by what TRITON_INTERPRET says when they are first imported,
and nothing can be built where they are interpreted: so `interpreted/` is for a process of its own,
which `test_in_the_interpreter.py` starts."""

import os

collect_ignore = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["interpreted"]
