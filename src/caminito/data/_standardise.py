"""Per-channel standardisation, the one map that both codecs share.

    x = (X - mean_c) / std_c,    X = mean_c + std_c x,    log |dx/dX| = - sum over the values of an item of log std_c

Moments are summed in float64 over chunks and merged pairwise, so they are exact to rounding and need no float64 copy of
the data. Arithmetic is float32 for types that float32 holds exactly (8 and 16 bits) and float64, cast once, for others.
All functions take a *view* with the channels on axis 1; the codecs decide how an array is looked at.

Source: Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance", eq. 2.1 (merging of moments).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caminito._errors import DataError, NonFiniteError
from caminito.data._check import row_chunks

__all__ = ["Summary", "integer_limits", "restore", "standardise", "summarise"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """What one pass over the data tells: per channel mean, std (1 where constant), least and greatest value."""

    mean: Floats
    std: Floats
    low: Floats
    high: Floats
    whole: bool  # every value is an integer


def summarise(view: NDArray[Any]) -> Summary:
    """Moments and range of each channel of `view`, shape (n, C, ...).

    Raises
    ------
    DataError
        If the spread of a channel is beyond what float64 can square.
    """
    channels = view.shape[1]
    count = 0
    mean, squares = np.zeros(channels), np.zeros(channels)
    low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
    floating, whole = view.dtype.kind == "f", True
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for rows in row_chunks(len(view), view[:1].size):
            piece = np.moveaxis(view[rows], 1, 0).astype(np.float64, order="C").reshape(channels, -1)
            low, high = np.minimum(low, piece.min(1)), np.maximum(high, piece.max(1))
            whole = whole and not (floating and (piece != np.rint(piece)).any())
            size, centre = piece.shape[1], piece.mean(1)
            piece -= centre[:, None]
            total, shift = count + size, centre - mean
            squares += np.einsum("ci,ci->c", piece, piece) + shift**2 * (count * size / total)
            mean += shift * (size / total)
            count = total
        std = np.sqrt(squares / count)
    constant = low == high
    mean, std = np.where(constant, low, mean), np.where(constant, 1.0, std)
    bad = ~np.isfinite(mean) | ~np.isfinite(std) | (std <= 0)
    if bad.any():
        c = int(np.argmax(bad))
        raise DataError(
            f"channel {c}: expected a spread whose square float64 can hold, got values from {low[c]:g} to {high[c]:g}. "
            "Rescale the data (another unit) first."
        )
    return Summary(mean, std, low, high, whole)


def standardise(view: NDArray[Any], mean: Floats, std: Floats) -> Tensor:
    """Float32 tensor (n, C, ...), contiguous, of the standardised view.

    Raises
    ------
    DataError
        If a value is so far from the mean that float32 cannot hold it.
    """
    out = np.empty(view.shape, np.float32)
    work = _work_dtype(view.dtype)
    centre, scale = (_along_channels(v.astype(work), view.ndim) for v in (mean, std))
    try:
        with np.errstate(over="raise", under="ignore"):
            for rows in row_chunks(len(view), view[:1].size):
                piece = out[rows] if work == np.float32 else np.empty(out[rows].shape, work)
                np.subtract(view[rows], centre, out=piece, dtype=work)
                piece /= scale
                if work != np.float32:
                    out[rows] = piece
    except FloatingPointError as error:
        raise DataError(
            "X: expected values like the training data, got one more than 1e38 standard deviations from their mean. "
            "Give it in the unit of the training data."
        ) from error
    return torch.from_numpy(out)


def restore(
    x: Tensor, mean: Floats, std: Floats, *, into: NDArray[Any], bounds: tuple[float, float] | None, whole: bool
) -> None:
    """Write mean + std x, rounded if `whole` and clipped to `bounds`, into the view `into`.

    Raises
    ------
    NonFiniteError
        If x holds a NaN or an infinity.
    """
    values = x.detach().to("cpu", torch.float64 if x.dtype == torch.float64 else torch.float32).numpy()
    work = _work_dtype(into.dtype)
    centre, scale = (_along_channels(v.astype(work), values.ndim) for v in (mean, std))
    for rows in row_chunks(len(values), into[:1].size):
        piece = values[rows].astype(work)
        if not np.isfinite(piece).all():
            raise NonFiniteError(
                f"decode: expected finite values, got {int((~np.isfinite(piece)).sum())} NaN or infinite in items "
                f"{rows.start} to {rows.stop - 1}. The model or solver diverged; take more steps or train again."
            )
        piece *= scale
        piece += centre
        if whole:
            np.rint(piece, out=piece)
        if bounds is not None:
            np.clip(piece, *bounds, out=piece)
        into[rows] = piece


def integer_limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Least and greatest value of an integer (or boolean) dtype that float64 holds and that casts back safely."""
    if dtype.kind == "b":
        return 0.0, 1.0
    info = np.iinfo(dtype)
    high = float(info.max)
    return float(info.min), high if int(high) <= info.max else float(np.nextafter(high, 0.0))


def _work_dtype(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    return np.float32 if dtype.itemsize <= 2 else np.float64


def _along_channels(values: NDArray[Any], ndim: int) -> NDArray[Any]:
    return values.reshape(-1, *(1,) * (ndim - 2))
