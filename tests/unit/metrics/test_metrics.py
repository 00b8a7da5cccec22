"""Distances between two sets: each against a closed form, an independent implementation, or its own definition."""

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial.distance import cdist

from caminito._errors import ConfigError, DataError, NonFiniteError, ShapeError
from caminito.metrics import (
    _rows,
    c2st,
    copy_gauge,
    energy_distance,
    frechet_distance,
    frechet_features,
    median_distance,
    mmd,
    nearest_items,
    precision_recall,
    sliced_wasserstein,
)


def clouds(n=60, m=60, size=5, seed=0, shift=0.3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, size)), rng.standard_normal((m, size)) * 1.3 + shift


def within_standard_errors(values, expected, k=4.5):
    return abs(np.mean(values) - expected) <= k * np.std(values, ddof=1) / np.sqrt(len(values))


# pairwise distances


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_distance_blocks_equal_differences_also_far_from_the_origin_and_near_copies(offset):
    x, y = clouds(40, 30)
    y[:10] = x[:10] + 1e-7 * y[:10]
    x, y = x + offset, y + offset
    found = np.concatenate([block for _, block in _rows.distance_blocks(x, y)])
    np.testing.assert_allclose(found, cdist(x, y, "sqeuclidean"), rtol=1e-9, atol=0)


def test_distances_of_dyadic_data_are_exact_so_ties_stay_ties():
    x = np.random.default_rng(1).integers(0, 17, (50, 64)) / 8 - 1
    y = np.random.default_rng(2).integers(0, 17, (40, 64)) / 8 - 1
    found = np.concatenate([block for _, block in _rows.distance_blocks(x, y)])
    assert np.array_equal(found, cdist(x, y, "sqeuclidean"))


def test_metrics_do_not_depend_on_the_size_of_blocks(monkeypatch):
    x, y = clouds(50, 50)
    train, _ = clouds(80, 2, seed=4)

    def everything():
        gauge = copy_gauge(x, train, y)
        return [
            sliced_wasserstein(x, y, projections=9),
            sliced_wasserstein(x, train, projections=9),
            energy_distance(x, y),
            mmd(x, y),
            c2st(x, y),
            c2st(x, y, neighbours=4, folds=3),
            *precision_recall(x, y),
            frechet_distance(x, y),
            gauge.ratio,
            gauge.floor,
            gauge.close,
        ]

    whole = everything()
    for values in (1, 37, 400):
        monkeypatch.setattr(_rows, "BLOCK_VALUES", values)
        np.testing.assert_allclose(everything(), whole, rtol=1e-12, atol=0)


# sliced Wasserstein


def test_sliced_wasserstein_of_a_translate_is_its_length_over_the_root_of_the_dimension():
    x, _ = clouds(30, size=6)
    v = np.arange(1.0, 7.0)
    projections = 20_000
    found = sliced_wasserstein(x, x + v, projections=projections) ** 2 / (v @ v)
    # cos^2 of the angle to a random direction: mean 1/d, variance 2 (d - 1) / (d^2 (d + 2))
    assert abs(found - 1 / 6) <= 4.5 * np.sqrt(2 * 5 / (36 * 8) / projections)


def test_sliced_wasserstein_in_one_dimension_is_the_distance_of_sorted_values():
    x, y = clouds(25, 25, size=1)
    exact = np.sqrt(np.mean((np.sort(x[:, 0]) - np.sort(y[:, 0])) ** 2))
    assert sliced_wasserstein(x, y) == pytest.approx(exact, rel=1e-13)


def test_sliced_wasserstein_of_unequal_sizes_equals_that_of_the_sets_repeated_to_one_size():
    x, y = clouds(12, 7)
    assert sliced_wasserstein(x, y) == pytest.approx(
        sliced_wasserstein(np.repeat(x, 7, axis=0), np.repeat(y, 12, axis=0)), rel=1e-12
    )


def test_sliced_wasserstein_is_symmetric_scales_with_the_data_and_forgets_order_and_event_shape():
    x, y = clouds(30, 20, size=6)
    value = sliced_wasserstein(x, y)
    assert sliced_wasserstein(y, x) == pytest.approx(value, rel=1e-12)
    assert sliced_wasserstein(3 * x, 3 * y) == pytest.approx(3 * value, rel=1e-12)
    assert sliced_wasserstein(x[::-1].reshape(30, 2, 3), y.reshape(20, 2, 3)) == pytest.approx(value, rel=1e-12)
    assert sliced_wasserstein(x, x[::-1]) == 0.0


