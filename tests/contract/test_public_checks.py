"""The public checks pass every part of the house, and catch each identity broken on purpose, by name."""

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from parts import PROCESSES, SOLVERS

from caminito import testing
from caminito._errors import ShapeError
from caminito.denoiser import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser, ResidualVariance, from_eps
from caminito.process import VP, Kernel
from caminito.process import grid as grids
from caminito.process.base import ContinuousProcess, as_time
from caminito.sampling import DDIM, PNDM, Ancestral, Solver, Step, sample
from caminito.sampling.solvers import legs
from caminito.testing import BrokenIdentity, propagate

check_denoiser, check_process, check_solver = (
    functools.partial(check, verbose=False)
    for check in (testing.check_denoiser, testing.check_process, testing.check_solver)
)

G = torch.Generator().manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, generator=G, dtype=torch.float64)


MEAN, VAR = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([1.0, 0.25], dtype=torch.float64)


def gaussian(process, mean=MEAN, var=VAR):
    return GaussianDenoiser(mean, var, process), MEAN + VAR.sqrt() * randn(400, 2)


@pytest.mark.parametrize("name", PROCESSES)
def test_every_process_passes(name):
    check_process(PROCESSES[name])


@pytest.mark.parametrize("name", ["VP", "EDM", "RectifiedFlow", "cosine", "turning", "pausing"])
def test_every_exact_denoiser_passes(name):
    process = PROCESSES[name]
    check_denoiser(*gaussian(process))
    cov = torch.tensor([[1.0, 0.3], [0.3, 0.5]], dtype=torch.float64)
    check_denoiser(GaussianDenoiser(MEAN, cov, process), MEAN + randn(400, 2) @ torch.linalg.cholesky(cov).T)
    means, covs = torch.tensor([[0.0, 1.0], [2.0, -1.0]], dtype=torch.float64), torch.tensor([0.1, 0.4])
    k = (torch.rand(400, generator=G) < 0.7).long()
    x0 = means[k] + covs[k, None].double().sqrt() * randn(400, 2)
    check_denoiser(MixtureDenoiser(torch.tensor([0.3, 0.7]), means, covs, process), x0)
    data = randn(40, 2)
    x0 = data[torch.randint(40, (400,), generator=G)] + 0.2 * randn(400, 2)
    check_denoiser(EmpiricalDenoiser(data, process, 0.2), x0)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_every_solver_passes_and_all_but_two_are_the_same_under_every_schedule(solver):
    """The variance of the transition, and a look at the middle of a step in t, are matters of the schedule."""
    report = check_solver(solver)
    assert all(row.verdict == "holds" for row in report.rows[:-1])
    last = report["re-schedule invariance"]
    assert last == report.rows[-1] and last.verdict == "noted"
    assert last.measured.startswith("no" if solver in (Ancestral("large"), PNDM()) else "yes"), last


def test_a_denoiser_of_another_library_passes_without_being_exact():
    check_denoiser(from_eps(lambda x, t, cond: torch.tanh(x), VP()), randn(3, 2, 4))


def test_measured_variance_is_checked_against_residuals():
    process = VP()
    inner, x0 = gaussian(process)
    t = torch.linspace(1, 0.002, 400, dtype=torch.float64)
    table = torch.cat([inner.var(x0[:1], s) for s in t])
    # the wrapped log_marginal says exact; a table of the exact variance passes but for its interpolation, so inexact
    check_denoiser(ResidualVariance(inner, process.logsnr(t), table), x0, exact=False)


# --- mutants -----------------------------------------------------------------------------------------------------


