"""Fields, tables of noise, errors over evaluations and corruption: drawn as given, and refused where they cannot be."""

import numpy as np
import pytest

from caminito import plot
from caminito.errors import ConfigError, DataError, ShapeError

X, Y = np.linspace(-1, 1, 5), np.linspace(-2, 2, 7)
FIELD = np.random.default_rng(0).normal(0, 0.1, (3, 7, 5, 2))
LABELS = ["much", "some", "little"]
BETA = np.linspace(1e-4, 0.02, 100)


def arrows(figure):
    return [each for axes in figure.axes for each in axes.collections if type(each).__name__ == "Quiver"]


def test_short_arrows_are_the_displacements_and_long_ones_keep_their_direction():
    drawn = arrows(plot.vector_field(X, Y, FIELD * 0.1, LABELS))
    for arrow, field in zip(drawn, FIELD * 0.1, strict=True):
        assert np.allclose(np.stack([arrow.U, arrow.V], -1), 0.9 * field.reshape(-1, 2))
    long = arrows(plot.vector_field(X, Y, FIELD * 1e3, LABELS))[0]
    drawn_long, given = np.stack([long.U, long.V], -1), FIELD[0].reshape(-1, 2)
    assert np.allclose(np.linalg.norm(drawn_long, axis=1), 0.9 * 0.5)  # of the spacing
    assert np.allclose(drawn_long / 0.45, given / np.linalg.norm(given, axis=1, keepdims=True))


def test_a_panel_for_each_level_has_its_name_and_rows_are_up():
    figure = plot.vector_field(X, Y, FIELD, LABELS, data=np.zeros((4, 2)))
    assert [axes.get_title(loc="left") for axes in figure.axes] == LABELS
    low, high = figure.axes[0].get_ylim()
    assert low < Y[0] and high > Y[-1]
    assert figure.get_suptitle() == "" and "blu" in " ".join(text.get_text() for text in figure.texts)


def test_tables_of_noise_are_the_products_of_their_steps():
    figure = plot.noise_tables({"a": BETA, "b": BETA[:50]})
    beta, bar, logsnr = ([line.get_ydata() for line in axes.lines] for axes in figure.axes)
    assert np.array_equal(beta[0], BETA)
    assert np.allclose(bar[0], np.cumprod(1 - BETA), rtol=1e-12)
    assert np.allclose(logsnr[1], np.log(bar[1] / (1 - bar[1])), rtol=1e-9)


def test_errors_are_drawn_where_they_are_and_named_at_their_ends():
    curves = {"2M": ([8, 16], [0.1, 0.02]), "2M SDE": ([8, 16], [0.2, 0.1])}
    (axes,) = plot.errors_by_evaluations(curves, orders={"2M": 2.32}).axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.1, 0.02], [0.2, 0.1]]
    names = {text.get_text(): text for text in axes.texts}
    assert set(names) == {"2M   2.32", "2M SDE"}
    assert names["2M SDE"].get_color() == axes.lines[1].get_color()
    assert names["2M SDE"].xyann[1] - names["2M   2.32"].xyann[1] > 0.05


def test_corruption_begins_with_the_limits_of_the_data():
    frames = np.stack([np.zeros((2, 8, 8)), np.full((2, 8, 8), 9.0)])
    frames[0, :, 0, 0] = 1.0
    figure = plot.corruption(frames, ["data", "noise"])
    (picture,) = (np.asarray(image.get_array()) for image in figure.axes[0].images)
    assert picture.max() == 255 and picture[20, -20].max() == 255  # 9 is beyond the data and clipped
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["data", "noise"]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ShapeError, match="field: expected shape"):
        plot.vector_field(Y, X, FIELD, LABELS)
    with pytest.raises(DataError, match="field: expected finite"):
        plot.vector_field(X, Y, FIELD * np.nan, LABELS)
    with pytest.raises(DataError, match="at least one"):
        plot.vector_field(X, Y, FIELD[:0], [])
    with pytest.raises(ShapeError, match="labels"):
        plot.vector_field(X, Y, FIELD, LABELS[:2])
    with pytest.raises(ConfigError, match="departure from a dilation"):
        plot.vector_field(X, Y, FIELD, LABELS, of="away")
    with pytest.raises(DataError, match="tables: expected at least one"):
        plot.noise_tables({})
    for bad, match in (
        ([0.1, 1.0], r"a: expected beta in \(0, 1\), got 1"),
        ([0.0, 0.1], "got 0"),
        ([0.1, np.nan], "a: beta: expected finite"),
    ):
        with pytest.raises(DataError, match=match):
            plot.noise_tables({"a": bad})
    with pytest.raises(ShapeError, match="at least 2 steps, got 1"):
        plot.noise_tables({"a": [0.1]})
    with pytest.raises(DataError, match="> 0"):
        plot.errors_by_evaluations({"a": ([1, 2], [0.1, 0.0])})
    with pytest.raises(ConfigError, match="orders"):
        plot.errors_by_evaluations({"a": ([1, 2], [0.1, 0.2])}, orders={"b": 1})
    with pytest.raises(DataError, match="frames: expected at least one"):
        plot.corruption(np.empty((0, 2, 8, 8)), [])
    with pytest.raises(DataError, match="processes: expected at least one"):
        plot.schedule({})
