"""Densities that are known entirely, from which a path leads to one that is not.

A reference can be drawn from and has a normalised log-density: what importance weights, tempered paths and swaps are
taken against. Student's t has tails that hold those of most targets; a mixture with a wide part never leaves a mode
that was not found without any chance.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ConfigError, ShapeError

__all__ = ["Normal", "Reference", "StudentMixture"]


class Reference(ABC):
    """A normalised density on R^dim that can be drawn from."""

    dim: int

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent points, shape (n, dim), float64."""

    @abstractmethod
    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log q (n,) of points (n, dim) and its gradient (n, dim)."""

    def value(self, x: Tensor) -> Tensor:
        """log q of points (n, dim), shape (n,)."""
        return self.value_and_grad(x)[0]

    def charts(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Shares (k,), centres (k, dim) and covariances (k, dim, dim) of its parts; None where it has no parts."""
        return None


class Normal(Reference):
    """N(mean, std^2 I) on R^dim.

    Parameters
    ----------
    mean : tensor (dim,)
    std : float > 0
    """

    def __init__(self, mean: Tensor, std: float) -> None:
        if mean.ndim != 1 or not 0 < std < math.inf:
            raise ConfigError(f"Normal: expected a mean (dim,) and std > 0, got {tuple(mean.shape)} and {std!r}.")
        self.mean, self.std, self.dim = mean.double(), float(std), len(mean)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent points, shape (n, dim), float64."""
        noise = torch.randn(n, self.dim, generator=generator, dtype=torch.float64)
        return self.mean + self.std * noise

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log q (n,) of points (n, dim) and its gradient (n, dim)."""
        u = (x - self.mean) / self.std
        constant = self.dim * (0.5 * math.log(2 * math.pi) + math.log(self.std))
        return -0.5 * (u**2).sum(-1) - constant, -u / self.std