class Mutant(ContinuousProcess):
    """VP with one thing wrong."""

    def __init__(self, wrong):
        self.wrong, self.vp = wrong, VP()

    def kernel(self, t):
        alpha, sigma = self.vp.kernel(t)
        t = as_time(t)
        if self.wrong == "start":
            return Kernel(alpha, torch.sqrt(sigma**2 + 1e-8))
        if self.wrong == "alpha_0":
            return Kernel(0.999 * alpha, sigma)
        if self.wrong == "float32":
            return Kernel(alpha.float(), sigma.float())
        if self.wrong == "rises":
            return Kernel(alpha, sigma * (1 - 0.9 * torch.exp(-((t - 0.6) ** 2) / 0.001)))
        return Kernel(alpha, sigma)

    def time(self, logsnr):
        t = self.vp.time(logsnr)
        return t * (1 + 1e-6) if self.wrong == "time" else t

    def rates(self, t):
        a, s = self.vp.rates(t)
        return Kernel(a, -s) if self.wrong == "rates" else Kernel(a, s)

    def logsnr(self, t):
        level = super().logsnr(t)
        return level / 2 if self.wrong == "half" else level

    def transition(self, s, t):
        if self.wrong == "order":
            s, t = torch.minimum(as_time(s), as_time(t)) * 0.9, as_time(t)
        a, b = super().transition(s, t)
        return Kernel(a, b**2 if self.wrong == "variance" else b)

    def bridge(self, s, t):
        bridge = super().bridge(s, t)
        if self.wrong == "bridge mean":
            return bridge._replace(c0=bridge.c0 * 1.001)
        if self.wrong == "bridge std":
            return bridge._replace(std=bridge.std**2)
        return bridge

    def prior(self, mean=0.0, var=1.0, t=None):
        law = super().prior(mean, var, t)
        return law._replace(std=torch.ones_like(law.std)) if self.wrong == "prior" else law


@pytest.mark.parametrize(
    ("wrong", "identity"),
    [
        ("start", "sigma_0 = 0"),
        ("alpha_0", "alpha_0 = 1"),
        ("float32", "float64"),
        ("rises", "never rises"),
        ("half", "logsnr = log"),
        ("time", r"logsnr\(time\(l\)\) = l"),
        ("rates", "d sigma/dt is the derivative"),
        ("order", r"transition\(s, r\) then transition\(r, t\) = transition\(s, t\)|alpha_t = a alpha_s"),
        ("variance", "sigma_t"),
        ("bridge mean", r"c0 \+ ct alpha_t = alpha_s"),
        ("bridge std", r"ct\^2 sigma_t\^2 \+ std\^2 = sigma_s\^2"),
        ("prior", "prior: variance"),
    ],
)
def test_a_process_with_one_thing_wrong_is_caught_by_name(wrong, identity):
    with pytest.raises(BrokenIdentity, match=identity) as caught:
        check_process(Mutant(wrong))
    assert isinstance(caught.value, AssertionError) and "Mutant" in str(caught.value)


class Wrong(GaussianDenoiser):
    """A Gaussian denoiser with one thing wrong."""

    def __init__(self, wrong):
        super().__init__(MEAN, VAR, VP())
        self.wrong = wrong

    def mean(self, x_t, t, cond=None):
        mean = super().mean(x_t, t, cond)
        if self.wrong == "gain":
            return mean * 1.001
        if self.wrong == "rows":
            return mean + 0.1 * mean.mean(0)
        if self.wrong == "dtype":
            return mean.float()
        if self.wrong == "nan":
            return mean * torch.nan
        return mean

    def var(self, x_t, t, cond=None):
        var = super().var(x_t, t, cond)
        return {"std for var": var.sqrt(), "negative": -var, "shape": var[:, :1]}.get(self.wrong, var)

    def log_marginal(self, x_t, t, cond=None):
        log_p = super().log_marginal(x_t, t, cond)
        return None if self.wrong == "law" else 0.999 * log_p if self.wrong == "density" else log_p


@pytest.mark.parametrize(
    ("wrong", "identity"),
    [
        ("gain", "Tweedie"),
        ("density", "Tweedie"),
        ("rows", "does not depend on the other rows"),
        ("dtype", "shape and dtype"),
        ("nan", "finite"),
        ("std for var", r"Var\[x0 \| x_t\] = sigma\^2 / alpha dD/dx"),
        ("negative", "var >= 0"),
        ("shape", "var has the shape"),
    ],
)
def test_a_denoiser_with_one_thing_wrong_is_caught_by_name(wrong, identity):
    x0 = MEAN + VAR.sqrt() * randn(300, 2)
    with pytest.raises(BrokenIdentity, match=identity):
        check_denoiser(Wrong(wrong), x0)


