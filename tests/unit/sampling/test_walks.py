"""The walk: batch invariance bit by bit, shards, conditions, frames, and the checks on the way."""

import itertools

import pytest
import torch

from caminito._errors import ConditionError, ConfigError, GridError, NonFiniteError, ShapeError
from caminito.denoiser import Denoiser, EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser, from_x0
from caminito.process import EDM, VP, Chain, Cosine
from caminito.process import grid as grids
from caminito.sampling import DDIM, Ancestral, DPMpp2M, Heun, PerSample, sample, start, trajectory

G = torch.Generator().manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, generator=G, dtype=torch.float64)


def covariance(size):
    a = randn(size, size)
    return a @ a.T / size + 0.1 * torch.eye(size, dtype=torch.float64)


def build(kind, size, process):
    return {
        "diagonal": lambda: GaussianDenoiser(randn(size), torch.rand(size, generator=G) + 0.1, process),
        "full": lambda: GaussianDenoiser(randn(size), covariance(size), process),
        "mixture": lambda: MixtureDenoiser(
            torch.ones(7) / 7, randn(7, size), torch.rand(7, generator=G) + 0.05, process
        ),
        "mixture-full": lambda: MixtureDenoiser(
            torch.ones(3) / 3, randn(3, size), torch.stack([covariance(size) for _ in range(3)]), process
        ),
        "empirical": lambda: EmpiricalDenoiser(randn(150, size), process, 0.05),
        "grid": lambda: EmpiricalDenoiser(randn(60, 2, 3, size), process, 0.05),
    }[kind]()


CASES = [(k, n) for k in ("full", "empirical") for n in (1, 2, 37)]
CASES += [("diagonal", 3), ("mixture", 1), ("mixture", 5), ("mixture-full", 3), ("grid", 4)]


@pytest.mark.parametrize(("kind", "size"), CASES)
def test_samples_do_not_depend_on_the_batch_size_bit_by_bit(kind, size):
    denoiser = build(kind, size, VP())
    for solver, dtype in ((Ancestral("posterior"), torch.float32), (DPMpp2M(), torch.float64)):
        whole = sample(denoiser, 64, steps=3, solver=solver, dtype=dtype, seed=5)
        for batch in (1, 7, 64):
            parts = sample(denoiser, 64, steps=3, solver=solver, dtype=dtype, seed=5, batch_size=batch)
            assert torch.equal(parts, whole), (solver, dtype, batch)


@pytest.mark.parametrize("solver", [Ancestral("large"), DDIM(0.5), Heun()], ids=str)
def test_samples_of_a_chain_do_not_depend_on_the_batch_size_under_any_solver(solver):
    denoiser = build("mixture-full", 3, Chain.ddpm("cosine", steps=30))
    whole = sample(denoiser, 64, steps=3, solver=solver)
    for batch in (1, 7, 64):
        assert torch.equal(sample(denoiser, 64, steps=3, solver=solver, batch_size=batch), whole)


def test_samples_do_not_depend_on_the_batch_size_on_two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for kind in ("full", "empirical"):
            denoiser = build(kind, 8, VP())
            whole = sample(denoiser, 16, steps=3, solver=Ancestral(), dtype=torch.float64)
            for batch in (1, 7):
                parts = sample(denoiser, 16, steps=3, solver=Ancestral(), dtype=torch.float64, batch_size=batch)
                assert torch.equal(parts, whole)
    finally:
        torch.set_num_threads(threads)


def test_shards_that_start_at_first_make_up_the_whole():
    denoiser = build("mixture", 3, VP())
    whole = sample(denoiser, 30, steps=5, solver=Ancestral(), seed=2)
    shards = [
        sample(denoiser, n, steps=5, solver=Ancestral(), seed=2, first=f, batch_size=4)
        for f, n in ((0, 9), (9, 1), (10, 20))
    ]
    assert torch.equal(torch.cat(shards), whole)