# energy distance and MMD


def test_energy_distance_in_one_dimension_equals_the_integral_of_squared_cdf_differences():
    x, y = clouds(33, 21, size=1)
    assert energy_distance(x, y) == pytest.approx(stats.energy_distance(x[:, 0], y[:, 0]), rel=1e-10)


def test_energy_distance_of_a_set_with_itself_is_zero():
    x, _ = clouds(50)
    # the three means cancel; what is left is the root of their rounding
    assert energy_distance(x, x[::-1]) <= np.sqrt(50 * np.finfo(float).eps * 10)


def test_energy_distance_of_two_points_is_the_root_of_twice_their_distance():
    assert energy_distance([[0.0, 0.0]], [[3.0, 4.0]]) == pytest.approx(np.sqrt(10.0), rel=1e-15)


def test_mmd_is_unbiased_for_equal_laws_and_for_two_gaussians():
    rng = np.random.default_rng(0)
    size, bandwidth, shift = 3, 1.5, 0.8
    kernel_mean = (bandwidth**2 / (bandwidth**2 + 2)) ** (size / 2)
    exact = 2 * kernel_mean * (1 - np.exp(-size * shift**2 / (2 * (bandwidth**2 + 2))))
    draws = [rng.standard_normal((2, 15, size)) for _ in range(600)]
    assert within_standard_errors([mmd(x, y, bandwidth=bandwidth) for x, y in draws], 0.0)
    assert within_standard_errors([mmd(x, y + shift, bandwidth=bandwidth) for x, y in draws], exact)


def test_median_distance_is_the_median_over_pairs_of_the_pooled_items():
    x, y = clouds(20, 31)
    pooled = np.concatenate([x, y])
    pairs = cdist(pooled, pooled)[np.triu_indices(51, 1)]
    assert median_distance(x, y) == pytest.approx(np.median(pairs), rel=1e-12)


# classifier two-sample test


def test_c2st_of_one_law_has_the_exact_leave_one_out_mean():
    rng = np.random.default_rng(3)
    values = [c2st(*rng.standard_normal((2, 20, 3))) for _ in range(400)]
    assert within_standard_errors(values, 19 / 39)


def test_c2st_with_folds_has_mean_one_half_for_one_law():
    rng = np.random.default_rng(4)
    values = [c2st(*rng.standard_normal((2, 20, 3)), folds=2, seed=i) for i in range(400)]
    assert within_standard_errors(values, 0.5)


def test_c2st_is_one_for_sets_apart_and_zero_for_twins():
    x, _ = clouds(30)
    assert c2st(x, x + 100) == 1.0
    assert c2st(x, x + 100, neighbours=5, folds=2) == 1.0
    assert c2st(x, x + 1e-6) == 0.0
    assert c2st(x, x) == 0.0


def test_c2st_of_equal_distances_is_the_chance_of_a_random_draw_among_them():
    same = np.zeros((10, 2))
    # each item sees 9 of its own and 10 of the other set, all at distance 0
    assert c2st(same, same) == pytest.approx(9 / 19, rel=1e-12)
    three = stats.hypergeom(19, 9, 3)
    assert c2st(same, same, neighbours=3) == pytest.approx(three.sf(1), rel=1e-12)


@pytest.mark.parametrize("neighbours", [1, 3, 4])
def test_c2st_equals_a_vote_counted_by_hand(neighbours):
    x, y = clouds(25, 25)
    rows, side = np.concatenate([x, y]), np.repeat([0, 1], 25)
    right = 0.0
    for i in range(50):
        order = np.argsort(np.where(np.arange(50) == i, np.inf, np.linalg.norm(rows - rows[i], axis=1)))[:neighbours]
        votes = np.sum(side[order] == side[i])
        right += 0.5 if 2 * votes == neighbours else float(2 * votes > neighbours)
    assert c2st(x, y, neighbours=neighbours) == pytest.approx(right / 50, rel=1e-12)


def test_c2st_by_a_classifier_is_a_coin_for_one_law_and_sure_for_sets_apart():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(5)
    judge = LogisticRegression()
    x, y = rng.standard_normal((2, 200, 3))
    assert c2st(x, x + 50, classifier=judge) == 1.0
    assert abs(c2st(x, y, classifier=judge) - 0.5) <= 4.5 * 0.5 / np.sqrt(400)
    assert not hasattr(judge, "coef_")


# precision and recall