def test_the_mutants_pass_where_nothing_is_wrong():
    check_process(Mutant("nothing"))
    check_denoiser(Wrong("nothing"), MEAN + VAR.sqrt() * randn(300, 2))
    check_solver(Broken())


def test_a_denoiser_of_another_law_is_caught_by_its_residuals():
    x0 = MEAN + 1.5 * VAR.sqrt() * randn(2000, 2)
    with pytest.raises(BrokenIdentity, match=r"E\[\(x0 - D\).*standard errors|E\[\(x0 - D\)"):
        check_denoiser(Wrong("nothing"), x0)
    with pytest.raises(BrokenIdentity, match=r"E\[x0 - D\] = 0"):
        check_denoiser(Wrong("law"), 1.0 + MEAN + VAR.sqrt() * randn(2000, 2), exact=True)


def test_check_denoiser_wants_a_batch_in_float64():
    for x0 in (torch.zeros(4), torch.zeros(1, 2, dtype=torch.float64), torch.zeros(4, 2)):
        with pytest.raises(ShapeError, match=r"expected float64, shape \(B, \*event\) with B >= 2, got"):
            check_denoiser(Wrong("nothing"), x0)


@dataclass(frozen=True)
class Broken(Solver):
    """Euler's rule with one thing wrong."""

    wrong: str = ""
    order: ClassVar[int] = 1
    evals: ClassVar[int] = 1

    def init(self, process, grid):
        LAST.clear()
        return legs(process, grid), 0

    def step(self, denoise, process, x, t, s, state, eps):
        rows, i = state
        leg, x0, scale = rows[i], denoise(x, t), rows[i].carry
        if self.wrong == "evals":
            denoise(x, t)
        if self.wrong == "asks for noise":
            eps()
        if self.wrong == "in place":
            x.mul_(1 + 1e-12)
        if self.wrong == "divides by zero":
            scale *= (leg.sigma / leg.alpha) / (leg.sigma / leg.alpha)
        if self.wrong == "divides by alpha":
            scale *= float(process.kernel(t).scale / process.kernel(t).scale)
        if self.wrong == "no sign":
            scale = abs(scale)
        if self.wrong == "long chains" and process.t_max == 1000:
            scale *= 0.99
        moved = scale * x + (leg.alpha_s - scale * leg.alpha) * x0
        if self.wrong == "mean":
            moved += 1e-6
        if self.wrong == "counts walks":
            COUNTER.append(1)
            moved += 1e-11 * len(COUNTER)
        if self.wrong == "remembers outside":
            moved += 1e-13 * LAST[0] if LAST else 0
            LAST[:] = [x0.mean(0)]
        if self.wrong == "batch":
            moved += 1e-13 * x.mean(0)
        if self.wrong == "dtype":
            moved = moved.double()
        if self.wrong == "overwrites" and i > 1:
            moved = x.copy_(moved)
        if self.wrong == "last steps" and 0 < leg.sigma_s < 1e-4:
            moved += 0.1
        return Step(moved, x0, (rows, i + 1))


COUNTER: list[int] = []
LAST: list[torch.Tensor] = []


@dataclass(frozen=True)
class ClaimsTwo(Broken):
    """Euler that says it is of second order."""

    order: ClassVar[int] = 2


@dataclass(frozen=True)
class AsksAtTheEnd(Broken):
    """Euler that looks at where it has come, and does nothing with it."""

    evals: ClassVar[int] = 2

    def step(self, denoise, process, x, t, s, state, eps):
        step = super().step(denoise, process, x, t, s, state, eps)
        denoise(step.x, s)
        return step


