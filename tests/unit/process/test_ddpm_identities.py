"""DDPM, formula by formula: each is written out in numpy from the table beta alone, and held against what we compute.

alpha_t = 1 - beta_t and abar_t = alpha_1 ... alpha_t are the paper's; times count 1..T, and abar_0 = 1. What the book
says is correct to some T units of rounding, 4e-13, where nothing is subtracted: 1 - abar is summed up, by
1 - abar_t = alpha_t (1 - abar_{t-1}) + beta_t.

Sources: Ho et al. 2020 (DDPM), Song et al. 2021 (DDIM), Nichol & Dhariwal 2021 (IDDPM).
"""

import itertools
import math

import numpy as np
import pytest
import torch

from caminito.denoiser import GaussianDenoiser, MixtureDenoiser, from_eps, from_x0
from caminito.errors import GridError
from caminito.process import Chain, Normal, beta_table
from caminito.process import grid as grids
from caminito.sampling import DDIM, Ancestral, DPMpp2M, Euler, Heun, Levels, trajectory, variational_bound

TOL = 1e-12
TABLES = ["linear", "scaled-linear", "cosine", "sigmoid", "own"]
STEPS = [1, 2, 3, 10, 100, 500, 501, 999, 1000]
X0, E, Z = 0.7, -1.3, 0.4  # an item, and two draws
tables = pytest.mark.parametrize("name", TABLES)


class Book:
    """beta, alpha, abar and 1 - abar (rest), arrays over t = 0..T, by the formulas of the paper."""

    def __init__(self, betas):
        self.beta = np.concatenate([[0.0], betas])
        self.alpha = 1 - self.beta
        self.abar = np.cumprod(self.alpha)
        self.rest = np.zeros_like(self.abar)
        for t in range(1, len(self.beta)):
            self.rest[t] = self.alpha[t] * self.rest[t - 1] + self.beta[t]
        self.before = np.concatenate([[1.0], self.abar[:-1]])  # abar_{t-1}
        self.rest_before = np.concatenate([[0.0], self.rest[:-1]])

    @property
    def tilde(self):
        """beta-tilde, DDPM eq. 7, at t = 1..T (0 in place 0)."""
        return np.concatenate([[0.0], self.rest_before[1:] / self.rest[1:] * self.beta[1:]])

    def x_t(self, x0, eps, t):
        """DDPM eq. 4, drawn."""
        return np.sqrt(self.abar[t]) * x0 + np.sqrt(self.rest[t]) * eps


def own_table():
    return np.random.default_rng(5).uniform(1e-3, 0.03, 1000)


def opened(name):
    betas = own_table() if name == "own" else beta_table(name).numpy()
    return Book(betas), Chain.ddpm(betas)


def column(value, n=1):
    return torch.full((n, 1), float(value), dtype=torch.float64)


def knows(value, process):
    """A denoiser that says `value` whatever it sees."""
    return from_x0(lambda x, t, cond: torch.full_like(x, float(value)), process)


def told(eps, process):
    """A denoiser whose network predicts the noise `eps` whatever it sees."""
    return from_eps(lambda x, t, cond: torch.full_like(x, float(eps)), process)


def stepped(solver, denoiser, x, t, s, z=None):
    """One step from t to s; a draw is refused unless given."""

    def draw(part=0):
        assert z is not None, "noise was drawn"
        return column(z)

    grid = torch.tensor([t, s], dtype=torch.float64)
    state = solver.init(denoiser.process, grid)
    return float(solver.step(denoiser, denoiser.process, column(x), grid[0], grid[1], state, draw).x)


def close(got, expected, scale=1.0):
    assert np.abs(np.asarray(got) - np.asarray(expected)).max() <= TOL * scale


# -- the forward process ----------------------------------------------------------------------------------------------


@tables
def test_a_step_of_the_chain_is_q_of_x_t_given_the_step_before(name):
    """q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I), DDPM eq. 2."""
    book, chain = opened(name)
    t = torch.arange(1, 1001, dtype=torch.float64)
    close(chain.transition(t - 1, t).scale, np.sqrt(1 - book.beta[1:]))
    close(chain.transition(t - 1, t).std.numpy() ** 2 / book.beta[1:], 1.0)
    close(chain.scale**2, book.alpha[1:])
    close(chain.std.numpy() ** 2 / book.beta[1:], 1.0)


