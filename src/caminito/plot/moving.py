"""Pictures that move: paths and images on their way from noise to data, as GIF files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError, DataError, ShapeError
from caminito.plot import style
from caminito.plot.arrays import Values, checked
from caminito.plot.images import tile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["gif_bytes", "moving_images", "moving_paths"]

Frame = NDArray[np.uint8]

_MOST = 200  # paths drawn
_TAIL = 12  # frames behind a point that are still seen


def gif_bytes(
    frames: Iterable[NDArray[np.uint8] | Figure], *, fps: float = 20.0, hold: float = 1.5, loop: bool = True
) -> bytes:
    """Frames as the content of a GIF file.

    Parameters
    ----------
    frames : iterable of uint8 arrays, shape (height, width) or (height, width, 3), or of Figures
        All of one size.
    fps : float
        Frames a second; GIF counts in hundredths of a second, and browsers do no more than 50.
    hold : float
        Seconds that the last frame is held.
    loop : bool
        Begin again after the last.

    Returns
    -------
    bytes
        The same for the same frames; all have the same 256 colours, so none flickers.

    Raises
    ------
    DataError, ShapeError
        If there are no frames, they are no pictures, or of several sizes.
    ConfigError
        If `fps` is not in (0, 50] or `hold` is negative.
    """
    from PIL import Image

    if not 0 < fps <= 50 or hold < 0:
        raise ConfigError(f"expected fps in (0, 50] and hold >= 0, got {fps} and {hold}.")
    pictures = [Image.fromarray(_colours(frame)) for frame in frames]
    if not pictures:
        raise DataError("frames: expected at least one, got none.")
    if len({picture.size for picture in pictures}) > 1:
        raise ShapeError("frames: expected one size, got several. Draw them with the same shape and title.")
    if all((np.ptp(np.asarray(picture), axis=2) == 0).all() for picture in pictures):
        quantised = [picture.convert("L") for picture in pictures]  # 256 greys are exact
    else:
        shared = _palette(pictures)
        quantised = [_quantised(picture, shared) for picture in pictures]
    durations = [round(100 / fps) * 10] * len(quantised)  # milliseconds, in whole hundredths of a second
    durations[-1] += round(100 * hold) * 10
    out = io.BytesIO()
    quantised[0].save(
        out,
        format="GIF",
        save_all=True,
        append_images=quantised[1:],
        duration=durations,
        disposal=1,
        optimize=False,
        **({"loop": 0} if loop else {}),
    )
    return out.getvalue()


def moving_paths(
    paths: ArrayLike,
    times: ArrayLike | None = None,
    *,
    data: ArrayLike | None = None,
    title: str = "From noise to data",
    fps: float = 20.0,
) -> bytes:
    """Samples moving from noise to data: numbers against time, points in the plane; the content of a GIF file.

    Parameters
    ----------
    paths : array, shape (steps, n) or (steps, n, 1) or (steps, n, 2)
        Where each of n samples is at each step, noise first. At most 200 are drawn.
    times : array, shape (steps,), optional
        Process times, written above; the index of the step unless given.
    data : array, shape (m, 2), optional
        Drawn faintly below points of the plane.
    title : str
        What is seen.
    fps : float
        Steps a second.

    Returns
    -------
    bytes

    Raises
    ------
    ShapeError, DataError
        If the arrays do not fit together, or are empty or not finite.
    """
    clock = None if times is None else checked(times=(times, "steps"))[0]
    flat = np.ndim(paths) == 3 and np.shape(paths)[2] == 2
    (tracks,) = checked(paths=(paths, "steps n 2" if flat else "steps n"))
    if clock is not None and len(clock) != len(tracks):
        raise ShapeError(f"times: expected {len(tracks)}, one for each step, got {len(clock)}.")
    told = [f"step {k}" for k in range(len(tracks))] if clock is None else [f"t = {t:.3g}" for t in clock]
    tracks = tracks[:, :_MOST]
    if flat:
        points = None if data is None else checked(data=(data, "m 2"))[0]
        return gif_bytes(_plane(tracks, points, told, title), fps=fps)
    return gif_bytes(_line(tracks, clock, told, title), fps=fps)


def moving_images(
    frames: ArrayLike,
    *,
    columns: int = 8,
    fps: float = 12.0,
    limits: tuple[float, float] | None = None,
) -> bytes:
    """Images coming out of noise, one picture for each step; the content of a GIF file.

    Parameters
    ----------
    frames : array, shape (steps, n, height, width) or (steps, n, height, width, channels)
        The samples at each step, noise first.
    columns : int
        Images in a row.
    fps : float
        Steps a second.
    limits : (low, high), optional
        As for `tile`, but by default taken from the last step, the data; noise outside is clipped.

    Returns
    -------
    bytes

    Raises
    ------
    ShapeError, DataError, ConfigError, NonFiniteError
        If the frames are no images, or as for `tile`.
    """
    films = np.asarray(frames)
    if films.ndim not in (4, 5) or films.size == 0:
        raise ShapeError(f"frames: expected shape (steps, n, height, width[, channels]), got {films.shape}.")
    if limits is None and films.dtype.kind == "f" and np.isfinite(films[-1]).all():
        limits = float(films[-1].min()), float(films[-1].max())
    return gif_bytes((tile(film, columns=columns, limits=limits) for film in films), fps=fps)


def _plane(tracks: Values, data: Values | None, told: list[str], title: str) -> Iterator[Frame]:
    fig, axes = style.figure(4.4, 4.4)
    if data is not None:
        axes.plot(*data.T, ".", color=style.REAL, markersize=2.5, alpha=0.4, mew=0)
    tails = axes.plot(tracks[:1, :, 0], tracks[:1, :, 1], color=style.MUTED, linewidth=0.8, alpha=0.6)
    (heads,) = axes.plot([], [], "o", color=style.GENERATED, markersize=3.2, mew=0)
    low, high = tracks.min(axis=(0, 1)), tracks.max(axis=(0, 1))
    room = 0.05 * float((high - low).max()) or 1.0
    axes.set_xlim(low[0] - room, high[0] + room)
    axes.set_ylim(low[1] - room, high[1] + room)
    style.dress(axes, " ", grid="")
    axes.set_aspect("equal")
    style.caption(fig, title, "")
    for step, words in enumerate(told):
        begin = max(0, step - _TAIL)
        for tail, path in zip(tails, np.swapaxes(tracks[begin : step + 1], 0, 1)):
            tail.set_data(path.T)
        heads.set_data(tracks[step].T)
        axes.set_title(words, loc="left", fontsize=9.5, color=style.INK, pad=8)
        yield _drawn(fig)


def _line(tracks: Values, clock: Values | None, told: list[str], title: str) -> Iterator[Frame]:
    fig, axes = style.figure(6.6, 3.4)
    along = np.arange(len(tracks), dtype=np.float64) if clock is None else clock
    tails = axes.plot(along[:1], tracks[:1], color=style.MUTED, linewidth=0.8, alpha=0.5)
    (heads,) = axes.plot([], [], "o", color=style.GENERATED, markersize=3.2, mew=0, clip_on=False)
    low, high = float(tracks.min()), float(tracks.max())
    room = 0.05 * (high - low) or 1.0
    axes.set_xlim(along[0], along[-1] if along[-1] != along[0] else along[0] + 1)
    axes.set_ylim(low - room, high + room)
    style.dress(axes, " ", "step" if clock is None else "time $t$", "$x_t$", grid="")
    style.caption(fig, title, "")
    for step, words in enumerate(told):
        for tail, path in zip(tails, tracks[: step + 1].T):
            tail.set_data(along[: step + 1], path)
        heads.set_data(np.full(tracks.shape[1], along[step]), tracks[step])
        axes.set_title(words, loc="left", fontsize=9.5, color=style.INK, pad=8)
        yield _drawn(fig)


def _drawn(fig: Figure) -> Frame:
    """The pixels of a figure; once it has been laid out its parts stay where they are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = fig.canvas if isinstance(fig.canvas, FigureCanvasAgg) else FigureCanvasAgg(fig)
    canvas.draw()
    fig.set_layout_engine("none")
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _colours(frame: Any) -> Frame:
    if not isinstance(frame, np.ndarray):
        return _drawn(frame)
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or frame.shape[2:] not in ((), (1,), (3,)) or not frame.size:
        raise DataError(
            f"frames: expected uint8 of shape (height, width) or (height, width, 3), got {frame.dtype} of shape "
            f"{frame.shape}. `tile` makes one of images."
        )
    return np.repeat(frame.reshape(*frame.shape[:2], -1), 3 if frame.ndim == 2 or frame.shape[2] == 1 else 1, axis=2)


def _quantised(picture: Any, palette: Any) -> Any:
    """The picture in the colours of the palette, the first of which is kept exactly."""
    from PIL import Image

    near = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    places = np.asarray(near).copy()  # Pillow looks for the nearest colour by the first six bits of each channel
    places[(np.asarray(picture) == palette.getpalette()[:3]).all(axis=2)] = 0
    kept = Image.fromarray(places)
    kept.putpalette(palette.getpalette())
    return kept


def _palette(pictures: list[Any]) -> Any:
    """A picture with 256 colours for all: the one most seen, which is the paper, and 255 for a few frames together."""
    from PIL import Image

    few = [pictures[k] for k in np.unique(np.linspace(0, len(pictures) - 1, min(8, len(pictures))).round().astype(int))]
    sheet = np.concatenate([np.asarray(picture) for picture in few])
    packed, counts = np.unique(sheet.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32), return_counts=True)
    paper = [int(packed[counts.argmax()]) >> shift & 255 for shift in (16, 8, 0)]
    cut = Image.fromarray(sheet).quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    known = (cut.getpalette() or [])[: 3 * 255]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*paper, *known, *paper * (255 - len(known) // 3)])
    return palette
