"""The balanced chain: its end is as normal as asked for, and its steps are equally hard."""

import doctest
import itertools
import math
import sys

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from caminito._errors import ConfigError
from caminito.process import Chain, balanced_chain

MEAN, VAR = torch.tensor([0.3, -2.0, 1.0, 0.0]), torch.tensor([0.25, 1.0, 1e-4, 30.0])


def levels(chain):
    """snr_1 > ... > snr_T."""
    return np.exp(chain.logsnr(torch.arange(1, int(chain.t_max) + 1, dtype=torch.float64)).numpy())


def klub(snr, var):
    """1/2 sum_d (g - 1 - log g) of every step but the first."""
    w = snr[:, None] + 1 / np.atleast_1d(var)
    growth = w[:-1] / w[1:]
    return (growth - 1 - np.log(growth)).sum(1) / 2


@pytest.mark.parametrize("tolerance", [0.1, 1e-3, 1e-6])
def test_gaussian_data_end_within_the_tolerance(tolerance):
    """Exact KL of N(a m, a^2 q + s^2) to N(0, 1), entry by entry."""
    chain, bound = balanced_chain((MEAN, VAR), 30, tolerance=tolerance)
    alpha, sigma = chain.kernel(30)
    m, v = alpha * MEAN, alpha**2 * VAR + sigma**2
    assert float((m**2 + v - 1 - torch.log(v)).sum() / 2) <= bound <= tolerance
    assert bound > tolerance * (1 - 1e-6)  # no noisier than it must be


@pytest.mark.parametrize("tolerance", [0.1, 1e-3])
@pytest.mark.parametrize("apart", [0.5, 3.0])
def test_data_of_two_points_end_within_the_tolerance(apart, tolerance):
    """KL of a mixture of two normals to N(0, 1), by quadrature; as far from Gaussian as a variance allows."""
    chain, bound = balanced_chain((0.0, apart**2), 10, tolerance=tolerance)
    alpha, sigma = (float(v) for v in chain.kernel(10))

    def integrand(x):
        towards = [math.exp(-(((x - side * alpha * apart) / sigma) ** 2) / 2) for side in (1, -1)]
        density = sum(towards) / (2 * sigma * math.sqrt(2 * math.pi))
        return density * (math.log(density) + x**2 / 2 + math.log(2 * math.pi) / 2)

    assert 0 < quad(integrand, -9, 9, epsabs=1e-12)[0] <= bound <= tolerance


@pytest.mark.parametrize(("mean", "var"), [(0.0, 0.25), (MEAN, VAR), (5.0, 100.0)], ids=["one", "four", "wide"])
def test_increments_of_the_length_are_equal(mean, var):
    """int sqrt(sum_d (snr + 1/q_d)^-2) d snr over each step, by adaptive quadrature in log(snr + 1 / max q)."""
    chain, _ = balanced_chain((mean, var), 25, tolerance=1e-3)
    q = np.atleast_1d(np.asarray(var, dtype=np.float64))
    shift = 1 / q.max()

    def density(u):
        snr = math.exp(u) - shift
        return math.exp(u) * math.sqrt(((q / (1 + q * snr)) ** 2).sum())

    edges = np.log(levels(chain) + shift)
    length = [quad(density, low, high, epsabs=0, epsrel=1e-10)[0] for high, low in itertools.pairwise(edges)]
    assert np.ptp(length) < 1e-6 * np.mean(length)


def test_steps_of_isotropic_data_cost_the_same_and_the_least_together():
    chain, _ = balanced_chain((torch.zeros(3), 0.25), 40)
    snr, var = levels(chain), [0.25] * 3
    cost = klub(snr, var)
    assert np.ptp(cost) < 1e-9 * cost.mean()
    rng = np.random.RandomState(0)
    for _ in range(20):
        moved = snr.copy()
        moved[1:-1] *= np.exp(0.02 * rng.randn(38))
        assert klub(np.sort(moved)[::-1], var).sum() > cost.sum()
    linear = Chain.ddpm("linear")  # and than DDPM's, between the same ends and in as many steps
    between = levels(linear)
    same_ends, _ = balanced_chain(
        (0.0, 0.25), 1000, tolerance=float(1e-9 + 0.5 * (4.0358e-5 * -0.75 - math.log1p(-4.0358e-5))), sigma_min=0.01
    )
    assert klub(levels(same_ends), 0.25).sum() < 0.75 * klub(between, 0.25).sum()


def test_the_variance_of_standard_data_is_kept_at_every_step():
    chain, _ = balanced_chain((0.0, 1.0), 100)
    assert float((chain.scale**2 + chain.std**2 - 1).abs().max()) < 1e-14
    assert float((chain.logsnr(1) + 2 * math.log(0.01)).abs()) < 1e-9  # a hundredth of the data after one step


def test_the_example_of_the_docstring_runs():
    assert doctest.testmod(sys.modules[balanced_chain.__module__]).failed == 0


def test_one_step_is_the_end_alone():
    chain, bound = balanced_chain((0.0, 0.5), 1, tolerance=0.01)
    assert chain.t_max == 1 and 0.0099 < bound <= 0.01


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (((0.0, 1.0), 0), {}, "steps: expected a whole number >= 1"),
        (((0.0, 0.0), 5), {}, "data that vary"),
        (((0.0, float("nan")), 5), {}, "finite mean and variances"),
        (((0.0, 1.0), 5), {"tolerance": 0.0}, "tolerance: expected a finite number > 0"),
        (((0.0, 1.0), 5), {"sigma_min": -1.0}, "sigma_min: expected a finite number > 0"),
        (((0.0, 1.0), 5), {"tolerance": 1.0, "sigma_min": 5.0}, "Ask for a smaller tolerance"),
    ],
)
def test_errors(arguments, options, says):
    with pytest.raises(ConfigError, match=says):
        balanced_chain(*arguments, **options)
