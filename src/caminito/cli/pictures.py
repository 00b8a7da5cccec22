"""The pictures of `caminito plot`: each from a run that fits it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch

from caminito import plot
from caminito._errors import CaminitoError, DataError, RunError
from caminito._files import read_json
from caminito._random import Stream, normal
from caminito.cli.console import counted, number, out
from caminito.cli.options import source_of_run
from caminito.cli.sample import labels_of
from caminito.data import ArrayCodec, ImageCodec
from caminito.denoiser import mapped
from caminito.estimators import DiffusionModel
from caminito.estimators.picture import drawable, limits_of
from caminito.estimators.run import Run
from caminito.metrics import nearest_items
from caminito.plot.points import bins_of
from caminito.process import Chain, process_to_dict
from caminito.sampling import Solver

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DRAWN", "FILMED", "Asked", "items_of"]

_LINES = 8  # evaluations shown at once
_ROWS = 12  # classes that have a row each
_COLUMNS = 9  # noise levels of an image that are shown
_LEVELS = (2.0, 0.8, 0.3, 0.1)  # sigma / alpha of the panels of a field, in standard deviations of the data
_BARS, _MORE = 40, 400  # bars of a histogram at least, and those added at each end at most
_DOTS = 500  # real points below others
_REACH, _SIDE = 2.6, 21  # of the field, in standard deviations of the data, and arrows along its longer side


@dataclass(frozen=True)
class Asked:
    """What was typed, and the run it is about; `run` is None for a folder that holds a model alone."""

    path: Path
    kind: str
    model: DiffusionModel
    run: Run | None
    data: str | None
    count: int
    class_: str | None
    steps: int | None
    solver: Solver | None
    seed: int

    def only(self, labels: np.ndarray | None) -> Any:
        """The class asked for, by the name it has in the data; None for all."""
        return None if self.class_ is None or labels is None else labels[0]

    def train(self) -> Real:
        """The items that were trained on.

        Raises
        ------
        RunError
            If this is no run, which would remember its data.
        DataError
            If they are gone.
        """
        if self.run is None:
            raise RunError(
                f"plot {self.kind}: expected a run directory, which knows its data, {self.path} holds a model alone."
            )
        where = self.data or str(self.run.facts["path"])
        try:
            source = source_of_run(self.run, self.data)
        except DataError as error:
            if self.data is not None or Path(where).exists():
                raise
            raise DataError(
                f"the data of {self.path} are no longer at {where}. Say where they are now: caminito plot {self.path} "
                f"{self.kind} DATA."
            ) from error
        rows, _ = self.run.rows(source)
        items, labels = self.run.reading.items(source)[rows], self.run.reading.labels(source)
        return Real(items, None if labels is None else labels[rows])

    def train_if_there(self) -> Real | None:
        """The same, or None with a note where they are not at hand and nobody said where they are."""
        if self.run is None:
            return None
        try:
            return self.train()
        except CaminitoError as error:
            if self.data is not None:
                raise
            out.print(f"note  {error} The picture is made without them.", style="yellow", soft_wrap=True)
            return None


class Real(NamedTuple):
    """Real items, and the class of each where the run knows classes."""

    items: np.ndarray
    labels: np.ndarray | None

    def some(self, count: int, seed: int, label: Any = None) -> np.ndarray:
        """At most so many of them, of a class if one is given, drawn at random."""
        fits = np.ones(len(self.items), dtype=bool) if label is None or self.labels is None else self.labels == label
        rows = np.flatnonzero(fits)
        return self.items[np.sort(np.random.default_rng(seed).permutation(rows)[:count])]


def items_of(model: DiffusionModel) -> str:
    """What the items of a model are: numbers, points, rows of numbers, images or arrays."""
    shape = model.event_shape_
    if len(shape) == 1:
        return {1: "numbers", 2: "points"}.get(shape[0], "rows of numbers")
    return "images" if len(shape) == 3 and shape[0] <= 4 else "arrays"


# -- learning and noise -----------------------------------------------------------------------------------------------


def _loss(asked: Asked) -> Figure:
    steps = [e for e in _events(asked) if e["event"] == "step" and e.get("loss") is not None]
    curves = {"training": steps, "held-out, averaged weights": _evaluations(asked)}
    drawn = {name: ([e["step"] for e in told], [e["loss"] for e in told]) for name, told in curves.items() if told}
    if not drawn:
        raise RunError(f"plot loss: {asked.path} has no loss written down yet. Train it for longer.")
    return plot.loss_curves(drawn)


def _levels(asked: Asked) -> Figure:
    found = _evaluations(asked)
    same = [e for e in found if len(e["logsnr"]) == len(found[-1]["logsnr"])]
    if not same:
        raise RunError(
            f"plot levels: {asked.path} has no loss on held-out data written down. Train with validation_fraction > 0."
        )
    shown = [same[i] for i in sorted({round(x) for x in np.linspace(0, len(same) - 1, _LINES)})]
    labels = [f"step {number(e['step'])}" for e in shown]
    title = "Held-out loss at each noise level"
    return plot.loss_by_level(shown[-1]["logsnr"], [e["levels"] for e in shown], labels=labels, title=title)


def _events(asked: Asked) -> list[dict[str, Any]]:
    return [] if asked.run is None else asked.run.events.current()


def _evaluations(asked: Asked) -> list[dict[str, Any]]:
    """Losses on held-out data, oldest first: those in the log, or those the model keeps."""
    return [e for e in _events(asked) if e["event"] == "validation"] or asked.model.history_


def _time(asked: Asked) -> Figure:
    spent = {} if asked.run is None else asked.run.status.get("spent") or {}
    ordered = {name: spent[name] for name in ("training", "pictures", "saving") if name in spent}
    if asked.run is not None and (asked.path / "metrics.json").is_file():
        ordered |= read_json(asked.path / "metrics.json")["seconds"]
    if not ordered:
        raise RunError(f"plot time: {asked.path} does not say where its time went. A run does when training ends.")
    return plot.time_spent(ordered)


def _schedule(asked: Asked) -> Figure:
    process, name = asked.model.process_, asked.path.resolve().name
    if isinstance(process, Chain):
        beta, kept = process.std**2, process.scale**2
        steps = f"chain of {len(beta)} steps"
        if len(beta) > 1 and bool((beta < 1).all()) and torch.allclose(beta + kept, torch.ones_like(beta), atol=1e-9):
            return plot.noise_tables({steps: beta}, title=f"How data become noise in {name}")
        t = torch.arange(process.t_max + 1)
    else:  # below the last time at which sampling stops nothing happens any more
        steps, t = process_to_dict(process)["kind"], torch.linspace(0, process.t_max, 401)
        t = t[t >= _usual_grid(asked.model)[-2]]
    return plot.schedule({steps: (t, *process.kernel(t))}, title=f"How data become noise in {name}")


# -- samples and their way --------------------------------------------------------------------------------------------


def _samples(asked: Asked) -> Figure:
    if items_of(asked.model) == "images":
        return _images(asked)
    samples, labels = _drawn(asked, asked.count)
    real = asked.train_if_there()
    known = None if real is None else real.some(len(samples), asked.seed, asked.only(labels))
    if samples.shape[1] == 2:
        if known is None:
            return plot.scatter(samples, names=("samples", ""), title="Samples")
        return plot.scatter(known, samples, names=("real data", "samples"), title="Real data and samples")
    if known is None:
        return plot.histogram1d(samples[:, 0], title="Samples")
    bins = max(_BARS, bins_of(samples[:, 0].astype(np.float64)))
    line = _outline(known[:, 0], np.histogram_bin_edges(samples[:, 0], bins=bins))
    title, told = "Samples and real data", "Bars are samples, the line is the histogram of real data."
    return plot.histogram1d(samples[:, 0], line, bins=bins, names=("samples", "real data"), title=title, caption=told)


def _images(asked: Asked) -> Figure:
    """Samples in rows, a row for each class where there are few, with real images to their left."""
    count, classes = asked.count, getattr(asked.model, "classes_", np.empty(0))
    by_class = asked.class_ is None and 0 < len(classes) <= _ROWS
    across = max(1, round(count / len(classes))) if by_class else math.ceil(math.sqrt(count))
    wanted = np.repeat(classes, across) if by_class else None
    samples, labels = _drawn(asked, count if wanted is None else len(wanted), wanted)
    names = [str(name) for name in classes] if by_class else None
    real = asked.train_if_there()
    if real is None:
        how: dict[str, Any] = {"row_labels": names, "limits": _limits(asked.model, samples)}
        return plot.image_grid(_shown(asked.model, samples), across, title="Samples", **how)
    known = real.some(len(samples), asked.seed, asked.only(labels))
    limits, cells = _limits(asked.model, real.items), []
    for row, start in enumerate(range(0, len(samples), across)):
        theirs = real.some(across, asked.seed, classes[row]) if by_class else known[start : start + across]
        left = _cells(asked.model, theirs, limits, across + 1)  # the one more is the space between
        cells += [left, _cells(asked.model, samples[start : start + across], limits, across)]
    title = "Real images, left, and samples, right"
    told = "Samples should be as varied as the real ones, and none should be told apart by its details."
    told = f"Each row is a class. {told}" if by_class else told
    return plot.image_grid(np.concatenate(cells), 2 * across + 1, title=title, caption=told, row_labels=names)


def _cells(model: DiffusionModel, items: np.ndarray, limits: tuple[float, float], count: int) -> np.ndarray:
    """Images as bytes with alpha, and transparent ones after them to make `count`."""
    images = _shown(model, items)
    cells = np.zeros((count, *images.shape[1:3], 4), dtype=np.uint8)
    if len(images):
        flat = plot.tile(images, columns=1, scale=1, gap=0, limits=limits)
        colours = flat.reshape(*images.shape[:3], -1)
        cells[: len(images), ..., :3] = colours[..., :3]
        cells[: len(images), ..., 3] = colours[..., 3] if colours.shape[-1] == 4 else 255
    return cells


def _strip(asked: Asked) -> Figure:
    frames, times, _ = _walked(asked, asked.count)
    limits = _limits(asked.model, frames[-1])
    return plot.film_strip([_shown(asked.model, each) for each in frames], times, limits=limits)


def _strip_film(asked: Asked) -> bytes:
    frames, _, _ = _walked(asked, asked.count)
    shown = np.stack([_shown(asked.model, each) for each in frames])
    shown = shown[..., :3] if shown.ndim == 5 else shown  # a GIF knows no alpha
    return plot.moving_images(shown, limits=_limits(asked.model, frames[-1]))


def _paths(asked: Asked) -> Figure:
    frames, times, labels = _walked(asked, asked.count)
    if labels is None or asked.class_ is not None:
        return plot.trajectories(frames, times)
    way = "from its ring, noise, to its dot, data" if frames.shape[2] == 2 else "from noise, left, to data, right"
    told = f"Each line is one sample on its way {way}. Its colour is the class that was asked for."
    return plot.trajectories(frames, times, groups=labels, caption=told)


def _paths_film(asked: Asked) -> bytes:
    frames, times, labels = _walked(asked, asked.count)
    real = asked.train_if_there() if frames.shape[2] == 2 else None
    data = None if real is None else real.some(_DOTS, asked.seed, asked.only(labels))
    return plot.moving_paths(frames, times, data=data)


def _corruption(asked: Asked) -> Figure:
    model, process = asked.model, asked.model.process_
    train = asked.train()
    x0 = model.codec_.encode(train.some(asked.count, asked.seed))
    eps, times = normal(asked.seed, Stream.NOISE, 0, tuple(x0.shape)), _times(model)
    scaled = [process.noise(x0, t, eps) / torch.hypot(*process.kernel(t)) for t in times]
    frames = [_shown(model, model.codec_.decode(x_t.float())) for x_t in scaled]
    return plot.corruption(frames, times.tolist(), limits=_limits(model, train.items))


def _times(model: DiffusionModel) -> torch.Tensor:
    """Times from data to noise: even steps of a chain, else as sampling spaces them."""
    process = model.process_
    if not process.is_discrete:
        return _usual_grid(model).flip(0)
    return torch.linspace(0, process.t_max, _COLUMNS, dtype=torch.float64).round().unique()


def _usual_grid(model: DiffusionModel) -> torch.Tensor:
    return model.solver_and_grid(_COLUMNS - 1, calibrated=False)[1]


def _nearest(asked: Asked) -> Figure:
    train = asked.train().items
    samples, _ = _drawn(asked, asked.count)
    with out.status("Comparing"):
        index, distance = nearest_items(samples, train)
    ours, theirs = _shown(asked.model, samples), _shown(asked.model, train[index])
    return plot.nearest(ours, theirs, distances=distance, limits=_limits(asked.model, train))


def _field(asked: Asked) -> Figure:
    """E[x0 | x_t] - x_t / alpha where x_t / alpha is a place of the plane, in data units."""
    model, process, codec = asked.model, asked.model.process_, cast(ArrayCodec, asked.model.codec_)
    counts = np.maximum(5, np.round(_SIDE * codec.std / codec.std.max())).astype(int)  # cells are squares
    reach = _REACH * codec.std
    across, up = (np.linspace(m - r, m + r, n) for m, r, n in zip(codec.mean, reach, counts))
    places = np.stack(np.meshgrid(across, up), axis=-1)
    x0 = torch.from_numpy((places - codec.mean) / codec.std).reshape(-1, 2)
    device = next(model.denoiser_.network.parameters()).device
    columns = {} if asked.class_ is None else {"y": asked.class_}
    cond = mapped(model.conditions_.encode(columns, len(x0)), lambda value: value.to(device)) or None
    fields: dict[str, np.ndarray] = {}
    for level in _LEVELS:
        t = process.time(torch.tensor(-2 * math.log(level), dtype=torch.float64))
        alpha, sigma = process.kernel(t)
        if alpha != 0 and sigma != 0:
            with torch.no_grad():
                mean = model.denoiser_.mean((alpha * x0).float().to(device), t, cond)
            shift = (mean.cpu().double() - x0).reshape(places.shape).numpy() * codec.std
            fields[f"sigma / alpha = {number(float(sigma / alpha.abs()))}"] = shift
    if not fields:
        raise RunError(f"plot field: no step of the process of {asked.path} has both data and noise left.")
    real = asked.train_if_there()
    data = None if real is None else real.some(_DOTS, asked.seed, asked.only(labels_of(model, asked.class_, 1, 0)))
    return plot.vector_field(across, up, np.stack(list(fields.values())), list(fields), data=data)


# -- pieces -----------------------------------------------------------------------------------------------------------


def _drawn(asked: Asked, n: int, labels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples, and the class of each."""
    labels = labels_of(asked.model, asked.class_, n, asked.seed) if labels is None else labels
    with counted(f"Drawing {n}") as progress:
        samples = asked.model.sample(
            n,
            condition=labels,
            random_state=asked.seed,
            n_steps=asked.steps,
            solver=asked.solver,
            progress=progress,
        )
    return np.asarray(samples), labels


