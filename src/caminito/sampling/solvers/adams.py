"""Exponential Adams methods: one engine for the multistep solvers, deterministic and stochastic.

The probability flow is a plain integral of what is predicted, in coordinates where nothing else moves:

    x0:   d(x / sigma)             = D  d(alpha / sigma)
    eps:  d(x / alpha)             = e  d(sigma / alpha)
    v:    d(x / hypot(alpha, sigma)) = v  d(phi),   tan phi = sigma / alpha,   v = cos phi e - sin phi D

(the first-order step is the same in all three, and exact for a D that stays; only what changes is interpolated),
and with noise put back at rate eta (Gonzalez et al. 2023, SEEDS; Xue et al. 2023, eq. 13), in data prediction,

    x_s = k exp(-eta h) x_t + alpha_s int_0^h (1 + eta) exp(-(1 + eta) (h - u)) D du
          + sigma_s sqrt(1 - exp(-2 eta h)) z.

A method of order p replaces the prediction by the polynomial through its last p values and integrates that exactly.
With the newest value included as well (a corrector, which costs no further call) it gains an order.
The named solvers are choices of prediction, node and order; the published ones that approximate the integral keep
their own weights.

Sources: Hochbruck & Ostermann 2010, section 2.5 (exponential Adams); Zhang & Chen 2023 (DEIS), eq. 15; Lu et al. 2022
(DPM-Solver++), algorithm 2; Zhao et al. 2023 (UniPC), algorithms 1-2; Xue et al. 2023 (SA-Solver), algorithm 1.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np
from torch import Tensor

from caminito._errors import ConfigError
from caminito.denoiser import Denoiser
from caminito.process import Process
from caminito.sampling.solvers.base import NO_GAP, Draw, Leg, Solver, Step, Walk, combine, legs, whole, with_noise

__all__ = [
    "DEIS",
    "IPNDM",
    "LMS",
    "Adams",
    "DPMpp2M",
    "DPMpp2MSDE",
    "DPMpp3M",
    "DPMpp3MSDE",
    "SASolver",
    "UniPC",
    "lagrange_weights",
]

Prediction = Literal["x0", "eps", "v"]

_POINTS, _MASSES = np.polynomial.legendre.leggauss(32)
_POINTS, _MASSES = (_POINTS + 1) / 2, _MASSES / 2
_REACH = 40.0  # exp(-40) of an integrand is below the resolution of float64


def lagrange_weights(nodes: Sequence[float], span: float, rate: float) -> list[float]:
    """Mean of each Lagrange polynomial of `nodes` over u from 0 to `span`, with density exp(rate u); they sum to 1.

    Exact to rounding: Gauss-Legendre quadrature on the part of the interval where the density is.
    """
    stretch = rate * span
    reach = 1.0 if stretch == 0 else min(1.0, _REACH / abs(stretch))
    place = _POINTS * reach if stretch <= 0 else 1 - _POINTS * reach
    mass = _MASSES * np.exp(-abs(stretch) * reach * _POINTS)
    at = [node / span for node in nodes]
    products = [
        math.prod(((place - b) / (a - b) for b in at[:j] + at[j + 1 :]), start=np.ones_like(place))
        for j, a in enumerate(at)
    ]
    return [float(mass @ product / mass.sum()) for product in products]


class _Row(NamedTuple):
    """One step in numbers, over the predictions p_0 (now), p_1, ... (before), with p_0 = read[0] x + read[1] D:

    x_s = scale x + gain D + sum_j weights_j p_j + sqrt(var + spread Var[x0 | x_t]) z.

    `mend` first corrects the step before, now that the prediction at its end is known: x + sum_j mend_j p_j.
    """

    scale: float
    gain: float
    weights: tuple[float, ...]
    read: tuple[float, float]
    var: float
    spread: float
    mend: tuple[float, ...]
    remember: bool


@dataclass(frozen=True)
class _Engine(Solver):
    """The engine. A subclass says what is predicted, at which nodes, with which weights."""

    _prediction: ClassVar[Prediction] = "x0"

    @property
    @abstractmethod
    def _length(self) -> int:
        """Predictions that a step may use."""

    @property
    def _eta(self) -> float:
        """Rate at which noise is put back."""
        return 0.0

    @property
    def is_stochastic(self) -> bool:
        """Whether steps draw noise."""
        return self._eta > 0 or self.needs_variance

    def _node(self, lam: float) -> float:
        """The coordinate in which predictions are polynomials."""
        return math.atan(math.exp(-lam)) if self._prediction == "v" else lam

    def _weights(self, nodes: Sequence[float], end: float) -> list[float]:
        """Weights of sum 1 of the predictions at `nodes` (newest first) for a step from nodes[0] to `end`."""
        return self._exact(nodes, nodes[0], end)

    def _corrected(self, nodes: Sequence[float], start: float) -> list[float] | None:
        """The same for the step from `start` to nodes[0], its end included; None without a corrector."""
        return None

    def _exact(self, nodes: Sequence[float], start: float, end: float) -> list[float]:
        rate = {"x0": 1 + self._eta, "eps": -1.0, "v": 0.0}[self._prediction]
        return lagrange_weights([node - start for node in nodes], end - start, rate)

    def init(self, process: Process, grid: Tensor) -> Walk:
        """Rows of all steps."""
        rows: list[_Row] = []
        past: list[float] = []
        used: list[float] = []  # nodes of the step before, where its end can correct it
        weights: list[float] = [1.0]
        gain = 0.0
        for leg in legs(process, grid):
            here, end = self._node(leg.lam), self._node(leg.lam_s)
            mend: tuple[float, ...] = ()
            if used and (better := self._corrected([here, *used], used[0])) is not None:
                change = itertools.zip_longest(better, (0.0, *weights), fillvalue=0.0)
                mend = tuple(gain * (new - old) for new, old in change)
            # without noise x_t predicts nothing, and in v, unlike x0 and eps, its node would be finite
            smooth = leg.sigma > 0 and math.isfinite(here) and math.isfinite(end) and abs(end - here) > NO_GAP
            nodes = [here, *past][: self._length] if smooth else [here]
            weights = self._weights(nodes, end) if len(nodes) > 1 else [1.0]
            row, gain = self._row(leg, nodes, weights, mend, smooth)
            rows.append(row)
            used = nodes if smooth else []
            if smooth:
                past = [here, *past][: self._length]
        return Walk(tuple(rows))

    def _row(
        self, leg: Leg, nodes: list[float], weights: list[float], mend: tuple[float, ...], smooth: bool
    ) -> tuple[_Row, float]:
        """A row, and the factor of the mean prediction in it."""
        scale = leg.carry * math.exp(-self._eta * leg.h) if self._eta else leg.carry
        gain = leg.alpha_s - scale * leg.alpha
        var = -(leg.sigma_s**2) * math.expm1(-2 * self._eta * leg.h) if self._eta else 0.0
        spread = gain**2 if self.needs_variance else 0.0
        factor, read = _coordinates(leg, gain, self._prediction)
        change = [factor * w for w in weights]
        change[0] -= factor  # the first-order step already holds the newest prediction
        if self._prediction == "x0":
            gain, change[0] = gain + change[0], 0.0
        if self._prediction == "v":  # the first-order step turns v: only what differs from that is interpolated
            change[0] = 0.0
            cos = sum(c * math.cos(phi) for c, phi in zip(change, nodes))
            sin = sum(c * math.sin(phi) for c, phi in zip(change, nodes))
            if cos or sin:
                scale -= cos * leg.sign / leg.sigma
                gain += cos * abs(leg.alpha) / leg.sigma + sin
        return _Row(scale, gain, tuple(change), read, var, spread, mend, smooth), factor

    def step(
        self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Walk, eps: Draw
    ) -> Step:
        """As above."""
        row: _Row = state.row
        x0 = denoise(x, t)
        now = x0 if self._prediction == "x0" else combine(x, row.read[0], (row.read[1], x0))
        known = (now, *state.memory)
        if row.mend:
            x = combine(x, 1.0, *zip(row.mend, known))
        moved = combine(x, row.scale, (row.gain, x0), *zip(row.weights, known))
        moved = with_noise(moved, row.var, row.spread, denoise.var(x, t) if row.spread else None, eps)
        return Step(moved, x0, state.on(known[: self._length] if row.remember else state.memory))


def _coordinates(leg: Leg, gain: float, prediction: Prediction) -> tuple[float, tuple[float, float]]:
    """The factor of the mean prediction over a step, and the weights of x and D in the prediction itself."""
    if prediction == "x0":
        return gain, (0.0, 1.0)
    if leg.sigma == 0:  # x_t is alpha_t x0 already, and has no noise to predict
        return 0.0, (0.0, 0.0)
    if prediction == "eps":
        factor = -gain * leg.sigma / abs(leg.alpha) if leg.alpha else 0.0
        return factor, (leg.sign / leg.sigma, -abs(leg.alpha) / leg.sigma)
    size = math.hypot(leg.alpha, leg.sigma)
    turn = math.atan2(leg.sigma_s, abs(leg.alpha_s)) - math.atan2(leg.sigma, abs(leg.alpha))
    read = (leg.alpha / (size * leg.sigma), -size / leg.sigma)
    return leg.sign_s * math.hypot(leg.alpha_s, leg.sigma_s) * turn, read


# -- the named solvers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _OfOrder(_Engine):
    """Methods that use as many predictions as their order says."""

    order: int = 3

    def __post_init__(self) -> None:
        whole("order", self.order, 1, 6)

    @property
    def _length(self) -> int:
        return self.order


@dataclass(frozen=True)
class Adams(_OfOrder):
    """Exponential Adams-Bashforth of any order in x0, eps or v, with exact weights.

    Order 1 in x0 or eps is `DDIM`. A prediction without signal (alpha_t = 0) teaches x0 and eps no slope and is left
    out; the last step to the data is of first order in x0 and eps. The first steps use what there is. In x0 they are
    corrected once the next prediction is known, which costs no call and lends each of them an order: without it a
    method of order 3 or more is of order 2 on walks that do not begin in plain noise, as it is in eps and v. (In eps
    the correction, like Heun's, goes astray on first steps from where there is hardly any signal.)
    """

    prediction: Prediction = "x0"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prediction not in get_args(Prediction):
            raise ConfigError(f"prediction: expected 'x0', 'eps' or 'v', got {self.prediction!r}.")

    @property
    def _prediction(self) -> Prediction:  # type: ignore[override]
        return self.prediction

    def _corrected(self, nodes: Sequence[float], start: float) -> list[float] | None:
        wanted = self.prediction == "x0" and len(nodes) <= self.order
        return self._exact(nodes, start, nodes[0]) if wanted else None


@dataclass(frozen=True)
class DEIS(_OfOrder):
    """Exponential Adams-Bashforth in eps with polynomials in log(sigma / alpha) (DEIS, there called log-rho)."""

    _prediction: ClassVar[Prediction] = "eps"


@dataclass(frozen=True)
class LMS(_OfOrder):
    """Adams-Bashforth in eps with polynomials in sigma / alpha, exact for any grid (Katherine Crowson's LMS)."""

    order: int = 4
    _prediction: ClassVar[Prediction] = "eps"

    def _node(self, lam: float) -> float:
        return math.exp(-lam)

    def _exact(self, nodes: Sequence[float], start: float, end: float) -> list[float]:
        return lagrange_weights([node - start for node in nodes], end - start, 0.0)


@dataclass(frozen=True)
class IPNDM(_Engine):
    """Adams-Bashforth of order 4 in eps with the weights of an even grid, whatever the grid.

    Of second order on grids that are not even in sigma / alpha. Source: Zhang & Chen 2023, eq. 35-38 (iPNDM).
    """

    order = 2
    _prediction: ClassVar[Prediction] = "eps"
    _EVEN: ClassVar[dict[int, list[float]]] = {
        2: [3 / 2, -1 / 2],
        3: [23 / 12, -16 / 12, 5 / 12],
        4: [55 / 24, -59 / 24, 37 / 24, -9 / 24],
    }

    @property
    def _length(self) -> int:
        return 4

    def _weights(self, nodes: Sequence[float], end: float) -> list[float]:
        return self._EVEN[len(nodes)]


@dataclass(frozen=True)
class DPMpp2M(_Engine):
    """DPM-Solver++ 2M: two steps in data prediction, D + (D - D_prev) h / (2 h_prev) for the mean of D over the step.

    First order in the first step and in the last (sigma_s = 0, where h is infinite), as the limit demands. A step that
    brings no noise (h = 0 in some chains) teaches no slope and is not remembered.
    Source: Lu et al. 2022 (DPM-Solver++), algorithm 2.
    """

    order = 2

    @property
    def _length(self) -> int:
        return 2

    def _weights(self, nodes: Sequence[float], end: float) -> list[float]:
        return _midpoint(nodes, end)


@dataclass(frozen=True)
class DPMpp3M(_Engine):
    """DPM-Solver++ 3M: three steps in data prediction with exact weights, a true third order; the same as `Adams(3)`.

    `legacy` keeps the weights in circulation, whose last coefficient lacks a factor 2, and does not correct the first
    steps: it is of second order.
    Source: Lu et al. 2022 (DPM-Solver++), appendix B.
    """

    legacy: bool = False

    @property
    def order(self) -> int:
        """3, or 2 as published."""
        return 2 if self.legacy else 3

    @property
    def _length(self) -> int:
        return 3

    def _corrected(self, nodes: Sequence[float], start: float) -> list[float] | None:
        return None if self.legacy or len(nodes) > 3 else self._exact(nodes, start, nodes[0])

    def _weights(self, nodes: Sequence[float], end: float) -> list[float]:
        if not self.legacy:
            return self._exact(nodes, nodes[0], end)
        if len(nodes) == 2:
            return _midpoint(nodes, end)
        h = end - nodes[0]
        near, far = (nodes[0] - nodes[1]) / h, (nodes[1] - nodes[2]) / h
        mass = -math.expm1(-h)
        first, second = (1 - mass / h) / mass, ((h - mass) / h**2 - 0.5) / mass
        slope = first * (1 + near / (near + far)) - second / (near + far)  # of (D - D_prev) / near
        bend = -first * near / (near + far) + second / (near + far)  # of (D_prev - D_before) / far
        return [1 + slope / near, -slope / near + bend / far, -bend / far]


@dataclass(frozen=True)
class UniPC(_OfOrder):
    """Predictor-corrector of one call per step: a corrector of the last step reuses the next prediction.

    The predictor of `order` p uses p predictions; corrected, the whole is of order p + 1. `variant` names B(h) of
    the paper, h (bh1) or 1 - exp(-h) (bh2); it matters only where the paper fixes a coefficient at 1/2: in the
    predictor of order 2 and the corrector of order 1. All other weights are exact.
    Source: Zhao et al. 2023 (UniPC), algorithms 1-2 and section 3.3, in data prediction.
    """

    order: int = 2
    variant: Literal["bh1", "bh2"] = "bh2"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant not in ("bh1", "bh2"):
            raise ConfigError(f"variant: expected 'bh1' or 'bh2', got {self.variant!r}.")

    def _half(self, h: float) -> float:
        return 0.5 if self.variant == "bh2" else -0.5 * h / math.expm1(-h)

    def _weights(self, nodes: Sequence[float], end: float) -> list[float]:
        if len(nodes) != 2:
            return self._exact(nodes, nodes[0], end)
        h = end - nodes[0]
        slope = self._half(h) * h / (nodes[0] - nodes[1])
        return [1 + slope, -slope]

    def _corrected(self, nodes: Sequence[float], start: float) -> list[float]:
        if len(nodes) != 2:
            return self._exact(nodes, start, nodes[0])
        half = self._half(nodes[0] - start)
        return [half, 1 - half]


@dataclass(frozen=True)
class _Stochastic(_Engine):
    """Noise put back at rate `eta`; `variance` posterior adds Var[x0 | x_t], which needs a denoiser that knows it."""

    eta: float = 1.0
    variance: Literal["small", "posterior"] = "small"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.eta) and self.eta >= 0):
            raise ConfigError(f"eta: expected a finite number >= 0, got {self.eta}.")
        if self.variance not in ("small", "posterior"):
            raise ConfigError(f"variance: expected 'small' or 'posterior', got {self.variance!r}.")

    @property
    def order(self) -> int:
        """Of the mean and the variance: 2, or 1 where Var[x0 | x_t] is added, which does not know of the memory."""
        return 1 if self.needs_variance else 2

    @property
    def _eta(self) -> float:
        return self.eta

    @property
    def needs_variance(self) -> bool:
        """For `posterior`."""
        return self.variance == "posterior"


