"""Networks: plain torch modules that know nothing of diffusion.

A network maps (x, label, cond) to an output shaped like x, or with other channels if asked, and a classifier to one
logit per class: x is (B, *event), `label` is one real number per row, and `cond` maps the names of its declared
conditions to their values. Every network of `build` keeps its constructor's arguments as `options`, plain JSON from
which `build` makes it again.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from caminito._errors import ConfigError
from caminito.nn.condition import (
    Cond,
    Entry,
    Field,
    Given,
    Known,
    Label,
    Noised,
    Tokens,
    Vector,
    Words,
    entry_from_dict,
    entry_to_dict,
)
from caminito.nn.encoder import GridClassifier
from caminito.nn.mlp import ResidualMLP
from caminito.nn.per_step import PerStep
from caminito.nn.suggest import classifier_options, suggest
from caminito.nn.unet import DDPM_CIFAR10, UNet

__all__ = [
    "DDPM_CIFAR10",
    "Cond",
    "Entry",
    "Field",
    "Given",
    "GridClassifier",
    "Known",
    "Label",
    "Network",
    "Noised",
    "PerStep",
    "ResidualMLP",
    "Tokens",
    "UNet",
    "Vector",
    "Words",
    "build",
    "classifier_options",
    "entry_from_dict",
    "entry_to_dict",
    "suggest",
]

Network: TypeAlias = ResidualMLP | UNet | PerStep | GridClassifier


def build(options: Mapping[str, Any]) -> Network:
    """Network from its options, with fresh weights.

    Parameters
    ----------
    options : mapping
        `kind` ("mlp", "unet" or "grid-classifier") and the constructor's arguments; `conditions` as entries or in their
        plain form. Or `kind` "per-step", `labels`, and as `network` the options of one: as many as labels are made,
        each with weights of its own.

    Raises
    ------
    ConfigError
        If the kind or an option is unknown (the nearest valid name is given), missing or impossible.
    """
    arguments = dict(options)
    kind = arguments.pop("kind", None)
    if kind not in _KINDS:
        raise ConfigError(f"network: expected a kind among {', '.join(_KINDS)}, got {kind!r}.")
    parameters = inspect.signature(_KINDS[kind]).parameters
    for name in arguments:
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(parameters)}."
            raise ConfigError(f"network of kind {kind!r}: unknown option {name!r}.{hint}")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in arguments:
            raise ConfigError(f"network of kind {kind!r}: the option {name!r} is missing.")
    conditions = arguments.pop("conditions", None) or {}
    entries = {
        name: entry_from_dict(entry) if isinstance(entry, Mapping) else entry for name, entry in conditions.items()
    }
    if "conditions" in parameters:  # a classifier has none
        arguments["conditions"] = entries
    return _KINDS[kind](**arguments)


def _per_step(
    network: Mapping[str, Any], labels: Sequence[float], *, conditions: Mapping[str, Entry] | None = None
) -> PerStep:
    if not isinstance(network, Mapping):
        raise ConfigError(f"network of kind 'per-step': expected the options of one as network, got {network!r}.")
    if taken := {**(conditions or {}), **(network.get("conditions") or {})}:
        raise ConfigError(
            f"network of kind 'per-step': one network per step takes no conditions, got {', '.join(taken)}. Leave them "
            "out, or use one network with time as input."
        )
    if not isinstance(labels, list | tuple) or not all(isinstance(label, int | float) for label in labels):
        raise ConfigError(f"network of kind 'per-step': expected a list of numbers as labels, got {labels!r}.")
    return PerStep([build(network) for _ in labels], labels)


_KINDS: dict[str, Callable[..., Network]] = {
    "mlp": ResidualMLP,
    "unet": UNet,
    "per-step": _per_step,
    "grid-classifier": GridClassifier,
}