@tables
def test_marginal_is_q_of_x_t_given_x_0(name):
    """q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I), DDPM eq. 4."""
    book, chain = opened(name)
    alpha, sigma = chain.kernel(torch.arange(1001, dtype=torch.float64))
    close(alpha**2, book.abar)
    close(sigma[1:].numpy() ** 2 / book.rest[1:], 1.0)
    drawn = [float(chain.noise(column(X0), t, column(E))) for t in STEPS]
    close(drawn, [book.x_t(X0, E, t) for t in STEPS])


@tables
def test_bridge_of_a_step_is_the_posterior_of_the_paper(name):
    """q(x_{t-1} | x_t, x_0) = N(mu~(x_t, x_0), beta~ I), DDPM eq. 6-7."""
    book, chain = opened(name)
    t = torch.arange(1, 1001, dtype=torch.float64)
    c0, ct, std = (c.numpy() for c in chain.bridge(t - 1, t))
    close(c0, np.sqrt(book.before[1:]) * book.beta[1:] / book.rest[1:])
    close(ct, np.sqrt(book.alpha[1:]) * book.rest_before[1:] / book.rest[1:])
    close(std[1:] ** 2 / book.tilde[2:], 1.0)
    assert std[0] == 0.0


# -- 1: x0 from eps, and its misprint ---------------------------------------------------------------------------------


@tables
def test_1_x0_is_x_t_less_its_noise_over_sqrt_abar(name):
    """x0 = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t)."""
    book, chain = opened(name)
    denoiser = told(E, chain)
    for t in STEPS:
        x_t = book.x_t(X0, E, t)
        written = (x_t - np.sqrt(book.rest[t]) * E) / np.sqrt(book.abar[t])
        # what was x0 sqrt(abar) beside noise of order one is divided by sqrt(abar)
        close(float(denoiser.mean(column(x_t), t)), written, 1 / np.sqrt(book.abar[t]))
        close(written, X0, 1 / np.sqrt(book.abar[t]))


def test_1_misprinted_x0_does_not_come_back():
    """(1 - alpha) / sqrt(1 - abar) belongs to the mean of the step; in x0 it returns -3.7270 for 0.7.

    The table of the example counts from 0: its entry 500 is our step 501.
    """
    book, chain = opened("linear")
    t = 501
    assert f"{book.alpha[t]:.8f} {book.abar[t]:.10f}" == "0.98994004 0.0777966584"
    x_t = book.x_t(X0, E, t)
    right = (x_t - np.sqrt(book.rest[t]) * E) / np.sqrt(book.abar[t])
    misprinted = (x_t - (1 - book.alpha[t]) / np.sqrt(book.rest[t]) * E) / np.sqrt(book.abar[t])
    assert f"{right:.12f} {misprinted:.4f}" == "0.700000000000 -3.7270"
    assert f"{float(told(E, chain).mean(column(x_t), t)):.12f}" == "0.700000000000"
    # the same coefficient where it belongs, over sqrt(alpha): the mean of the step
    mean = (x_t - (1 - book.alpha[t]) / np.sqrt(book.rest[t]) * E) / np.sqrt(book.alpha[t])
    close(stepped(Ancestral("small"), told(E, chain), x_t, t, t - 1, z=0), mean)


# -- 2: the step adds a standard deviation ----------------------------------------------------------------------------


@tables
@pytest.mark.parametrize("variance", ["small", "large"])
def test_2_step_adds_the_root_of_the_variance(name, variance):
    """x_{t-1} = mu + sqrt(v) z with v = beta~_t or beta_t; with v z the noise would be sqrt(v) times too small."""
    book, chain = opened(name)
    v = book.tilde if variance == "small" else book.beta
    for t in STEPS[1:]:
        still, moved = (stepped(Ancestral(variance), knows(X0, chain), E, t, t - 1, z) for z in (0.0, 1.0))
        close((moved - still) / np.sqrt(v[t]), 1.0, 4 / np.sqrt(v[t]))  # of a difference of numbers of order one
        assert abs((moved - still) / v[t] - 1) > 1e-3 or v[t] > 0.99


