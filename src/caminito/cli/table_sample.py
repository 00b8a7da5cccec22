"""Rows from the run of a table: new ones, ones that meet conditions, and rows with their holes filled."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caminito._errors import ConfigError, DataError
from caminito.cli.console import counted, duration, number, out
from caminito.cli.options import RunPath, at_least
from caminito.cli.tables import check_target
from caminito.cli.where import conditions

if TYPE_CHECKING:
    from caminito.estimators.table import TableDiffusion
    from caminito.estimators.table_run import TableRun

__all__ = ["draw_rows", "impute", "sample_rows"]

_USUAL = 1000
_AT_ONCE = 100_000  # rows, unless --batch-size says otherwise


def sample_rows(
    path: Path,
    model: TableDiffusion,
    *,
    count: int | None,
    where: str | None,
    condition: Path | None,
    seed: int,
    out_: Path | None,
    batch_size: int | None,
) -> None:
    """Write new rows of the run at `path` to a file."""
    if where is not None and condition is not None:
        raise ConfigError("--where, --condition: expected one of them, got both. Put all that is asked into the table.")
    run = _run_of(path)
    asked: Any = None if where is None else conditions(where)
    if condition is not None:
        asked = _read(run, condition)
        if count is not None and count != len(asked):
            raise ConfigError(
                f"-n: there is a sample for each of the {len(asked)} rows of {condition}, got {count}. Leave it out."
            )
        count = len(asked)
    count = _USUAL if count is None else count
    target = _place(path, count, seed, where, condition) if out_ is None else out_
    check_target(target)
    clock = time.monotonic()
    rows = draw_rows(model, count, seed=seed, condition=asked, at_once=batch_size or _AT_ONCE)
    seconds = time.monotonic() - clock
    _write(run, rows, target)
    out.print(
        f"{number(count)} samples in {duration(seconds)}, {number(count / max(seconds, 1e-6))} per second: {target}",
        soft_wrap=True,
    )


def draw_rows(model: TableDiffusion, count: int, *, seed: int, condition: Any = None, at_once: int = _AT_ONCE) -> Any:
    """A frame of samples, drawn in parts with a bar meanwhile; a sample depends on its seed and number alone."""
    import pandas as pd

    parts = []
    with counted(f"Drawing {count}") as progress:
        for first in range(0, count, at_once):
            size = min(at_once, count - first)
            part = condition.iloc[first : first + size] if hasattr(condition, "iloc") else condition
            parts.append(model.sample(size, condition=part, random_state=seed, first=first))
            progress(first + size, count)
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def impute(
    run: RunPath,
    table: Annotated[
        Path, typer.Argument(metavar="FILE", help="A table with holes, or a .npy array.", show_default=False)
    ],
    draws: Annotated[
        int, typer.Option("--draws", metavar="M", help="Files to write, which differ where the data leave room.")
    ] = 1,
    centre: Annotated[
        bool, typer.Option("--centre", help="The value in the middle of what may be, in place of one drawn from it.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="K", help="The same seed gives the same values.")] = 0,
    out_: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", help="FILE.csv, .parquet, .npy, ...; with --draws FILE_1.csv, FILE_2.csv."
        ),
    ] = None,
) -> None:
    """Fill the holes of a table or array, FILE, whose columns or items are like those of RUN.

    What is known is kept as it is.
    """
    at_least(1, draws=draws)
    at_least(0, seed=seed)
    if centre and draws > 1:
        raise ConfigError(f"--draws: expected 1 with --centre, which has one answer, got {draws}.")
    from caminito.estimators.run import load_run
    from caminito.estimators.table import TableDiffusion

    model = load_run(run)
    if not isinstance(model, TableDiffusion):
        from caminito.cli.given import impute_array

        impute_array(run, model, table, draws=draws, centre=centre, seed=seed, out_=out_)
        return
    found = _run_of(run)
    frame = _read(found, table)
    stem, suffix = _parted(table)
    target = run / "samples" / f"{stem}_full{suffix}" if out_ is None else out_
    check_target(target)
    holes = frame.isna()
    clock = time.monotonic()
    with out.status(f"Filling {number(int(holes.to_numpy().sum()))} holes"):
        how = "centre" if centre else "sample"
        drawn = model.impute(frame, n_draws=draws, how=how, random_state=seed)
    seconds = time.monotonic() - clock
    stem, suffix = _parted(target)
    tables = drawn if isinstance(drawn, list | tuple) else [drawn]
    targets = [target.with_name(f"{stem}_{i}{suffix}") for i in range(1, draws + 1)] if draws > 1 else [target]
    for full, place in zip(tables, targets, strict=True):
        _write(found, full, place)
    told = f"{number(int(holes.to_numpy().sum()))} holes in {number(int(holes.any(axis=1).sum()))} of {len(frame)} rows"
    shown = str(targets[0]) if draws == 1 else f"{targets[0]} to {targets[-1].name}"
    out.print(f"{told} filled in {duration(seconds)}: {shown}", soft_wrap=True)


def _run_of(path: Path) -> TableRun | None:
    """The run, or None where there is only its model."""
    from caminito.estimators.folder import kind_of_run
    from caminito.estimators.table_run import TableRun

    return TableRun.open(path) if kind_of_run(path) is not None else None


def _read(run: TableRun | None, path: Path) -> Any:
    """A table to be completed; a text file is read as that of the run was."""
    from caminito.data import is_table, read_table

    if not is_table(path):
        raise DataError(f"{path}: expected a table (.csv, .tsv, .parquet, .feather, ...), got {path.name!r}.")
    same = run is not None and _parted(path)[1] == _parted(Path(run.facts["path"]))[1]
    if run is None or not same:
        return read_table(path)
    return read_table(path, delimiter=run.reading.delimiter, encoding=run.reading.encoding)


def _write(run: TableRun | None, rows: Any, target: Path) -> None:
    from caminito.data import write_table

    write_table(rows if run is None else run.arranged(rows), target)


def _parted(path: Path) -> tuple[str, str]:
    """Name and suffix, of which .gz is only a part."""
    suffix = "".join(path.suffixes[-2:]) if path.suffix.lower() == ".gz" else path.suffix
    return path.name.removesuffix(suffix), suffix


def _place(run: Path, count: int, seed: int, where: str | None, condition: Path | None) -> Path:
    parts = [f"n{count}", f"seed{seed}"]
    if where is not None:
        import hashlib

        short = re.sub(r"[^\w.-]+", "-", where).strip("-")[:40]
        parts.append(f"{short}-{hashlib.sha256(where.encode()).hexdigest()[:6]}")
    if condition is not None:
        parts.append(_parted(condition)[0])
    return run / "samples" / f"{'_'.join(parts)}.csv"
