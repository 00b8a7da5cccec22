"""`caminito train-classifier`: a classifier of the noisy items of a run, which can lead its samples to a class."""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from caminito._errors import ConfigError, DataError, RunError, ShapeError
from caminito.cli.console import Stop, bar, duration, err, facts_table, line, number, out, section
from caminito.cli.options import Minutes, Steps, at_least, network_of, source_of

if TYPE_CHECKING:
    import numpy as np

    from caminito.data import Source
    from caminito.estimators import NoiseAccuracy, NoisyClassifier
    from caminito.estimators.reading import Reading
    from caminito.training import Progress

__all__ = ["train_classifier"]

_FIELDS = ("{task.fields[step]}", "{task.fields[loss]}", "{task.fields[held]}", "{task.fields[speed]}")
_MOST = 2000  # held-out items to judge by


def train_classifier(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Images in a folder for each class, .npz or IDX files with labels, or the word digits.",
            show_default=False,
        ),
    ],
    run: Annotated[
        Path, typer.Option("--run", metavar="RUN", help="The run whose noisy items it is for.", show_default=False)
    ],
    minutes: Minutes = None,
    steps: Steps = None,
    seed: Annotated[int, typer.Option("--seed", metavar="K", help="Seed of everything random.")] = 0,
    out_: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where it goes; RUN/classifier unless given.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the classifier that is there, once this one is trained.")
    ] = False,
) -> None:
    """Train a classifier on the classes of DATA, noised as RUN noises its own.

    It can lead samples of RUN to a class, also where RUN was trained without classes.
    """
    at_least(1, steps=steps)
    at_least(0, seed=seed)
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"--minutes: expected more than 0, got {minutes:g}.")
    folder = run / "classifier" if out_ is None else out_
    replaced = _refuse_occupied(folder, overwrite)
    from caminito.data import is_table

    model = network_of(run, "train-classifier")
    if is_table(data):
        raise DataError(f"{data}: expected images or arrays with classes, like those of {run}, got a table.")
    from caminito.estimators import NoisyClassifier
    from caminito.estimators.run import Run

    found = Run.open(run)
    source = source_of(data, resize=found.reading.resize, max_pixels=found.reading.max_pixels)
    reading = replace(found.reading, classes=True)
    items, labels = reading.items(source), _classes(source, reading, data)
    if reading.event_shape(source) != model.event_shape_:
        shapes = (reading.words(facts["item_shape"]) for facts in (found.facts, source.facts))
        then, now = (f"{kind} of {size}" for kind, size in shapes)
        raise ShapeError(f"{data}: expected {then}, as {run} was trained on, got {now}. Give data of that shape.")

    section(f"Training {folder}")
    out.print(facts_table(_understood(source, reading)))
    _, held = found.rows(source)
    classifier = NoisyClassifier(model, max_steps=steps, minutes=minutes, random_state=seed, device=model.device)
    last = _fit(classifier, items, labels, held)
    if last is None or last.fraction < 1:
        _stopped(classifier, folder, last, replaced)
        raise typer.Exit(130)
    classifier.save(folder)
    section("Done")
    line("trained", f"{last.step} steps in {duration(last.elapsed)}")
    line("classifier", str(folder))
    some = held[:_MOST]
    if len(some):
        _judged(classifier.accuracy_by_noise(items[some], labels[some]), labels[some])
    section("Next")
    led = "--guidance-by classifier" if out_ is None else f"--guide {folder}"
    word = shlex.quote(str(classifier.classes_.tolist()[-1]))
    out.print(f"  caminito sample {run} --class {word} --guidance 2 {led}", soft_wrap=True, markup=False)
    out.print("  from caminito.estimators import NoisyClassifier", soft_wrap=True)
    asked = repr(classifier.classes_.tolist()[-1])
    out.print(f"  log_prob = NoisyClassifier.load({str(folder)!r}).log_prob({asked})", soft_wrap=True)
    out.print()


