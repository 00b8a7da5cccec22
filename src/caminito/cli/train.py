"""`caminito train`: from data to a run directory, with everything visible on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    Texts,
    config_of,
    opened,
    refuse_flags,
    source_of_run,
    understood,
)
from caminito.cli.tables import (
    Constraints,
    Delimiter,
    Encoding,
    Missing,
    Mode,
    PrivacyK,
    TableFlags,
    Target,
    Types,
    opened_table,
    rows_of_table,
    table_config,
    table_of_run,
)

if TYPE_CHECKING:
    from caminito.data import Source, TableSource
    from caminito.estimators.choices import Description
    from caminito.estimators.folder import RunFolder
    from caminito.estimators.run import Run
    from caminito.estimators.table_progress import FitProgress
    from caminito.estimators.table_run import TableRun
    from caminito.training import Progress

__all__ = ["train"]

_QUIET = 5.0  # seconds between two lines on a fit, where there is no bar


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
    texts: Texts = True,
    target: Target = None,
    mode: Mode = None,
    types: Types = None,
    constraints: Constraints = None,
    privacy_k: PrivacyK = None,
    missing: Missing = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped, exactly.")
    ] = None,
) -> None:
    """Train on DATA and write a run directory.

    Ctrl-C stops it and keeps everything; --resume RUN goes on from there, exactly.
    """
    of_tables = TableFlags(target, mode, types, constraints, privacy_k, missing, delimiter, encoding)
    of_networks = {
        "--minutes": minutes,
        "--steps": steps,
        "--resize": resize,
        "--max-pixels": max_pixels,
        "--no-classes": None if classes else True,
        "--no-texts": None if texts else True,
    }
    if resume is not None:
        given = {"--out": out_, **of_networks, "--config": config, "--set": set_ or None, "--seed": seed}
        if named := [name for name, value in (given | of_tables.given()).items() if value is not None]:
            raise ConfigError(
                f"--resume goes on with a run as it was started and takes no other options, got {', '.join(named)}. "
                "Leave them out, or start a new run."
            )
        _go_on(resume, data)
        return
    if data is None:
        raise ConfigError(
            "train: expected DATA, got nothing. Give a folder of images, a file, a table, or the word digits."
        )
    if out_ is not None and out_.exists() and (not out_.is_dir() or any(out_.iterdir())):
        from caminito.estimators.folder import refuse_occupied

        refuse_occupied(out_)
    from caminito.data import is_table

    if is_table(data):
        from caminito.estimators.table_run import TableRun

        refuse_flags(of_networks, "a table")
        asked = table_config(config, set_, of_tables, seed=seed)
        table, taken = opened_table(data, asked, of_tables)
        _fit(TableRun.create(out_ or _place(data), asked, table, taken), table, resume=False)
        return
    refuse_flags(of_tables.given(), "images and arrays")
    options = config_of(config, set_, minutes=minutes, steps=steps, seed=seed)
    source, reading = opened(data, resize=resize, max_pixels=max_pixels, classes=classes, texts=texts)
    from caminito.estimators.run import Run

    _train(Run.create(out_ or _place(data), options, source, reading), source, resume=False)


def _go_on(path: Path, data: str | None) -> None:
    from caminito.estimators.run import Run, open_run

    run = open_run(path)
    run.check_resumable()
    if isinstance(run, Run):
        _train(run, source_of_run(run, data), resume=True)
    else:
        _fit(run, table_of_run(run, data), resume=True)


def _place(data: str) -> Path:
    """Where a run goes when nobody says: runs/digits, runs/digits-2, ...; runs/NAME-20261121-1530 for other data."""
    name = Path(data).expanduser().resolve().name.split(".")[0] or "run"
    path = Path("runs", name if data == "digits" else f"{name}-{time.strftime('%Y%m%d-%H%M')}")
    number, first = 2, path
    while path.exists():
        path, number = first.with_name(f"{first.name}-{number}"), number + 1
    return path


def _fit(run: TableRun, source: TableSource, *, resume: bool) -> None:
    """Fit trees to a table: seconds, or minutes where it is large."""
    _begun(run, rows_of_table(source, run.reading), resume)
    try:
        with Stop() as stop, bar("{task.fields[what]}") as view:
            task = view.add_task("  fitting", total=1.0, what="", left=None)
            model = run.train(source, resume=resume, report=_Fitting(stop, lambda **how: view.update(task, **how)))
    except KeyboardInterrupt:
        status = run.status
        err.print(f"\nInterrupted at {100 * status.get('fraction', 0.0):.0f} %: {status['message']}.", soft_wrap=True)
        err.print(f"Go on with: {run.resume_command}", soft_wrap=True)
        raise typer.Exit(130) from None
    _described(model.describe())
    train, held = run.split(source)
    section("Done")
    line("trained", f"on {number(len(train))} rows in {duration(run.status['elapsed'])}")
    line("held out", f"{number(len(held))} rows, to judge by" if len(held) else "nothing: there are too few rows")
    line("model", str(run.path / "model"))
    _next(run, f"caminito sample {run.path} -n 1000", f"caminito impute {run.path} DATA")


class _Fitting:
    """Shows how far a fit is, and ends it between two of its parts when Ctrl-C was pressed."""

    def __init__(self, stop: Stop, update: Callable[..., None]) -> None:
        self.stop, self.update, self.shown = stop, update, time.monotonic()

    def __call__(self, progress: FitProgress) -> None:
        if self.stop.requested and progress.done < progress.total:
            raise KeyboardInterrupt
        left = progress.remaining
        self.update(completed=progress.fraction, what=f"fitted {progress.what}", left=left)
        if not out.is_terminal and time.monotonic() - self.shown > _QUIET:
            rest = "" if left is None else f"  {duration(left)} left"
            out.print(f"  fitted {progress.what}  {100 * progress.fraction:3.0f} %{rest}", soft_wrap=True)
            self.shown = time.monotonic()


def _train(run: Run, source: Source, *, resume: bool) -> None:
    _begun(run, understood(source, run.reading), resume)
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
    _described(run.model.describe())
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
    _next(run, f"caminito sample {run.path} -n 100")


def _begun(run: RunFolder, facts: list[tuple[str, str, str]], resume: bool) -> None:
    section(f"Going on with {run.path}" if resume else f"Training {run.path}")
    out.print(facts_table(facts))


def _described(choices: Description) -> None:
    section("Chosen from the data")
    out.print(facts_table([(name, str(choice.value), choice.why) for name, choice in choices.items()]))


def _next(run: RunFolder, *commands: str) -> None:
    section("Next")
    for command in (*commands, f"caminito evaluate {run.path}", f"caminito report {run.path}"):
        out.print(f"  {command}", soft_wrap=True)
    out.print()
