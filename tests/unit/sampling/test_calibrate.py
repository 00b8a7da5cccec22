"""Calibrated grids: closed forms on Gaussian data, brute force, and fresh starts on the ring of eight Gaussians."""

import itertools
import math

import pytest
import torch

from caminito._errors import ConditionError, ConfigError, DataError, GridError, ShapeError
from caminito.denoiser import Denoiser, GaussianDenoiser, from_x0
from caminito.process import EDM, VP, Chain, Cosine, balanced_chain
from caminito.process import grid as grids
from caminito.sampling import DDIM, Ancestral, DPMpp2M, PerSample, calibrate, start, trajectory
from caminito.sampling.costs import Draws, deviations, klub
from caminito.sampling.levels import best_path, equal_parts
from caminito.testing import ddim_factor

C = 0.5  # standard deviation of the Gaussian data
PRINTED = "80 49.65727 30.82076 19.12581 11.86253 7.34793 4.5358 2.77411 1.65268 .90074 .002"  # score-optimal, n = 10
METHODS = ("search", "klub", "score", "trajectory")


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sigmas(low, high, process):
    """A grid of two times, between the given sigma / alpha."""
    return process.time(-2 * torch.log(torch.tensor([high, low], dtype=torch.float64))).clamp(max=1)


def gaussian(process, size):
    return GaussianDenoiser(torch.zeros(size), C**2, process)


def ring(process):
    """Eight components of standard deviation .1 on the unit circle; all of the same norm, so the softmax is short."""
    angle = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
    means = torch.stack([angle.cos(), angle.sin()], 1)

    def mean(x, t, cond):
        alpha, sigma = process.kernel(t)
        total = 0.01 * alpha**2 + sigma**2
        share = torch.softmax(alpha / total * (x @ means.T), 1)
        return sigma**2 / total * (share @ means) + 0.01 * alpha / total * x

    pick = torch.arange(512) % 8
    return from_x0(mean, process), means[pick] + 0.1 * randn(512, 2, seed=5)


def end_of(denoiser, x, grid, solver):
    for frame in trajectory(denoiser, x, grid, solver):
        x = frame.x
    return x


def rms(a, b):
    return float((a - b).square().sum(1).mean().sqrt())


def lambda_of(sigma):
    return torch.asinh(sigma / C) - sigma / torch.hypot(sigma, torch.tensor(C))


def test_equal_parts_of_the_closed_length_are_the_published_score_optimal_grid():
    """Lambda = asinh(s / c) - s / sqrt(s^2 + c^2), printed to five decimals."""
    levels = torch.linspace(math.log(80), math.log(0.002), 1025, dtype=torch.float64)
    length = lambda_of(torch.tensor(80.0, dtype=torch.float64)) - lambda_of(levels.exp())
    got = equal_parts(levels, length, 10).exp()
    for value, printed in zip(got.tolist(), PRINTED.split()):
        assert abs(value - float(printed)) <= 0.51e-5, (value, printed)


def test_score_grid_of_gaussian_data_is_the_published_one():
    """The draws stand for data of another c: relative standard error sqrt(2 / N) / 2, for data and for noise."""
    process, size = EDM(80.0, 1.0), 64
    grid = calibrate(
        gaussian(process, size), C * randn(512, size), "ddim", 10, method="score", draws=512,
        like=sigmas(0.002, 80, process),
    )  # fmt: skip
    printed = torch.tensor([float(v) for v in PRINTED.split()], dtype=torch.float64)
    error = 3 * math.sqrt(2 / (512 * size)) / 2 * math.sqrt(2)
    assert float((80 * grid / printed - 1).abs().max()) < error + 0.083**2 / 2  # and the gap of the levels, squared


def closed_klub(sigma):
    """1/2 (g - 1 - log g) for each step, g the growth of 1/sigma^2 + 1/c^2; nats for each entry of an event."""
    w = 1 / sigma**2 + 1 / C**2
    growth = w[1:] / w[:-1]
    return (growth - 1 - torch.log(growth)) / 2


