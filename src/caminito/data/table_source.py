"""What a file holds that is a table: its rows, what its columns were understood to be, and plain facts about them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caminito.data._columns import Column, Kind, Name
from caminito.data._table_file import MAX_CELLS, sampled_table
from caminito.data.table import TableCodec

__all__ = ["TableSource", "open_table"]


@dataclass(frozen=True, eq=False)
class TableSource:
    """A table in memory and what is known of it.

    Attributes
    ----------
    frame : pandas.DataFrame
    columns : list of Column
    matrix : array, shape (n, p)
        As `TableCodec.encode` gives it.
    codec : TableCodec
        That gave it.
    facts : dict
        Plain JSON values: count, columns (those of `TableCodec.describe`), duplicates, fingerprint, ...; rows_in_file,
        where that has more than were read.
    """

    frame: Any
    columns: list[Column]
    matrix: NDArray[np.float64]
    codec: TableCodec
    facts: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names, kinds and values: equal tables have equal fingerprints, whatever their files."""
        return str(self.facts["fingerprint"])


def open_table(
    path: str | Path,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    types: Mapping[Name, Kind] | None = None,
) -> TableSource:
    """Read a table and say what it is; of one with more than `MAX_CELLS` cells a sample of rows, the same each time.

    Parameters
    ----------
    path, delimiter, encoding
        As for `read_table`.
    types : mapping of name to kind, optional
        As for `TableCodec`.

    Raises
    ------
    DataError
        If the file cannot be read, or holds no table to learn from.
    ConfigError
        For an impossible option.
    """
    path = Path(path).expanduser()
    frame, rows = sampled_table(path, MAX_CELLS, delimiter, encoding)
    codec = TableCodec(types=types)
    matrix = codec.fit_encode(frame)
    facts = {
        "kind": "table",
        "path": str(path),
        "count": len(frame),
        "columns": codec.describe(),
        "duplicates": _duplicates(matrix),
        "fingerprint": _fingerprint(codec.columns_, matrix),
    } | ({"rows_in_file": rows} if rows > len(frame) else {})
    return TableSource(frame, codec.columns_, matrix, codec, facts)


def _duplicates(matrix: NDArray[np.float64]) -> int:
    """Rows that an earlier one is the same as, missing values being alike."""
    plain = np.ascontiguousarray(np.where(np.isnan(matrix), np.nan, matrix) + 0.0)  # one NaN, one zero
    return len(plain) - len(np.unique(plain.view(np.dtype((np.void, plain.itemsize * plain.shape[1])))))


def _fingerprint(columns: list[Column], matrix: NDArray[np.float64]) -> str:
    head = [[c.name, c.kind, c.labels, c.origin, c.unit, c.tick, c.zone] for c in columns]
    digest = hashlib.sha256(json.dumps([matrix.shape, head], default=str).encode())
    digest.update(np.ascontiguousarray(matrix, dtype="<f8").data)
    return digest.hexdigest()
