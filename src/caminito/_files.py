"""Files that appear whole or not at all, and tensors on disk that never run code.

A write goes to a temporary file beside its target, is flushed to the disk, and then takes the target's name: a full
disk or a killed process leaves the previous file as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor

from caminito._errors import RunError, StorageError

__all__ = ["checksum", "read_json", "read_tensors", "write_atomic", "write_json", "write_tensors"]


def write_atomic(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    Raises
    ------
    StorageError
        If the disk is full or the folder cannot be written; the previous file is intact.
    """
    path = Path(path)
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink(missing_ok=True)
        raise StorageError(
            error.errno,
            f"could not write {path}: {error.strerror}. What was saved there before is intact; "
            "free some space or choose another folder, then resume.",
        ) from error


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON; arrays become lists, paths become strings."""
    write_atomic(path, (json.dumps(value, indent=2, default=_plain, allow_nan=True) + "\n").encode())


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    RunError
        If the file is absent or is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"expected a file {path}, found none. Give the folder that `train` or `save` wrote.") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise RunError(
            f"{path} is not valid JSON ({error}). The file was altered or cut; restore it from a copy."
        ) from error


def checksum(content: bytes) -> str:
    """SHA-256 of `content`, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], write: Callable[[str | Path, bytes], None] = write_atomic
) -> str:
    """Write named tensors as safetensors; returns the checksum of the file."""
    content = save_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    write(path, content)
    return checksum(content)


def read_tensors(path: str | Path, expected: str | None = None) -> dict[str, Tensor]:
    """Read named tensors, on the CPU.

    Raises
    ------
    RunError
        If the file is absent, cut, or its checksum is not `expected`.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise RunError(f"expected a file {path}, found none. The model folder is not complete.") from error
    if expected is not None and checksum(content) != expected:
        raise RunError(
            f"{path} does not have the checksum that its manifest records: the file was cut or altered after it was "
            "saved. Restore it from a copy, or train again."
        )
    try:
        return load_bytes(content)
    except (SafetensorError, ValueError) as error:
        raise RunError(f"{path} is not a complete safetensors file ({error}). Restore it from a copy.") from error
