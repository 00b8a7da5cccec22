"""Calibration of draws: an exact sampler passes for every number of draws, others are found out by the right sign."""

import numpy as np
import pytest
import torch
from scipy import stats

from caminito._errors import ConfigError, DataError, NonFiniteError, ShapeError
from caminito.metrics import _rows, coverage, rank_histogram, tarp

LEVELS = np.array([0.5, 0.8, 0.9, 0.95])
ATC_STD = np.sqrt(1 / 6 - 9 / 64)  # of 1 - max(u, 1/2) - 3/8, the atc of one case, with u uniform


def linear_gaussian(m=20, n=2000, *, width=1.0, shift=0.0, seed=0):
    """Draws, truth, observations: x ~ N(0, C), y = A x + noise, the exact posterior, then made wider and shifted."""
    rng = np.random.default_rng(seed)
    cov = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.4], [0.0, -0.4, 0.5]])
    look, noise = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]]), 0.3
    truth = rng.standard_normal((n, 3)) @ np.linalg.cholesky(cov).T
    seen = truth @ look.T + noise * rng.standard_normal((n, 2))
    gain = cov @ look.T @ np.linalg.inv(look @ cov @ look.T + noise**2 * np.eye(2))
    root = np.linalg.cholesky(cov - gain @ look @ cov)
    std = np.sqrt(np.diag(root @ root.T))
    return seen @ gain.T + shift * std + width * rng.standard_normal((m, n, 3)) @ root.T, truth, seen


def every_rank(m):
    """m + 1 cases of m draws, of whose truths one has each rank."""
    return np.repeat(np.arange(1.0, m + 1)[:, None], m + 1, axis=1), np.arange(m + 1) + 0.5


# coverage


def test_coverage_of_an_exact_posterior_is_the_level_also_for_twenty_draws():
    draws, truth, _ = linear_gaussian(m=20, n=3000)
    found = coverage(draws, truth)
    assert found.levels.tolist() == LEVELS.tolist()
    assert (np.abs(found.share - LEVELS) <= 4.5 * found.std_error).all()
    # entries of a case go together, so the error is between that of 9000 independent entries and that of 3000
    assert (found.std_error <= np.sqrt(LEVELS * (1 - LEVELS) / 3000)).all()


@pytest.mark.parametrize("m", [2, 3, 20, 99])
def test_coverage_is_the_level_exactly_when_all_ranks_are_equally_often(m):
    levels = [0.01, 0.5, 0.8, 0.9, 0.95, 0.999]
    np.testing.assert_allclose(coverage(*every_rank(m), levels=levels).share, levels, rtol=1e-12)


@pytest.mark.parametrize(("width", "shift"), [(0.6, 0.0), (1.5, 0.0), (1.0, 0.8)])
def test_coverage_of_a_wrong_width_or_place_is_that_of_the_normal_law(width, shift):
    rng = np.random.default_rng(1)
    m, n = 999, 3000
    found = coverage(shift + width * rng.standard_normal((m, n)), rng.standard_normal(n))
    reach = width * stats.norm.ppf((1 + LEVELS) / 2)
    exact = stats.norm.cdf(shift + reach) - stats.norm.cdf(shift - reach)
    # each end is a quantile of 999 draws, of variance p (1 - p) / m as a level; times half the curvature of
    # Phi(shift + width Phi^-1(p)), below 48 for the two p of level .95 and less for the others, that is a bias
    assert (np.abs(found.share - exact) <= 4.5 * found.std_error + 48 * 0.025 * 0.975 / m).all()
    assert np.sign(found.share - LEVELS).tolist() == [np.sign(width - 1) or -1] * 4


def test_ties_count_by_the_share_of_their_ranks():
    assert coverage(np.zeros((5, 3)), np.zeros(3)).share == pytest.approx(LEVELS, rel=1e-12)
    rng = np.random.default_rng(2)
    draws, truth = rng.integers(0, 3, (8, 4000)), rng.integers(0, 3, 4000)
    found = coverage(draws, truth)
    assert (np.abs(found.share - LEVELS) <= 4.5 * found.std_error).all()


def test_standard_errors_are_those_of_independent_cases():
    draws, truth, _ = linear_gaussian(n=300)
    one = coverage(draws[..., 0], truth[:, 0])
    again = coverage(np.repeat(draws[..., :1], 7, axis=-1), np.repeat(truth[:, :1], 7, axis=-1))
    np.testing.assert_allclose(again.share, one.share, rtol=1e-12)
    np.testing.assert_allclose(again.std_error, one.std_error, rtol=1e-9)
    inside = np.array([coverage(draws[:, i, :1], truth[i, :1], levels=0.8).share[0] for i in range(300)])
    assert one.std_error[1] == pytest.approx(inside.std(ddof=1) / np.sqrt(300), rel=1e-9)
    assert np.isnan(coverage(draws[:, :1], truth[:1]).std_error).all()


