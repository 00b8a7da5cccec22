"""What a path holds: items, labels, captions, the files that could not be read, and plain facts about all of it.

`open_source` understands

    digits                        scikit-learn's 8x8 digits (the word, without a path; nothing is downloaded)
    a folder of images            PNG, JPEG, WebP, TIFF, BMP, GIF, PPM, in subfolders too. If images are only in
                                  subfolders, of which there are two or more, the first level names the classes;
                                  metadata.csv (file_name with text or label) and captions (.txt beside) are read
    .npy, .npz                    items first; keys x, X, images, data or arr_0, labels y or labels
    IDX, plain or .gz             the format of MNIST, with its labels file beside it

and repairs nothing: what it left out or took for something is in `bad` and `facts["notes"]`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caminito._errors import DataError
from caminito.data._arrays import is_idx, read_idx, read_npy, read_npz
from caminito.data._check import as_array, check_learnable, row_chunks
from caminito.data._contents import Contents, class_numbers
from caminito.data._folder import IMAGE_SUFFIXES, MAX_PIXELS, Color, read_folder
from caminito.data._resize import fit_array, target_size
from caminito.data._table_file import is_table
from caminito.data.datasets import load_digits

__all__ = ["MAX_PIXELS", "Source", "describe_source", "open_source"]

_READS = "the word digits, a folder of images, .npy, .npz, or IDX files (.gz too)"
_TABLES = "tables are .csv, .tsv, .txt (.gz too), .parquet and .feather"


@dataclass(frozen=True, eq=False)
class Source:
    """Data in memory and what is known of them.

    Attributes
    ----------
    kind : str
        "digits", "folder", "npy", "npz" or "idx".
    items : array (n, ...)
        All items, of one shape; images are (n, H, W) or (n, H, W, C).
    labels : int64 array (n,) or None
        Class number of each item, an index into `classes`.
    classes : list of str or None
        Names of the classes, sorted.
    captions : list of str or None, or None
        Text of each item, where any has one.
    bad : list of (file, reason)
        Files that were skipped.
    facts : dict
        Plain JSON values: count, item_shape, dtype, range, class_counts, small_classes, notes, fingerprint, ...
    """

    kind: str
    items: NDArray[Any]
    labels: NDArray[np.int64] | None
    classes: list[str] | None
    captions: list[str | None] | None
    bad: list[tuple[str, str]]
    facts: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of items, labels, classes and captions: equal data have equal fingerprints, whatever their files."""
        return str(self.facts["fingerprint"])


