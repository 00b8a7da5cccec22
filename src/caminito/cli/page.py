"""The page of a run: one HTML text with its pictures inside, light or dark as the reader's screen is.

Pictures of data are never altered: the space between images is transparent instead.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from caminito import plot
from caminito.cli.console import counted, duration, number
from caminito.cli.evaluate import NAMES
from caminito.cli.page_pieces import (
    choices,
    figure,
    html_page,
    image,
    options,
    quality,
    section,
    table,
    time_spent,
    unmeasured,
    uri,
)
from caminito.data import ImageCodec
from caminito.estimators.picture import drawable, film, limits_of, picture
from caminito.metrics import nearest_items

if TYPE_CHECKING:
    from caminito.data import Source
    from caminito.estimators import DiffusionModel
    from caminito.estimators.run import Run

__all__ = ["page"]

_LOOKED_THROUGH = 64  # samples among which the closest to training items are shown


def page(run: Run, model: DiffusionModel, source: Source | None, metrics: dict[str, Any] | None) -> str:
    """HTML.

    Parameters
    ----------
    run : Run
    model : DiffusionModel
        Of the run, loaded.
    source : Source, optional
        The data; without them nothing is compared with training items.
    metrics : dict, optional
        What metrics.json says.
    """
    events = run.events.current()
    parts = [
        _head(run, model, metrics),
        _samples(run, model, source),
        _film(model),
        _progress(run, events),
        _quality(metrics),
        _copies(run, model, source, metrics),
        _learning(events),
        choices(model.choices_),
        _data(run),
        time_spent(run, metrics),
        options(run),
    ]
    return html_page(run.name, parts)


# -- sections ---------------------------------------------------------------------------------------------------------


def _head(run: Run, model: DiffusionModel, metrics: dict[str, Any] | None) -> str:
    facts, status = run.facts, run.status
    kind, size = run.reading.words(facts["item_shape"])
    classes = getattr(model, "classes_", None)
    of = "" if classes is None else f" in {len(classes)} classes"
    state = (
        "" if status["state"] == "finished" else f" Training is {status['state']} at {100 * status['fraction']:.0f} %."
    )
    figures = [("training", duration(status.get("elapsed", 0.0)), f"{number(model.n_steps_)} steps")]
    if model.history_:
        figures.append(("held-out loss", f"{model.history_[-1]['loss']:.3f}", "mean over noise levels"))
    if metrics is not None:
        scores = metrics["scores"]
        for name, label in (
            ("c2st", "C2ST"),
            ("precision", "precision"),
            ("recall", "recall"),
            ("copy_gauge", "copy gauge"),
        ):
            score = scores[name]
            figures.append((label, f"{score['value']:.2f}", f"real data {score['floor']:.2f}"))
    cells = "".join(f"<div><dt>{a}</dt><dd>{b}<small>{c}</small></dd></div>" for a, b, c in figures)
    return (
        f"<header>\n<h1>{escape(run.name)}</h1>\n<p class='lead'>A diffusion model of "
        f"{number(facts['count'])} {kind} of {size.replace(' x ', ' × ')}{of}.{state}</p>\n"
        f"<dl class='figures'>{cells}</dl>\n</header>"
    )


def _samples(run: Run, model: DiffusionModel, source: Source | None) -> str:
    classes = getattr(model, "classes_", None)
    if not isinstance(model.codec_, ImageCodec) or len(model.event_shape_) != 3:
        samples = _drawn(model, 2000, random_state=0)
        points = source is not None and samples.ndim == 2 and samples.shape[1] == 2
        drawn = plot.scatter(run.split(source)[0][:2000], samples) if points and source else picture(model, samples)
        return "" if drawn is None else section("Samples", "", figure(drawn, "samples"))
    side = max(model.event_shape_[1:])
    wide = 16 if side <= 16 else 10 if side <= 64 else 6
    told = "Drawn with seed 0, nothing chosen by hand."
    if classes is not None and len(classes) <= 12:
        wanted = np.repeat(classes, wide)
        told = f"One class per row: {escape(', '.join(map(str, classes)))}. " + told
    else:
        wanted = None
    count = len(wanted) if wanted is not None else 5 * wide
    samples = _drawn(model, count, condition=wanted, random_state=0)
    return section("Samples", told, _grid(model, samples, wide, "a grid of samples"))


def _film(model: DiffusionModel) -> str:
    if not isinstance(model.codec_, ImageCodec):
        if len(model.event_shape_) == 1 and model.event_shape_[0] <= 2:
            frames, times = film(model, 60)
            return section("From noise to data", "", figure(plot.trajectories(frames, times, title=""), "paths"))
        return ""
    frames, times = film(model, 5)
    chosen = np.unique(np.linspace(0, len(frames) - 1, 10).round().astype(int))
    across = np.swapaxes(frames[chosen], 0, 1).reshape(-1, *frames.shape[2:])
    marks = "".join(f"<span>{times[i]:.2g}</span>" for i in chosen)
    told = f"Five samples on their way, {len(frames) - 1} steps; below, the time of the process, from noise to data."
    strip = _grid(model, across, len(chosen), "denoising, step by step")
    return section("From noise to data", told, f"{strip}<div class='marks'>{marks}</div>")


def _progress(run: Run, events: list[dict[str, Any]]) -> str:
    """The same noise through the training, from the pictures saved on the way."""
    if not run.reading.images:
        return ""
    seen = {e["file"]: e["step"] for e in events if e["event"] == "samples" and (run.path / e["file"]).is_file()}
    if len(seen) < 2:
        return ""
    files = [list(seen)[i] for i in sorted({round(x) for x in np.linspace(0, len(seen) - 1, 4)})]
    cells = "".join(
        f"<figure><img src='{uri((run.path / file).read_bytes())}' alt='samples at step {seen[file]}'>"
        f"<figcaption>step {number(seen[file])}</figcaption></figure>"
        for file in files
    )
    return section("While it learnt", "The same noise, at later and later steps.", f"<div class='row'>{cells}</div>")


def _quality(metrics: dict[str, Any] | None) -> str:
    if metrics is None:
        return unmeasured()
    told = (
        f"{metrics['n_samples']} samples against {metrics['n_held_out']} items the model never saw. Beside each figure "
        "is what real data get in the samples' place: no model should be expected to do better."
    )
    return quality(metrics, NAMES, told)


def _copies(run: Run, model: DiffusionModel, source: Source | None, metrics: dict[str, Any] | None) -> str:
    if source is None or metrics is None:
        return ""
    copies = metrics["copies"]
    told = (
        f"A sample is {number(copies['to_train'])} from its nearest training item (median), an unseen item "
        f"{number(copies['held_out_to_train'])}. {copies['close']} of {copies['n_samples']} samples are closer than "
        f"99 % of unseen items are; {copies['close_expected']:.0f} would be by chance. "
        f"{_exactly(copies['exact'])}"
    )
    if metrics["memorised"]:
        told += " <strong>The model repeats what it was shown.</strong>"
    if not isinstance(model.codec_, ImageCodec):
        return section("Are they copies?", told, "")
    train, _ = run.split(source)
    count = min(metrics["n_samples"], _LOOKED_THROUGH)
    samples = _drawn(model, count, random_state=metrics["seed"], n_steps=metrics["steps"])
    index, distance = nearest_items(samples, train)
    closest = np.argsort(distance, kind="stable")[:8]
    ours, theirs, limits = drawable(samples), drawable(train[index]), limits_of(model)
    cells = "".join(
        f"<figure>{image(plot.tile(ours[i][None], gap=0, limits=limits), 'sample')}"
        f"{image(plot.tile(theirs[i][None], gap=0, limits=limits), 'training item')}"
        f"<figcaption>{number(float(distance[i]))}</figcaption></figure>"
        for i in closest
    )
    caption = (
        f"<p class='quiet'>Of {count} samples the eight closest to a training item; below each, that item and the "
        "distance.</p>"
    )
    return section("Are they copies?", told, f"<div class='row pairs'>{cells}</div>{caption}")


def _exactly(count: int) -> str:
    return (
        "None is an exact copy."
        if count == 0
        else f"{count} {'is an exact copy' if count == 1 else 'are exact copies'}."
    )


def _learning(events: list[dict[str, Any]]) -> str:
    steps = [e for e in events if e["event"] == "step" and e.get("loss") is not None]
    checks = [e for e in events if e["event"] == "validation"]
    if not steps:
        return ""
    curves = {"training": ([e["step"] for e in steps], [e["loss"] for e in steps])}
    if checks:
        curves["held-out, averaged weights"] = ([e["step"] for e in checks], [e["loss"] for e in checks])
    body = figure(plot.loss_curves(curves, title="Loss over training"), "loss over training")
    if checks:
        levels = checks[-1]["logsnr"]
        same = [e for e in checks if len(e["logsnr"]) == len(levels)]
        shown = [same[i] for i in sorted({round(x) for x in np.linspace(0, len(same) - 1, 8)})]
        drawn = plot.loss_by_level(
            levels,
            [e["levels"] for e in shown],
            labels=[f"step {e['step']}" for e in shown],
            title="Held-out loss at each noise level",
        )
        body += figure(drawn, "loss at each noise level")
    return section("Learning", _advice(checks), body)


def _advice(checks: list[dict[str, Any]]) -> str:
    """What the held-out losses say about the length of the training."""
    if len(checks) < 3:
        return "Too few measurements on held-out data to say whether longer training would help."
    losses = [e["loss"] for e in checks]
    best = int(np.argmin(losses))
    if losses[-1] > 1.02 * losses[best]:
        return (
            f"The held-out loss was lowest at step {number(checks[best]['step'])} and has risen since: "
            "a shorter training, more data, or a smaller network would do better."
        )
    gain = 1 - losses[-1] / losses[-1 - max(1, len(losses) // 4)]
    if gain > 0.02:
        return f"The held-out loss still fell by {100 * gain:.0f} % in the last quarter: longer training would help."
    return "The held-out loss has levelled off: longer training would change little."


def _data(run: Run) -> str:
    facts = run.facts
    low, high = facts["range"]
    rows = [
        ("items", f"{number(facts['count'])}, shape {'×'.join(map(str, facts['item_shape'])) or '1'}"),
        ("values", f"{facts['dtype']}, {low:g} to {high:g}"),
        ("fingerprint", facts["fingerprint"][:16]),
    ]
    if facts["class_counts"]:
        counts = [f"{name} ({count})" for name, count in list(facts["class_counts"].items())[:24]]
        more = len(facts["class_counts"]) - len(counts)
        rows.insert(2, ("classes", ", ".join(counts) + (f" and {more} more" if more else "")))
    if facts["bad"]:
        rows.append(("skipped", "; ".join(f"{each['file']}: {each['reason']}" for each in facts["bad"][:8])))
    rows += [("note", note) for note in facts["notes"]]
    return section("Data", "", table(None, rows))


# -- pieces -----------------------------------------------------------------------------------------------------------


def _drawn(model: DiffusionModel, count: int, **how: Any) -> np.ndarray:
    with counted(f"Drawing {count} samples") as progress:
        return np.asarray(model.sample(count, progress=progress, **how))


def _grid(model: DiffusionModel, images: np.ndarray, columns: int, alt: str) -> str:
    """Images in rows, with nothing between them: the page shows through."""
    images = drawable(images)
    scale = max(1, math.ceil(64 / max(model.event_shape_[1:])))
    picture_ = plot.tile(images, columns=columns, scale=scale, gap=3, limits=limits_of(model))
    between = plot.tile(np.zeros((*images.shape[:3], 1), np.uint8), columns=columns, scale=scale, gap=3)
    colour = np.repeat(picture_[..., None], 3, axis=2) if picture_.ndim == 2 else picture_[..., :3]
    there = picture_[..., 3] if picture_.shape[2:] == (4,) else np.full_like(between, 255)
    return image(np.dstack([colour, np.where(between == 255, 0, there).astype(np.uint8)]), alt)
