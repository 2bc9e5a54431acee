import pytest
import torch

from models.kernels.launching import label, recorded
from models.kernels.registry import OPS
from models.kernels.rms_norm import BACKWARD, FORWARD, rms_norm
from models.kernels.rope import rope
from models.kernels.swiglu import swiglu
from models.kernels.unfit import UNFIT


@pytest.mark.parametrize("name", OPS)
def test_a_cpu_tensor_is_refused_where_nothing_interprets(name):
    entry = OPS[name]
    with pytest.raises(ValueError, match=r"runs on cuda, not on cpu: turn kernels off"):
        entry.kernel(*entry.example(3, torch.float32))


def test_recorded_launches_are_listed_in_order_and_not_run():
    x = torch.randn(5, 24, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(24, requires_grad=True)
    with recorded() as launches:
        rms_norm(x, weight, 1e-5).sum().backward()
    assert [launch.kernel for launch in launches] == [FORWARD, BACKWARD]
    assert launches[0].arguments["rows"] == 5
    assert launches[0].arguments["BLOCK"] == 32
    with pytest.raises(ValueError, match="cuda"):
        rms_norm(x, weight, 1e-5)


def test_configurations_shown_not_to_fit_are_not_tuned():
    (kernel, arch), labels = next(iter(UNFIT.items()))
    assert kernel == BACKWARD.name
    kept = [label(c) for c in BACKWARD.configs if BACKWARD.fits(c, arch)]
    assert kept
    assert not labels & set(kept)
    assert len(kept) + len(labels) == len(BACKWARD.configs)
    assert all(BACKWARD.fits(c, "sm_90") for c in BACKWARD.configs)


def test_shapes_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="77 wide"):
        swiglu(torch.zeros(2, 77))
    angles = torch.zeros(4, 1, 8)
    with pytest.raises(ValueError, match=r"wants cosines and sines \(5, 1, 8\)"):
        rope(torch.zeros(1, 5, 2, 16), angles, angles)


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPS)
def test_on_a_gpu_no_error_is_more_than_twice_torchs(name):
    from harness.bench.kernels.errors import compare

    entry = OPS[name]
    arguments = tuple(
        a.cuda() if isinstance(a, torch.Tensor) else a for a in entry.example(257, torch.bfloat16)
    )
    for error in compare(entry.kernel, entry.reference, arguments, entry.differentiable):
        assert error.acceptable, error
