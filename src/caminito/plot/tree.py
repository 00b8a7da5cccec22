"""A picture of one jump of a table: the questions its tree asks, and what the rows of each answer have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import DataError, ShapeError
from caminito.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["jump_tree"]

_ROW, _LAW, _COUNT = 0.42, 2.6, 0.95  # inches: height of an answer, widths of its law and of its count
_HOLES = 0.5  # inches more, where values are missing
_LEAST, _MOST, _GAP = 0.9, 2.7, 0.34  # inches: width of a question, and what lies between two
_TOP, _BOTTOM, _EDGE = 0.1, 0.55, 0.16
_BINS, _KINDS, _ANSWERS = 30, 5, 64
_TEXT = 8.0  # points


def jump_tree(
    parents: ArrayLike,
    rules: Sequence[str],
    values: Mapping[int, ArrayLike],
    *,
    weights: Mapping[int, ArrayLike] | None = None,
    below: Mapping[int, int] | None = None,
    name: str = "",
    title: str = "A jump: what it asks, and what it draws from",
    caption: str | None = None,
) -> Figure:
    """The tree of a jump, its first question at the left, and the law of the rows of each answer at the right.

    Parameters
    ----------
    parents : int array, shape (nodes,)
        Of each node, -1 for the first; a node comes after its parent.
    rules : sequence of str, shape (nodes,)
        What holds in each node and not in its siblings, such as "age <= 30"; that of the first is not read.
    values : mapping of a node to an array
        What the rows of each node without children have: numbers, dates, spans of time, or labels. None and NaN are
        missing.
    weights : mapping of a node to an array, optional
        Of those rows; 1 unless given.
    below : mapping of a node to int, optional
        Leaves below a node that are not drawn.
    name : str
        Of the column.
    title : str
        What is seen.
    caption : str, optional
        What to look at; by default a sentence for this picture, and none without a title.

    Returns
    -------
    Figure
        Numbers as histograms, in grey that of all rows on the same scale; labels as shares, of the most common five.

    Raises
    ------
    ShapeError
        If the arguments do not fit together, or are no tree.
    DataError
        If there are no values, or more than 64 answers.
    """
    tree = _Tree(parents, rules, values, weights)
    width, columns = tree.widths()
    height = _TOP + _ROW * len(tree.leaves) + _BOTTOM
    usual = "Read from left to right; at the end of each path, the rows a value is drawn from."
    told = usual + (" Grey: all rows." if tree.numeric else "")
    count = _COUNT + _HOLES * any(tree.missing(leaf) > 0 for leaf in tree.leaves)
    full = _EDGE + width + _GAP + _LAW + count
    lines = style.wrapped((told if title else "") if caption is None else caption, full - 0.3)
    head = style.heading(title, len(lines))
    fig = style.pixels(round(full * style.DPI), round((height + head) * style.DPI))
    style.write_heading(fig, title, lines)
    total = height + head
    bottom, span = _BOTTOM / total, _ROW * len(tree.leaves) / total
    _branches(fig.add_axes((_EDGE / full, bottom, width / full, span)), tree, width, columns)
    place = ((_EDGE + width + _GAP) / full, bottom, _LAW / full, span)
    law = fig.add_axes(place)
    law.set_facecolor("none")
    (_histograms if tree.numeric else _shares)(law, tree, name)
    counts = fig.add_axes((place[0] + place[2], bottom, count / full, span), sharey=law)
    counts.set_axis_off()
    for row, leaf in enumerate(tree.leaves):
        weight, lost = tree.weight[leaf], tree.missing(leaf)
        text = f"{_count(float(weight.sum()))} rows"
        more = [f"{100 * lost:.0f} % missing"] if lost else []
        more += [f"{below[leaf]} leaves"] if below and leaf in below else []
        counts.text(0.07, row - 0.02, text, va="center" if not more else "bottom", fontsize=_TEXT, color=style.INK)
        if more:
            counts.text(0.07, row + 0.06, ", ".join(more), va="top", fontsize=7, color=style.MUTED)
    return fig


class _Tree:
    """The arguments, checked, with the leaves from top to bottom."""

    def __init__(
        self,
        parents: ArrayLike,
        rules: Sequence[str],
        values: Mapping[int, ArrayLike],
        weights: Mapping[int, ArrayLike] | None,
    ) -> None:
        self.parents, self.rules = np.asarray(parents, dtype=np.intp), list(rules)
        nodes = np.arange(self.parents.size)
        whole = self.parents.ndim == 1 and self.parents.size == len(self.rules) > 0
        if not whole or self.parents[0] != -1 or (self.parents[1:] < 0).any() or (self.parents >= nodes).any():
            raise ShapeError(
                "parents: expected the parent of each node, -1 for the first and an earlier node for the others, one "
                f"for each of {len(self.rules)} rules, got {np.asarray(parents).tolist()}."
            )
        self.children = [np.flatnonzero(self.parents == node).tolist() for node in nodes]
        self.depth = np.zeros(len(nodes), dtype=int)
        for node in nodes[1:]:
            self.depth[node] = self.depth[self.parents[node]] + 1
        self.leaves = self._from_top(0)
        if set(values) != set(self.leaves):
            raise ShapeError(f"values: expected those of nodes {sorted(self.leaves)}, got those of {sorted(values)}.")
        if len(self.leaves) > _ANSWERS:
            raise DataError(f"expected at most {_ANSWERS} answers to be drawn, got {len(self.leaves)}. Draw less deep.")
        self.values = {leaf: _array(values[leaf]) for leaf in self.leaves}
        self.weight = {
            leaf: np.ones(len(self.values[leaf])) if weights is None else np.asarray(weights[leaf], dtype=np.float64)
            for leaf in self.leaves
        }
        for leaf in self.leaves:
            if not len(self.values[leaf]) or self.weight[leaf].shape != self.values[leaf].shape:
                raise ShapeError(f"values: expected some in node {leaf}, and a weight for each.")
        self.kind = {"M": "date", "m": "span", "O": "label"}.get(next(iter(self.values.values())).dtype.kind, "number")
        self.numeric = self.kind != "label"
        self.height = np.zeros(len(nodes))
        for row, leaf in enumerate(self.leaves):
            self.height[leaf] = row
        for node in nodes[::-1]:
            if self.children[node]:
                self.height[node] = np.mean([self.height[child] for child in self.children[node]])

    def missing(self, leaf: int) -> float:
        """The share of the rows of a leaf whose value is missing."""
        gone = _missing(self.values[leaf])
        return float(self.weight[leaf][gone].sum() / self.weight[leaf].sum())

    def known(self, leaf: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Values that are there, times in days, and their weights."""
        there = ~_missing(self.values[leaf])
        values = self.values[leaf][there]
        if self.kind == "date":
            values = values.astype("M8[us]").astype(np.int64) / 86_400e6
        elif self.kind == "span":
            values = values.astype("m8[us]").astype(np.int64) / 86_400e6
        return values, self.weight[leaf][there]

    def widths(self) -> tuple[float, list[float]]:
        """Inches of the whole tree, and where the questions of each depth begin."""
        starts, at = [0.0], 0.28
        for depth in range(1, int(self.depth.max()) + 1):
            starts.append(at)
            texts = [self.rules[node] for node in np.flatnonzero(self.depth == depth)]
            at += min(max(max(map(_width, texts)) + 0.2, _LEAST), _MOST) + _GAP
        return max(at - _GAP, 0.3), starts

    def _from_top(self, node: int) -> list[int]:
        below = self.children[node]
        return [leaf for child in below for leaf in self._from_top(child)] if below else [node]


