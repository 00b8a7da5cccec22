"""The container a user came with: an array, or a DataFrame whose columns and dtypes are given back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Container"]


@dataclass(frozen=True)
class Container:
    """Columns and dtypes of a pandas DataFrame; None for arrays."""

    columns: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] | None = None

    @classmethod
    def of(cls, X: Any) -> Container:
        """What kind of container X is."""
        if hasattr(X, "columns") and hasattr(X, "dtypes"):
            return cls(tuple(str(c) for c in X.columns), tuple(str(d) for d in X.dtypes))
        return cls()

    def restore(self, array: np.ndarray) -> Any:
        """The array in that container; columns of whole numbers are rounded."""
        if self.columns is None or self.dtypes is None:
            return array
        import pandas as pd

        out = {}
        for i, (name, dtype) in enumerate(zip(self.columns, self.dtypes)):
            column = array[:, i]
            out[name] = np.rint(column).astype(dtype) if np.dtype(dtype).kind in "iu" else column.astype(dtype)
        return pd.DataFrame(out, columns=list(self.columns))
