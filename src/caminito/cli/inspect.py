"""`caminito inspect`: what was understood, what would be trained, and how long it would take."""

from __future__ import annotations

import shlex
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from caminito.cli.console import bar, duration, facts_table, number, out, section
from caminito.cli.options import (
    Classes,
    ConfigFile,
    Data,
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
    columns_table,
    opened_table,
    rows_of_table,
    table_config,
)

if TYPE_CHECKING:
    import numpy as np

    from caminito.data import Source
    from caminito.estimators import DiffusionModel, ModelConfig
    from caminito.estimators.reading import Reading
    from caminito.estimators.schema import TableConfig

__all__ = ["inspect"]

_WARM, _MEASURED, _PATIENCE = 2, 10, 20.0  # steps not counted, steps counted, seconds after which few must do


def inspect(
    data: Data,
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
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Save the proposed options, to edit and to train with."),
    ] = None,
) -> None:
    """See what DATA hold, what would be trained, how long."""
    of_tables = TableFlags(target, mode, types, constraints, privacy_k, missing, delimiter, encoding)
    of_networks = {
        "--minutes": minutes and f"{minutes:g}",
        "--steps": steps,
        "--resize": resize,
        "--max-pixels": max_pixels,
        "--no-classes": None if classes else True,
        "--no-texts": None if texts else True,
    }
    from caminito.data import is_table

    asked = _typed(("--config", config), ("--seed", seed)) + _typed(*(("--set", each) for each in set_ or ()))
    if is_table(data):
        refuse_flags(of_networks, "a table")
        told = _table(data, table_config(config, set_, of_tables, seed=seed), of_tables)
        again = of_tables.typed()
        kept = _typed(*(pair for pair in of_tables.given().items() if pair[0] in _READ))
    else:
        refuse_flags(of_tables.given(), "images and arrays")
        options = config_of(config, set_, minutes=minutes, steps=steps, seed=seed)
        source, reading = opened(data, resize=resize, max_pixels=max_pixels, classes=classes, texts=texts)
        told = _network(options, source, reading)
        kept = (
            _typed(("--resize", resize), ("--max-pixels", max_pixels))
            + ([] if classes else ["--no-classes"])
            + ([] if texts else ["--no-texts"])
        )
        again = _typed(("--minutes", of_networks["--minutes"]), ("--steps", steps)) + kept
    section("Options")
    shown = Text(told.split("\n\n", 1)[1].rstrip())
    shown.highlight_regex(r"#.*", "dim")
    out.print(shown, soft_wrap=True)
    words = asked + again
    if write is not None:
        from caminito._files import write_atomic

        write_atomic(write, told.encode())
        out.print(f"saved as {write}", style="dim", soft_wrap=True)
        words = _typed(("--config", write)) + kept
    section("Next")
    out.print("  " + shlex.join(["caminito", "train", data, *words]), soft_wrap=True)
    out.print()


_READ = ("--target", "--delimiter", "--encoding")  # what a file of options does not hold


def _network(options: ModelConfig, source: Source, reading: Reading) -> str:
    """Say what is in the data, what would be trained and how long it would take; returns the options."""
    from caminito.estimators.folder import config_text

    section("Understood")
    out.print(facts_table(understood(source, reading)))
    reading.check(options, source)
    model = reading.build(options)
    seconds = _seconds_per_step(model, reading.items(source), reading.labels(source))
    section("Would be trained")
    out.print(facts_table([(name, str(c.value), c.why) for name, c in model.describe().items()]))
    section("Would take")
    out.print(facts_table(_time_rows(model, options.max_steps, options.minutes, seconds)))
    return config_text(options)


def _table(data: str, options: TableConfig, flags: TableFlags) -> str:
    """The same of a table; nothing is fitted."""
    from caminito.estimators.folder import config_text

    source, reading = opened_table(data, options, flags)
    section("Understood")
    out.print(facts_table(rows_of_table(source, reading)))
    section("Columns")
    out.print(columns_table(source))
    section("Would be trained")
    plan = reading.plan(options, source)
    out.print(facts_table([(name, str(choice.value), choice.why) for name, choice in plan.items()]))
    return config_text(options)


def _typed(*flags: tuple[str, Any]) -> list[str]:
    """The words of those flags that have a value."""
    return [word for name, value in flags if value is not None for word in (name, str(value))]


def _seconds_per_step(model: DiffusionModel, items: np.ndarray, labels: np.ndarray | None) -> float:
    """Median time of a few real training steps."""
    times: list[float] = []
    begun = clock = time.monotonic()
    steps = model.fit_iter(items, labels)
    with bar(transient=True) as progress:
        task = progress.add_task("Measuring a few training steps", total=_WARM + _MEASURED)
        for _ in steps:
            now = time.monotonic()
            times.append(now - clock)
            clock = now
            progress.advance(task)
            if len(times) >= _WARM + _MEASURED or (len(times) > _WARM and now - begun > _PATIENCE):
                break
    steps.close()  # type: ignore[attr-defined]
    return statistics.median(times[_WARM:] or times[-1:])


def _time_rows(
    model: DiffusionModel, steps: int | None, minutes: float | None, seconds: float
) -> list[tuple[str, str, str]]:
    batch = model.training_.batch_size
    if steps is None and minutes is None:
        steps = model.training_.steps
    rows = [("a step", duration(seconds) if seconds >= 1 else f"{1000 * seconds:.0f} ms", f"{batch} items each")]
    by_clock = None if minutes is None else 60 * minutes
    by_steps = None if steps is None else seconds * steps
    total = min(t for t in (by_clock, by_steps) if t is not None)
    count = round(total / seconds)
    rows.append(("training", duration(total), f"about {number(count)} steps, {number(batch / seconds)} items/s"))
    return rows
