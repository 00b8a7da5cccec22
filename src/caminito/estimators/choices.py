"""What is chosen from the data when the user does not choose, and why.

The noise must reach from the finest distinction in the data to where nothing of them is left:

- sigma_max is ten times the standard deviation along the leading direction: there the law of x_t differs from its
  normal prior by less than 1e-4 nats in that direction. For photographs the value is near that of Karras et al. 2022;
  smooth fields, whose leading direction holds most of the variance, need far more, or they lose spread and extremes.
- sigma_min is a twentieth of the distance per entry between nearest neighbours, kept within [0.002, 0.02].

All in encoded units, where each channel has unit variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from caminito import nn as networks
from caminito._errors import ConfigError
from caminito._random import Stream, normal, permutation, uniform
from caminito.denoiser import Precondition
from caminito.process import Process

__all__ = ["Choice", "DataScale", "Description", "data_scale", "network_options", "prior_gap", "seeded_network"]

_ROWS = 2048
_FEW = 100  # steps that may have a network each without their labels being given


@dataclass(frozen=True)
class Choice:
    """A value and the reason for it."""

    value: Any
    why: str


class Description(dict[str, Choice]):
    """What was chosen and why; prints as text."""

    def __str__(self) -> str:
        width = max((len(name) for name in self), default=0)
        return "\n".join(
            f"{name:<{width}}  {choice.value}\n{'':<{width}}    {choice.why}" for name, choice in self.items()
        )


@dataclass(frozen=True)
class DataScale:
    """Scales of encoded data: standard deviation along the leading direction, and distance between neighbours.

    Attributes
    ----------
    leading : float
        Square root of the largest eigenvalue of the covariance (1 for white data).
    neighbour : float
        Median distance to the nearest other item, divided by sqrt(entries).
    """

    leading: float
    neighbour: float

    @property
    def sigma_max(self) -> float:
        """Noise that hides the data."""
        return 10 * max(self.leading, 1.0)

    @property
    def sigma_min(self) -> float:
        """Noise that hides nothing."""
        return min(max(self.neighbour / 20, 0.002), 0.02)

    @property
    def time_law(self) -> tuple[float, float]:
        """Mean and standard deviation of log(sigma / alpha) to train on: around what lies between the two scales."""
        low = math.log(min(max(self.neighbour, 1e-3), 1.0))
        return 0.15 * low - 0.5, 1.4


def data_scale(x: Tensor, seed: int = 0) -> DataScale:
    """Scales of encoded data (n, *event), from at most 2048 rows."""
    rows = x[permutation(seed, Stream.SPLIT, 1, len(x))[:_ROWS]].flatten(1).float()
    centred = rows - rows.mean(0)
    probe = normal(seed, Stream.PROBE, 0, (1, centred.shape[1]))[0]
    for _ in range(30):  # power iteration on the covariance
        probe = centred.T @ (centred @ probe)
        probe = probe / probe.norm().clamp_min(1e-30)
    leading = float((centred @ probe).norm() / math.sqrt(max(len(rows) - 1, 1)))
    distances = torch.cdist(rows, rows)
    distances.fill_diagonal_(float("inf"))
    nearest = distances.min(1).values
    apart = nearest[nearest > 0]
    neighbour = float(apart.median()) / math.sqrt(rows.shape[1]) if len(apart) else 1.0
    # fewer rows than items: neighbours are farther apart than they are in the whole set
    neighbour *= (len(rows) / len(x)) ** (1 / rows.shape[1])
    return DataScale(leading, neighbour)


def prior_gap(process: Process, scale: DataScale) -> float:
    """Kullback-Leibler divergence, in nats, of x_T from its prior along the leading direction of the data."""
    alpha, sigma = (float(c) for c in process.kernel(process.t_max))
    ratio = (alpha**2 * scale.leading**2 + sigma**2) / (alpha**2 + sigma**2)
    return 0.5 * (ratio - 1 - math.log(ratio))


def network_options(
    asked: str | Mapping[str, Any],
    event_shape: tuple[int, ...],
    n_items: int,
    process: Process,
    precondition: Precondition,
) -> dict[str, Any]:
    """Options for `caminito.nn.build`, without conditions: those asked for, and for the rest what suits the events.

    Of networks per step, what suits is meant for each of them, and the labels are those of the steps of the chain.

    Raises
    ------
    ConfigError
        If the kind does not fit the events, or a network per step is asked of a process without steps or with many.
    """
    suggested = networks.suggest(event_shape, n_items)
    given = dict(asked) if isinstance(asked, Mapping) else {} if asked == "auto" else {"kind": asked}
    if given.get("kind") == "per-step":
        inner = given.get("network") or {}
        if not isinstance(inner, Mapping):
            raise ConfigError(f"network of kind 'per-step': expected the options of one as network, got {inner!r}.")
        labels = given.get("labels")
        labels = _labels(process, precondition) if labels is None else labels
        return given | {"network": suggested | dict(inner), "labels": labels}
    if isinstance(asked, str) and asked not in ("auto", suggested["kind"]):
        raise ConfigError(
            f"network={asked!r} does not fit events of shape {event_shape}, which take {suggested['kind']!r} or, for "
            "chains, 'per-step'. Use 'auto', or pass all its options."
        )
    return suggested | given


def seeded_network(options: Mapping[str, Any], seed: int, choices: Description) -> nn.Module:
    """The network of all its options, first weights by the seed; `choices` is told what it is."""
    with torch.random.fork_rng():
        torch.manual_seed(int(uniform(seed, Stream.WEIGHTS, 0, 1) * 2**53))
        network = networks.build(options)
    count = sum(p.numel() for p in network.parameters())
    per_step = options["kind"] == "per-step"
    plain = {k: v for k, v in (options["network"] if per_step else options).items() if k != "conditions"}
    what = plain.pop("kind") + (f" for each of {len(options['labels'])} steps" if per_step else "")
    choices["network"] = Choice(
        f"{what}, {count / 1e6:.2g} M parameters", ", ".join(f"{k}={v}" for k, v in plain.items())
    )
    return network


def _labels(process: Process, precondition: Precondition) -> list[float]:
    """What the denoiser of a chain tells its network at the steps 1..T."""
    if not process.is_discrete:
        raise ConfigError(
            f"network='per-step': {type(process).__name__} has no steps that could have a network each. Use a chain "
            "(process={'kind': 'ddpm', 'betas': [0.3, 0.6, 0.95]}), or one network: 'auto'."
        )
    count = int(process.t_max)
    if count > _FEW:
        raise ConfigError(
            f"network='per-step': expected a chain of at most {_FEW} steps, got one of {count}, which would take as "
            "many networks. Use a shorter chain, or one network with time as input: 'auto'."
        )
    return [float(label) for label in precondition.coefficients(process, torch.arange(1, count + 1)).label]