def test_noise_of_a_sample_does_not_depend_on_dtype_offset_or_batch():
    like = torch.empty(6, 2, 3)
    base = PerSample(3, 10).normal(4, like.double())
    assert torch.equal(PerSample(3, 10).normal(4, like), base.float())
    assert torch.equal(PerSample(3, 12).normal(4, like[:2].double()), base[2:4])
    assert not torch.equal(PerSample(3, 10).normal(5, like.double()), base)


def test_seeds_give_other_samples_and_the_same_seed_the_same():
    denoiser = build("mixture", 2, VP())
    a, b, c = (sample(denoiser, 8, steps=4, seed=s) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_samples_have_the_moments_of_gaussian_data_within_standard_errors():
    n, k = 20_000, 5
    mean, var = torch.tensor([1.0, -2.0]), torch.tensor([0.25, 4.0])
    x = sample(GaussianDenoiser(mean, var, VP()), n, steps=6, solver=Ancestral("posterior"), dtype=torch.float64)
    assert bool(((x.mean(0) - mean).abs() < k * (var / n).sqrt()).all())
    assert bool(((x.var(0) / var - 1).abs() < k * (2 / n) ** 0.5).all())
    assert abs(float(torch.corrcoef(x.T)[0, 1])) < k / n**0.5


def test_the_start_is_the_prior_at_the_first_time_of_the_grid():
    """A chain need not end at N(0, 1), nor a grid begin at its end."""
    denoiser = GaussianDenoiser(torch.tensor([2.0]), 9.0, Chain.ddpm("linear", steps=100))
    like = torch.empty(7, 1, dtype=torch.float64)
    z = PerSample(1).normal(0, like)
    for t in (100.0, 40.0):
        alpha, sigma = denoiser.process.kernel(t)
        expected = alpha * 2 + torch.sqrt(alpha**2 * 9 + sigma**2) * z
        assert torch.allclose(start(denoiser, like, t, PerSample(1)), expected, rtol=1e-14, atol=0)


def test_frames_are_the_visited_times_and_the_predictions_that_led_there():
    denoiser, x = build("mixture", 2, VP()), randn(4, 2)
    grid = grids.explicit(VP(), [1.0, 0.6, 0.3])  # ends before the data
    frames = list(trajectory(denoiser, x, grid, DDIM()))
    assert [f.i for f in frames] == [0, 1, 2] and [f.t for f in frames] == grid.tolist()
    assert torch.equal(frames[0].x, x) and torch.equal(frames[0].x0, x)
    for before, after in itertools.pairwise(frames):
        assert torch.equal(after.x0, denoiser.mean(before.x, torch.tensor(before.t, dtype=torch.float64)))


def test_a_walk_can_be_stopped_and_taken_up_again():
    denoiser, x = build("mixture", 2, VP()), randn(4, 2)
    grid = grids.grid(VP(), 6)
    whole = list(trajectory(denoiser, x, grid, DDIM()))
    half = list(trajectory(denoiser, x, grid[:4], DDIM()))
    rest = list(trajectory(denoiser, half[-1].x, grid[3:], DDIM()))
    assert torch.equal(rest[-1].x, whole[-1].x)


def test_walks_may_be_interleaved_for_nothing_is_hidden():
    denoiser, grid = build("mixture", 2, VP()), grids.grid(VP(), 5)
    a, b = randn(3, 2), randn(3, 2)
    alone = [list(trajectory(denoiser, x, grid, DPMpp2M()))[-1].x for x in (a, b)]
    walks = zip(*(trajectory(denoiser, x, grid, DPMpp2M()) for x in (a, b)))
    *_, last = walks
    assert torch.equal(last[0].x, alone[0]) and torch.equal(last[1].x, alone[1])


def test_progress_counts_every_step_of_every_chunk():
    calls = []
    denoiser = build("diagonal", 2, VP())
    sample(denoiser, 10, steps=3, batch_size=4, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 9) for i in range(1, 10)]


