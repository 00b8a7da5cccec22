"""The picture of a jump of a table: its questions, counts and laws are those given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from caminito import plot
from caminito.errors import DataError, ShapeError

PARENTS = [-1, 0, 0, 2, 2]
RULES = ["", "age <= 30", "age > 30", "city is Rome", "city is Oslo or Bonn"]
NUMBERS = {1: np.array([0.0, 0, 0, 1]), 3: np.array([1.0, 2, 2, np.nan]), 4: np.array([9.0, 9, 9, 9])}


def said(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [t.get_text() for t in figure.texts]


def test_every_question_and_count_is_written():
    figure = plot.jump_tree(PARENTS, RULES, NUMBERS, below={4: 7}, name="income", title="A jump")
    words = said(figure)
    assert set(RULES[1:]) <= set(words)
    assert words.count("4 rows") == 3 and "25 % missing" in words and "7 leaves" in words and "A jump" in words
    assert any("Grey: all rows" in each for each in words)
    assert figure.axes[1].get_xlabel() == "income"


def test_histograms_are_the_shares_of_each_answer_over_those_of_all():
    weights = {1: np.array([1.0, 1, 1, 3]), 3: np.ones(4), 4: np.ones(4)}
    figure = plot.jump_tree(PARENTS, RULES, NUMBERS, weights=weights, title="")
    steps = [patch.get_data() for patch in figure.axes[1].patches]
    shares = [np.abs(data.values - data.baseline) for data in steps]
    every = np.array([3 + 0, 3 + 1, 2, 0, 0, 0, 0, 0, 0, 4]) / 13  # values 0 to 9 by weight, the missing one apart
    for leaf, law in enumerate([[0.5, 0.5], [0, 1 / 3, 2 / 3], [0] * 9 + [1]]):
        whole, own = shares[3 * leaf], shares[3 * leaf + 1]
        law = np.pad(law, (0, 10 - len(law)))
        top = 0.8 / max(law.max(), every.max())
        assert np.allclose(own, top * law) and np.allclose(whole, top * every)


def test_labels_are_parts_of_a_bar_as_wide_as_their_share():
    labels = {1: np.array(["a", "a", "b", None], object), 3: np.array(["b"] * 4), 4: np.array(list("abcdefgh"))}
    figure = plot.jump_tree(PARENTS, RULES, labels, title="")
    bars = [patch for patch in figure.axes[1].patches if patch.get_fill()]
    widths = [[bar.get_width() for bar in bars if round(bar.get_y() + 0.3) == row] for row in range(3)]
    assert np.allclose(widths[0], [1 / 3, 2 / 3])  # b is the most common of all
    assert np.allclose(widths[1], [1.0])
    assert np.allclose(widths[2], [1 / 8] * 5 + [3 / 8])
    words = said(figure)
    assert "a" in words and "b" in words and "25 % missing" in words


@pytest.mark.parametrize("kind", ["M8[D]", "m8[D]"])
def test_times_have_an_axis_of_times(kind):
    values = {leaf: (np.nan_to_num(numbers) * 100).astype(kind) for leaf, numbers in NUMBERS.items()}
    figure = plot.jump_tree(PARENTS, RULES, values, name="when")
    figure.canvas.draw()
    low, high = figure.axes[1].get_xlim()
    assert (low, high) == (0.0, 900.0)
    assert figure.axes[1].get_xlabel() == ("when" if kind[0] == "M" else "when, days")


def test_the_dark_picture_has_dark_paper_everywhere():
    with plot.theme("dark") as theme:
        figure = plot.jump_tree(PARENTS, RULES, NUMBERS)
        assert to_hex(figure.get_facecolor()).upper() == theme.paper
        assert all(axes.get_facecolor()[3] == 0 or not axes.axison for axes in figure.axes)


def test_long_questions_are_cut_and_dollars_are_no_formulas():
    rules = ["", "price in $ is " + "very " * 60, "x", "y", "z"]
    figure = plot.jump_tree(PARENTS, rules, NUMBERS)
    cut = next(text for text in said(figure) if text.startswith("price"))
    assert cut.endswith("…") and r"\$" in cut and len(cut) < 120
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("parents", "values", "error"),
    [
        ([-1, 0, 0, 2], NUMBERS, ShapeError),
        ([0, 0, 0, 2, 2], NUMBERS, ShapeError),
        ([-1, 3, 0, 2, 2], NUMBERS, ShapeError),
        (PARENTS, {1: [1.0]}, ShapeError),
        (PARENTS, NUMBERS | {4: []}, ShapeError),
    ],
)
def test_what_is_no_tree_is_refused(parents, values, error):
    with pytest.raises(error):
        plot.jump_tree(parents, RULES, values)


def test_a_tree_that_no_page_holds_is_refused():
    with pytest.raises(DataError, match="less deep"):
        plot.jump_tree([-1] + [0] * 65, ["x"] * 66, {leaf: [1.0] for leaf in range(1, 66)})