@dataclass(frozen=True)
class Draws(Broken):
    """Euler with a draw that counts for nothing, from a part of the noise that it does not claim."""

    part: int = 1
    is_stochastic: ClassVar[bool] = True

    def step(self, denoise, process, x, t, s, state, eps):
        step = super().step(denoise, process, x, t, s, state, eps)
        return step._replace(x=step.x + 0 * eps(self.part))


@dataclass(frozen=True)
class Silent(Broken):
    """Euler that says it draws noise, and draws none."""

    is_stochastic: ClassVar[bool] = True


@pytest.mark.parametrize(
    ("solver", "identity"),
    [
        (ClaimsTwo(), "converges with order 2.*measured order 0.98"),
        (Broken("evals"), "evaluations in a step. .* called as often as claimed: `evals` says 1, it was 2"),
        (Broken("asks for noise"), "noise is drawn. `is_stochastic` says False, and the walk drew noise"),
        (Silent(), "noise is drawn. `is_stochastic` says True, and the walk drew none"),
        (Draws(), "parts of the noise in a step, at most. `draws` says 1 at most, and a step asked for part 1"),
        (Broken("mean"), "mean of Gaussian data is reproduced"),
        (Broken("divides by alpha"), r"every walk is finite .* with Cosine\(\).*NonFiniteError: step 1 of 1"),
        (Broken("divides by zero"), r"every walk is finite .* with .*ZeroDivisionError: "),
        (Broken("no sign"), "alpha < 0: the walk is that of the chain without turns"),
        (Broken("last steps"), "last steps: x moves by no more than the noise that is left"),
        (AsksAtTheEnd(), "last step: evaluations at t = 0 .* Got 1"),
        (Broken("long chains"), "a thousand steps: the variance is that of the data"),
        (Broken("batch"), "batch invariance"),
        (Broken("in place"), r"the start is left as it was \(no writing in place\)"),
        (Broken("overwrites"), r"points once made are left as they were \(no writing in place\)"),
        (Broken("remembers outside"), "two walks at once are two walks"),
        (Broken("counts walks"), "no hidden state|mean of Gaussian data"),
        (Broken("dtype"), "float32 in, float32 out .* Got float32 on cpu, float64 on cpu"),
    ],
    ids=lambda v: getattr(v, "wrong", "") or type(v).__name__,
)
def test_a_solver_with_one_thing_wrong_is_caught_by_name(solver, identity):
    COUNTER.clear()
    with pytest.raises(BrokenIdentity, match=identity) as caught:
        check_solver(solver)
    *before, last = caught.value.report.rows
    assert last.verdict == "broken" and all(row.verdict == "holds" for row in before)


def test_propagated_moments_are_those_of_samples_within_standard_errors():
    """The oracle against brute force, for a stochastic solver under a full covariance."""
    cov = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    denoiser = GaussianDenoiser(MEAN, cov, VP())
    n = 40_000
    x = sample(denoiser, n, steps=4, solver=Ancestral("large"), grid="uniform", dtype=torch.float64)
    law = propagate(denoiser, grids.uniform(VP(), 4), Ancestral("large"))
    assert bool(((x.mean(0) - law.mean).abs() < 5 * (law.cov.diagonal() / n).sqrt()).all())
    spread = law.cov.diagonal()
    error = torch.sqrt((law.cov**2 + spread[:, None] * spread) / n)
    assert bool(((torch.cov(x.T) - law.cov).abs() < 5 * error).all())


def test_propagate_needs_to_know_the_event():
    with pytest.raises(ValueError, match="expected a denoiser with a known event shape"):
        propagate(from_eps(lambda x, t, cond: x, VP()), torch.tensor([1.0, 0.0]), DDIM())


def test_broken_identity_says_what_was_expected_what_came_and_where():
    with pytest.raises(BrokenIdentity) as caught:
        check_process(Mutant("bridge mean"))
    text = str(caught.value)
    assert all(part in text for part in ("does not hold", "at s =", "expected", "got", "tolerance")), text
    assert math.isfinite(float(text.split("expected ")[1].split(",")[0]))
