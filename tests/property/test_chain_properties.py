"""Random chains: the bridge is the conditional of the joint Gaussian, in exact rational arithmetic."""

from fractions import Fraction

import torch
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from caminito.denoiser import GaussianDenoiser
from caminito.process import Chain, Kernel
from caminito.process import grid as grids
from caminito.sampling import DDIM, Ancestral, DPMpp2M, Heun
from caminito.testing import Moments, conditional, joint, propagate

settings.register_profile("caminito", deadline=None, derandomize=True, max_examples=80)
settings.load_profile("caminito")

drift = st.one_of(st.just(1.0), st.just(0.0), st.floats(-0.5, 1.5))
noise = st.one_of(st.just(0.0), st.floats(1e-2, 3.0))


@st.composite
def chains(draw, longest=10):
    length = draw(st.integers(1, longest))
    mu = draw(st.lists(drift, min_size=length, max_size=length))
    std = draw(st.lists(noise, min_size=length, max_size=length))
    sigma2 = 0.0
    for m, s in zip(mu, std):
        sigma2 = (1 - m) ** 2 * sigma2 + s**2
    assume(sigma2 > 1e-12)
    return mu, std


def exact_joint(mu, std):
    """Means (x_0 = 1) and covariances of x_0..x_T, as fractions, from the definition of the path alone."""
    mean, weights = [Fraction(1)], [[Fraction(0)] * len(mu)]
    for i, (m, s) in enumerate(zip(mu, std)):
        a = 1 - Fraction(m)
        mean.append(a * mean[-1])
        row = [a * w for w in weights[-1]]
        row[i] += Fraction(s)
        weights.append(row)
    cov = [[sum(p * q for p, q in zip(u, v)) for v in weights] for u in weights]
    return mean, cov


@given(chains())
def test_bridge_is_the_conditional_of_the_joint_gaussian(steps):
    mu, std = steps
    event("erased" if 1.0 in mu else "kept")
    event("turned" if max(mu) > 1 else "straight")
    mean, cov = exact_joint(mu, std)
    chain = Chain(mu, std)
    for s in range(len(mu)):
        for t in range(s + 1, len(mu) + 1):
            gain = cov[s][t] / cov[t][t] if cov[t][t] else Fraction(0)
            c0 = mean[s] - gain * mean[t]
            rest = cov[s][s] - gain * cov[s][t]
            got = chain.bridge(float(s), float(t))
            assert abs(float(got.c0) - float(c0)) <= 1e-12 * max(1.0, abs(float(mean[s])))
            assert abs(float(got.ct) - float(gain)) <= 1e-12 * max(1.0, abs(float(gain)))
            assert abs(float(got.std) ** 2 - float(rest)) <= 1e-12 * max(1.0, float(cov[s][s]))


@given(chains())
def test_kernels_of_the_chain_are_the_moments_of_the_joint_gaussian(steps):
    mean, cov = exact_joint(*steps)
    chain = Chain(*steps)
    for t in range(len(mean)):
        alpha, sigma = chain.kernel(float(t))
        assert abs(float(alpha) - float(mean[t])) <= 1e-12 * max(1.0, abs(float(mean[t])))
        assert abs(float(sigma) ** 2 - float(cov[t][t])) <= 1e-12 * max(1.0, float(cov[t][t]))
        for s in range(t):
            a, b = chain.transition(float(s), float(t))
            assert abs(float(a) * float(cov[s][s]) - float(cov[s][t])) <= 1e-12 * max(1.0, abs(float(cov[s][t])))
            left = float(cov[t][t]) - float(a) ** 2 * float(cov[s][s])
            assert abs(float(b) ** 2 - left) <= 1e-11 * max(1.0, float(cov[t][t]))


@given(chains())
def test_public_oracle_agrees_with_exact_arithmetic(steps):
    mean, cov = exact_joint(*steps)
    moments = joint(Chain(*steps))
    scale = max(1.0, max(float(cov[i][i]) for i in range(len(mean))))
    for i in range(len(mean)):
        assert abs(float(moments.mean[i]) - float(mean[i])) <= 1e-12 * max(1.0, abs(float(mean[i])))
        for j in range(len(mean)):
            assert abs(float(moments.cov[i, j]) - float(cov[i][j])) <= 1e-12 * scale


