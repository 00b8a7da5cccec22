"""Diffuse, descend, weigh: samples of a density, the constant that was left out of it, and the weights of its modes.

    diffuse, descend   noise at every scale, and back up: the modes                     (modes)
    reference          a part at each mode, its shape -Hessian^-1, and a wide part      (proposal)
    weigh              sequential Monte Carlo from there to the target, several times   (smc)

What a search finds is where the density is high; what it weighs is found by importance weights and moves with a
Metropolis test, so that errors of the first two steps cost time but leave no bias as the number of points grows. Where
the parts fit badly a first run teaches a better reference. Several runs that know nothing of each other give the
standard errors, and say when not to trust them.

The parts know nothing of ridges, shells and funnels. There `method="auto"` starts from a wide Student's t, learns a
reference twice, and ends with parallel tempering if that still disagrees with the target; it says so.

Sources: Del Moral, Doucet & Jasra 2006; Syed et al. 2022; Gelman & Rubin 1992 (R-hat).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from caminito._errors import (
    CaminitoWarning,
    ConfigError,
    DegenerateWeights,
    FellBack,
    RunsDisagree,
    UndiscoveredModes,
)
from caminito._random import seed_from
from caminito._weights import systematic
from caminito.density.digs import digs
from caminito.density.draws import Draws
from caminito.density.langevin import annealed_langevin
from caminito.density.modes import Modes, search
from caminito.density.proposal import laplace, learnt, widest
from caminito.density.rdmc import rdmc
from caminito.density.reference import Reference, StudentMixture
from caminito.density.result import DensityResult
from caminito.density.slips import slips
from caminito.density.smc import smc
from caminito.density.target import ConstrainedTarget, LogProb, Target
from caminito.density.tempering import parallel_tempering

__all__ = ["Method", "sample"]

Method = Literal["auto", "ddw", "smc", "nrpt", "slips", "digs", "rdmc", "langevin"]
Sampler = Callable[..., Draws]

_NAMED: dict[str, Sampler] = {
    "smc": smc,
    "nrpt": parallel_tempering,
    "slips": slips,
    "digs": digs,
    "rdmc": rdmc,
    "langevin": annealed_langevin,
}
_BORDER = 16  # starts at each scale that tell whether a density is constant or improper, and where its modes are
_OFF = 0.1  # from Laplace's estimate, beyond chance, that a weight may be
_LEAST = 1024  # points of a run of SMC
_SPARE = 1.25  # points of all runs for each sample, so that few are taken twice
_PILOT = 2048  # points that teach a reference
_LESSONS = 4  # at most, from a wide one
_GOOD, _FAIR, _POOR = 0.5, 0.3, 0.05  # share of draws that weights leave
_STEADY = 0.06  # nats by which the log-evidences of two runs may differ
_PRIOR = 3.0  # runs that what is known beforehand of the error of one counts for


def sample(
    log_prob: LogProb,
    dim: int,
    n: int,
    *,
    method: Method = "auto",
    runs: int = 4,
    scale: float | Literal["auto"] = "auto",
    n_starts: int = 256,
    gradient: LogProb | None = None,
    constraint: Any = None,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> DensityResult:
    """n samples of a density that is known up to a constant, and that constant.

    Parameters
    ----------
    log_prob : (n, dim) -> (n,)
        In torch, or in numpy with `gradient`.
    dim, n : int >= 1
    method : str
        "auto" is diffuse, descend, weigh, and something else where that does not fit. "ddw" never falls back. By name,
        from a wide Student's t: "smc", "nrpt" (parallel tempering), "slips", "digs", "rdmc" and "langevin" (annealed);
        the last four know no evidence.
    runs : int >= 1
        Independent runs, which give the standard errors.
    scale : float or "auto"
        Standard deviation of the starts of the search, or of the wide start of a method by name.
    n_starts : int
        Starts of the search at each scale.
    gradient : (n, dim) -> (n, dim), optional
        Of log_prob, for a function written in numpy.
    constraint : torch.distributions.constraints.Constraint or torch.distributions.Transform, optional
        Where the density lives, or a map from all of space onto that place.
    random_state : int, numpy generator or None

    Returns
    -------
    DensityResult
        diagnostics: `calls`, `evaluations` of log_prob in all; `importance_ess`, share of its draws that the weights
        of the last reference leave (1 is best), if there is one; `rhat` over runs, the largest of any coordinate and
        of the weight of any mode, `weight_rhat` the latter alone; `missing`, mass of basins that the search missed by
        Good and Turing's estimate; `fallback`, 1 where auto fell back.

    Warns
    -----
    UndiscoveredModes, DegenerateWeights, RunsDisagree, FellBack
        With the same text in `warnings` of the result.

    Raises
    ------
    ConfigError
        If an option is impossible, or the density is constant or improper.
    ShapeError, NonFiniteError
        If log_prob gives something else than a number for each point.

    Examples
    --------
    >>> import torch
    >>> def log_prob(x):
    ...     left, right = -0.5 * ((x + 4) ** 2).sum(-1), -0.5 * ((x - 4) ** 2).sum(-1)
    ...     return torch.logaddexp(left, right + 1)
    >>> result = sample(log_prob, 2, 1000, random_state=0)
    >>> round(float(result.weights[0]), 1)  # e / (1 + e)
    0.7
    >>> round(result.log_evidence, 1)  # log(2 pi (1 + e))
    3.2
    """
    for name, count in (("n", n), ("runs", runs)):
        if isinstance(count, bool) or not (isinstance(count, int | np.integer) and count >= 1):
            raise ConfigError(f"{name}: expected a whole number >= 1, got {count!r}.")
    if method not in get_args(Method):
        raise ConfigError(f"method: expected one of {', '.join(get_args(Method))}, got {method!r}.")
    if scale != "auto" and not (isinstance(scale, int | float) and 0 < scale < math.inf):
        raise ConfigError(f'scale: expected a standard deviation > 0 or "auto", got {scale!r}.')
    seed = seed_from(random_state)
    generator = torch.Generator().manual_seed(seed)
    if constraint is None:
        target = Target(log_prob, dim, gradient=gradient)
    else:
        target = ConstrainedTarget(log_prob, dim, constraint, gradient=gradient)
    work = _Work(target, n, runs, generator)
    if method in ("auto", "ddw"):
        modes = search(target, generator, n_starts=n_starts, scale=scale)
        work.modes = modes
        _diffuse_descend_weigh(work, fallback=method == "auto")
    else:
        if scale == "auto":  # samplers of an improper density walk on without end, and may all lose the same mode
            work.seen = _glance(target, seed)
        wide, agreed = widest(target, generator, scale=None if scale == "auto" else float(scale))
        work.run(method, wide, agreed)
    return _result(work)


def _glance(target: Target, seed: int) -> Modes:
    """A small search; what it cannot make sense of is searched as thoroughly as by "auto" before it is refused."""
    try:
        return search(target, torch.Generator().manual_seed(seed), n_starts=_BORDER)
    except ConfigError:
        return search(target, torch.Generator().manual_seed(seed))


@dataclass
class _Work:
    """What was done so far."""

    target: Target
    n: int
    count: int
    generator: torch.Generator
    modes: Modes | None = None
    seen: Modes | None = None  # by a small search beside a method by name
    method: str = ""
    agreed: float = math.nan
    draws: list[Draws] = field(default_factory=list)
    fell_back: str = ""

    def run(self, method: str, reference: Reference, agreed: float) -> None:
        """As many independent runs as were asked for."""
        own = max(_LEAST, math.ceil(_SPARE * self.n / self.count)) if method in ("ddw", "smc") else 0
        each = own or math.ceil(self.n / self.count)
        options = {"sweeps": 128} if method == "nrpt" else {}
        sampler = _NAMED["smc" if method == "ddw" else method]
        self.method, self.agreed = method, agreed
        self.draws = [sampler(self.target, reference, each, self.fresh(), **options) for _ in range(self.count)]

    def fresh(self) -> torch.Generator:
        """A generator that no other run shares."""
        return torch.Generator().manual_seed(int(torch.randint(2**62, (1,), generator=self.generator)))

    def taught(
        self, base: StudentMixture, agreed: float, *, wanted: Sequence[float], parts: int
    ) -> tuple[StudentMixture, float, list[float]]:
        """References that get better by what runs from them see, from `base`, while they agree less than is wanted.

        Returns the last, its agreement, and the log-evidence by each of those runs.
        """
        reference = base
        seen: list[float] = []
        for least in wanted:
            if agreed < least and not _steady(seen, agreed):
                pilot = smc(self.target, reference, _PILOT, self.fresh())
                assert pilot.log_evidence is not None
                seen.append(pilot.log_evidence)
                reference, agreed = learnt(self.target, pilot.x, base, self.generator, before=reference, parts=parts)
        return reference, agreed, seen


def _steady(seen: list[float], agreed: float) -> bool:
    """Did the last run find no more mass than the one before? Else the next one may find more still."""
    return len(seen) > 1 and agreed > 0.4 and abs(seen[-1] - seen[-2]) < _STEADY


def _diffuse_descend_weigh(work: _Work, *, fallback: bool) -> None:
    modes = work.modes
    assert modes is not None
    if bool(modes.ridge.any()):
        if fallback:
            return _from_wide(work, "modes are ridges, shells or funnels")
        if bool(modes.ridge.all()):
            raise ConfigError('method: expected "auto", or a sampler by name, for a density without peaks; got "ddw".')
    reference, agreed = laplace(work.target, modes, work.generator)
    hidden = fallback and agreed < _POOR
    parts = int((~modes.ridge).sum())
    reference, agreed, seen = work.taught(reference, agreed, wanted=(_GOOD, _FAIR), parts=parts)
    if hidden:
        elsewhere = smc(work.target, _wide(work)[0], _PILOT, work.fresh()).log_evidence
        if elsewhere is not None and elsewhere > seen[-1] + 0.3:
            return _from_wide(work, "there is more mass away from the modes than around them")
    if fallback and agreed < _POOR:
        work.fell_back = f"a mixture around the modes agrees with {agreed:.1%} of its draws only"
        return work.run("nrpt", reference, agreed)
    work.run("ddw", reference, agreed)
    if fallback and work.count > 1 and _apart(work):
        work.fell_back = "runs from the modes disagree"
        x = torch.cat([draws.x for draws in work.draws])
        work.run("nrpt", *learnt(work.target, x, reference, work.generator, parts=len(modes)))


def _from_wide(work: _Work, why: str) -> None:
    """Where the modes are no guide: a reference learnt from one that is wide."""
    work.fell_back = why
    reference, agreed = _wide(work)
    reference, agreed, seen = work.taught(reference, agreed, wanted=(1.0,) * _LESSONS, parts=1)
    work.run("smc" if _steady(seen, agreed) else "nrpt", reference, agreed)


def _wide(work: _Work) -> tuple[StudentMixture, float]:
    assert work.modes is not None
    extent = float(work.modes.x.norm(dim=1).max()) / math.sqrt(work.target.dim)
    return widest(work.target, work.generator, least=extent / 4)


def _apart(work: _Work) -> bool:
    """Do runs differ by far more than chance?"""
    assert work.modes is not None
    constants = torch.tensor([draws.log_evidence for draws in work.draws], dtype=torch.float64)
    return float(constants.std()) > 0.5 or float(_shares(work, work.modes).std(0).max()) > 0.15


def _shares(work: _Work, modes: Modes) -> Tensor:
    """Share of each mode in each run, shape (runs, k)."""
    k = len(modes)
    if k == 1:
        return torch.ones(len(work.draws), 1, dtype=torch.float64)
    covs = torch.linalg.inv(modes.hessian)
    parts = StudentMixture(modes.weights + 1e-3 / k, modes.x, (covs + covs.mT) / 2, dof=5.0, wide=0)
    found = [torch.bincount(parts.parts(draws.x).argmax(1), minlength=k) / len(draws.x) for draws in work.draws]
    return torch.stack(found).double()


def _result(work: _Work) -> DensityResult:
    target, runs = work.target, len(work.draws)
    sizes = torch.tensor([len(draws.x) for draws in work.draws])
    which = torch.arange(runs).repeat_interleave(sizes)
    weight = torch.full((runs,), 1 / runs, dtype=torch.float64)
    evidence = evidence_se = None
    if all(draws.log_evidence is not None for draws in work.draws):
        constants = torch.tensor([draws.log_evidence for draws in work.draws], dtype=torch.float64)
        if work.method in ("ddw", "smc"):
            weight = torch.softmax(constants, 0)
        evidence = float(torch.logsumexp(constants, 0)) - math.log(runs)
        ratio = torch.exp(constants - evidence)
        before = sum(_error_before(draws) for draws in work.draws) / runs
        evidence_se = float(_standard_error(ratio[:, None], torch.tensor([before], dtype=torch.float64)))
    start = torch.rand((), generator=work.generator, dtype=torch.float64)
    rows = systematic(torch.log(weight / sizes)[which], work.n, start)
    samples = torch.cat([draws.x for draws in work.draws])[rows]
    if isinstance(target, ConstrainedTarget):
        samples = target.constrain(samples)
    weights = weights_se = None
    told: list[tuple[type[CaminitoWarning], str]] = []
    diagnostics = {"calls": float(target.calls), "evaluations": float(target.evaluations)}
    if not math.isnan(work.agreed):
        diagnostics["importance_ess"] = work.agreed
    rhat = _rhat_of_coordinates(work) if runs > 1 else math.nan
    if work.modes is not None:
        diagnostics["missing"] = work.modes.missing
        if work.modes.missing > 0.05:
            told.append((UndiscoveredModes, _MISSING.format(work.modes.missing)))
        if not bool(work.modes.ridge.any()):
            shares = _shares(work, work.modes)
            weights = weight @ shares
            own = (weights * (1 - weights)).clamp(min=0) / sizes.double().mean()
            weights_se = _standard_error(shares, own)
            if runs > 1:
                diagnostics["weight_rhat"] = _rhat(shares, shares * (1 - shares), float(sizes.double().mean()))
                rhat = max(rhat, diagnostics["weight_rhat"])
    if runs > 1:
        diagnostics["rhat"] = rhat
    if work.method in ("ddw", "nrpt") or work.fell_back:
        diagnostics["fallback"] = float(bool(work.fell_back))
    if work.fell_back:
        told.append(
            (FellBack, f"{work.fell_back}: went on with {_WORDS[work.method]}, from a reference that was learnt.")
        )
    told += _doubts(work, rhat, evidence_se, weights_se)
    for kind, text in told:
        warnings.warn(text, kind, stacklevel=3)
    return DensityResult(
        samples=samples,
        log_evidence=evidence,
        log_evidence_se=evidence_se,
        modes=work.modes,
        weights=weights,
        weights_se=weights_se,
        diagnostics=diagnostics,
        warnings=[text for _, text in told],
        method=work.method,
        runs=which[rows],
    )


_WORDS = {"smc": "sequential Monte Carlo", "nrpt": "parallel tempering"}
_MISSING = (
    "the search for modes probably missed some: of the starts of one scale {:.0%} met a mode that no other start met. "
    "Raise n_starts."
)

_APART = (
    "{:.0%} of the samples are at a mode that holds {:.0%} of the mass by Laplace's estimate, which is rough; but "
    'runs of {} can lose a mode all alike. Compare with method="auto".'
)
_FAR = (
    "weights leave {:.2%} of the draws of the reference, so modes may have been lost on the way from it. Raise "
    'n, or use method="auto".'
)


def _doubts(
    work: _Work, rhat: float, evidence_se: float | None, weights_se: Tensor | None
) -> list[tuple[type[CaminitoWarning], str]]:
    """What there is to warn of."""
    told: list[tuple[type[CaminitoWarning], str]] = []
    kept = [draws.diagnostics["ancestors"] for draws in work.draws if "ancestors" in draws.diagnostics]
    if kept and min(kept) < 0.1:
        told.append((DegenerateWeights, f"{min(kept):.1%} of the first points of a run have descendants. Raise n."))
    elif work.agreed < _POOR / 5 and work.method in ("ddw", "smc"):
        told.append((DegenerateWeights, _FAR.format(work.agreed)))
    seen = work.seen
    if seen is not None and not bool(seen.ridge.any()):
        found, said = _shares(work, seen).mean(0), seen.weights
        off = (found - said).abs() - 2 * (said * (1 - said) / work.n).sqrt()
        if float(off.max()) > _OFF:
            i = int(off.argmax())
            told.append((DegenerateWeights, _APART.format(float(found[i]), float(said[i]), work.method)))
    worst = 0.0 if weights_se is None else float(weights_se.max())
    if rhat > 1.05 or worst > 0.04 or (evidence_se or 0.0) > 0.25:
        told.append(
            (
                RunsDisagree,
                f"independent runs differ: R-hat {rhat:.3f}, standard error of a weight up to {worst:.3f}, of the "
                f"log-evidence {math.nan if evidence_se is None else evidence_se:.3f}. Raise n or runs.",
            )
        )
    return told


def _error_before(draws: Draws) -> float:
    """Variance of exp(log_evidence) over its square that one run is expected to have."""
    if "log_evidence_se" in draws.diagnostics:
        return draws.diagnostics["log_evidence_se"] ** 2
    share = draws.diagnostics["importance_ess"]
    first = 1 / max(share, 0.8) - 1
    return (first + 0.5 * (draws.diagnostics["levels"] - 1)) / len(draws.x)


def _standard_error(values: Tensor, before: Tensor) -> Tensor:
    """Of the mean of values (runs, k), with `before` (k,), a variance of one run known beforehand, as if of 3 runs."""
    runs = len(values)
    seen = ((values - values.mean(0)) ** 2).sum(0)
    return ((_PRIOR * before + seen) / (_PRIOR + runs - 1) / runs).sqrt()


def _rhat(means: Tensor, variances: Tensor, n: float) -> float:
    """Gelman and Rubin's, of means and variances (runs, k) of n draws each; the largest."""
    within = variances.mean(0)
    between = means.var(0)
    some = within > 0
    return float(((n - 1) / n + between[some] / within[some]).sqrt().max()) if bool(some.any()) else 1.0


def _rhat_of_coordinates(work: _Work) -> float:
    means = torch.stack([draws.x.mean(0) for draws in work.draws])
    variances = torch.stack([draws.x.var(0) for draws in work.draws])
    return _rhat(means, variances, float(len(work.draws[0].x)))
