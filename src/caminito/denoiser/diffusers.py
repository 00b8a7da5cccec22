"""Models of diffusers as denoisers, and denoisers in the calling form of diffusers.

A model of diffusers is a network, called as network(x, timestep), and a configuration that says how its noise was made
and what it predicts. Its timestep k = 0..T-1 of a table of betas is step k + 1 of a `Chain`, whose coefficients are
float64 from the start. The library itself (extra `diffusers`) is needed only to read a folder.

Source: diffusers 0.35 to 0.42, its scheduler configurations; Ho et al. 2020; Karras et al. 2022; Lipman et al. 2023.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from caminito._errors import ConditionError, ConfigError, MissingExtraError, RunError, ShapeError, TimeError
from caminito.denoiser._diffusers_config import (
    PREDICTIONS,
    config_of,
    levels_of,
    load_config,
    read_json,
    reading_of,
)
from caminito.denoiser._level import mean_at_level
from caminito.denoiser.base import Condition, Denoiser
from caminito.denoiser.network import NetworkDenoiser
from caminito.denoiser.residual import ResidualVariance
from caminito.nn import Given
from caminito.process import times
from caminito.process.base import Time, as_time

__all__ = ["DiffusersDenoiser", "DiffusersModel", "DiffusersUNet", "from_diffusers", "to_diffusers"]

KEYWORDS: Mapping[str, str] = MappingProxyType({"y": "class_labels", "tokens": "encoder_hidden_states"})
_MASKS = {"encoder_hidden_states": "encoder_attention_mask"}
_WEIGHTS = "diffusion_pytorch_model.safetensors"


class DiffusersModel(NamedTuple):
    """A network in the calling form of diffusers and the configuration that gives its timesteps their meaning."""

    unet: nn.Module
    scheduler_config: dict[str, Any]


# --- their model as a denoiser -----------------------------------------------------------------------------------


def from_diffusers(
    unet: Callable[..., Any] | str | Path,
    scheduler_config: Any = None,
    *,
    event_shape: tuple[int, ...] | None = None,
    keywords: Mapping[str, str] = KEYWORDS,
) -> DiffusersDenoiser:
    """A denoiser from a model of diffusers.

    Parameters
    ----------
    unet : module, callable or path
        Called as unet(x, timestep, **conditions); answers with a tensor, a tuple, or an object with `sample`. A path is
        that of a pipeline's folder (with `model_index.json`), or of a network's (with `config.json`).
    scheduler_config : mapping, path or scheduler, optional
        A table of betas (linear, scaled_linear, squaredcos_cap_v2, sigmoid or trained_betas, rescaled to zero terminal
        SNR or not) gives a `Chain`, an EDM configuration `EDM`, flow matching `RectifiedFlow`. A pipeline's folder has
        its own.
    event_shape : tuple of int, optional
        The network's channels and sample size unless given.
    keywords : mapping of str to str
        Names of conditions here, and of the network's arguments that take them. A mask given with
        `encoder_hidden_states` becomes `encoder_attention_mask`.

    Returns
    -------
    DiffusersDenoiser

    Raises
    ------
    ConfigError
        If the configuration is not of a kind known here, or the network's channels do not fit each other.
    RunError
        If a folder is missing or damaged, or its weights are not safetensors.
    MissingExtraError
        If a folder is to be read and diffusers is not installed.
    ShapeError
        If `event_shape` has other channels than the network.

    Notes
    -----
    Exact: coefficients are float64, where diffusers has float32 tables. Nothing is downloaded, and no file is read that
    could run code. What the configuration says of sampling is left to solver and grid; in particular x0 is not clipped,
    even where `clip_sample` is true. Timesteps of a table are whole, so `grid.karras` rounds to steps.

    Of a network that also predicts a variance (twice as many channels) the mean is used; `var` is unknown.
    """
    if isinstance(unet, str | Path):
        unet, found = _load(Path(unet))
        scheduler_config = found if scheduler_config is None else scheduler_config
    if scheduler_config is None:
        raise ConfigError(
            "scheduler_config: expected a mapping, a path or a scheduler, got none. The network alone does not say how "
            "its noise was made."
        )
    return DiffusersDenoiser(unet, load_config(scheduler_config), event_shape, keywords)


class DiffusersDenoiser(Denoiser):
    """A network in the calling form of diffusers, as E[x0 | x_t]; made by `from_diffusers`.

    Attributes
    ----------
    network : module or callable
    config : dict
        Of the scheduler, as it was given.
    """

    def __init__(
        self,
        network: Callable[..., Any],
        config: Mapping[str, Any],
        event_shape: tuple[int, ...] | None,
        keywords: Mapping[str, str],
    ) -> None:
        self.network, self.config, self.keywords = network, dict(config), dict(keywords)
        self._reading = reading_of(config)
        self.process = self._reading.process
        self._channels = _channels(network)
        self.event_shape = _event_shape(network, self._channels) if event_shape is None else tuple(event_shape)
        if event_shape and self._channels is not None and event_shape[0] != self._channels:
            raise ShapeError(
                f"event_shape: expected {self._channels} channels, as the network has, got {tuple(event_shape)}."
            )

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """skip x_t + out network(x_t, timestep)."""
        if self._channels is not None and x_t.shape[1] != self._channels:
            raise ShapeError(f"x_t: expected {self._channels} channels, as the network has, got {tuple(x_t.shape)}.")
        t = as_time(t)
        skip, out, inp, label = self._reading.precondition.coefficients(self.process, t)
        x = times(inp, x_t) if self._reading.clock == "level" else x_t
        said = self._ask(x, self._reading.timestep(t, label), cond)
        return times(skip, x_t) + times(out, said.to(x_t.dtype))

    def _ask(self, x: Tensor, timestep: Tensor, cond: Condition) -> Tensor:
        dtype = _dtype(self.network) or x.dtype
        if timestep.is_floating_point():
            timestep = timestep.to(torch.float64 if dtype == torch.float64 else torch.float32)
        timestep = timestep.expand(len(x)).to(x.device)
        said = _tensor(self.network(x.to(dtype), timestep, **_arguments(cond, self.keywords, dtype)))
        if said.shape[1] == 2 * x.shape[1]:  # mean and variance
            said = said[:, : x.shape[1]]
        if said.shape != x.shape:
            raise ShapeError(f"network: expected an answer of shape {tuple(x.shape)}, got {tuple(said.shape)}.")
        return said


def _dtype(network: object) -> torch.dtype | None:
    """The dtype that a module computes in; None of a function, which takes what comes."""
    parameters = network.parameters() if isinstance(network, nn.Module) else ()
    return next((p.dtype for p in parameters if p.is_floating_point()), None)


def _tensor(said: Any) -> Tensor:
    if isinstance(said, Tensor):
        return said
    value = getattr(said, "sample", None)
    if value is None and isinstance(said, tuple) and said:
        value = said[0]
    if not isinstance(value, Tensor):
        raise ConfigError(
            f"unet: expected it to answer with a tensor, a tuple or an object with .sample, got {type(said).__name__}."
        )
    return value


def _arguments(cond: Condition, keywords: Mapping[str, str], dtype: torch.dtype) -> dict[str, Tensor]:
    """Conditions under the network's own names."""
    arguments: dict[str, Tensor] = {}
    for name, entry in (cond or {}).items():
        if name not in keywords:
            known = ", ".join(keywords) or "none"
            raise ConditionError(f"condition {name!r} is unknown to this model. Known: {known}. Name it in `keywords`.")
        value, present, mask, level = Given.of(entry)
        if present is not None and not bool(present.all()):
            raise ConditionError(
                f"condition {name!r}: absent in some rows, which diffusers cannot say. Pass the value that stands for "
                "absence."
            )
        if level is not None:
            raise ConditionError(f"condition {name!r}: {keywords[name]} takes no noise level. Give the value alone.")
        arguments[keywords[name]] = value.to(dtype) if value.is_floating_point() else value
        if mask is not None and keywords[name] not in _MASKS:
            raise ConditionError(f"condition {name!r}: {keywords[name]} takes no mask.")
        if mask is not None:
            arguments[_MASKS[keywords[name]]] = mask
    return arguments


