"""`caminito report`: everything about a run on one page that needs nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from caminito._errors import CaminitoError
from caminito.cli.console import out
from caminito.cli.options import DataIfMoved, RunPath, network_of, source_of_run
from caminito.cli.tables import table_of_run

if TYPE_CHECKING:
    from caminito.estimators.folder import RunFolder
    from caminito.estimators.run import Run
    from caminito.estimators.table_run import TableRun

__all__ = ["report"]

T = TypeVar("T")


def report(
    run: RunPath,
    data: DataIfMoved = None,
    out_: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="RUN/report.html unless given.")] = None,
) -> None:
    """Write everything about RUN on one HTML page."""
    from caminito._files import write_atomic
    from caminito.estimators.run import Run, open_run

    found = open_run(run)
    text = _of_network(found, data) if isinstance(found, Run) else _of_table(found, data)
    target = run / "report.html" if out_ is None else out_
    write_atomic(target, text.encode())
    out.print(f"Written to {target} ({len(text) / 2**20:.1f} MB, nothing else is needed to read it)", soft_wrap=True)


def _of_network(run: Run, data: str | None) -> str:
    from caminito.cli.evaluate import measured
    from caminito.cli.page import page

    model = network_of(run.path, "report")
    source = _data(lambda: source_of_run(run, data), data)
    metrics = _metrics(run, model.n_steps_, source, lambda source: measured(run, model, source))
    return page(run, model, source, metrics)


def _of_table(run: TableRun, data: str | None) -> str:
    from caminito.cli.table_judged import measured_table
    from caminito.cli.table_page import table_page

    model = run.load()
    source = _data(lambda: table_of_run(run, data), data)
    metrics = _metrics(run, None, source, lambda source: measured_table(run, model, source))
    return table_page(run, model, source, metrics)


def _data(read: Callable[[], T], data: str | None) -> T | None:
    """The data, or None where they are no longer at hand: the page then does without what needs them."""
    try:
        return read()
    except CaminitoError as error:
        if data is not None:
            raise
        out.print(f"note  {error} The page is made without them.", style="yellow", soft_wrap=True)
        return None


def _metrics(
    run: RunFolder, steps: int | None, source: T | None, measured: Callable[[T], dict[str, Any]]
) -> dict[str, Any] | None:
    """What `evaluate` wrote of these weights; measured now if that was not done."""
    from caminito._files import read_json

    path = run.path / "metrics.json"
    if path.is_file():
        written: dict[str, Any] = read_json(path)
        if written.get("trained_steps") == steps:
            return written
    if source is None:
        return None
    try:
        with warnings.catch_warnings():
            return measured(source)
    except CaminitoError as error:
        out.print(f"note  {error}", style="yellow", soft_wrap=True)
        return None
