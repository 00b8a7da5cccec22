"""`caminito calibrate`: the times at which a solver with few steps does best, found once and kept with the run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from caminito._errors import ConfigError, RunError
from caminito.cli.console import counted, duration, number, out, section
from caminito.cli.options import DataIfMoved, RunPath, at_least, network_of, source_of_run

if TYPE_CHECKING:
    from caminito.estimators import CalibratedGrid, DiffusionModel

__all__ = ["calibrate"]

_METHODS = ("auto", "search", "klub", "score", "trajectory")


def calibrate(
    run: RunPath,
    data: DataIfMoved = None,
    steps: Annotated[int, typer.Option("--steps", metavar="S", help="Steps of the solver.")] = 8,
    solver: Annotated[
        str | None, typer.Option("--solver", metavar="NAME", help="dpmpp2m, unipc, ddim, ...; else what suits so few.")
    ] = None,
    method: Annotated[
        str,
        typer.Option("--method", metavar="M", help="search, klub (for solvers that draw noise), score or trajectory."),
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", metavar="K", help="The same seed gives the same times.")] = 0,
) -> None:
    """Find the best times for few steps of a solver, and keep them with RUN.

    `caminito sample RUN --steps S` uses them from then on.
    """
    at_least(1, steps=steps)
    at_least(0, seed=seed)
    if method not in _METHODS:
        raise ConfigError(f"--method: expected one of {', '.join(_METHODS)}, got {method!r}.")
    from caminito.estimators import save_model
    from caminito.estimators.run import Run
    from caminito.sampling import name_of, solver_named

    rule = None if solver is None else solver_named(solver)
    model, found = network_of(run, "calibrate"), Run.open(run)
    if found.status["state"] == "running":
        raise RunError(f"{run} is being trained: its times would not fit the model it becomes. Wait for its end.")
    source = source_of_run(found, data)
    rows, _ = found.rows(source)
    items, labels = found.reading.items(source)[rows], found.reading.labels(source)
    clock = time.monotonic()
    with counted(f"Calibrating {steps} steps") as progress:
        kept = model.calibrate(
            items,
            steps,
            None if labels is None else labels[rows],
            solver=rule,
            method=method,  # type: ignore[arg-type]
            random_state=seed,
            progress=progress,
        )
    seconds = time.monotonic() - clock
    save_model(model, found.path / "model")
    found.events.append("calibrate", step=model.n_steps_, seconds=seconds, grid=kept.to_dict())
    section(f"{steps} steps of {name_of(kept.solver)}, by {kept.method}, in {duration(seconds)}")
    out.print(_table(model, kept))
    out.print()
    out.print(_in_words(kept), soft_wrap=True)
    flag = "" if solver is None else f" --solver {solver}"
    out.print(f"Kept with the run. Used by: caminito sample {run} --steps {steps}{flag}", style="dim", soft_wrap=True)


def _table(model: DiffusionModel, kept: CalibratedGrid) -> Table:
    """Noise levels before and after, step by step."""
    from caminito.estimators import CalibratedGrid

    _, usual = model.solver_and_grid(kept.n_steps, kept.solver, calibrated=False)
    before = CalibratedGrid(kept.solver, usual, kept.method).levels(model.process_)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("  step", "noise before", "noise now"):
        table.add_column(name, justify="right", no_wrap=True)
    for i, (old, new) in enumerate(zip(before, kept.levels(model.process_))):
        table.add_row(str(i), number(old), number(new))
    return table


def _in_words(kept: CalibratedGrid) -> str:
    if kept.before is None or kept.after is None:
        return "A solver that draws noise does not end where more steps end: compare with caminito evaluate."
    end = f"{number(kept.before)} before, {number(kept.after)} now"
    if kept.after >= kept.before:
        return f"Distance from the samples of {16 * kept.n_steps} steps, per value: {end}. Nothing was gained."
    return f"Distance from the samples of {16 * kept.n_steps} steps, per value: {end} (spread of the data: 1)."
