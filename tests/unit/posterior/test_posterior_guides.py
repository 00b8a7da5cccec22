"""Guides: each against its formula in dense matrices, and where it is exact against the exact posterior."""

import math

import pytest
import torch

from caminito.denoiser import GaussianDenoiser, Precondition, RegressorDenoiser, ResidualVariance, from_x0
from caminito.errors import ConfigError
from caminito.guidance import constrain
from caminito.posterior import (
    Blur,
    Downsample,
    Identity,
    Linear,
    Nonlinear,
    Select,
    ddnm,
    diffpir,
    dps,
    guides,
    jfps,
    mmps,
    observe,
    pigdm,
    posterior,
    tds,
)
from caminito.posterior.guides import conjugate
from caminito.process import VE, VP, Chain, RectifiedFlow
from caminito.process import grid as grids
from caminito.testing import Mixture

NAN = float("nan")
PROCESSES = {"VP": VP(), "VE": VE(), "flow": RectifiedFlow(), "chain": Chain.ddpm("cosine", steps=40)}


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance(size, seed=5):
    root = randn(size, size, seed=seed)
    return root @ root.T / size + 0.2 * torch.eye(size, dtype=torch.float64)


def moments(size):
    return randn(size, seed=11), covariance(size)


def times_of(process):
    return [1.0, 5.0, 20.0, 38.0] if process.is_discrete else [0.02, 0.2, 0.5, 0.9]


def gaussian(process, event):
    size = torch.Size(event).numel()
    mean, cov = moments(size)
    return GaussianDenoiser(mean.reshape(event), cov, process)


def conditioned(event, seen, noise, process):
    """The exact denoiser of the Gaussian posterior of one observation."""
    keep = seen.present[0]
    size = torch.Size(event).numel()
    mean, cov = moments(size)
    prior = Mixture(torch.ones(1, dtype=torch.float64), mean[None], cov[None])
    after, _ = prior.given(seen.y[0][keep], seen.matrix()[keep], noise[keep][:, keep])
    return GaussianDenoiser(after.means[0].reshape(event), after.covs[0], process)


# operator, event, covariance of the noise, y: few entries are written out, more than 8 are solved by iterations
SEEN = {
    "matrix": (Linear(randn(3, 6, seed=1)), (6,), covariance(3, 9) / 5),
    "entries": (Select([4, 0]), (2, 3), torch.diag(torch.tensor([0.04, 0.3], dtype=torch.float64))),
    "blur of 12": (Blur(0.8), (1, 3, 4), 0.1 * torch.eye(12, dtype=torch.float64)),
    "matrix of 10": (Linear(randn(10, 12, seed=2)), (12,), covariance(10, 9) / 5),
}


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_moment_matching_is_the_exact_posterior_denoiser_of_a_gaussian(process, name):
    operator, event, noise = SEEN[name]
    y = randn(*operator.seen(event), seed=21)
    y.flatten()[1] = NAN
    seen = observe(y, operator, noise, event, dtype=torch.float64)
    assert (seen.size > 8) == ("of" in name)
    exact, guided = conditioned(event, seen, noise, process), mmps(gaussian(process, event), seen)
    if seen.size > 8:
        guided = mmps(gaussian(process, event), seen, iterations=60)
    x = 2 * randn(7, *event, seed=22)
    for t in times_of(process):
        torch.testing.assert_close(guided.mean(x, t), exact.mean(x, t), rtol=1e-8, atol=1e-8)
    each = torch.tensor(times_of(process) + times_of(process)[:3], dtype=torch.float64)
    torch.testing.assert_close(guided.mean(x, each), exact.mean(x, each), rtol=1e-8, atol=1e-8)


def test_both_ways_to_solve_agree_and_few_iterations_are_near():
    operator, event, noise = SEEN["matrix"]
    process = PROCESSES["VP"]
    seen = observe(randn(3, seed=2), operator, noise, event, dtype=torch.float64)
    prior, x = gaussian(process, event), randn(5, *event, seed=3)
    torch.testing.assert_close(mmps(prior, seen).mean(x, 0.4), mmps(prior, seen, iterations=9).mean(x, 0.4))
    operator, event, noise = SEEN["blur of 12"]
    seen = observe(randn(*event, seed=2), operator, noise, event, dtype=torch.float64)
    prior, x = gaussian(process, event), randn(5, *event, seed=3)
    exact = conditioned(event, seen, noise, process).mean(x, 0.4)
    error = [float((mmps(prior, seen, iterations=k).mean(x, 0.4) - exact).norm()) for k in (1, 3, 6, 12)]
    assert error[0] > 3 * error[1] > 9 * error[2] and error[3] < 1e-6
    torch.testing.assert_close(mmps(prior, seen).mean(x, 0.4), mmps(prior, seen, iterations=5).mean(x, 0.4))


