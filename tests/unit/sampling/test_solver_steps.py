"""Identities between solvers, and the chains on which others break: no signal, turned signs, steps without noise."""

import pytest
import torch

from caminito._errors import ConfigError
from caminito.denoiser import GaussianDenoiser, MixtureDenoiser, from_eps
from caminito.process import EDM, VE, VP, Chain, Cosine, RectifiedFlow, times
from caminito.process import grid as grids
from caminito.sampling import DDIM, Ancestral, DPMpp2M, Heun, PerSample, sample, solver_named, trajectory

SOLVERS = [
    Ancestral(),
    Ancestral("large"),
    Ancestral("posterior"),
    DDIM(),
    DDIM(0.5),
    DDIM(1.0),
    Heun(),
    DPMpp2M(),
]
STRANGE = {
    "forgetting": Chain([0.1, 1.0, 0.2, 0.3], [0.2, 0.7, 0.5, 0.6]),
    "turning": Chain([0.1, 1.5, 0.2, 1.3], [0.2, 0.7, 0.5, 0.6]),
    "noiseless-first": Chain([0.1, 0.0, 0.2, 0.3], [0.0, 0.0, 0.5, 0.6]),
    "noiseless-last": Chain([0.1, 0.2, 0.3, 0.5], [0.3, 0.4, 0.0, 0.0]),
    "erasing": Chain([0.1, 1.0, 0.2, 0.3], [0.2, 0.0, 0.5, 0.6]),
    "zero-snr": Chain.ddpm("cosine", steps=12, zero_snr=True),
}
names = pytest.mark.parametrize("name", STRANGE)
each = pytest.mark.parametrize("solver", SOLVERS, ids=str)


def mixture(process):
    return MixtureDenoiser(torch.tensor([0.4, 0.6]), torch.tensor([[1.0, -1.0], [-2.0, 0.5]]), 0.3, process)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def step(solver, process, x, t, s, eps=None, state=None, denoiser=None):
    t, s = (torch.tensor(v, dtype=torch.float64) for v in (t, s))
    state = solver.init(process, torch.stack([t, s])) if state is None else state
    return solver.step(denoiser or mixture(process), process, x, t, s, state, lambda part=0: eps)


def none(part=0):
    raise AssertionError("noise was drawn")


@pytest.mark.parametrize(
    "process",
    [VP(), Cosine(), RectifiedFlow(), Chain.ddpm("linear"), *STRANGE.values()],
    ids=lambda p: type(p).__name__,
)
def test_ddim_with_eta_one_is_ancestral_with_the_small_variance(process):
    """The same noise gives the same walk (Song et al. 2021, section 4.1)."""
    d = mixture(process)
    a = sample(d, 20, steps=4, solver=DDIM(1.0), dtype=torch.float64, seed=3)
    b = sample(d, 20, steps=4, solver=Ancestral("small"), dtype=torch.float64, seed=3)
    assert float((a - b).abs().max()) < 1e-12


def test_ddim_with_eta_one_is_the_step_of_ddpm_at_every_consecutive_pair():
    chain, x, z = Chain.ddpm("linear"), randn(4, 2), randn(4, 2, seed=1)
    for t in (2.0, 3.0, 100.0, 999.0, 1000.0):
        a, b = (step(s, chain, x, t, t - 1, z).x for s in (DDIM(1.0), Ancestral("small")))
        assert float((a - b).abs().max()) < 1e-12


def test_ddim_stays_accurate_where_the_transition_forgets_nearly_all():
    """sigma_s^2 - std^2 cancels for |a| << 1; at eta = 1 the share of x_t must still be that of the bridge."""
    for a in (1e-3, 1e-6, 1e-9):
        chain = Chain([0.0, 1 - a], [1.0, 1.0])
        point = GaussianDenoiser(torch.zeros(1), 0.0, chain)
        x = torch.ones(1, 1, dtype=torch.float64)
        zero = torch.zeros(1, 1, dtype=torch.float64)
        got = float(step(DDIM(1.0), chain, x, 2.0, 1.0, zero, denoiser=point).x)
        expected = float(chain.bridge(1.0, 2.0).ct)
        assert abs(got / expected - 1) < 1e-12


def test_large_variance_is_that_of_the_transition():
    """sigma-hat of Song et al. 2021: sqrt(1 - abar_t / abar_s)."""
    chain, x = Chain.ddpm("linear"), randn(3, 2)
    for t, s in ((1000.0, 900.0), (50.0, 49.0)):
        one, zero = torch.ones(3, 2, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.float64)
        moved = step(Ancestral("large"), chain, x, t, s, one).x - step(Ancestral("large"), chain, x, t, s, zero).x
        ratio = (chain.kernel(t).scale / chain.kernel(s).scale) ** 2
        assert torch.allclose(moved, torch.sqrt(1 - ratio).expand(3, 2), rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    "process", [VP(), EDM(), RectifiedFlow(), Chain.ddpm("linear")], ids=lambda p: type(p).__name__
)
def test_ddim_is_euler_on_x_over_alpha_and_the_first_step_of_dpm_solver(process):
    """d(x / alpha) / d(sigma / alpha) = eps; and the first-order data-prediction rule is the same map."""
    d, x = mixture(process), randn(5, 2)
    t, s = (0.8, 0.5) if not process.is_discrete else (800.0, 500.0)
    alpha_t, sigma_t = process.kernel(t)
    alpha_s, sigma_s = process.kernel(s)
    mean = d.mean(x, t)
    eps = (x - alpha_t * mean) / sigma_t
    euler = alpha_s * (x / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) * eps)
    h = (process.logsnr(s) - process.logsnr(t)) / 2
    first = sigma_s / sigma_t * x - alpha_s * torch.expm1(-h) * mean
    for solver in (DDIM(), DPMpp2M()):
        got = step(solver, process, x, t, s).x
        assert float((got - euler).abs().max()) < 1e-12
        assert float((got - first).abs().max()) < 1e-12


