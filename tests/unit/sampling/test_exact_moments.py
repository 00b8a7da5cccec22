"""What solvers make of Gaussian data, propagated without sampling noise: exact where theory says so, and the losses."""

import math

import pytest
import torch

from caminito.denoiser import GaussianDenoiser
from caminito.process import EDM, VE, VP, Chain, Cosine, RectifiedFlow, SubVP
from caminito.process import grid as grids
from caminito.sampling import DDIM, Ancestral, DPMpp2M, Heun
from caminito.testing import ddim_factor, flow_map, propagate

LINEAR, COSINE = Chain.ddpm("linear"), Chain.ddpm("cosine")
MEAN = torch.tensor([1.5, -0.5, 0.0, 3.0], dtype=torch.float64)
VAR = torch.tensor([1.0, 0.25, 0.01, 30.0], dtype=torch.float64)


def longest(process, steps):
    return grids.grid(process, steps, "trailing" if process.is_discrete else "uniform")


EVERY = {
    "linear": LINEAR,
    "cosine": COSINE,
    "zero-snr": Chain.ddpm("scaled-linear", zero_snr=True),
    "VP": VP(),
    "Cosine": Cosine(),
    "SubVP": SubVP(),
    "VE": VE(),
    "EDM": EDM(),
    "RectifiedFlow": RectifiedFlow(),
}


@pytest.mark.parametrize("steps", [2, 5, 10])
@pytest.mark.parametrize("name", EVERY)
def test_ancestral_with_the_posterior_variance_reproduces_gaussian_data(name, steps):
    """To 1e-10 (relative) at any number of steps, from the exact law at t_max (Bao et al. 2022)."""
    process = EVERY[name]
    got = propagate(GaussianDenoiser(MEAN, VAR, process), longest(process, steps), Ancestral("posterior"))
    assert float((got.cov.diagonal() / VAR - 1).abs().max()) < 1e-10
    assert float((got.cov - torch.diag(got.cov.diagonal())).abs().max()) == 0.0
    assert float((got.mean - MEAN).abs().max()) < 1e-10


@pytest.mark.parametrize(
    ("name", "q"), [("linear", 0.25), ("cosine", 0.01), ("zero-snr", 30.0), ("RectifiedFlow", 1.0)]
)
def test_ancestral_with_the_posterior_variance_is_as_exact_in_a_thousand_steps(name, q):
    process = EVERY[name]
    denoiser = GaussianDenoiser(torch.tensor([1.5], dtype=torch.float64), q, process)
    got = propagate(denoiser, longest(process, 1000), Ancestral("posterior"))
    assert abs(float(got.cov) / q - 1) < 1e-10
    assert abs(float(got.mean) - 1.5) < 1e-10


STEPS = (10, 20, 50, 100, 250, 1000)
TABLE = {
    "linear q=1 small": (LINEAR, 1.0, Ancestral("small"), ".548329 .710758 .857414 .921565 .966184 .991067"),
    "linear q=1 large": (LINEAR, 1.0, Ancestral("large"), ".897018 .971016 .994231 .998105 .999481 .999900"),
    "linear q=1 DDIM": (LINEAR, 1.0, DDIM(), ".687853 .830442 .928430 .963503 .985192 .996252"),
    "linear q=.25 small": (LINEAR, 0.25, Ancestral("small"), ".444822 .613111 .788900 .876915 .944016 .984501"),
    "linear q=.25 large": (LINEAR, 0.25, Ancestral("large"), ".975752 1.068435 1.047427 1.027069 1.011632 1.003008"),
    "linear q=.25 DDIM": (LINEAR, 0.25, DDIM(), ".547466 .744312 .888882 .942636 .976481 .993990"),
    "linear q=.25 eta=.5": (LINEAR, 0.25, DDIM(0.5), ".528774 .718031 .867765 .928543 .969463 .991923"),
    "linear q=.01 small": (LINEAR, 0.01, Ancestral("small"), ".076137 .216807 .465842 .626117 .790640 .927586"),
    "cosine q=.25 small": (COSINE, 0.25, Ancestral("small"), ".604214 .747540 .875138 .930982 .970024 .991987"),
}


@pytest.mark.parametrize("row", TABLE)
def test_output_variance_over_true_variance_to_the_printed_digits(row):
    """Trailing grid from N(0, 1). A standard deviation mistaken for a variance, or a wrong bridge, shows here."""
    chain, q, solver, printed = TABLE[row]
    denoiser = GaussianDenoiser(torch.zeros(1), q, chain)
    columns = 6 if row in ("linear q=1 DDIM", "linear q=.25 small") else 5  # a thousand steps take most of the time
    for steps, value in list(zip(STEPS, printed.split()))[:columns]:
        got = float(propagate(denoiser, grids.trailing(chain, steps), solver, mean=0.0, cov=1.0).cov) / q
        assert abs(got - float(value)) <= 0.5e-6, (steps, got)


def test_posterior_variance_from_the_wrong_start_errs_by_the_prior_alone():
    """From N(0, 1) instead of N(0, alpha_T^2 q + sigma_T^2): the excess shrinks with abar_T = 4e-5."""
    denoiser = GaussianDenoiser(torch.zeros(1), 0.25, LINEAR)
    for steps in (10, 100):
        got = float(propagate(denoiser, grids.trailing(LINEAR, steps), Ancestral("posterior"), mean=0.0, cov=1.0).cov)
        # x_0 keeps the share Cov(x_0, x_T)^2 / Var(x_T)^2 = (alpha_T q)^2 of an excess alpha_T^2 (1 - q)
        alpha2 = float(LINEAR.kernel(1000.0).scale) ** 2
        assert abs(got / 0.25 - 1) <= 1.01 * alpha2**2 * 0.25 * 0.75 + 1e-10