def _branches(axes: Any, tree: _Tree, width: float, starts: Sequence[float]) -> None:
    """Lines from each node to those below it, what holds there written on them."""
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(len(tree.leaves) - 0.5, -0.5)
    ends = [*starts[1:], width + _GAP]
    line = {"color": style.MUTED, "linewidth": 1.1, "solid_capstyle": "round", "clip_on": False}
    axes.plot(0.06, tree.height[0], "o", color=style.INK, markersize=4.5, clip_on=False)
    for node in range(len(tree.parents)):
        depth, y = int(tree.depth[node]), tree.height[node]
        begin = starts[depth]
        below = tree.children[node]
        stop = (ends[depth] - _GAP / 2 if node else 0.06 + _GAP / 3) if below else width + 0.8 * _GAP
        axes.plot([begin if node else 0.06, stop], [y, y], **line)
        if below:
            corner = [tree.height[child] for child in below]
            axes.plot([stop, stop], [min(corner), max(corner)], **line)
            for child in below:
                axes.plot([stop, starts[depth + 1]], [tree.height[child]] * 2, **line)
        if node:
            room = ends[depth] - _GAP - begin if below else width - begin
            axes.text(
                begin + 0.06, y - 0.07, _fitted(tree.rules[node], room), fontsize=_TEXT, color=style.INK, va="bottom"
            )


