"""Pictures of the way to noise: what is drawn is what was given, and what cannot be drawn is refused."""

import numpy as np
import pytest

from caminito import plot
from caminito.errors import ConfigError, DataError, ShapeError

RNG = np.random.default_rng(0)
TIMES = np.arange(6.0)
PATHS = RNG.normal(size=(6, 50))
GRID = np.linspace(-4, 4, 41)
DENSITY = np.exp(-(GRID[:, None] ** 2) / (2 + TIMES))


def lines(figure):
    return [line.get_ydata() for axes in figure.axes for line in axes.lines]


def test_paths_are_drawn_as_they_were_given():
    drawn = lines(plot.diffusion_paths(PATHS, TIMES, DENSITY, GRID, shown=3))
    for path in PATHS.T[:3]:
        assert any(line.shape == path.shape and np.array_equal(line, path) for line in map(np.asarray, drawn))
    assert not any(np.array_equal(line, PATHS[:, 3]) for line in drawn)


def test_marginals_kernels_and_the_end_have_a_line_for_each_law():
    labels = [f"t = {t:g}" for t in TIMES]
    figure = plot.marginals(GRID, DENSITY.T, labels)
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    texts |= {label.get_text() for axes in figure.axes for label in axes.get_yticklabels()}
    assert set(labels) <= texts
    starts = np.array([-1.0, 1.0])
    mean, std = starts[:, None] * np.exp(-TIMES), 1 - np.exp(-TIMES)
    drawn = [np.asarray(y) for y in lines(plot.kernels(starts, TIMES, mean, std))]
    assert all(any(y.shape == (6,) and np.allclose(y, row) for y in drawn) for row in mean)
    samples = RNG.normal(2, 3, size=500)
    (axes,) = plot.terminal(samples).axes
    said = " ".join(text.get_text() for text in axes.texts)
    assert f"mean {samples.mean():.3f}" in said and f"deviation {samples.std(ddof=1):.3f}" in said


def test_pictures_are_the_same_bytes_again_and_other_ones_on_dark_paper():
    first = plot.png_bytes(plot.terminal(PATHS.ravel()))
    assert first == plot.png_bytes(plot.terminal(PATHS.ravel()))
    with plot.theme("dark"):
        assert first != plot.png_bytes(plot.terminal(PATHS.ravel()))
    assert first == plot.png_bytes(plot.terminal(PATHS.ravel()))


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ShapeError, match="times"):
        plot.diffusion_paths(PATHS, TIMES[:4])
    with pytest.raises(DataError, match="at least one number"):
        plot.terminal([])
    with pytest.raises(DataError, match="increase"):
        plot.diffusion_paths(PATHS, TIMES[::-1])
    with pytest.raises(DataError):
        plot.terminal([1.0, np.nan])
    with pytest.raises(ConfigError):
        plot.diffusion_paths(PATHS, TIMES, DENSITY)