def test_each_observation_leads_its_own_rows():
    process = PROCESSES["VP"]
    prior, x = gaussian(process, (4,)), randn(6, 4, seed=3)
    y = randn(3, 4, seed=4).where(randn(3, 4, seed=5) > -0.5, NAN)
    rules = (mmps, pigdm, jfps, diffpir, ddnm, lambda d, s: mmps(d, s, iterations=4))
    for rule in rules:
        together = rule(prior, observe(y, Identity(), 0.3, (4,), dtype=torch.float64)).mean(x, 0.3)
        for p in range(3):
            alone = rule(prior, observe(y[p], Identity(), 0.3, (4,), dtype=torch.float64))
            torch.testing.assert_close(together[2 * p : 2 * p + 2], alone.mean(x[2 * p : 2 * p + 2], 0.3))


MIX = Mixture(
    torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64),
    torch.tensor([[-1.5, 0.0, 0.5], [1.0, 1.5, -1.0], [0.5, -1.5, 1.0]], dtype=torch.float64),
    torch.stack([covariance(3, seed) / 4 for seed in (1, 2, 3)]),
)


def local_moments(x_t, alpha, sigma):
    """E[x0 | x_t] and Cov[x0 | x_t] of the mixture, row by row: the oracle conditions on x_t = alpha x0 + sigma eps."""
    eye = torch.eye(3, dtype=torch.float64)
    after = [MIX.given(row, alpha * eye, sigma**2 * eye)[0].moments() for row in x_t]
    return torch.stack([m.mean for m in after]), torch.stack([m.cov for m in after])


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_the_guides_are_their_formulas_with_the_covariance_of_a_mixture(process):
    matrix, noise = randn(2, 3, seed=8), covariance(2, 6) / 4
    y, x = randn(2, seed=9), 1.5 * randn(5, 3, seed=10)
    seen = observe(y, Linear(matrix), noise, (3,), dtype=torch.float64)
    prior = MIX.denoiser(process)
    q = float(prior.data_moments[1].mean())
    spread = torch.diag(prior.data_moments[1])
    for t in times_of(process):
        alpha, sigma = process.kernel(t)
        mean, cov = local_moments(x, alpha, sigma)
        torch.testing.assert_close(prior.mean(x, t), mean, rtol=1e-9, atol=1e-9)
        r2 = q * sigma**2 / (alpha**2 * q + sigma**2)
        signal = spread - alpha**2 * spread @ torch.linalg.inv(alpha**2 * spread + sigma**2 * torch.eye(3)) @ spread
        c = sigma**2 / (alpha**2 * 2.5)
        for b in range(5):
            miss = y - matrix @ mean[b]

            def led(left, within, mean=mean[b], miss=miss):
                return mean + left @ matrix.T @ torch.linalg.solve(noise + matrix @ within @ matrix.T, miss)

            eye = torch.eye(3, dtype=torch.float64)
            row, at = x[b : b + 1], {"rtol": 1e-8, "atol": 1e-8}
            torch.testing.assert_close(mmps(prior, seen).mean(row, t)[0], led(cov[b], cov[b]), **at)
            torch.testing.assert_close(pigdm(prior, seen).mean(row, t)[0], led(cov[b], r2 * eye), **at)
            torch.testing.assert_close(jfps(prior, seen).mean(row, t)[0], led(signal, signal), **at)
            torch.testing.assert_close(diffpir(prior, seen, trust=2.5).mean(row, t)[0], led(c * eye, c * eye), **at)
            # argmin |y - A x|_R^2 + |x - D|^2 / c by its normal equations, which is what diffpir says it is
            inner = torch.linalg.solve(noise, matrix)
            nearest = torch.linalg.solve(matrix.T @ inner + eye / c, inner.T @ y + mean[b] / c)
            torch.testing.assert_close(diffpir(prior, seen, trust=2.5).mean(row, t)[0], nearest, rtol=1e-7, atol=1e-7)
            put = mean[b] + torch.linalg.pinv(matrix) @ miss
            torch.testing.assert_close(ddnm(prior, seen).mean(row, t)[0], put, **at)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("name", SEEN)
