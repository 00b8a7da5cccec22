"""Exact denoisers: Tweedie, the covariance by differentiation, and each other's limits."""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from caminito.denoiser import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser
from caminito.denoiser import empirical as empirical_module
from caminito.errors import ConfigError
from caminito.process import EDM, VE, VP, Chain, Cosine, RectifiedFlow, SubVP

EPS = torch.finfo(torch.float64).eps
G = torch.Generator().manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, generator=G, dtype=torch.float64)


def covariance(size):
    a = randn(size, size)
    return a @ a.T / size + 0.1 * torch.eye(size, dtype=torch.float64)


MEAN, DIAGONAL, FULL = randn(3), torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64), covariance(3)
WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
MEANS, DATA = 2 * randn(3, 3), randn(25, 3)


def denoisers(process):
    return {
        "gaussian": GaussianDenoiser(MEAN, 0.7, process),
        "diagonal": GaussianDenoiser(MEAN, DIAGONAL, process),
        "full": GaussianDenoiser(MEAN, FULL, process),
        "mixture": MixtureDenoiser(WEIGHTS, MEANS, torch.stack([FULL, 2 * FULL, covariance(3)]), process),
        "mixture-diagonal": MixtureDenoiser(
            WEIGHTS, MEANS, torch.stack([DIAGONAL, DIAGONAL / 2, 2 * DIAGONAL]), process
        ),
        "mixture-spherical": MixtureDenoiser(WEIGHTS, MEANS, torch.tensor([0.1, 0.4, 1.0]), process),
        "empirical": EmpiricalDenoiser(DATA, process),
        "widened": EmpiricalDenoiser(DATA, process, bandwidth=0.3),
    }


PROCESSES = {
    "VP": (VP(), 0.4),
    "SubVP": (SubVP(), 0.6),
    "VE": (VE(), 0.7),
    "EDM": (EDM(), 0.5),
    "RectifiedFlow": (RectifiedFlow(), 0.45),
    "ddpm": (Chain.ddpm("cosine", steps=100), 60.0),
    "turned": (Chain([0.1, 1.4, 0.2], [0.3, 0.5, 0.4]), 3.0),
}
KINDS = list(denoisers(VP()))
both = [(p, k) for p in PROCESSES for k in KINDS]


@pytest.mark.parametrize(("process", "kind"), both)
def test_tweedie_formula_by_automatic_differentiation(process, kind):
    """alpha D = x + sigma^2 grad log p_t (Robbins 1956; Efron 2011)."""
    process, t = PROCESSES[process]
    denoiser = denoisers(process)[kind]
    alpha, sigma = (float(c) for c in process.kernel(t))
    x = (alpha * randn(6, 3) + sigma * randn(6, 3)).requires_grad_(True)
    (score,) = torch.autograd.grad(denoiser.log_marginal(x, t).sum(), x)
    got, x = alpha * denoiser.mean(x, t).detach(), x.detach()
    size = float(x.abs().max()) + 1 / sigma
    assert float((got - x - sigma**2 * score).abs().max()) < 1000 * EPS * size * max(1, sigma**2)


@pytest.mark.parametrize(("process", "kind"), both)
def test_variance_is_the_derivative_of_the_mean(process, kind):
    """Cov[x0 | x_t] = sigma^2 / alpha dD/dx_t; its diagonal is `var`, and it is symmetric."""
    process, t = PROCESSES[process]
    denoiser = denoisers(process)[kind]
    alpha, sigma = (float(c) for c in process.kernel(t))
    for row in alpha * randn(4, 1, 3) + sigma * randn(4, 1, 3):
        jacobian = torch.autograd.functional.jacobian(lambda x: denoiser.mean(x, t), row).reshape(3, 3)
        cov = sigma**2 / alpha * jacobian
        size = 1 + float(cov.abs().max()) * (1 + 1 / sigma**2)
        assert float((denoiser.var(row, t)[0] - cov.diagonal()).abs().max()) < 1000 * EPS * size
        assert float((cov - cov.T).abs().max()) < 1000 * EPS * size