def open_source(
    path: str | Path,
    *,
    resize: int | tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = 8 * 2**30,
    max_bad: float = 0.01,
    color: Color = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Read everything at `path` into memory; see the module's page for what is understood.

    Parameters
    ----------
    path : str or Path
        A path, or the word "digits" (a folder of that name is "./digits", or a Path).
    resize : int or (height, width), optional
        Scale every image until it just covers this size (an int means a square: the shorter side gets that length),
        keep the middle; bicubic, antialiased.
    max_pixels : int
        A file whose header says more is bad; it is never decoded. Pillow itself ends at 178 956 970.
    max_bytes : int
        The largest array that is made; larger ones are refused from their headers.
    max_bad : float
        Largest fraction of unreadable files in a folder that is skipped rather than refused.
    color : {"auto", "grey", "rgb", "rgba"}
        "auto": RGBA if any image has an alpha channel or a transparent colour, else grey if all are grey, else RGB.
        A named colour converts; "grey" and "rgb" drop alpha. Only for folders.
    progress : callable(done, total), optional
        Called from this thread after each file of a folder; headers and pixels count as one step each.

    Raises
    ------
    DataError
        If the path is absent, of unknown kind, empty, holds fewer than two items, NaN, or only identical items; if
        sizes differ and `resize` is not given; if too many files are bad.
    ConfigError
        If an option has an impossible value.
    """
    size = target_size(resize)
    if str(path) == "digits" and (isinstance(path, str) or not path.exists()):
        images, digit = load_digits()
        contents = Contents("digits", images, labels=digit)
    else:
        path = Path(path).expanduser()
        contents = _read(path, size, max_pixels, max_bytes, max_bad, color, progress)
    name = str(path)
    items = as_array(contents.items, name=name)
    check_learnable(items, name=name)
    if size is not None and contents.kind != "folder":
        contents.facts["sizes"] = {"x".join(map(str, items.shape[1:3])): len(items)}
        items = fit_array(items, size)
        contents.facts["resized"] = list(size)
        check_learnable(items, name=name)
    return _describe(name, items, contents)


def describe_source(source: Source) -> dict[str, Any]:
    """What data.json says of a source: its facts, the files skipped (all of them), and three captions as examples."""
    captions = [caption for caption in source.captions or () if caption]
    return {
        **source.facts,
        "bad": [{"file": file, "reason": reason} for file, reason in source.bad],
        "caption_examples": captions[:3],
    }


def _read(
    path: Path,
    size: tuple[int, int] | None,
    max_pixels: int,
    max_bytes: int,
    max_bad: float,
    color: Color,
    progress: Callable[[int, int], None] | None,
) -> Contents:
    if not path.exists():
        raise DataError(f"{path}: expected {_READS}; there is nothing at this path. Check the spelling.")
    if path.is_dir():
        return read_folder(
            path, size=size, max_pixels=max_pixels, max_bytes=max_bytes, max_bad=max_bad, color=color, progress=progress
        )
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_npy(path, max_bytes)
    if suffix == ".npz":
        return read_npz(path, max_bytes)
    if suffix in IMAGE_SUFFIXES:
        raise DataError(f"{path}: expected {_READS}, got a single image. Give the folder it lies in.")
    if is_idx(path):
        return read_idx(path, max_bytes)
    if is_table(path):
        raise DataError(f"{path}: expected {_READS}, got a table. Read it with `read_table` and fit a TableDiffusion.")
    raise DataError(f"{path}: expected {_READS}, got a file of unknown kind {suffix or path.name!r}; {_TABLES}.")


def _describe(name: str, items: NDArray[Any], contents: Contents) -> Source:
    labels, classes, counts = None, None, None
    if contents.labels is not None:
        numbered = class_numbers(contents.labels)
        if numbered is None:
            contents.notes.append("the labels are a continuous quantity: not read as classes")
        else:
            labels, classes = numbered
            counts = dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist()))
    if items.ndim == 4 and items.shape[-1] > 4 and items.shape[1] <= 4:
        contents.notes.append(
            "channels seem to come second; images are read with channels last (numpy.moveaxis(x, 1, -1))"
        )
    facts = {
        "kind": contents.kind,
        "path": name,
        "count": len(items),
        "item_shape": list(items.shape[1:]),
        "dtype": items.dtype.name,
        "bytes": int(items.nbytes),
        "range": [items.min().item(), items.max().item()],
        "class_counts": counts,
        "small_classes": [c for c, n in (counts or {}).items() if n < 2],
        "captions": sum(caption is not None for caption in contents.captions or ()),
        "bad_count": len(contents.bad),
        **contents.facts,
        "notes": contents.notes,
        "fingerprint": _fingerprint(items, labels, classes, contents.captions),
    }
    return Source(contents.kind, items, labels, classes, contents.captions, contents.bad, facts)


def _fingerprint(
    items: NDArray[Any], labels: NDArray[np.int64] | None, classes: list[str] | None, captions: list[str | None] | None
) -> str:
    beside = {"labels": None if labels is None else labels.tolist(), "classes": classes, "captions": captions}
    head = {"shape": items.shape, "dtype": items.dtype.name, **beside}
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    portable = items.dtype.newbyteorder("<")
    for rows in row_chunks(len(items), items[:1].size):
        digest.update(np.ascontiguousarray(items[rows], dtype=portable).data)
    return digest.hexdigest()
