"""Draws of p(x0 | y): one call, whichever method.

==============  =========================================  ==========  =============================================
method          what it is                                 derivative  exact as particles and steps grow
==============  =========================================  ==========  =============================================
`tds`           twisted particles, the default             yes         yes, with log p(y)
`split-smc`     particles along split Gibbs                no          yes, with log p(y); the default where the
                                                                       denoiser has no derivative
`mmps`          guided walk, moments matched               yes         for Gaussian data
`pigdm`         guided walk, one variance                  yes         no
`jfps`          guided walk, covariance of the data        no          for Gaussian data
`diffpir`       guided walk to the nearest point           no          no
`ddnm`          guided walk, y put in place                no          no
`repaint`       y noised and put in place (masks)          no          no
`dps`           walk down the distance to y                yes         no
`daps`          to data, near y, and back up               no          no
`split-gibbs`   split Gibbs along falling levels           no          no
==============  =========================================  ==========  =============================================
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from caminito._errors import ConfigError, DegenerateWeights
from caminito._random import seed_from
from caminito.denoiser import Condition, Denoiser
from caminito.posterior import guides, walks
from caminito.posterior.observation import Noise, Observation, observe
from caminito.posterior.operators import Identity, Operator, whole
from caminito.posterior.particles import equal, split_smc, tds
from caminito.posterior.result import PosteriorResult
from caminito.posterior.walks import Report, for_particles
from caminito.process import grid as grids
from caminito.sampling import sample

__all__ = ["LEAST", "Method", "method_for", "posterior"]

Method = Literal[
    "auto", "tds", "split-smc", "mmps", "pigdm", "jfps", "diffpir", "ddnm", "repaint", "dps", "daps", "split-gibbs"
]

_GUIDES: dict[str, Callable[..., Denoiser]] = {
    "mmps": guides.mmps,
    "pigdm": guides.pigdm,
    "jfps": guides.jfps,
    "diffpir": guides.diffpir,
    "ddnm": guides.ddnm,
}
_WALKS: dict[str, Callable[..., Tensor]] = {"repaint": walks.repaint, "dps": walks.dps, "daps": walks.daps}
_EXACT = ("repaint", "ddnm")  # methods that take an observation without noise
_STEPS = {"tds": 200, "dps": 200, "split-smc": 30, "split-gibbs": 30}
LEAST = 64  # particles
_MANY, _MANY_OF_A_GRID = 64, 8  # entries seen, up to which weights bear the errors of a learnt denoiser
_FEW = 0.05  # share of particles: fewer that count, or fewer ancestors, are warned of


def posterior(
    prior: Denoiser,
    y: Tensor,
    operator: Operator | None = None,
    noise: Noise = 0.05,
    *,
    method: Method | str = "auto",
    n: int = 256,
    particles: int | None = None,
    steps: int | None = None,
    random_state: Any = None,
    batch_size: int | None = None,
    cond: Condition = None,
    progress: Report | None = None,
    options: dict[str, Any] | None = None,
) -> PosteriorResult:
    """Draws of p(x0 | y), y = A(x0) + noise.

    Parameters
    ----------
    prior : Denoiser
        Of the data, as if nothing had been seen.
    y : tensor, shape (*seen); or (P, *seen), P observations of P different x0
        NaN where nothing was seen.
    operator : Operator, optional
        A; the identity unless given, so that NaN alone says what is missing.
    noise : number, tensor (*seen), or tensor (m, m)
        Standard deviation, of all entries or each; or a covariance. In the units of y.
    method : str
        See above; "auto" is `tds`, `split-smc` where the prior cannot be differentiated, and `mmps` where more than 64
        entries of a row of numbers, or 8 of a grid, are seen: weights of so many do not bear the errors of a learnt
        denoiser.
    n : int
        Draws of each observation.
    particles : int >= 2, optional
        Of `tds` and `split-smc`; n unless given, and at least 64.
    steps : int, optional
        Of the walk, 200 of `tds` and `dps`, else 50, at most those of a chain; levels of `split-smc` and
        `split-gibbs`, 30.
    random_state : int, numpy generator or None
    batch_size : int, optional
        Rows that the denoiser is given at once by the particle methods.
    cond : mapping of named conditions, one row for each observation or one for all
    progress : (done, total) -> None, optional
    options : dict, optional
        Further arguments of the method's own function (`ess`, `iterations`, `scale`, `trust`, `inner`, ...).

    Returns
    -------
    PosteriorResult

    Raises
    ------
    ShapeError, DataError, ConfigError
        See `observe`; where a method cannot take the operator, the noise, an option or the prior.
    NonFiniteError

    Warns
    -----
    DegenerateWeights
        If few particles count, or few of the first have descendants.

    Notes
    -----
    Rows depend on (random_state, observation, row, n), not on `batch_size`.

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import MixtureDenoiser
    >>> from caminito.posterior import posterior
    >>> from caminito.process import VP
    >>> prior = MixtureDenoiser(torch.tensor([0.5, 0.5]), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), 0.01, VP())
    >>> seen = torch.tensor([0.9, torch.nan])
    >>> found = posterior(prior, seen, noise=0.2, n=64, steps=50, random_state=0)
    >>> [round(value) for value in found.mean().tolist()]
    [1, 1]
    """
    if method not in get_args(Method):
        raise ConfigError(f"method: expected one of {', '.join(get_args(Method))}, got {method!r}.")
    n = whole("n", n)
    steps = None if steps is None else whole("steps", steps)
    particles = None if particles is None else whole("particles", particles, 2)
    if prior.event_shape is None:
        raise ConfigError("prior: expected a denoiser that knows the shape of its events, got one for any shape.")
    y = torch.as_tensor(y)
    operator = Identity() if operator is None else operator
    dtype = y.dtype if y.dtype in (torch.float32, torch.float64) else torch.get_default_dtype()
    seen = observe(y, operator, noise, tuple(prior.event_shape), dtype=dtype)
    is_one = y.ndim == len(seen.shape)
    if method == "auto":
        method = method_for(prior, seen, cond)
    if seen.is_exact and method not in _EXACT:
        raise ConfigError(
            f"noise: expected more than 0 for {method!r}, got 0. Give the noise of the instrument, a rounding error at "
            f"least, or use method={' or '.join(map(repr, _EXACT))}."
        )
    seed = seed_from(random_state)
    told: dict[str, Any] = {"seed": seed, "cond": cond, "progress": progress}
    if method in ("tds", "split-smc"):
        return _by_particles(prior, seen, method, n, particles, steps, batch_size, is_one, told, options or {})
    if particles is not None:
        raise ConfigError(f"particles: not for {method!r}, which draws each row by itself. Leave it out.")
    rows = told | {"cond": for_particles(cond, seen.count, n)}
    if batch_size is not None:
        whole("batch_size", batch_size)
    count = _count(prior, method, steps)
    if method in _GUIDES:
        rule = _GUIDES[method]
        _known(method, rule, options)
        x = sample(
            rule(prior, seen, **(options or {})),
            (seen.count * n, *seen.event),
            steps=count,
            solver="dpmpp2m-sde",
            cond=rows["cond"],
            seed=seed,
            dtype=seen.y.dtype,
            progress=progress,
        )
    elif method == "split-gibbs":
        _known(method, walks.split_gibbs, options)
        x = walks.split_gibbs(prior, seen, n, **rows, **({"count": count} | (options or {})))
    else:
        _known(method, _WALKS[method], options)
        x = _WALKS[method](prior, seen, n, grids.grid(prior.process, count), **rows, **(options or {}))
    samples = x.reshape(seen.count, n, *seen.event)
    return PosteriorResult(samples[0] if is_one else samples, method=method, event=seen.event)


def _by_particles(
    prior: Denoiser,
    seen: Observation,
    method: str,
    n: int,
    particles: int | None,
    steps: int | None,
    batch_size: int | None,
    is_one: bool,
    told: dict[str, Any],
    options: dict[str, Any],
) -> PosteriorResult:
    """Draws from a cloud, and what may be wrong with it."""
    width = max(n, LEAST) if particles is None else particles
    count = _count(prior, method, steps)
    told = told | {"batch_size": batch_size}
    if method == "tds":
        _known(method, tds, options)
        cloud = tds(prior, seen, width, grids.grid(prior.process, count), **told, **options)
    else:
        _known(method, split_smc, options)
        cloud = split_smc(prior, seen, width, **told, **({"levels": count} | options))
    samples, ancestors = equal(cloud, n, seed=told["seed"])
    ess = torch.stack(cloud.ess).amin(0)
    first = torch.tensor([len(row.unique()) for row in ancestors])
    found = []
    if float(first.min()) < min(n, max(2.0, _FEW * min(n, width))):
        found.append(
            f"the draws are from {int(first.min())} of {width} first particles: their spread may be too small. "
            "Ask for more particles, or more noise."
        )
    if float(ess.min()) < 1 / width + _FEW / 10:
        found.append(
            f"at one step {float(ess.min()) * width:.1f} of {width} particles counted: y is far from what the prior "
            "expects, or the steps are too long. Ask for more particles or steps."
        )
    for text in found:
        warnings.warn(text, DegenerateWeights, stacklevel=3)

    def one(values: Tensor) -> Tensor:
        return values[0] if is_one else values

    return PosteriorResult(
        samples=one(samples),
        log_evidence=one(cloud.log_evidence),
        ess=one(ess),
        ancestors=one(first),
        diagnostics={"particles": float(width), "steps": float(len(cloud.ess))},
        warnings=found,
        method=method,
        event=seen.event,
    )


def method_for(prior: Denoiser, seen: Observation, cond: Condition = None) -> str:
    """The method that "auto" stands for."""
    like = torch.empty(seen.count, *seen.event, dtype=seen.y.dtype)
    if not guides.has_derivative(prior, like, for_particles(cond, seen.count, 1)):
        return "split-smc"
    most = _MANY if len(seen.event) == 1 else _MANY_OF_A_GRID
    return "tds" if int(seen.present.sum(1).max()) <= most else "mmps"


def _count(prior: Denoiser, method: str, steps: int | None) -> int:
    """Steps or levels; unless given, no more than a chain has."""
    if steps is not None:
        return steps
    usual = _STEPS.get(method, 50)
    return min(usual, int(prior.process.t_max)) if prior.process.is_discrete else usual


def _known(method: str, rule: Callable[..., Any], options: dict[str, Any] | None) -> None:
    """Refuse an option that the method does not have."""
    reserved = {"denoiser", "seen", "n", "grid", "particles", "seed", "cond", "progress", "batch_size"}
    names = sorted(set(inspect.signature(rule).parameters) - reserved)
    for name in options or {}:
        if name not in names:
            raise ConfigError(f"options: {method!r} knows {', '.join(names) or 'none'}, got {name!r}.")
