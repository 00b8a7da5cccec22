"""What a scheduler's configuration says of the noise and of the network's prediction, and the reverse.

Three families of configurations are read; what they say of sampling (clipping, thresholds, spacing, offsets, shift,
Karras levels, variances) is no property of the denoiser and is passed over.

    family           process            timestep         network input    prediction
    beta table       Chain.ddpm         k = t - 1        x_t              epsilon, sample, v_prediction
    rectified flow   RectifiedFlow      t T              x_t              flow_prediction: eps - x0
    EDM              EDM                log(sigma) / 4   c_in x_t         F of Karras et al. 2022, table 1, or -F
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ConfigError, RunError
from caminito.denoiser.precondition import Precondition, Prediction
from caminito.process import EDM, Chain, Process, RectifiedFlow, beta_table
from caminito.process import grid as grids

__all__ = ["PREDICTIONS", "Reading", "config_of", "levels_of", "load_config", "read_json", "reading_of"]

Clock = Literal["step", "share", "level"]

PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}

_TABLES = (
    "DDIMInverseScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
_EDM = ("EDMDPMSolverMultistepScheduler", "EDMEulerScheduler")
_FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")

_STEPS, _LEAST = (
    1000,
    0.01,
)  # of a table made for a continuous process; their tables are float32, which hides less noise


class Reading(NamedTuple):
    """The process, what the network predicts under it, and which number it is given for the time."""

    process: Process
    precondition: Precondition
    clock: Clock
    steps: int  # T

    def timestep(self, t: Tensor, label: Tensor) -> Tensor:
        """What the network is told at time t; whole for a table of betas. `label` is log(sigma / |alpha|) / 4."""
        match self.clock:
            case "step":
                return (t - 1).clamp_min(0).long()  # at t = 0 the prediction has no weight
            case "share":
                return t * self.steps
            case "level":
                return label


# --- reading -----------------------------------------------------------------------------------------------------


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file.

    Raises
    ------
    RunError
        If there is none, or it holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: expected a JSON file, got {type(error).__name__}: {error}.") from error
    if not isinstance(value, dict):
        raise RunError(f"{path}: expected a JSON object, got {type(value).__name__}.")
    return value


def load_config(source: Any) -> dict[str, Any]:
    """The configuration in a mapping, a scheduler, a JSON file, or a folder that holds one.

    Raises
    ------
    ConfigError, RunError
    """
    if isinstance(source, Mapping):
        return dict(source)
    if isinstance(source, str | Path):
        path = Path(source)
        places = [path, path / "scheduler_config.json", path / "scheduler" / "scheduler_config.json"]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise RunError(
                f"{path}: expected a scheduler_config.json or a folder that holds one. Nothing is downloaded."
            )
        return read_json(found)
    config = getattr(source, "config", None)
    if not isinstance(config, Mapping):
        raise ConfigError(
            "scheduler_config: expected a mapping, a path, or a scheduler with a config, "
            f"got {type(source).__name__}. Pass the pipeline's scheduler or its config."
        )
    return {**config, "_class_name": type(source).__name__}


def reading_of(config: Mapping[str, Any]) -> Reading:
    """The process and the meaning of the prediction.

    Raises
    ------
    ConfigError
        If the scheduler is of no family that is known here, a value is missing, or the prediction is unknown.
    """
    name = config.get("_class_name")
    if name in _EDM:
        return _edm(config)
    if name in _FLOW:
        return _flow(config)
    if name not in (None, *_TABLES):
        raise ConfigError(
            f"scheduler_config: {name} is not a scheduler whose noise is known here. Known: "
            f"{', '.join((*_TABLES, *_EDM, *_FLOW))}. For another, describe the process and use from_x0, from_eps, "
            "from_v or from_flow."
        )
    kind = config.get("prediction_type", "epsilon")  # what the schedulers did before they had a choice
    if config.get("use_flow_sigmas") and kind == "flow_prediction":
        return _flow(config)
    if config.get("use_flow_sigmas") or kind not in PREDICTIONS:
        raise ConfigError(
            f"prediction_type: expected one of {', '.join(PREDICTIONS)}, or flow_prediction with use_flow_sigmas, "
            f"got {kind!r}{' with use_flow_sigmas' if config.get('use_flow_sigmas') else ''}."
        )
    chain = _chain(config)
    precondition = Precondition(PREDICTIONS[kind])
    if config.get("timestep_type") == "continuous" and kind == "v_prediction":
        most = config.get("sigma_max") or float(torch.exp(-chain.logsnr(chain.t_max) / 2))
        return Reading(EDM(most), precondition, "level", int(chain.t_max))
    return Reading(chain, precondition, "step", int(chain.t_max))


def _needed(config: Mapping[str, Any], key: str) -> Any:
    if config.get(key) is None:
        raise ConfigError(
            f"scheduler_config: {key!r} is missing. Pass the whole configuration, as scheduler.config or "
            "scheduler_config.json has it."
        )
    return config[key]


def _chain(config: Mapping[str, Any]) -> Chain:
    return Chain.ddpm(_betas(config), zero_snr=bool(config.get("rescale_betas_zero_snr", False)))


def _betas(config: Mapping[str, Any]) -> Tensor:
    """beta_1..beta_T in float64, where the schedulers have them in float32."""
    given = config.get("trained_betas")
    if given is not None:
        betas = torch.as_tensor(np.asarray(given, dtype=np.float64))
        steps = config.get("num_train_timesteps", len(betas))
        if steps != len(betas):
            raise ConfigError(f"trained_betas: expected num_train_timesteps = {steps} numbers, got {len(betas)}.")
        return betas
    name, steps = _needed(config, "beta_schedule"), int(_needed(config, "num_train_timesteps"))
    if name == "squaredcos_cap_v2":
        return beta_table("cosine", steps)
    if name not in ("linear", "scaled_linear", "sigmoid"):
        raise ConfigError(
            "beta_schedule: expected linear, scaled_linear, squaredcos_cap_v2 or sigmoid, "
            f"got {name!r}. Pass its numbers as trained_betas."
        )
    low, high = float(_needed(config, "beta_start")), float(_needed(config, "beta_end"))
    if name == "linear":
        return torch.linspace(low, high, steps, dtype=torch.float64)
    if name == "scaled_linear":
        return torch.linspace(low**0.5, high**0.5, steps, dtype=torch.float64) ** 2
    return torch.sigmoid(torch.linspace(-6, 6, steps, dtype=torch.float64)) * (high - low) + low


def _flow(config: Mapping[str, Any]) -> Reading:
    if config.get("invert_sigmas"):
        raise ConfigError("invert_sigmas: a flow whose time runs from noise to data is not known here. Use from_flow.")
    return Reading(RectifiedFlow(), Precondition("flow"), "share", int(_needed(config, "num_train_timesteps")))


def _edm(config: Mapping[str, Any]) -> Reading:
    kinds: dict[str, Prediction] = {"epsilon": "edm", "v_prediction": "v"}
    kind = config.get("prediction_type", "epsilon")
    if kind not in kinds:
        raise ConfigError(f"prediction_type: expected epsilon or v_prediction of an EDM scheduler, got {kind!r}.")
    process = EDM(float(_needed(config, "sigma_max")), float(config.get("rho", 7.0)))
    data_std = float(_needed(config, "sigma_data"))
    return Reading(process, Precondition(kinds[kind], data_std), "level", int(config.get("num_train_timesteps", 1000)))


# --- writing -----------------------------------------------------------------------------------------------------


def levels_of(process: Process) -> Tensor:
    """log-SNR of steps 1..T: a chain's own, or a thousand Karras levels from the end of a process to sigma = .01."""
    if process.is_discrete:
        return process.logsnr(torch.arange(1, int(process.t_max) + 1, dtype=torch.float64))
    return process.logsnr(grids.karras(process, _STEPS, sigma_min=_LEAST)[:-1].flip(0))


def config_of(levels: Tensor) -> dict[str, Any]:
    """The configuration of a table of betas with the given log-SNR: abar_t = sigmoid(logsnr_t).

    Raises
    ------
    ConfigError
        If the log-SNR does not fall at every step, from +inf before the first: a beta would not be in (0, 1].
    """
    logs = torch.nn.functional.logsigmoid(torch.cat([torch.full_like(levels[:1], torch.inf), levels]))
    betas = -torch.expm1(logs.diff())
    if not bool((betas > 0).all()):
        raise ConfigError(
            "process: expected a chain with noise in every step, got one that keeps its log-SNR in some. "
            "A table of betas cannot say that: pass the scheduler_config to be put on."
        )
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": len(betas),
        "trained_betas": betas.tolist(),
        "prediction_type": "v_prediction",
        "clip_sample": False,
        "timestep_spacing": "trailing",
    }
