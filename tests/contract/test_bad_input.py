"""Bad input to a walk: an error that says what was expected and what came, before the denoiser is asked anything."""

import math
import re

import pytest
import torch
from parts import SOLVERS

from caminito._errors import ConfigError, GridError, NonFiniteError, TimeError
from caminito.denoiser import Denoiser, GaussianDenoiser, NetworkDenoiser, Precondition
from caminito.guidance import clip, constrain
from caminito.nn import ResidualMLP
from caminito.process import EDM, VP, Chain, Cosine
from caminito.process import grid as grids
from caminito.sampling import (
    DDIM,
    Ancestral,
    Churn,
    DPMpp2MSDE,
    DPMpp3MSDE,
    EulerAncestral,
    Heun,
    Restart,
    SASolver,
    calibrate,
    encode,
    log_prob,
    picard,
    sample,
    trajectory,
    variational_bound,
)

VP_, CHAIN = VP(), Chain.ddpm("cosine", steps=10)
X = torch.zeros(3, 2, dtype=torch.float64)


class Asked(Denoiser):
    """A denoiser that notes the times at which it is asked, with an answer that is not a number up to one of them."""

    event_shape = (2,)

    def __init__(self, process, bad_from=-1.0, value=math.nan, rows=slice(None)):
        self.process, self.bad_from, self.value, self.rows, self.times = process, bad_from, value, rows, []

    def mean(self, x_t, t, cond=None):
        self.times.append(float(torch.as_tensor(t).max()))
        out = 0.5 * x_t
        if self.times[-1] <= self.bad_from:
            out[self.rows] = self.value
        return out


WALKS = {
    "trajectory": lambda d, grid: list(trajectory(d, X, grid)),
    "sample": lambda d, grid: sample(d, 3, grid=grid),
    "picard": lambda d, grid: picard(d, X, grid),
    "encode": lambda d, grid: encode(d, X, grid),
    "variational_bound": lambda d, grid: variational_bound(d, X, grid=grid),
    "calibrate": lambda d, grid: calibrate(d, X.repeat(8, 1), "ddim", 3, method="klub", like=grid),
    "log_prob": lambda d, grid: log_prob(d, X, grid=grid),
}
GRIDS = {
    "rising": (VP_, [0.0, 0.5, 1.0], GridError, ["strictly falling", "got 0, 0.5, 1", "s < t"]),
    "rising in between": (VP_, [1.0, 0.2, 0.5, 0.0], GridError, ["strictly falling", "got 1, 0.2, 0.5, 0"]),
    "repeated": (VP_, [1.0, 0.5, 0.5, 0.0], GridError, ["strictly falling", "got 1, 0.5, 0.5, 0"]),
    "repeated at the end": (VP_, [1.0, 0.5, 0.0, 0.0], GridError, ["strictly falling", "got 1, 0.5, 0, 0"]),
    "beyond the process": (VP_, [1.25, 0.5, 0.0], GridError, ["within [0, 1]", "got 1.25, 0.5, 0"]),
    "before the data": (VP_, [1.0, 0.5, -0.25], GridError, ["within [0, 1]", "got 1, 0.5, -0.25"]),
    "nan": (VP_, [1.0, math.nan, 0.0], GridError, ["strictly falling", "got 1, nan, 0"]),
    "nan first": (VP_, [math.nan, 0.5, 0.0], GridError, ["strictly falling", "got nan, 0.5, 0"]),
    "infinite": (VP_, [math.inf, 0.5, 0.0], GridError, ["within [0, 1]", "got inf, 0.5, 0"]),
    "one time": (VP_, [1.0], GridError, ["at least two times", "(1,)"]),
    "no times": (VP_, [], GridError, ["at least two times", "(0,)"]),
    "rows of times": (VP_, [[1.0, 0.0], [1.0, 0.0]], GridError, ["at least two times", "(2, 2)"]),
    "chain, a fraction": (CHAIN, [10.0, 2.5, 0.0], TimeError, ["whole steps in 0..10", "2.5", "chain grid"]),
    "chain, nearly whole": (CHAIN, [10.0, 3 + 1e-9, 0.0], TimeError, ["whole steps in 0..10"]),
    "chain, beyond": (CHAIN, [11.0, 5.0, 0.0], GridError, ["within [0, 10]", "got 11, 5, 0"]),
    "chain, before the data": (CHAIN, [10.0, 5.0, -1.0], GridError, ["within [0, 10]", "got 10, 5, -1"]),
    "chain, times of another process": (CHAIN, [1.0, 0.5, 0.0], TimeError, ["whole steps in 0..10", "0.5"]),
    "chain, repeated": (CHAIN, [10.0, 5.0, 5.0, 0.0], GridError, ["strictly falling", "got 10, 5, 5, 0"]),
}