def _histograms(axes: Any, tree: _Tree, name: str) -> None:
    """The numbers of each answer over those of all rows, each as high as its row."""
    known = [tree.known(leaf) for leaf in tree.leaves]
    every = np.concatenate([values for values, _ in known]).astype(np.float64)
    style.dress(axes, "", name, grid="x")
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.set_ylim(len(tree.leaves) - 0.5, -0.5)
    if not len(every):
        axes.set_xticks([])
        return
    mass = np.concatenate([weight for _, weight in known])
    edges = _edges(every)
    whole = np.histogram(every, edges, weights=mass)[0] / mass.sum()
    for row, (values, weight) in enumerate(known):
        base = row + 0.42
        axes.plot([edges[0], edges[-1]], [base, base], color=style.HAIR, linewidth=0.8)
        if not len(values):
            continue
        share = np.histogram(values.astype(np.float64), edges, weights=weight)[0] / weight.sum()
        top = 0.8 / max(share.max(), whole.max())
        axes.stairs(base - top * whole, edges, baseline=base, fill=True, color=style.MUTED, alpha=0.28, linewidth=0)
        axes.stairs(base - top * share, edges, baseline=base, fill=True, color=style.REAL, alpha=0.55, linewidth=0)
        axes.stairs(base - top * share, edges, baseline=base, color=style.REAL, linewidth=1.0)
    axes.set_xlim(edges[0], edges[-1])
    if tree.kind == "date":
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        places = AutoDateLocator(minticks=2, maxticks=5)
        axes.xaxis.set_major_locator(places)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(places))
        axes.xaxis.get_offset_text().set(color=style.MUTED, fontsize=7.5)
    else:
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel(f"{name}, days" if tree.kind == "span" else name)


def _shares(axes: Any, tree: _Tree, name: str) -> None:
    """The labels of each answer as parts of a bar, those most common in all rows first, named where there is room."""
    known = [tree.known(leaf) for leaf in tree.leaves]
    tally: dict[str, float] = {}
    for values, weight in known:
        for label, each in zip(values.astype(str), weight):
            tally[label] = tally.get(label, 0.0) + float(each)
    names = sorted(tally, key=lambda label: (-tally[label], label))
    told, colours = names[:_KINDS], style.colours(6)
    for row, (values, weight) in enumerate(known):
        texts, at, mass = values.astype(str), 0.0, float(weight.sum())
        parts = [(label, float(weight[texts == label].sum()) / mass if mass else 0.0) for label in told]
        parts.append(("other", 1 - sum(share for _, share in parts) if mass else 0.0))
        for number, (label, share) in enumerate(parts):
            if share > 1e-9:
                colour = colours[number] if number < len(told) else style.MUTED
                axes.barh(row, share, left=at, height=0.6, color=colour, alpha=0.42, linewidth=0)
                axes.barh(row, share, left=at, height=0.6, fill=False, edgecolor=style.PAPER, linewidth=1.2)
                if _width(label) + 0.08 < share * _LAW:
                    axes.text(
                        at + share / 2, row, label, ha="center", va="center", fontsize=_TEXT - 0.5, color=style.INK
                    )
            at += share
    style.dress(axes, "", f"{name}, share of rows" if name else "share of rows", grid="")
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.set_xlim(0, 1)
    axes.set_ylim(len(tree.leaves) - 0.5, -0.5)
    axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the bins: one for each of few whole numbers, else 30 over the range that holds all but a hundredth."""
    low, high = float(values.min()), float(values.max())
    if (values == np.rint(values)).all() and high - low < _BINS:
        return np.arange(low - 0.5, high + 1)
    inner = np.quantile(values, [0.005, 0.995])
    if high - low > 3 * (inner[1] - inner[0]) > 0:
        low, high = inner
    return np.linspace(low, high if high > low else low + 1, _BINS + 1)


def _array(values: ArrayLike) -> NDArray[Any]:
    """Numbers as float64, times as they are, anything else as objects."""
    array = np.asarray(values)
    if array.dtype.kind in "Mm":
        return array
    if array.dtype.kind in "fiu":
        return array.astype(np.float64)
    out = np.empty(array.shape, object)
    out[...] = array
    return out


def _missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "O":
        return np.array([each is None or each != each for each in values], dtype=bool)
    return np.asarray(np.isnat(values) if values.dtype.kind in "Mm" else np.isnan(values))


def _width(text: str) -> float:
    """Inches of a text."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=_TEXT), False)[0]) / 72


def _fitted(text: str, room: float) -> str:
    """The text, or as much of it as fits, with dots; a dollar is no formula."""
    while len(text) > 4 and (width := _width(text)) > room:
        kept = min(len(text) - 2, int(len(text) * room / width))
        text = text[: max(kept, 3)].rstrip() + "…"
    return text.replace("$", r"\$")


def _count(rows: float) -> str:
    return f"{rows:,.0f}".replace(",", " ") if rows >= 100 else f"{rows:g}"