def test_2_a_variance_in_place_of_the_standard_deviation_shrinks_the_noise_ten_to_a_hundred_times():
    book, _ = opened("linear")
    shrunk = 1 / np.sqrt(book.tilde[2:])
    assert 7 < shrunk.min() < 10 and 100 < shrunk.max() < 200


# -- 3, 4: two ways to step back --------------------------------------------------------------------------------------


@tables
def test_3_the_two_ways_to_step_back_agree(name):
    """mu = (x_t - beta / sqrt(1 - abar) eps) / sqrt(alpha), DDPM eq. 11, is mu~(x_t, x0-hat), eq. 7, at every t."""
    book, chain = opened(name)
    t = np.arange(1, 1001)
    x_t = book.x_t(X0, E, t)
    through_eps = (x_t - book.beta[t] / np.sqrt(book.rest[t]) * E) / np.sqrt(book.alpha[t])
    x0_hat = (x_t - np.sqrt(book.rest[t]) * E) / np.sqrt(book.abar[t])
    through_x0 = (
        np.sqrt(book.before[t]) * book.beta[t] / book.rest[t] * x0_hat
        + np.sqrt(book.alpha[t]) * book.rest_before[t] / book.rest[t] * x_t
    )
    scale = 1 / np.sqrt(book.alpha[t])  # both divide by sqrt(alpha): 30 at the capped end of the cosine
    assert (np.abs(through_eps - through_x0) <= TOL * scale).all()
    for k in STEPS:
        for denoiser in (told(E, chain), knows(x0_hat[k - 1], chain)):
            got = stepped(Ancestral("small"), denoiser, x_t[k - 1], k, k - 1, z=0.0)
            close(got, through_eps[k - 1], scale[k - 1])


@tables
def test_4_a_constant_is_mapped_to_itself(name):
    """c0 + ct sqrt(abar_t) = sqrt(abar_{t-1}): x_t = sqrt(abar_t) x0 steps to sqrt(abar_{t-1}) x0."""
    book, chain = opened(name)
    for t in STEPS:
        got = stepped(Ancestral("small"), knows(X0, chain), np.sqrt(book.abar[t]) * X0, t, t - 1, z=0.0)
        close(got, np.sqrt(book.before[t]) * X0)


# -- 5, 6: DDIM -------------------------------------------------------------------------------------------------------


def ddim(book, x0, eps, t, s, eta=0.0, z=0.0, added=None):
    """DDIM eq. 12 and 16; `added`, another std of the noise that is added."""
    std = eta * np.sqrt((1 - book.abar[s]) / (1 - book.abar[t]) * (1 - book.abar[t] / book.abar[s]))
    along = np.sqrt(1 - book.abar[s] - std**2)
    return np.sqrt(book.abar[s]) * x0 + along * eps + (std if added is None else added) * z


@tables
def test_5_ddim_with_eta_one_is_the_step_of_ddpm_with_beta_tilde(name):
    book, chain = opened(name)
    for t in STEPS:
        x_t = book.x_t(X0, E, t)
        ours = [stepped(solver, knows(X0, chain), x_t, t, t - 1, Z) for solver in (DDIM(1.0), Ancestral("small"))]
        close(ours[0], ours[1])
        if t > 1:  # at t = 1 the book subtracts numbers of order 1e-4 from 1: a root of rounding is left
            close(ddim(book, X0, E, t, t - 1, 1.0, Z), ours[0], 1 / np.sqrt(book.rest[t - 1]))


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("ends", [(1000, 900), (500, 333), (57, 3), (20, 19)])
def test_5_ddim_is_its_equation_12_for_any_eta_and_any_step(eta, ends):
    book, chain = opened("linear")
    (t, s), (x0, eps) = ends, (X0, E)
    got = stepped(DDIM(eta), knows(x0, chain), book.x_t(x0, eps, t), t, s, Z if eta else None)
    close(got, ddim(book, x0, eps, t, s, eta, Z), 1 / np.sqrt(book.rest[s]))


@tables
def test_5_sigma_hat_of_ddim_is_the_fixed_large_variance(name):
    """sigma-hat^2 = 1 - abar_t / abar_{t-1} = beta_t, added to the mean of eta = 1 (DDIM, section 5)."""
    book, chain = opened(name)
    for t in STEPS[1:]:
        hat = np.sqrt(1 - book.abar[t] / book.before[t])
        close(hat**2, book.beta[t])
        got = stepped(Ancestral("large"), knows(X0, chain), book.x_t(X0, E, t), t, t - 1, Z)
        close(got, ddim(book, X0, E, t, t - 1, 1.0, Z, added=hat), 1 / np.sqrt(book.rest[t - 1]))


