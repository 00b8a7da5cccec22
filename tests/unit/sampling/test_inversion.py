"""From data up to noise and back: the flow, the walk undone, and the sphere between two noises."""

import math

import pytest
import torch

from caminito._errors import ConfigError, GridError, NonFiniteError
from caminito.denoiser import Denoiser, GaussianDenoiser, MixtureDenoiser, from_x0
from caminito.process import EDM, VE, VP, Chain, Cosine, RectifiedFlow
from caminito.process import grid as grids
from caminito.sampling import encode, interpolate, trajectory
from caminito.testing import ddim_factor, flow_map


def ring(components, process, rows):
    """Gaussians of standard deviation .1 on the unit circle, and some of their points."""
    angles = torch.arange(components, dtype=torch.float64) * (2 * math.pi / components)
    means = torch.stack([torch.cos(angles), torch.sin(angles)], 1)
    generator = torch.Generator().manual_seed(0)
    x0 = means[torch.randint(components, (rows,), generator=generator)]
    x0 = x0 + 0.1 * torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    return MixtureDenoiser(torch.full((components,), 1 / components), means, 0.01, process), x0


def end(denoiser, x, grid, solver, **options):
    *_, frame = trajectory(denoiser, x, grid, solver, **options)
    return frame.x


def levels(process, high, low, steps):
    """Log-uniform in sigma / alpha, from `high` to `low`."""
    return process.time(torch.linspace(-2 * math.log(high), -2 * math.log(low), steps + 1, dtype=torch.float64))


@pytest.mark.parametrize(("process", "solver", "order"), [(VE(), "ddim", 1), (VP(), "ddim", 1), (VE(), "heun", 3)])
def test_up_and_down_again_errs_with_the_order_of_the_rule(process, solver, order):
    """Heun gains one: its error of second order is odd in the step of the way, so what goes up comes down."""
    (denoiser, x0), errors = ring(8, process, 32), []
    for steps in (64, 128):
        grid = levels(process, 20.0, 0.02, steps)
        back = end(denoiser, encode(denoiser, x0, grid, solver), grid, solver)
        errors.append(float((back - x0).square().mean().sqrt()))
    assert abs(math.log2(errors[0] / errors[1]) - order) < 0.15, errors


@pytest.mark.parametrize(("process", "solver"), [(VE(), "ddim"), (RectifiedFlow(), "ddim"), (RectifiedFlow(), "heun")])
def test_iterations_undo_the_walk_to_rounding(process, solver):
    """Down to the data, and from a time without signal. At sigma / alpha = 80 rounding is 80 eps of x."""
    denoiser, x0 = ring(2, process, 8)
    grid = grids.logsnr(process, 24)
    errors = []
    for iterations in (0, 4, 20):
        back = end(denoiser, encode(denoiser, x0, grid, solver, iterations=iterations), grid, solver)
        errors.append(float((back - x0).abs().max()))
    assert errors[2] < 1e-11 and errors[1] < errors[0] / 10, errors


TURNING = Chain([0.1, 0.2, 1.5, -0.3, 0.4], [0.2, 0.3, 0.5, 0.8, 0.6])  # alpha < 0 after 3
FORGETTING = Chain([0.1, 0.3, 1.0, 0.5], [0.4, 0.5, 1.0, 0.7])  # alpha = 0 after 3
QUIET = Chain([0.2, 0.0, 0.1, 0.1], [0.0, 0.3, 0.0, 0.4])  # steps that only scale, before any noise and after


@pytest.mark.parametrize("solver", ["ddim", "heun"])
@pytest.mark.parametrize("chain", [Chain.ddpm("cosine", steps=20), TURNING, QUIET], ids=["cosine", "turning", "quiet"])
def test_walk_down_a_chain_is_undone_on_gaussian_data_of_any_spread(chain, solver):
    """A step is affine there and its slope the one that is assumed: a single iteration is exact."""
    mean, var = torch.tensor([1.5, -0.5, 0.0]), torch.tensor([1.0, 0.25, 30.0])
    denoiser = GaussianDenoiser(mean, var, chain)
    x0 = mean + torch.sqrt(var) * torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = torch.arange(int(chain.t_max), -1, -1, dtype=torch.float64)
    x = encode(denoiser, x0, grid, solver, iterations=1)
    assert torch.allclose(end(denoiser, x, grid, solver), x0, rtol=0, atol=1e-11)


def test_where_a_chain_forgets_nothing_of_the_item_goes_up():
    denoiser = GaussianDenoiser(torch.zeros(1), 1.0, FORGETTING)
    grid = torch.arange(4, -1, -1, dtype=torch.float64)
    x = encode(denoiser, torch.tensor([[0.5], [-2.0]], dtype=torch.float64), grid)
    assert bool(torch.isfinite(x).all()) and float(x[0]) != float(x[1])


