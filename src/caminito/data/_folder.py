"""A folder of images, with what lies beside them: class subfolders, metadata.csv, captions.

Two passes. The first reads headers only: it refuses files that are not images or have more pixels than allowed before a
single pixel is decoded, and settles size, colour and depth for the whole folder. The second decodes, several files at
once, straight into the array that is returned. A file that fails in either pass is listed with its reason and skipped.
"""

from __future__ import annotations

import csv
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from caminito._errors import ConfigError, DataError
from caminito.data._contents import Contents, listing
from caminito.data._resize import fit_image

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "Color", "read_folder", "read_image"]

Color = Literal["auto", "grey", "rgb", "rgba"]

MAX_PIXELS = 64_000_000
"""Pixels of the largest image file that `open_source` and `read_image` decode unless told otherwise."""

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # decoders that run no other program
_DEPTHS = {"I;16": "uint16", "I;16B": "uint16", "I;16L": "uint16", "I;16N": "uint16", "I": "int32", "F": "float32"}
_GREY_MODES = {"1", "L", "LA", *_DEPTHS}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MODES = {"grey": "L", "rgb": "RGB", "rgba": "RGBA"}
_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


@dataclass(frozen=True)
class _Header:
    size: tuple[int, int]  # (height, width) as seen, after the camera's orientation
    turn: Image.Transpose | None
    grey: bool
    alpha: bool
    depth: str
    reduced: bool  # 16-bit colour, which the decoder gives back with 8 bits


def read_folder(
    root: Path,
    *,
    size: tuple[int, int] | None,
    max_pixels: int,
    max_bytes: int,
    max_bad: float,
    color: Color,
    progress: Callable[[int, int], None] | None,
) -> Contents:
    """All images under `root`, in the order of their sorted paths.

    Raises
    ------
    DataError
        If there is no image, too many are bad, sizes or depths differ, or the array would exceed `max_bytes`.
    """
    if color not in ("auto", *_MODES):
        raise ConfigError(f"color: expected 'auto', 'grey', 'rgb' or 'rgba', got {color!r}.")
    files, others = _walk(root)
    if not files:
        raise DataError(_no_images(root, others))
    total, done = 2 * len(files), 0
    headers: dict[Path, _Header] = {}
    failed: dict[Path, str] = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the cap on pixels is our own
        for file, found in zip(files, pool.map(lambda f: _attempt(_header, f, max_pixels), files)):
            if isinstance(found, _Header):
                headers[file] = found
            else:
                failed[file] = found
            done += 1
            if progress is not None:
                progress(done, total)
        _refuse_many(root, failed, len(files), max_bad)
        target, height_width, dtype = _common(root, headers, size, color)
        shape = (len(headers), *height_width, *(() if target == "grey" else (len(_MODES[target]),)))
        needed = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if needed > max_bytes:
            raise DataError(
                f"{root}: {shape[0]} images of {height_width[0]}x{height_width[1]} need {needed / 2**30:.1f} GiB, more "
                f"than the {max_bytes / 2**30:.1f} GiB allowed (max_bytes). Pass --resize 64 (in Python resize=64), or "
                "raise max_bytes."
            )
        items = np.empty(shape, dtype)
        done = total - len(headers)
        kept = np.ones(len(headers), dtype=bool)
        jobs = pool.map(
            lambda job: _attempt(_decode, job[1][0], job[1][1], target, height_width, items[job[0]]),
            enumerate(headers.items()),
        )
        for row, (file, reason) in enumerate(zip(list(headers), jobs)):
            if reason is not None:
                failed[file], kept[row] = reason, False
            done += 1
            if progress is not None:
                progress(done, total)
    _refuse_many(root, failed, len(files), max_bad)
    good = [file for file, keep in zip(headers, kept) if keep]
    contents = Contents("folder", items if kept.all() else items[kept])
    contents.bad = [(f.relative_to(root).as_posix(), failed[f]) for f in files if f in failed]
    contents.facts = {
        "color": target,
        "sizes": _size_counts(headers[f].size for f in good),
        "resized": None if size is None else list(size),
        "other_files": dict(sorted(others.items())),
    }
    if size is not None and (smaller := sum(h.size[0] < size[0] or h.size[1] < size[1] for h in headers.values())):
        contents.notes.append(f"{smaller} images are smaller than {size[0]}x{size[1]} and were enlarged")
    if reduced := sum(h.reduced for h in headers.values()):
        contents.notes.append(f"{reduced} colour images of 16 bits per channel were read with 8 bits")
    _read_beside(root, good, contents)
    return contents