def test_heun_is_algorithm_1_of_karras_et_al():
    process, d, x = EDM(), mixture(EDM()), 10 * randn(5, 2)
    t, s = 0.7, 0.6
    st, ss = process.kernel(t).std, process.kernel(s).std
    slope = (x - d.mean(x, t)) / st
    guess = x + (ss - st) * slope
    expected = x + (ss - st) * (slope + (guess - d.mean(guess, s)) / ss) / 2
    assert float((step(Heun(), process, x, t, s).x - expected).abs().max()) < 1e-12


def test_second_step_of_dpmpp_is_its_published_formula():
    """x_s = k x - alpha_s expm1(-h) ((1 + 1/2r) D - D_prev / 2r), r = h_prev / h (Lu et al. 2022, algorithm 2)."""
    process, d, x = VP(), mixture(VP()), randn(5, 2)
    grid = torch.tensor([0.9, 0.7, 0.6], dtype=torch.float64)
    frames = list(trajectory(d, x, grid, DPMpp2M()))
    half = process.logsnr(grid) / 2
    h0, h = half[1] - half[0], half[2] - half[1]
    r = h0 / h
    before, now = d.mean(x, grid[0]), d.mean(frames[1].x, grid[1])
    mix = (1 + 1 / (2 * r)) * now - before / (2 * r)
    (_, sigma_t), (alpha_s, sigma_s) = process.kernel(grid[1]), process.kernel(grid[2])
    expected = sigma_s / sigma_t * frames[1].x - alpha_s * torch.expm1(-h) * mix
    assert float((frames[2].x - expected).abs().max()) < 1e-12


@each
def test_last_step_ends_at_the_mean_without_noise(solver):
    """All but the posterior draw, whose last step is N(D, Var[x0 | x_t])."""
    for process in (VP(), Cosine(), VE(), Chain.ddpm("linear"), STRANGE["turning"], STRANGE["noiseless-last"]):
        d, x, z = mixture(process), randn(4, 2), randn(4, 2, seed=1)
        t = process.t_max / 2
        t = torch.tensor(round(t) if process.is_discrete else t, dtype=torch.float64)
        got = step(solver, process, x, float(t), 0.0, z)
        mean = d.mean(x, t)
        expected = mean + torch.sqrt(d.var(x, t)) * z if solver == Ancestral("posterior") else mean
        assert float((got.x - expected).abs().max()) < 1e-14 * (1 + float(x.abs().max()))
        assert torch.equal(got.x0, mean)


@pytest.mark.parametrize("solver", [Ancestral("small"), Ancestral("large"), DDIM(1.0), DDIM(0.4)], ids=str)
def test_no_noise_is_drawn_in_the_last_step(solver):
    for process in (VP(), Chain.ddpm("linear", steps=100), STRANGE["noiseless-first"]):
        t, s = (torch.tensor(v, dtype=torch.float64) for v in (process.t_max, 0.0))
        solver.step(mixture(process), process, randn(3, 2), t, s, solver.init(process, torch.stack([t, s])), none)


@pytest.mark.parametrize("solver", [DDIM(), Heun(), DPMpp2M()], ids=str)
def test_deterministic_solvers_draw_no_noise_at_all(solver):
    class Silent:
        def normal(self, step, like):
            none()

    for process in (VP(), STRANGE["turning"]):
        grid = grids.grid(process, 4)
        assert len(list(trajectory(mixture(process), randn(3, 2), grid, solver, noise=Silent()))) == 5


@names
@each
def test_every_solver_walks_strange_chains_from_one_step_to_all(name, solver):
    chain = STRANGE[name]
    d = mixture(chain)
    bound = 60.0  # a law of spread 2, noise of 1 a step: any pole would pass it
    for steps in {1, 2, 3, int(chain.t_max)}:
        x = sample(d, 50, steps=steps, solver=solver, dtype=torch.float64)
        assert torch.isfinite(x).all() and float(x.abs().max()) < bound


@each
def test_every_solver_walks_every_number_of_steps_of_a_chain(solver):
    chain = Chain.ddpm("cosine", steps=6)
    for name in ("trailing", "leading", "linspace", "karras"):
        for steps in range(1, 7):
            assert torch.isfinite(sample(mixture(chain), 4, steps=steps, solver=solver, grid=name)).all()