@pytest.mark.parametrize("kind", KINDS)
def test_forward_derivative_agrees_with_the_backward_one(kind):
    denoiser = denoisers(VP())[kind]
    x, along = randn(5, 3), randn(5, 3)
    _, moved = torch.func.jvp(lambda y: denoiser.mean(y, 0.3), (x,), (along,))
    _, pulled = torch.func.vjp(lambda y: denoiser.mean(y, 0.3), x)
    # Cov is symmetric, so the two products are the same vector
    assert float((moved - pulled(along)[0]).abs().max()) < 1e4 * EPS * (1 + float(moved.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_no_signal_no_information(kind):
    """Where alpha = 0 the mean is that of the data, the variance too, and the density is that of noise."""
    for process, t in ((Cosine(), 1.0), (RectifiedFlow(), 1.0), (Chain([0.1, 1.0], [0.3, 0.7]), 2.0)):
        denoiser = denoisers(process)[kind]
        x = randn(4, 3)
        mean, var = denoiser.data_moments
        sigma = float(process.kernel(t).std)
        assert torch.allclose(denoiser.mean(x, t), mean.expand(4, 3), rtol=0, atol=100 * EPS)
        assert torch.allclose(denoiser.var(x, t), var.expand(4, 3), rtol=0, atol=200 * EPS)
        noise = -0.5 * ((x / sigma) ** 2 + math.log(2 * math.pi * sigma**2)).sum(1)
        assert torch.allclose(denoiser.log_marginal(x, t), noise, rtol=100 * EPS, atol=0)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "empirical"])
def test_no_noise_the_observation_is_the_datum(kind):
    denoiser = denoisers(VP())[kind]
    x = randn(4, 3)
    assert torch.allclose(denoiser.mean(x, 0.0), x, rtol=0, atol=100 * EPS * float(x.abs().max() + 1))
    assert float(denoiser.var(x, 0.0).abs().max()) < 100 * EPS


