"""`caminito sample`: new items from a run, as a picture, a folder of pictures, or arrays."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caminito._errors import ConfigError
from caminito.cli.asked import (
    Asked,
    Augmentation,
    Guidance,
    GuidanceBy,
    GuidanceInterval,
    GuidanceRescale,
    Guide,
    Text,
    Then,
    dials,
    guide_of,
    stages_of,
)
from caminito.cli.condition_image import ConditionImage
from caminito.cli.console import counted, duration, err, out
from caminito.cli.options import RunPath, at_least, refuse_flags

if TYPE_CHECKING:
    import numpy as np

    from caminito.estimators import DiffusionModel

__all__ = ["labels_of", "note_unfinished", "sample"]

_USUAL = 64
_IN_A_PICTURE = 1024  # at most, unless a picture is asked for


def sample(
    run: RunPath,
    count: Annotated[
        int | None,
        typer.Option("-n", "--count", metavar="N", help="How many; 64 unless given, 1000 rows of a table."),
    ] = None,
    class_: Annotated[
        str | None, typer.Option("--class", metavar="C", help="Only of this class; else as often as in training.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="S", help="Steps of the solver; more is slower and finer.")
    ] = None,
    solver: Annotated[
        str | None, typer.Option("--solver", metavar="NAME", help="dpmpp2m, heun, ddim, ancestral or ancestral-large.")
    ] = None,
    in_range: Annotated[
        str | None,
        typer.Option("--in-range", metavar="HOW", help="Keep predictions within the data: clip, dynamic, renormalise."),
    ] = None,
    average: Annotated[
        float | None,
        typer.Option("--average", metavar="W", help="Weights averaged anew, to this width; needs training.snapshots."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="K", help="The same seed gives the same samples.")] = 0,
    out_: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE|DIR",
            help="FILE.png: a grid. FILE.npz or .npy: arrays. DIR: a PNG each. Of a table: .csv, .parquet, .feather.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="B", help="How many at once; only memory depends on it.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="WHAT",
            help="Of a table, what is asked of columns: sex=F, age=30..40, colour=red|green, city=? for missing.",
        ),
    ] = None,
    text: Text = None,
    condition: Annotated[
        Path | None,
        typer.Option(
            "--condition",
            metavar="TABLE",
            help="A file with a column per condition and a row per sample; blanks are free.",
        ),
    ] = None,
    condition_image: ConditionImage = None,
    guidance: Guidance = None,
    guidance_by: GuidanceBy = None,
    guidance_interval: GuidanceInterval = None,
    guidance_rescale: GuidanceRescale = None,
    guide: Guide = None,
    then: Then = None,
    augmentation: Augmentation = None,
) -> None:
    """Draw new items, or rows of a table, from RUN, which may also be a folder with a saved cascade."""
    at_least(1, n=count, steps=steps, batch_size=batch_size)
    at_least(0, seed=seed)
    from caminito.estimators import CascadeDiffusion, DiffusionModel
    from caminito.estimators.picture import recipe
    from caminito.estimators.run import load, load_run
    from caminito.sampling import solver_named

    rule = None if solver is None else solver_named(solver)
    found = load(run) if (run / "cascade.json").is_file() else load_run(run)
    stages = found.stages if isinstance(found, CascadeDiffusion) else [found]
    model = stages[0]
    of_networks: dict[str, Any] = {
        "--class": class_,
        "--steps": steps,
        "--solver": solver,
        "--in-range": in_range,
        "--text": text,
        "--then": then or None,
        "--augmentation": augmentation,
        "--condition-image": condition_image or None,
    }
    of_networks |= {"--guidance": guidance, "--guidance-by": guidance_by, "--guide": guide}
    of_networks |= {"--guidance-interval": guidance_interval, "--guidance-rescale": guidance_rescale}
    if not isinstance(model, DiffusionModel):
        from caminito.cli.table_sample import sample_rows

        refuse_flags(of_networks | {"--average": average}, "the run of a table")
        asked: dict[str, Any] = {"where": where, "condition": condition, "batch_size": batch_size}
        sample_rows(run, model, count=count, seed=seed, out_=out_, **asked)
        return
    refuse_flags({"--where": where}, "a run of images or arrays")
    dialled = dials(guidance, guidance_by, guidance_interval, guidance_rescale, guide)
    if out_ is not None and out_.suffix.lower() not in ("", ".png", ".npz", ".npy"):
        raise ConfigError(f"--out: expected a folder or a file .png, .npz or .npy, got {out_.name!r}.")
    if len(stages) > 1:
        refuse_flags({"--average": average}, "a cascade, which keeps no snapshots")
    if then or len(stages) > 1:
        others = {"--guide": guide, "--guidance-by": None if guidance_by in ("cfg", "cfg++") else guidance_by}
        refuse_flags(others, "samples that are enlarged by further stages")
    leads = None if dialled is None else guide_of(run, model, guide, guidance_by)
    if average is not None:
        model = model.reaverage(average)
    note_unfinished(run, model)
    cascade = stages_of(run, [model, *stages[1:]], then)
    last = model if cascade is None else cascade.stages[-1]
    classifier = None if leads is None or isinstance(leads, DiffusionModel) else leads
    asked_ = Asked(
        model,
        count=count,
        usual=_USUAL,
        seed=seed,
        class_=class_,
        text=text,
        file=condition,
        images=condition_image or (),
        classifier=classifier,
    )
    if model.conditions_.lowres and not set(model.conditions_.lowres) & set(asked_.condition or ()):
        err.print(
            f"note  this run enlarges: give it what another one draws, by --then {run}, or an image of your own, by "
            "--condition-image FILE.",
            style="yellow",
        )
    count = asked_.count
    named: list[str | None] = [f"n{count}", f"seed{seed}", class_ and f"class-{class_}", text and _words(text)]
    named += [
        _words(str(condition), condition.stem) if condition else None,
        *(_words(image, Path(image.rpartition("=")[2]).stem) for image in condition_image or ()),
        f"{steps}steps" if steps else None,
        solver,
        in_range,
        None if average is None else f"average{average:g}",
    ]
    named += [f"{name}{_short(value)}" for name, value in (dialled or {}).items()] + [
        guide and f"by-{Path(guide).name}"
    ]
    named += [f"then-{stage.resolve().name}" for stage in then or []]
    named.append(None if augmentation is None else f"augmentation{augmentation:g}")
    target = _default_place(run, last, count, named) if out_ is None else out_
    _check_target(target, last)
    how: dict[str, Any] = {
        "seed": seed,
        "samples": count,
        "class": class_,
        "text": text,
        "in_range": in_range,
        "average": average,
    }
    how |= {"condition": condition, "guidance": dialled, "guide": guide}
    how |= {"condition_image": ", ".join(condition_image or ()) or None}
    how |= {"stages": len(cascade.stages) if cascade is not None else None}
    how |= {"then": None if not then else ", ".join(path.resolve().name for path in then), "augmentation": augmentation}
    recorded = recipe(model, run.resolve().name, n_steps=steps, solver=rule, **how)
    clock = time.monotonic()
    with counted(f"Drawing {count}") as progress:
        drawn: dict[str, Any] = {
            "condition": asked_.condition,
            "random_state": seed,
            "n_steps": steps,
            "solver": rule,
            "in_range": in_range,
            "guidance": dialled,
            "augmentation": augmentation,
            "batch_size": batch_size,
            "progress": progress,
        }
        samples = model.sample(count, guide=leads, **drawn) if cascade is None else cascade.sample(count, **drawn)
    seconds = time.monotonic() - clock
    _write(target, last, samples, asked_.labels, recorded)
    speed = f"{duration(seconds)}, {count / seconds:.3g} per second"
    out.print(f"{count} samples in {speed}: {target}{'' if target.suffix else '/'}", soft_wrap=True)


def note_unfinished(path: Path, model: DiffusionModel) -> None:
    """Say of which step the weights are, where training has not come to its end."""
    from caminito.estimators.run import Run

    if not (path / "status.json").is_file():
        return
    state = Run.open(path).status["state"]
    if state != "finished":
        err.print(f"note  training is {state}: these are samples of step {model.n_steps_}.", style="yellow")


def labels_of(model: DiffusionModel, class_: str | None, count: int, seed: int) -> np.ndarray | None:
    """The class of each sample, or None where the model knows none."""
    return Asked(model, count=count, usual=count, seed=seed, class_=class_).labels


def _default_place(run: Path, model: DiffusionModel, count: int, named: Sequence[str | None]) -> Path:
    """A file in the run that is named for all that was asked."""
    name = "_".join("".join(c if c.isalnum() or c in "-_" else "-" for c in part) for part in named if part)
    drawn = count <= _IN_A_PICTURE and _has_picture(model)
    return run / "samples" / f"{name}{'.png' if drawn else '.npz'}"


def _words(whole: str, shown: str | None = None) -> str:
    """The beginning of a text, or what is shown of it, and six digits that tell it from others of that beginning."""
    short = whole if shown is None else shown
    return (
        short
        if short == whole and len(whole) <= 40
        else f"{short[:40]}-{blake2b(whole.encode(), digest_size=3).hexdigest()}"
    )


def _short(value: Any) -> str:
    return "-".join("inf" if end is None else f"{end:g}" for end in value) if isinstance(value, tuple) else f"{value}"


def _has_picture(model: DiffusionModel) -> bool:
    shape = model.event_shape_
    return len(shape) == 3 or (len(shape) == 1 and shape[0] <= 2)


def _check_target(target: Path, model: DiffusionModel) -> None:
    """Refuse a place that cannot hold the samples, before they are drawn."""
    pictures = target.suffix.lower() == ".png" or (target.suffix == "" and len(model.event_shape_) != 3)
    if pictures and not (_has_picture(model) and target.suffix):
        shape = "x".join(map(str, model.event_shape_))
        raise ConfigError(f"--out {target}: items of shape {shape} have no picture. Give a file .npz or .npy.")
    if target.suffix == "" and target.is_file():
        raise ConfigError(f"--out {target}: expected a folder, this is a file. Give another name.")
    if target.suffix and target.is_dir():
        raise ConfigError(f"--out {target}: expected a file, this is a folder. Give another name.")


def _write(target: Path, model: DiffusionModel, samples: Any, labels: np.ndarray | None, text: dict[str, str]) -> None:
    import numpy as np

    from caminito import plot
    from caminito._files import write_atomic
    from caminito.estimators.picture import drawable, limits_of, picture

    if target.suffix.lower() == ".png":
        drawn = picture(model, samples)
        if drawn is None:
            raise ConfigError(f"--out {target}: these items have no picture. Give a file .npz or .npy.")
        write_atomic(target, plot.png_bytes(drawn, text))
        return
    if target.suffix:
        held = io.BytesIO()
        if target.suffix.lower() == ".npy":
            np.save(held, np.asarray(samples), allow_pickle=False)
        else:
            arrays: dict[str, Any] = {"samples": np.asarray(samples)}
            if labels is not None:
                arrays["labels"] = labels
            arrays |= {f"recipe_{name}": np.asarray(value) for name, value in text.items()}
            np.savez_compressed(held, **arrays)
        write_atomic(target, held.getvalue())
        return
    digits = max(5, len(str(len(samples) - 1)))
    for i, item in enumerate(samples):
        mine = text | {"index": str(i)} | ({} if labels is None else {"class": str(labels[i])})
        image = plot.tile(drawable(item[None]), scale=1, gap=0, limits=limits_of(model))
        write_atomic(target / f"{i:0{digits}}.png", plot.png_bytes(image, mine))
