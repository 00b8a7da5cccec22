"""The log of a run: one JSON object per line, only ever appended to.

A process that is killed may leave a cut last line; a reader skips it and the next writer starts a new line. After a
resume the log carries on: what was logged beyond the checkpoint that training went back to stays in the file, and
`current` leaves it out.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caminito._errors import StorageError

__all__ = ["EventLog"]


class EventLog:
    """Events of a run, oldest first.

    Parameters
    ----------
    path : str or Path
        The file; it need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, event: str, **facts: Any) -> None:
        """Add one line: the name of the event, the time (seconds since 1970) and plain JSON values.

        Raises
        ------
        StorageError
            If the line cannot be written.
        """
        line = json.dumps({"event": event, "time": round(time.time(), 3), **_plain(facts)}) + "\n"
        try:
            with self.path.open("ab+") as file:
                if file.tell() > 0:
                    file.seek(-1, 2)
                    if file.read(1) != b"\n":  # the writer before was killed in the middle of a line
                        line = "\n" + line
                file.write(line.encode())
        except OSError as error:
            raise StorageError(
                error.errno, f"could not write {self.path}: {error.strerror}. Free some space, then resume."
            ) from error

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict) and "event" in event:
                    yield event

    def current(self) -> list[dict[str, Any]]:
        """The events of the weights that exist now: without steps that a kill undid."""
        kept: list[dict[str, Any]] = []
        for event in self:
            if event["event"] == "resume":
                kept = [e for e in kept if e["event"] == "start" or e.get("step", 0) <= event["step"]]
            kept.append(event)
        return kept


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