def _channels(network: object) -> int | None:
    """Channels of x, from the network's configuration if it has one.

    Raises
    ------
    ConfigError
        If it answers with neither as many channels nor twice as many.
    """
    config = getattr(network, "config", None)
    inputs, outputs = (getattr(config, name, None) for name in ("in_channels", "out_channels"))
    if inputs is None or outputs is None:
        return inputs
    if outputs not in (inputs, 2 * inputs):
        raise ConfigError(
            f"unet: expected out_channels to be in_channels = {inputs}, or twice that with a variance, got {outputs}. "
            "Wrap a network with further inputs in a function of (x, timestep)."
        )
    return int(inputs)


def _event_shape(network: object, channels: int | None) -> tuple[int, ...] | None:
    size = getattr(getattr(network, "config", None), "sample_size", None)
    if channels is None or size is None:
        return None
    if isinstance(size, int):  # of a square only where the network is known to work on one
        return (channels, size, size) if "2D" in type(network).__name__ else None
    return (channels, *size)


# --- folders -----------------------------------------------------------------------------------------------------


def _load(folder: Path) -> tuple[nn.Module, dict[str, Any] | None]:
    """The network of a folder, and the pipeline's scheduler configuration."""
    if (folder / "model_index.json").is_file():
        parts = read_json(folder / "model_index.json")
        if "unet" not in parts:
            held = ", ".join(name for name in parts if not name.startswith("_"))
            raise RunError(f"{folder}: expected a pipeline with a unet, got {held}. Load its network and pass that.")
        return _network(folder / "unet"), load_config(folder)
    if (folder / "config.json").is_file():
        return _network(folder), None
    raise RunError(
        f"{folder}: expected a folder of diffusers, with model_index.json or config.json. Nothing is downloaded: "
        "fetch a model first and pass the folder that it lies in."
    )