@pytest.mark.parametrize("ends", [(1000, 900), (999, 1), (500, 333), (57, 3), (2, 1)])
def test_6_ddim_with_eta_zero_is_euler_in_sigma_and_the_first_dpm_solver_in_both_forms(ends):
    """d(x / sqrt(abar)) = eps d(sigma), sigma = sqrt((1 - abar) / abar); with lambda = -log sigma also
    sqrt(abar_s / abar_t) x - sigma_s' expm1(h) eps and (sigma_s' / sigma_t') x - sqrt(abar_s) expm1(-h) x0."""
    book, chain = opened("linear")
    t, s = ends
    x_t, root, noise = book.x_t(X0, E, t), np.sqrt(book.abar), np.sqrt(book.rest)
    sigma = noise[1:] / root[1:]
    h = np.log(sigma[t - 1] / sigma[s - 1])
    euler = root[s] * (x_t / root[t] + (sigma[s - 1] - sigma[t - 1]) * E)
    first_eps = root[s] / root[t] * x_t - noise[s] * np.expm1(h) * E
    first_x0 = noise[s] / noise[t] * x_t - root[s] * np.expm1(-h) * X0
    for solver in (DDIM(), Euler(), DPMpp2M()):
        got = stepped(solver, knows(X0, chain), x_t, t, s)
        for written, scale in ((euler, 1 / root[t]), (first_eps, 1 / root[t]), (first_x0, 1)):
            close(got, written, scale)  # the forms in eps divide what is of order one by sqrt(abar_t)


# -- 8, 9: indices, and the last step ---------------------------------------------------------------------------------


def test_8_networks_are_asked_at_1_to_T_and_before_1_come_the_data():
    """abar_0 = 1, and time 0 is never asked: the table of 0..T-1 in circulation is the network's t minus one."""
    book, chain = opened("linear")
    asked = []

    def network(x, t, cond):
        asked.append(float(t))
        return torch.zeros_like(x)

    for _ in trajectory(from_eps(network, chain), column(E), grids.trailing(chain, 1000), Ancestral("small")):
        pass
    assert asked == list(range(1000, 0, -1))
    assert tuple(float(v) for v in chain.kernel(0)) == (1.0, 0.0)
    close(float(chain.kernel(1).scale) ** 2, 1 - book.beta[1])


@pytest.mark.parametrize("solver", [Ancestral("small"), Ancestral("large"), DDIM(), DDIM(0.5), DDIM(1.0)], ids=str)
def test_9_last_step_is_the_mean_and_draws_nothing(solver):
    _, chain = opened("linear")
    for t in (1, 40):
        close(stepped(solver, knows(X0, chain), E, t, 0), X0)


def test_9_a_walk_that_ends_at_step_1_keeps_the_noise_of_step_1():
    """Their `set_alpha_to_one=False`: sqrt(abar_1) D + sqrt(1 - abar_1) eps, one step before the data."""
    book, chain = opened("linear")
    x_t = book.x_t(X0, E, 100)
    close(stepped(DDIM(), knows(X0, chain), x_t, 100, 1), np.sqrt(book.abar[1]) * X0 + np.sqrt(book.rest[1]) * E)


@pytest.mark.parametrize(("to_the_data", "printed"), [(True, "149.8295"), (False, "149.0784")])
def test_9_the_two_ends_give_the_two_numbers_in_circulation(to_the_data, printed):
    """The full loops of diffusers' tests of DDIM: ten leading steps, betas .01 to .02, x0 clipped and eps not."""
    betas = np.linspace(0.01, 0.02, 1000)
    chain, n = Chain.ddpm(betas), 4 * 3 * 8 * 8
    x = torch.arange(n, dtype=torch.float64).reshape(3, 8, 8, 4).permute(3, 0, 1, 2) / n
    grid = grids.leading(chain, 10)
    alpha, sigma = chain.kernel(grid if to_the_data else torch.cat([grid[:-1], grid[-2:-1]]))
    for i, t in enumerate(grid[:-1].tolist()):
        eps = x * (t - 1) / t  # their network, k / (k + 1) at k = t - 1
        x0 = ((x - sigma[i] * eps) / alpha[i]).clamp(-1, 1)
        x = alpha[i + 1] * x0 + sigma[i + 1] * eps
    assert abs(float(x.abs().sum()) - float(printed)) < 1e-2  # theirs is float32