class Labelled(Denoiser):
    """Data are a point at the value of the condition."""

    process = VP()
    event_shape = (1,)

    def mean(self, x_t, t, cond=None):
        return cond["at"].reshape(-1, 1).to(x_t).expand_as(x_t)


def test_conditions_are_cut_with_the_rows_and_a_single_row_serves_all():
    rows = torch.arange(5.0)
    for batch in (None, 1, 2):
        got = sample(Labelled(), 5, steps=3, cond={"at": rows}, batch_size=batch)
        assert torch.allclose(got[:, 0], rows, atol=1e-6)
        assert torch.allclose(
            sample(Labelled(), 5, steps=3, cond={"at": torch.tensor([7.0])}, batch_size=batch), torch.full((5, 1), 7.0)
        )


def test_conditions_of_another_number_of_rows_are_refused():
    with pytest.raises(ConditionError, match=r"'at': expected 5 rows .* or 1, got 3\. Pass one row per sample"):
        sample(Labelled(), 5, steps=3, cond={"at": torch.arange(3.0)})


def test_the_first_value_that_is_not_finite_stops_the_walk_and_is_named():
    bad = from_x0(lambda x, t, cond: torch.where(t < 0.5, torch.nan, 0.0) * x, VP())
    with pytest.raises(NonFiniteError, match=r"step 4 of 4 \(t = 0\.25 to 0\) gave 6 of 6 values") as caught:
        list(trajectory(bad, randn(3, 2), grids.uniform(VP(), 4), DDIM()))
    assert isinstance(caught.value, ArithmeticError) and "DDIM" in str(caught.value)


ONE = GaussianDenoiser(torch.zeros(2), 1.0, EDM())


@pytest.mark.parametrize(
    ("call", "kind", "parts"),
    [
        (lambda: sample(ONE, 0), ShapeError, ["n >= 1", "(0, 2)", "at least one"]),
        (lambda: sample(ONE, (3, 4)), ShapeError, ["(2,)", "(4,)"]),
        (lambda: sample(from_x0(lambda x, t, c: x, VP()), 3), ShapeError, ["(n, *event)", "(3,)"]),
        (lambda: sample(ONE, 3, steps=0), GridError, [">= 1", "got 0"]),
        (lambda: sample(ONE, 3, batch_size=0), ConfigError, [">= 1", "got 0"]),
        (lambda: sample(ONE, 3, grid="karas"), ConfigError, ["karras", "'karas'"]),
        (lambda: sample(ONE, 3, solver="eular"), ConfigError, ["ddim", "'eular'"]),
        (lambda: sample(ONE, 3, grid=torch.tensor([0.0, 1.0])), GridError, ["falling", "0, 1"]),
        (lambda: list(trajectory(ONE, torch.zeros(1, 2), torch.tensor([2.0, 0.0]))), GridError, ["[0, 1]", "2"]),
    ],
)
def test_errors_name_what_was_expected_what_came_and_the_way_out(call, kind, parts):
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, ValueError)
    for part in parts:
        assert part in str(caught.value)


def test_dtype_and_explicit_grid_are_respected():
    x = sample(ONE, 3, grid=grids.karras(EDM(), 4), dtype=torch.float64)
    assert x.dtype == torch.float64
    assert torch.equal(x, sample(ONE, 3, steps=4, dtype=torch.float64))
    assert sample(ONE, (3, 2), steps=2).dtype == torch.float32


def test_default_solver_and_a_solver_by_name_are_the_same_walk():
    d = build("mixture", 2, Cosine())
    assert torch.equal(sample(d, 4, steps=5), sample(d, 4, steps=5, solver="dpmpp2m"))
    assert torch.equal(sample(d, 4, steps=5, solver="ancestral"), sample(d, 4, steps=5, solver=Ancestral()))
