"""Arrays on disk: .npy, .npz and IDX (the format of MNIST), plain or gzipped.

Every header is read and its size compared with the file and with the cap before memory is taken, so a small file that
promises a huge array is refused for what it says. Nothing is unpickled.
"""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from caminito._errors import DataError
from caminito.data._contents import Contents

__all__ = ["is_idx", "read_idx", "read_npy", "read_npz"]

_ITEM_KEYS = ("x", "X", "images", "data", "arr_0")
_LABEL_KEYS = ("y", "labels", "label")
_CAPTION_KEYS = ("captions", "caption", "text")
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DEFLATE_RATIO = 1032  # the most that deflate can shrink a file; Source: zlib technical details


def read_npy(path: Path, max_bytes: int) -> Contents:
    """The array of a .npy file."""
    with path.open("rb") as file:
        return Contents("npy", _read_npy_stream(file, path.stat().st_size, str(path), max_bytes))


def read_npz(path: Path, max_bytes: int) -> Contents:
    """Items of a .npz file (x, X, images, data, arr_0), its labels (y, labels, label) and captions (captions, text)."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {i.filename.removesuffix(".npy"): i for i in archive.infolist() if i.filename.endswith(".npy")}

            def read(key: str) -> NDArray[Any]:
                with archive.open(entries[key]) as file:
                    return _read_npy_stream(file, entries[key].file_size, f"{path}, array {key!r}", max_bytes)

            def shape(key: str) -> tuple[int, ...]:
                with archive.open(entries[key]) as file:
                    return _npy_header(file, f"{path}, array {key!r}")[0]

            key = _items_key(path, {name: shape(name) for name in entries})
            contents = Contents("npz", read(key), facts={"array": key})
            count = len(contents.items) if contents.items.ndim else 0
            if label_key := next((k for k in _LABEL_KEYS if k in entries and k != key), None):
                named_x = key in ("x", "X") or not {"x", "X"} & set(entries)
                if shape(label_key) == (count,):
                    contents.labels = read(label_key)
                elif named_x:
                    raise DataError(
                        f"{path}: expected {count} labels in array {label_key!r}, one per item of {key!r}, got shape "
                        f"{shape(label_key)}."
                    )
                else:
                    contents.notes.append(
                        f"arrays 'x' and {label_key!r} are taken for coordinates of {key!r}, not for labels"
                    )
            if text_key := next((k for k in _CAPTION_KEYS if k in entries and shape(k) == (count,)), None):
                captions = read(text_key)
                if captions.dtype.kind == "U":
                    contents.captions = [str(caption) for caption in captions]
            return contents
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{path}: expected an archive written by numpy.savez, got a damaged one ({error}).") from error


def _items_key(path: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    known = [key for key in _ITEM_KEYS if key in shapes]
    if known:
        return next((key for key in known if len(shapes[key]) >= 2), known[0])
    others = [key for key in shapes if key not in (*_LABEL_KEYS, *_CAPTION_KEYS)]
    if len(others) == 1:
        return others[0]
    found = ", ".join(f"{key} {shape}" for key, shape in shapes.items()) or "no array"
    raise DataError(
        f"{path}: expected the items under one of the keys {', '.join(_ITEM_KEYS)}, found {found}. "
        "Save them again with numpy.savez(path, x=items, y=labels)."
    )


def _npy_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype and length of the header of a .npy stream."""
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    except (ValueError, EOFError) as error:
        raise DataError(f"{name}: expected a file written by numpy.save, got something else ({error}).") from error
    return shape, dtype, file.tell()


def _read_npy_stream(file: IO[bytes], available: int, name: str, max_bytes: int) -> NDArray[Any]:
    shape, dtype, start = _npy_header(file, name)
    if dtype.hasobject:
        raise DataError(
            f"{name}: expected numbers, got Python objects, which can only be read by running code from the file. "
            "Save it again as an array of numbers."
        )
    needed = math.prod(shape) * dtype.itemsize
    _refuse_large(name, shape, needed, max_bytes)
    if needed > available - start:
        raise DataError(
            f"{name}: its header promises {needed} bytes of shape {shape}, but only {available - start} are there. "
            "The file was cut; copy it again."
        )
    file.seek(0)
    try:
        array = npy.read_array(file, allow_pickle=False)
    except ValueError as error:
        raise DataError(f"{name}: the file was cut or altered ({error}). Copy it again.") from error
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def is_idx(path: Path) -> bool:
    """Whether the file, or what its gzip holds, starts like IDX: two zero bytes, a type, a rank."""
    try:
        with _open(path) as file:
            head = file.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in _IDX_TYPES and 1 <= head[3] <= 8


def read_idx(path: Path, max_bytes: int) -> Contents:
    """Items of an IDX file and the labels of the file named beside it (images-idx3 becomes labels-idx1).

    Source: the format is described on the page of MNIST, LeCun, Cortes, Burges.
    """
    items = _read_idx_array(path, max_bytes)
    if items.ndim == 1:
        raise DataError(
            f"{path}: expected items (images), got {len(items)} single numbers, which look like labels. "
            "Give the file of images; the labels beside it are found by name."
        )
    contents = Contents("idx", items)
    beside = _labels_beside(path)
    if beside is not None:
        labels = _read_idx_array(beside, max_bytes)
        if labels.shape != items.shape[:1]:
            raise DataError(f"{beside}: expected {len(items)} labels, one per item of {path.name}, got {labels.shape}.")
        contents.labels = labels
        contents.facts["labels_file"] = beside.name
    return contents


def _labels_beside(path: Path) -> Path | None:
    stem = path.name.removesuffix(".gz")
    for dash in "-.":
        if f"images{dash}idx" in stem:
            head, _, tail = stem.partition(f"images{dash}idx")
            for name in (f"{head}labels{dash}idx1{tail[1:]}", f"{head}labels{dash}idx1{tail[1:]}.gz"):
                if (path.parent / name).is_file():
                    return path.parent / name
    return None


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if gzipped else path.open("rb")  # type: ignore[return-value]


def _read_idx_array(path: Path, max_bytes: int) -> NDArray[Any]:
    if not is_idx(path):
        raise DataError(f"{path}: expected an IDX file (two zero bytes, type, rank), got another or damaged one.")
    try:
        with _open(path) as file:
            head = file.read(4)
            sizes = file.read(4 * head[3])
            if len(sizes) < 4 * head[3]:
                raise EOFError("its header is cut")
            shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
            dtype = np.dtype(_IDX_TYPES[head[2]])
            needed = math.prod(shape) * dtype.itemsize
            _refuse_large(str(path), shape, needed, max_bytes)
            if needed > _DEFLATE_RATIO * path.stat().st_size:
                raise EOFError(f"its header promises {needed} bytes, more than {path.stat().st_size} bytes can hold")
            array = np.empty(shape, dtype)
            got = file.readinto(array.reshape(-1).view(np.uint8).data) if needed else 0  # type: ignore[attr-defined]
            if got < needed:
                raise EOFError(f"its header promises {needed} bytes, {got} are there")
            if file.read(1):
                raise EOFError(f"there are more bytes than the {needed} its header promises")
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path}: expected a whole IDX file of shape and data that agree; {error}. Copy it again."
        ) from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _refuse_large(name: str, shape: tuple[int, ...], needed: int, max_bytes: int) -> None:
    if needed > max_bytes:
        raise DataError(
            f"{name}: its header says shape {shape}, {needed / 2**30:.1f} GiB, more than the "
            f"{max_bytes / 2**30:.1f} GiB allowed (max_bytes); nothing was read. Take a part of it, or raise max_bytes."
        )
