"""Dormand-Prince 5(4): its order, its tolerance, and the ways it gives up."""

import math

import pytest
import torch

from caminito._errors import ConfigError, NonFiniteError
from caminito.sampling import _dopri
from caminito.sampling._dopri import integrate

START = (torch.tensor([[1.0, 0.0], [0.5, -0.5]], dtype=torch.float64), torch.zeros(2, dtype=torch.float64))


def turning(t, y):
    """A rotation whose speed grows, (x, v)' = t (v, -x), and the integral of v."""
    x, v = y[0].unbind(1)
    return t * torch.stack([v, -x], 1), t * v


def turned(t):
    angle = t**2 / 2
    c, s = math.cos(angle), math.sin(angle)
    x, v = START[0].unbind(1)
    return torch.stack([c * x + s * v, c * v - s * x], 1), (c - 1) * x + s * v


def test_weights_meet_the_conditions_of_their_orders():
    """sum b_i c_i^(q-1) = 1/q up to order 5, rows of a sum to c, and the embedded weights agree up to order 4."""
    c = torch.tensor([0.0, *_dopri._C], dtype=torch.float64)
    for row, node in zip(_dopri._A, _dopri._C):
        assert sum(row) == pytest.approx(node, abs=1e-14)
    b = torch.tensor([*_dopri._A[-1], 0.0], dtype=torch.float64)
    error = torch.tensor(_dopri._E, dtype=torch.float64)
    for q in range(1, 6):
        assert float(b @ c ** (q - 1)) == pytest.approx(1 / q, abs=1e-14)
        if q < 5:
            assert float(error @ c ** (q - 1)) == pytest.approx(0, abs=1e-15)
    assert abs(float(error @ c**4)) > 1e-4


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
def test_error_follows_the_tolerance_in_every_part_of_the_state(tolerance):
    got = integrate(turning, START, 0.0, 6.0, rtol=tolerance, atol=tolerance)
    for part, exact in zip(got, turned(6.0)):
        # errors of some tens of steps add up
        assert float((part - exact).abs().max()) < 50 * tolerance


def test_calls_grow_with_the_fifth_root_of_the_tolerance():
    counts = []
    for tolerance in (1e-5, 1e-10):
        calls = 0

        def counted(t, y):
            nonlocal calls
            calls += 1
            return turning(t, y)

        integrate(counted, START, 0.0, 6.0, rtol=tolerance, atol=tolerance)
        counts.append(calls)
    assert 6 < counts[1] / counts[0] < 14, counts  # 10^(5/5) for an error held per step


def test_the_longest_item_decides():
    """A still row beside a fast one costs the fast one no digits."""
    fast = (torch.cat([START[0], torch.zeros(500, 2, dtype=torch.float64)]), torch.zeros(502, dtype=torch.float64))
    alone = integrate(turning, START, 0.0, 6.0, rtol=1e-7, atol=1e-7)
    among = integrate(turning, fast, 0.0, 6.0, rtol=1e-7, atol=1e-7)
    assert torch.allclose(among[0][:2], alone[0], rtol=0, atol=1e-12)


def test_agrees_with_an_independent_implementation():
    torchdiffeq = pytest.importorskip("torchdiffeq")
    times = torch.tensor([0.0, 6.0], dtype=torch.float64)
    theirs = torchdiffeq.odeint(turning, START, times, rtol=1e-8, atol=1e-8, method="dopri5")
    ours = integrate(turning, START, 0.0, 6.0, rtol=1e-8, atol=1e-8)
    for a, b in zip(ours, theirs):
        assert torch.allclose(a, b[-1], rtol=0, atol=1e-6)


def test_a_slope_that_is_not_finite_is_named():
    def broken(t, y):
        return (y[0] / (0.0 if t > 1 else 1.0),)

    with pytest.raises(NonFiniteError, match="not finite between"):
        integrate(broken, (torch.ones(1, 1, dtype=torch.float64),), 0.0, 2.0, rtol=1e-6, atol=1e-6)
    with pytest.raises(NonFiniteError, match="not finite at 1.5"):
        integrate(broken, (torch.ones(1, 1, dtype=torch.float64),), 1.5, 2.0, rtol=1e-6, atol=1e-6)


def test_a_tolerance_out_of_reach_is_told():
    with pytest.raises(ConfigError, match=r"rtol = 1e-12, atol = 1e-12: not met within 60 evaluations"):
        integrate(turning, START, 0.0, 6.0, rtol=1e-12, atol=1e-12, max_evals=60)
    grain = torch.Generator().manual_seed(0)

    def noisy(t, y):
        return (torch.randn(1, 1, generator=grain, dtype=torch.float64),)

    with pytest.raises(ConfigError, match="not met within"):
        integrate(noisy, (torch.ones(1, 1, dtype=torch.float64),), 0.0, 1.0, rtol=1e-15, atol=1e-15, max_evals=600)