@pytest.mark.parametrize(
    "process", [Cosine(), RectifiedFlow(), Chain.ddpm("linear", zero_snr=True)], ids=lambda p: type(p).__name__
)
@each
def test_first_step_from_no_signal_starts_at_the_mean_of_the_data(process, solver):
    """At alpha = 0, D is the data mean whatever x is: no solver may divide by alpha."""
    d = mixture(process)
    seen = []
    for frame in trajectory(d, randn(6, 2), grids.grid(process, 5), solver, noise=PerSample(1)):
        seen.append(frame)
    assert torch.allclose(seen[1].x0, d.data_moments[0].expand(6, 2), rtol=0, atol=1e-13)
    assert torch.isfinite(seen[-1].x).all()


def test_a_turned_sign_is_carried_by_the_direction():
    """eps keeps its meaning: x_s = alpha_s D + sign(a) sigma_s e."""
    chain, x = STRANGE["turning"], randn(5, 2)
    d = mixture(chain)
    for t, s in ((2.0, 1.0), (4.0, 3.0), (4.0, 1.0)):
        alpha_t, sigma_t = chain.kernel(t)
        alpha_s, sigma_s = chain.kernel(s)
        sign = torch.sign(chain.transition(s, t).scale)
        mean = d.mean(x, t)
        expected = alpha_s * mean + sign * sigma_s * (x - alpha_t * mean) / sigma_t
        for solver in (DDIM(), DPMpp2M()):
            assert float((step(solver, chain, x, t, s).x - expected).abs().max()) < 1e-12


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_a_mirrored_chain_gives_the_same_samples(solver):
    """Turning the sign of the last half of a chain turns x_t and nothing else (noises of the start are turned too)."""
    straight = Chain([0.1, 0.2, 0.3, 0.5], [0.3, 0.4, 0.5, 0.6])
    mirrored = Chain([0.1, 0.2, 1.7, 0.5], [0.3, 0.4, 0.5, 0.6])
    x = randn(5, 2)

    class Turned:
        def __init__(self, turn):
            self.turn = turn

        def normal(self, number, like):  # steps land on 3, 2, 1, 0: only step 1 lands on a turned time
            return (self.turn if number == 1 else 1.0) * PerSample(4).normal(number, like)

    ends = []
    for chain, turn in ((straight, 1.0), (mirrored, -1.0)):
        frames = list(trajectory(mixture(chain), turn * x, grids.trailing(chain, 4), solver, noise=Turned(turn)))
        ends.append(frames[-1].x)
    assert float((ends[0] - ends[1]).abs().max()) < 1e-12


def test_a_step_without_noise_leaves_what_dpmpp_remembers():
    """h = 0: the next step extrapolates from the last step that changed the noise level."""
    with_pause = Chain([0.1, 0.2, 0.3, 0.5], [0.5, 0.4, 0.0, 0.6])
    without = Chain([0.1, 0.2, 1 - 0.7 * 0.5], [0.5, 0.4, 0.6])
    x = randn(5, 2)
    a = list(trajectory(mixture(with_pause), x, grids.trailing(with_pause, 4), DPMpp2M()))[-1].x
    b = list(trajectory(mixture(without), x, grids.trailing(without, 3), DPMpp2M()))[-1].x
    assert float((a - b).abs().max()) < 1e-12


def test_epsilon_models_walk_like_the_denoisers_they_are():
    chain = Chain.ddpm("linear")
    d = mixture(chain)

    def fn(x, t, cond):
        alpha, sigma = chain.kernel(t)
        return times(1 / sigma, x) - times(alpha / sigma, d.mean(x, t))

    x = randn(5, 2)
    a, b = (list(trajectory(m, x, grids.trailing(chain, 20), DDIM()))[-1].x for m in (d, from_eps(fn, chain)))
    # x0 = (x - sigma eps) / alpha loses eps sigma / alpha = 160 eps at first
    assert float((a - b).abs().max()) < 1e-11


@each
def test_solvers_are_values(solver):
    assert solver == type(solver)(**vars(solver)) and hash(solver) == hash(type(solver)(**vars(solver)))
    with pytest.raises(AttributeError):
        solver.extra = 1


def test_solver_errors_name_what_came_and_the_way_out():
    with pytest.raises(ConfigError, match=r"expected 'small', 'large' or 'posterior', got 'smal'"):
        Ancestral("smal")
    with pytest.raises(ConfigError, match=r"eta: expected a number in \[0, 1\], got 1.5"):
        DDIM(1.5)
    with pytest.raises(ConfigError, match=r"expected one of adams, ancestral, .*, unipc, got 'eular'"):
        solver_named("eular")
    mean_only = from_eps(lambda x, t, cond: x, VP())
    with pytest.raises(ConfigError, match=r"needs Var\[x0 \| x_t\].*fit_residual_variance, or use 'small' or 'large'"):
        list(trajectory(mean_only, randn(2, 2), grids.grid(VP(), 3), Ancestral("posterior")))
    assert solver_named("heun") == Heun() and solver_named(DDIM(0.5)) == DDIM(0.5)
