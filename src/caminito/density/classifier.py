"""A log-density made of a classifier: what looks like a class to it, among all that there is.

A classifier says how much more a point looks like a class than like the others. That is a score and not a density: far
from all data it stays as high as it likes, and next to any point it has directions that please it and mean nothing. It
becomes a density times one,

    log p(x) = temperature * log [P(target | x) / (1 - P(target | x))] + log base(x),

where `base` says which points there are at all. And it becomes a landscape worth climbing when it is smoothed, the
score being a mean over points with noise,

    f(x) -> mean over i of f(x + smooth eps_i),    eps_i fixed once, in pairs eps, -eps.

Noise that is fixed keeps log p one function, as samplers need.

Sources: Grathwohl et al. 2020 (a classifier as an energy); Cohen, Rosenfeld & Kolter 2019 (randomised smoothing).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from caminito._errors import ConfigError, DataError, ShapeError
from caminito._random import seed_from

__all__ = ["ClassifierDensity", "from_classifier"]

_EDGE = 1e-12  # probabilities are kept this far from 0 and 1
_WIDTH = 1e-3  # of a finite difference without smoothing, in standard deviations of a coordinate
_CHUNK = 2**22
_KDE_LEAST = 0.1  # of the mean standard deviation: what a column that hardly varies is taken to have

Base = Any


class ClassifierDensity:
    """`from_classifier`'s log-density: a callable (n, dim) -> (n,) that torch can differentiate.

    Attributes
    ----------
    dim : int or None
        None where neither classifier nor base says it.
    """

    def __init__(
        self,
        score: Callable[[Tensor], Tensor],
        base: Callable[[Tensor], Tensor],
        *,
        temperature: float,
        noise: Tensor | None,
        width: float,
        dim: int | None,
        differentiable: bool,
        base_differentiable: bool,
    ) -> None:
        self.score, self.base, self.temperature, self.dim = score, base, temperature, dim
        self._noise, self._width = noise, width
        self._differentiable, self._base_differentiable = differentiable, base_differentiable

    def log_odds(self, x: Tensor) -> Tensor:
        """The smoothed score of points (n, dim), without temperature and base, shape (n,)."""
        if self._noise is None:
            return self.score(x)
        moved = x[:, None] + self._noise
        parts = [self.score(part.flatten(0, 1)).reshape(len(part), -1).mean(1) for part in _chunked(moved)]
        return torch.cat(parts)

    def __call__(self, x: Any) -> Tensor:
        x = torch.as_tensor(x, dtype=torch.float64)
        odds = self.log_odds(x) if self._differentiable else _ByDifferences.apply(x, self.log_odds, self._width)
        base = self.base(x) if self._base_differentiable else _ByDifferences.apply(x, self.base, self._width)
        return self.temperature * odds + base


class _ByDifferences(torch.autograd.Function):
    """A function (n, dim) -> (n,), and as its gradient central differences over 2 width."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor], width: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.function, ctx.width = function, width
        return function(x)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        move = ctx.width * torch.eye(x.shape[1], dtype=x.dtype)
        ahead, behind = (ctx.function((x[:, None] + sign * move).flatten(0, 1)).reshape(x.shape) for sign in (1, -1))
        return upstream[0][:, None] * (ahead - behind) / (2 * ctx.width), None, None