# -- 10: the variational bound, term by term --------------------------------------------------------------------------


class Always:
    """The noise that is always `value`."""

    def __init__(self, value):
        self.value = value

    def normal(self, step, like):
        return torch.full_like(like, self.value)


def bound_of(chain, denoiser, **options):
    one = torch.ones((), dtype=torch.float64)
    return variational_bound(denoiser, column(X0), noise=Always(E), prior=Normal(0 * one, one), **options)


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("variance", ["small", "large"])
def test_10_terms_of_the_bound_are_those_of_the_paper(name, variance):
    """L_{t-1} = beta^2 / (2 v alpha (1 - abar)) (eps - eps_hat)^2 + KL of the variances, DDPM eq. 8 and 12."""
    book, chain = opened(name)
    eps_hat = -0.9
    bound = bound_of(chain, told(eps_hat, chain), variance=variance)
    t = np.arange(1000, 1, -1)
    v = (book.tilde if variance == "small" else book.beta)[t]
    mean = book.beta[t] ** 2 / (2 * v * book.alpha[t] * book.rest[t]) * (E - eps_hat) ** 2
    spread = 0.5 * (book.tilde[t] / v - 1 - np.log(book.tilde[t] / v))
    written = mean + spread
    # the book subtracts in `spread`; the error of x0-hat divides noise of order one by sqrt(abar)
    slack = TOL * (10 + 100 * written / np.sqrt(book.abar[t]))
    assert (np.abs(bound.steps[0].numpy() - written) <= slack).all()
    assert bound.times.tolist() == t.tolist()


@tables
def test_10_prior_term_is_the_divergence_of_q_of_x_T(name):
    """L_T = KL(N(sqrt(abar_T) x0, 1 - abar_T) || N(0, 1)), DDPM eq. 5."""
    book, chain = opened(name)
    abar, rest = book.abar[-1], book.rest[-1]
    written = 0.5 * (abar * X0**2 + rest - 1 - np.log1p(-abar))
    close(float(bound_of(chain, knows(X0, chain)).prior), written)


def test_10_last_term_is_a_likelihood_with_the_variance_of_step_2_because_that_of_step_1_is_none():
    """beta~_1 = 0 and its log is -inf: clipped to beta~_2 (IDDPM). L_0 = -log p(x_0 | x_1), no divergence."""
    book, chain = opened("linear")
    assert book.tilde[1] == 0.0
    said = 0.65
    for variance, v in (("small", book.tilde[2]), ("large", book.beta[1])):
        got = bound_of(chain, knows(said, chain), variance=variance)
        density = 0.5 * ((X0 - said) ** 2 / v + np.log(2 * np.pi * v))
        assert abs(float(got.reconstruction) / density - 1) < TOL


def test_10_last_term_of_discrete_data_is_the_mass_of_their_cell():
    """DDPM eq. 13: the normal law between x - 1/255 and x + 1/255; the outer cells are half-infinite."""
    book, chain = opened("linear")
    std, said = math.sqrt(book.beta[1]), 0.99
    levels = np.linspace(-1, 1, 256)

    def phi(x):
        return 0.5 * math.erfc(-x / math.sqrt(2))

    for x0 in (levels[254], levels[255]):
        upper = 1.0 if x0 == 1 else phi((x0 + 1 / 255 - said) / std)
        written = -math.log(upper - phi((x0 - 1 / 255 - said) / std))
        got = variational_bound(
            knows(said, chain), column(x0), variance="large", levels=Levels(-1.0, 1.0, 256), noise=Always(E)
        )
        assert abs(float(got.reconstruction) - written) < 1e-9  # the book subtracts two masses


# -- 11, 12: the step before comes from the grid ----------------------------------------------------------------------


