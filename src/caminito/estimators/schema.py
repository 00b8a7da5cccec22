"""The options of a model: what `config.yaml`, `--set`, the documentation and any form are made from."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from caminito._errors import ConfigError
from caminito.training.config import TrainingConfig

__all__ = [
    "GuidanceConfig",
    "ModelConfig",
    "TableConfig",
    "parse_config",
    "parse_guidance",
    "parse_table_config",
    "parse_training",
    "updated",
]


class ModelConfig(BaseModel):
    """Everything a person may choose; what is left at auto is chosen from the data, and `describe` says why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    process: str | dict[str, Any] = Field(
        default="auto", description="auto, a kind (edm, vp, ddpm, ...) or its options"
    )
    network: str | dict[str, Any] = Field(
        default="auto", description="auto, mlp, unet, per-step for chains of few steps, or options of the network"
    )
    prediction: Literal["x0", "eps", "v", "flow", "edm", "previous"] = Field(
        default="edm", description="what the network predicts; previous, the mean of x_(t-1), is for chains"
    )
    variance: Literal["measured", "learned"] = Field(
        default="measured",
        description="where Var[x0 | x_t] comes from: held-out errors, or for chains a second output of the network",
    )
    max_steps: int | None = Field(default=None, ge=1, description="training steps")
    minutes: float | None = Field(default=None, gt=0, description="training time")
    training: dict[str, Any] = Field(default_factory=dict, description="further options of training")
    solver: str | dict[str, Any] = Field(default="auto", description="reverse rule: auto, dpmpp2m, heun, ddim, ...")
    n_steps: int | None = Field(default=None, ge=1, description="steps of the solver when sampling")
    validation_fraction: float = Field(default=0.1, ge=0, lt=1, description="share of the data held out")
    conditions: dict[str, Any] = Field(
        default_factory=dict,
        description="what conditions are, where not plain: label, vector, text, field or lowres, by name",
    )
    upscale: int | None = Field(
        default=None,
        ge=2,
        description="learn to enlarge, as a stage of a cascade: each item is told itself, shrunk by this factor",
    )
    inpainting: bool = Field(
        default=False, description="learn to fill holes: each item is told itself, with other holes at each step"
    )
    random_state: int | None = Field(default=0, description="seed of everything random")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps")


class TableConfig(BaseModel):
    """Everything a person may choose where the data are a table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["auto", "reveal", "denoise", "boost", "network"] = Field(
        default="auto", description="family of jumps; auto: reveal or denoise, what does better on rows kept aside"
    )
    min_rows: Literal["auto"] | int = Field(default="auto", description="different rows in a leaf of reveal, at least")
    start: Literal["auto"] | float = Field(default="auto", description="noise that rows begin with, in denoise")
    jitter: Literal["auto"] | float = Field(default="auto", description="noise added at the end, in denoise")
    max_steps: int | None = Field(default=None, ge=1, description="training steps of the network")
    minutes: float | None = Field(default=None, gt=0, description="training time of the network")
    copies: Literal["auto", "allow"] = Field(
        default="auto", description="samples that repeat a training row: as many as rows kept aside do, or any"
    )
    privacy_k: int = Field(default=1, ge=1, description="every leaf has at least so many different rows")
    missing: Literal["model", "fill"] = Field(
        default="model", description="missing values are data, or are to be filled"
    )
    types: dict[str, str] = Field(default_factory=dict, description="what columns are, e.g. {zip: category}")
    constraints: list[str] = Field(
        default_factory=list, description="what every row meets, e.g. [start <= end, total = price * amount]"
    )
    validation_fraction: float = Field(default=0.1, ge=0, lt=1, description="share of the rows held out")
    random_state: int | None = Field(default=0, description="seed of everything random")
    n_jobs: int | None = Field(default=None, description="threads that fit forests")


class GuidanceConfig(BaseModel):
    """The dials of guidance, when sampling; see `caminito.guidance`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    scale: float = Field(
        default=1.0, strict=True, ge=-20, le=50, description="0: unconditional, 1: as learnt, more: beyond"
    )
    by: Literal["auto", "cfg", "cfg++", "autoguidance", "classifier"] = Field(
        default="auto", description="what leads; auto: cfg, or what the guide that is given is for"
    )
    interval: tuple[float, float | None] | None = Field(
        default=None,
        description="noise levels sigma / alpha, (low, high], at which to guide, high may be null; all unless given",
    )
    rescale: float = Field(default=0.0, ge=0, le=1, description="how far contrast is taken back to the unguided one")
    along: float = Field(
        default=1.0, ge=0, le=1, description="share kept of the part along the prediction (adaptive projection: 0)"
    )
    norm: float | None = Field(default=None, gt=0, description="longest step of guidance, in encoded units")
    names: list[str] | None = Field(
        default=None,
        description="conditions to guide by, for cfg; the others stay; all but those of low resolution unless given",
    )
    away_from: dict[str, Any] | None = Field(
        default=None, description="conditions that samples are led away from, for cfg; none unless given"
    )
    told: bool | None = Field(
        default=None,
        description="where a guide leads: whether the model is told the class too; by default not beside a classifier",
    )

    @field_validator("interval", mode="before")
    @classmethod
    def _open_above(cls, value: Any) -> Any:
        """An upper end that is infinite is none, which JSON can hold."""
        if isinstance(value, list | tuple) and len(value) == 2 and value[1] == math.inf:
            return value[0], None
        return value


