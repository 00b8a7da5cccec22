"""Clouds side by side: every point where it was given, over the same data, and refused where they cannot be drawn."""

import numpy as np
import pytest

from caminito import plot
from caminito.errors import ConfigError, DataError, ShapeError
from caminito.plot import style

RNG = np.random.default_rng(0)
DATA, OTHERS = RNG.normal(0, 1, (300, 2)), RNG.normal(4, 1, (200, 2))
SETS = {f"w = {w}": RNG.normal(w, 1, (100 + w, 2)) for w in range(3)}


def shown(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def test_each_panel_holds_its_points_over_the_data_and_the_others():
    panels = shown(plot.clouds(SETS, data=DATA, others=OTHERS))
    assert [axes.get_title(loc="left") for axes in panels] == list(SETS)
    for axes, points in zip(panels, SETS.values(), strict=True):
        for drawn, given in zip(axes.collections, (OTHERS, DATA, points), strict=True):
            assert np.array_equal(drawn.get_offsets(), given)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_data_samples_and_others_have_colours_of_their_own_on_either_paper(name):
    from matplotlib.colors import to_hex

    with style.theme(name) as theme:
        axes = shown(plot.clouds(SETS, data=DATA, others=OTHERS))[0]
    inks = [to_hex(each.get_facecolor()[0]).upper() for each in axes.collections]
    assert inks == [theme.muted, theme.real, theme.generated]


def test_all_panels_have_axes_that_hold_all_data_and_are_not_blinded_by_one_point():
    far = np.concatenate([np.tile(SETS["w = 1"], (10, 1)), [[1e6, 1e6]]])
    panels = shown(plot.clouds({**SETS, "w = 1": far}, data=DATA, others=OTHERS))
    assert len({axes.get_xlim() for axes in panels}) == len({axes.get_ylim() for axes in panels}) == 1
    for limits, column in ((panels[0].get_xlim(), 0), (panels[0].get_ylim(), 1)):
        ground = np.concatenate([DATA, OTHERS])[:, column]
        assert limits[0] < ground.min() and ground.max() < limits[1] < 20


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 4), (5, 3), (8, 4), (9, 3)])
def test_panels_are_laid_out_in_rows(count, columns):
    figure = plot.clouds({str(i): DATA for i in range(count)})
    assert len(shown(figure)) == count
    assert figure.axes[0].get_subplotspec().get_gridspec().ncols == columns


def test_the_caption_says_what_to_look_at_and_follows_what_is_drawn():
    def words(**how):
        return " ".join(text.get_text() for text in plot.clouds(SETS, title="Seen", **how).texts)

    assert "grey" in words(data=DATA, others=OTHERS) and "grey" not in words(data=DATA)
    assert "blue" not in words() and "same axes" in words()
    assert words(data=DATA, caption="Look here.") == "Seen Look here."
    assert plot.clouds(SETS).texts == []


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(DataError, match="sets: expected at least one"):
        plot.clouds({})
    with pytest.raises(ConfigError, match="sets: expected at most 9, got 10"):
        plot.clouds({str(i): DATA for i in range(10)})
    with pytest.raises(ShapeError, match=r"w = 2: expected points of shape \(n, 2\), got \(300, 3\)"):
        plot.clouds({"w = 2": np.zeros((300, 3))})
    with pytest.raises(ShapeError, match="data: expected points"):
        plot.clouds(SETS, data=DATA[:, 0])
    with pytest.raises(DataError, match="others: expected finite"):
        plot.clouds(SETS, others=OTHERS * np.nan)
    with pytest.raises(DataError, match="at least one number"):
        plot.clouds({"none": DATA[:0]})
