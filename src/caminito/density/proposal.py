"""References that are near to a target: from its modes, from nothing, and from points that a first run left.

    laplace     sum_k w_k t(x; m_k, H_k^-1) over the peaks that were found, w_k their masses to second order
    widest      one Student's t around 0, of the scale that leaves most of its weights
    learnt      a mixture fitted to points of the target, beside the reference that those came from

Each is a family with a few free choices (tails, number of parts); that member is taken whose importance weights vary
least. A reference that the target agrees with to a factor needs one level where a wide one needs ten.

Sources: Cappe et al. 2008, "Adaptive importance sampling in general mixture classes"; Hesterberg 1995 (the defensive
part).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from caminito._weights import effective_size
from caminito.density.modes import Modes
from caminito.density.moves import Atlas
from caminito.density.reference import StudentMixture
from caminito.density.target import Target

__all__ = ["agreement", "laplace", "learnt", "widest"]

_TRIED = 1024  # draws that judge a reference
_TAILS = ((5.0, 1.1), (20.0, 1.1), (math.inf, 1.05))  # degrees of freedom, and squared scale
_FEWEST = 4.0  # points for each dimension of a part
_PARTS = (1, 4, 8, 16, 32)


def laplace(target: Target, modes: Modes, generator: torch.Generator) -> tuple[StudentMixture, float]:
    """A part at each peak, and the share of its draws that weights leave; some modes have to be peaks."""
    peaks = ~modes.ridge
    weights, means, covs = modes.weights[peaks], modes.x[peaks], torch.linalg.inv(modes.hessian[peaks])
    floor = 0.01 / len(weights)  # no mode is left out because second order underrates it
    weights = (weights + floor) / (1 + floor * len(weights))
    covs = (covs + covs.mT) / 2
    return _best(target, [StudentMixture(weights, means, s * covs, dof=dof) for dof, s in _TAILS], generator)


def widest(
    target: Target, generator: torch.Generator, *, scale: float | None = None, least: float = 0.0
) -> tuple[StudentMixture, float]:
    """A Student's t around 0, of a given scale or of the best one that is at least `least`."""
    dim = target.dim
    scales = [scale] if scale is not None else [s for s in (2.0**j for j in range(-6, 14)) if s >= least]
    eye, one, zero = torch.eye(dim, dtype=torch.float64)[None], torch.ones(1), torch.zeros(1, dim)
    return _best(target, [StudentMixture(one, zero, s**2 * eye, dof=5.0, wide=0) for s in scales], generator)


def learnt(
    target: Target,
    x: Tensor,
    base: StudentMixture,
    generator: torch.Generator,
    *,
    before: StudentMixture | None = None,
    parts: int = 1,
) -> tuple[StudentMixture, float]:
    """Fitted to points x (n, dim); a tenth of its draws are those of `base`, so that no mode is forgotten.

    Unless `base`, or what was learnt `before`, agrees better.
    """
    x = x[torch.randperm(len(x), generator=generator)]
    held, x = x[: len(x) // 4], x[len(x) // 4 :]
    most = max(1, int(len(x) / (_FEWEST * max(target.dim, 4))))
    counts = sorted({min(k, most) for k in (*_PARTS, parts, 3 * parts)})
    found: list[StudentMixture] = [base] if before is None else [base, before]
    for count in counts:
        atlas = Atlas.around(x[None], count, generator, rounds=20)
        share, centre, cov = atlas.share[0], atlas.centre[0], atlas.cov[0]
        for dof, s in _TAILS:
            found.append(
                StudentMixture(
                    torch.cat([0.9 * share, 0.1 * base.weights]),
                    torch.cat([centre, base.means]),
                    torch.cat([s * cov, base.covs]),
                    dof=torch.cat([torch.full_like(share, dof), base.dof]),
                    wide=0,
                )
            )
    return _best(target, found, generator, held)


def agreement(target: Target, reference: StudentMixture, n: int, generator: torch.Generator) -> tuple[float, float]:
    """Share of n draws of the reference that importance weights leave, and the log-evidence by them."""
    x = reference.draw(n, generator)
    log_weights = target.value(x) - reference.value(x)
    return float(effective_size(log_weights)) / n, float(log_weights.logsumexp(0)) - math.log(n)


def _best(
    target: Target, found: Sequence[StudentMixture], generator: torch.Generator, held: Tensor | None = None
) -> tuple[StudentMixture, float]:
    """The one that agrees most with the target; its agreement.

    Draws of a reference that is too narrow do not show it. Points of the target that it was not fitted to do: the
    lesser counts of the agreement and of exp(-KL(p, q)) by those.
    """
    shares = []
    height = None if held is None else target.value(held)
    for one in found:
        share, evidence = agreement(target, one, _TRIED, generator)
        if held is not None and height is not None and share > 0:
            share = min(share, math.exp(min(0.0, evidence - float((height - one.value(held)).mean()))))
        shares.append(share)
    top = max(range(len(found)), key=shares.__getitem__)
    return found[top], shares[top]
