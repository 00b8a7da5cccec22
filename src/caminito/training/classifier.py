"""Training a classifier of noisy data, at every noise level at once.

    L = E_t E_eps [ - log p(y | x_t, t) ],    x_t = alpha_t x0 + sigma_t eps

Its optimum is the posterior of the class, p(y | x_t), whose gradient is what classifier guidance needs. The network
sees the same canonical coordinates as that of a denoiser: x_t scaled to unit variance, and log(sigma / |alpha|) / 4. So
it serves any process that passes the noise levels it was trained on.
Source: Song et al. 2021 (SDE), section 5 and appendix I; Dhariwal & Nichol 2021, section 4.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from caminito._errors import ConfigError, ShapeError
from caminito._random import Stream, normal
from caminito.denoiser import Precondition
from caminito.process import Process, times
from caminito.process.base import Time, as_time
from caminito.training.checkpoint import TrainingState
from caminito.training.config import TrainingConfig
from caminito.training.loop import Progress, check_trainable, initial_state, steps_of
from caminito.training.objective import draw_times
from caminito.training.validation import Validation, validation_times

__all__ = ["ClassLogits", "fit_classifier_steps", "validate_classifier"]

_ROWS = 256
_OF_DENOISERS = ("loss", "weight", "uncertainty", "targets", "snapshots", "condition_dropout")
_CANONICAL = Precondition("x0")


@dataclass(frozen=True, eq=False)
class ClassLogits:
    """Logits of the classes given x_t: (x_t, t) -> F(inp x_t, label), with the coordinates of `Precondition`.

    Parameters
    ----------
    network : nn.Module, (x, label (B,)) -> tensor (B, classes)
    process : Process
        May be exchanged: only sigma / |alpha| counts.
    levels : (low, high), noise levels sigma / |alpha|
        Beyond these the network is told that the noise is `low`, or `high`: it has seen no other.
    autocast : torch.dtype, optional
        Lower precision for the network.
    """

    network: nn.Module
    process: Process
    levels: tuple[float, float] = (0.0, math.inf)
    autocast: torch.dtype | None = None

    def __call__(self, x_t: Tensor, t: Time) -> Tensor:
        """Logits of x_t (B, *event) at times t, shape () or (B,); float32, shape (B, classes)."""
        _, _, inp, label = _CANONICAL.coefficients(self.process, as_time(t))
        low, high = (math.log(level) / 4 if level > 0 else -math.inf for level in self.levels)
        label = label.clamp(low, high).expand(len(x_t)).to(device=x_t.device, dtype=torch.float32)
        x = times(inp, x_t).to(torch.float32)
        with torch.autocast(x_t.device.type, self.autocast, enabled=self.autocast is not None):
            logits: Tensor = self.network(x, label).float()
        return logits


def fit_classifier_steps(
    logits: ClassLogits,
    data: Tensor,
    y: Tensor,
    config: TrainingConfig,
    *,
    held_out: Tensor | None = None,
    held_out_y: Tensor | None = None,
    seed: int = 0,
    resume: TrainingState | None = None,
) -> Iterator[Progress]:
    """Train the network of `logits` in place, yielding after each step.

    Order, noise and levels are functions of (seed, step), as in `fit_steps`.

    Parameters
    ----------
    logits : ClassLogits
    data : tensor, shape (N, *event), on the device of the network
    y : int64 tensor, shape (N,)
        Classes 0, 1, ...
    config : TrainingConfig
        With `steps`, `minutes` or both: the first that is spent ends the run.
    held_out, held_out_y : as data and y, for validation
        Its loss is the mean cross entropy at each level, in nats.
    seed : int
    resume : TrainingState
        To go on from; its network must be that of `logits`.

    Raises
    ------
    ConfigError
        If no budget is given, or an option is set that says nothing about a classifier.
    DataError
        If there are no items.
    ShapeError
        If there is not one class for each item, or the network gives no logits of them.
    NonFiniteError
        At the first loss that is not finite: what was seen, and what to do.
    """
    check_trainable(config, data)
    _check(config, data, y)
    network, process = logits.network, logits.process
    state = initial_state(network, config, process) if resume is None else resume
    forward: nn.Module = torch.compile(network) if config.compile else network  # type: ignore[assignment]
    trained, first = dataclasses.replace(logits, network=forward), state.step
    validation = None
    if held_out is not None and held_out_y is not None and len(held_out):
        some = slice(config.validation_items)
        validation = partial(validate_classifier, logits, held_out[some], held_out_y[some], config, seed)

    def loss_at(step: int, index: Tensor) -> Tensor:
        t = draw_times(process, config, seed, step, config.batch_size)
        eps = normal(seed, Stream.NOISE, step, (len(index), *data.shape[1:]), dtype=data.dtype, device=data.device)
        given = trained(process.noise(data[index], t, eps), t)
        if step == first:
            _check_logits(given, len(index), y)
        return functional.cross_entropy(given, y[index])

    yield from steps_of(state, config, data, loss_at, validation=validation, seed=seed, kept="")


@torch.no_grad()
def validate_classifier(logits: ClassLogits, x0: Tensor, y: Tensor, config: TrainingConfig, seed: int) -> Validation:
    """Cross entropy of held-out data (B, *event) and their classes (B,), in nats, at equal shares of the levels."""
    process = logits.process
    levels, losses = validation_times(process, config), []
    for number, t in enumerate(levels):
        total = 0.0
        for low in range(0, len(x0), _ROWS):
            part = x0[low : low + _ROWS]
            eps = normal(
                seed, Stream.VALIDATION, number, tuple(part.shape), start=low, dtype=x0.dtype, device=x0.device
            )
            given = logits(process.noise(part, t, eps), t)
            total += float(functional.cross_entropy(given.double(), y[low : low + _ROWS], reduction="sum"))
        losses.append(total / len(x0))
    return Validation([float(v) for v in process.logsnr(levels)], losses, sum(losses) / len(losses))


def _check(config: TrainingConfig, data: Tensor, y: Tensor) -> None:
    """Refuse what cannot be trained."""
    for name in _OF_DENOISERS:
        value = getattr(config, name)
        if value != type(config).model_fields[name].default:
            raise ConfigError(f"training.{name}: not for a classifier, got {value!r}. Leave it out.")
    if config.times == "resampled":
        raise ConfigError("training.times: expected 'uniform' or 'lognormal' for a classifier, got 'resampled'.")
    if y.shape != data.shape[:1] or y.is_floating_point():
        raise ShapeError(
            f"y: expected whole numbers of shape ({len(data)},), one per item, got {y.dtype} of shape {tuple(y.shape)}."
        )


def _check_logits(given: Tensor, rows: int, y: Tensor) -> None:
    """Refuse a network whose output is not one logit per class."""
    classes = int(y.max()) + 1
    if given.ndim != 2 or len(given) != rows or given.shape[1] < classes:
        raise ShapeError(
            f"network: expected logits of shape ({rows}, {classes}), one per class, got {tuple(given.shape)}. "
            "Set its classes (grid-classifier) or out_size (mlp)."
        )
