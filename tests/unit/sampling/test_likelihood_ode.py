"""log p(x) along the probability flow: exact for Gaussians in the limit, of second order, in the units of x."""

import math

import pytest
import torch

from caminito._errors import ApproximateLikelihood, ConfigError
from caminito.denoiser import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser
from caminito.process import EDM, VE, VP, Chain, Cosine, RectifiedFlow, SubVP
from caminito.sampling import log_prob

X = torch.tensor([[0.3], [-1.2], [2.0]], dtype=torch.float64)


def levels(process, low, high, steps):
    """Equal steps in log-SNR; the last time is not the data."""
    ends = [-2 * math.log(v) for v in (high, low)]
    times = process.time(torch.linspace(*ends, steps + 1, dtype=torch.float64))
    return times.clamp(max=process.t_max)


@pytest.mark.parametrize("process", [VP(), SubVP(), EDM(20.0, 1.0)], ids=lambda p: type(p).__name__)
def test_likelihood_of_a_gaussian_converges_with_second_order(process):
    """To the density of x / alpha at the last time of the grid: log p_t(alpha x) + log alpha."""
    denoiser = GaussianDenoiser(torch.tensor([0.5]), 0.3, process)
    errors = []
    for steps in (16, 32, 64):
        grid = levels(process, 0.05, 19.0, steps)
        alpha = process.kernel(grid[-1]).scale
        exact = denoiser.log_marginal(alpha * X, grid[-1]) + torch.log(alpha)
        errors.append(float((log_prob(denoiser, X, grid=grid) - exact).abs().max()))
    assert abs(math.log2(errors[1] / errors[2]) - 2) < 0.25, errors


def test_likelihood_of_a_mixture_is_its_density_up_to_the_last_halving_of_the_step():
    """The error of a second-order rule is a third of what halving the step changed; plus that of a normal start."""
    process = VE(0.01, 30.0)
    means, covs = torch.tensor([[1.0], [-1.0]]), torch.tensor([0.3, 0.1])
    denoiser = MixtureDenoiser(torch.tensor([0.25, 0.75]), means, covs, process)
    values = []
    for steps in (30, 60):
        grid = levels(process, 0.05, 29.0, steps)
        values.append(log_prob(denoiser, X, grid=grid))
    exact = denoiser.log_marginal(X, grid[-1])
    # third and fourth cumulants (below 2) over 6 sigma^3 and 24 sigma^4, for |z| < 3
    start = 2 * 27 / (6 * 29**3)
    assert bool(((values[1] - exact).abs() <= (values[1] - values[0]).abs().max() + start).all())


@pytest.mark.parametrize("process", [VP(), Cosine(), RectifiedFlow(), VE()], ids=lambda p: type(p).__name__)
def test_likelihood_of_gaussian_data_in_any_units(process):
    """Including processes whose signal is gone at the end. Scaling data by c subtracts d log c."""
    values = []
    for c in (1.0, 3.0):
        mean, var = c * torch.tensor([1.0, -0.5]), c**2 * torch.tensor([1.0, 0.5])
        denoiser = GaussianDenoiser(mean, var, process)
        x = c * torch.tensor([[0.3, 0.1], [1.5, -1.0]], dtype=torch.float64)
        exact = torch.distributions.Normal(mean.double(), var.double().sqrt()).log_prob(x).sum(1)
        got = log_prob(denoiser, x, steps=50)
        # Heun's step is h = log(80 / .002) / 50 = .21: h^2 / 12 of slopes of order one over the few units where D acts
        assert float((got - exact).abs().max()) < 5 * 0.21**2 / 12
        values.append(got)
    assert float((values[0] - values[1] - 2 * math.log(3)).abs().max()) < 5 * 0.21**2 / 12


def test_one_probe_of_signs_is_the_exact_trace_of_a_diagonal_jacobian():
    denoiser = GaussianDenoiser(torch.zeros(5), torch.tensor([0.1, 0.5, 1.0, 2.0, 3.0]), VP())
    x = torch.randn(4, 5, dtype=torch.float64)
    exact = log_prob(denoiser, x, steps=20, exact=True)
    assert torch.allclose(log_prob(denoiser, x, steps=20, exact=False, probes=1), exact, rtol=1e-12, atol=1e-12)


def test_probes_estimate_the_trace_without_bias():
    """Hutchinson's estimate is linear in the probes: its mean over probes is within standard errors of the trace."""
    a = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    denoiser = GaussianDenoiser(torch.zeros(6), a @ a.T / 6 + 0.1 * torch.eye(6), VP())
    x = torch.zeros(1, 6, dtype=torch.float64)
    exact = float(log_prob(denoiser, x, steps=3, exact=True))
    draws = torch.cat([log_prob(denoiser, x, steps=3, exact=False, probes=1, seed=k) for k in range(20)])
    assert abs(float(draws.mean()) - exact) < 5 * float(draws.std()) / math.sqrt(20)
    assert float(draws.std()) > 0


def test_likelihood_of_the_empirical_denoiser_is_that_of_its_widened_data():
    data = torch.tensor([[0.0], [1.0], [1.2]], dtype=torch.float64)
    process = EDM(20.0, 1.0)
    denoiser = EmpiricalDenoiser(data, process, bandwidth=0.3)
    values = []
    for steps in (25, 50):
        grid = levels(process, 0.05, 20.0, steps)
        values.append(log_prob(denoiser, X, grid=grid))
    exact = denoiser.log_marginal(X, grid[-1])
    # third cumulant (below 1) over 6 sigma^3 for |z| < 3; the error of the rule is a third of what halving changed
    start = 27 / (6 * 20**3)
    assert bool(((values[1] - exact).abs() <= (values[1] - values[0]).abs().max() + start).all())


def test_large_events_are_estimated_and_say_so():
    denoiser = GaussianDenoiser(torch.zeros(65), 1.0, VP())
    x = torch.zeros(1, 65)
    with pytest.warns(ApproximateLikelihood, match=r"65 entries.*4 probes.*exact=True"):
        value = log_prob(denoiser, x, steps=4)
    assert value.dtype == torch.float64


def test_a_chain_has_no_likelihood_by_ode():
    denoiser = GaussianDenoiser(torch.zeros(2), 1.0, Chain.ddpm("linear"))
    with pytest.raises(ConfigError, match=r"no probability-flow ODE.*continuous process"):
        log_prob(denoiser, torch.zeros(1, 2))