def mixture(chain):
    means = torch.tensor([[-1.0], [0.8]], dtype=torch.float64)
    return MixtureDenoiser(torch.tensor([0.4, 0.6], dtype=torch.float64), means, 0.05, chain)


@pytest.mark.parametrize("steps", [1, 7, 30, 64, 1000])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_11_step_before_is_the_next_time_of_the_grid(spacing, steps):
    """Not t - T // n, which misses the grid where n does not divide T."""
    book, chain = opened("linear")
    grid, denoiser = grids.grid(chain, steps, spacing), mixture(chain)
    x = E
    for t, s in itertools.pairwise(grid.int().tolist()):
        x0 = float(denoiser.mean(column(x), t))
        eps = (x - np.sqrt(book.abar[t]) * x0) / np.sqrt(book.rest[t])
        x = np.sqrt(book.abar[s]) * x0 + np.sqrt(book.rest[s]) * eps
    *_, last = trajectory(denoiser, column(E), grid, DDIM())
    # each step has the rounding of its coefficients, and the data are points to which the walk contracts
    close(float(last.x), x, 10 * steps)


def test_12_grids_at_their_ends_fall_strictly_and_have_as_many_steps_as_asked():
    """All steps, one step, a number that does not divide T, and levels that round to the same step."""
    _, chain = opened("linear")
    for name in ("leading", "trailing", "linspace", "karras", "logsnr", "uniform"):
        for steps in (1, 2, 30, 999, 1000):
            grid = grids.grid(chain, steps, name)
            assert len(grid) == steps + 1 and bool((grid.diff() < 0).all()) and float(grid[-1]) == 0
        assert grids.grid(chain, 1000, name).tolist() == list(range(1000, -1, -1))
    levels = torch.exp(torch.linspace(math.log(80), math.log(0.01), 500, dtype=torch.float64))
    assert len(chain.time(-2 * levels.log()).unique()) < 400  # before they are spread, many are the same step
    for wrong in ([1, 2, 0], [5, 5, 0], [3, 4]):
        with pytest.raises(GridError, match="strictly falling"):
            grids.explicit(chain, wrong)


# -- 13, 14: parts of a walk, and respaced tables ---------------------------------------------------------------------


@pytest.mark.parametrize("solver", [DDIM(), Heun()], ids=str)
@pytest.mark.parametrize("kept", [1, 13, 20])
def test_13_a_walk_from_the_middle_is_the_end_of_the_whole_one(solver, kept):
    """A strength below one keeps the last steps of the grid, whatever number of calls a step makes."""
    _, chain = opened("linear")
    denoiser, grid = mixture(chain), grids.trailing(chain, 20)
    whole = list(trajectory(denoiser, column(E), grid, solver))
    part = list(trajectory(denoiser, whole[20 - kept].x, grid[20 - kept :], solver))
    assert len(part) == kept + 1 and [f.t for f in part] == [f.t for f in whole[20 - kept :]]
    for ours, theirs in zip(part[1:], whole[20 - kept + 1 :]):
        assert torch.equal(ours.x, theirs.x)


@pytest.mark.parametrize("steps", [10, 30])
@tables
def test_14_respaced_betas_keep_abar_and_walk_as_the_grid_does(name, steps):
    """beta'_i = 1 - abar_{t_i} / abar_{t_{i-1}}: a short chain with the levels of the long one (IDDPM, eq. 19)."""
    book, chain = opened(name)
    grid = grids.trailing(chain, steps)
    kept = grid.flip(0).int().numpy()
    short = Chain.ddpm(1 - book.abar[kept[1:]] / book.abar[kept[:-1]])
    i = torch.arange(steps + 1, dtype=torch.float64)
    close(short.kernel(i).scale ** 2, book.abar[kept])
    # a difference of numbers of order one, and then its sums
    close(short.kernel(i).std ** 2, book.rest[kept], 10)
    for solver in (Ancestral("small"), Ancestral("large"), DDIM()):
        ends = []
        for process, times in ((chain, grid), (short, i.flip(0))):
            denoiser = GaussianDenoiser(torch.full((1,), 0.3, dtype=torch.float64), 0.2, process)
            *_, last = trajectory(denoiser, column(E, 4), times, solver)
            ends.append(last.x)
        # noise by (row, number of the step) is the same in both walks; x0-hat is divided by no alpha
        close(ends[0], ends[1], 100)