def _network(folder: Path) -> nn.Module:
    try:
        library = importlib.import_module("diffusers")
    except ImportError as error:
        raise MissingExtraError(
            'reading a folder of diffusers needs diffusers. Install it: pip install "caminito[diffusers]"'
        ) from error
    name = read_json(folder / "config.json").get("_class_name")
    kind = getattr(library, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, library.ModelMixin)):
        raise RunError(f"{folder}: expected a network of diffusers {library.__version__}, got _class_name = {name!r}.")
    _check_weights(folder)
    try:
        network, info = kind.from_pretrained(  # type: ignore[attr-defined]
            folder,
            local_files_only=True,
            use_safetensors=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(f"{folder}: the network cannot be read. {error}") from error
    if info["missing_keys"]:
        raise RunError(f"{folder}: the file lacks {len(info['missing_keys'])} weights, as {info['missing_keys'][0]}.")
    return network


def _check_weights(folder: Path) -> None:
    """Refuse weights in a format that may run code when it is read."""
    index = folder / f"{_WEIGHTS}.index.json"
    files = set(read_json(index).get("weight_map", {}).values()) if index.is_file() else {_WEIGHTS}
    safe = all(isinstance(name, str) and name.endswith(".safetensors") for name in files)
    if not safe or not all((folder / name).is_file() for name in files):
        raise RunError(
            f"{folder}: expected weights in {_WEIGHTS}. Other formats may run code when they are read: convert the "
            "model with save_pretrained(folder, safe_serialization=True) where you trust it."
        )


# --- a denoiser as their model -----------------------------------------------------------------------------------


def to_diffusers(
    denoiser: Denoiser, scheduler_config: Any = None, *, keywords: Mapping[str, str] = KEYWORDS
) -> DiffusersModel:
    """A denoiser as a network and scheduler configuration of diffusers.

    Parameters
    ----------
    denoiser : Denoiser
        Of any process. One that came from `from_diffusers` gives back its own network and configuration.
    scheduler_config : mapping, path or scheduler, optional
        The table of betas and prediction type to answer in. Unless given: v_prediction, on the chain's own log-SNR; for
        a continuous process on a thousand Karras levels from its end to sigma / alpha = .01.
    keywords : mapping of str to str
        Names of conditions here, and of the arguments that carry them.

    Returns
    -------
    DiffusersModel
        `unet`, for pipelines and loops, and `scheduler_config`: `DDIMScheduler.from_config(scheduler_config)` or any
        other scheduler with a table of betas.

    Raises
    ------
    ConfigError
        If the configuration has no table of betas, or the chain has steps without noise.

    Notes
    -----
    What maps exactly is the calling form, not the layers: label, scale and blocks of the networks here are others than
    those of `UNet2DModel`. So the result lives in memory and cannot be saved as a pipeline. On a continuous process it
    is exact at every timestep, whole or not (between two, log-SNR is linear, as where diffusers interpolates); levels
    beyond the end of the process are taken for its end. A chain answers with its step nearest in log-SNR.
    """
    if isinstance(denoiser, DiffusersDenoiser) and scheduler_config is None and isinstance(denoiser.network, nn.Module):
        return DiffusersModel(denoiser.network, dict(denoiser.config))
    if scheduler_config is None:
        config = config_of(levels_of(denoiser.process))
    else:
        config = load_config(scheduler_config)
    return DiffusersModel(DiffusersUNet(denoiser, config, keywords), config)


def _module_of(denoiser: Denoiser) -> nn.Module | None:
    match denoiser:
        case ResidualVariance():
            return _module_of(denoiser.denoiser)
        case NetworkDenoiser() | DiffusersDenoiser():
            return denoiser.network if isinstance(denoiser.network, nn.Module) else None
        case _:
            return None


class _Output(NamedTuple):
    """What a network of diffusers answers with."""

    sample: Tensor


class DiffusersUNet(nn.Module):
    """A denoiser as unet(x, timestep).sample; made by `to_diffusers`.

    x = sqrt(abar) x0 + sqrt(1 - abar) eps, and the answer is eps, x0 or v = sqrt(abar) eps - sqrt(1 - abar) x0.

    Attributes
    ----------
    denoiser : Denoiser
    config : namespace with `in_channels`, `out_channels` and `sample_size`
    """

    def __init__(self, denoiser: Denoiser, config: Mapping[str, Any], keywords: Mapping[str, str]) -> None:
        super().__init__()
        reading = reading_of(config)
        if reading.clock != "step":
            raise ConfigError("scheduler_config: expected a table of betas to put a denoiser on, got one without.")
        self.denoiser = denoiser
        self.prediction = next(name for name, kind in PREDICTIONS.items() if kind == reading.precondition.kind)
        self._levels = levels_of(reading.process)
        self._names = {keyword: name for name, keyword in keywords.items()}
        self.network = _module_of(denoiser)  # so that `.to` and `parameters` reach it
        self.register_buffer("_place", torch.zeros(()), persistent=False)
        channels, *grid = denoiser.event_shape or (None,)
        self.config = SimpleNamespace(in_channels=channels, out_channels=channels, sample_size=tuple(grid) or None)

    @property
    def dtype(self) -> torch.dtype:
        """That of the network, or of the last `.to`."""
        return _dtype(self) or self.get_buffer("_place").dtype

    @property
    def device(self) -> torch.device:
        """That of the network, or of the last `.to`."""
        return self.get_buffer("_place").device

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
        **conditions: Tensor | None,
    ) -> _Output | tuple[Tensor]:
        """The prediction at a timestep.

        Parameters
        ----------
        sample : tensor, shape (B, *event)
        timestep : number or tensor, shape (), (1,) or (B,)
            0 .. T-1, whole or between.
        class_labels, conditions : tensor
            What `keywords` names.
        """
        alpha, sigma, level = self._coefficients(timestep)
        cond = self._conditions({"class_labels": class_labels, **conditions})
        x0 = mean_at_level(self.denoiser, sample, torch.ones_like(level), level, cond)
        match self.prediction:
            case "sample":
                said = x0
            case "epsilon":
                said = times(1 / sigma, sample) - times(alpha / sigma, x0)
            case _:
                said = times(alpha / sigma, sample) - times(1 / sigma, x0)
        return _Output(said) if return_dict else (said,)

    def _coefficients(self, timestep: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        """sqrt(abar), sqrt(1 - abar) and log-SNR of a timestep."""
        k = as_time(torch.as_tensor(timestep).detach().cpu())
        k = k.squeeze() if k.numel() == 1 else k
        last = len(self._levels) - 1
        if not bool(((k >= 0) & (k <= last)).all()):
            raise TimeError(f"timestep: expected numbers in 0..{last}, got {k.flatten()[:5].tolist()}.")
        below = k.floor().long()
        low, high = self._levels[below], self._levels[(below + 1).clamp_max(last)]
        level = torch.where(k == below, low, low + (k - below) * (high - low))
        return torch.sqrt(torch.sigmoid(level)), torch.sqrt(torch.sigmoid(-level)), level

    def _conditions(self, given: Mapping[str, Tensor | None]) -> Condition:
        cond: dict[str, Any] = {}
        values = {keyword: value for keyword, value in given.items() if value is not None}
        masks = {keyword: values.pop(mask, None) for keyword, mask in _MASKS.items() if keyword in values}
        for keyword, value in values.items():
            if keyword not in self._names:
                raise ConditionError(f"{keyword} is unknown to this model. Known: {', '.join(self._names)}.")
            mask = masks.get(keyword)
            cond[self._names[keyword]] = value if mask is None else Given(value, mask=mask)
        return cond or None
