"""The run directory: everything about one training, in files that a person can read.

    config.yaml     the estimator's parameters          events.jsonl   what happened, appended line by line
    data.json       what was understood of the data     status.json    where training stands
    env.json        versions and machine                samples/       pictures, the first from an early network
    checkpoints/    to go on exactly after a stop       model/         what `load` reads: weights, codec, process
    snapshots/      to average the weights anew         metrics.json   what `evaluate` measured
    card.md         all of it in words

That of a table has no checkpoints, snapshots and pictures.

Files appear whole or not at all. A run that was stopped, by Ctrl-C, `kill -9` or a full disk, goes on from its last
checkpoint and ends with the weights it would have had. Nothing in it depends on where it lies: it can be moved or
copied, and only `data.json` remembers where the data were.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import caminito
from caminito import plot
from caminito._errors import CaminitoError, RunError
from caminito._files import read_json, write_atomic
from caminito._random import seed_from
from caminito.data import Source, describe_source, holdout
from caminito.estimators.card import card
from caminito.estimators.folder import RunFolder, altered, kind_of_run, refuse_occupied, stored, written
from caminito.estimators.model import DiffusionModel
from caminito.estimators.picture import preview, recipe
from caminito.estimators.reading import Reading
from caminito.estimators.schema import ModelConfig, parse_config, parse_training
from caminito.estimators.store import load_model, save_model
from caminito.training import Progress, save_checkpoint

if TYPE_CHECKING:
    from caminito.estimators.cascade import CascadeDiffusion
    from caminito.estimators.noisy_classifier import NoisyClassifier
    from caminito.estimators.table import TableDiffusion
    from caminito.estimators.table_run import TableRun

__all__ = ["Run", "load", "load_run", "open_run"]

_TELL = 1.0  # seconds between lines of the log
_FIRST_PICTURE = 1 / 64  # share of the budget at the first picture; each next one at twice that
_SHOWN = 64  # samples in a picture, at most, where each has the conditions of an item
_PICTURE_SHARE = 0.03  # of the time so far that the next picture may cost


class Run(RunFolder):
    """A run directory of a network: images, arrays, rows of numbers.

    Use `Run.create` for a new one and `Run.open` for one that exists.

    Attributes
    ----------
    path : Path
    config : ModelConfig
    facts : dict
        What data.json says.
    reading : Reading
        How the data are handed to the estimator.
    events : EventLog
    model : DiffusionModel or None
        The estimator, once `train` has taken its first step.
    """

    def __init__(self, path: Path, config: ModelConfig, facts: dict[str, Any], reading: Reading) -> None:
        super().__init__(path, facts)
        self.config, self.reading = config, reading
        self.model: DiffusionModel | None = None

    # -- making and finding -------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | Path, config: ModelConfig, source: Source, reading: Reading | None = None) -> Run:
        """A new run of a source, not yet trained.

        Raises
        ------
        RunError
            If there is something at `path` already: nothing is ever overwritten.
        ConfigError
            If the options do not fit each other or the data.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            refuse_occupied(path)
        reading = Reading.of(source) if reading is None else reading
        reading.check(config, source)
        if config.random_state is None:
            config = config.model_copy(update={"random_state": seed_from(None)})
        where = str(source.facts["path"])
        facts = describe_source(source) | {"reading": reading.to_dict()}
        if source.kind != "digits":
            facts["path"] = str(Path(where).expanduser().resolve())
        written(path, config, facts)
        run = cls(path, config, facts, reading)
        run._tell(state="created", step=0, fraction=0.0, started=time.time())
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run at `path`.

        Raises
        ------
        RunError
            If there is none, with the runs that are near.
        """
        path = Path(path)
        options, facts = stored(path)
        if facts.get("kind") == "table":
            raise RunError(f"{path}: expected the run of a network, this one is of a table. Open it with `open_run`.")
        try:
            return cls(path, parse_config(options), facts, Reading.from_dict(facts["reading"]))
        except (TypeError, KeyError) as error:
            raise altered(path, error) from error

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is one to go on from."""
        return (self.path / "checkpoints" / "latest.json").is_file()

    # -- data ---------------------------------------------------------------------------------------------------------

    def check_data(self, source: Source) -> None:
        """Refuse data other than those the run was started with.

        Raises
        ------
        RunError
            If the fingerprints differ.
        """
        then, now = (
            f"{facts['count']} items of shape {_by(facts['item_shape'])}" for facts in (self.facts, source.facts)
        )
        self._refuse_other(source.facts, then, now)

    def rows(self, source: Source) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the items trained on, and of those held out: the same in every sitting."""
        n = len(source.items)
        if self.config.validation_fraction == 0 or n < 10:
            return np.arange(n), np.arange(0)
        return holdout(n, self.config.validation_fraction, seed_from(self.config.random_state))

    def split(self, source: Source) -> tuple[np.ndarray, np.ndarray]:
        """Items trained on, and items held out."""
        items, (train, held) = self.reading.items(source), self.rows(source)
        return items[train], items[held]

    def asked_of(self, source: Source, rows: np.ndarray) -> dict[str, Any] | None:
        """The conditions of some items, as `sample` takes them; None where there are none but classes.

        Classes alone need not be asked for: without them they are drawn as often as in training.
        """
        columns: dict[str, Any] = {
            name: [values[row] for row in rows] for name, values in (self.reading.conditions(source) or {}).items()
        }
        if self.config.upscale is not None:
            items = self.reading.items(source)[rows]
            columns["low"] = self.reading.build(self.config)._shrunk(items, self.config.upscale)
        labels = self.reading.labels(source)
        if columns and labels is not None:
            columns["y"] = labels[rows]
        return columns or None

    def _shown(self, source: Source) -> dict[str, Any] | None:
        """Conditions of what pictures of the run show: those of the first items held out, then of those trained on."""
        train, held = self.rows(source)
        return self.asked_of(source, np.concatenate([held, train])[:_SHOWN])

    # -- training -----------------------------------------------------------------------------------------------------

    def train(self, source: Source, *, resume: bool = False) -> Generator[Progress, None, None]:
        """Train on a source and write everything down, one step at a time.

        A consumer that stops early interrupts the run: a checkpoint is saved and the run can be resumed.

        Parameters
        ----------
        source : Source
        resume : bool
            Go on from the last checkpoint, or from the beginning if the run ended before its first one.

        Yields
        ------
        Progress

        Raises
        ------
        RunError
            If the run was started before and `resume` is not set; if it is finished, or being trained by another
            process; if the data are not those it was started with.
        NonFiniteError
            At the first loss that is not finite; the last good checkpoint is kept.
        StorageError
            If the disk is full; the previous checkpoint is kept.
        """
        self._claim(resume)
        self.check_data(source)
        checkpoints = self.path / "checkpoints" if resume and self.has_checkpoint else None
        step = read_json(checkpoints / "latest.json")["step"] if checkpoints else 0
        self.events.append("resume" if resume else "start", step=step, version=caminito.__version__)
        self._tell(state="running", pid=os.getpid(), message="")
        model = self.model = self.reading.build(self.config)
        recorder = _Recorder(self, model, self._shown(source))
        steps = model.fit_iter(
            self.reading.items(source),
            self.reading.labels(source),
            condition=self.reading.conditions(source),
            resume=checkpoints,
            snapshots=self.path / "snapshots",
        )
        try:
            for progress in steps:
                recorder.take(progress)
                try:
                    yield progress
                except GeneratorExit:  # the consumer stopped; weights and step agree here
                    recorder.stop(progress)
                    raise
            recorder.finish()
        except KeyboardInterrupt:  # anywhere, perhaps between two weights: only the last checkpoint is whole
            self._tell(state="interrupted", message=self._where())
            raise
        except Exception as error:
            with contextlib.suppress(CaminitoError):
                self._tell(state="failed", message=str(error))
                self.events.append("fail", message=str(error))
            raise
        finally:
            steps.close()  # type: ignore[attr-defined]

    def _where(self) -> str:
        if not self.has_checkpoint:
            return "no checkpoint was saved yet; resuming starts from the beginning"
        return f"the last checkpoint is of step {read_json(self.path / 'checkpoints' / 'latest.json')['step']}"


class _Recorder:
    """Writes down what training does: the log and the status about once a second, checkpoints, pictures."""

    def __init__(self, run: Run, model: DiffusionModel, asked: dict[str, Any] | None) -> None:
        self._run, self._model, self._asked = run, model, asked
        self._between = 60 * parse_training(run.config.training).checkpoint_minutes
        self._told, self._saved, self._losses = -math.inf, time.monotonic(), list[float]()
        self._next_picture, self._picture_cost = _FIRST_PICTURE, 0.0
        self._spent: dict[str, float] = {}
        self._last: Progress | None = None
        self._described = False

    def take(self, progress: Progress) -> None:
        first, self._last = self._last is None, progress
        if first:
            self._start(progress)
        self._losses.append(progress.loss)
        now = time.monotonic()
        if progress.validation is not None:
            self._run.events.append(
                "validation",
                step=progress.step,
                elapsed=progress.elapsed,
                loss=progress.validation.mean,
                logsnr=progress.validation.logsnr,
                levels=progress.validation.loss,
            )
        if first or progress.validation is not None or now - self._told >= _TELL or progress.fraction >= 1:
            self._log(progress)
            self._told = now
        if now - self._saved >= self._between or progress.fraction >= 1:
            self._save(progress)
        due = progress.fraction >= self._next_picture and progress.fraction < 1
        if due and self._picture_cost <= _PICTURE_SHARE * progress.elapsed:
            self._draw(progress)

    def stop(self, progress: Progress) -> None:
        """The consumer wants no more."""
        self._save(progress)
        save_model(self._model, self._run.path / "model")
        self._log(progress)
        self._run.events.append("interrupt", step=progress.step, elapsed=progress.elapsed, spent=self._spent)
        self._run._tell(state="interrupted", spent=self._total(progress), message=self._run._where())

    def finish(self) -> None:
        """Training is over: the model, its picture, and the card."""
        run, model = self._run, self._model
        with self._timed("saving"):
            save_model(model, run.path / "model")
        step = model.n_steps_
        with self._timed("pictures"):
            self._picture("final", step)
        run.events.append("finish", step=step, spent=self._spent)
        write_atomic(run.path / "card.md", card(run.name, run.facts, model, None).encode())
        told: dict[str, Any] = {"state": "finished", "fraction": 1.0, "remaining": 0.0, "step": step, "message": ""}
        run._tell(**told, spent=self._total(self._last))

    def _start(self, progress: Progress) -> None:
        if progress.fraction > self._next_picture:  # after a resume
            self._next_picture = 2 * progress.fraction
        choices = {name: [str(c.value), c.why] for name, c in self._model.choices_.items()}
        self._run.events.append("choices", step=progress.step, choices=choices)

    def _log(self, progress: Progress) -> None:
        facts: dict[str, Any] = {
            "step": progress.step,
            "fraction": progress.fraction,
            "loss": float(np.mean(self._losses)) if self._losses else progress.loss,
            "elapsed": progress.elapsed,
            "remaining": progress.remaining,
            "items_per_second": progress.items_per_second,
        }
        self._losses.clear()
        self._run.events.append(
            "step", **facts, learning_rate=progress.learning_rate, gradient_norm=progress.gradient_norm
        )
        history = self._model.history_
        self._run._tell(**facts, held_out_loss=history[-1]["loss"] if history else None)

    def _save(self, progress: Progress) -> None:
        with self._timed("saving"):
            path = save_checkpoint(self._run.path / "checkpoints", progress.state)
        self._run.events.append("checkpoint", step=progress.step, file=path.name)
        self._saved = time.monotonic()

    def _draw(self, progress: Progress) -> None:
        self._next_picture = 2 * progress.fraction
        clock = time.monotonic()
        with self._timed("pictures"):
            self._picture(f"step_{progress.step:08d}", progress.step)
        with self._timed("saving"):
            save_model(self._model, self._run.path / "model")
        self._picture_cost = time.monotonic() - clock

    def _picture(self, name: str, step: int) -> None:
        drawn, facts = preview(self._model, self._asked)
        if drawn is None:
            return
        text = recipe(self._model, self._run.name, **facts)
        write_atomic(self._run.path / "samples" / f"{name}.png", plot.png_bytes(drawn, text))
        self._run.events.append("samples", step=step, file=f"samples/{name}.png")

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        clock = time.monotonic()
        yield
        self._spent[name] = self._spent.get(name, 0.0) + time.monotonic() - clock

    def _total(self, progress: Progress | None) -> dict[str, float]:
        """Seconds by part, over all sittings that ended well."""
        before = read_json(self._run.path / "status.json").get("spent") or {}
        total = {n: before.get(n, 0.0) + self._spent.get(n, 0.0) for n in {**before, **self._spent} if n != "training"}
        if progress is not None:
            total["training"] = max(progress.elapsed - sum(total.values()), 0.0)
        return total


def open_run(path: str | Path) -> Run | TableRun:
    """The run at `path`, of whichever kind it is.

    Raises
    ------
    RunError
        If there is none, with the runs that are near.
    """
    from caminito.estimators.table_run import TableRun

    path = Path(path)
    return TableRun.open(path) if kind_of_run(path) == "table" else Run.open(path)


def load(path: str | Path) -> DiffusionModel | TableDiffusion | CascadeDiffusion | NoisyClassifier:
    """What was fitted and saved in a folder, of whichever kind: a run, a model, a cascade, or a noisy classifier.

    Nothing else is needed, not even the data. Of a run that is still going, or was stopped, it has the averaged weights
    that were saved last.

    Raises
    ------
    RunError
        If the folder is none of these, holds no model yet, or its weights were cut or altered.

    Examples
    --------
    >>> import caminito
    >>> samples = caminito.load("runs/digits").sample(100)  # doctest: +SKIP
    """
    path, kind = Path(path), _beside_models(Path(path))
    if kind == "cascade":
        from caminito.estimators.cascade import CascadeDiffusion

        return CascadeDiffusion.load(path)
    if kind == "classifier":
        from caminito.estimators.noisy_classifier import NoisyClassifier

        return NoisyClassifier.load(path)
    return load_run(path)


def load_run(path: str | Path) -> DiffusionModel | TableDiffusion:
    """The fitted estimator of a run or model directory, ready to sample; `load` takes all that can be saved.

    Raises
    ------
    RunError
        If the directory is neither, holds no model yet, or its weights were cut or altered.
    """
    path = Path(path)
    if (kind := _beside_models(path)) is not None:
        draws = "`caminito sample` draws from it; in" if kind == "cascade" else "In"
        raise RunError(f"{path}: expected a run or a model, this is a {kind}. {draws} Python, caminito.load opens it.")
    if (path / "manifest.json").is_file():
        return _stored_model(path)
    if (path / "model" / "manifest.json").is_file():
        model = _stored_model(path / "model")
        if isinstance(model, DiffusionModel):
            model._snapshots = (path / "snapshots").absolute()
        return model
    run = open_run(path)
    raise RunError(f"{path} holds no model yet: it is {run.standing}. Train it with: {run.resume_command}")


def _beside_models(path: Path) -> Literal["cascade", "classifier"] | None:
    """What a folder holds that is saved and is no model of its own."""
    if (path / "cascade.json").is_file():
        return "cascade"
    return "classifier" if _estimator(path) == "NoisyClassifier" else None


def _estimator(path: Path) -> str | None:
    """The name that the manifest of a folder says."""
    if not (path / "manifest.json").is_file():
        return None
    facts = read_json(path / "manifest.json")
    return facts.get("estimator") if isinstance(facts, dict) else None


def _stored_model(path: Path) -> DiffusionModel | TableDiffusion:
    if _estimator(path) != "TableDiffusion":
        return load_model(path)
    from caminito.estimators.table import TableDiffusion

    return TableDiffusion.load(path)


def _by(shape: list[int]) -> str:
    return "x".join(map(str, shape)) or "one number"