def test_precision_recall_equal_their_definition():
    real, fake = clouds(30, 30, shift=1.0)
    real_reach = np.sort(cdist(real, real), axis=1)[:, 3]  # column 0 is the item itself
    fake_reach = np.sort(cdist(fake, fake), axis=1)[:, 3]
    across = cdist(real, fake)
    found = precision_recall(real, fake, neighbours=3)
    assert found.precision == pytest.approx(np.mean((across <= real_reach[:, None]).any(axis=0)), rel=1e-15)
    assert found.recall == pytest.approx(np.mean((across <= fake_reach).any(axis=1)), rel=1e-15)


def test_swapping_the_sets_swaps_precision_and_recall():
    real, fake = clouds(80, 80, shift=0.8)
    assert precision_recall(real, fake) == precision_recall(fake, real)[::-1]
    assert precision_recall(real, real) == (1.0, 1.0)


def test_a_collapsed_model_is_precise_and_a_lost_mode_is_lost_recall():
    rng = np.random.default_rng(6)
    modes = rng.standard_normal((100, 2)) + np.repeat([[0.0, 0.0], [100.0, 0.0]], 50, axis=0)
    collapsed = np.concatenate([modes[:50], modes[:50] + 1e-3])
    found = precision_recall(modes, collapsed)
    assert found.precision == 1.0
    assert found.recall == 0.5


# Frechet distance


def with_moments(mean, cov, n=50, seed=0):
    """Rows whose sample mean and covariance are the given ones."""
    x = np.random.default_rng(seed).standard_normal((n, len(mean)))
    x -= x.mean(axis=0)
    x = np.linalg.solve(np.linalg.cholesky(np.cov(x.T)), x.T).T
    return mean + x @ np.linalg.cholesky(cov).T


def test_frechet_distance_of_gaussians_with_parallel_axes_is_closed_form():
    a, b = np.array([4.0, 1.0, 0.25]), np.array([1.0, 9.0, 1e-6])
    mean = np.array([1.0, -2.0, 0.5])
    exact = mean @ mean + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    found = frechet_distance(with_moments(np.zeros(3), np.diag(a)), with_moments(mean, np.diag(b), n=70, seed=1))
    assert found == pytest.approx(exact, rel=1e-10)


def test_frechet_distance_equals_the_formula_with_a_matrix_square_root():
    x, y = clouds(60, 90, size=8)
    y = y @ np.random.default_rng(7).standard_normal((8, 8))
    a, b, gap = np.cov(x.T), np.cov(y.T), x.mean(axis=0) - y.mean(axis=0)
    exact = gap @ gap + np.trace(a + b) - 2 * np.trace(linalg.sqrtm(a @ b)).real
    assert frechet_distance(x, y) == pytest.approx(exact, rel=1e-10)
    assert frechet_distance(y, x) == pytest.approx(exact, rel=1e-10)


def test_frechet_distance_ignores_dimensions_that_do_not_vary_and_works_with_fewer_items_than_dimensions():
    x, y = clouds(6, 5, size=3)
    turn = np.linalg.qr(np.random.default_rng(8).standard_normal((40, 40)))[0][:3]
    assert frechet_distance(x @ turn, y @ turn) == pytest.approx(frechet_distance(x, y), rel=1e-12)


def test_frechet_distance_of_a_translate_is_the_squared_length():
    x, _ = clouds(50, size=5)
    v = np.arange(5.0)
    total_variance = np.trace(np.cov(x.T))
    assert abs(frechet_distance(x, x[::-1])) <= 100 * np.finfo(float).eps * total_variance
    assert frechet_distance(x, x + v) == pytest.approx(v @ v, rel=1e-13)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_frechet_features_is_the_distance_of_the_features(batch_size):
    x, y = clouds(30, 40, size=6)
    x, y = x.reshape(30, 2, 3), y.reshape(40, 2, 3)

    def features(batch):
        return np.concatenate([batch[:, 0] ** 2, np.sin(batch[:, 1])], axis=1)

    expected = frechet_distance(features(x), features(y))
    assert frechet_features(x, y, features, batch_size=batch_size) == pytest.approx(expected, rel=1e-12)


# copy gauge


def test_copies_have_ratio_zero_and_are_counted():
    rng = np.random.default_rng(9)
    train, held_out = rng.standard_normal((2, 200, 4))
    exact = copy_gauge(train[::2], train, held_out)
    assert (exact.ratio, exact.exact, exact.close, exact.n_samples) == (0.0, 100, 100, 100)
    near = copy_gauge(train + 1e-6, train, held_out)
    assert near.ratio <= 1e-5
    assert (near.exact, near.close) == (0, 200)