def test_no_noise_the_empirical_mean_is_the_nearest_datum():
    denoiser = EmpiricalDenoiser(DATA, VP())
    x = DATA[:5] + 1e-3
    assert torch.equal(denoiser.mean(x, 0.0), DATA[:5])
    assert float(denoiser.var(x, 0.0).max()) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_an_observation_erased_by_the_chain_says_nothing(kind):
    """mu = 1 without noise: x_t = 0 for every x0."""
    denoiser = denoisers(Chain([0.1, 1.0, 0.0], [0.3, 0.0, 0.5]))[kind]
    mean, var = denoiser.data_moments
    x = torch.zeros(2, 3, dtype=torch.float64)
    # the log-densities of a mixture are 1062 in size there (3/2 log of the smallest number), and round accordingly
    assert torch.allclose(denoiser.mean(x, 2.0), mean.expand(2, 3), rtol=0, atol=1e4 * EPS)
    assert torch.allclose(denoiser.var(x, 2.0), var.expand(2, 3), rtol=0, atol=4e4 * EPS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_times_is_a_row_of_scalars(kind):
    denoiser = denoisers(VP())[kind]
    x, t = randn(4, 3), torch.tensor([0.1, 0.4, 0.7, 1.0], dtype=torch.float64)
    for method in (denoiser.mean, denoiser.var, denoiser.log_marginal):
        whole = method(x, t)
        for i in range(4):
            one = method(x[i : i + 1], t[i])[0]
            assert torch.allclose(whole[i], one, rtol=100 * EPS, atol=100 * EPS)


@pytest.mark.parametrize("kind", KINDS)
def test_event_axes_are_a_matter_of_shape_alone(kind):
    """An event (1, 3) is the event (3,) reshaped."""
    process, x = VP(), randn(5, 3)
    flat = denoisers(process)[kind]
    if kind.startswith("mixture"):
        covs = {
            "mixture": torch.stack([FULL, 2 * FULL, FULL]),
            "mixture-diagonal": torch.stack([DIAGONAL, DIAGONAL / 2, DIAGONAL]),
            "mixture-spherical": torch.tensor([0.1, 0.4, 1.0]),
        }[kind]
        flat = MixtureDenoiser(WEIGHTS, MEANS, covs, process)
        shaped = covs.reshape(3, 1, 3) if kind == "mixture-diagonal" else covs
        deep = MixtureDenoiser(WEIGHTS, MEANS.reshape(3, 1, 3), shaped, process)
    elif kind in ("empirical", "widened"):
        deep = EmpiricalDenoiser(DATA.reshape(25, 1, 3), process, flat.bandwidth)
    else:
        cov = {"gaussian": 0.7, "diagonal": DIAGONAL.reshape(1, 3), "full": FULL}[kind]
        deep = GaussianDenoiser(MEAN.reshape(1, 3), cov, process)
    y = x.reshape(5, 1, 3)
    assert torch.allclose(deep.mean(y, 0.4).reshape(5, 3), flat.mean(x, 0.4), rtol=0, atol=1e-14)
    assert torch.allclose(deep.var(y, 0.4).reshape(5, 3), flat.var(x, 0.4), rtol=0, atol=1e-14)
    assert torch.allclose(deep.log_marginal(y, 0.4), flat.log_marginal(x, 0.4), rtol=1e-13, atol=0)
    assert deep.data_moments[0].shape == (1, 3)


def test_gaussian_conditioning_by_solving_the_joint_system():
    process, t = VP(), 0.3
    alpha, sigma = (float(c) for c in process.kernel(t))
    x = randn(4, 3)
    total = alpha**2 * FULL + sigma**2 * torch.eye(3, dtype=torch.float64)
    gain = alpha * torch.linalg.solve(total, FULL).T
    denoiser = GaussianDenoiser(MEAN, FULL, process)
    assert torch.allclose(denoiser.mean(x, t), MEAN + (x - alpha * MEAN) @ gain.T, rtol=0, atol=1e-13)
    assert torch.allclose(denoiser.var(x, t)[0], (FULL - alpha * gain @ FULL).diagonal(), rtol=0, atol=1e-14)
    law = torch.distributions.MultivariateNormal(alpha * MEAN, total)
    assert torch.allclose(denoiser.log_marginal(x, t), law.log_prob(x), rtol=1e-13, atol=0)


def test_diagonal_covariance_is_a_full_one_without_correlations():
    x = randn(4, 3)
    a, b = GaussianDenoiser(MEAN, DIAGONAL, VP()), GaussianDenoiser(MEAN, torch.diag(DIAGONAL), VP())
    for t in (0.0, 0.2, 1.0):
        assert torch.allclose(a.mean(x, t), b.mean(x, t), rtol=0, atol=1e-14)
        assert torch.allclose(a.var(x, t), b.var(x, t), rtol=0, atol=1e-14)


def test_a_direction_without_variance_stays_at_its_mean():
    denoiser = GaussianDenoiser(torch.tensor([1.0, -1.0]), torch.tensor([0.0, 1.0]), VP())
    for t in (0.0, 0.5, 1.0):
        assert torch.equal(denoiser.mean(randn(3, 2), t)[:, 0], torch.ones(3, dtype=torch.float64))
        assert float(denoiser.var(randn(3, 2), t)[:, 0].abs().max()) == 0.0


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_mixture_of_scikit_learn_gives_its_own_log_density_at_time_zero(kind):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(200, 3)), rng.normal(3.0, 0.5, size=(100, 3))])
    fitted = GaussianMixture(4, covariance_type=kind, random_state=0).fit(x)
    denoiser = MixtureDenoiser.from_sklearn(fitted, VP())
    got = denoiser.log_marginal(torch.from_numpy(x), 0.0).numpy()
    # scikit-learn works with the inverse Cholesky factor, of condition below 1e3 here
    assert np.abs(got - fitted.score_samples(x)).max() < 1e-11
    share = denoiser.responsibilities(torch.from_numpy(x), 0.0).numpy()
    assert np.abs(share - fitted.predict_proba(x)).max() < 1e-11
    mean, var = denoiser.data_moments
    centre = fitted.weights_ @ fitted.means_
    assert np.abs(mean.numpy() - centre).max() < 1e-13
    assert var.shape == (3,)


