"""The loop of every training of a network: what is lost at a step is given, all else is here.

Everything random is a function of (seed, step, place in the batch), so a run that was killed and resumed ends with the
weights of one that was not, bit for bit on the same machine.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from caminito._errors import ConfigError, DataError, NonFiniteError, UnscaledData
from caminito._random import Stream, permutation, uniform
from caminito.nn import GridClassifier, ResidualMLP, UNet
from caminito.process import Process
from caminito.training.checkpoint import TrainingState
from caminito.training.config import TrainingConfig
from caminito.training.ema import PowerAverage
from caminito.training.posthoc import Snapshots
from caminito.training.resample import Resampler
from caminito.training.uncertainty import Uncertainty
from caminito.training.validation import Validation

__all__ = ["Progress", "averaged", "check_trainable", "initial_state", "precision_for", "steps_of"]


@dataclass(frozen=True)
class Progress:
    """What one step did.

    Attributes
    ----------
    step : int
        Steps done.
    loss : float
        Mean weighted loss of the batch.
    fraction : float
        Share of the budget that is spent, in [0, 1].
    elapsed, remaining : float
        Seconds, over all sittings.
    items_per_second : float
        Over this sitting.
    learning_rate, gradient_norm : float
    validation : Validation or None
        Of the averaged weights, on the steps that have one.
    state : TrainingState
        Live; save it between steps with `save_checkpoint`.
    """

    step: int
    loss: float
    fraction: float
    elapsed: float
    remaining: float
    items_per_second: float
    learning_rate: float
    gradient_norm: float
    validation: Validation | None
    state: TrainingState


def precision_for(config: TrainingConfig, device: torch.device) -> torch.dtype | None:
    """The autocast dtype: bfloat16 where asked, or where the device multiplies it faster; else None (float32)."""
    if config.precision != "auto":
        return torch.bfloat16 if config.precision == "bfloat16" else None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if device.type == "cpu" and torch.cpu._is_amx_tile_supported():
        return torch.bfloat16
    return None


def initial_state(
    network: nn.Module,
    config: TrainingConfig,
    process: Process | None = None,
    *,
    snapshots: str | os.PathLike[str] | None = None,
) -> TrainingState:
    """State before the first step.

    Parameters
    ----------
    network : nn.Module
    config : TrainingConfig
    process : Process
        Needed where times are resampled.
    snapshots : folder
        Where they are written; needed where `config.snapshots` asks for some.
    """
    device = next(network.parameters()).device
    beside = nn.ModuleDict()
    if config.uncertainty:
        beside["uncertainty"] = Uncertainty().to(device)
    if config.times == "resampled":
        if process is None:
            raise ConfigError("training.times: 'resampled' keeps the losses of the steps of a chain. Give the process.")
        beside["times"] = Resampler(process)
    optimizer = torch.optim.AdamW(
        [*network.parameters(), *beside.parameters()],
        lr=config.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=config.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    state = TrainingState(network, optimizer, PowerAverage(network.parameters(), config.ema), beside=beside)
    if config.snapshots and snapshots is not None:
        names, weights = zip(*network.named_parameters())
        state.snapshots = Snapshots(Path(snapshots), names, weights, limit=config.snapshots)
    return state


def check_trainable(config: TrainingConfig, data: Tensor) -> None:
    """Refuse a training without an end or without items, and warn of data of another scale than networks learn best.

    Raises
    ------
    ConfigError, DataError
    """
    if config.steps is None and config.minutes is None:
        raise ConfigError("training: expected a budget, got none. Set steps, minutes, or both.")
    if len(data) == 0:
        raise DataError("training: expected at least one item, got none.")
    spread = float(data[:4096].float().std())
    if not 0.1 <= spread <= 10 and math.isfinite(spread):
        warnings.warn(
            f"the data reach the network with standard deviation {spread:.3g}; it learns best near 1. "
            "Standardise them first (the codecs and estimators do).",
            UnscaledData,
            stacklevel=4,
        )


def steps_of(
    state: TrainingState,
    config: TrainingConfig,
    data: Tensor,
    loss_at: Callable[[int, Tensor], Tensor],
    *,
    validation: Callable[[], Validation] | None = None,
    seed: int = 0,
    kept: str = "The last checkpoint holds the weights before this.",
) -> Iterator[Progress]:
    """Train the network of `state` until the budget is spent, yielding after each step.

    Parameters
    ----------
    state : TrainingState
        Gone on from.
    config : TrainingConfig
    data : tensor, shape (N, *event)
    loss_at : (step, rows (B,)) -> tensor, shape ()
        What is lost at a step on some rows of the data, on their device.
    validation : () -> Validation, optional
        Called with the averaged weights in place, every `config.validate_every` steps and at the end.
    seed : int
    kept : str
        What is left of a training that stopped, for the message.

    Raises
    ------
    NonFiniteError
        At the first loss that is not finite: what was seen, and what to do.
    """
    parameters = list(state.network.parameters())
    draws = _draws(state.network)
    before, clock, first = state.elapsed, time.monotonic(), state.step
    order = _Order(seed, len(data))
    while (fraction := _spent(config, state)) < 1:
        step = state.step
        index = order.rows(step * config.batch_size, config.batch_size).to(data.device)
        rate = _learning_rate(config, step, fraction)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        with _seeded(data.device, seed, step) if draws else contextlib.nullcontext():
            loss = loss_at(step, index)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, config.clip)
        value, size = float(loss.detach()), float(norm)
        if not (math.isfinite(value) and math.isfinite(size)):
            raise NonFiniteError(f"{_diagnosis(step, value, size, rate, data, parameters, config)} {kept}".rstrip())
        state.optimizer.step()
        state.average.update(parameters, step + 1)

        state.step += 1
        state.elapsed = before + time.monotonic() - clock
        fraction = _spent(config, state)
        found = None
        if validation is not None and (state.step % config.validate_every == 0 or fraction >= 1):
            with averaged(state):
                found = validation()
            state.elapsed = before + time.monotonic() - clock
        if state.snapshots is not None:
            state.snapshots.update(parameters, state.step, last=_spent(config, state) >= 1)
        sitting = max(state.elapsed - before, 1e-9)
        yield Progress(
            step=state.step,
            loss=value,
            fraction=fraction,
            elapsed=state.elapsed,
            remaining=state.elapsed * (1 - fraction) / max(fraction, 1e-9),
            items_per_second=(state.step - first) * config.batch_size / sitting,
            learning_rate=rate,
            gradient_norm=size,
            validation=found,
            state=state,
        )


@contextlib.contextmanager
def averaged(state: TrainingState) -> Iterator[nn.Module]:
    """The network with its averaged weights, in evaluation mode, for as long as the block lasts."""
    training = state.network.training
    parameters: list[Tensor] = list(state.network.parameters())
    raw = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            torch._foreach_copy_(parameters, state.average.values)
        state.network.eval()
        yield state.network
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, raw)
        state.network.train(training)


def _draws(network: nn.Module) -> bool:
    """Whether a network may draw by itself: ours if it drops features, any other for all that is known of it."""
    ours = type(network) in (GridClassifier, ResidualMLP, UNet)
    return not ours or any(getattr(part, "dropout", 0) > 0 for part in network.modules())


@contextlib.contextmanager
def _seeded(device: torch.device, seed: int, step: int) -> Iterator[None]:
    """Makes what the network draws by itself, such as its dropout, a function of (seed, step); a GPU waits for it."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(uniform(seed, Stream.WEIGHTS, step + 1, 1) * 2**53))  # 0: the first weights
        yield


