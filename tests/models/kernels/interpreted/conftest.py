import pytest
import torch

from harness.bench.kernels.interpreter import rounding_casts

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _casts_round():
    with rounding_casts():
        yield
