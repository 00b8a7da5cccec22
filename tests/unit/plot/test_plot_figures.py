"""What is drawn is what was given: the artists of each figure hold the numbers, in data coordinates."""

import subprocess
import sys

import numpy as np
import pytest

from caminito._errors import DataError, ShapeError
from caminito.plot import (
    histogram1d,
    loss_by_level,
    loss_curves,
    png_bytes,
    scatter,
    schedule,
    scores,
    time_spent,
    trajectories,
)


def line(axes, label):
    return next(each for each in axes.get_lines() if str(each.get_label()).startswith(label)).get_xydata()


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_short_curve_is_drawn_through_its_values_and_leaves_out_what_is_not_finite():
    axes = loss_curves({"held out": ([0, 1, 2, 3], [4.0, np.nan, 2.0, np.inf])}).axes[0]
    assert line(axes, "held out").tolist() == [[0, 4], [2, 2]]


def test_a_long_curve_is_shown_with_a_running_mean_that_keeps_straight_lines():
    steps = np.arange(1000.0)
    axes = loss_curves({"training": (steps, 5 + 2 * steps)}).axes[0]
    mean = line(axes, "training")
    # 25 values to each side: exact on a line but for the last 25, where the window is one-sided
    np.testing.assert_allclose(mean[:-25, 1], 5 + 2 * steps[:-25], rtol=1e-12)
    assert mean[-1, 1] == pytest.approx(np.mean(5 + 2 * steps[-26:]), rel=1e-12)
    noise = np.random.default_rng(0).standard_normal(1000)
    rough = line(loss_curves({"training": (steps, noise)}).axes[0], "training")[25:-25, 1]
    assert np.std(rough) <= 3 / np.sqrt(51)  # mean of 51 independent values


def test_losses_over_a_wide_range_get_a_logarithmic_axis_and_negative_ones_never():
    assert loss_curves({"a": ([0, 1], [1.0, 0.01])}).axes[0].get_yscale() == "log"
    assert loss_curves({"a": ([0, 1], [1.0, 0.5])}).axes[0].get_yscale() == "linear"
    assert loss_curves({"a": ([0, 1], [1.0, -0.01])}).axes[0].get_yscale() == "linear"


def test_loss_by_level_is_drawn_in_the_order_of_the_levels():
    axes = loss_by_level([1.0, -1.0, 0.0], [[3.0, 1.0, 2.0], [6.0, 4.0, 5.0]], labels=["step 0", "step 9"]).axes[0]
    assert line(axes, "step 0").tolist() == [[-1, 1], [0, 2], [1, 3]]
    assert line(axes, "step 9").tolist() == [[-1, 4], [0, 5], [1, 6]]


def test_the_log_snr_of_a_schedule_is_that_of_alpha_and_sigma_where_it_is_finite():
    t = np.array([0.0, 1.0, 2.0, 4.0])
    alpha, sigma = np.array([1.0, -0.8, 0.6, 0.0]), np.array([0.0, 0.6, 0.8, 1.0])
    panels = schedule({"chain": (t, alpha, sigma)}).axes
    assert line(panels[0], "chain").tolist() == [[0, 1], [0.25, -0.8], [0.5, 0.6], [1, 0]]
    drawn = panels[2].get_lines()[0].get_xydata()
    np.testing.assert_allclose(drawn, [[0.25, 2 * np.log(4 / 3)], [0.5, 2 * np.log(3 / 4)]], rtol=1e-12)


def test_scatter_shows_every_point_and_is_not_blinded_by_one_far_away():
    rng = np.random.default_rng(0)
    real, generated = rng.random((1000, 2)), rng.random((1000, 2))
    generated[0] = 1e6
    left, right = scatter(real, generated).axes
    assert np.array_equal(left.collections[0].get_offsets(), real)
    assert np.array_equal(right.collections[0].get_offsets(), generated)
    assert left.get_xlim() == right.get_xlim()
    assert max(left.get_xlim()) < 1.1


