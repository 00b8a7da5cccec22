"""How far the fitting of a table is, told to whoever watches: what is being fitted, how much of it is done.

Work is counted in trees, or what takes about as long as one. Those who fit say what they expect and what they have
done; without a watcher that costs nothing. What is told changes nothing of what is fitted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["FitProgress", "done", "expect", "watched"]


@dataclass(frozen=True)
class FitProgress:
    """Where fitting is.

    Attributes
    ----------
    what : str
        What was fitted last.
    done, total : int
        Trees.
    elapsed : float
        Seconds.
    """

    what: str
    done: int
    total: int
    elapsed: float

    @property
    def fraction(self) -> float:
        """Share of the work that is done."""
        return self.done / max(self.total, 1)

    @property
    def remaining(self) -> float | None:
        """Seconds left, at the pace so far; None before there is one."""
        return self.elapsed * (self.total - self.done) / self.done if self.done else None


class _Watch:
    def __init__(self, report: Callable[[FitProgress], None]) -> None:
        self.report, self.done, self.total, self.begun = report, 0, 0, time.monotonic()


_now: ContextVar[_Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched(report: Callable[[FitProgress], None]) -> Iterator[None]:
    """Have `report` called with each `FitProgress` of what is fitted inside, in this thread."""
    before = _now.set(_Watch(report))
    try:
        yield
    finally:
        _now.reset(before)


def expect(trees: int) -> None:
    """Say that so many trees more are to come."""
    watch = _now.get()
    if watch is not None:
        watch.total += trees


def done(what: str, trees: int = 1) -> None:
    """Say that so many trees are done; more than were expected are added to the total."""
    watch = _now.get()
    if watch is not None:
        watch.done += trees
        watch.total = max(watch.total, watch.done)
        watch.report(FitProgress(what, watch.done, watch.total, time.monotonic() - watch.begun))