def test_mixture_of_one_component_is_the_gaussian():
    one, gauss = MixtureDenoiser(torch.ones(1), MEAN[None], FULL[None], VP()), GaussianDenoiser(MEAN, FULL, VP())
    x = randn(5, 3)
    assert torch.allclose(one.mean(x, 0.4), gauss.mean(x, 0.4), rtol=0, atol=4 * EPS)
    assert torch.allclose(one.var(x, 0.4), gauss.var(x, 0.4), rtol=0, atol=4 * EPS)
    assert torch.allclose(one.log_marginal(x, 0.4), gauss.log_marginal(x, 0.4), rtol=4 * EPS, atol=0)


def test_a_component_of_no_weight_is_not_there():
    two = MixtureDenoiser(WEIGHTS[:2] / 0.7, MEANS[:2], 0.3, VP())
    three = MixtureDenoiser(torch.tensor([2 / 7, 5 / 7, 0.0]), MEANS, 0.3, VP())
    x = randn(5, 3)
    assert torch.allclose(two.mean(x, 0.2), three.mean(x, 0.2), rtol=0, atol=1e-7)  # weights rounded to float32
    assert torch.isfinite(three.log_marginal(x, 0.2)).all()


def test_weights_in_float32_are_accepted_and_normalised():
    weights = torch.ones(20) / 20  # sum is 1 within 1e-7
    denoiser = MixtureDenoiser(weights, randn(20, 2), 0.1, VP())
    assert abs(float(torch.exp(denoiser._log_weights).sum()) - 1) < 4 * EPS


def test_moments_of_a_mixture_by_the_law_of_total_variance():
    denoiser = MixtureDenoiser(WEIGHTS, MEANS, torch.stack([FULL, 2 * FULL, 3 * FULL]), VP())
    mean = WEIGHTS @ MEANS
    second = WEIGHTS @ (torch.stack([FULL, 2 * FULL, 3 * FULL]).diagonal(dim1=1, dim2=2) + MEANS**2)
    assert torch.allclose(denoiser.data_moments[0], mean, rtol=0, atol=8 * EPS)
    assert torch.allclose(denoiser.data_moments[1], second - mean**2, rtol=0, atol=100 * EPS)


@pytest.mark.parametrize("bandwidth", [0.3, 1e-3, 1e-6])
@pytest.mark.parametrize("process", [VP(), EDM()], ids=["VP", "EDM"])
def test_empirical_is_a_mixture_of_equal_components(bandwidth, process):
    mixture = MixtureDenoiser(torch.full((25,), 1 / 25), DATA, bandwidth**2, process)
    denoiser = EmpiricalDenoiser(DATA, process, bandwidth)
    for t in (0.15, 0.4, 0.9):
        alpha, sigma = (float(c) for c in process.kernel(t))
        x = alpha * DATA[:7] + sigma * randn(7, 3)
        slack = 1e-13 * (1 + 1 / sigma**2)  # exponents of size |x - alpha y|^2 / 2 sigma^2
        assert float((denoiser.mean(x, t) - mixture.mean(x, t)).abs().max()) < slack
        assert float((denoiser.var(x, t) - mixture.var(x, t)).abs().max()) < slack
        assert float((denoiser.log_marginal(x, t) - mixture.log_marginal(x, t)).abs().max()) < slack


def test_empirical_moments_are_those_of_the_data():
    denoiser = EmpiricalDenoiser(DATA, VP(), 0.3)
    assert torch.allclose(denoiser.data_moments[0], DATA.mean(0), rtol=0, atol=4 * EPS)
    assert torch.allclose(denoiser.data_moments[1], DATA.var(0, correction=0) + 0.09, rtol=0, atol=8 * EPS)


