"""`caminito report`: everything about a run on one page that needs nothing else."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caminito._errors import CaminitoError
from caminito.cli.console import out
from caminito.cli.options import DataIfMoved, RunPath, source_of_run

if TYPE_CHECKING:
    from caminito.data import Source
    from caminito.estimators import DiffusionModel
    from caminito.estimators.run import Run

__all__ = ["report"]


def report(
    run: RunPath,
    data: DataIfMoved = None,
    out_: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="RUN/report.html unless given.")] = None,
) -> None:
    """Write everything about RUN on one HTML page."""
    from caminito._files import write_atomic
    from caminito.cli.page import page
    from caminito.estimators.run import Run, load

    model, found = load(run), Run.open(run)
    source = _data(found, data)
    metrics = _metrics(found, model, source)
    text = page(found, model, source, metrics)
    target = run / "report.html" if out_ is None else out_
    write_atomic(target, text.encode())
    out.print(f"Written to {target} ({len(text) / 2**20:.1f} MB, nothing else is needed to read it)", soft_wrap=True)


def _data(run: Run, data: str | None) -> Source | None:
    """The data, or None where they are no longer at hand: the page then does without what needs them."""
    try:
        return source_of_run(run, data)
    except CaminitoError as error:
        if data is not None:
            raise
        out.print(f"note  {error} The page is made without them.", style="yellow", soft_wrap=True)
        return None


def _metrics(run: Run, model: DiffusionModel, source: Source | None) -> dict[str, Any] | None:
    """What `evaluate` wrote of these weights; measured now if that was not done."""
    from caminito._files import read_json
    from caminito.cli.evaluate import measured

    path = run.path / "metrics.json"
    if path.is_file():
        written: dict[str, Any] = read_json(path)
        if written.get("trained_steps") == model.n_steps_:
            return written
    if source is None:
        return None
    try:
        with warnings.catch_warnings():
            return measured(run, model, source)
    except CaminitoError as error:
        out.print(f"note  {error}", style="yellow", soft_wrap=True)
        return None