class _Order:
    """Row numbers of an endless reading of the data, shuffled anew each time through."""

    def __init__(self, seed: int, count: int) -> None:
        self._seed, self._count = seed, count
        self._epoch, self._rows = -1, torch.empty(0, dtype=torch.long)

    def rows(self, start: int, count: int) -> Tensor:
        """Rows at places start .. start + count - 1."""
        parts = []
        while count > 0:
            epoch, place = divmod(start, self._count)
            if epoch != self._epoch:
                self._epoch, self._rows = epoch, permutation(self._seed, Stream.ORDER, epoch, self._count)
            part = self._rows[place : place + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(parts)


def _spent(config: TrainingConfig, state: TrainingState) -> float:
    by_steps = 0.0 if config.steps is None else state.step / config.steps
    by_clock = 0.0 if config.minutes is None else state.elapsed / (60 * config.minutes)
    return min(1.0, max(by_steps, by_clock))


def _learning_rate(config: TrainingConfig, step: int, fraction: float) -> float:
    rise = min(1.0, (step + 1) / (config.warmup + 1))
    if config.decay == "cosine":
        fall = 0.5 * (1 + math.cos(math.pi * fraction))
    else:
        fall = 1 - fraction if config.decay == "linear" else 1.0
    return config.learning_rate * min(rise, fall)


def _diagnosis(
    step: int,
    loss: float,
    norm: float,
    rate: float,
    data: Tensor,
    parameters: list[nn.Parameter],
    config: TrainingConfig,
) -> str:
    largest = max(float(p.detach().abs().max()) for p in parameters)
    spread = float(data.std()) if data.numel() > 1 else 0.0
    if not bool(torch.isfinite(data).all()):
        cause = "the data hold values that are not finite; remove them"
    elif not math.isfinite(largest):
        cause = "a weight had already become infinite; lower learning_rate"
    elif spread > 100:
        cause = f"the data reach the network with standard deviation {spread:.3g}; scale them to about 1"
    elif config.precision == "bfloat16":
        cause = "bfloat16 may have overflowed; use precision='float32'"
    else:
        cause = f"the step size {rate:.2g} is probably too large; try learning_rate={config.learning_rate / 3:.1g}"
    return (
        f"training stopped at step {step}: loss {loss:g}, gradient norm {norm:g}, largest weight {largest:.3g}. "
        f"Probable cause: {cause}."
    )
