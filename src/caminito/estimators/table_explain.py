"""The tree of a jump in words: what it asks of the columns revealed before, and what the rows of its leaves have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caminito.denoiser import LeafTree
from caminito.estimators.coded import CodedTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Jump", "Names", "tree_picture", "tree_text"]

Names = Callable[[int, Sequence[float]], list[Any]]  # a column and its numbers -> the values they stand for

_SHOWN = 5  # values named in one line


class Jump(NamedTuple):
    """What a jump is told from.

    Attributes
    ----------
    tree : LeafTree
    column : int
        What it says.
    table : CodedTable
        Its rows.
    names : sequence
        Of the columns.
    values : callable
        values(column, numbers) are the values that numbers stand for.
    """

    tree: LeafTree
    column: int
    table: CodedTable
    names: Sequence[Any]
    values: Names


def tree_text(jump: Jump, max_depth: int) -> str:
    """Rules from the root to nodes `max_depth` down, a line each, indented."""
    words, tree = _Words(*jump), jump.tree
    known = ", ".join(str(jump.names[each]) for each in tree.columns) or "nothing"
    head = f"{jump.names[jump.column]}, from {known}: {tree.leaves} {'leaf' if tree.leaves == 1 else 'leaves'}"
    return "\n".join([head, *words.lines(0, "", 0, max_depth)])


def tree_picture(jump: Jump, max_depth: int, title: str | None = None, caption: str | None = None) -> Figure:
    """Those nodes as `caminito.plot.jump_tree` draws them."""
    from caminito.plot import jump_tree

    words, table, tree = _Words(*jump), jump.table, jump.tree
    parents, rules, rows, below = [-1], [""], {}, {}
    todo = [(0, 0, 0)]
    while todo:
        node, place, depth = todo.pop(0)
        if tree.feature[node] < 0 or depth == max_depth:
            rows[place] = tree.order[tree.first[node] : tree.last[node]]
            if tree.feature[node] >= 0:
                below[place] = words.below(node)
            continue
        for child, is_left in ((int(tree.left[node]), True), (int(tree.right[node]), False)):
            todo.append((child, len(parents), depth + 1))
            parents.append(place)
            rules.append(words.rule(node, child, is_left))
    name = str(jump.names[jump.column])
    return jump_tree(
        parents,
        rules,
        {place: _drawable(jump, of) for place, of in rows.items()},
        weights={place: table.weights[of] for place, of in rows.items()},
        below=below,
        name=name,
        title=f"The jump that reveals {name}" if title is None else title,
        caption=caption,
    )


def _drawable(jump: Jump, rows: NDArray[np.int32]) -> NDArray[Any]:
    """Values of rows: numbers, times, or labels."""
    table, column = jump.table, jump.column
    numbers = table.matrix[rows, column]
    kind = table.columns[column].kind
    if kind in ("category", "boolean", "ordered"):
        labels = np.full(len(rows), None, dtype=object)
        known = ~np.isnan(numbers)
        labels[known] = [str(value) for value in jump.values(column, numbers[known].tolist())]
        return labels
    values = jump.values(column, numbers[~np.isnan(numbers)].tolist())
    if values and not isinstance(values[0], int | float):
        import pandas as pd

        spans = isinstance(values[0], pd.Timedelta)
        out = np.full(len(rows), "NaT", dtype="m8[us]" if spans else "M8[us]")
        index = pd.to_timedelta(pd.Series(values)) if spans else pd.to_datetime(pd.Series(values), utc=True)
        out[~np.isnan(numbers)] = index.dt.as_unit("us").to_numpy().astype(out.dtype)
        return out
    found = np.full(len(rows), np.nan)
    found[~np.isnan(numbers)] = values
    return found


class _Words:
    def __init__(self, tree: LeafTree, column: int, table: CodedTable, names: Sequence[Any], values: Names) -> None:
        self.tree, self.column, self.table, self.names, self.values = tree, column, table, names, values

    def lines(self, node: int, rule: str, depth: int, deepest: int) -> Iterator[str]:
        """The line of a node and those below it."""
        tree = self.tree
        indent = "    " * depth
        if tree.feature[node] < 0 or depth == deepest:
            below = f" (then {self.below(node)} leaves)" if tree.feature[node] >= 0 else ""
            yield indent + (f"{rule}: " if rule else "    ") + self._rows(node) + below
            return
        if rule:
            yield indent + rule
        for child, is_left in ((int(tree.left[node]), True), (int(tree.right[node]), False)):
            yield from self.lines(child, self.rule(node, child, is_left), depth + 1, deepest)

    def below(self, node: int) -> int:
        """How many leaves are below a node."""
        tree = self.tree
        leaves = np.flatnonzero(tree.feature < 0)
        return int(((tree.first[leaves] >= tree.first[node]) & (tree.last[leaves] <= tree.last[node])).sum())

    def _own(self, node: int, column: int) -> NDArray[np.int32]:
        rows = self.tree.order[self.tree.first[node] : self.tree.last[node]]
        return self.table.codes[rows, column]

    def _named(self, column: int, codes: Sequence[int]) -> list[str]:
        numbers = [float(self.table.values[column][code]) for code in codes if code >= 0]
        return [_shown(value) for value in self.values(column, numbers)] + ["missing"] * (-1 in codes)

    def rule(self, node: int, child: int, is_left: bool) -> str:
        """What holds in a child and not in the other."""
        tree, place = self.tree, int(self.tree.feature[node])
        column = tree.columns[place]
        name = str(self.names[column])
        present = np.unique(self._own(child, column)).tolist()
        if not self.table.ordered[column] or self.table.columns[column].kind == "boolean":
            named = self._named(column, present)
            more = f" or {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
            return f"{name} is {' or '.join(named[:_SHOWN])}{more}"
        cut = int(np.floor(tree.threshold[node]))
        if cut < 0:
            return f"{name} is missing" if is_left else f"{name} is known"
        at = self._named(column, [cut])[0]
        return f"{name} <= {at}{' or missing' if -1 in present else ''}" if is_left else f"{name} > {at}"

    def _rows(self, node: int) -> str:
        """How many rows a node has, and what of."""
        tree, table = self.tree, self.table
        rows = tree.order[tree.first[node] : tree.last[node]]
        weights, codes = table.weights[rows], table.codes[rows, self.column]
        told = f"{weights.sum():g} rows" + (f" ({len(rows)} different)" if len(rows) != weights.sum() else "")
        seen, inverse = np.unique(codes, return_inverse=True)
        share = np.bincount(inverse, weights) / weights.sum()
        if table.ordered[self.column] and len(seen) > _SHOWN:
            known = codes >= 0
            order = np.argsort(codes[known], kind="stable")
            running = np.cumsum(weights[known][order])
            middle = int(codes[known][order][np.searchsorted(running, running[-1] / 2)])
            low, half, high = self._named(self.column, [int(codes[known].min()), middle, int(codes.max())])
            gone = f", missing {share[0]:.0%}" if seen[0] < 0 else ""
            return f"{told}, {low} to {high}, half of them to {half}{gone}"
        most = np.argsort(-share, kind="stable")[:_SHOWN]
        listed = [f"{self._named(self.column, [int(seen[k])])[0]} {share[k]:.0%}" for k in most]
        more = f", {len(seen) - _SHOWN} more" if len(seen) > _SHOWN else ""
        return f"{told}, {', '.join(listed)}{more}"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).removesuffix(" 00:00:00")