def from_classifier(
    classifier: Any,
    target: Any = 1,
    *,
    base: Base,
    temperature: float = 1.0,
    smooth: float = 0.0,
    draws: int = 16,
    bandwidth: float | None = None,
    random_state: int | np.random.RandomState | np.random.Generator | None = 0,
) -> ClassifierDensity:
    """log p(x) = temperature * log-odds of a class + log base(x), smoothed with noise.

    Parameters
    ----------
    classifier : fitted scikit-learn classifier, or torch.nn.Module
        One with `predict_proba` or `decision_function`; or a module from (n, dim) to logits (n, classes), or (n,) for
        one class against another.
    target : label, sequence of labels
        The class that is wanted: a label of `classes_`, or for a module the index of its logit. Of several any will do.
    base : array (m, dim), {"mean": ..., "cov": ...}, scikit-learn density, or (n, dim) -> (n,)
        Which points there are. Of an array: a kernel density of its rows. Of a mapping: a normal, with a matrix, a
        diagonal or a number as `cov`. Of an estimator with `score_samples`, such as GaussianMixture or KernelDensity:
        that. Of a function: log base(x), in torch.
    temperature : float >= 0
        How much the classifier counts: 0 leaves the base.
    smooth : float >= 0
        Standard deviation of the noise that the score is smoothed with.
    draws : int
        Of noise, made even: more make it smoother.
    bandwidth : float, optional
        Of the kernel density, in standard deviations of each coordinate, a tenth of their mean at least; Scott's rule,
        m^(-1/(dim+4)), unless given.
    random_state : int, numpy generator or None
        Of the noise.

    Returns
    -------
    ClassifierDensity
        A log_prob, for `invert`, `flow` and the others, with its `.dim`.

    Raises
    ------
    ConfigError
        If target is no class of the classifier, an option has an impossible value, or the classifier is not fitted.
    ShapeError, DataError
        If the base has another number of columns, or is not finite.

    Notes
    -----
    Through a torch module the gradient is exact. scikit-learn has none to give: the score is differentiated by central
    differences along each coordinate, on batches of 2 dim points for each, over `smooth` / 2 where the score is
    smoothed and 0.001 standard deviations of the base where it is not. The score of a tree is flat but for its jumps:
    it has a useful gradient only with `smooth`. Moves that are tested against log p, as those of `invert` and `sample`
    are, stay exact with a gradient that is not. Probabilities are kept 1e-12 from 0 and 1.
    """
    for name, number in (("temperature", temperature), ("smooth", smooth)):
        if not (isinstance(number, int | float | np.number) and 0 <= number < math.inf):
            raise ConfigError(f"{name}: expected a number >= 0, got {number!r}.")
    if not (isinstance(draws, int | np.integer) and draws >= 1):
        raise ConfigError(f"draws: expected a whole number >= 1, got {draws!r}.")
    score, dim, known = _score(classifier, target)
    log_base, base_dim, spread, base_known = _base(base, bandwidth)
    if dim is not None and base_dim is not None and dim != base_dim:
        raise ShapeError(f"base: expected {dim} columns, as the classifier has, got {base_dim}.")
    dim = base_dim if dim is None else dim
    noise = None
    if smooth > 0:
        if dim is None:
            raise ConfigError(
                "smooth: expected a base or classifier that says how many columns there are, got neither."
            )
        chance = torch.Generator().manual_seed(seed_from(random_state))
        half = torch.randn(-(-draws // 2), dim, generator=chance, dtype=torch.float64)
        noise = float(smooth) * torch.cat([half, -half])
    width = float(smooth) / 2 if smooth > 0 else _WIDTH * spread
    return ClassifierDensity(
        score,
        log_base,
        temperature=float(temperature),
        noise=noise,
        width=width,
        dim=dim,
        differentiable=known,
        base_differentiable=base_known,
    )


def _score(classifier: Any, target: Any) -> tuple[Callable[[Tensor], Tensor], int | None, bool]:
    """log-odds (n,) of points (n, dim) in float64; the number of columns; whether torch can differentiate it."""
    wanted = list(target) if isinstance(target, list | tuple | set | np.ndarray) else [target]
    if isinstance(classifier, nn.Module):
        return _of_module(classifier, wanted), None, True
    if not hasattr(classifier, "classes_"):
        raise ConfigError(
            f"classifier: expected a fitted scikit-learn classifier or a torch module, got {type(classifier).__name__}"
            f"{' that is not fitted. Call fit.' if hasattr(classifier, 'fit') else '.'}"
        )
    classes = list(classifier.classes_)
    missing = [label for label in wanted if label not in classes]
    if missing or not wanted or len(wanted) >= len(classes):
        raise ConfigError(f"target: expected some of the classes {classes}, and not all, got {target!r}.")
    index = [classes.index(label) for label in wanted]
    dim = getattr(classifier, "n_features_in_", None)
    if hasattr(classifier, "predict_proba"):

        def by_chance(x: Tensor) -> Tensor:
            chance = torch.from_numpy(np.asarray(classifier.predict_proba(x.detach().numpy()), dtype=np.float64))
            others = [i for i in range(chance.shape[1]) if i not in index]
            inside, rest = chance[:, index].sum(1), chance[:, others].sum(1)
            return torch.log(inside.clamp(min=_EDGE)) - torch.log(rest.clamp(min=_EDGE))

        return by_chance, dim, False
    if hasattr(classifier, "decision_function"):

        def by_margin(x: Tensor) -> Tensor:
            margin = torch.from_numpy(np.asarray(classifier.decision_function(x.detach().numpy()), dtype=np.float64))
            if margin.ndim == 1:
                return margin if index == [1] else -margin
            return _odds(margin, index)

        return by_margin, dim, False
    raise ConfigError(
        f"classifier: expected one with predict_proba or decision_function, got {type(classifier).__name__}."
    )


def _of_module(module: nn.Module, wanted: list[Any]) -> Callable[[Tensor], Tensor]:
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float64)
    if any(not isinstance(label, int | np.integer) or label < 0 for label in wanted):
        raise ConfigError(f"target: expected the index of a logit, got {wanted}.")

    def score(x: Tensor) -> Tensor:
        logits = module(x.to(dtype)).double()
        if logits.ndim == 1 or logits.shape[1] == 1:
            if wanted not in ([0], [1]):
                raise ConfigError(f"target: expected 0 or 1 of a module with one logit, got {wanted}.")
            return logits.reshape(len(x)) * (1 if wanted == [1] else -1)
        if max(wanted) >= logits.shape[1] or len(wanted) >= logits.shape[1]:
            raise ConfigError(f"target: expected some of {logits.shape[1]} logits, and not all, got {wanted}.")
        return _odds(logits, [int(label) for label in wanted])

    return score


def _odds(logits: Tensor, index: list[int]) -> Tensor:
    """logsumexp of those at `index` less that of the others."""
    others = [i for i in range(logits.shape[1]) if i not in index]
    return torch.logsumexp(logits[:, index], 1) - torch.logsumexp(logits[:, others], 1)


def _base(base: Base, bandwidth: float | None) -> tuple[Callable[[Tensor], Tensor], int | None, float, bool]:
    """log base(x); its number of columns; a typical standard deviation; whether torch can differentiate it."""
    if hasattr(base, "score_samples"):

        def scored(x: Tensor) -> Tensor:
            return torch.from_numpy(np.asarray(base.score_samples(x.detach().numpy()), dtype=np.float64))

        return scored, getattr(base, "n_features_in_", None), 1.0, False
    if isinstance(base, dict):
        return _normal(base)
    if callable(base):
        return base, None, 1.0, True  # in torch
    rows = torch.as_tensor(np.asarray(base), dtype=torch.float64)
    if rows.ndim != 2 or len(rows) < 2:
        raise ShapeError(f"base: expected at least two rows of shape (m, dim), got {tuple(rows.shape)}.")
    if not bool(torch.isfinite(rows).all()):
        raise DataError("base: expected finite rows, got NaN or infinity.")
    count, dim = rows.shape
    spread = rows.std(0)
    typical = float(spread[spread > 0].mean()) if bool((spread > 0).any()) else 1.0
    if bandwidth is not None and not 0 < bandwidth < math.inf:
        raise ConfigError(f"bandwidth: expected a number > 0, got {bandwidth!r}.")
    share = count ** (-1 / (dim + 4)) if bandwidth is None else bandwidth
    width = share * spread.clamp(min=_KDE_LEAST * typical)
    scaled = rows / width
    constant = -math.log(count) - 0.5 * dim * math.log(2 * math.pi) - float(torch.log(width).sum())

    def kernels(x: Tensor) -> Tensor:
        y = x / width
        square = (y**2).sum(1, keepdim=True) - 2 * y @ scaled.T + (scaled**2).sum(1)
        return torch.logsumexp(-0.5 * square, 1) + constant

    return kernels, dim, typical, True


def _normal(given: dict[str, ArrayLike]) -> tuple[Callable[[Tensor], Tensor], int, float, bool]:
    if set(given) != {"mean", "cov"}:
        raise ConfigError(f"base: expected a mapping with mean and cov, got {sorted(given)}.")
    mean = torch.as_tensor(np.asarray(given["mean"]), dtype=torch.float64)
    cov = torch.as_tensor(np.asarray(given["cov"]), dtype=torch.float64)
    if mean.ndim != 1 or cov.shape not in ((), mean.shape, (len(mean), len(mean))):
        raise ShapeError(f"base: expected a mean (dim,) and a cov that fits it, got {mean.shape} and {cov.shape}.")
    whole = cov if cov.ndim == 2 else torch.diag(cov.expand(len(mean)))
    root, failed = torch.linalg.cholesky_ex(whole)
    if bool(failed) or not bool(torch.isfinite(whole).all()):
        raise ConfigError("base: expected a positive definite cov, got one that is not.")
    inverse = torch.linalg.inv(root)
    constant = -0.5 * len(mean) * math.log(2 * math.pi) - float(torch.log(root.diagonal()).sum())

    def log_base(x: Tensor) -> Tensor:
        return constant - 0.5 * (((x - mean) @ inverse.T) ** 2).sum(-1)

    return log_base, len(mean), float(whole.diagonal().sqrt().mean()), True


def _chunked(moved: Tensor) -> tuple[Tensor, ...]:
    return moved.split(max(1, _CHUNK // max(1, moved[0].numel()))) if len(moved) else (moved,)
