"""Fitting regressors to reverse jumps: one for each noise level, or one for all.

Any f that minimises a squared error will do, since E[x0 | x_t] is what minimises it. Source: the denoising objective of
Ho et al. 2020, eq. 14, in x0; trees for it: Jolicoeur-Martineau et al. 2024 (ForestDiffusion), who predict eps and v.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.multioutput import MultiOutputRegressor
from sklearn.utils import get_tags
from sklearn.utils.parallel import Parallel, delayed
from torch import Tensor

from caminito._errors import ConfigError, DataError, ShapeError
from caminito._random import Stream, normal, uniform
from caminito.denoiser import Condition, Precondition, Prediction, RegressorDenoiser, regressor_columns
from caminito.process import Process, times
from caminito.process import grid as grids

__all__ = ["fit_regressors"]


def fit_regressors(
    process: Process,
    x0: Tensor,
    grid: Tensor,
    regressor: Any,
    *,
    prediction: Prediction = "x0",
    together: bool = False,
    copies: int = 1,
    paths: Tensor | None = None,
    cond: Condition = None,
    unconditional: bool = False,
    n_jobs: int | None = None,
    seed: int = 0,
) -> RegressorDenoiser:
    """A denoiser of regressors, each fitted to x0 as it looks at one noise level.

    Parameters
    ----------
    process : Process
    x0 : tensor, shape (n, *event)
        Data.
    grid : float64 tensor, falling times
        Those of the walk back; a regressor is fitted at each that has noise.
    regressor : object with fit(X, Y) and predict(X)
        As scikit-learn has them; it is copied for each level and itself left as it is. One that predicts a single
        column is fitted to each entry of an event. A `random_state` that is None becomes a function of `seed`.
    prediction : 'x0', 'eps', 'v', 'flow', 'edm' or, for chains, 'previous'
        What it predicts; trees do best with x0.
    together : bool
        One regressor for all levels, with the level as its last column, instead of one for each.
    copies : int
        How often each item is noised at each level.
    paths : tensor, shape (T + 1, n, *event), optional
        The states of a chain, step by step, as `Chain.simulate` keeps them: they are then what the regressors are
        fitted to, in place of fresh noise at each level.
    cond : mapping of numbers with n rows, optional
        Further columns.
    unconditional : bool
        Fit as many regressors again that do not see them, so that the denoiser can do without and be guided.
    n_jobs : int, optional
        Fits at once, in threads; what is fitted does not depend on it.
    seed : int

    Returns
    -------
    RegressorDenoiser
        Its `data_moments` are those of x0, so that a walk begins in the normal that fits the end of the process.

    Raises
    ------
    ConfigError, DataError, ShapeError
        If an argument does not fit the others, before anything is fitted.

    Examples
    --------
    >>> import torch
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from caminito.process import Chain
    >>> from caminito.process.grid import uniform
    >>> from caminito.sampling import DDIM, sample
    >>> chain = Chain([0.01 * i for i in range(1, 61)], [0.01 * i for i in range(1, 61)])
    >>> photos = torch.tensor([-1.0, 0.0, 1.0]).repeat(100)[:, None]
    >>> trees = fit_regressors(chain, photos, uniform(chain, 60), DecisionTreeRegressor(min_samples_leaf=10))
    >>> ends = sample(trees, (100, 1), grid=uniform(chain, 60), solver=DDIM())
    >>> bool(((ends - ends.round()).abs() < 0.2).all())
    True
    """
    _check(process, x0, regressor, copies, paths, cond)
    at = grids.validate(process, grid)[:-1]
    at = at[process.kernel(at).std > 0]
    spread = float(x0.double().std()) if x0.numel() > 1 else 0.0
    precondition = Precondition(prediction, spread if spread > 0 else 1.0)
    precondition.check(process)
    coefficients = precondition.coefficients(process, at)  # refuses what cannot be predicted

    def examples(number: int, cond: Condition) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What is seen and what is to be said of it at one level."""
        t, (skip, out, inp, label) = at[number], (c[number] for c in coefficients)
        if paths is None:
            clean = x0.repeat_interleave(copies, 0)
            eps = normal(seed, Stream.NOISE, number, tuple(clean.shape), dtype=x0.dtype, device=x0.device)
            x_t = process.noise(clean, t, eps)
        else:
            clean, x_t = paths[0], paths[int(t)]
        if paths is not None and prediction == "previous":
            target = times(1 / (out * process.bridge(t - 1, t).c0), paths[int(t) - 1].double())
        else:
            target = times(1 / out, clean.double() - times(skip, x_t.double()))
        given = None if cond is None else {name: _repeated(rows, len(clean)) for name, rows in cond.items()}
        seen = regressor_columns(times(inp, x_t), given, label.expand(len(x_t)) if together else None)
        return seen, target.flatten(1).cpu().numpy()

    def fitted(number: int, seen: NDArray[np.float64], target: NDArray[np.float64]) -> Any:
        model = _fresh(regressor, target.shape[1], int(uniform(seed, Stream.WEIGHTS, number, 1) * 2**31))
        return model.fit(seen, target[:, 0] if target.shape[1] == 1 else target)

    def all_levels(cond: Condition) -> list[Any]:
        if together:
            seen, target = (np.concatenate(parts) for parts in zip(*(examples(k, cond) for k in range(len(at)))))
            return [fitted(0, seen, target)]
        jobs = (delayed(lambda k: fitted(k, *examples(k, cond)))(number) for number in range(len(at)))
        return list(Parallel(n_jobs=n_jobs, prefer="threads")(jobs))

    denoiser = RegressorDenoiser(
        all_levels(cond),
        precondition,
        process,
        tuple(x0.shape[1:]),
        at=None if together else at,
        alone=all_levels(None) if unconditional and cond else None,
        names=list(cond or {}),
    )
    denoiser.data_moments = x0.double().mean(0), x0.double().var(0, unbiased=False)
    return denoiser