def test_trajectories_of_numbers_run_against_time_with_noise_on_the_left():
    paths = np.random.default_rng(1).standard_normal((5, 3, 1))
    times = np.linspace(1, 0, 5)
    axes = trajectories(paths, times).axes[0]
    for sample in range(3):
        assert np.array_equal(axes.get_lines()[sample].get_xydata(), np.stack([times, paths[:, sample, 0]], axis=1))
    assert axes.get_xlim()[0] > axes.get_xlim()[1]


def test_trajectories_of_points_run_in_the_plane_from_start_to_end():
    paths = np.random.default_rng(2).standard_normal((5, 3, 2))
    axes = trajectories(paths).axes[0]
    assert np.array_equal(axes.get_lines()[1].get_xydata(), paths[:, 1])
    assert np.array_equal(axes.collections[0].get_offsets(), paths[0])
    assert np.array_equal(axes.collections[1].get_offsets(), paths[-1])


def test_the_histogram_is_a_density_and_stands_with_the_one_given():
    x = np.linspace(-1, 1, 50)
    axes = histogram1d(np.random.default_rng(3).standard_normal(500), (x, x**2)).axes[0]
    assert sum(bar.get_width() * bar.get_height() for bar in axes.patches) == pytest.approx(1.0, rel=1e-12)
    assert np.array_equal(line(axes, "density"), np.stack([x, x**2], axis=1))


def test_scores_are_written_and_placed_on_a_scale_from_zero_to_the_larger():
    figure = scores({"c2st": (0.8, 0.5, "", "lower"), "recall": (0.3, 0.6), "mmd": (-0.02, 0.03)})
    at = {
        round(float(dot.get_ydata()[0])): float(dot.get_xdata()[0])
        for dot in figure.axes[0].get_lines()
        if dot.get_marker() == "o"
    }
    assert at[0] == pytest.approx(1.0)
    assert at[1] == pytest.approx(0.5)
    assert at[2] == pytest.approx(0.0)
    for expected in ("C2ST  ↓", "recall", "0.800", "0.500", "-0.0200"):
        assert expected in words(figure)


def test_time_spent_draws_seconds_and_says_shares():
    figure = time_spent({"training": 90.0, "sampling": 9.5, "reading": 0.5})
    assert [bar.get_width() for bar in figure.axes[0].patches] == [90.0, 9.5, 0.5]
    assert words(figure) == ["1 min 30 s   90 %", "9.5 s   10 %", "500 ms   0 %"]


def test_a_picture_drawn_twice_is_the_same_file():
    def draw():
        return png_bytes(scatter(np.random.default_rng(4).random((100, 2))), {"seed": "4"})

    assert draw() == draw()


def test_importing_the_room_does_not_import_matplotlib_and_drawing_does_not_import_pyplot():
    code = (
        "import sys, caminito.plot as plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plot.png_bytes(plot.time_spent({'training': 1.0}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="at least one finite loss"):
        loss_curves({"a": ([0], [np.nan])})
    with pytest.raises(ShapeError, match="as many steps as losses"):
        loss_curves({"a": ([0, 1], [1.0])})
    with pytest.raises(ShapeError, match="evaluations, levels"):
        loss_by_level([0.0, 1.0], [[1.0, 2.0, 3.0]])
    with pytest.raises(ShapeError, match=r"vp: sigma: expected shape \(n,\) with n = 2 as in t"):
        schedule({"vp": ([0, 1], [1, 0], [0])})
    with pytest.raises(ShapeError, match=r"generated: expected points of shape \(n, 2\)"):
        scatter(np.zeros((3, 2)), np.zeros((3, 3)))
    with pytest.raises(ShapeError, match="3 times"):
        trajectories(np.zeros((4, 5)), [0, 1, 2])
    with pytest.raises(ShapeError, match=r"expected shape \(n,\)"):
        histogram1d(np.zeros((3, 3)))
    with pytest.raises(DataError, match="at least one"):
        scores({})
    with pytest.raises(DataError, match="durations >= 0"):
        time_spent({"training": -1.0})
