"""What a check has to say: a row for each claim, a table of them, and the error that a broken claim raises.

An identity claims an error of 0. What is measured is the error that comes nearest to its tolerance: a bound on float64
rounding, or a number of standard errors.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import Literal, NoReturn

import torch
from torch import Tensor

__all__ = ["BrokenIdentity", "Record", "Report", "Row"]


@dataclass(frozen=True)
class Row:
    """One claim: what was claimed, what was measured, and whether it holds (or was only noted, where none was made)."""

    what: str
    claimed: float | str
    measured: float | str
    tolerance: float | None = None
    verdict: Literal["holds", "broken", "noted"] = "holds"


@dataclass(frozen=True)
class Report:
    """The claims of one part, in the order in which they were checked; as text, a table."""

    part: str
    rows: tuple[Row, ...]

    def __getitem__(self, what: str) -> Row:
        """The row of a claim, by its name.

        Raises
        ------
        KeyError
            If there is none.
        """
        found = {row.what: row for row in self.rows}
        if what not in found:
            raise KeyError(f"what: expected one of {', '.join(map(repr, found))}, got {what!r}.")
        return found[what]

    def __str__(self) -> str:
        """Plain text in columns."""
        lines = [("", "claimed", "measured", "tolerance", "")]
        for row in self.rows:
            numbers = (_text(row.claimed), _text(row.measured), _text(row.tolerance))
            lines.append((row.what, *numbers, row.verdict.upper() if row.verdict == "broken" else row.verdict))
        widths = [max(len(line[place]) for line in lines) for place in range(5)]
        table = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
        return "\n".join([self.part, *(f"  {line}".rstrip() for line in table)])


class BrokenIdentity(AssertionError):
    """An identity that the part under check must obey does not hold.

    Attributes
    ----------
    report : Report or None
        What was found before, and last the broken claim.
    """

    def __init__(self, message: str, report: Report | None = None) -> None:
        super().__init__(message)
        self.report = report


class Record:
    """The rows of a check while it runs. The first broken claim ends it."""

    def __init__(self, part: object, verbose: bool) -> None:
        text = repr(part)
        self.name = type(part).__name__ if text.startswith("<") else text
        self._verbose = verbose
        self._rows: dict[str, Row] = {}
        self._nearest: dict[str, float] = {}  # the largest error of an identity, in tolerances

    def require(self, what: str, holds: bool, detail: str, where: str = "") -> None:
        """A claim that holds or does not."""
        self.compare(what, "yes", "yes" if holds else "no", holds, detail, where)

    def compare(
        self,
        what: str,
        claimed: float | str,
        measured: float | str,
        holds: bool,
        detail: str,
        where: str = "",
        tolerance: float | None = None,
    ) -> None:
        """A claim of a number or a word."""
        row = Row(what, claimed, measured, tolerance)
        if not holds:
            self._fail(row, f"{what}{' ' + where if where else ''}. {detail}")
        self._rows[what] = row

    def close(self, what: str, got: Tensor, expected: Tensor, tolerance: Tensor | float, where: str = "") -> None:
        """An identity: `got` is `expected`, entry by entry, within the tolerance."""
        got, expected = torch.broadcast_tensors(got.detach().to(torch.float64), expected.detach().to(torch.float64))
        limit = torch.as_tensor(tolerance, dtype=torch.float64).expand(got.shape)
        error = torch.where(got == expected, torch.zeros_like(got), (got - expected).abs())
        bad = ~(error <= limit)
        share = torch.where(error == 0, 0.0, error / limit).nan_to_num(nan=math.inf, posinf=math.inf).flatten()
        at = int(share.argmax())
        g, e, off, lim = (float(v.flatten()[at]) for v in (got, expected, error, limit))
        if bool(bad.any()):
            self._fail(
                Row(what, 0, off, lim),
                f"{what} does not hold{' ' + where if where else ''}: expected {e:.17g}, got {g:.17g} "
                f"(entry {at}; the tolerance is {lim:.2g}; {int(bad.sum())} of {bad.numel()} values are off).",
            )
        if float(share[at]) >= self._nearest.get(what, -1.0):
            self._nearest[what] = float(share[at])
            self._rows[what] = Row(what, 0, off, lim)

    def fails(self, what: str, error: Exception, where: str) -> NoReturn:
        """A claim that could not be measured, for the part raised an error."""
        self._fail(Row(what, "yes", type(error).__name__), f"{what}: not {where}. {type(error).__name__}: {error}")

    def note(self, what: str, measured: float | str) -> None:
        """A measurement without a claim."""
        self._rows[what] = Row(what, "", measured, verdict="noted")

    def done(self) -> Report:
        """The report, printed if that was asked for."""
        report = Report(self.name, tuple(self._rows.values()))
        if self._verbose:
            sys.stdout.write(f"{report}\n")
        return report

    def _fail(self, row: Row, message: str) -> NoReturn:
        self._rows.pop(row.what, None)
        self._rows[row.what] = replace(row, verdict="broken")
        raise BrokenIdentity(f"{self.name}: {message}", self.done())


def _text(value: float | str | None) -> str:
    if value is None or isinstance(value, str | int):
        return "" if value is None else str(value)
    return "0" if value == 0 else f"{value:.1e}" if abs(value) < 0.01 or abs(value) >= 1e4 else f"{value:.3g}"