def test_measured_klub_of_gaussian_data_is_the_closed_form():
    process, size = EDM(80.0, 1.0), 64
    sigma = torch.logspace(math.log10(80), math.log10(0.01), 40, dtype=torch.float64)
    draws = Draws.choose(gaussian(process, size), C * randn(256, size), 256, None, 0)
    cost = klub(draws, sigma / 80, lambda: None)
    for i, j in [(0, 39), (0, 20), (5, 30), (20, 25), (30, 39), (25, 26)]:
        exact = size * float(closed_klub(sigma[[i, j]]))
        # a mean of squares over 256 x 64 independent entries: relative standard error sqrt(2 / N)
        assert abs(float(cost[i, j]) / exact - 1) < 4 * math.sqrt(2 / (256 * size)), (i, j)


def test_measured_klub_is_the_gap_of_the_variational_bound_on_data_that_are_not_gaussian():
    """D is a martingale, so KLUB = (snr_s - snr_t) mmse_t / 2 - int mmse d snr / 2; mmse from draws of its own."""
    process, rows = EDM(20.0, 1.0), 4096
    denoiser, x0 = ring(process)
    sigma = torch.logspace(math.log10(20), math.log10(0.05), 100, dtype=torch.float64)
    got = klub(Draws.choose(denoiser, x0, rows, None, 1), sigma / 20, lambda: None)
    x0 = x0[torch.arange(rows) % len(x0)]
    noisy = [x0 + s * randn(rows, 2, seed=9) for s in sigma]
    mmse = torch.stack([(denoiser.mean(x, s / 20) - x0).square().sum(1).mean() for x, s in zip(noisy, sigma)])
    snr = 1 / sigma**2
    area = torch.cat([torch.zeros(1), torch.cumsum((mmse[1:] + mmse[:-1]) / 2 * snr.diff(), 0)])
    for i, j in [(0, 50), (15, 65), (30, 60), (50, 90)]:
        exact = float((snr[j] - snr[i]) * mmse[i] - (area[j] - area[i])) / 2
        # squares of up to 1 with a mean of about half: 4 standard errors for each of the two
        assert abs(float(got[i, j]) / exact - 1) < 2 * 4 / math.sqrt(rows), (i, j)


def test_klub_grid_of_gaussian_data_reaches_the_smallest_sum():
    """The optimum is a geometric 1/sigma^2 + 1/c^2; near it the cost is flat, so the cost is held to more than it."""
    process, size = EDM(80.0, 1.0), 64
    like = sigmas(0.002, 80, process)
    grid = calibrate(gaussian(process, size), C * randn(256, size), "ancestral", 10, method="klub", like=like)
    ends = 1 / torch.tensor([80.0, 0.002], dtype=torch.float64) ** 2 + 1 / C**2
    w = torch.logspace(math.log10(ends[0]), math.log10(ends[1]), 11, dtype=torch.float64)
    best = torch.cat([torch.tensor([80.0]), 1 / torch.sqrt(w[1:] - 1 / C**2)])
    assert float(closed_klub(80 * grid).sum() / closed_klub(best).sum()) < 1.001
    assert float((80 * grid / best - 1).abs().max()) < 0.05


def test_measured_klub_of_a_balanced_chain_is_the_same_for_each_step():
    chain, _ = balanced_chain((torch.zeros(64), C**2), 20, tolerance=0.1)
    draws = Draws.choose(gaussian(chain, 64), C * randn(256, 64), 256, None, 0)
    cost = klub(draws, torch.arange(20, 0, -1, dtype=torch.float64), lambda: None)
    steps = cost.diagonal(1)
    assert float((steps / steps.mean() - 1).abs().max()) < 4 * math.sqrt(2 / (256 * 64))


