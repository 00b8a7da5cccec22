"""Caminito: train, understand and sample diffusion models on your own data.

>>> import caminito
>>> model = caminito.DiffusionModel(max_steps=5, random_state=0)

The public names are imported when they are first used: importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from caminito.estimators import CascadeDiffusion, DiffusionModel, ImageDiffusion, NoisyClassifier, TableDiffusion
    from caminito.estimators.run import load

_HOMES = {
    "CascadeDiffusion": "caminito.estimators",
    "DiffusionModel": "caminito.estimators",
    "ImageDiffusion": "caminito.estimators",
    "NoisyClassifier": "caminito.estimators",
    "TableDiffusion": "caminito.estimators",
    "load": "caminito.estimators.run",
}

__all__ = [
    "CascadeDiffusion",
    "DiffusionModel",
    "ImageDiffusion",
    "NoisyClassifier",
    "TableDiffusion",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    try:
        return importlib.import_module(f"caminito.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"caminito.{name}":
            raise
        raise AttributeError(f"module 'caminito' has no attribute {name!r}") from error


def __dir__() -> list[str]:
    return sorted(__all__)