def _check(process: Process, x0: Tensor, regressor: Any, copies: int, paths: Tensor | None, cond: Condition) -> None:
    """Refuse what cannot be fitted."""
    for name in ("fit", "predict"):
        if not callable(getattr(regressor, name, None)) or isinstance(regressor, type):
            raise ConfigError(
                f"regressor: expected an object with fit(X, Y) and predict(X), such as DecisionTreeRegressor(), got "
                f"{regressor!r}."
            )
    if x0.ndim < 2 or x0.numel() == 0:
        raise ShapeError(f"x0: expected data of shape (n, *event), got {tuple(x0.shape)}. Numbers are (n, 1).")
    if not bool(torch.isfinite(x0).all()):
        raise DataError("x0: expected finite numbers, got NaN or infinite ones. Leave those rows out.")
    if copies < 1:
        raise ConfigError(f"copies: expected a whole number >= 1, got {copies}.")
    if paths is not None:
        if not process.is_discrete:
            raise ConfigError("paths: expected a chain, whose steps they are. Leave them out for other processes.")
        if tuple(paths.shape) != (int(process.t_max) + 1, *x0.shape) or not torch.equal(paths[0], x0):
            raise ShapeError(
                f"paths: expected shape ({int(process.t_max) + 1}, {', '.join(map(str, x0.shape))}) that begins with "
                f"x0, got {tuple(paths.shape)}. Chain.simulate(x0) makes them."
            )
        if copies > 1:
            raise ConfigError("copies: paths are noised already. Simulate more of them, or leave copies at 1.")
    if cond is not None:
        regressor_columns(x0, cond)


def _fresh(regressor: Any, outputs: int, random_state: int) -> Any:
    """An unfitted copy that predicts so many columns."""
    model = clone(regressor)
    if "random_state" in model.get_params() and model.get_params()["random_state"] is None:
        model.set_params(random_state=random_state)
    return MultiOutputRegressor(model) if outputs > 1 and not get_tags(model).target_tags.multi_output else model


def _repeated(rows: Any, count: int) -> Tensor:
    values = torch.as_tensor(rows)
    return values.repeat_interleave(count // len(values), 0)
