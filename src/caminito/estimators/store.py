"""A fitted model as a folder: weights in safetensors, all else in JSON, with the checksum of the weights.

    model/ manifest.json   weights.safetensors

Loading reads values and never runs code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from caminito import nn as networks
from caminito._errors import ConfigError, RunError
from caminito._files import read_json, read_tensors, write_json, write_tensors
from caminito.data import HashingText, TransformersText, codec_from_dict
from caminito.denoiser import Centre, NetworkDenoiser, Precondition, ResidualVariance, VarianceRange
from caminito.estimators.choices import Choice, Description
from caminito.estimators.conditions import ConditionCodec
from caminito.estimators.frames import Container
from caminito.estimators.grids import CalibratedGrid
from caminito.estimators.image import ImageDiffusion
from caminito.estimators.model import DiffusionModel
from caminito.process import Process, process_from_dict, process_to_dict
from caminito.sampling import Solver, solver_to_dict

__all__ = ["ESTIMATORS", "load_model", "plain", "save_model"]

FORMAT_VERSION = 2
ESTIMATORS: dict[str, type[DiffusionModel]] = {"DiffusionModel": DiffusionModel, "ImageDiffusion": ImageDiffusion}


def save_model(model: DiffusionModel, path: str | Path) -> None:
    """Write a fitted model; each file appears whole or not at all, the manifest last.

    Raises
    ------
    ConfigError
        If the process or network is a Python object that a file cannot hold.
    StorageError
        If the disk is full.
    """
    path = Path(path)
    network = model.denoiser_.network
    if not isinstance(network, networks.Network) or network.options is None:
        raise ConfigError(
            "save: only networks of caminito.nn can be rebuilt from a file, and those of PerStep if all have the same "
            "options. Save this one's weights yourself."
        )
    residual = model.residual_variance_
    with model._averaged():
        digest = write_tensors(path / "weights.safetensors", network.state_dict())
    autocast = model.denoiser_.autocast
    write_json(
        path / "manifest.json",
        {
            "format_version": FORMAT_VERSION,
            "estimator": type(model).__name__,
            "parameters": {name: plain(value) for name, value in model.get_params(deep=False).items()},
            "codec": model.codec_.to_dict(),
            "container": {"columns": model.container_.columns, "dtypes": model.container_.dtypes},
            "conditions": model.conditions_.to_dict(),
            "process": process_to_dict(model.process_),
            "network": network.options,
            "prediction": model.denoiser_.precondition.kind,
            "centre": None if model.denoiser_.centre is None else model.denoiser_.centre.to_dict(),
            "autocast": None if autocast is None else str(autocast).removeprefix("torch."),
            "noise_range": model.noise_range_,
            "n_features": model.n_features_in_,
            "n_steps": model.n_steps_,
            "choices": {name: [choice.value, choice.why] for name, choice in model.choices_.items()},
            "history": model.history_,
            "grids": [grid.to_dict() for grid in model.grids_],
            "residual_variance": None
            if residual is None
            else {"logsnr": residual.levels.tolist(), "residuals": residual.residuals.tolist()},
            "weights": {"file": "weights.safetensors", "sha256": digest},
        },
    )


def load_model(path: str | Path) -> DiffusionModel:
    """The estimator saved in a folder, ready to sample.

    Raises
    ------
    RunError
        If the folder is not a model, was saved by a version with another format, or its weights were cut or altered.
    """
    path = Path(path)
    facts = read_json(path / "manifest.json")
    if facts.get("format_version") != FORMAT_VERSION:
        found = facts.get("format_version")
        older = isinstance(found, int) and found < FORMAT_VERSION
        raise RunError(
            f"{path}: this version of caminito reads models of format {FORMAT_VERSION}, got {found}. "
            + ("Train it anew." if older else "Upgrade caminito.")
        )
    if facts.get("estimator") not in ESTIMATORS:
        raise RunError(f"{path}: expected one of {', '.join(ESTIMATORS)}, got {facts.get('estimator')!r}.")
    try:
        return _rebuilt(facts, path)
    except (KeyError, TypeError, RuntimeError) as error:
        raise RunError(f"{path}/manifest.json does not fit its weights ({error}). Restore both from a copy.") from error


def _rebuilt(facts: Mapping[str, Any], path: Path) -> DiffusionModel:
    model = ESTIMATORS[facts["estimator"]](**facts["parameters"])
    model.codec_ = codec_from_dict(facts["codec"])
    columns, dtypes = facts["container"]["columns"], facts["container"]["dtypes"]
    model.container_ = Container(columns and tuple(columns), dtypes and tuple(dtypes))
    model.conditions_ = ConditionCodec.from_dict(facts["conditions"])
    if "y" in model.conditions_.classes:
        model.classes_ = model.conditions_.classes["y"]
    model.process_ = process_from_dict(facts["process"])
    network = networks.build(facts["network"])
    tensors = read_tensors(path / facts["weights"]["file"], facts["weights"]["sha256"])
    network.load_state_dict(tensors)
    if model.device != "auto" and model._device().type == "cuda" and not torch.cuda.is_available():
        model.device = "auto"  # trained on a machine with another device
    event_shape = model.codec_.event_shape
    autocast = None if facts["autocast"] is None else getattr(torch, facts["autocast"])
    model.denoiser_ = NetworkDenoiser(
        network.to(model._device()).eval(),
        Precondition(facts["prediction"]),
        model.process_,
        event_shape,
        autocast=autocast,
        variance=VarianceRange(model.process_) if model.variance == "learned" else None,
        centre=None if facts["centre"] is None else Centre.from_dict(facts["centre"]),
    )
    model.event_shape_ = event_shape
    model.noise_range_ = tuple(facts["noise_range"])
    model.n_features_in_ = facts["n_features"]
    model.n_steps_ = facts["n_steps"]
    model.choices_ = Description({name: Choice(*pair) for name, pair in facts["choices"].items()})
    model.history_ = facts["history"]
    model.grids_ = [CalibratedGrid.from_dict(grid) for grid in facts["grids"]]
    residual = facts["residual_variance"]
    model.residual_variance_ = residual and ResidualVariance(
        model.denoiser_, torch.tensor(residual["logsnr"]).double(), torch.tensor(residual["residuals"]).double()
    )
    return model


def plain(value: Any) -> Any:
    """A parameter as JSON: objects become the plain form from which they can be made again."""
    if isinstance(value, Process):
        return process_to_dict(value)
    if isinstance(value, networks.Network):
        return value.options
    if isinstance(value, Solver):
        return solver_to_dict(value)
    if isinstance(value, HashingText | TransformersText):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if value is None or isinstance(value, bool | int | float | str | list | tuple):
        return value
    return None  # a RandomState: a loaded model draws afresh
