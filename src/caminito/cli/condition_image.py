"""Images and arrays that samples are told of: what `sample --condition-image` gives a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caminito._errors import ConditionError, ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from caminito.estimators import DiffusionModel

__all__ = ["ConditionImage", "files_of", "read_items"]

ConditionImage = Annotated[
    list[str] | None,
    typer.Option(
        "--condition-image",
        metavar="[NAME=]FILE",
        help="An image file or .npy array to be told of, such as a small image to enlarge; NAME= where there are more.",
    ),
]

_COLORS: dict[int, Any] = {1: "grey", 3: "rgb", 4: "rgba"}


def files_of(model: DiffusionModel, asked: Sequence[str]) -> dict[str, Path]:
    """The file of each condition that is on a grid, of what was asked as FILE or NAME=FILE.

    Raises
    ------
    ConditionError
        If the model knows no such condition, or none of that name.
    ConfigError
        If it is not said which of several is meant, or one is given twice.
    """
    known = [name for name, column in model.conditions_.columns.items() if column.kind in ("field", "lowres")]
    if asked and not known:
        others = ", ".join(model.conditions_.columns) or "no conditions"
        raise ConditionError(
            "--condition-image: expected a run that was trained with arrays on the grid of its items or on a coarser "
            f"one, this one knows {others}. One that enlarges is trained with --set upscale=2."
        )
    files: dict[str, Path] = {}
    for text in asked:
        before, equals, after = text.partition("=")
        if equals and before in known:
            name, file = before, after
        elif equals and not Path(text).exists():
            raise ConditionError(
                f"--condition-image: condition {before!r} takes no image in this run. Known: {', '.join(known)}."
            )
        elif len(known) > 1:
            raise ConfigError(
                f"--condition-image: expected NAME=FILE, where NAME is one of {', '.join(known)}, got {text!r}."
            )
        else:
            name, file = known[0], text
        if name in files:
            raise ConfigError(f"--condition-image: {name!r} is given twice. Leave one of both out.")
        files[name] = Path(file)
    return files


def read_items(model: DiffusionModel, name: str, file: Path) -> np.ndarray:
    """What a file holds for a condition, as the model was told in training, with an axis of rows.

    An array is taken as it is. An image is taken in the colours of the data; where these are not bytes, black and white
    are the limits of the data, as in pictures of samples.

    Raises
    ------
    ConfigError
        If the file cannot be read, or holds something of another size.
    """
    import numpy as np

    from caminito.estimators.condition_columns import FieldColumn, LowresColumn

    column = model.conditions_.columns[name]
    assert isinstance(column, FieldColumn | LowresColumn)
    shape = tuple(column.codec.to_dict()["item_shape"])
    if file.suffix.lower() != ".npy":
        return _image(model, column, shape, file)[None]
    try:
        array = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"--condition-image {file}: expected a file written by numpy.save ({error}).") from error
    if array.shape == shape:
        return array[None]
    if array.shape[1:] != shape or not len(array):
        raise ConfigError(
            f"--condition-image {file}: expected an array of shape {shape} for {name!r}, or (n, "
            f"{', '.join(map(str, shape))}) for n samples, got {array.shape}. Resize it first."
        )
    return array


def _image(model: DiffusionModel, column: Any, shape: tuple[int, ...], file: Path) -> np.ndarray:
    from caminito.data import ImageCodec, read_image

    codec = column.codec
    color = _COLORS.get(codec.event_shape[0]) if isinstance(codec, ImageCodec) else None
    if color is None:
        raise ConfigError(
            f"--condition-image {file}: expected a .npy array of shape {shape} for {column.name!r}, which has no image "
            "files, got another file."
        )
    try:
        image = read_image(file, color=color)
    except (DataError, ConfigError) as error:
        raise ConfigError(f"--condition-image: {error}") from error
    if image.shape[:2] != shape[:2]:
        sizes = [" x ".join(map(str, size)) for size in (shape[:2], image.shape[:2])]
        raise ConfigError(
            f"--condition-image {file}: expected an image of {sizes[0]} (height x width) for {column.name!r}, got "
            f"{sizes[1]}. Resize it first."
        )
    whole = model.codec_ if column.kind == "lowres" and isinstance(model.codec_, ImageCodec) else codec
    return _in_units(image.reshape(shape), codec.dtype, whole.limits, codec.quantum, file)


def _in_units(
    image: np.ndarray, dtype: np.dtype[Any], limits: tuple[float, float] | None, quantum: float | None, file: Path
) -> np.ndarray:
    """Pixels as values of the data."""
    import numpy as np

    pixels = ("uint8", "uint16")
    if image.dtype == dtype or image.dtype.kind == dtype.kind == "f":
        return image
    if image.dtype.name not in pixels or limits is None or not (dtype.kind == "f" or dtype.name in pixels):
        raise ConfigError(
            f"--condition-image {file}: expected values of {dtype}, as in the data, got an image of {image.dtype}. "
            "Give a .npy array."
        )
    low, high = limits
    values = low + image.astype(np.float64) * ((high - low) / np.iinfo(image.dtype).max)
    return (values if quantum is None else np.rint(values)).astype(dtype)
