"""Solvers: one reverse rule each, from x_t to x_s with s < t.

All step in data prediction, D = E[x0 | x_t], so that a time without signal (alpha_t = 0) is an ordinary time. Write
e = (x_t - alpha_t D) / sigma_t for the noise that D leaves, k = sign(a) sigma_s / sigma_t with a the scale of the
transition s -> t (a chain may turn the sign), lambda = log(|alpha| / sigma), h = lambda_s - lambda_t.

A solver is an immutable value: what it remembers between steps is returned as `state`, and noise is passed in.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from caminito._errors import ConfigError
from caminito.denoiser import Denoiser
from caminito.process import Process, times

__all__ = ["DDIM", "Ancestral", "DPMpp2M", "Heun", "Solver", "Step", "name_of", "solver_named", "solver_to_dict"]

Draw = Callable[[], Tensor]

_NO_GAP = 1e-9  # of log-SNR: what rounding leaves of a step without noise


class Step(NamedTuple):
    """x_s, the x0 predicted on the way, and what the solver remembers."""

    x: Tensor
    x0: Tensor
    state: Any


class Solver(ABC):
    """One reverse rule.

    Attributes
    ----------
    order : int
        Of the global error in the largest step; a claim that tests measure.
    evals : int
        Denoiser calls per step (the last step of a two-call solver needs one).
    """

    order: ClassVar[int]
    evals: ClassVar[int]

    def init(self, process: Process, grid: Tensor) -> Any:
        """State before the first step."""
        return None

    @abstractmethod
    def step(self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Any, eps: Draw) -> Step:
        """Go from x at time t to time s < t.

        Parameters
        ----------
        denoise : Denoiser
            With its conditions already given: denoise(x, t) is D.
        process : Process
        x : tensor, shape (B, *event)
        t, s : float64 scalars
        state : what `init` or the previous step returned
        eps : () -> Tensor
            A standard normal draw of the shape of x, the same at each call within a step.
        """


def _ratio(process: Process, s: Tensor, t: Tensor) -> Tensor:
    """k = sign(a) sigma_s / sigma_t; 0 where x_t has no noise to pass on (first steps of some chains)."""
    sigma_s, sigma_t = process.kernel(s).std, process.kernel(t).std
    a = process.transition(s, t).scale
    noiseless = sigma_t == 0
    ratio = torch.where(a < 0, -1.0, 1.0) * sigma_s / torch.where(noiseless, torch.ones_like(sigma_t), sigma_t)
    return torch.where(noiseless, torch.zeros_like(ratio), ratio)


def _half_logsnr_gap(process: Process, s: Tensor, t: Tensor) -> Tensor:
    """h = lambda_s - lambda_t > 0; inf where either end is."""
    return (process.logsnr(s) - process.logsnr(t)) / 2


def _towards(process: Process, x: Tensor, x0: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """Deterministic first-order step: k x + (alpha_s - k alpha_t) D."""
    k = _ratio(process, s, t)
    alpha_s, alpha_t = process.kernel(s).scale, process.kernel(t).scale
    return times(k, x) + times(alpha_s - k * alpha_t, x0)


@dataclass(frozen=True)
class Ancestral(Solver):
    """A draw from the bridge with D for x0: the reverse process of DDPM.

    x_s = c0 D + ct x_t + std z, with std^2 by `variance`:

    - ``small``: the bridge's own (beta-tilde); exact if the data are a single point.
    - ``large``: the transition's (beta); exact if the data are N(0, 1). None at the last step.
    - ``posterior``: bridge's + c0^2 Var[x0 | x_t]; exact for Gaussian data of independent entries (the variance is a
      diagonal) at any number of steps. Its last step draws x0 from N(D, Var[x0 | x_t]): that little is what makes it
      exact. Needs a denoiser that knows its variance.

    Sources: Ho et al. 2020, section 3.2 and algorithm 2; Bao et al. 2022 (Analytic-DPM), eq. 7.
    """

    variance: Literal["small", "large", "posterior"] = "small"
    order: ClassVar[int] = 1
    evals: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.variance not in ("small", "large", "posterior"):
            raise ConfigError(f"variance: expected 'small', 'large' or 'posterior', got {self.variance!r}.")

    def step(self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Any, eps: Draw) -> Step:
        """As above."""
        x0 = denoise(x, t)
        bridge = process.bridge(s, t)
        mean = bridge.mean(x0, x)
        if self.variance == "posterior":
            var = denoise.var(x, t)
            if var is None:
                raise ConfigError(
                    "variance='posterior' needs Var[x0 | x_t], and this denoiser knows only its mean. Wrap it with "
                    "fit_residual_variance, or use 'small' or 'large'."
                )
            std = torch.sqrt(times(bridge.c0**2, var) + times(bridge.std**2, torch.ones_like(x)))
            return Step(mean + std * eps(), x0, None)
        std = bridge.std if self.variance == "small" else process.transition(s, t).std
        if float(process.kernel(s).std) == 0:  # the last step is D: no noise is added to the result
            return Step(mean, x0, None)
        return Step(mean + times(std, eps()), x0, None)


@dataclass(frozen=True)
class DDIM(Solver):
    """x_s = alpha_s D + sign(a) sqrt(sigma_s^2 - (eta std)^2) e + eta std z, std the bridge's.

    eta = 0 is deterministic: Euler's rule on the probability-flow ODE in sigma / alpha. eta = 1 is `Ancestral`.
    Source: Song et al. 2021 (DDIM), eq. 12 and 16.
    """

    eta: float = 0.0
    order: ClassVar[int] = 1
    evals: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ConfigError(f"eta: expected a number in [0, 1], got {self.eta}.")

    def step(self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Any, eps: Draw) -> Step:
        """As above."""
        x0 = denoise(x, t)
        if self.eta == 0:
            return Step(_towards(process, x, x0, s, t), x0, None)
        bridge, k = process.bridge(s, t), _ratio(process, s, t)
        alpha_s, alpha_t = process.kernel(s).scale, process.kernel(t).scale
        std = self.eta * bridge.std
        # sign(a) sqrt(sigma_s^2 - std^2) / sigma_t; sigma_s^2 - bridge.std^2 = (ct sigma_t)^2, so nothing is subtracted
        sign = torch.where(process.transition(s, t).scale < 0, -1.0, 1.0)
        direction = sign * torch.hypot(math.sqrt((1 - self.eta) * (1 + self.eta)) * k, self.eta * bridge.ct)
        mean = times(alpha_s - direction * alpha_t, x0) + times(direction, x)
        return Step(mean if float(std) == 0 else mean + times(std, eps()), x0, None)


@dataclass(frozen=True)
class Heun(Solver):
    """Trapezoidal rule on dy/d(sigma/alpha) = e, y = x / alpha: an Euler step, then the mean of the slopes at its ends.

    First order where a slope is missing: at alpha_t = 0, and in the last step, where sigma_s = 0.
    Source: Karras et al. 2022, algorithm 1.
    """

    order: ClassVar[int] = 2
    evals: ClassVar[int] = 2

    def step(self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Any, eps: Draw) -> Step:
        """As above."""
        x0 = denoise(x, t)
        predicted = _towards(process, x, x0, s, t)
        alpha_t, sigma_t = process.kernel(t)
        alpha_s, sigma_s = process.kernel(s)
        if float(sigma_s) == 0 or float(alpha_t) == 0 or float(alpha_s) == 0:
            return Step(predicted, x0, None)
        slope = (times(1 / sigma_t, x) - times(alpha_t / sigma_t, x0)).to(x.dtype)
        end = denoise(predicted, s)
        sign = torch.sign(process.transition(s, t).scale)
        slope_end = times(sign / sigma_s, predicted) - times(sign * alpha_s / sigma_s, end)
        gap = sign * sigma_s - alpha_s * sigma_t / alpha_t
        return Step(times(alpha_s / alpha_t, x) + times(gap / 2, slope + slope_end), x0, None)


@dataclass(frozen=True)
class DPMpp2M(Solver):
    """Two-step exponential Adams-Bashforth in data prediction.

    x_s = k x_t - alpha_s expm1(-h) (D + (D - D_prev) h / (2 h_prev))

    First order in the first step and in the last (sigma_s = 0, where h is infinite), as the limit demands. A step that
    brings no noise (h = 0 in some chains) teaches no slope and is not remembered.
    Source: Lu et al. 2022 (DPM-Solver++), algorithm 2.
    """

    order: ClassVar[int] = 2
    evals: ClassVar[int] = 1

    def step(self, denoise: Denoiser, process: Process, x: Tensor, t: Tensor, s: Tensor, state: Any, eps: Draw) -> Step:
        """As above."""
        x0 = denoise(x, t)
        h = _half_logsnr_gap(process, s, t)
        if float(h) < _NO_GAP:
            return Step(_towards(process, x, x0, s, t), x0, state)
        if state is None or not bool(torch.isfinite(h)):
            return Step(_towards(process, x, x0, s, t), x0, (x0, h))
        previous, h_previous = state
        weight = h / (2 * h_previous)
        guess = x0 + times(weight, x0 - previous)
        return Step(_towards(process, x, guess, s, t), x0, (x0, h))


_NAMES: dict[str, Solver] = {
    "ancestral": Ancestral("small"),
    "ancestral-large": Ancestral("large"),
    "ancestral-posterior": Ancestral("posterior"),
    "ddim": DDIM(),
    "heun": Heun(),
    "dpmpp2m": DPMpp2M(),
}


def solver_named(solver: Solver | str | Mapping[str, Any]) -> Solver:
    """The solver called `solver`, or described by a mapping with `kind` and its options, or `solver` itself.

    Raises
    ------
    ConfigError
        For an unknown name or option.
    """
    if isinstance(solver, Solver):
        return solver
    options = {"kind": solver} if isinstance(solver, str) else dict(solver)
    kind = options.pop("kind", None)
    if kind not in _NAMES:
        raise ConfigError(f"solver: expected one of {', '.join(_NAMES)}, got {kind!r}.")
    try:
        return dataclasses.replace(_NAMES[kind], **options)  # type: ignore[type-var]
    except TypeError:
        known = [field.name for field in dataclasses.fields(_NAMES[kind])]  # type: ignore[arg-type]
        raise ConfigError(
            f"solver of kind {kind!r}: expected options among {', '.join(known) or 'none'}, got {', '.join(options)}."
        ) from None


def name_of(solver: Solver) -> str:
    """The name by which `solver_named` gives this solver; its full form if it has none."""
    return next((name for name, known in _NAMES.items() if known == solver), repr(solver))


def solver_to_dict(solver: Solver) -> dict[str, Any]:
    """The mapping from which `solver_named` makes the same solver."""
    kind = next(name for name, known in _NAMES.items() if type(known) is type(solver))
    return {"kind": kind, **dataclasses.asdict(solver)}  # type: ignore[call-overload]