def read_image(path: str | Path, *, color: Color = "auto", max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """One image file, turned as its camera says.

    Parameters
    ----------
    path : str or Path
    color : {"auto", "grey", "rgb", "rgba"}
        "auto": RGBA if it has an alpha channel or a transparent colour, else grey if it is grey, else RGB. A named
        colour converts; "grey" and "rgb" drop alpha.
    max_pixels : int
        A file whose header says more is not decoded.

    Returns
    -------
    array (height, width), or (height, width, 3 or 4) in colour
        uint8; of grey images with more depth uint16, int32 or float32.

    Raises
    ------
    DataError
        If there is no such file, it cannot be decoded, or has too many pixels.
    ConfigError
        If the colour is unknown, or more than an image of such depth has.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (3, 2), (255, 0, 0)).save(f"{folder}/red.png")
    ...     read_image(f"{folder}/red.png").shape
    (2, 3, 3)
    """
    path = Path(path)
    if color not in ("auto", *_MODES):
        raise ConfigError(f"color: expected 'auto', 'grey', 'rgb' or 'rgba', got {color!r}.")
    if not path.exists():
        raise DataError(f"{path}: expected an image file, there is nothing at this path. Check the spelling.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the cap on pixels is our own
        header = _attempt(_header, path, max_pixels)
        if not isinstance(header, _Header):
            raise DataError(f"{path}: expected an image file, this one cannot be read: {header}.")
        target, size, dtype = _common(path, {path: header}, None, color)
        out = np.empty((*size, *(() if target == "grey" else (len(_MODES[target]),))), dtype)
        if (reason := _attempt(_decode, path, header, target, size, out)) is not None:
            raise DataError(f"{path}: expected an image file, this one cannot be read: {reason}.")
    return out


def _walk(root: Path) -> tuple[list[Path], Counter[str]]:
    files: list[Path] = []
    others: Counter[str] = Counter()
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(s for s in subfolders if not s.startswith(".") and s != "__MACOSX")
        for name in names:
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() in IMAGE_SUFFIXES:
                files.append(path)
            else:
                others[path.suffix.lower() or name] += 1
    return sorted(files, key=lambda f: f.relative_to(root).as_posix()), others


def _no_images(root: Path, others: Counter[str]) -> str:
    found = ", ".join(f"{count} {kind}" for kind, count in others.most_common(5)) or "an empty folder"
    arrays = sorted(f.name for f in root.iterdir() if f.suffix in (".npy", ".npz") or "idx3" in f.name)
    advice = (
        f"Give one of its data files instead: {', '.join(arrays[:5])}."
        if arrays
        else "Put images there, or give another path."
    )
    return f"{root}: expected images ({', '.join(IMAGE_SUFFIXES)}), found {found}. {advice}"


def _attempt(work: Callable[..., Any], path: Path, *rest: Any) -> Any:
    try:
        return work(path, *rest)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return "empty file" if path.stat().st_size == 0 else "not an image, whatever its name says"
    except Image.DecompressionBombError:
        return "more pixels than the decoder accepts, whatever --max-pixels (max_pixels) says"
    except Exception as error:  # a damaged file can make a decoder raise anything; the file is listed, not hidden
        return f"damaged or cut ({str(error) or type(error).__name__})"


def _header(path: Path, max_pixels: int) -> _Header | str:
    if not path.is_file():
        return "not a file (a broken link or a pipe)"
    with Image.open(path, formats=_FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            pixels = width * height
            return (
                f"{height}x{width} = {pixels} pixels, more than the {max_pixels} allowed; not decoded. "
                f"Pass --max-pixels {pixels} (in Python max_pixels={pixels}) to read it"
            )
        orientation = 1 if image.format == "TIFF" else _orientation(image)  # Pillow turns TIFF by itself
        mode = image.mode
        return _Header(
            size=(width, height) if orientation >= 5 else (height, width),
            turn=_TURNS.get(orientation),
            grey=mode in _GREY_MODES,
            alpha=image.has_transparency_data,
            depth=_DEPTHS.get(mode, "uint8"),
            reduced=mode not in _DEPTHS and any("16" in str(tile.args) for tile in image.tile),
        )


def _orientation(image: Image.Image) -> int:
    block = image.info.get("exif")
    if block is None:
        return 1
    exif = Image.Exif()
    try:
        exif.load(block)
        orientation = int(exif.get(ExifTags.Base.Orientation, 1))
        return orientation if orientation in _TURNS else 1
    except Exception:  # an unreadable camera block leaves the image as it is stored
        return 1


def _decode(path: Path, header: _Header, target: str, size: tuple[int, int], out: NDArray[Any]) -> str | None:
    with Image.open(path, formats=_FORMATS) as opened:
        opened.load()
        image: Image.Image = opened
        if header.turn is not None:
            image = image.transpose(header.turn)
        if (image.height, image.width) != header.size:
            return f"decodes to {image.height}x{image.width}, but its header says {header.size[0]}x{header.size[1]}"
        if header.depth == "uint8" and image.mode != _MODES[target]:
            if image.mode == "P" and target == "rgb":
                image = image.convert("RGBA")  # applies a transparent palette entry before dropping alpha
            image = image.convert(_MODES[target])
        if (image.height, image.width) != size:
            if header.depth == "uint8":
                image = fit_image(image, size)
            else:
                plane = np.asarray(image).astype(np.float32)
                fitted = np.asarray(fit_image(Image.fromarray(plane), size)).astype(np.float64)
                low, high = (plane.min(), plane.max())
                out[...] = fitted if header.depth == "float32" else np.clip(np.rint(fitted), low, high)
                return None
        out[...] = np.asarray(image)
    return None


def _refuse_many(root: Path, failed: dict[Path, str], total: int, max_bad: float) -> None:
    if not failed:
        return
    entries = sorted((f.relative_to(root).as_posix(), reason) for f, reason in failed.items())
    if len(failed) == total:
        raise DataError(f"{root}: none of the {total} images can be read:\n{listing(entries)}\nGive another folder.")
    if len(failed) > max_bad * total:
        raise DataError(
            f"{root}: {len(failed)} of {total} images cannot be read, more than {max_bad:.0%}:\n{listing(entries)}\n"
            "Repair or remove them, then try again."
        )


def _common(
    root: Path, headers: dict[Path, _Header], size: tuple[int, int] | None, color: Color
) -> tuple[str, tuple[int, int], np.dtype[Any]]:
    found = list(headers.values())
    depths = Counter(h.depth for h in found)
    if len(depths) > 1:
        raise DataError(
            f"{root}: expected images of one depth, found "
            + ", ".join(f"{count} of {depth}" for depth, count in depths.most_common())
            + ". Convert them to one depth first."
        )
    target: str = color
    if color == "auto":
        target = "rgba" if any(h.alpha for h in found) else "grey" if all(h.grey for h in found) else "rgb"
    depth = next(iter(depths))
    if depth != "uint8" and target != "grey":
        if color != "auto":
            raise ConfigError(f"{root}: images of {depth} are greyscale; color={color!r} needs 8 bits per channel.")
        target = "grey"
    sizes = Counter(h.size for h in found)
    if size is None and len(sizes) > 1:
        side = min(min(s) for s in sizes)
        top = ", ".join(f"{s[0]}x{s[1]} ({count})" for s, count in sizes.most_common(5))
        more = f" and {len(sizes) - 5} more" if len(sizes) > 5 else ""
        raise DataError(
            f"{root}: expected images of one size, found {len(sizes)} sizes (height x width): {top}{more}. "
            f"Pass --resize {side} for squares or --resize HEIGHTxWIDTH such as --resize 32x48 "
            f"(in Python resize={side} or resize=(32, 48)): the shorter side is scaled and the middle is kept."
        )
    return target, size or next(iter(sizes)), np.dtype(depth)


def _size_counts(sizes: Iterator[tuple[int, int]]) -> dict[str, int]:
    return {f"{s[0]}x{s[1]}": count for s, count in Counter(sizes).most_common(20)}


def _read_beside(root: Path, files: list[Path], contents: Contents) -> None:
    """Labels and captions, in this order of trust: metadata.csv, then subfolders and .txt files."""
    names = [f.relative_to(root).as_posix() for f in files]
    parents = [name.split("/")[0] if "/" in name else "" for name in names]
    classes = set(parents)
    if "" not in classes and len(classes) >= 2:
        if {c.lower() for c in classes} <= _SPLITS:
            contents.notes.append(f"subfolders {', '.join(sorted(classes))} look like splits, not classes: no labels")
        else:
            contents.labels = np.array(parents)
    captions = [_caption(file) for file in files]
    if any(caption is not None for caption in captions):
        contents.captions = captions
    if (root / "metadata.csv").is_file():
        _read_metadata(root / "metadata.csv", names, contents)


def _caption(image: Path) -> str | None:
    path = image.with_suffix(".txt")
    if not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a caption in UTF-8, got other bytes ({error}). Save it as UTF-8.") from error


def _read_metadata(path: Path, names: list[str], contents: Contents) -> None:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = set(reader.fieldnames or ())
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV table in UTF-8 ({error}).") from error
    if "file_name" not in columns or not columns & {"text", "label"}:
        raise DataError(
            f"{path}: expected columns file_name and text or label, got {', '.join(sorted(columns)) or 'none'}. "
            "Rename the columns, or remove the file."
        )
    table = {(row["file_name"] or "").replace("\\", "/").removeprefix("./"): row for row in rows}
    if absent := sorted(set(table) - set(names)):
        contents.notes.append(f"metadata.csv names {len(absent)} images that were not read, first {absent[0]}")
    if "text" in columns:
        contents.captions = [(table.get(name) or {}).get("text") for name in names]
    if "label" in columns:
        labels = [(table.get(name) or {}).get("label") or "" for name in names]
        if missing := [name for name, label in zip(names, labels) if not label]:
            raise DataError(
                f"{path}: expected a label for each of {len(names)} images, {len(missing)} have none, first "
                f"{missing[0]}. Add the rows, or remove the column."
            )
        contents.labels = np.array(labels)
