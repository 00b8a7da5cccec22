"""Boosted regression trees as arrays: what scikit-learn has fitted, without it, and in a file without code.

The prediction of each output is a constant plus the sum over its trees of the value of the leaf that a row falls into.
A node sends a number left where it is not larger than a threshold, a category where its bit is set, and a missing
number where it learnt to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caminito._errors import ConfigError

__all__ = ["Boosted"]

_ARRAYS = (
    "roots",
    "depth",
    "output",
    "constant",
    "feature",
    "threshold",
    "left",
    "right",
    "value",
    "missing_left",
    "among",
    "bits",
)
_ROWS = 4096  # predicted at once: what they need stays in the cache


class Boosted:
    """Trees one after the other in arrays, those of several outputs together; a `Regressor`.

    Parameters
    ----------
    roots, depth, output : int array, shape (trees,)
        First node of each tree, how many steps lead to its leaves at most, and the output that it adds to.
    constant : float array, shape (d,)
        Of each output.
    feature, left, right : int array, shape (nodes,)
        Column that a node splits, and where its children are; a leaf is its own child.
    threshold, value : float array, shape (nodes,)
        Of numbers that go left, and of leaves.
    missing_left : bool array, shape (nodes,)
    among : int array, shape (nodes,)
        Row of `bits` of a node that splits categories; -1 elsewhere.
    bits : uint32 array, shape (splits of categories, 8)
        Bit c of a row: whether category c, from 0 to 255, goes left.
    """

    def __init__(
        self,
        roots: NDArray[np.int32],
        depth: NDArray[np.int32],
        output: NDArray[np.int32],
        constant: NDArray[np.float64],
        feature: NDArray[np.int32],
        threshold: NDArray[np.float64],
        left: NDArray[np.int32],
        right: NDArray[np.int32],
        value: NDArray[np.float32],
        missing_left: NDArray[np.bool_],
        among: NDArray[np.int32],
        bits: NDArray[np.uint32],
    ) -> None:
        self.roots, self.depth, self.output, self.constant = roots, depth, output, constant
        self.feature, self.threshold, self.left, self.right = feature, threshold, left, right
        self.value, self.missing_left, self.among, self.bits = value, missing_left, among, bits

    @classmethod
    def of(cls, fitted: Sequence[Any]) -> Boosted:
        """Those of fitted `HistGradientBoostingRegressor`, one for each output.

        Their categories are to be whole numbers from 0, without gaps, in the first columns.

        Raises
        ------
        ConfigError
            If one is something else.
        """
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in _ARRAYS}
        nodes_before = bits_before = 0
        for place, model in enumerate(fitted):
            rounds = getattr(model, "_predictors", None)
            if rounds is None or getattr(model, "n_trees_per_iteration_", 1) != 1:
                raise ConfigError(f"boosted: expected a fitted HistGradientBoostingRegressor, got {model!r}.")
            parts["constant"].append(np.ravel(model._baseline_prediction))
            for (tree,) in rounds:
                nodes = tree.nodes
                own = np.arange(len(nodes)) + nodes_before
                ends = nodes["is_leaf"].astype(bool)
                words = nodes["is_categorical"].astype(bool) & ~ends
                parts["roots"].append(own[:1])
                parts["depth"].append(nodes["depth"].max(keepdims=True))
                parts["output"].append(np.array([place]))
                parts["feature"].append(np.where(ends, 0, nodes["feature_idx"]))
                parts["threshold"].append(np.where(ends, np.inf, nodes["num_threshold"]))
                for side in ("left", "right"):
                    parts[side].append(np.where(ends, own, nodes[side].astype(np.int64) + nodes_before))
                parts["value"].append(np.where(ends, nodes["value"], 0.0))
                parts["missing_left"].append(nodes["missing_go_to_left"].astype(bool))
                parts["among"].append(np.where(words, nodes["bitset_idx"].astype(np.int64) + bits_before, -1))
                parts["bits"].append(tree.raw_left_cat_bitsets.reshape(-1, 8))
                nodes_before, bits_before = nodes_before + len(nodes), bits_before + len(parts["bits"][-1])
        kinds: dict[str, Any] = {"constant": np.float64, "threshold": np.float64, "value": np.float32}
        kinds |= {"missing_left": np.bool_, "bits": np.uint32}
        return cls(**{name: np.concatenate(each).astype(kinds.get(name, np.int32)) for name, each in parts.items()})

    def predict(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Columns (n, k), NaN where a number is missing, to (n, d)."""
        seen = np.ascontiguousarray(X, dtype=np.float64)
        total = np.tile(self.constant, (len(seen), 1))
        for low in range(0, len(seen), _ROWS):
            part = slice(low, low + _ROWS)
            self._add(seen[part], total[part])
        return total

    def _add(self, seen: NDArray[np.float64], total: NDArray[np.float64]) -> None:
        entries, row = seen.ravel(), np.arange(len(seen)) * seen.shape[1]
        holes = np.isnan(entries) if np.isnan(entries).any() else None
        words = np.maximum.reduceat(self.among, self.roots) >= 0
        child = np.stack([self.right, self.left], axis=1).ravel()
        for tree, root in enumerate(self.roots):
            node = np.full(len(seen), root, dtype=np.int32)
            for _ in range(self.depth[tree]):
                at = row + self.feature[node]
                goes = entries[at] <= self.threshold[node]
                if words[tree]:
                    self._sort(goes, node, entries[at])
                if holes is not None:
                    goes = np.where(holes[at], self.missing_left[node], goes)
                node = child[2 * node + goes]
            total[:, self.output[tree]] += self.value[node]

    def _sort(self, goes: NDArray[np.bool_], node: NDArray[np.int32], values: NDArray[np.float64]) -> None:
        """Categories, left or right."""
        rows = np.flatnonzero(self.among[node] >= 0)
        code = values[rows].astype(np.int64)
        word = self.bits[self.among[node[rows]], code // 32]
        goes[rows] = (word >> (code % 32).astype(np.uint32)) & 1 == 1

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` makes the trees of again."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Boosted:
        """The trees of `arrays`."""
        return cls(**{name: arrays[name] for name in _ARRAYS})