def _refuse_occupied(folder: Path, overwrite: bool) -> bool:
    """Whether there is a classifier that is to be replaced; anything else at its place is refused."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    from caminito._files import read_json

    try:
        facts = read_json(folder / "manifest.json") if folder.is_dir() else None
    except RunError:
        facts = None
    if not isinstance(facts, dict) or facts.get("estimator") != "NoisyClassifier":
        raise RunError(
            f"{folder} exists already and is not an empty folder. Nothing is overwritten: choose another place with "
            "--out."
        )
    if not overwrite:
        raise RunError(
            f"{folder} holds a classifier already ({facts.get('n_steps')} steps). Replace it with --overwrite, or "
            "choose another place with --out."
        )
    return True


def _classes(source: Source, reading: Reading, data: str) -> np.ndarray:
    """The class of each item."""
    count = len(source.classes or ())
    labels = reading.labels(source) if count > 1 else None
    if labels is None:
        got = "one class alone" if count == 1 else "none"
        raise DataError(
            f"{data}: expected items of at least two classes, got {got}. Put images in a folder for each class, or "
            "labels beside an array (y in an .npz)."
        )
    return labels


def _understood(source: Source, reading: Reading) -> list[tuple[str, str, str]]:
    kind, size = reading.words(source.facts["item_shape"])
    counts = source.facts["class_counts"]
    names, least, most = list(counts), min(counts.values()), max(counts.values())
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    spread = f"{least}" if least == most else f"{least} to {most}"
    return [
        (kind, f"{source.facts['count']:,} of {size}".replace(",", " "), ""),
        ("classes", f"{len(names)}: {shown}", f"{spread} items each"),
    ]


def _fit(classifier: NoisyClassifier, items: np.ndarray, labels: np.ndarray, held: np.ndarray) -> Progress | None:
    """Train until the budget is spent or Ctrl-C was pressed; the last step that was done."""
    progress: Progress | None = None
    loss = ""
    steps: Any = classifier.fit_iter(items, labels, held_out=held)
    with Stop() as stop, closing(steps), bar(*_FIELDS) as view:
        task = view.add_task("  starting", total=1.0, step="", loss="", held="", speed="", left=None)
        for progress in steps:
            if not view.tasks[task].fields["step"]:
                choices = classifier.describe()
                section("Chosen from the data")
                out.print(facts_table([(name, str(choice.value), choice.why) for name, choice in choices.items()]))
                out.print()
            if progress.validation is not None:
                loss = f"held-out {progress.validation.mean:.3f}"
            view.update(
                task,
                description="  training",
                completed=progress.fraction,
                step=f"step {progress.step}",
                loss=f"loss {progress.loss:.3f}",
                held=loss,
                speed=f"{number(progress.items_per_second)} items/s",
                left=progress.remaining,
            )
            if progress.validation is not None and not out.is_terminal:
                out.print(
                    f"  step {progress.step:>6}  {100 * progress.fraction:3.0f} %  loss {progress.loss:.4f}  {loss}  "
                    f"{number(progress.items_per_second)} items/s  {duration(progress.remaining)} left",
                    soft_wrap=True,
                )
            if stop.requested:
                break
    return progress


def _stopped(classifier: NoisyClassifier, folder: Path, last: Progress | None, replaced: bool) -> None:
    """After Ctrl-C: what was learnt is kept, unless a whole classifier would be lost for it."""
    err.print()
    done = 0.0 if last is None else last.fraction
    if last is None or replaced:
        kept = f"{folder} is as it was." if replaced else "Nothing was written."
        err.print(f"Interrupted at {100 * done:.0f} %. {kept}", soft_wrap=True)
        return
    classifier.save(folder)
    err.print(f"Interrupted at step {last.step} ({100 * done:.0f} %). What it learnt is in {folder}.", soft_wrap=True)
    err.print("Train it to the end with --overwrite, from its beginning.", soft_wrap=True)


def _judged(found: list[NoiseAccuracy], labels: np.ndarray) -> None:
    """Accuracy at each noise level, beside that of guessing."""
    import numpy as np

    guessed = np.unique(labels, return_counts=True)[1].max() / len(labels)
    section(f"Told apart, of {len(labels)} held-out items")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("  noise", "right", "-log p, nats"):
        table.add_column(name, justify="right", no_wrap=True)
    for level in found:
        name = "none" if level.noise == 0 else number(level.noise)
        table.add_row(f"  {name}", f"{100 * level.accuracy:.1f} %", number(level.cross_entropy))
    out.print(table)
    out.print()
    out.print(
        f"Noise is its standard deviation, that of the data being 1. Guessing the most frequent class is right for "
        f"{100 * guessed:.1f} %.",
        soft_wrap=True,
    )
