"""`caminito train`: from data to a run directory, with everything visible on the way."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caminito._errors import ConfigError, StorageError
from caminito.cli.console import Stop, bar, duration, err, facts_table, line, number, out, section
from caminito.cli.options import (
    Classes,
    ConfigFile,
    DataIfNew,
    MaxPixels,
    Minutes,
    Resize,
    Seed,
    Set,
    Steps,
    config_of,
    opened,
    source_of_run,
    understood,
)

if TYPE_CHECKING:
    from caminito.data import Source
    from caminito.estimators.run import Run
    from caminito.training import Progress

__all__ = ["train"]


def train(
    data: DataIfNew = None,
    out_: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="Where the run goes; runs/NAME-TIME unless given.")
    ] = None,
    minutes: Minutes = None,
    steps: Steps = None,
    config: ConfigFile = None,
    set_: Set = None,
    seed: Seed = None,
    resize: Resize = None,
    max_pixels: MaxPixels = None,
    classes: Classes = True,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped, exactly.")
    ] = None,
) -> None:
    """Train on DATA and write a run directory.

    Ctrl-C stops it and keeps everything; --resume RUN goes on from there, exactly.
    """
    if resume is not None:
        given: dict[str, Any] = {
            "--out": out_,
            "--minutes": minutes,
            "--steps": steps,
            "--config": config,
            "--set": set_ or None,
            "--seed": seed,
            "--resize": resize,
            "--max-pixels": max_pixels,
            "--no-classes": None if classes else True,
        }
        if named := [name for name, value in given.items() if value is not None]:
            raise ConfigError(
                f"--resume goes on with a run as it was started and takes no other options, got {', '.join(named)}. "
                "Leave them out, or start a new run."
            )
        _go_on(resume, data)
        return
    if data is None:
        raise ConfigError("train: expected DATA, got nothing. Give a folder of images, a file, or the word digits.")
    options = config_of(config, set_, minutes=minutes, steps=steps, seed=seed)
    if out_ is not None and out_.exists() and (not out_.is_dir() or any(out_.iterdir())):
        from caminito.estimators.run import refuse_occupied

        refuse_occupied(out_)
    source, reading = opened(data, resize=resize, max_pixels=max_pixels, classes=classes)
    from caminito.estimators.run import Run

    run = Run.create(out_ or _place(data), options, source, reading)
    _train(run, source, resume=False)


def _go_on(path: Path, data: str | None) -> None:
    from caminito.estimators.run import Run

    run = Run.open(path)
    run.check_resumable()
    _train(run, source_of_run(run, data), resume=True)


def _place(data: str) -> Path:
    """Where a run goes when nobody says: runs/digits, runs/digits-2, ...; runs/NAME-20261121-1530 for other data."""
    name = Path(data).expanduser().resolve().name.split(".")[0] or "run"
    path = Path("runs", name if data == "digits" else f"{name}-{time.strftime('%Y%m%d-%H%M')}")
    number, first = 2, path
    while path.exists():
        path, number = first.with_name(f"{first.name}-{number}"), number + 1
    return path


def _train(run: Run, source: Source, *, resume: bool) -> None:
    section(f"Going on with {run.path}" if resume else f"Training {run.path}")
    out.print(facts_table(understood(source, run.reading)))
    progress: Progress | None = None
    with Stop() as stop, closing(run.train(source, resume=resume)) as steps, bar(*_FIELDS) as view:
        task = view.add_task("  starting", total=1.0, step="", loss="", held="", speed="", left=None)
        try:
            for progress in steps:
                if not view.tasks[task].fields["step"]:
                    _chosen(run)
                held = run.model.history_[-1]["loss"] if run.model is not None and run.model.history_ else None
                view.update(
                    task,
                    description="  training",
                    completed=progress.fraction,
                    step=f"step {progress.step}",
                    loss=f"loss {progress.loss:.3f}",
                    held="" if held is None else f"held-out {held:.3f}",
                    speed=f"{number(progress.items_per_second)} items/s",
                    left=progress.remaining,
                )
                if progress.validation is not None and not out.is_terminal:
                    out.print(
                        f"  step {progress.step:>6}  {100 * progress.fraction:3.0f} %  loss {progress.loss:.4f}  "
                        f"held-out {progress.validation.mean:.4f}  {number(progress.items_per_second)} items/s  "
                        f"{duration(progress.remaining)} left",
                        soft_wrap=True,
                    )
                if stop.requested and progress.fraction < 1:
                    break
        except KeyboardInterrupt:
            stop.requested = True
        except StorageError as error:
            raise StorageError(error.errno, f"{error.strerror} Go on with: {run.resume_command}") from error
    if run.status["state"] != "finished":
        _stopped(run)
        raise typer.Exit(130)
    _finished(run, progress)


_FIELDS = ("{task.fields[step]}", "{task.fields[loss]}", "{task.fields[held]}", "{task.fields[speed]}")


def _chosen(run: Run) -> None:
    if run.model is None:
        return
    section("Chosen from the data")
    out.print(facts_table([(name, str(c.value), c.why) for name, c in run.model.describe().items()]))
    out.print()
    out.print("  Ctrl-C stops and keeps everything; the run can go on later.", style="dim")
    out.print()


def _stopped(run: Run) -> None:
    status = run.status
    err.print()
    err.print(f"Interrupted at step {status['step']} ({100 * status['fraction']:.0f} %): {status['message']}.")
    err.print(f"Go on with:     {run.resume_command}", soft_wrap=True)
    if (run.path / "model" / "manifest.json").is_file():
        err.print(f"Look at it now: caminito sample {run.path}", soft_wrap=True)


def _finished(run: Run, progress: Progress | None) -> None:
    status = run.status
    held = status.get("held_out_loss")
    section("Done")
    line("trained", f"{status['step']} steps in {duration(status.get('elapsed', 0.0))}")
    if held is not None:
        line("held-out", f"loss {held:.4f}, averaged over noise levels")
    line("model", str(run.path / "model"))
    if (run.path / "samples" / "final.png").is_file():
        line("samples", str(run.path / "samples" / "final.png"))
    section("Next")
    out.print(f"  caminito sample {run.path} -n 100", soft_wrap=True)
    out.print(f"  caminito evaluate {run.path}", soft_wrap=True)
    out.print(f"  caminito report {run.path}", soft_wrap=True)
    out.print()
