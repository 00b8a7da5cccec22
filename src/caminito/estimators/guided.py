"""Guidance at the facade: from what a person asks of a model to a denoiser that is led."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor

from caminito._errors import ConditionError, ConfigError
from caminito.denoiser import Condition, Denoiser, mapped, without
from caminito.estimators.conditions import ConditionCodec
from caminito.estimators.schema import GuidanceConfig, parse_guidance
from caminito.guidance import (
    LogProb,
    Rule,
    Scale,
    autoguide,
    cfg,
    classifier_guide,
    linear,
    projected,
    renoised_weakly,
    rescaled,
)
from caminito.training import TrainingConfig

if TYPE_CHECKING:
    from caminito.estimators.model import DiffusionModel
    from caminito.estimators.noisy_classifier import NoisyClassifier

__all__ = ["Guide", "Lead", "leading"]

Guide: TypeAlias = "NoisyClassifier | DiffusionModel | LogProb"


@dataclass(frozen=True)
class Lead:
    """How samples are led.

    Attributes
    ----------
    conditions : ConditionCodec
        Of all that may be asked for: what the model knows, and the classes of a classifier where it knows none.
    of : (denoiser, grid) -> Denoiser
    """

    conditions: ConditionCodec
    of: Callable[[Denoiser, Tensor], Denoiser]


def leading(
    model: DiffusionModel, guidance: float | Mapping[str, Any] | GuidanceConfig | None, guide: Guide | None
) -> Lead | None:
    """The lead that was asked of a model; None if none was.

    Raises
    ------
    ConfigError
        If a dial is out of its bounds, or the model or the guide cannot lead so.
    ConditionError
        For an unknown name or class among what is led away from.
    """
    if guidance is None and guide is None:
        return None
    config = parse_guidance(1.0 if guidance is None else guidance)
    by = _by(config, guide)
    if by in ("cfg", "cfg++"):
        return _by_conditions(model, config)
    if by == "autoguidance":
        return _by_worse(model, config, guide)
    return _by_classifier(model, config, guide)


def _by(config: GuidanceConfig, guide: Guide | None) -> str:
    from caminito.estimators.model import DiffusionModel

    suits = "cfg" if guide is None else "autoguidance" if isinstance(guide, DiffusionModel) else "classifier"
    if config.by == "auto" or config.by == suits or (suits == "cfg" and config.by == "cfg++"):
        return suits if config.by == "auto" else config.by
    if guide is None:
        what = "a worse version of this model" if config.by == "autoguidance" else "a NoisyClassifier"
        raise ConfigError(f"guidance by {config.by!r}: expected {what} as guide, got none.")
    raise ConfigError(f"guidance by {config.by!r}: the guide that is given is for {suits!r}. Leave one of both out.")


def _rule(config: GuidanceConfig) -> Rule:
    rule: Rule = linear
    if config.along != 1 or config.norm is not None:
        rule = projected(config.along, config.norm)
    return rescaled(config.rescale, rule) if config.rescale else rule


def _by_conditions(model: DiffusionModel, config: GuidanceConfig) -> Lead:
    known = model.conditions_.entries
    if not known:
        raise ConfigError(
            "guidance: this model was trained without conditions, and there is nothing to be guided by. Train it with "
            "y= or condition=, or give a guide: a NoisyClassifier, or a worse version of this model."
        )
    usual = TrainingConfig.model_fields["condition_dropout"].default
    if dict(model.training or {}).get("condition_dropout", usual) == 0:
        raise ConfigError(
            "guidance: this model never saw an item without its conditions (condition_dropout = 0), so it has nothing "
            "to be led away from. Train it again with training={'condition_dropout': 0.1}, or give a guide."
        )
    names = set(known) - model.conditions_.of_items or set(known)
    if config.names is not None:
        names = set(config.names)
    if unknown := names - set(known):
        raise ConditionError(f"guidance.names: {sorted(unknown)} are unknown. Known: {', '.join(known)}.")
    away = {} if config.away_from is None else model.conditions_.encode(config.away_from, 1)
    device = model._device()
    negative = mapped(away, lambda value: value.to(device)) or {}

    def null(cond: Condition) -> Condition:
        kept = {name: value for name, value in (cond or {}).items() if name not in names}
        return {**kept, **negative} or None

    def of(denoiser: Denoiser, grid: Tensor) -> Denoiser:
        scale: Scale = config.scale
        if config.by == "cfg++":
            scale = renoised_weakly(config.scale, denoiser.process, grid)
        return cfg(denoiser, scale, null=null, interval=config.interval, rule=_rule(config))

    return Lead(model.conditions_, of)


def _by_worse(model: DiffusionModel, config: GuidanceConfig, guide: Any) -> Lead:
    worse: Denoiser = guide.denoiser_
    if guide.conditions_.to_dict() != model.conditions_.to_dict():
        raise ConfigError("guide: expected a model of the same conditions, got one that knows others.")
    if guide.codec_.to_dict() != model.codec_.to_dict():
        raise ConfigError(
            "guide: expected a model of the same data, got one that encodes them otherwise. Take an earlier or a "
            "smaller version of this model."
        )
    return Lead(
        model.conditions_,
        lambda denoiser, _: autoguide(denoiser, worse, config.scale, interval=config.interval, rule=_rule(config)),
    )


def _by_classifier(model: DiffusionModel, config: GuidanceConfig, guide: Any) -> Lead:
    for name in ("rescale", "along", "norm", "names", "away_from"):
        if getattr(config, name) != GuidanceConfig.model_fields[name].default:
            raise ConfigError(f"guidance.{name}: has no meaning where a classifier leads. Leave it out.")
    from caminito.estimators.noisy_classifier import NoisyClassifier

    if not isinstance(guide, NoisyClassifier) and not callable(guide):
        raise ConfigError(
            "guide: expected a NoisyClassifier, a DiffusionModel, or a function (x_t, t, cond) -> log p, got a "
            f"{type(guide).__name__}."
        )
    codec, log_prob, knows = model.conditions_, guide, "y" in model.conditions_.entries
    if isinstance(guide, NoisyClassifier):
        if guide.event_shape_ != model.event_shape_:
            raise ConfigError(
                f"guide: expected a classifier of events of shape {model.event_shape_}, got one of "
                f"{guide.event_shape_}. Train it for this model."
            )
        if guide.codec_.to_dict() != model.codec_.to_dict():
            raise ConfigError(
                "guide: expected a classifier of the same data, got one that encodes them otherwise. Train it for this "
                "model."
            )
        log_prob = guide.log_prob(model=model)
        codec = (codec if knows else codec.joined(guide.conditions_)).needing("y")

    def of(denoiser: Denoiser, _: Tensor) -> Denoiser:
        usual = not isinstance(guide, NoisyClassifier)
        told = denoiser if knows and (usual if config.told is None else config.told) else without(denoiser, "y")
        return classifier_guide(told, log_prob, config.scale, interval=config.interval)

    return Lead(codec, of)