def test_the_covariance_of_the_data_makes_jfps_exact_for_a_gaussian(process, name):
    operator, event, noise = SEEN[name]
    seen = observe(randn(*operator.seen(event), seed=21), operator, noise, event, dtype=torch.float64)
    prior, size = gaussian(process, event), torch.Size(event).numel()
    exact, x = conditioned(event, seen, noise, process), 2 * randn(4, *event, seed=22)
    guided = jfps(prior, seen, cov=covariance(size), iterations=60)
    for t in times_of(process):
        torch.testing.assert_close(guided.mean(x, t), exact.mean(x, t), rtol=1e-8, atol=1e-8)
    plain = jfps(prior, seen).mean(x, times_of(process)[2])
    assert float((plain - exact.mean(x, times_of(process)[2])).abs().max()) > 1e-3  # variances alone are not enough


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("operator", "event"),
    [
        (Identity(), (4,)),
        (Downsample(2), (1, 4, 4)),
        (Linear(randn(3, 5, seed=1)), (5,)),
        (Linear(randn(4, 2, seed=3) @ randn(2, 5, seed=4)), (5,)),
    ],
    ids=["identity", "downsample", "matrix", "low rank"],
)
def test_ddnm_leaves_what_was_seen(operator, event, dtype):
    prior = gaussian(PROCESSES["VP"], event)
    y = operator(randn(1, *event, seed=2))[0].to(dtype)  # what can be seen, by an operator of low rank too
    for noise in (0.0, 0.5):
        seen = observe(y, operator, noise, event, dtype=dtype)
        x = randn(3, *event, seed=3).to(dtype)
        led = ddnm(prior, seen).mean(x, 0.5)
        error = 1e-9 if dtype == torch.float64 else 1e-4
        torch.testing.assert_close(operator(led), y.expand(3, *y.shape), rtol=error, atol=error)
        gap = (led - prior.mean(x, 0.5)).flatten(1).double()
        matrix = seen.matrix()
        row_space = torch.linalg.pinv(matrix, rtol=1e-5) @ matrix
        torch.testing.assert_close(gap @ row_space.T, gap, rtol=10 * error, atol=10 * error)  # nothing else is moved


@pytest.mark.parametrize(
    "process", [RectifiedFlow(), Chain.ddpm(steps=20, zero_snr=True)], ids=["flow", "zero-snr chain"]
)
def test_where_no_signal_is_left_the_denoiser_is_left_as_it_is(process):
    seen = observe(randn(4), Identity(), 0.3, (4,), dtype=torch.float64)
    prior, x = gaussian(process, (4,)), randn(3, 4)
    for rule in (mmps, pigdm, jfps, diffpir, ddnm):
        assert torch.equal(rule(prior, seen).mean(x, process.t_max), prior.mean(x, process.t_max))


def test_moment_matching_linearises_a_nonlinear_operator_at_the_mean():
    process = PROCESSES["VP"]
    prior, x, y = MIX.denoiser(process), randn(4, 3, seed=2), torch.tensor([1.2, 0.3], dtype=torch.float64)

    def forward(x):
        return torch.stack([x[:, 0] ** 2, x[:, 1] * x[:, 2]], 1)

    seen = observe(y, Nonlinear(forward), 0.4, (3,), dtype=torch.float64)
    alpha, sigma = process.kernel(0.3)
    mean, cov = local_moments(x, alpha, sigma)
    for rule in (mmps(prior, seen), mmps(prior, seen, iterations=6)):
        led = rule.mean(x, 0.3)
        for b in range(4):
            slope = torch.autograd.functional.jacobian(lambda v: forward(v[None])[0], mean[b])
            total = slope @ cov[b] @ slope.T + 0.16 * torch.eye(2, dtype=torch.float64)
            expected = mean[b] + cov[b] @ slope.T @ torch.linalg.solve(total, y - forward(mean[b][None])[0])
            torch.testing.assert_close(led[b], expected, rtol=1e-8, atol=1e-8)


class Exact:
    """A regressor: the exact denoiser of N(0, 1) entries for VP, of columns x_t and log(sigma / alpha) / 4."""

    def predict(self, columns):
        import numpy as np

        return columns[:, :-1] / np.sqrt(1 + np.exp(4 * columns[:, -1:]) ** 2)  # alpha x_t