class StudentMixture(Reference):
    """sum_k w_k t(x; m_k, S_k, dof), with a wide part that covers all of it.

    Parameters
    ----------
    weights : tensor (k,)
        Of the parts; any positive numbers.
    means : tensor (k, dim)
    covs : tensor (k, dim, dim)
        Shapes S: squared scales of the parts, covariances where dof is infinite.
    dof : float or tensor (k,), > 0 or inf
        Degrees of freedom; inf makes a part normal.
    wide : float in [0, 1)
        Share of one more part, a Student's t of `wide_dof` degrees of freedom around all centres, whose covariance is
        four times that of equally weighted parts: mass that no part is near to keeps a chance of being drawn.

    Notes
    -----
    `draw` takes from each part as many points as its weight says, within one, instead of by chance: every point has
    the density of the mixture, and means over all points vary less.

    Examples
    --------
    >>> import torch
    >>> q = StudentMixture(torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None], dof=torch.inf, wide=0)
    >>> q.value(torch.zeros(1, 2, dtype=torch.float64)).round(decimals=4)
    tensor([-1.8379], dtype=torch.float64)
    """

    def __init__(
        self,
        weights: Tensor,
        means: Tensor,
        covs: Tensor,
        *,
        dof: float | Tensor = 8.0,
        wide: float = 0.05,
        wide_dof: float = 4.0,
    ) -> None:
        weights, means, covs = weights.double(), means.double(), covs.double()
        k, dim = means.shape if means.ndim == 2 else (len(means), 0)
        if weights.shape != (k,) or covs.shape != (k, dim, dim):
            raise ShapeError(
                f"StudentMixture: expected weights ({k},) and covs ({k}, {dim}, {dim}) for means of shape "
                f"{tuple(means.shape)}, got {tuple(weights.shape)} and {tuple(covs.shape)}."
            )
        dofs = torch.as_tensor(dof, dtype=torch.float64).expand(k)
        positive = bool((dofs > 0).all() and (weights >= 0).all()) and float(weights.sum()) > 0
        if not (positive and wide_dof > 0 and 0 <= wide < 1):
            raise ConfigError(
                "StudentMixture: expected weights >= 0 of which one is not 0, dof > 0, wide_dof > 0 and 0 <= wide < 1, "
                f"got weights {weights.tolist()[:8]}, dof {dof}, wide_dof {wide_dof}, wide {wide}."
            )
        weights = weights / weights.sum()
        if wide > 0:
            centre = means.mean(0)
            apart = means - centre
            around = 4 * (covs.mean(0) + apart.T @ apart / k)
            weights = torch.cat([(1 - wide) * weights, weights.new_tensor([wide])])
            means, covs = torch.cat([means, centre[None]]), torch.cat([covs, around[None]])
            dofs = torch.cat([dofs, dofs.new_tensor([wide_dof])])
        self.dim, self.weights, self.means, self.covs, self.dof = dim, weights, means, covs, dofs
        root, failed = torch.linalg.cholesky_ex(covs)
        if bool(failed.any()):
            raise ConfigError(
                f"StudentMixture: expected positive definite covs, got another one, part {failed.argmax()}."
            )
        self._root = root
        self._whiten = torch.linalg.solve_triangular(root, torch.eye(dim, dtype=torch.float64), upper=False)
        half = torch.where(torch.isinf(dofs), 1.0, dofs) / 2
        student = torch.lgamma(half + dim / 2) - torch.lgamma(half) - dim / 2 * torch.log(2 * half * math.pi)
        normal = torch.full_like(student, -dim / 2 * math.log(2 * math.pi))
        log_det = torch.diagonal(root, dim1=-2, dim2=-1).log().sum(-1)
        self._constant = torch.log(weights) + torch.where(torch.isinf(dofs), normal, student) - log_det

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n points, shape (n, dim), float64, in an order by chance."""
        ticks = (torch.arange(n, dtype=torch.float64) + torch.rand(1, generator=generator, dtype=torch.float64)) / n
        part = torch.searchsorted(self.weights.cumsum(0), ticks).clamp(max=len(self.weights) - 1)
        part = part[torch.randperm(n, generator=generator)]
        z = torch.randn(n, self.dim, generator=generator, dtype=torch.float64)
        chance = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        dof = self.dof[part]
        finite = torch.where(torch.isinf(dof), 1.0, dof)
        shrink = torch.where(torch.isinf(dof), 1.0, torch.from_numpy(chance.chisquare(finite.numpy())) / finite)
        z = z / shrink.sqrt()[:, None]
        x = self.means[part]
        for k in part.unique().tolist():
            rows = torch.nonzero(part == k)[:, 0]
            x[rows] += z[rows] @ self._root[k].T
        return x

    def parts(self, x: Tensor) -> Tensor:
        """log w_k t_k(x) of points (n, dim), shape (n, k); the wide part, if any, is the last."""
        return self._parts(x)[0]

    def value(self, x: Tensor) -> Tensor:
        """log q of points (n, dim), shape (n,)."""
        return torch.logsumexp(self.parts(x), -1)

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log q (n,) of points (n, dim) and its gradient (n, dim)."""
        parts, u, square = self._parts(x)
        share = torch.softmax(parts, -1)
        finite = torch.where(torch.isinf(self.dof), 1.0, self.dof)
        pull = torch.where(torch.isinf(self.dof), 1.0, (finite + self.dim) / (finite + square))
        slope = -((share * pull).T[..., None] * u) @ self._whiten
        return torch.logsumexp(parts, -1), slope.sum(0)

    def charts(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Shares (k,), centres (k, dim) and covariances (k, dim, dim) of its parts."""
        return self.weights, self.means, self.covs

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u = (x - self.means[:, None]) @ self._whiten.mT
        square = (u**2).sum(-1).T
        finite = torch.where(torch.isinf(self.dof), 1.0, self.dof)
        student = -(finite + self.dim) / 2 * torch.log1p(square / finite)
        return self._constant + torch.where(torch.isinf(self.dof), -0.5 * square, student), u, square
