"""Pictures as PNG files that carry the recipe they were made by: run, seed, steps, solver."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from caminito._errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["png_bytes", "read_recipe"]


def png_bytes(picture: NDArray[np.uint8] | Figure, text: Mapping[str, str] | None = None) -> bytes:
    """A picture as the content of a PNG file, with its recipe in text chunks.

    Parameters
    ----------
    picture : uint8 array, shape (height, width) or (height, width, 1 | 3 | 4), or Figure
        Pixels are kept exactly; a figure is drawn at its own resolution.
    text : mapping of str to str, optional
        The recipe; any language (tEXt chunks, iTXt where Latin-1 does not suffice).

    Returns
    -------
    bytes
        The same for the same input.

    Raises
    ------
    DataError
        If the array is no picture, or a key of the recipe is not 1 to 79 Latin-1 characters.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (1,), (3,), (4,)):
            raise DataError(
                f"picture: expected uint8 of shape (height, width) or (height, width, 1 | 3 | 4), got {picture.dtype} "
                f"of shape {picture.shape}. `tile` makes one of images."
            )
        image = Image.fromarray(picture[..., 0] if picture.shape[2:] == (1,) else np.ascontiguousarray(picture))
    else:
        drawn = io.BytesIO()
        picture.savefig(drawn, format="png", metadata={"Software": None})
        image = Image.open(drawn).convert("RGB")
    info = PngInfo()
    for key, value in (text or {}).items():
        if not 1 <= len(key) <= 79 or any(ord(letter) > 255 for letter in key):
            raise DataError(f"text: expected keys of 1 to 79 Latin-1 characters, got {key!r}. Shorten it.")
        info.add_text(key, value)
    out = io.BytesIO()
    image.save(out, format="PNG", pnginfo=info, optimize=False)
    return out.getvalue()


def read_recipe(path: str | Path) -> dict[str, str]:
    """The recipe that `png_bytes` stored in a PNG file; empty if there is none.

    Raises
    ------
    DataError
        If the file cannot be read as a PNG.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngImageFile

    try:
        with Image.open(path, formats=["PNG"]) as image:
            if not isinstance(image, PngImageFile):
                raise DataError(f"{path}: expected a PNG file.")
            return {key: str(value) for key, value in image.text.items()}
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{path}: expected a readable PNG file ({error}). Give the file that `sample` wrote."
        ) from error
