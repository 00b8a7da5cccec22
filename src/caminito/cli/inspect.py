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
    config_of,
    opened,
    understood,
)

if TYPE_CHECKING:
    import numpy as np

    from caminito.estimators import DiffusionModel

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
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Save the proposed options, to edit and to train with."),
    ] = None,
) -> None:
    """See what DATA hold, what would be trained, how long."""
    options = config_of(config, set_, minutes=minutes, steps=steps, seed=seed)
    source, reading = opened(data, resize=resize, max_pixels=max_pixels, classes=classes)
    from caminito._files import write_atomic
    from caminito.estimators.run import config_text

    section("Understood")
    out.print(facts_table(understood(source, reading)))
    reading.check(options, source)
    model = reading.build(options)
    seconds = _seconds_per_step(model, reading.items(source), reading.labels(source))
    section("Would be trained")
    out.print(facts_table([(name, str(c.value), c.why) for name, c in model.describe().items()]))
    section("Would take")
    out.print(facts_table(_time_rows(model, options.max_steps, options.minutes, seconds)))
    section("Options")
    text = config_text(options)
    shown = Text(text.split("\n\n", 1)[1].rstrip())
    shown.highlight_regex(r"#.*", "dim")
    out.print(shown, soft_wrap=True)
    given = _typed(
        ("--minutes", minutes and f"{minutes:g}"), ("--steps", steps), ("--config", config), ("--seed", seed)
    )
    given += _typed(*(("--set", assignment) for assignment in set_ or ()))
    if write is not None:
        write_atomic(write, text.encode())
        out.print(f"saved as {write}", style="dim", soft_wrap=True)
        given = _typed(("--config", write))
    given += _typed(("--resize", resize), ("--max-pixels", max_pixels)) + ([] if classes else ["--no-classes"])
    section("Next")
    out.print("  " + shlex.join(["caminito", "train", data, *given]), soft_wrap=True)
    out.print()


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
