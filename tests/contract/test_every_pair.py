"""Every solver on every process: no pair is refused, and on Gaussian data each makes the law of the data.

All is propagated without sampling noise. Nothing here depends on what the pair is; what theory promises less for is
listed by name.
"""

import pytest
import torch
from parts import PROCESSES, SOLVERS

from caminito.denoiser import GaussianDenoiser
from caminito.process import Chain, process_from_dict
from caminito.process import grid as grids
from caminito.sampling import DDIM, PNDM, Adams, Ancestral, DPMpp2M, Heun, Restart, SASolver, UniPC
from caminito.sampling.solvers.names import NAMES
from caminito.testing import propagate

EPS = torch.finfo(torch.float64).eps
MEAN, VAR = torch.tensor([1.5, -0.5], dtype=torch.float64), torch.tensor([0.3, 2.0], dtype=torch.float64)

REFINABLE = [name for name, process in PROCESSES.items() if not process.is_discrete or process.t_max >= 50]
BOUND = {0: 0.4, 1: 0.4, 2: 0.15, 3: 0.15, 4: 0.15}  # of |log(variance / that of the data)| in 50 steps, by order

# A second look in eps, from the end of a chain where sigma / |alpha| is 20 000, divides by what is left after one long
# step: at 50 steps they are far off. Heun's rule is known for it; the remedy is more steps, or a rule in x0.
STIFF = [("cosine", Heun()), ("cosine", PNDM()), ("cosine", PNDM("heun")), ("cosine", Restart())]
NEAR = [(name, solver) for name in REFINABLE for solver in SOLVERS if (name, solver) not in STIFF]
LESS = {("sigmoid", Heun()): 0.4, ("sigmoid", PNDM("heun")): 0.4}  # the same from 400, in all of its steps


def law(process, grid, solver):
    return propagate(GaussianDenoiser(MEAN, VAR, process), grid, solver)


def off(found):
    return float((found.cov.diagonal() / VAR).log().abs().max())


def check_mean(found):
    assert bool(torch.isfinite(found.mean).all() and torch.isfinite(found.cov).all()), found
    # rounding of the data, and of a walk that is wider than they are where the steps are few
    spread = float(found.cov.diagonal().max()) ** 0.5
    assert float((found.mean - MEAN).abs().max()) < 1e-9 + 256 * EPS * spread, found


def test_the_lists_have_every_kind_of_process_and_of_solver():
    assert {type(solver) for solver in NAMES.values()} <= {type(solver) for solver in SOLVERS}
    kinds = ("vp", "subvp", "cosine", "ve", "edm", "rectified-flow", "ddpm")
    assert {type(process_from_dict(kind)) for kind in kinds} <= {type(process) for process in PROCESSES.values()}


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize("name", PROCESSES)
def test_the_mean_of_the_data_is_reproduced_in_one_step_in_few_and_in_all(name, solver):
    process = PROCESSES[name]
    counts = {1, 2, 5}
    if process.is_discrete:
        counts = {n for n in counts if n <= process.t_max} | ({int(process.t_max)} if process.t_max <= 10 else set())
    for steps in sorted(counts):
        check_mean(law(process, grids.grid(process, steps), solver))


@pytest.mark.parametrize(("name", "solver"), NEAR, ids=str)
def test_the_variance_of_the_data_is_near_in_fifty_steps(name, solver):
    process = PROCESSES[name]
    found = law(process, grids.grid(process, 50), solver)
    check_mean(found)
    assert off(found) < LESS.get((name, solver), BOUND[min(solver.order, 4)])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "solver"), STIFF, ids=str)
def test_a_second_look_in_eps_from_extreme_noise_needs_more_than_fifty_steps(name, solver):
    process = PROCESSES[name]
    few, all_of_them = (law(process, grids.grid(process, n), solver) for n in (50, 1000))
    check_mean(few)
    check_mean(all_of_them)
    assert off(few) > BOUND[1] and off(all_of_them) < 0.1


TURNS = Chain.ddpm("linear").scale * torch.where(torch.arange(1000) % 7 == 0, -1.0, 1.0)
LONG = {
    "Cosine": PROCESSES["Cosine"],
    "linear": PROCESSES["linear"],
    "turning": Chain(1 - TURNS, Chain.ddpm("linear").std),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver", [DDIM(), Ancestral("large"), DPMpp2M(), UniPC(3), Adams(3, "v"), Heun(), SASolver()], ids=str
)
@pytest.mark.parametrize("name", LONG)
def test_a_thousand_steps_are_exact_to_a_hundredth_or_two(name, solver):
    process = LONG[name]
    found = law(process, grids.grid(process, 1000), solver)
    check_mean(found)
    assert off(found) < (0.02 if solver.order == 1 else 0.01)


def test_what_is_made_of_a_single_point_is_the_point_under_every_pair():
    """Data without variance: no rule may leave any."""
    point = torch.tensor([0.7], dtype=torch.float64)
    for name in ("VP", "zero-snr", "forgetting", "pausing", "turning"):
        process = PROCESSES[name]
        steps = min(4, int(process.t_max)) if process.is_discrete else 4
        for solver in SOLVERS:
            found = propagate(GaussianDenoiser(point, 0.0, process), grids.grid(process, steps), solver)
            assert abs(float(found.mean) - 0.7) < 1e-12 and float(found.cov) < 1e-12, (name, solver, found)
