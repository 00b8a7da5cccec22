"""Pictures of the way back of numbers: the pairs, maps and laws that are drawn are those given."""

import math

import numpy as np
import pytest

from caminito import plot
from caminito.errors import DataError, ShapeError

GRID = np.linspace(-3, 3, 301)
RNG = np.random.default_rng(0)
BEFORE = RNG.normal(size=200)
AFTER = 0.9 * BEFORE + 0.3 * RNG.normal(size=200)


def normal(mean, std):
    return np.exp(-0.5 * ((GRID - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


def drawn(figure):
    return [np.asarray(line.get_ydata(), float) for axes in figure.axes for line in axes.lines]


def said(figure):
    return " ".join(text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title, axes._left_title))


def test_conditionals_say_how_far_they_are_from_a_normal():
    exact = np.stack([normal(0, 0.5), normal(0.5, 0.5)])
    approximate = np.stack([normal(0.5, 0.5), normal(0.5, 0.5)])
    figure = plot.reverse_conditionals(GRID, exact, approximate, ["beta = 0.5", "beta = 0.01"])
    lines = drawn(figure)
    for row in (*exact, *approximate):
        assert any(line.shape == row.shape and np.allclose(line, row) for line in lines)
    apart = (
        2 * (0.5 * (1 + math.erf(0.5 / math.sqrt(2)))) - 1
    )  # total variation of two normals one deviation apart: .383
    assert f"{apart:.2f}" in said(figure) and "beta = 0.01" in said(figure)


def test_a_jump_is_drawn_both_ways():
    tree = np.where(GRID > 0, 0.7, -0.7)
    figure = plot.jumps(BEFORE, AFTER, maps={"a tree": (GRID, tree)}, dilation=1 / 0.9)
    left, right = figure.axes[:2]
    pairs = [np.asarray(axes.lines[0].get_xydata()) if axes.lines else None for axes in (left, right)]
    points = [
        np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections]) if axes.collections else pair
        for axes, pair in zip((left, right), pairs)
    ]
    wanted = np.sort(np.stack([BEFORE, AFTER], 1), axis=0)
    assert np.allclose(np.sort(points[0], axis=0), wanted)
    assert np.allclose(np.sort(points[1], axis=0), wanted[:, ::-1])
    assert any(np.array_equal(np.asarray(line.get_ydata()), tree) for line in right.lines)
    slopes = [
        np.diff(line.get_ydata())[0] / np.diff(line.get_xdata())[0]
        for axes in (left, right)
        for line in axes.lines
        if len(line.get_xdata()) < 10
    ]
    assert any(math.isclose(s, 0.9, rel_tol=1e-9) for s in slopes)
    assert any(math.isclose(s, 1 / 0.9, rel_tol=1e-9) for s in slopes)


def test_departures_are_lines_where_few_and_a_map_of_colours_where_many():
    shifts = np.stack([-k * GRID for k in (0.1, 0.2, 0.3)])
    lines = drawn(plot.departures(GRID, shifts, ["a", "b", "c"]))
    assert all(any(line.shape == row.shape and np.allclose(line, row) for line in lines) for row in shifts)
    many = np.stack([-k * GRID for k in np.linspace(0.1, 1, 20)])
    figure = plot.departures(GRID, many, [str(k) for k in range(20)])
    (mesh,) = (
        c
        for axes in figure.axes
        for c in axes.collections
        if c.get_array() is not None and c.get_array().size == many.size
    )
    assert np.allclose(np.asarray(mesh.get_array()).reshape(301, 20), many.T)
    low, high = mesh.get_clim()
    assert low == -high  # nothing is the colour of the paper


def test_paths_of_groups_have_their_colours_and_shares():
    paths = RNG.normal(size=(5, 8))
    groups = ["up", "down", "up", "up", "up", "up", "up", "down"]
    figure = plot.trajectories(paths, groups=groups)
    words = [
        text.get_text()
        for legend in (*figure.legends, *[a.get_legend() for a in figure.axes])
        if legend
        for text in legend.get_texts()
    ]
    assert "up: 75 %" in words and "down: 25 %" in words
    colours = {line.get_color() for line in figure.axes[0].lines if len(line.get_xdata()) == 5}
    assert len(colours) == 2


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ShapeError, match="after"):
        plot.jumps(BEFORE, AFTER[:5])
    with pytest.raises(DataError, match="at least one"):
        plot.jumps([], [])
    with pytest.raises(DataError, match="finite"):
        plot.jumps(BEFORE, np.where(AFTER > 0, AFTER, np.nan))
    with pytest.raises(ShapeError, match="normal"):
        plot.reverse_conditionals(GRID, [normal(0, 1)], [normal(0, 1)[:5]], ["a"])
    with pytest.raises(ShapeError, match="labels"):
        plot.departures(GRID, [GRID], ["a", "b"])
    with pytest.raises(DataError, match="increase"):
        plot.departures(GRID[::-1], [GRID], ["a"])
    with pytest.raises(ShapeError, match="groups"):
        plot.trajectories(RNG.normal(size=(5, 8)), groups=[1, 2])
    with pytest.raises(DataError, match="finite"):
        plot.trajectories(np.full((5, 8), np.nan))
    with pytest.raises(DataError, match="finite|numbers"):
        plot.histogram1d([1.0, np.inf])
    with pytest.raises((DataError, ShapeError)):
        plot.scatter(np.empty((0, 2)))