@pytest.mark.parametrize("process", [VP(), Cosine(), VE(), EDM(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_gaussian_data_go_up_the_exact_flow(process):
    """x_t - alpha_t m scales with the marginal standard deviation; errors of first and of second order."""
    mean, q = 0.7, 0.5
    denoiser = GaussianDenoiser(torch.tensor([mean]), q, process)
    x0 = torch.tensor([[0.0], [2.0], [-1.3]], dtype=torch.float64)
    for solver, order, bound in (("ddim", 1, 4e-2), ("heun", 2, 8e-4)):
        errors = []
        for steps in (50, 100, 200):
            grid = levels(process, 10.0, 0.01, steps)
            exact = flow_map(process, q, x0, grid[-1], grid[0], mean)
            error = (encode(denoiser, x0, grid, solver) - exact).abs().max()
            errors.append(float(error / process.kernel(grid[0]).std))
        assert abs(math.log2(errors[0] / errors[2]) / 2 - order) < 0.1, errors
        assert errors[2] < bound, (solver, errors)


def test_ddim_undone_is_the_inverse_of_its_factor():
    """1 / prod (1 + (s_{i+1} - s_i) s_i / (q + s_i^2)) on x / alpha - m."""
    for process in (VP(), Chain.ddpm("linear")):
        grid = grids.grid(process, 12)
        alpha, sigma = process.kernel(grid)
        for q in (0.01, 1.0, 9.0):
            denoiser = GaussianDenoiser(torch.zeros(1), q, process)
            got = float(encode(denoiser, torch.ones(1, 1, dtype=torch.float64), grid, iterations=1))
            assert math.isclose(got, float(alpha[0] / ddim_factor(sigma / alpha, q)), rel_tol=1e-10)


def test_conditions_reach_their_rows():
    class Told(Denoiser):
        process = VP()
        event_shape = (1,)

        def mean(self, x_t, t, cond=None):
            return cond["centre"] + 0.3 * x_t

    x0, centre = torch.tensor([[0.1], [0.2]]).double(), torch.tensor([[0.1], [0.9]]).double()
    grid = grids.karras(VP(), 5)
    both = encode(Told(), x0, grid, cond={"centre": centre})
    for i in range(2):
        assert torch.equal(both[i : i + 1], encode(Told(), x0[i : i + 1], grid, cond={"centre": centre[i : i + 1]}))


def test_a_wrong_question_is_told_what_to_ask():
    denoiser, x0, grid = GaussianDenoiser(torch.zeros(1), 1.0, VP()), torch.zeros(1, 1), grids.karras(VP(), 3)
    with pytest.raises(ConfigError, match="expected 'ddim' or 'heun'.*got 'ancestral'"):
        encode(denoiser, x0, grid, "ancestral")
    with pytest.raises(ConfigError, match="iterations: expected a whole number >= 0"):
        encode(denoiser, x0, grid, iterations=-1)
    with pytest.raises(GridError, match="falling"):
        encode(denoiser, x0, grid.flip(0))
    with pytest.raises(NonFiniteError, match="not finite"):
        encode(from_x0(lambda x, t, cond: x / 0, VP()), x0, grid)


def noises(seed, *shape):
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_points_between_two_noises_of_one_norm_have_that_norm():
    a, b = (5 * torch.nn.functional.normalize(noises(i, 24), dim=1).reshape(3, 2, 3, 4) for i in (0, 1))
    path = interpolate(a, b, torch.linspace(0, 1, 11, dtype=torch.float64))
    assert path.shape == (11, 3, 2, 3, 4)
    assert torch.allclose(path.flatten(2).norm(dim=2), torch.full((11, 3), 5.0).double(), rtol=1e-14, atol=0)
    assert torch.allclose(path[0], a, rtol=0, atol=1e-15) and torch.allclose(path[-1], b, rtol=0, atol=1e-14)
    steps = (path[1:] - path[:-1]).flatten(2).norm(dim=2)  # equal angles, so equal chords
    assert float((steps.amax(0) / steps.amin(0) - 1).abs().max()) < 1e-12


def test_half_way_between_orthogonal_noises():
    a, b = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    got = interpolate(a, b, [0.5])
    assert got.dtype == torch.float32
    assert torch.allclose(got[0, 0], torch.full((2,), 3 / math.sqrt(2)))


def test_parallel_and_opposite_noises_are_joined_by_the_straight_line():
    a = noises(2, 5)
    for b in (a, 2 * a, -a):
        w = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
        straight = a + w[:, None, None] * (b - a)
        assert torch.allclose(interpolate(a, b, w), straight, rtol=0, atol=1e-6)


def test_a_small_angle_keeps_its_digits():
    """Between vectors 1e-5 apart the circle is the line to within (1e-5)^2 / 8."""
    a = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    b = torch.tensor([[math.cos(1e-5), math.sin(1e-5)]], dtype=torch.float64)
    got = interpolate(a, b, [0.3])[0, 0]
    assert abs(float(torch.atan2(got[1], got[0])) - 0.3e-5) < 1e-15
    assert abs(float(got.norm()) - 1) < 1e-15