@dataclass(frozen=True)
class DPMpp2MSDE(_Stochastic):
    """DPM-Solver++ 2M for the reverse SDE: the bridge with D + (D - D_prev) h / (2 h_prev) for x0 (eta = 1).

    Source: Lu et al. 2022 (DPM-Solver++), section 5; `eta` as in k-diffusion.
    """

    @property
    def _length(self) -> int:
        return 2

    def _weights(self, nodes: Sequence[float], end: float) -> list[float]:
        return _midpoint(nodes, end)


@dataclass(frozen=True)
class DPMpp3MSDE(_Stochastic):
    """Three steps in data prediction for the reverse SDE, with exact weights (and so with the right sign)."""

    @property
    def _length(self) -> int:
        return 3


@dataclass(frozen=True)
class SASolver(_Stochastic):
    """Stochastic Adams: a predictor from `predictor` values and a corrector from `corrector` (0 for none), eta = tau^2.

    The corrector keeps the noise of the step it corrects.
    Source: Xue et al. 2023 (SA-Solver), algorithm 1, with constant tau, in data prediction.
    """

    predictor: int = 2
    corrector: int = 2

    @property
    def order(self) -> int:
        """Of the mean and the variance; no more than 2, whatever the order of its parts."""
        return min(super().order, max(self.predictor, self.corrector))

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("predictor", self.predictor, 1, 5)
        whole("corrector", self.corrector, 0, 5)

    @property
    def _length(self) -> int:
        return max(self.predictor, self.corrector - 1)

    def _weights(self, nodes: Sequence[float], end: float) -> list[float]:
        return self._exact(nodes[: self.predictor], nodes[0], end)

    def _corrected(self, nodes: Sequence[float], start: float) -> list[float] | None:
        return self._exact(nodes[: self.corrector], start, nodes[0]) if self.corrector else None


def _midpoint(nodes: Sequence[float], end: float) -> list[float]:
    """D + (D - D_prev) h / (2 h_prev)."""
    slope = (end - nodes[0]) / (2 * (nodes[0] - nodes[1]))
    return [1 + slope, -slope]