def test_entries_without_a_truth_are_not_scored_whatever_the_draws_are_there():
    draws, truth, _ = linear_gaussian(n=200)
    holed, holes = draws.copy(), truth.copy()
    holed[:, :, 2] = np.inf
    holes[:, 2] = np.nan
    np.testing.assert_allclose(coverage(holed, holes).share, coverage(draws[..., :2], truth[:, :2]).share, rtol=1e-12)
    first = rank_histogram(holed[..., ::-1], holes[:, ::-1], bins=7)
    assert first.counts.sum() == 400
    points = np.random.default_rng(3).standard_normal(truth.shape)
    part = tarp(draws[..., :2], truth[:, :2], references=points[:, :2])
    assert tarp(holed, holes, references=points).coverage.tolist() == part.coverage.tolist()
    holes[:150] = np.nan
    few = tarp(holed, holes, references=points)
    rest = tarp(draws[:, 150:, :2], truth[150:, :2], references=points[150:, :2])
    np.testing.assert_allclose(few.coverage, rest.coverage, rtol=1e-12)  # the box is another one, the ranks are not


# rank histogram


def test_ranks_are_those_counted_by_hand():
    draws, truth, _ = linear_gaussian(m=11, n=300)
    found = rank_histogram(draws, truth, bins=4)
    ranks = (draws < truth).sum(axis=0)
    assert found.counts.tolist() == np.bincount(ranks.ravel() // 3, minlength=4).tolist()
    assert (found.expected, found.n_draws) == (225.0, 11)
    assert rank_histogram(*every_rank(5), bins=6).counts.tolist() == [1] * 6


def test_one_entry_in_a_case_has_the_p_value_of_pearson_and_the_band_of_the_binomial_law():
    draws, truth, _ = linear_gaussian(m=19, n=1000)
    found = rank_histogram(draws[..., 1], truth[:, 1], bins=10)
    assert found.p_value == pytest.approx(stats.chisquare(found.counts).pvalue, rel=1e-12)
    assert found.band == stats.binom.interval(0.95, 1000, 0.1)


def test_several_entries_in_a_case_have_the_p_value_of_the_moments_of_their_counts():
    draws, truth, _ = linear_gaussian(m=9, n=12)
    truth[0, 0] = np.nan
    ranks = np.where(np.isnan(truth), -1, (draws < truth).sum(axis=0) // 2)
    parts = [np.array([np.sum(row == k) - np.sum(row >= 0) / 5 for k in range(5)]) for row in ranks]
    first = 5 / 35 * sum(x @ x for x in parts)
    pairs = [(x @ y) ** 2 for i, x in enumerate(parts) for j, y in enumerate(parts) if i != j]
    second = max((5 / 35) ** 2 * 12 * np.mean(pairs) * 12, first**2 / 4)
    scale = second / first
    exact = stats.chi2.sf(5 / 35 * np.sum(np.sum(parts, axis=0) ** 2) / scale, first / scale)
    assert rank_histogram(draws, truth, bins=5).p_value == pytest.approx(exact, rel=1e-10)


def test_an_exact_posterior_is_rejected_as_often_as_the_level_says_also_when_entries_depend_on_each_other():
    repeats = 300
    rejected = {"one": 0, "three": 0, "copies": 0}
    outside = []
    for seed in range(repeats):
        draws, truth, _ = linear_gaussian(m=9, n=80, seed=seed)
        found = rank_histogram(draws, truth, bins=5, seed=seed)
        outside.append(np.mean((found.counts < found.band[0]) | (found.counts > found.band[1])))
        rejected["three"] += found.p_value < 0.05
        rejected["one"] += rank_histogram(draws[..., 0], truth[:, 0], bins=5).p_value < 0.05
        copies = np.repeat(draws[..., :1], 6, axis=-1), np.repeat(truth[:, :1], 6, axis=-1)
        rejected["copies"] += rank_histogram(*copies, bins=5).p_value < 0.05
    for count in rejected.values():
        assert abs(count / repeats - 0.05) <= 4.5 * np.sqrt(0.05 * 0.95 / repeats)
    assert abs(np.mean(outside) - 0.05) <= 4.5 * np.std(outside) / np.sqrt(repeats)


def test_narrow_wide_and_shifted_draws_have_high_ends_a_high_middle_and_a_slope():
    shapes = {}
    for name, wrong in {"narrow": {"width": 0.6}, "wide": {"width": 1.6}, "up": {"shift": 0.5}}.items():
        draws, truth, _ = linear_gaussian(m=99, **wrong)
        found = rank_histogram(draws, truth, bins=5)
        assert found.p_value < 1e-6
        shapes[name] = found.counts / found.expected - 1
    assert shapes["narrow"][[0, 4]].min() > 0 > shapes["narrow"][2]
    assert shapes["wide"][[0, 4]].max() < 0 < shapes["wide"][2]
    assert shapes["up"][0] > 0 > shapes["up"][4]  # draws above the truth: it ranks low
    draws, truth, _ = linear_gaussian(m=99)
    assert rank_histogram(draws, truth).p_value > 1e-3


def test_ties_are_broken_at_random_by_the_seed():
    draws, truth = np.zeros((9, 5000)), np.zeros(5000)
    found = rank_histogram(draws, truth, bins=10)
    assert found.p_value > 1e-3
    assert found.counts.tolist() == rank_histogram(draws, truth, bins=10).counts.tolist()
    assert found.counts.tolist() != rank_histogram(draws, truth, bins=10, seed=1).counts.tolist()


@pytest.mark.parametrize(
    ("m", "n", "bins", "used"), [(20, 2000, 21, 20), (99, 2000, 25, 99), (100, 2000, 25, 99), (100, 100, 5, 99)]
)
def test_by_default_bins_divide_the_ranks_and_hold_twenty_entries(m, n, bins, used):
    rng = np.random.default_rng(4)
    draws, truth = rng.standard_normal((m, n)), rng.standard_normal(n)
    found = rank_histogram(draws, truth)
    assert (len(found.counts), found.n_draws) == (bins, used)
    assert found.counts.tolist() == rank_histogram(draws[:used], truth, bins=bins).counts.tolist()


def test_one_case_of_several_entries_has_counts_but_no_p_value():
    found = rank_histogram(np.random.default_rng(5).standard_normal((9, 1, 500)), np.zeros((1, 500)), bins=5)
    assert found.counts.sum() == 500
    assert np.isnan([found.p_value, *found.band]).all()


# random points


def test_tarp_equals_a_count_by_hand():
    draws, truth, _ = linear_gaussian(m=7, n=40)
    draws[..., 0] *= 0.01  # so that truths are corners of the box
    points = np.random.default_rng(6).standard_normal(truth.shape)
    found = tarp(draws, truth, references=points)
    side = np.ptp(np.concatenate([draws, truth[None]]).reshape(-1, 3), axis=0)
    near = np.linalg.norm((draws - points) / side, axis=-1) < np.linalg.norm((truth - points) / side, axis=-1)
    ranks = near.sum(axis=0)
    np.testing.assert_allclose(found.levels, np.arange(9) / 8, rtol=1e-15)
    np.testing.assert_allclose(found.coverage, [np.mean(ranks < k) for k in range(9)], rtol=1e-12)
    assert found.departure == pytest.approx(np.abs(found.coverage - found.levels).max(), rel=1e-12)
    fine = np.linspace(0.5, 1, 100_001)
    gap = np.interp(fine, found.levels, found.coverage) - fine
    assert found.atc == pytest.approx(np.trapezoid(gap, fine), rel=1e-6)


@pytest.mark.parametrize("m", [2, 7, 20])
def test_tarp_is_the_diagonal_when_all_ranks_are_equally_often(m):
    draws, truth = every_rank(m)
    found = tarp(draws, truth, references=np.full(m + 1, -100.0))
    np.testing.assert_allclose(found.coverage, found.levels, atol=1e-15)
    assert max(found.departure, abs(found.atc)) <= 1e-15


def test_tarp_of_an_exact_posterior_is_the_diagonal_and_its_p_value_uniform():
    draws, truth, _ = linear_gaussian(m=20, n=3000)
    found = tarp(draws, truth)
    assert abs(found.atc) <= 4.5 * ATC_STD / np.sqrt(3000)
    p_values = []
    for seed in range(200):
        draws, truth, _ = linear_gaussian(m=5, n=40, seed=seed)
        p_values.append(tarp(draws, truth, seed=seed).p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("wrong", "sign"),
    [({"width": 0.6}, -1), ({"width": 1.6}, 1), ({"shift": 1.0}, -1)],
    ids=["narrow", "wide", "beside"],
)
def test_tarp_finds_out_wrong_widths_and_places(wrong, sign):
    found = tarp(*linear_gaussian(**wrong)[:2])
    assert found.p_value < 1e-6
    assert sign * found.atc > 4.5 * ATC_STD / np.sqrt(2000)


def test_a_sampler_that_ignores_the_observation_is_seen_from_points_that_depend_on_it_only():
    rng = np.random.default_rng(7)
    truth, draws = rng.standard_normal((1000, 1)), rng.standard_normal((20, 1000, 1))
    seen = truth + 0.1 * rng.standard_normal((1000, 1))
    assert tarp(draws, truth).p_value > 1e-3
    assert tarp(draws, truth, references=seen).p_value < 1e-100


def test_tarp_does_not_depend_on_the_units_of_entries_and_breaks_ties_at_random():
    draws, truth, _ = linear_gaussian(n=300)
    unit, zero = np.array([1.0, 1024.0, 2.0**-10]), np.array([0.0, 1.0, 5.0])
    scaled = tarp(draws * unit + zero, truth * unit + zero)
    assert scaled.coverage.tolist() == tarp(draws, truth).coverage.tolist()
    rng = np.random.default_rng(8)
    coins = rng.integers(0, 2, (9, 3000, 2)), rng.integers(0, 2, (3000, 2))
    assert tarp(*coins).p_value > 1e-3
    assert tarp(np.ones((4, 20, 2)), np.ones((20, 2))).departure <= 1e-15


# all three


def test_calibration_depends_neither_on_the_size_of_blocks_nor_on_the_event_shape_nor_on_the_container(monkeypatch):
    draws, truth, _ = linear_gaussian(m=9, n=60)
    draws, truth = np.concatenate([draws, draws + 1], axis=-1), np.concatenate([truth, truth], axis=-1)

    def everything(draws, truth):
        first, second, third = coverage(draws, truth), rank_histogram(draws, truth), tarp(draws, truth)
        return [*first.share, *first.std_error, *second.counts, second.p_value, *third.coverage, third.p_value]

    whole = everything(draws, truth)
    assert everything(draws.reshape(9, 60, 2, 3), truth.reshape(60, 2, 3)) == whole
    assert everything(torch.from_numpy(draws), torch.from_numpy(truth)) == whole
    for values in (1, 30, 400):
        monkeypatch.setattr(_rows, "BLOCK_VALUES", values)
        assert everything(draws, truth) == whole


@pytest.mark.parametrize("judge", [coverage, rank_histogram, tarp])
def test_draws_and_truths_that_do_not_fit_are_refused_with_the_remedy(judge):
    draws, truth, _ = linear_gaussian(m=4, n=10)
    with pytest.raises(ShapeError, match=r"\(10, 4, 3\) and \(10, 3\).*np.moveaxis\(draws, 1, 0\)"):
        judge(np.moveaxis(draws, 1, 0), truth)
    with pytest.raises(ShapeError, match="Give each case an axis of draws"):
        judge(truth, truth)
    with pytest.raises(ShapeError, match="as many numbers in its truth as in a draw"):
        judge(draws, truth[:, :2])
    with pytest.raises(ShapeError, match="shapes"):
        judge(draws, 0.0)
    with pytest.raises(ShapeError, match="truth: expected an array, got rows of several lengths"):
        judge(draws, [[1.0], [1.0, 2.0]])
    with pytest.raises(DataError, match="at least 2 draws.*got 1"):
        judge(draws[:1], truth)
    with pytest.raises(DataError, match="at least one entry"):
        judge(draws[:, :0], truth[:0])
    with pytest.raises(DataError, match="draws: expected an array of real numbers, got dtype complex128"):
        judge(draws.astype(complex), truth)
    with pytest.raises(DataError, match="at least one entry that is not NaN"):
        judge(draws, np.full_like(truth, np.nan))
    for bad in (np.nan, np.inf):
        holed = draws.copy()
        holed[1, 2, 0] = bad
        with pytest.raises(NonFiniteError, match="draws: expected finite numbers.*got 1"):
            judge(holed, truth)
    truth[0, 0] = np.inf
    with pytest.raises(NonFiniteError, match="truth: .*got 1 infinite"):
        judge(draws, truth)


def test_impossible_settings_are_refused():
    draws, truth, _ = linear_gaussian(m=20, n=10)
    for levels in (0.0, 1.0, [0.5, 1.2], [0.5, np.nan], [], 90):
        with pytest.raises(ConfigError, match="levels: expected probabilities between 0 and 1"):
            coverage(draws, truth, levels=levels)
    with pytest.raises(ConfigError, match=r"divisor of 21.*got 10.*Take 3 or 7 or 21, or use the first 19 draws"):
        rank_histogram(draws, truth, bins=10)
    with pytest.raises(ConfigError, match="bins: expected at least 2, got 1"):
        rank_histogram(draws, truth, bins=1)
    with pytest.raises(ConfigError, match=r"divisor of 21.*got 22\D*Take 3 or 7 or 21\.$"):
        rank_histogram(draws, truth, bins=22)
    with pytest.raises(ShapeError, match=r"references: expected the shape of the truth, \(10, 3\), got \(3,\)"):
        tarp(draws, truth, references=np.zeros(3))
    with pytest.raises(NonFiniteError, match="references: expected finite points, got 30"):
        tarp(draws, truth, references=np.full((10, 3), np.nan))
    with pytest.raises(DataError, match="references: expected an array of real numbers"):
        tarp(draws, truth, references=np.full((10, 3), "a"))