@pytest.mark.parametrize("case", GRIDS, ids=lambda case: case.replace(" ", "-").replace(",", ""))
@pytest.mark.parametrize("walk", WALKS)
def test_a_grid_that_is_none_is_refused_before_the_denoiser_is_asked(walk, case):
    process, times, kind, parts = GRIDS[case]
    if walk == "log_prob" and process.is_discrete:
        kind, parts = ConfigError, ["a chain has no probability-flow ODE", "variational_bound"]
    denoiser = Asked(process)
    with pytest.raises(kind) as caught:
        WALKS[walk](denoiser, torch.tensor(times, dtype=torch.float64))
    assert isinstance(caught.value, ValueError) and denoiser.times == []
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


@pytest.mark.parametrize("steps", [0, -3])
@pytest.mark.parametrize("name", ["uniform", "logsnr", "karras", "trailing", "leading", "linspace", None])
@pytest.mark.parametrize("process", [VP_, CHAIN], ids=["VP", "chain"])
def test_a_walk_of_no_steps_is_refused(process, name, steps):
    denoiser = Asked(process)
    with pytest.raises(GridError, match=f"steps: expected a whole number >= 1, got {steps}"):
        sample(denoiser, 3, steps=steps, grid=name)
    assert denoiser.times == []


@pytest.mark.parametrize("name", ["uniform", "logsnr", "karras", "trailing", "leading", "linspace", None])
def test_more_steps_than_a_chain_has_are_refused_with_the_number_it_has(name):
    denoiser = Asked(CHAIN)
    with pytest.raises(GridError, match=r"chain .*10 steps.* cannot be walked in 11\. Ask for at most 10"):
        sample(denoiser, 3, steps=11, grid=name)
    assert denoiser.times == []
    sample(denoiser, 3, steps=10, grid=name)
    assert [int(t) for t in denoiser.times] == list(range(10, 0, -1))


@pytest.mark.parametrize("name", ["trailing", "leading", "linspace"])
def test_a_grid_of_chains_is_refused_by_a_continuous_process(name):
    with pytest.raises(GridError, match=f"{name!r} is for chains. Use 'uniform', 'logsnr' or 'karras'"):
        sample(Asked(VP_), 3, grid=name)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: CHAIN.kernel(2.5),
        lambda: CHAIN.kernel(torch.tensor([1.0, 2.5])),
        lambda: CHAIN.transition(1, 2.5),
        lambda: CHAIN.bridge(0.5, 2),
        lambda: CHAIN.logsnr(2.5),
        lambda: CHAIN.noise(X, 2.5, X),
        lambda: CHAIN.prior(t=2.5),
        lambda: GaussianDenoiser(torch.zeros(2), 1.0, CHAIN).mean(X, 2.5),
    ],
)
def test_a_chain_has_nothing_to_say_between_its_steps(ask):
    with pytest.raises(
        TimeError, match=r"t: expected whole steps in 0\.\.10 of a chain, got \[.*\]\. Use a chain grid"
    ):
        ask()


# --- what a process or a solver cannot do ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "process", "message"),
    [
        (lambda d: log_prob(d, X), CHAIN, "a chain has no probability-flow ODE. Use variational_bound"),
        (lambda d: variational_bound(d, X), VP_, "expected the times to visit, got none. A continuous process has no"),
        (lambda d: picard(d, X, grids.grid(VP_, 4), Heun()), VP_, "expected one denoiser call per step, got Heun"),
        (lambda d: picard(d, X, grids.grid(VP_, 4), Churn()), VP_, "expected one denoiser call per step, got Churn"),
        (lambda d: encode(d, X, grids.grid(VP_, 4), "dpmpp2m"), VP_, "expected 'ddim' or 'heun', .* got 'dpmpp2m'"),
        (lambda d: sample(d, 3, solver="ddpm"), VP_, "expected one of adams, .*, unipc, got 'ddpm'"),
    ],
)
def test_what_cannot_be_served_is_refused_before_the_denoiser_is_asked(call, process, message):
    denoiser = Asked(process)
    with pytest.raises(ConfigError, match=message):
        call(denoiser)
    assert denoiser.times == []


UNKNOWN = r"needs Var\[x0 \| x_t\], and this denoiser knows only its mean. Wrap it"
COVERING = [
    Ancestral("posterior"),
    DDIM(0.5, variance="posterior"),
    EulerAncestral(variance="posterior"),
    DPMpp2MSDE(variance="posterior"),
    DPMpp3MSDE(variance="posterior"),
    SASolver(variance="posterior"),
    Churn(DDIM(variance="posterior")),
    Restart(Ancestral("posterior")),
]


