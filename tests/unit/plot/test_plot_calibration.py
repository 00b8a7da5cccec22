"""The picture of calibration: the counts, band and curve that are drawn are those given."""

import numpy as np
import pytest
from scipy import stats

from caminito import plot
from caminito.errors import DataError, ShapeError

COUNTS = [30, 22, 18, 20, 10]
LEVELS, SHARES = [0.5, 0.8, 0.9], [0.4, 0.75, 0.95]


def band_of(axes):
    box = next(each for each in axes.patches if str(each.get_label()).startswith("95 %"))
    return box.get_y(), box.get_y() + box.get_height()


def lines(axes):
    return {str(each.get_label()): each.get_xydata().tolist() for each in axes.get_lines()}


def test_counts_stand_in_the_order_of_their_ranks_over_the_binomial_band():
    left, _ = plot.calibration(COUNTS, LEVELS, SHARES).axes
    steps = [each.get_data() for each in left.patches if hasattr(each, "get_data")]
    assert [step.values.tolist() for step in steps] == [COUNTS, COUNTS]
    np.testing.assert_allclose(steps[0].edges, np.arange(6) / 5, rtol=1e-15)
    assert band_of(left) == pytest.approx(stats.binom.interval(0.95, 100, 0.2), rel=1e-12)
    assert [[0, 20.0], [1, 20.0]] in [each.get_xydata().tolist() for each in left.get_lines()]
    assert left.get_ylim()[0] == 0 and left.get_ylim()[1] > 30


def test_the_band_given_is_drawn():
    left, _ = plot.calibration(COUNTS, LEVELS, SHARES, band=(5.0, 45.0)).axes
    assert band_of(left) == pytest.approx((5.0, 45.0))
    assert left.get_ylim()[1] > 45


def test_the_curve_is_the_one_given_against_the_diagonal_with_its_errors():
    figure = plot.calibration(COUNTS, LEVELS, SHARES, std_errors=[0.1, 0.05, 0.01])
    right = figure.axes[1]
    assert lines(right) == {"exact": [[0, 0], [1, 1]], "found": [list(pair) for pair in zip(LEVELS, SHARES)]}
    (shade,) = right.collections
    corners = {tuple(each) for each in np.round(shade.get_paths()[0].vertices, 10).tolist()}
    assert {(0.5, 0.204), (0.5, 0.596), (0.8, 0.652), (0.8, 0.848), (0.9, 0.9304), (0.9, 0.9696)} == corners
    assert not plot.calibration(COUNTS, LEVELS, SHARES).axes[1].collections


def test_a_picture_drawn_twice_is_the_same_file():
    def draw():
        return plot.png_bytes(plot.calibration(COUNTS, LEVELS, SHARES, title="Calibration"))

    assert draw() == draw()


def test_samples_and_what_is_exact_have_their_colours_on_both_papers():
    for name in ("light", "dark"):
        with plot.theme(name) as theme:
            found = {str(line.get_label()): line for line in plot.calibration(COUNTS, LEVELS, SHARES).axes[1].lines}
        assert (found["exact"].get_color(), found["found"].get_color()) == (theme.real, theme.generated)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="levels = 3 as in levels"):
        plot.calibration(COUNTS, LEVELS, SHARES[:2])
    with pytest.raises(ShapeError, match=r"std_errors: expected shape \(3,\)"):
        plot.calibration(COUNTS, LEVELS, SHARES, std_errors=[0.1])
    with pytest.raises(ShapeError, match=r"band: expected shape \(2,\)"):
        plot.calibration(COUNTS, LEVELS, SHARES, band=(1.0, 2.0, 3.0))
    with pytest.raises(DataError, match="counts: expected numbers >= 0"):
        plot.calibration([1, -1], LEVELS, SHARES)
    with pytest.raises(DataError, match="counts: expected numbers >= 0 that are not all 0"):
        plot.calibration([0, 0], LEVELS, SHARES)
    with pytest.raises(DataError, match="shares: expected numbers in .*Divide percentages"):
        plot.calibration(COUNTS, LEVELS, [40, 75, 95])
    with pytest.raises(DataError, match="levels: expected numbers that increase"):
        plot.calibration(COUNTS, LEVELS[::-1], SHARES)
    with pytest.raises(DataError, match="band: expected finite numbers"):
        plot.calibration(COUNTS, LEVELS, SHARES, band=(np.nan, np.nan))
