"""How a source becomes X, y and an estimator: decided once, written down, and repeated when a run goes on.

Images are what comes from a folder, from IDX files, or as an array (n, H, W[, C]) of 8- or 16-bit integers, of floats
within [0, 1], or of whole numbers from 0 on. All else is an array: rows of numbers, points, fields, whose values may go
beyond those observed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from caminito import nn as networks
from caminito._errors import ConfigError
from caminito.data import MAX_PIXELS, Source
from caminito.denoiser import Precondition
from caminito.estimators.choices import network_options
from caminito.estimators.image import ImageDiffusion
from caminito.estimators.model import DiffusionModel
from caminito.estimators.schema import ModelConfig
from caminito.process import EDM, process_from_dict
from caminito.sampling import solver_named

__all__ = ["Reading"]


@dataclass(frozen=True)
class Reading:
    """What is taken from a source, and which estimator it is for.

    Attributes
    ----------
    images : bool
        ImageDiffusion, else DiffusionModel.
    channel_axis : None, 1 or -1
        Where an array has its channels.
    classes : bool
        Whether the model is conditioned on the labels.
    resize : (height, width) or None
    max_pixels : int
        As given to `open_source`.
    texts : bool
        Whether the model is conditioned on the captions.
    """

    images: bool
    channel_axis: int | None = None
    classes: bool = False
    resize: tuple[int, int] | None = None
    max_pixels: int = MAX_PIXELS
    texts: bool = False

    @classmethod
    def of(
        cls,
        source: Source,
        *,
        classes: bool = True,
        texts: bool = True,
        resize: tuple[int, int] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> Reading:
        """What suits a source; labels are used where there are two classes or more, captions where there are two."""
        items = source.items
        images = source.kind in ("digits", "folder", "idx") or _like_images(items)
        axis = None
        if not images and items.ndim >= 4:
            axis = -1 if items.shape[-1] <= 4 else 1
        labelled = source.labels is not None and len(source.classes or ()) > 1
        captioned = len(set(source.captions or ()) - {None, ""}) > 1
        return cls(images, axis, classes and labelled, resize, max_pixels, texts and captioned)

    def words(self, item_shape: Sequence[int]) -> tuple[str, str]:
        """What items of a shape are taken for, and their size: ("images", "8 x 8"), ("rows", "4 numbers")."""
        if len(item_shape) <= 1:
            count = item_shape[0] if item_shape else 1
            return "rows", f"{count} number{'s' if count > 1 else ''}"
        return "images" if self.images else "arrays", " x ".join(map(str, item_shape))

    def items(self, source: Source) -> np.ndarray:
        """X, shape (n, ...)."""
        return source.items[:, None] if source.items.ndim == 1 else source.items

    def labels(self, source: Source) -> np.ndarray | None:
        """y by name (whole numbers as such), or None."""
        if not self.classes or source.labels is None or source.classes is None:
            return None
        names = np.asarray(source.classes)
        if all(name.lstrip("-").isdigit() and str(int(name)) == name for name in source.classes):
            names = names.astype(np.int64)
        return np.asarray(names[source.labels])

    def conditions(self, source: Source) -> dict[str, Any] | None:
        """Conditions besides y: the captions as `text`, empty where there is none."""
        if not self.texts or source.captions is None:
            return None
        return {"text": [caption or "" for caption in source.captions]}

    def event_shape(self, source: Source) -> tuple[int, ...]:
        """Shape of one item inside the network: channels first."""
        shape = self.items(source).shape[1:]
        axis = -1 if self.images and len(shape) == 3 else self.channel_axis
        if axis == -1:
            return (shape[-1], *shape[:-1])
        return shape if axis == 1 or len(shape) == 1 else (1, *shape)

    def build(self, config: ModelConfig) -> DiffusionModel:
        """The estimator, not yet fitted."""
        options = {name: getattr(config, name) for name in type(config).model_fields}
        if self.images:
            return ImageDiffusion(**options)
        return DiffusionModel(channel_axis=self.channel_axis, **options)

    def check(self, config: ModelConfig, source: Source) -> None:
        """Find what is wrong with the options before anything long begins.

        Raises
        ------
        ConfigError
            If the network, process, solver or device cannot be made of the options.
        ShapeError
            If the items cannot be shrunk by `upscale`.
        """
        for name in ("steps", "minutes"):
            if name in config.training:
                other = "max_steps" if name == "steps" else name
                raise ConfigError(f"option training.{name}: the budget is set by --{name}, or {other} in the config.")
        if config.solver != "auto":
            solver_named(config.solver)
        process = EDM() if config.process == "auto" else process_from_dict(config.process)
        shape, kind = self.event_shape(source), Precondition(config.prediction)
        options = network_options(config.network, shape, len(source.items), process, kind)
        if options["kind"] == "per-step" and (self.classes or self.texts):
            flag = " ".join(f for f, on in (("--no-classes", self.classes), ("--no-texts", self.texts)) if on)
            raise ConfigError(
                "option network: one network per step takes no conditions, and the data have some. Leave them out "
                f"({flag}), or use one network: auto."
            )
        for name in ("upscale", "inpainting"):
            if getattr(config, name) and options["kind"] == "per-step":
                raise ConfigError(
                    f"option {name}: makes a condition, and one network per step takes none. Use one network: auto."
                )
        if config.inpainting and len(shape) < 3:
            raise ConfigError("option inpainting: expected items on a grid, got rows of numbers. Leave it out.")
        if config.upscale is not None:
            self.build(config)._shrunk(self.items(source)[:1], config.upscale)
        if isinstance(config.network, Mapping):
            with torch.random.fork_rng():
                networks.build(options)
        _check_device(config.device)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Reading:
        """What `to_dict` described."""
        resize = facts["resize"]
        return cls(**{**facts, "resize": resize and (resize[0], resize[1])})


def _like_images(items: np.ndarray) -> bool:
    if items.ndim not in (3, 4) or (items.ndim == 4 and items.shape[-1] > 4) or min(items.shape[1:3]) < 4:
        return False
    if items.dtype in (np.uint8, np.uint16):
        return True
    low, high = float(items.min()), float(items.max())
    return low >= 0 and (high <= 1 or bool((items == np.rint(items)).all()))


def _check_device(name: str) -> None:
    if name == "auto":
        return
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"option device: expected auto, cpu, cuda, cuda:1 or mps, got {name!r}.") from error
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not here.get(device.type, True):
        raise ConfigError(f"option device: torch finds no {device.type} device here. Use auto or cpu.")
