"""Another program of ours that ends with the process that asked for it, and before it imports
anything heavy: `python -P -m harness.train.beside PARENT MODULE [ARGUMENT...]`."""

from __future__ import annotations

import runpy
import sys

from harness.train.__main__ import end_with


def main() -> int:
    """Run the module as a program; exit code 2 where its parent is gone."""
    parent, module = int(sys.argv[1]), sys.argv[2]
    if not end_with(parent):
        return 2
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
