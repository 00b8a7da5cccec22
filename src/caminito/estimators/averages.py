"""A model with another average of its weights, made after training from snapshots of two."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from caminito._errors import ConfigError, RunError
from caminito.denoiser import NetworkDenoiser
from caminito.training import Snapshots

__all__ = ["Scratch", "reaveraged"]


class Scratch(os.PathLike[str]):
    """A folder for as long as this object is held."""

    def __init__(self) -> None:
        self._path = tempfile.mkdtemp(prefix="caminito-")
        weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)

    def __fspath__(self) -> str:
        return self._path


def reaveraged(
    denoiser: NetworkDenoiser, folder: str | os.PathLike[str] | None, sigma_rel: float, step: int | None
) -> tuple[NetworkDenoiser, int]:
    """The denoiser with the average of width `sigma_rel` that ends at `step`, or at the last snapshot; and that step.

    Raises
    ------
    ConfigError
        If there are no snapshots, or the width or the step is out of their reach.
    RunError
        If a file was cut or altered, or is of another network.
    """
    steps = [] if folder is None else Snapshots.steps(Path(folder))
    if folder is None or not steps:
        raise ConfigError(
            "reaverage: expected snapshots of the weights, and this model has none. Train it with training.snapshots "
            "(32 is good): a run directory keeps them, and so does the model that was trained, but not what `save` "
            "writes."
        )
    end = steps[-1] if step is None else step
    weights = Snapshots.reconstruct(Path(folder), sigma_rel, end)
    made = copy.copy(denoiser)
    made.network = copy.deepcopy(denoiser.network).eval()
    _fill(made.network, weights, Path(folder))
    return made, end


def _fill(network: nn.Module, weights: Mapping[str, Tensor], folder: Path) -> None:
    named = dict(network.named_parameters())
    if {n: v.shape for n, v in named.items()} != {n: v.shape for n, v in weights.items()}:
        raise RunError(f"{folder}: the snapshots are of another network. Restore the folder from a copy of its run.")
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(weights[name])