@pytest.mark.parametrize("solver", COVERING, ids=str)
@pytest.mark.parametrize("process", [VP_, CHAIN], ids=["VP", "chain"])
def test_a_variance_that_the_denoiser_does_not_know_is_missed_before_it_is_asked(process, solver):
    assert solver.needs_variance
    asked, network, calls, grid = Asked(process), ResidualMLP(2, width=4, depth=1), [], grids.grid(process, 4)
    network.register_forward_hook(lambda *_: calls.append(0))
    learnt = NetworkDenoiser(network, Precondition("eps"), process, (2,))
    for denoiser in (asked, constrain(asked, clip(-1.0, 1.0)), learnt):
        assert not denoiser.knows_variance
        for walk in (
            lambda d: sample(d, 3, grid=grid, solver=solver),
            lambda d: next(trajectory(d, X, grid, solver)),
            lambda d: picard(d, X, grid, solver),
            lambda d: variational_bound(d, X, grid, variance="posterior"),
        ):
            with pytest.raises(ConfigError, match=UNKNOWN):
                walk(denoiser)
    assert asked.times == calls == []


@pytest.mark.parametrize("solver", COVERING, ids=str)
def test_a_variance_that_is_known_is_walked_with(solver):
    class Knows(Asked):
        def var(self, x_t, t, cond=None):
            return torch.full_like(x_t, 0.25)

    for denoiser in (Knows(VP_), constrain(Knows(VP_), clip(-1.0, 1.0))):
        assert denoiser.knows_variance
        assert bool(torch.isfinite(sample(denoiser, 3, steps=4, solver=solver)).all())


def test_only_a_solver_that_adds_the_variance_needs_it():
    asking = [solver for solver in SOLVERS if solver.needs_variance]
    assert asking == [solver for solver in SOLVERS if "posterior" in str(solver)] and asking


def test_a_variance_that_is_promised_and_not_given_is_missed_at_the_first_step():
    class Promises(Asked):
        def var(self, x_t, t, cond=None):
            return None

    denoiser = Promises(VP_)
    with pytest.raises(ConfigError, match=UNKNOWN):
        sample(denoiser, 3, steps=4, solver=Ancestral("posterior"))
    assert len(denoiser.times) == 1


# --- a denoiser that is not finite ----------------------------------------------------------------------------------

NAMED = re.compile(
    r"^step (\d+) of 4 \(t = ([\d.]+) to ([\d.]+)\) gave (\d+) of 6 values that are not finite, with (.*)\. C"
)


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize("solver", [solver for solver in SOLVERS if "posterior" not in str(solver)], ids=str)
def test_what_is_not_finite_is_named_by_its_step_and_its_time(solver, value):
    for process, grid in ((Cosine(), grids.uniform(Cosine(), 4)), (CHAIN, grids.trailing(CHAIN, 4))):
        denoiser = Asked(process, bad_from=float(grid[2]), value=value)
        with pytest.raises(NonFiniteError) as caught:
            list(trajectory(denoiser, X + 1, grid, solver))
        step, t, s, count, rule = NAMED.match(str(caught.value)).groups()
        assert (float(t), float(s)) == (float(grid[int(step) - 1]), float(grid[int(step)]))
        first = next(time for time in denoiser.times if time <= denoiser.bad_from)
        assert float(s) <= first and (first <= float(t) or isinstance(solver, Churn))  # which asks a little above t
        assert int(count) == 6 and rule == str(solver)
        assert isinstance(caught.value, ArithmeticError)


def test_rows_that_are_not_finite_are_counted():
    denoiser = Asked(EDM(), bad_from=0.5, rows=slice(1, 2))
    with pytest.raises(NonFiniteError, match=r"^step 3 of 4 \(t = 0\.5 to 0\.25\) gave 2 of 6 values"):
        list(trajectory(denoiser, X + 1, grids.uniform(EDM(), 4), "ddim"))
    assert denoiser.times == [1.0, 0.75, 0.5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: sample(d, 3, steps=4, grid="uniform"), r"step 3 of 4 \(t = 0\.5 to 0\.25\) gave 6 of 6 values"),
        (lambda d: picard(d, X + 1, grids.uniform(VP_, 4)), "not finite|NaN"),
        (lambda d: encode(d, X + 1, grids.uniform(VP_, 4)), "not finite|NaN"),
        (lambda d: log_prob(d, X + 1, steps=4), r"log_prob: 3 of 3 values are not finite"),
    ],
)
def test_every_walk_stops_at_what_is_not_finite(call, message):
    with pytest.raises(NonFiniteError, match=message):
        call(Asked(VP_, bad_from=0.5))


def test_a_start_that_is_not_finite_is_named_too():
    with pytest.raises(NonFiniteError, match=r"step 1 of 4 \(t = 1 to 0\.75\) gave 1 of 6 values"):
        x = X.clone()
        x[0, 1] = math.nan
        list(trajectory(GaussianDenoiser(torch.zeros(2), 1.0, VP_), x, grids.uniform(VP_, 4), "ddim"))