@pytest.mark.parametrize("later", [1.0, 1.15])
def test_best_path_is_the_best_of_all_paths(later):
    cost = randn(8, 8, seed=3).abs()
    for steps in (1, 2, 4, 7):
        every = [(0, *inner, 7) for inner in itertools.combinations(range(1, 7), steps - 1)]

        def total(path):
            return sum(later**k * float(cost[i, j]) for k, (i, j) in enumerate(itertools.pairwise(path)))

        assert tuple(best_path(cost, steps, later=later).tolist()) == min(every, key=total)


def test_deviation_of_a_straight_step_from_the_flow_of_gaussian_data():
    """The flow scales y by sqrt((q + s^2) / (q + t^2)), Euler's step by 1 + (s - t) t / (q + t^2)."""
    process = EDM(20.0, 1.0)
    times = torch.logspace(0, -3, 201, dtype=torch.float64)
    sigma = 20 * times
    draws = Draws.choose(gaussian(process, 1), C * randn(64, 1), 64, None, 0)
    cost, ends = deviations(draws, times, DPMpp2M(), lambda: None)
    size = float(draws.noisy(torch.tensor(1.0)).abs().mean())
    flow = torch.sqrt((C**2 + sigma**2) / (C**2 + sigma[0] ** 2))
    assert float(ends.abs().mean()) / size == pytest.approx(float(flow[-1]), rel=1e-3)
    for i, j in [(0, 50), (0, 199), (80, 120), (120, 200)]:
        step = 1 + (sigma[j] - sigma[i]) * sigma[i] / (C**2 + sigma[i] ** 2)
        exact = size * float((flow[i] * step - flow[j]).abs())
        assert abs(float(cost[i, j]) - exact) < 1e-3 * size * float(flow[j])  # the teacher's own error, as above


def test_search_for_ddim_on_gaussian_data_is_the_closed_optimum():
    """sigma_i = c tan of equal angles maximises the factor of Euler's rule; printed for n = 10: .884916 of the data."""
    scale = math.sqrt((C**2 + 80**2) / (C**2 + 0.002**2))

    def best(steps):
        return C * torch.linspace(math.atan(80 / C), math.atan(0.002 / C), steps + 1, dtype=torch.float64).tan()

    assert float(ddim_factor(best(10), C**2)) * scale == pytest.approx(0.884916, abs=0.5e-6)
    process = EDM(80.0, 1.0)
    denoiser = from_x0(lambda x, t, cond: x * (C**2 / (C**2 + (80 * float(t)) ** 2)), process)
    grid = calibrate(denoiser, C * randn(16, 2), DDIM(), 6, like=sigmas(0.002, 80, process), draws=16)
    assert 0 <= float(ddim_factor(best(6), C**2) - ddim_factor(80 * grid, C**2)) * scale < 2e-4
    assert float((80 * grid / best(6) - 1).abs().max()) < 0.05  # flat at the optimum: a few times sqrt(2e-4)


def test_search_on_the_ring_brings_two_steps_to_a_tenth_of_the_best_named_grid_on_fresh_starts():
    """DPM-Solver++(2M), 8 evaluations, sigma 20 to .02: equal log-SNR 3.9e-2, Karras 8e-2; asked: 5e-3."""
    process = EDM(20.0, 1.0)
    denoiser, x0 = ring(process)
    like = sigmas(0.02, 20, process)
    grid = calibrate(denoiser, x0, "dpmpp2m", 8, like=like)
    fresh = 20 * randn(1024, 2, seed=2)
    fine = torch.logspace(0, -3, 513, dtype=torch.float64)
    exact = end_of(denoiser, fresh, fine, DPMpp2M())
    assert rms(end_of(denoiser, fresh, torch.logspace(0, -3, 9, dtype=torch.float64), DPMpp2M()), exact) > 0.035
    assert rms(end_of(denoiser, fresh, grid, DPMpp2M()), exact) < 5e-3