@pytest.mark.parametrize(("n_train", "n_held_out"), [(100, 100), (400, 60)])
def test_fresh_data_have_the_ratio_of_the_floor_whatever_the_sizes(n_train, n_held_out):
    rng = np.random.default_rng(10)
    logs, close = [], []
    for _ in range(60):
        rows = rng.standard_normal((100 + n_train + n_held_out, 2))
        gauge = copy_gauge(rows[:100], rows[100 : 100 + n_train], rows[100 + n_train :], quantile=0.1)
        logs.append(np.log(gauge.ratio / gauge.floor))
        close.append(gauge.close - gauge.close_expected)
    # an item of the floor has one neighbour fewer: bias of log(1 - 1/n) / 2 in two dimensions, below .01 here
    assert abs(np.mean(logs)) <= 0.01 + 4.5 * np.std(logs, ddof=1) / np.sqrt(60)
    # the number of held-out items below their own quantile is rounded up, by at most 1 of n_held_out
    assert abs(np.mean(close)) <= 100 / n_held_out + 4.5 * np.std(close, ddof=1) / np.sqrt(60)


def test_a_collapsed_model_that_does_not_copy_keeps_the_ratio():
    rng = np.random.default_rng(11)
    logs = []
    for _ in range(40):
        train, held_out = rng.standard_normal((2, 500, 2))
        logs.append(np.log(copy_gauge(0.2 * rng.standard_normal((200, 2)), train, held_out).ratio))
    assert within_standard_errors(logs, 0.0)


def test_nearest_items_are_those_of_a_search_by_hand_and_the_first_of_equals():
    rng = np.random.default_rng(12)
    samples, items = rng.integers(0, 4, (40, 3)), rng.integers(0, 4, (50, 3))
    index, distance = nearest_items(samples, items)
    table = cdist(samples, items)
    assert np.array_equal(index, table.argmin(axis=1))
    np.testing.assert_allclose(distance, table.min(axis=1), rtol=1e-15)


def test_copy_gauge_of_data_with_few_distinct_values_is_one_when_everything_is_everywhere():
    corners = np.array([[0.0], [1.0]] * 10)
    gauge = copy_gauge(corners, corners, corners)
    assert (gauge.ratio, gauge.floor, gauge.close) == (1.0, 1.0, 0)


# bad input


def test_bad_sets_are_refused_with_their_name_and_the_remedy():
    x, y = clouds(10, 10)
    holed = x.copy()
    holed[3, 2] = np.nan
    with pytest.raises(NonFiniteError, match="y: expected finite values, got 1 NaN"):
        sliced_wasserstein(x, holed)
    with pytest.raises(ShapeError, match="got 5 and 4 numbers per item"):
        energy_distance(x, y[:, :4])
    with pytest.raises(DataError, match="real numbers, got dtype <U1"):
        mmd(x, np.array([["a"] * 5] * 10))
    with pytest.raises(DataError, match="at least 2 items"):
        frechet_distance(x[:1], y)
    with pytest.raises(ShapeError, match=r"equally many items, got 10 and 9.*Pass the first 9"):
        c2st(x, y[:9])
    with pytest.raises(ShapeError, match="fake"):
        precision_recall(x, y[:9])
    with pytest.raises(DataError, match="median distance between items is 0"):
        mmd(np.zeros((5, 2)), np.zeros((5, 2)))
    with pytest.raises(DataError, match="one row of numbers for each of 10 events"):
        frechet_features(x, y, lambda batch: batch.mean())


def test_impossible_settings_are_refused():
    x, y = clouds(10, 10)
    with pytest.raises(ConfigError, match="projections"):
        sliced_wasserstein(x, y, projections=0)
    with pytest.raises(ConfigError, match="bandwidth"):
        mmd(x, y, bandwidth=0.0)
    with pytest.raises(ConfigError, match=r"neighbours: expected 1 to 19"):
        c2st(x, y, neighbours=20)
    with pytest.raises(ConfigError, match="folds"):
        c2st(x, y, folds=1)
    with pytest.raises(ConfigError, match=r"neighbours: expected 1 to 9"):
        precision_recall(x, y, neighbours=10)
    with pytest.raises(ConfigError, match="quantile"):
        copy_gauge(x, y, y, quantile=0.0)
    with pytest.raises(ConfigError, match="batch_size"):
        frechet_features(x, y, lambda batch: batch, batch_size=0)
