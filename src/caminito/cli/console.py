"""What every command shares: where text goes, how errors and warnings look, and bars that estimate what is left."""

from __future__ import annotations

import functools
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ParamSpec

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from caminito._errors import CaminitoError, CaminitoWarning

__all__ = ["Stop", "bar", "command", "counted", "duration", "err", "facts_table", "line", "number", "out", "section"]

P = ParamSpec("P")

_WIDE = 120  # columns that names, values and reasons need side by side

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def command(function: Callable[P, None]) -> Callable[P, None]:
    """A command whose mistakes end in one message and status 2, and whose interruption ends in status 130."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", CaminitoWarning)
            warnings.showwarning = _calm  # type: ignore[assignment]
            try:
                function(*args, **kwargs)
            except CaminitoError as error:
                err.print(Text.assemble(("error  ", "bold red"), _message(error)), soft_wrap=True)
                raise typer.Exit(2) from None
            except KeyboardInterrupt:
                err.print("\nInterrupted.")
                raise typer.Exit(130) from None

    return run


def _message(error: CaminitoError) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)


def _calm(message: Warning | str, *_: Any) -> None:
    err.print(Text.assemble(("note  ", "bold yellow"), " ".join(str(message).split())), soft_wrap=True)


class Stop:
    """Turns the first Ctrl-C (or SIGTERM) into a request, so that a step is never cut in two; a second one is obeyed.

    Attributes
    ----------
    requested : bool
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def line(name: str, value: str, width: int = 12) -> None:
    """A name and what it is, on one line."""
    out.print(Text.assemble((f"  {name:<{width}}", "dim"), value), soft_wrap=True)


def section(title: str) -> None:
    """A heading, with air above it."""
    out.print()
    out.print(Text(title, "bold"))


def facts_table(rows: list[tuple[str, str, str]]) -> Table:
    """Names, values, and reasons in a quieter tone: beside the values where there is room, else below them."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    wide = out.width >= _WIDE
    if wide:
        table.add_column(style="dim")
    for name, value, why in rows:
        if wide:
            table.add_row(Text("  " + name), Text(value), Text(why))
        else:
            table.add_row(
                Text("  " + name), Text.assemble(value, ("\n" + why, "dim") if why and value else (why, "dim"))
            )
    return table


class _Left(ProgressColumn):
    """The estimate of the time left, with words."""

    def render(self, task: Any) -> Text:
        left = task.fields.get("left", task.time_remaining)
        return Text("" if left is None or task.finished else f"{duration(left)} left", style="dim")


def bar(*fields: str, transient: bool = False) -> Progress:
    """A progress bar with an estimate of what is left; `fields` are shown between."""
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn()]
    columns += [TextColumn(field) for field in fields]
    return Progress(
        *columns, _Left(), console=out, transient=transient, refresh_per_second=4, disable=not out.is_terminal
    )


@contextmanager
def counted(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for work that reports (done, total); it leaves nothing behind."""
    with bar(transient=True) as progress:
        task = progress.add_task(description, total=None)

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield report


def duration(seconds: float) -> str:
    """A time in words: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{round(seconds / 60)} min"
    return f"{minutes // 60} h {minutes % 60} min"


def number(value: float) -> str:
    """A number to read: 0.0123, 0.912, 12.3, 1 234."""
    if abs(value) >= 1e7:
        return f"{value:.2g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    if abs(value) < 0.1:
        return f"{value:.4f}" if abs(value) >= 0.0005 or value == 0 else f"{value:.1g}"
    return f"{value:.3g}"
