"""Training a network to denoise: what is lost at a step, and what is refused before the first."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from caminito._errors import ConfigError
from caminito._random import Stream, normal, uniform
from caminito.denoiser import Condition, NetworkDenoiser, VarianceRange, rows_of
from caminito.nn import Given
from caminito.training.augment import augmented, augmented_at
from caminito.training.checkpoint import TrainingState
from caminito.training.config import TrainingConfig
from caminito.training.holes import with_holes
from caminito.training.loop import Progress, check_trainable, initial_state, steps_of
from caminito.training.objective import batch_targets, denoising_loss, draw_times
from caminito.training.resample import Resampler
from caminito.training.uncertainty import Uncertainty
from caminito.training.validation import validate

__all__ = ["fit_steps", "held_out_conditions"]

_HELD_OUT = -1  # the step of holes in what is held out


def fit_steps(
    denoiser: NetworkDenoiser,
    data: Tensor,
    config: TrainingConfig,
    *,
    cond: Condition = None,
    held_out: Tensor | None = None,
    held_out_cond: Condition = None,
    seed: int = 0,
    resume: TrainingState | None = None,
) -> Iterator[Progress]:
    """Train the network of `denoiser` in place, yielding after each step.

    Parameters
    ----------
    denoiser : NetworkDenoiser
    data : tensor, shape (N, *event), on the device of the network
    config : TrainingConfig
        With `steps`, `minutes` or both: the first that is spent ends the run.
    cond : mapping of conditions with N rows
        Fields that are given with a level (`caminito.nn.Given`) get noise, to another level in each row and step.
    held_out, held_out_cond : as data and cond, for validation; noise on fields is then always the same
    seed : int
    resume : TrainingState
        To go on from; its network must be that of `denoiser`.

    Raises
    ------
    ConfigError
        If neither `steps` nor `minutes` is given, the loss does not fit the process or the variance of `denoiser`, or
        there are to be snapshots and `resume` does not say where.
    NonFiniteError
        At the first loss that is not finite: what was seen, and what to do. The last checkpoint is good.
    """
    check_trainable(config, data)
    if config.targets == "batch" and cond:
        raise ConfigError("training.targets: 'batch' does not take conditions. Use targets='item'.")
    _check_loss(config, denoiser)
    network, process = denoiser.network, denoiser.process
    state = initial_state(network, config, process) if resume is None else resume
    if config.snapshots and state.snapshots is None:
        raise ConfigError(
            "training.snapshots: expected a folder to write them to, got none. Give it to initial_state as snapshots=, "
            "and that state to fit_steps as resume=."
        )
    resampler = cast(Resampler, state.beside["times"]) if "times" in state.beside else None
    uncertainty = cast(Uncertainty, state.beside["uncertainty"]) if "uncertainty" in state.beside else None
    forward: nn.Module = torch.compile(network) if config.compile else network  # type: ignore[assignment]
    trained = NetworkDenoiser(
        forward,
        denoiser.precondition,
        process,
        denoiser.event_shape or (),
        autocast=denoiser.autocast,
        variance=denoiser.variance,
        centre=denoiser.centre,
    )
    validation = None
    if held_out is not None and len(held_out):
        some = held_out[: config.validation_items]
        seen = held_out_conditions(held_out_cond, config, seed)
        validation = partial(validate, denoiser, some, config, seed, seen, denoiser.spread(seen, len(some)))

    def loss_at(step: int, index: Tensor) -> Tensor:
        law = None if resampler is None else resampler.probabilities()
        eps = normal(seed, Stream.NOISE, step, (len(index), *data.shape[1:]), dtype=data.dtype, device=data.device)
        clean, told = data[index], _conditions(cond, index, config, seed, step)
        spread = denoiser.spread(told, len(clean))
        t = draw_times(process, config, seed, step, config.batch_size, law=law, spread=spread)
        losses = denoising_loss(
            trained,
            clean,
            t,
            eps,
            weight=config.weight,
            loss=config.loss,
            cond=told,
            target=batch_targets(process, clean, t, eps) if config.targets == "batch" else None,
            uncertainty=uncertainty,
        )
        if resampler is None or law is None:
            return losses.mean()
        loss = (resampler.weights(t, law).to(losses) * losses).mean()
        resampler.update(t, losses)
        return loss

    yield from steps_of(state, config, data, loss_at, validation=validation, seed=seed)


def held_out_conditions(cond: Condition, config: TrainingConfig, seed: int) -> Condition:
    """Conditions as held-out data are measured with: noise of half the largest level, and holes, always the same."""
    return with_holes(augmented_at(cond, config.augmentation / 2, seed), seed, _HELD_OUT)


def _conditions(cond: Condition, index: Tensor, config: TrainingConfig, seed: int, step: int) -> Condition:
    """Rows of the conditions, dropped at random so that the network also learns to do without.

    All of a row are dropped together; where there are several, each is dropped as often by itself too, so that guidance
    by one of them asks nothing that was never seen. Fields with a level get noise, those known in part holes, and both
    are dropped by themselves alone.
    """
    if cond is None:
        return None

    def kept(stream: Stream, part: int = 0) -> Tensor:
        u = uniform(seed, stream, step, len(index), start=part * len(index))
        return u.to(index.device) >= config.condition_dropout

    together, seen = kept(Stream.DROPOUT), kept(Stream.AUGMENT_DROPOUT)
    told = augmented(rows_of(cond, index), config.augmentation, seed, step)
    rows = {name: Given.of(value) for name, value in (with_holes(told, seed, step) or {}).items()}
    alone = {name for name, given in rows.items() if given.level is not None or given.is_partial}
    several = len(rows) - len(alone) > 1
    out: dict[str, Given] = {}
    for part, (name, given) in enumerate(rows.items(), start=1):
        here = seen if name in alone else together & kept(Stream.DROPOUT, part) if several else together
        out[name] = given._replace(present=here if given.present is None else here & given.present)
    return out


def _check_loss(config: TrainingConfig, denoiser: NetworkDenoiser) -> None:
    """Refuse losses that do not fit each other or the denoiser."""
    learned, loss = denoiser.variance, config.loss
    if learned is not None and loss == "squared":
        raise ConfigError(
            "training.loss: 'squared' teaches no variance. Use 'hybrid' or 'vlb' with variance='learned'."
        )
    if learned is None and loss == "hybrid":
        raise ConfigError("training.loss: 'hybrid' teaches a variance, and there is none. Use variance='learned'.")
    if learned is not None and learned.chain is not denoiser.process:
        raise ConfigError("variance: expected the range of the process that is trained on. Use VarianceRange(process).")
    if loss == "vlb":
        VarianceRange(denoiser.process)
        if config.targets == "batch":
            raise ConfigError(
                "training.targets: 'batch' is for squared errors, and 'vlb' has none. Use targets='item'."
            )
        if config.uncertainty:
            raise ConfigError(
                "training.uncertainty: 'vlb' has weights of its own. Use it with loss='squared' or 'hybrid'."
            )