def test_empirical_does_not_depend_on_its_chunks(monkeypatch):
    denoiser, x = EmpiricalDenoiser(DATA, VP(), 0.1), randn(17, 3)
    whole = denoiser.mean(x, 0.3), denoiser.var(x, 0.3), denoiser.log_marginal(x, 0.3)
    for pairs in (1, 60, 25 * 16):
        monkeypatch.setattr(empirical_module, "_CHUNK_PAIRS", pairs)
        parts = denoiser.mean(x, 0.3), denoiser.var(x, 0.3), denoiser.log_marginal(x, 0.3)
        assert torch.equal(parts[0], whole[0]) and torch.equal(parts[1], whole[1])
        assert torch.allclose(parts[2], whole[2], rtol=8 * EPS, atol=0)


def test_empirical_keeps_its_digits_far_from_the_origin():
    """|x|^2 - 2 x.y + |y|^2 at 1e6 would lose 1e-4; differences lose 1e-10."""
    data = torch.tensor([[0.0], [0.1]], dtype=torch.float64)
    near, far = EmpiricalDenoiser(data, EDM()), EmpiricalDenoiser(data + 1e6, EDM())
    t = float(EDM().time(-2 * math.log(0.05)))
    x = torch.tensor([[0.04], [0.06]], dtype=torch.float64)
    # 1e6 carries 1.2e-10; the exponent moves by 0.1 / 0.05^2 times that
    assert float((far.mean(x + 1e6, t) - 1e6 - near.mean(x, t)).abs().max()) < 1e-8
    assert float((far.var(x + 1e6, t) - near.var(x, t)).abs().max()) < 1e-9


def test_dtype_of_the_observation_is_kept():
    for denoiser in denoisers(VP()).values():
        for dtype in (torch.float32, torch.float64):
            x = randn(2, 3).to(dtype)
            assert denoiser.mean(x, 0.3).dtype == dtype and denoiser.var(x, 0.3).dtype == dtype
        single, double = denoiser.mean(x.float(), 0.3), denoiser.mean(x, 0.3)
        assert float((single - double).abs().max()) < 1e-5  # float32 rounding of x_t, gain of order 1


@pytest.mark.parametrize("kind", ["one", "mixture"])
def test_a_covariance_in_single_precision_is_symmetric_to_its_rounding(kind):
    def denoiser(cov):
        if kind == "one":
            return GaussianDenoiser(torch.zeros(3), cov, VP())
        return MixtureDenoiser(torch.ones(1), torch.zeros(1, 3), cov[None], VP())

    cov = torch.tensor([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 3.0]])
    rounded = cov.clone()
    rounded[0, 1] = torch.nextafter(rounded[0, 1], torch.tensor(1.0))
    x = torch.ones(2, 3, dtype=torch.float64)
    found, expected = (denoiser(each).mean(x, 0.5) for each in (rounded, cov))
    assert torch.allclose(found, expected, rtol=1e-6)
    for asymmetric in (rounded.double(), rounded + torch.tensor([[0, 1e-3, 0], [0, 0, 0], [0, 0, 0]])):
        with pytest.raises(ConfigError, match="symmetric"):
            denoiser(asymmetric)
    along = torch.tensor([1.0, 0.3, 0.7])
    flat = along[:, None] * along  # of rank one: eigenvalues 0 to its rounding
    assert float(torch.linalg.eigvalsh(flat.double()).min()) < -1e-9
    assert bool(torch.isfinite(denoiser(flat).mean(x, 0.5)).all())
    with pytest.raises(ConfigError, match="negative eigenvalue"):
        denoiser(flat - 1e-3 * torch.eye(3))


def test_a_number_is_taken_in_double_precision():
    x = torch.ones(1, 3, dtype=torch.float64)
    expected = GaussianDenoiser(torch.zeros(3), torch.tensor(0.1, dtype=torch.float64), VP()).mean(x, 0.5)
    assert torch.equal(GaussianDenoiser(torch.zeros(3), 0.1, VP()).mean(x, 0.5), expected)
