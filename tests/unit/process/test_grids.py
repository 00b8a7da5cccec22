"""Grids: the published spacings, exact ends, strictly falling times."""

import math

import numpy as np
import pytest
import torch

from caminito.errors import GridError
from caminito.process import EDM, VE, VP, Chain, Cosine, RectifiedFlow
from caminito.process import grid as grids

CHAIN = Chain.ddpm("linear")
EPS = torch.finfo(torch.float64).eps


def ints(grid):
    return [int(v) for v in grid.tolist()]


@pytest.mark.parametrize(
    ("name", "steps", "head"),
    [
        ("leading", 10, [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]),
        ("trailing", 10, [1000, 900, 800, 700, 600, 500, 400, 300, 200, 100]),
        ("linspace", 10, [1000, 889, 778, 667, 556, 445, 334, 223, 112, 1]),
        ("leading", 5, [801, 601, 401, 201, 1]),
        ("trailing", 5, [1000, 800, 600, 400, 200]),
        ("leading", 30, [958, 925]),
        ("trailing", 3, [1000, 667, 333]),
        ("leading", 1, [1]),
        ("trailing", 1, [1000]),
        ("linspace", 1, [1000]),
    ],
)
def test_published_spacings_of_a_thousand_steps(name, steps, head):
    """Lin et al. 2024, table 2, whose times are ours minus one."""
    grid = ints(grids.grid(CHAIN, steps, name))
    assert grid[: len(head)] == head and grid[-1] == 0 and len(grid) == steps + 1


def test_spacings_of_every_length_are_those_in_circulation():
    """Half-even rounding of a float64 arange, for every n from 1 to 1000."""
    for n in range(1, 1001):
        trailing = np.round(np.arange(1000, 0, -1000 / n))[:n]
        leading = (np.arange(n) * (1000 // n))[::-1] + 1
        linspace = np.round(np.linspace(0, 999, n))[::-1] + 1 if n > 1 else np.array([1000])
        every = (("trailing", trailing), ("leading", leading), ("linspace", linspace))
        for name, expected in every if n < 100 or n % 9 == 0 else every[:1]:
            got = grids.grid(CHAIN, n, name).numpy()
            assert (np.diff(got) < 0).all() and got[-1] == 0
            assert np.array_equal(got[:-1], expected), (name, n)


def test_trailing_sees_the_last_step_and_leading_does_not():
    for n in (2, 7, 30, 999):
        assert float(grids.trailing(CHAIN, n)[0]) == 1000
        assert float(grids.linspace(CHAIN, n)[0]) == 1000
        assert float(grids.leading(CHAIN, n)[0]) < 1000


@pytest.mark.parametrize("name", ["uniform", "logsnr", "karras", "leading", "trailing", "linspace"])
def test_every_grid_of_a_chain_has_distinct_whole_steps_from_one_to_all(name):
    chain = Chain.ddpm("cosine", steps=40)
    for n in range(1, 41):
        grid = grids.grid(chain, n, name)
        assert len(grid) == n + 1 and ints(grid) == grid.tolist()
        assert bool((grid.diff() < 0).all()) and float(grid[-1]) == 0 and float(grid[0]) <= 40
    assert ints(grids.grid(chain, 40, name)) == list(range(40, -1, -1))


@pytest.mark.parametrize("process", [VP(), Cosine(), VE(), EDM(), RectifiedFlow()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("name", ["uniform", "logsnr", "karras"])
def test_every_grid_of_a_continuous_process_runs_from_its_end_to_the_data(process, name):
    for n in (1, 2, 3, 64):
        grid = grids.grid(process, n, name)
        assert len(grid) == n + 1 and float(grid[0]) == 1.0 and float(grid[-1]) == 0.0
        assert grid.dtype == torch.float64 and bool((grid.diff() < 0).all())


def test_karras_grid_is_equation_5_of_karras_et_al():
    process, n = EDM(80.0), 18
    sigma = process.kernel(grids.karras(process, n)).std[:-1]
    i = torch.arange(n, dtype=torch.float64)
    expected = (80 ** (1 / 7) + i / (n - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    # t^7 and its root: a few eps times 7
    assert torch.allclose(sigma, expected, rtol=100 * EPS, atol=0)


def test_logsnr_grid_has_equal_steps_of_log_snr():
    process = VE(0.002, 80.0)
    level = process.logsnr(grids.logsnr(process, 20, sigma_min=0.01)[:-1])
    assert float((level.diff() - level.diff()[0]).abs().max()) < 1e-9
    assert math.isclose(float(level[-1]), -2 * math.log(0.01), rel_tol=1e-12)


def test_grid_of_another_process_has_the_same_noise_levels():
    """logsnr and karras grids speak of sigma / alpha, so VP and VE are asked at the same levels inside the range."""
    for name in ("logsnr", "karras"):
        a = VP().logsnr(grids.grid(VP(), 12, name)[1:-1])
        b = EDM(80.0).logsnr(grids.grid(EDM(80.0), 12, name)[1:-1])
        assert torch.allclose(a, b, rtol=1e-9, atol=0)


@pytest.mark.parametrize("process", [VP(), Cosine(), VE(), EDM(), RectifiedFlow()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("name", ["logsnr", "karras"])
def test_a_grid_begins_at_the_noise_that_is_asked_for_unless_the_process_ends_before(process, name):
    for n in (1, 2, 9):
        times = grids.grid(process, n, name, sigma_max=5.0)
        alpha, sigma = process.kernel(times[0])
        assert len(times) == n + 1 and float(times[0]) < 1
        assert math.isclose(float(sigma / alpha), 5.0, rel_tol=1e-9)  # as exact as the inverse of the schedule


@pytest.mark.parametrize("process", [VP(), VE(), EDM(7.0)], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("name", ["logsnr", "karras"])
def test_a_grid_asked_for_all_noise_or_more_begins_at_the_end_of_the_process(process, name):
    end = math.exp(-float(process.logsnr(1.0)) / 2)
    for most in (end, 2 * end):
        assert float(grids.grid(process, 9, name, sigma_max=most)[0]) == 1.0


@pytest.mark.parametrize("name", ["logsnr", "karras"])
def test_a_grid_of_a_chain_begins_at_the_step_with_the_noise_that_is_asked_for(name):
    alpha, sigma = CHAIN.kernel(300)
    most = float(sigma / alpha)
    for n in (1, 2, 40, 299, 300):
        grid = grids.grid(CHAIN, n, name, sigma_max=most)
        assert ints(grid)[0] == 300 and len(grid) == n + 1 and bool((grid.diff() < 0).all())
    with pytest.raises(GridError, match="300 steps from t = 300 .* in 301. Ask for at most 300"):
        grids.grid(CHAIN, 301, name, sigma_max=most)


def test_default_grid_is_karras_for_time_and_trailing_for_steps():
    assert torch.equal(grids.grid(VP(), 9), grids.karras(VP(), 9))
    assert torch.equal(grids.grid(CHAIN, 9), grids.trailing(CHAIN, 9))


def test_explicit_grid_is_kept_and_may_end_before_the_data():
    times = [1.0, 0.5, 0.25]
    assert grids.explicit(VP(), times).tolist() == times