def parse_guidance(asked: float | Mapping[str, Any] | GuidanceConfig) -> GuidanceConfig:
    """Validated dials; a number is the scale. Errors as in `parse_config`."""
    if isinstance(asked, GuidanceConfig):
        return asked
    config: GuidanceConfig = _parse(
        GuidanceConfig, asked if isinstance(asked, Mapping) else {"scale": asked}, "guidance."
    )
    return config


def parse_table_config(options: Mapping[str, Any]) -> TableConfig:
    """Validated options; errors as in `parse_config`."""
    config: TableConfig = _parse(TableConfig, options)
    return config


def parse_config(options: Mapping[str, Any]) -> ModelConfig:
    """Validated options.

    Raises
    ------
    ConfigError
        For an unknown option (the nearest valid one is named) or an impossible value.
    """
    config = _parse(ModelConfig, options)
    parse_training(config.training)
    return config


def parse_training(options: Mapping[str, Any]) -> TrainingConfig:
    """Validated options of training; errors as in `parse_config`."""
    return _parse(TrainingConfig, options, "training.")


def _parse(model: type[Any], options: Mapping[str, Any], prefix: str = "") -> Any:
    try:
        return model(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, model.model_fields, n=1, cutoff=0.5)
            hint = f"Did you mean {prefix}{near[0]}?" if near else f"Known: {', '.join(model.model_fields)}."
            raise ConfigError(f"unknown option {prefix}{name}. {hint}") from error
        raise ConfigError(f"option {prefix}{name}: {first['msg'].lower()}, got {first['input']!r}.") from error


def updated(options: Mapping[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Options with `a.b=value` assignments applied; values are read as YAML.

    Raises
    ------
    ConfigError
        If an assignment has no '='.
    """
    import yaml

    out = {key: dict(value) if isinstance(value, Mapping) else value for key, value in options.items()}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set: expected name=value (training.batch_size=64), got {assignment!r}.")
        *path, last = name.strip().split(".")
        place: dict[str, Any] = out
        for part in path:
            inner = place.get(part)
            named = inner if inner and inner != "auto" else None
            place[part] = dict(inner) if isinstance(inner, Mapping) else {"kind": named} if named else {}
            place = place[part]
        value = yaml.safe_load(text)
        if isinstance(value, str):  # YAML 1.1 reads 1e-3 as a word
            with contextlib.suppress(ValueError):
                value = float(value)
        place[last] = value
    return out
