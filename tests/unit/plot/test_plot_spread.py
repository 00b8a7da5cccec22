"""The map of what draws leave open: its colours are those of the deviations given."""

import numpy as np
import pytest

from caminito import plot
from caminito.errors import DataError, ShapeError

STD = np.array([[0.0, 1.0, 2.0], [0.5, 4.0, 0.0]])


def shown(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def test_the_map_shows_the_deviations_from_nothing_to_the_largest():
    figure = plot.spread(STD, label="grey levels")
    assert (shown(figure) == STD).all() and figure.axes[0].images[0].get_clim() == (0.0, 4.0)
    assert figure.axes[1].get_ylabel() == "grey levels"


def test_of_channels_the_root_of_the_mean_square_is_shown():
    figure = plot.spread(np.stack([STD, 3 * STD, 0 * STD], axis=-1))
    np.testing.assert_allclose(shown(figure), STD * np.sqrt(10 / 3), rtol=1e-12)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_what_is_known_has_the_colour_of_the_paper_and_the_largest_stands_out(name):
    with plot.theme(name) as theme:
        image = plot.spread(np.zeros((2, 2)) if name == "dark" else STD, title="Open").axes[0].images[0]
    paper = tuple(int(theme.paper[i : i + 2], 16) for i in (1, 3, 5))
    assert tuple(image.cmap(0.0, bytes=True)[:3]) == paper
    strong = tuple(int(theme.real[i : i + 2], 16) for i in (1, 3, 5))
    assert tuple(image.cmap(1.0, bytes=True)[:3]) == strong


def test_a_picture_drawn_twice_is_the_same_file():
    assert plot.png_bytes(plot.spread(STD, title="Open")) == plot.png_bytes(plot.spread(STD, title="Open"))


@pytest.mark.parametrize(
    ("std", "error", "message"),
    [
        (np.zeros(3), ShapeError, "std: expected shape"),
        (np.zeros((0, 3)), ShapeError, "std: expected shape"),
        (-STD, DataError, "numbers >= 0"),
        (STD + np.nan, DataError, "numbers >= 0"),
    ],
)
def test_what_is_no_map_is_refused(std, error, message):
    with pytest.raises(error, match=message):
        plot.spread(std)
