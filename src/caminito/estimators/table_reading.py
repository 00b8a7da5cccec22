"""How a file becomes the table that an estimator is fitted to: decided once, written down, and repeated.

The column that the others are to predict comes last there, where `TableDiffusion` looks for labels to begin with.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from caminito._errors import ConfigError
from caminito.data import Column, TableSource
from caminito.estimators.choices import Choice, Description
from caminito.estimators.coded import CodedTable, moved_columns
from caminito.estimators.schema import TableConfig
from caminito.estimators.table import TableDiffusion
from caminito.estimators.table_choice import candidates, leaf_size, smaller_leaf
from caminito.estimators.table_constrained import only_reveal
from caminito.estimators.table_constraints import Rules

__all__ = ["TableReading"]

_OR_SMALLER = "the smaller ones if samples keep their distance from training rows, as rows kept aside show"


@dataclass(frozen=True)
class TableReading:
    """What is taken from a table.

    Attributes
    ----------
    target : str, optional
        Column that the others are to predict.
    delimiter, encoding : str, optional
        As given to `open_table`.
    """

    target: str | None = None
    delimiter: str | None = None
    encoding: str | None = None

    def check(self, config: TableConfig, source: TableSource) -> None:
        """Refuse a target that is no column, and a mode that the columns do not allow.

        Raises
        ------
        ConfigError
        """
        names = [str(column.name) for column in source.columns]
        if self.target is not None and self.target not in names:
            near = difflib.get_close_matches(self.target, names, n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(names)}."
            raise ConfigError(f"target: expected a column of the table, got {self.target!r}. {hint}")
        rules = self.rules(config, source)
        rules.refuse_broken(source.matrix, "the table")
        only_reveal([config.mode], rules, asked=config.mode not in ("auto", "reveal"))
        if config.mode not in ("auto", "reveal") and config.missing == "model":
            candidates(config.mode, CodedTable(source.matrix, source.columns))

    def table(self, frame: Any) -> Any:
        """The frame as it is fitted: the target last."""
        if self.target is None:
            return frame
        return frame[[name for name in frame.columns if name != self.target] + [self.target]]

    def columns(self, source: TableSource) -> list[Column]:
        """Columns in the order of `table`."""
        return sorted(source.columns, key=lambda column: column.name == self.target)

    def rules(self, config: TableConfig, source: TableSource) -> Rules:
        """The constraints, read for the columns of the table.

        Raises
        ------
        ConfigError
            If one says nothing, or no row could meet them all.
        """
        return Rules(config.constraints, source.codec)

    def build(self, config: TableConfig) -> TableDiffusion:
        """The estimator, not yet fitted."""
        options = {name: getattr(config, name) for name in type(config).model_fields if name != "validation_fraction"}
        return TableDiffusion(**options | {"types": config.types or None})

    def plan(self, config: TableConfig, source: TableSource) -> Description:
        """What `fit` would choose from, and why; nothing is fitted."""
        table = CodedTable(source.matrix, source.columns)
        told = f"{len(moved_columns(table))} of {len(source.columns)} columns are numbers without missing values"
        plan = Description()
        rules = self.rules(config, source)
        if config.mode != "auto":
            plan["mode"] = Choice(config.mode, "asked for")
        elif rules.bind or rules.choices:
            plan["mode"] = Choice("reveal", "constraints bind columns to one another, which it alone keeps to")
        elif len(tried := candidates("auto", table)) > 1:
            plan["mode"] = Choice(" or ".join(tried), f"{told}; what does better on rows kept aside")
        else:
            plan["mode"] = Choice("reveal", f"{told}; denoise needs half of them, and at most 5000 rows")
        leaf = leaf_size(table, config.min_rows, config.privacy_k)
        smaller = smaller_leaf(table, config.min_rows, config.privacy_k) if config.mode in ("auto", "reveal") else None
        plan["rows in a leaf"] = leaf if smaller is None else Choice(f"{leaf.value} or {smaller}", _OR_SMALLER)
        kept = "drawn like any value" if config.missing == "model" else "to be filled"
        holes = [column for column in source.columns if column.has_missing]
        if holes:
            plan["missing values"] = Choice(kept, f"{len(holes)} of {len(source.columns)} columns have some")
        if rules.rules:
            plan["constraints"] = Choice(rules.describe(), f"met by all of the {len(source.frame)} rows")
        return plan

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> TableReading:
        """What `to_dict` described."""
        return cls(**facts)
