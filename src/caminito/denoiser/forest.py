"""A forest of regression trees as arrays: what scikit-learn has fitted, without it, and in a file without code.

The prediction is the mean over trees of the value of the leaf that a row falls into, a vector where several columns are
predicted at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caminito._errors import ConfigError

__all__ = ["Forest"]

_ARRAYS = ("roots", "feature", "threshold", "left", "right", "leaf", "values")


class Forest:
    """Trees one after the other in arrays; a `Regressor`.

    Parameters
    ----------
    roots : int array, shape (trees,)
    feature, left, right : int array, shape (nodes,)
        Column that a node splits, -1 at leaves, and where its children are.
    threshold : float32 array, shape (nodes,)
        A row goes left where its column, as float32, is not larger.
    leaf : int array, shape (nodes,)
        Row of `values` of each leaf; -1 elsewhere.
    values : float32 array, shape (leaves, d)
    """

    def __init__(
        self,
        roots: NDArray[np.int32],
        feature: NDArray[np.int32],
        threshold: NDArray[np.float32],
        left: NDArray[np.int32],
        right: NDArray[np.int32],
        leaf: NDArray[np.int32],
        values: NDArray[np.float32],
    ) -> None:
        self.roots, self.feature, self.threshold = roots, feature, threshold
        self.left, self.right, self.leaf, self.values = left, right, leaf, values

    @classmethod
    def of(cls, fitted: Any) -> Forest:
        """That of a fitted tree or forest of scikit-learn whose trees have equal weight.

        Raises
        ------
        ConfigError
            If it is none.
        """
        trees: list[Any] = [getattr(tree, "tree_", None) for tree in getattr(fitted, "estimators_", [fitted])]
        if None in trees or hasattr(fitted, "init_"):  # boosting adds its trees up
            raise ConfigError(
                f"forest: expected a fitted tree, forest or extra-trees regressor of scikit-learn, got {fitted!r}."
            )
        sizes = [tree.node_count for tree in trees]
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("feature", "threshold", "left", "right", "value")}
        for tree, root in zip(trees, roots):
            inner = tree.children_left >= 0
            parts["feature"].append(np.where(inner, tree.feature, -1))
            parts["threshold"].append(tree.threshold)
            parts["left"].append(np.where(inner, tree.children_left + root, -1))
            parts["right"].append(np.where(inner, tree.children_right + root, -1))
            parts["value"].append(tree.value[:, :, 0])
        joined = {name: np.concatenate(each) for name, each in parts.items()}
        ends = joined["feature"] < 0
        leaf = np.where(ends, np.cumsum(ends) - 1, -1)
        whole = {name: joined[name].astype(np.int32) for name in ("feature", "left", "right")}
        return cls(
            roots.astype(np.int32),
            threshold=joined["threshold"].astype(np.float32),
            leaf=leaf.astype(np.int32),
            values=joined["value"][ends].astype(np.float32),
            **whole,
        )

    def predict(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Columns (n, k) to the mean of the trees, (n, d)."""
        seen = np.asarray(X, dtype=np.float32)
        total = np.zeros((len(seen), self.values.shape[1]))
        for root in self.roots:
            node = np.full(len(seen), root, dtype=np.intp)
            going = np.arange(len(seen)) if self.feature[root] >= 0 else np.arange(0)
            while len(going):
                at = node[going]
                smaller = seen[going, self.feature[at]] <= self.threshold[at]
                node[going] = np.where(smaller, self.left[at], self.right[at])
                going = going[self.feature[node[going]] >= 0]
            total += self.values[self.leaf[node]]
        return total / len(self.roots)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` makes the forest of again."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Forest:
        """The forest of `arrays`."""
        return cls(**{name: arrays[name] for name in _ARRAYS})