@given(chains(longest=6))
def test_bridges_chain_into_longer_bridges(steps):
    """x_r given x_t and x_0, through x_s: the law of total expectation and variance."""
    length = len(steps[0])
    assume(length >= 3)
    chain = Chain(*steps)
    r, s, t = 1.0, 2.0, float(length)
    one, two, whole = chain.bridge(r, s), chain.bridge(s, t), chain.bridge(r, t)
    limit = 1e-11 * max(1.0, float(chain.kernel(r).scale.abs()), float(chain.kernel(r).std) ** 2)
    weight = max(1.0, float(one.ct.abs())) ** 2
    # the two conditionals lose up to the square of their gain
    assert abs(float(one.c0 + one.ct * two.c0 - whole.c0)) <= limit * weight * max(1.0, float(two.c0.abs()))
    assert abs(float(one.ct * two.ct - whole.ct)) <= limit * weight
    assert abs(float(one.std**2 + (one.ct * two.std) ** 2 - whole.std**2)) <= limit * weight * max(
        1, float(two.std) ** 2
    )


scales = st.floats(-2, 2)
stds = st.floats(0, 3)
kernel = st.builds(lambda a, b: Kernel(*(torch.tensor(v, dtype=torch.float64) for v in (a, b))), scales, stds)


@given(kernel, kernel, kernel)
def test_then_is_associative_for_any_kernels(a, b, c):
    left, right = a.then(b).then(c), a.then(b.then(c))
    bound = 16 * torch.finfo(torch.float64).eps
    tiny = 1e-300
    assert abs(float(left.scale - right.scale)) <= bound * abs(float(right.scale)) + tiny
    assert abs(float(left.std - right.std)) <= bound * float(right.std) + tiny


@given(chains(longest=8), st.sampled_from(["small", "large"]), st.integers(1, 8))
def test_every_solver_reproduces_the_mean_of_gaussian_data_under_any_chain(steps, variance, count):
    """alpha may vanish or turn its sign, steps may lack noise: D(alpha m) = m all the way down."""
    chain = Chain(*steps)
    data = torch.tensor([1.0, -2.0], dtype=torch.float64)
    denoiser = GaussianDenoiser(data, torch.tensor([0.5, 2.0], dtype=torch.float64), chain)
    grid = grids.grid(chain, min(count, len(steps[0])))
    # x / alpha carries eps sigma / |alpha|: what the worst visited step can lose
    ratio = (chain.kernel(grid).std / chain.kernel(grid).scale.abs()).nan_to_num(0, posinf=0).max()
    for solver in (Ancestral(variance), Ancestral("posterior"), DDIM(), DDIM(0.5), DDIM(1.0), DPMpp2M(), Heun()):
        got = propagate(denoiser, grid, solver)
        assert torch.isfinite(got.cov).all(), solver
        assert float((got.mean - data).abs().max()) <= 1e-11 * (1 + float(ratio)), solver


@given(chains(longest=8), st.integers(1, 8))
def test_ancestral_with_the_posterior_variance_is_exact_under_any_chain(steps, count):
    chain = Chain(*steps)
    var = torch.tensor([0.5, 2.0], dtype=torch.float64)
    denoiser = GaussianDenoiser(torch.tensor([1.0, -2.0]), var, chain)
    got = propagate(denoiser, grids.grid(chain, min(count, len(steps[0]))), Ancestral("posterior"))
    assert float((got.cov.diagonal() / var - 1).abs().max()) < 1e-10


def test_conditional_of_a_known_gaussian():
    """Two correlated normals: x | y = rho y, variance 1 - rho^2."""
    cov = torch.tensor([[1.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
    moments, gain = conditional(Moments(torch.zeros(2, dtype=torch.float64), cov), [0], [1])
    assert abs(float(gain) - 0.6) < 1e-15 and abs(float(moments.cov) - 0.64) < 1e-15


@given(chains(longest=6))
def test_bridge_agrees_with_the_public_oracle(steps):
    chain = Chain(*steps)
    moments = joint(chain)
    t = len(steps[0])
    for s in range(1, t):
        law, gain = conditional(moments, [s], [t])
        got = chain.bridge(float(s), float(t))
        limit = 1e-11 * max(1.0, float(moments.cov.diagonal().max()))
        assert abs(float(got.ct - gain)) <= limit and abs(float(got.c0 - law.mean)) <= limit
        assert abs(float(got.std**2 - law.cov)) <= limit
