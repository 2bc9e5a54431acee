"""Numbers held against bounds, printed one a line, and an exit code that remembers."""

from __future__ import annotations

import torch


class Verdicts:
    """What passed and what did not."""

    def __init__(self) -> None:
        self.failed = 0

    def below(self, what: str, value: float, bound: float) -> None:
        """Fails unless `value` is at most `bound`; what is not a number fails."""
        passed = value <= bound
        self.failed += not passed
        print(f"{'ok    ' if passed else 'FAILED'}  {what}: {value:.2e} (at most {bound:.0e})")

    def close(self, what: str, value: torch.Tensor, truth: torch.Tensor, bound: float) -> None:
        """The 2-norm of the difference, relative to the truth's."""
        difference = (value.double() - truth.double()).norm() / truth.double().norm()
        self.below(what, float(difference), bound)

    @property
    def exit_code(self) -> int:
        """0 if nothing failed."""
        return 1 if self.failed else 0
