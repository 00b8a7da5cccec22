"""`caminito evaluate`: samples judged against held-out data, each figure beside what real data would get."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from caminito._errors import DataError, Memorisation
from caminito.cli.console import counted, number, out, section
from caminito.cli.options import DataIfMoved, RunPath, at_least, network_of, refuse_flags, source_of_run
from caminito.cli.tables import table_of_run

if TYPE_CHECKING:
    from caminito.data import Source
    from caminito.estimators import DiffusionModel
    from caminito.estimators.run import Run
    from caminito.estimators.table_run import TableRun
    from caminito.sampling import Solver

__all__ = ["NAMES", "evaluate", "measured"]

_LEAST, _MOST = 10, 2000
_COPIES = 0.8  # a gauge below this share of its floor is taken for memorisation

NAMES = {
    "sliced_wasserstein": "sliced Wasserstein",
    "energy_distance": "energy distance",
    "mmd": "MMD",
    "c2st": "C2ST",
    "frechet": "Fréchet distance",
    "copy_gauge": "copy gauge",
}

_SHORT = {
    "sliced_wasserstein": "how far mass must move",
    "energy_distance": "difference of pairwise distances",
    "mmd": "difference of smoothed densities",
    "c2st": "how often a judge tells them apart",
    "precision": "share of samples that look real",
    "recall": "share of real data in reach",
    "frechet": "difference of means and covariances",
    "copy_gauge": "near 0: copies of training items",
}


def evaluate(
    run: RunPath,
    data: DataIfMoved = None,
    count: Annotated[int | None, typer.Option("-n", "--count", metavar="N", help="How many samples to judge.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="S", help="Steps of the solver.")] = None,
    solver: Annotated[str | None, typer.Option("--solver", metavar="NAME", help="As for sample.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="K", help="Seed of the samples.")] = 1,
) -> None:
    """Judge samples of RUN against the data it never saw."""
    at_least(_LEAST, n=count)
    at_least(1, steps=steps)
    at_least(0, seed=seed)
    from caminito.estimators.run import Run, open_run
    from caminito.sampling import solver_named

    rule = None if solver is None else solver_named(solver)
    found = open_run(run)
    if not isinstance(found, Run):
        refuse_flags({"--steps": steps, "--solver": solver}, "the run of a table")
        _evaluate_table(found, data, count, seed)
        return
    model = network_of(run, "evaluate")
    source = source_of_run(found, data)
    metrics = measured(found, model, source, count=count, steps=steps, solver=rule, seed=seed)
    section(f"{metrics['n_samples']} samples against {metrics['n_held_out']} held-out items")
    out.print(_table(metrics, NAMES, _SHORT))
    out.print()
    out.print(_in_words(metrics), soft_wrap=True)
    out.print(f"Written to {found.path / 'metrics.json'}", style="dim", soft_wrap=True)


def _evaluate_table(run: TableRun, data: str | None, count: int | None, seed: int) -> None:
    from caminito.cli.table_judged import SHORT, TITLES, in_words, measured_table

    model, source = run.load(), table_of_run(run, data)
    metrics = measured_table(run, model, source, count=count, seed=seed)
    against = f"{metrics['n_held_out']} held-out" if metrics["n_held_out"] else "no held-out"
    section(f"{metrics['n_samples']} made rows against {metrics['n_train']} real and {against} ones")
    out.print(_table(metrics, TITLES, SHORT))
    out.print()
    out.print(in_words(metrics), soft_wrap=True)
    out.print(f"Written to {run.path / 'metrics.json'}", style="dim", soft_wrap=True)


def measured(
    run: Run,
    model: DiffusionModel,
    source: Source,
    *,
    count: int | None = None,
    steps: int | None = None,
    solver: Solver | None = None,
    seed: int = 1,
) -> dict[str, Any]:
    """Draw samples, judge them, and write metrics.json and the card; returns what was written.

    Raises
    ------
    DataError
        If fewer than ten items were held out.
    """
    from dataclasses import asdict

    import numpy as np

    import caminito
    from caminito._files import write_atomic, write_json
    from caminito.estimators.card import card
    from caminito.metrics import copy_gauge, two_sample
    from caminito.sampling import name_of

    train, held = run.split(source)
    if len(held) < _LEAST:
        raise DataError(
            f"evaluate: expected at least {_LEAST} held-out items to judge by, this run has {len(held)}. "
            "Train with more data, or with --set validation_fraction=0.3."
        )
    wanted = min(_MOST, len(held)) if count is None else count
    clock = time.monotonic()
    with counted(f"Drawing {wanted} samples") as progress:
        rows = run.rows(source)[1]
        asked = run.asked_of(source, rows[np.arange(wanted) % len(rows)])
        samples = model.sample(
            wanted, condition=asked, random_state=seed, n_steps=steps, solver=solver, progress=progress
        )
    drawn, clock = time.monotonic() - clock, time.monotonic()
    with out.status("Comparing"):
        scores = two_sample(samples, held, train, max_items=_MOST)
        gauge = copy_gauge(samples[:_MOST], train, held[:_MOST])
    if gauge.ratio < _COPIES * gauge.floor:
        warnings.warn(
            f"samples lie closer to the training data than unseen data do: copy gauge {gauge.ratio:.2f}, unseen data "
            f"{gauge.floor:.2f}; {gauge.exact} of {gauge.n_samples} are exact copies. The model repeats what it was "
            "shown: use more data, a smaller network, or a shorter training.",
            Memorisation,
            stacklevel=2,
        )
    rule, grid = model.solver_and_grid(steps, solver)
    metrics = {
        "n_samples": wanted,
        "n_held_out": len(held),
        "n_train": len(train),
        "steps": len(grid) - 1,
        "solver": name_of(rule),
        "seed": seed,
        "trained_steps": model.n_steps_,
        "version": caminito.__version__,
        "scores": {name: score._asdict() for name, score in scores.items()},
        "copies": asdict(gauge),
        "memorised": gauge.ratio < _COPIES * gauge.floor,
        "seconds": {"sampling": drawn, "judging": time.monotonic() - clock},
    }
    write_json(run.path / "metrics.json", metrics)
    write_atomic(run.path / "card.md", card(run.name, run.facts, model, metrics).encode())
    run.events.append("evaluate", step=model.n_steps_, seconds=metrics["seconds"])
    return metrics


def _table(metrics: dict[str, Any], names: dict[str, str], short: dict[str, str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("  measure", no_wrap=True)
    table.add_column("samples", justify="right", style="bold", no_wrap=True)
    table.add_column("real data", justify="right", no_wrap=True)
    table.add_column("better", style="dim", no_wrap=True)
    table.add_column("what it says", style="dim")
    for name, score in metrics["scores"].items():
        better = "↓" if score["better"] == "lower" else "↑"
        shown = names.get(name, name.replace("_", " "))
        table.add_row(f"  {shown}", number(score["value"]), number(score["floor"]), better, short.get(name, ""))
    return table


def _in_words(metrics: dict[str, Any]) -> str:
    scores, copies = metrics["scores"], metrics["copies"]
    told, precision, recall = scores["c2st"]["value"], scores["precision"], scores["recall"]
    return (
        f"{100 * precision['value']:.0f} % of the samples look real and {100 * recall['value']:.0f} % of the real data "
        f"are within their reach (real data: {100 * precision['floor']:.0f} and {100 * recall['floor']:.0f} %). "
        f"A nearest-neighbour judge is right {100 * told:.0f} % of the time; "
        f"guessing gives 50. {copies['close']} of {copies['n_samples']} samples are suspiciously close to a training "
        f"item ({copies['close_expected']:.0f} expected of fresh data), {copies['exact']} are exact copies."
    )
