"""The run directory of a table: config.yaml, data.json, env.json, events.jsonl, status.json, model/ and card.md.

A run that was stopped is fitted again from its beginning, to the same model: all that is drawn is drawn from its seed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import caminito
from caminito._errors import CaminitoError, RunError
from caminito._files import write_atomic
from caminito._random import seed_from
from caminito.data import TableSource, holdout
from caminito.estimators.card import table_card
from caminito.estimators.folder import RunFolder, altered, refuse_occupied, stored, written
from caminito.estimators.schema import TableConfig, parse_table_config
from caminito.estimators.table import TableDiffusion
from caminito.estimators.table_progress import FitProgress, watched
from caminito.estimators.table_reading import TableReading

__all__ = ["LEAST_HELD_OUT", "TableRun"]

LEAST_HELD_OUT = 10
"""Rows that are worth keeping aside: with fewer nothing is measured, so none are."""

_TOLD = 0.5  # seconds between two writings of where a fit stands


class TableRun(RunFolder):
    """A run directory of a table.

    Use `TableRun.create` for a new one and `TableRun.open` for one that exists.

    Attributes
    ----------
    config : TableConfig
    reading : TableReading
        How the file is handed to the estimator.
    """

    def __init__(self, path: Path, config: TableConfig, facts: dict[str, Any], reading: TableReading) -> None:
        super().__init__(path, facts)
        self.config, self.reading = config, reading

    @classmethod
    def create(cls, path: str | Path, config: TableConfig, source: TableSource, reading: TableReading) -> TableRun:
        """A new run of a table, not yet trained.

        Raises
        ------
        RunError
            If there is something at `path` already: nothing is ever overwritten.
        ConfigError
            If the options do not fit the table.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            refuse_occupied(path)
        reading.check(config, source)
        if config.random_state is None:
            config = config.model_copy(update={"random_state": seed_from(None)})
        where = str(Path(source.facts["path"]).resolve())
        facts = source.facts | {"path": where, "reading": reading.to_dict()}
        written(path, config, facts)
        run = cls(path, config, facts, reading)
        run._tell(state="created", fraction=0.0, started=time.time())
        return run

    @classmethod
    def open(cls, path: str | Path) -> TableRun:
        """The run at `path`.

        Raises
        ------
        RunError
            If there is none, or it is not of a table.
        """
        path = Path(path)
        options, facts = stored(path)
        if facts.get("kind") != "table":
            raise RunError(f"{path}: expected the run of a table, this one is of a network. Open it with `open_run`.")
        try:
            return cls(path, parse_table_config(options), facts, TableReading.from_dict(facts["reading"]))
        except (TypeError, KeyError) as error:
            raise altered(path, error) from error

    def check_data(self, source: TableSource) -> None:
        """Refuse data other than those the run was started with.

        Raises
        ------
        RunError
            If the fingerprints differ.
        """
        then, now = (f"{f['count']} rows of {len(f['columns'])} columns" for f in (self.facts, source.facts))
        self._refuse_other(source.facts, then, now)

    def split(self, source: TableSource) -> tuple[Any, Any]:
        """Rows fitted to, and rows held out, which are at least ten or none; the target is the last column."""
        table, n = self.reading.table(source.frame), len(source.frame)
        train, held = np.arange(n), np.arange(0)
        if self.config.validation_fraction > 0 and round(self.config.validation_fraction * n) >= LEAST_HELD_OUT:
            train, held = holdout(n, self.config.validation_fraction, seed_from(self.config.random_state))
        return table.iloc[train].reset_index(drop=True), table.iloc[held].reset_index(drop=True)

    def arranged(self, frame: Any) -> Any:
        """Rows with their columns in the order of the file."""
        return frame[[column["name"] for column in self.facts["columns"]]]

    def load(self) -> TableDiffusion:
        """The fitted estimator.

        Raises
        ------
        RunError
            If the run was not trained to its end, or its files were cut or altered.
        """
        if not (self.path / "model" / "manifest.json").is_file():
            raise RunError(
                f"{self.path} holds no model yet: it is {self.standing}. Train it with: {self.resume_command}"
            )
        return TableDiffusion.load(self.path / "model")

    def train(
        self,
        source: TableSource,
        *,
        resume: bool = False,
        report: Callable[[FitProgress], None] | None = None,
    ) -> TableDiffusion:
        """Fit to a table and write everything down, meanwhile in status.json how far it is.

        Parameters
        ----------
        source : TableSource
        resume : bool
            Whether the run was started before; it is fitted from its beginning, to the same model.
        report : callable, optional
            Called with each `FitProgress`; what it raises ends the fit.

        Raises
        ------
        RunError
            If the run was started before and `resume` is not set; if it is finished, or being trained by another
            process; if the data are not those it was started with.
        """
        self._claim(resume)
        self.check_data(source)
        self.events.append("resume" if resume else "start", step=0, version=caminito.__version__)
        self._tell(state="running", pid=os.getpid(), message="")
        clock = time.monotonic()
        try:
            with watched(_Journal(self, report)):
                model = self.reading.build(self.config).fit(self.split(source)[0])
            fitted = time.monotonic()
            model.save(self.path / "model")
        except KeyboardInterrupt:
            message = "nothing was saved; going on starts from the beginning, to the same model"
            self._tell(state="interrupted", message=message)
            self.events.append("interrupt", elapsed=time.monotonic() - clock)
            raise
        except Exception as error:
            with contextlib.suppress(CaminitoError):
                self._tell(state="failed", message=str(error))
                self.events.append("fail", message=str(error))
            raise
        spent = {"training": fitted - clock, "saving": time.monotonic() - fitted}
        choices = {name: [str(choice.value), choice.why] for name, choice in model.describe().items()}
        self.events.append("choices", choices=choices)
        write_atomic(self.path / "card.md", table_card(self.name, self.facts, self.config, model, None).encode())
        self.events.append("finish", spent=spent)
        self._tell(state="finished", fraction=1.0, remaining=0.0, elapsed=sum(spent.values()), spent=spent, message="")
        return model


class _Journal:
    """Writes how far a fit is: to the log each thing that is done, to status.json where it stands."""

    def __init__(self, run: TableRun, report: Callable[[FitProgress], None] | None) -> None:
        self.run, self.report, self.what, self.told = run, report, "", 0.0

    def __call__(self, progress: FitProgress) -> None:
        now, run = time.monotonic(), self.run
        facts = {"fitted": progress.what, "done": progress.done, "total": progress.total}
        if progress.what != self.what:
            run.events.append("fitted", what=progress.what, done=progress.done, total=progress.total)
        if progress.what != self.what or now - self.told >= _TOLD:
            run._tell(**facts, fraction=progress.fraction, remaining=progress.remaining, elapsed=progress.elapsed)
            self.told = now
        self.what = progress.what
        if self.report is not None:
            self.report(progress)