def test_small_variance_is_exact_for_a_single_point_and_large_for_standard_normal_data():
    point = GaussianDenoiser(torch.tensor([0.7], dtype=torch.float64), 0.0, LINEAR)
    for steps in (1, 3, 50):
        for solver in (Ancestral("small"), DDIM(), DDIM(1.0), Heun(), DPMpp2M()):
            got = propagate(point, grids.trailing(LINEAR, steps), solver)
            assert abs(float(got.mean) - 0.7) < 1e-12 and float(got.cov) < 1e-24
    normal = GaussianDenoiser(torch.zeros(1), 1.0, LINEAR)
    walk = grids.trailing(LINEAR, 10)[:-1]  # the last step adds no noise
    assert abs(float(propagate(normal, walk, Ancestral("large")).cov) - 1) < 1e-12
    small = GaussianDenoiser(torch.zeros(1), 0.0, LINEAR)
    sigma2 = float(LINEAR.kernel(walk[-1]).std) ** 2
    assert abs(float(propagate(small, walk, Ancestral("small")).cov) / sigma2 - 1) < 1e-12


def test_correlated_data_in_their_own_axes():
    """A full covariance is propagated as its eigenvalues are, by every deterministic solver."""
    cov = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    values, basis = torch.linalg.eigh(cov)
    process, grid = VP(), grids.karras(VP(), 12)
    for solver in (DDIM(), Heun(), DPMpp2M()):
        full = propagate(GaussianDenoiser(torch.zeros(2), cov, process), grid, solver, mean=0.0, cov=1.0).cov
        axes = propagate(GaussianDenoiser(torch.zeros(2), values, process), grid, solver, mean=0.0, cov=1.0).cov
        assert torch.allclose(basis.T @ full @ basis, axes, rtol=0, atol=1e-12)


def test_ddim_is_euler_in_sigma_over_alpha_factor_by_factor():
    """prod (1 + (s_{i+1} - s_i) s_i / (q + s_i^2)) for any schedule."""
    for process in (VP(), EDM(), LINEAR, VE()):
        grid = grids.grid(process, 12)
        alpha, sigma = process.kernel(grid)
        for q in (0.01, 1.0, 9.0):
            got = propagate(GaussianDenoiser(torch.zeros(1), q, process), grid, DDIM(), mean=0.0, cov=1.0).cov
            expected = ddim_factor(sigma / alpha, q) * alpha[-1] / alpha[0]
            assert math.isclose(math.sqrt(float(got)), float(expected), rel_tol=1e-11)


def test_published_optimal_grid_of_euler_on_a_gaussian():
    """t_i = c tan of equal angles is optimal for N(0, c^2); four grids of ten steps and their final spread."""
    process, c, n = EDM(80.0, 1.0), 0.5, 10
    i = torch.arange(n + 1, dtype=torch.float64) / n
    hi, lo = math.log(80.0), math.log(0.002)
    table = {
        0.884916: c * torch.tan((1 - i) * math.atan(80 / c) + i * math.atan(0.002 / c)),
        0.752777: (80 ** (1 / 7) + i * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7,
        0.767349: torch.exp(hi + i * (lo - hi)),
        0.066319: 80 + i * (0.002 - 80),
    }
    denoiser = GaussianDenoiser(torch.zeros(1), c**2, process)
    for ratio, sigmas in table.items():
        got = propagate(denoiser, (sigmas / 80).clamp(max=1.0), DDIM())
        assert abs(math.sqrt(float(got.cov) / (c**2 + 0.002**2)) - ratio) <= 0.5e-6


@pytest.mark.parametrize("process", [VP(), Cosine(), EDM(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_second_order_solvers_reach_the_exact_flow_of_a_gaussian(process):
    """x_s - alpha_s m scales by the ratio of marginal standard deviations."""
    q, t, s = 0.5, 0.8, 0.15
    exact = float(flow_map(process, q, torch.ones(1, dtype=torch.float64), t, s))
    denoiser = GaussianDenoiser(torch.zeros(1), q, process)
    for solver in (Heun(), DPMpp2M()):
        errors = []
        for steps in (40, 80, 160):
            levels = torch.linspace(float(process.logsnr(t)), float(process.logsnr(s)), steps + 1, dtype=torch.float64)
            grid = process.time(levels)
            errors.append(abs(math.sqrt(float(propagate(denoiser, grid, solver, mean=0.0, cov=1.0).cov)) - exact))
        slope = math.log2(errors[0] / errors[2]) / 2
        assert abs(slope - 2) < 0.15 or errors[2] < 1e-10, (solver, errors)
        assert errors[2] < 1e-2 * exact


def test_mean_of_gaussian_data_is_reproduced_by_every_solver_in_any_number_of_steps():
    for process in (VP(), Cosine(), VE(), EDM(), RectifiedFlow(), LINEAR):
        for steps in (1, 2, 7, 20):
            denoiser = GaussianDenoiser(MEAN[:2], VAR[:2], process)
            solvers = (Ancestral(), Ancestral("large"), Ancestral("posterior"), DDIM(), DDIM(0.3), Heun(), DPMpp2M())
            for solver in solvers:
                got = propagate(denoiser, grids.grid(process, steps), solver)
                # x / alpha up to sigma / alpha = 160, times a few eps a step
                assert float((got.mean - MEAN[:2]).abs().max()) < 1e-11, (process, steps, solver)