def closed_boxes():
    trees = RegressorDenoiser([Exact()], Precondition("x0"), VP(), (2,))

    def shut(x, t, cond=None):
        with torch.no_grad():
            return VP().kernel(t).scale * x

    box = from_x0(shut, VP())
    box.event_shape = (2,)
    measured = ResidualVariance(trees, torch.tensor([-5.0, 5.0]), torch.full((2, 2), 0.5))
    return {
        "trees": trees,
        "trees in a box": constrain(trees, lambda x: x.clamp(-9, 9)),
        "measured": measured,
        "box": box,
    }


@pytest.mark.parametrize("name", closed_boxes())
def test_a_denoiser_without_derivative_is_refused_by_what_needs_one_and_taken_by_the_others(name):
    prior = closed_boxes()[name]
    seen = observe(torch.tensor([0.5, NAN]), Identity(), 0.5, (2,))
    x, grid = torch.ones(4, 2), grids.grid(prior.process, 4)
    refused = {"match": "expected a denoiser that torch can differentiate.*split-smc"}
    for rule in (mmps, pigdm):
        with pytest.raises(ConfigError, **refused):
            rule(prior, seen).mean(x, 0.5)
    with pytest.raises(ConfigError, **refused):
        tds(prior, seen, 4, grid)
    with pytest.raises(ConfigError, **refused):
        dps(prior, seen, 4, grid)
    for rule in (jfps, diffpir, ddnm):
        alpha, sigma = prior.process.kernel(0.5)
        free = torch.tensor([0.5, NAN]).isnan()
        led = rule(prior, seen).mean(x, 0.5)
        torch.testing.assert_close(led[:, free], alpha.float() * x[:, free])
        assert bool((led[:, ~free] != alpha.float() * x[:, ~free]).all())
    for method in ("auto", "repaint", "daps", "split-gibbs"):
        options = {} if method != "auto" else {"inner": 2}
        found = posterior(prior, seen.y[0], noise=0.5, method=method, n=20, steps=3, random_state=0, options=options)
        assert found.method == ("split-smc" if method == "auto" else method)
        assert bool(torch.isfinite(found.samples).all())


def test_conjugate_gradients_stop_row_by_row_where_a_system_is_not_symmetric():
    good, turned = covariance(6), randn(6, 6, seed=7)
    systems, r = torch.stack([good, good + 0.5 * (turned - turned.T)]), randn(2, 6, seed=8)

    def solved(iterations):
        return conjugate(lambda v: torch.einsum("bij,bj->bi", systems, v), r, iterations)

    exact = torch.linalg.solve(systems, r)
    assert torch.allclose(solved(6)[0], exact[0], rtol=1e-8)
    assert torch.equal(solved(6)[1], solved(1)[1])


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e6])
def test_conjugate_gradients_do_not_take_rounding_for_asymmetry(condition, monkeypatch):
    basis = torch.linalg.qr(randn(50, 50))[0]
    cov = ((basis * torch.logspace(0, -math.log10(condition), 50, dtype=torch.float64)) @ basis.T).float()
    cov, r = (cov + cov.T) / 2, randn(4, 50, seed=1).float()
    found = conjugate(lambda v: v @ cov, r, 50)
    monkeypatch.setattr(guides, "_CONJUGATE", math.inf)
    assert torch.equal(found, conjugate(lambda v: v @ cov, r, 50))


def test_options_out_of_range_are_refused():
    prior, seen = gaussian(VP(), (3,)), observe(torch.ones(3), Identity(), 0.3, (3,))
    for make, message in (
        (lambda: mmps(prior, seen, iterations=0), "iterations: expected a whole number >= 1, got 0"),
        (lambda: mmps(prior, seen, iterations=2.5), "iterations"),
        (lambda: jfps(prior, seen, iterations=0), "iterations"),
        (lambda: jfps(prior, seen, cov=-1.0), "negative"),
        (lambda: diffpir(prior, seen, trust=0), "trust: expected a number > 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()
    squared = observe(torch.ones(3), Nonlinear(torch.square), 0.3, (3,))
    for rule in (pigdm, jfps, diffpir, ddnm):
        with pytest.raises(ConfigError, match="expected a linear one"):
            rule(prior, squared)
