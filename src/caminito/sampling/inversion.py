"""From data to the noise they would come from, and between two noises.

The probability flow runs both ways. In r = sigma / alpha and y = x / alpha it is dy/dr = e, with e = (x - alpha D) /
sigma the noise that D leaves, and from s up to t > s, with a the scale of the transition and g = sign(a) sigma_t - a
sigma_s what it adds of noise,

    ddim:   x_t = a x_s + g e_s
    heun:   x_t = a x_s + g (e_s + sign(a) e_t) / 2,    e_t at the point of the first rule

(e is 0 at r = 0). These follow the flow with an error of first and second order. They do not undo the steps of a solver
down, which look at D at t: that x_t is found by iterating x_t <- x_t + (x_s - step(x_t)) / J, with J the slope of the
step if the data were normal with the variances that the denoiser gives. If they are, one iteration is exact.

Sources: Song et al. 2021 (DDIM), eq. 14 and section 5.4 (encoding); Shoemake 1985 (spherical interpolation).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from caminito._errors import ConfigError, NonFiniteError
from caminito.denoiser import Condition, Denoiser, GaussianDenoiser, from_x0
from caminito.process import Process, times
from caminito.process import grid as grids
from caminito.sampling.solvers import Solver, solver_named

__all__ = ["encode", "interpolate"]


def encode(
    denoiser: Denoiser,
    x0: Tensor,
    grid: Tensor,
    solver: Literal["ddim", "heun"] = "ddim",
    *,
    iterations: int = 0,
    cond: Condition = None,
) -> Tensor:
    """The point at grid[0] from which the deterministic walk along `grid` leads to x0.

    Parameters
    ----------
    denoiser : Denoiser of any process, chains included
    x0 : tensor, shape (B, *event)
        At time grid[-1]: data, where the grid ends at 0.
    grid : float64 tensor, falling times
        As for sampling.
    solver : 'ddim' or 'heun'
    iterations : int
        0 follows the probability flow upwards. More find the point that `solver` itself carries to x0: each costs one
        step of it, and the error falls by a constant factor.
    cond : mapping of conditions, rows as in x0

    Returns
    -------
    tensor, shape and dtype of x0
        At time grid[0].

    Raises
    ------
    ConfigError
        For another solver or a negative number of iterations.
    GridError
        If `grid` does not fall within [0, t_max].
    NonFiniteError
        If a step gives NaN or infinity, as too few steps can with iterations.

    Notes
    -----
    Approximate: sampling from the result returns x0 with an error of the order of the solver, and with iterations to
    rounding where they converge. The last step down, to 0, keeps only what D lets through: off the surface on which
    the data lie there is nothing that leads to x0.
    Source: Song et al. 2021 (DDIM), section 5.4.

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import GaussianDenoiser
    >>> from caminito.process import VP, grid
    >>> from caminito.sampling import encode
    >>> denoiser = GaussianDenoiser(torch.zeros(1), 4.0, VP())
    >>> x = encode(denoiser, torch.tensor([[2.0]]), grid.karras(VP(), 200), "heun")
    >>> round(float(x), 2)  # one standard deviation of the data is one of the noise
    1.0
    """
    if solver not in ("ddim", "heun"):
        raise ConfigError(f"solver: expected 'ddim' or 'heun', which are the same up and down, got {solver!r}.")
    if iterations < 0:
        raise ConfigError(f"iterations: expected a whole number >= 0, got {iterations}.")
    process, rule = denoiser.process, solver_named(solver)
    given = from_x0(lambda x, t, _: denoiser.mean(x, t, cond), process)
    x = x0
    with torch.no_grad():
        for s, t in itertools.pairwise(grids.validate(process, grid).flip(0)):
            target, x = x, _up(given, x, s, t, second=solver == "heun")
            gain = _inverse_slope(rule, denoiser, x, s, t) if iterations else x
            for _ in range(iterations):
                x = x + gain * (target - _down(rule, given, x, s, t))
            if not bool(torch.isfinite(x).all()):
                raise NonFiniteError(
                    f"encode: the step from t = {float(s):g} to {float(t):g} is not finite. Check the denoiser there, "
                    "or use more steps."
                )
    return x


def _left(denoiser: Denoiser, x: Tensor, t: Tensor) -> Tensor:
    """e = (x - alpha D) / sigma; 0 where there is no noise."""
    alpha, sigma = denoiser.process.kernel(t)
    if float(sigma) == 0:
        return torch.zeros_like(x)
    return times(1 / sigma, x) - times(alpha / sigma, denoiser.mean(x, t))


def _up(denoiser: Denoiser, x: Tensor, s: Tensor, t: Tensor, *, second: bool) -> Tensor:
    """One step of the flow from s to t > s; of first order to where the signal is gone."""
    process = denoiser.process
    a, sign = process.transition(s, t).scale, _sign(process, s, t)
    gain = sign * process.kernel(t).std - a * process.kernel(s).std
    left = _left(denoiser, x, s)
    moved = times(a, x) + times(gain, left)
    if not second or float(process.kernel(t).scale) == 0:
        return moved
    return times(a, x) + times(gain / 2, left) + times(sign * gain / 2, _left(denoiser, moved, t))


def _down(rule: Solver, denoiser: Denoiser, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """One step of a solver from t to s."""
    state = rule.init(denoiser.process, torch.stack([t, s]))
    return rule.step(denoiser, denoiser.process, x, t, s, state, lambda *_: torch.zeros_like(x)).x


def _inverse_slope(rule: Solver, denoiser: Denoiser, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """1 / J of a step from t to s on normal data of independent entries, shape (1, *event); 0 where J is."""
    var = torch.as_tensor(denoiser.data_moments[1], dtype=torch.float64).expand(x.shape[1:])
    unit = torch.ones((1, *x.shape[1:]), dtype=torch.float64)
    slope = _down(rule, GaussianDenoiser(torch.zeros_like(unit[0]), var, denoiser.process), unit, s, t)
    return torch.where(slope == 0, 0.0, 1 / slope).to(dtype=x.dtype, device=x.device)


def _sign(process: Process, s: Tensor, t: Tensor) -> Tensor:
    return torch.where(process.transition(s, t).scale < 0, -1.0, 1.0).double()


def interpolate(a: Tensor, b: Tensor, weights: Sequence[float] | Tensor) -> Tensor:
    """Points between two noises along the great circle through them.

    (sin((1 - w) theta) a + sin(w theta) b) / sin theta,    theta the angle between a and b

    Parameters
    ----------
    a, b : tensor, shape (B, *event)
        The angle is that of whole events.
    weights : sequence or tensor, shape (W,)
        0 gives a, 1 gives b.

    Returns
    -------
    tensor, shape (W, B, *event), dtype of a
        Between events of one norm all points have that norm. Where a and b are parallel, or opposite, there is no one
        circle: the straight line.

    Notes
    -----
    Normal noise lies close to a sphere of radius sqrt(d), and a straight line would leave it.
    Source: Shoemake 1985, section 3.3; Song et al. 2021 (DDIM), section 5.3.
    """
    w = torch.as_tensor(weights, dtype=torch.float64).reshape(-1, 1, 1)
    one, other = a.double().flatten(1), b.double().flatten(1)
    u, v = (torch.nn.functional.normalize(x, dim=1) for x in (one, other))
    # atan2 of half chords keeps the digits of small angles, which arccos loses
    theta = 2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1))[:, None]
    sine = torch.sin(theta)
    straight = sine < 1e-7
    safe = torch.where(straight, 1.0, sine)
    to_a = torch.where(straight, 1 - w, torch.sin((1 - w) * theta) / safe)
    to_b = torch.where(straight, w, torch.sin(w * theta) / safe)
    return (to_a * one + to_b * other).to(a.dtype).reshape(len(w), *a.shape)