@pytest.mark.parametrize("method", ["klub", "score", "trajectory"])
def test_levels_do_not_depend_on_the_process(method):
    """VP, cosine and VE differ by the scale of x alone; the same draws then give the same sigma / alpha."""
    found = []
    for process in (EDM(20.0, 1.0), VP(), Cosine()):
        denoiser, x0 = ring(process)
        grid = calibrate(
            denoiser, x0, "ddim", 6, method=method, like=sigmas(0.05, 19, process), draws=64, teacher_steps=48
        )
        found.append(-process.logsnr(grid) / 2)
    for other in found[1:]:
        assert float((other - found[0]).abs().max()) < 1e-6  # rounding of x at sigma = 19, over sigma^2 in the scores


CHAINS = {
    "linear": Chain.ddpm("linear", steps=200),
    "zero-snr": Chain.ddpm("cosine", steps=12, zero_snr=True),
    "turning": Chain([0.1, 1.5, 0.2, 1.3, 0.1], [0.2, 0.7, 0.5, 0.6, 0.3]),
    "noiseless-first": Chain([0.1, 0.0, 0.2, 0.3, 0.2], [0.0, 0.0, 0.5, 0.6, 0.2]),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CHAINS)
def test_grids_of_chains_are_whole_steps_without_repeats(name, method):
    chain = CHAINS[name]
    denoiser, x0 = ring(chain)
    grid = calibrate(denoiser, x0, "ddim", 3, method=method, draws=16, teacher_steps=40)
    assert grid.dtype == torch.float64 and len(grid) == 4
    assert bool((grid == grid.round()).all()) and bool((grid.diff() < 0).all())
    assert float(grid[0]) == chain.t_max and float(grid[-1]) == 0


def test_search_on_a_chain_beats_equal_steps_of_time_on_fresh_starts():
    chain = CHAINS["linear"]
    denoiser, x0 = ring(chain)
    grid = calibrate(denoiser, x0, "dpmpp2m", 6, draws=64)
    fresh = start(denoiser, x0, chain.t_max, PerSample(3))
    exact = end_of(denoiser, fresh, grids.trailing(chain, 200), DPMpp2M())
    before = rms(end_of(denoiser, fresh, grids.trailing(chain, 6), DPMpp2M()), exact)
    assert rms(end_of(denoiser, fresh, grid, DPMpp2M()), exact) < 0.5 * before


@pytest.mark.parametrize("method", METHODS)
def test_a_grid_depends_on_the_seed_and_not_on_the_batch(method):
    process = EDM(20.0, 1.0)
    denoiser, x0 = ring(process)
    like = sigmas(0.05, 19, process)
    options = {"method": method, "draws": 16, "teacher_steps": 32, "like": like}
    first = calibrate(denoiser, x0, "euler", 2, **options)
    # sums in another order, through least squares that stops at a relative change of 1e-4
    assert torch.allclose(first, calibrate(denoiser, x0, "euler", 2, batch_size=9, **options), rtol=1e-6, atol=0)
    if method in ("klub", "score"):  # the others choose among few, or stop at much the same place
        assert not torch.equal(first, calibrate(denoiser, x0, "euler", 2, seed=1, **options))


@pytest.mark.parametrize("method", METHODS)
def test_the_ends_are_kept_and_progress_arrives(method):
    process = Cosine()
    denoiser, x0 = ring(process)
    seen = []
    options = {"draws": 16, "teacher_steps": 16, "method": method}
    grid = calibrate(denoiser, x0, "ddim", 3, progress=lambda *of: seen.append(of), **options)
    assert float(grid[0]) == 1 and float(grid[-1]) == 0  # t = 1 has no signal at all
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and seen[-1][0] == seen[-1][1]
    assert calibrate(denoiser, x0, "ddim", 1, **options).tolist() == [1.0, 0.0]
    like = torch.tensor([0.7, 0.2], dtype=torch.float64)
    grid = calibrate(denoiser, x0, "ddim", 3, like=like, **options)
    assert float(grid[0]) == 0.7 and float(grid[-1]) == 0.2


