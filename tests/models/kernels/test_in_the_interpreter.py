import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_interpreted_suite_passes():
    # `TRITON_INTERPRET=1 pytest tests/models/kernels/interpreted` is the same by hand.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "interpreted")],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=HERE.parents[2], capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout
