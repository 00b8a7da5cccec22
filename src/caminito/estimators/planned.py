"""A denoiser for data, before it has learnt: what was left at "auto" is chosen from them, and each choice says why.

`choices.py` has the rules; here they are followed in their order: what a condition says by itself, how much noise there
is, which process ends in noise, which network fits the items, and how it is trained.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from caminito import nn as networks
from caminito._errors import ConfigError, PriorMismatch
from caminito.denoiser import Centre, Condition, NetworkDenoiser, Precondition, VarianceRange
from caminito.estimators.choices import (
    Choice,
    DataScale,
    Description,
    data_scale,
    network_options,
    prior_gap,
    seeded_network,
)
from caminito.estimators.schema import parse_training
from caminito.nn import Given
from caminito.process import EDM, Process, process_from_dict
from caminito.training import TrainingConfig, precision_for

if TYPE_CHECKING:
    from caminito.estimators.model import DiffusionModel

__all__ = ["Plan", "line_of", "planned"]

_MEASURED, _LEAST = 2**22, 64  # entries at most, and rows at least, that a line through a condition is measured on
_WORTH = 0.1  # of the variance, that it has to explain
_ENDED = 0.01  # nats from the prior that are noise for any purpose


@dataclass(frozen=True)
class Plan:
    """What is trained, how, between which noise levels, and why all of it."""

    denoiser: NetworkDenoiser
    training: TrainingConfig
    noise_range: tuple[float, float]
    choices: Description


def line_of(cond: Condition, x: Tensor, rows: np.ndarray, names: list[str]) -> Centre | None:
    """The line through that of the fields `names` which says most of the items, if it says a tenth or more."""
    step = math.ceil(len(rows) * x[0].numel() / _MEASURED)
    some = torch.as_tensor(rows[:: max(1, min(step, len(rows) // _LEAST))])
    fields = {name: Given.of(cond[name]) for name in names} if cond else {}
    lines = [
        Centre.measured(name, x[some], field.value[some])
        for name, field in fields.items()
        if field.present is None and field.value.shape == x.shape
    ]
    best = max(lines, key=lambda line: line.explained, default=None)
    return best if best is not None and best.explained >= _WORTH else None


def planned(model: DiffusionModel, x: Tensor, seed: int, centre: Centre | None) -> Plan:
    """What suits encoded items, shape (n, *event), as far as the model's parameters leave it open.

    Warns
    -----
    PriorMismatch
        If the process that was asked for does not end in noise.
    """
    choices, scale, event = Description(), data_scale(x, seed), tuple(x.shape[1:])
    process = _process(model, scale, choices)
    left = 1.0 if centre is None else centre.least_spread
    noise_range = (scale.sigma_min * left, scale.sigma_max)
    choices["sigma_min"] = Choice(
        f"{noise_range[0]:.3g}",
        f"neighbours are {scale.neighbour:.3g} apart per entry (kept within .002 and .02)"
        + ("" if centre is None else f", times {left:.2g}, the spread of what is left to learn"),
    )
    _look_at_the_end(process, scale, choices)
    learned = VarianceRange(process) if model.variance == "learned" else None
    if learned is not None:
        choices["variance"] = Choice(
            "learned by the network, entry by entry", "variance='learned': a place in the range of each step"
        )
    if centre is not None:
        choices["centre"] = Choice(
            f"the line through condition {centre.condition!r}",
            f"it leaves {1 - centre.explained:.2g} of the variance to learn",
        )
    kind, device = Precondition(model.prediction), model._device()
    network = _network(model, x, process, kind, seed, choices).to(device)
    training = _training(model, network, x, scale, choices)
    scaled = ", times the spread of what is left to learn" if centre is not None and not process.is_discrete else ""
    laws = {
        "lognormal": (
            f"log(sigma / alpha) ~ N({training.time_mean:.2f}, {training.time_std:.2f}^2){scaled}",
            "around the levels where the data are neither plain nor lost",
        ),
        "uniform": ("uniform in time", "each time has its term of the bound, and counts as much as any other"),
        "resampled": ("steps in proportion to their losses", "weighted so that each counts as much as any other"),
    }
    choices["noise levels trained on"] = Choice(*laws[training.times])
    dtype = precision_for(training, device)
    choices["precision"] = Choice(
        "float32" if dtype is None else str(dtype).removeprefix("torch."),
        f"of the network's arithmetic on {device.type}",
    )
    denoiser = NetworkDenoiser(network, kind, process, event, autocast=dtype, variance=learned, centre=centre)
    return Plan(denoiser, training, noise_range, choices)


def _process(model: DiffusionModel, scale: DataScale, choices: Description) -> Process:
    if isinstance(model.process, Process):
        return model.process
    if model.process != "auto":
        return process_from_dict(model.process)
    choices["process"] = Choice(
        f"EDM, noise up to {scale.sigma_max:.3g}",
        f"ten times the spread of the data along their leading direction ({scale.leading:.3g})",
    )
    return EDM(scale.sigma_max)


def _look_at_the_end(process: Process, scale: DataScale, choices: Description) -> None:
    """Say how near to noise a process ends, and warn if it is not near."""
    gap = prior_gap(process, scale)
    choices["end of the process"] = Choice(
        f"{gap:.2g} nats from its prior",
        f"along the leading direction of the data; below {_ENDED:g} is noise for any purpose",
    )
    if gap > _ENDED:
        warnings.warn(
            f"the end of the process is not yet noise: {gap:.2g} nats from its prior along the leading direction "
            "of the data. Sampling would start from the wrong law; use process='auto' or more noise.",
            PriorMismatch,
            stacklevel=5,  # planned, fit_iter, fit: who called it
        )


def _network(
    model: DiffusionModel, x: Tensor, process: Process, kind: Precondition, seed: int, choices: Description
) -> nn.Module:
    if isinstance(model.network, nn.Module):
        return model.network
    options = network_options(model.network, tuple(x.shape[1:]), len(x), process, kind)
    if model.variance == "learned":
        options = _with_variance(options, x.shape[1])
    return seeded_network(options | {"conditions": model.conditions_.entries}, seed, choices)


def _with_variance(options: dict[str, Any], channels: int) -> dict[str, Any]:
    """Options of a network with two outputs per channel."""
    if options["kind"] == "per-step":
        return options | {"network": _with_variance(options["network"], channels)}
    name = "out_size" if options["kind"] == "mlp" else "out_channels"
    return {name: 2 * channels} | options


def _training(
    model: DiffusionModel, network: nn.Module, x: Tensor, scale: DataScale, choices: Description
) -> TrainingConfig:
    given, n = dict(model.training or {}), len(x)
    mean, std = scale.time_law
    auto: dict[str, Any] = {"time_mean": mean, "time_std": std}
    if x.ndim > 2:
        auto |= {"batch_size": min(64, max(16, n // 4)), "learning_rate": 2e-3}
    else:
        auto |= {"batch_size": min(1024, max(32, n // 4)), "learning_rate": 4e-3, "ema": 0.05}
        if not model.conditions_.entries and given.get("loss") != "vlb":
            auto["targets"] = "batch"
    if isinstance(network, networks.PerStep):  # a network whose step is never drawn learns nothing
        auto |= {"times": "uniform"}
    if model.variance == "learned":
        auto |= {"loss": "hybrid", "times": "uniform"}
    steps, minutes = model.max_steps, model.minutes
    if "steps" in given or "minutes" in given:
        raise ConfigError("training: give the budget as max_steps or minutes of the model, not inside training.")
    if steps is None and minutes is None:
        batch = given.get("batch_size") or auto["batch_size"]
        steps = int(min(20_000, max(3_000, 50 * n / batch)))
        choices["budget"] = Choice(f"{steps} steps", "50 passes over the data, within 3000 and 20000 steps")
    return parse_training(auto | given | {"steps": steps, "minutes": minutes})