def _walked(asked: Asked, n: int) -> tuple[np.ndarray, list[float], np.ndarray | None]:
    """Samples at each time of their way, the times, and the class of each."""
    labels = labels_of(asked.model, asked.class_, n, asked.seed)
    how: dict[str, Any] = {"n_steps": asked.steps, "solver": asked.solver}
    _, grid = asked.model.solver_and_grid(**how)
    frames, times = [], []
    with counted(f"Walking {n}") as progress:
        for t, items in asked.model.walk(n, condition=labels, random_state=asked.seed, **how):
            frames.append(np.asarray(items))
            times.append(t)
            progress(len(times), len(grid))
    return np.stack(frames), times, labels


def _shown(model: DiffusionModel, items: np.ndarray) -> np.ndarray:
    """Images with their channels last, 1, 3 or 4 of them."""
    if isinstance(model.codec_, ImageCodec):
        return drawable(items)
    items = np.moveaxis(items, 1, -1) if items.ndim == 4 and model.channel_axis == 1 else items
    return items[..., 0] if items.ndim == 4 and items.shape[-1] == 2 else items


def _limits(model: DiffusionModel, items: np.ndarray) -> tuple[float, float]:
    """Values shown as black and as white: those of the codec or the integer type, else those of some items."""
    if items.dtype == np.uint8:
        return 0.0, 255.0
    low, high = limits_of(model) or (float(items.min()), float(items.max()))
    return low, high if high > low else low + 1.0


def _outline(numbers: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outline of a histogram as a line, with bins of the width of those given, and more of them at both ends."""
    width = edges[1] - edges[0]
    before, after = (
        min(_MORE, math.ceil(max(0.0, gap) / width)) for gap in (edges[0] - numbers.min(), numbers.max() - edges[-1])
    )
    more = np.concatenate(
        [edges[0] - width * np.arange(before, 0, -1), edges, edges[-1] + width * np.arange(1, after + 1)]
    )
    counts, _ = np.histogram(numbers, bins=more)
    heights = counts / (len(numbers) * width)
    return np.repeat(more, 2), np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])


DRAWN: dict[str, Callable[[Asked], Figure]] = {
    "loss": _loss,
    "levels": _levels,
    "time": _time,
    "schedule": _schedule,
    "samples": _samples,
    "strip": _strip,
    "paths": _paths,
    "field": _field,
    "corruption": _corruption,
    "nearest": _nearest,
}
"""How each picture is drawn."""

FILMED: dict[str, Callable[[Asked], bytes]] = {"strip": _strip_film, "paths": _paths_film}
"""How those that move become a GIF."""