def test_conditions_stay_with_their_rows():
    """A denoiser that answers with its condition: every cost is then 0 exactly, wherever rows go."""
    seen = []

    class Told(Denoiser):
        process, event_shape = EDM(20.0, 1.0), (2,)

        def mean(self, x_t, t, cond=None):
            seen.append(len(x_t))
            return cond["answer"]

    x0 = randn(20, 2)
    cost = deviations(
        Draws.choose(Told(), x0, 50, {"answer": x0}, 0, batch_size=8), torch.tensor([1.0, 0.5, 0.1]), DDIM(), print
    )[0]
    assert float(cost.max()) < 1e-12 and max(seen) == 8


class Counted(Denoiser):
    """Counts what it is asked."""

    def __init__(self, process):
        self.process, self.event_shape, self.rows = process, (2,), 0

    def mean(self, x_t, t, cond=None):
        self.rows += len(x_t)
        return torch.zeros_like(x_t)


GOOD = {"x0": randn(32, 2), "solver": "ddim", "steps": 4}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"steps": 0}, GridError, "steps: expected a whole number >= 1, got 0"),
        ({"x0": randn(3, 2)}, DataError, "at least 16 rows of floating point, got 3"),
        ({"x0": torch.zeros(32, 2, dtype=torch.int64)}, DataError, "got 32 of torch.int64"),
        ({"x0": randn(32, 3)}, ShapeError, r"shape \(n, 2\), got \(32, 3\)"),
        ({"method": "best"}, ConfigError, "search, klub, score, trajectory, got 'best'"),
        ({"draws": 2}, ConfigError, "draws: expected at least 16"),
        ({"teacher_steps": 4}, ConfigError, "teacher_steps: expected more than steps = 4"),
        ({"solver": Ancestral()}, ConfigError, "method='klub', which is made for stochastic ones"),
        ({"cond": {"label": torch.zeros(5)}}, ConditionError, "'label': expected 32 rows, one for each of x0, got 5"),
        ({"like": torch.tensor([0.1, 0.5])}, GridError, "strictly falling"),
        ({"like": torch.tensor([1e-6, 0.0])}, GridError, "expected to begin above sigma / alpha = 0.002"),
    ],
)
def test_errors_teach_and_come_before_the_work(change, error, says):
    denoiser = Counted(EDM(20.0, 1.0))
    with pytest.raises(error, match=says):
        calibrate(denoiser, **{**GOOD, **change})
    assert denoiser.rows <= 2 * 4  # one walk of two rows at most


def test_a_chain_with_too_few_steps_says_how_many_it_has():
    with pytest.raises(GridError, match="there are 5 steps of different noise, got 6. Ask for at most 5"):
        calibrate(Counted(CHAINS["turning"]), randn(32, 2), "ddim", 6)


def test_a_score_that_never_changes_has_no_length():
    with pytest.raises(DataError, match="depends on the noise"):
        calibrate(from_x0(lambda x, t, cond: x, EDM()), randn(32, 2), "ddim", 4, method="score", teacher_steps=8)


@pytest.mark.parametrize("method", METHODS)
def test_any_grid_will_do_where_there_is_one_datum_alone(method):
    """D is a constant: every step of every solver is exact and costs nothing."""
    grid = calibrate(Counted(EDM(20.0, 1.0)), torch.zeros(16, 2), "ddim", 4, method=method, draws=16, teacher_steps=8)
    assert len(grid) == 5 and bool((grid.diff() < 0).all())


def test_single_precision_is_enough_to_search():
    process = EDM(20.0, 1.0)
    denoiser = GaussianDenoiser(torch.zeros(2), C**2, process)
    like = sigmas(0.02, 20, process)
    grid = calibrate(denoiser, (C * randn(64, 2)).float(), "ddim", 3, draws=64, like=like, teacher_steps=64)
    angles = torch.linspace(math.atan(20 / C), math.atan(0.02 / C), 4, dtype=torch.float64)
    gap = float(ddim_factor(20 * grid, C**2) / ddim_factor(C * angles.tan(), C**2))
    assert 0.999 < gap <= 1
