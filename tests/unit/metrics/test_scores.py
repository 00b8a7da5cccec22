"""Scores of draws against the truth: closed forms, definitions by hand, and no reward for few draws."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist

from caminito._errors import ConfigError, DataError, NonFiniteError, ShapeError
from caminito.metrics import _rows, crps, energy_score, spread_skill


def normal_crps(mean, std, y):
    """Gneiting & Raftery 2007, section 4.2."""
    z = (y - mean) / std
    return std * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))


def within_standard_errors(values, expected, k=4.5):
    return abs(np.mean(values) - expected) <= k * np.std(values, ddof=1) / np.sqrt(len(values))


def cases(m=12, n=30, size=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, n, size)) * 1.4, rng.standard_normal((n, size))


# CRPS


@pytest.mark.parametrize("m", [2, 3, 40])
@pytest.mark.parametrize("y", [0.0, 1.7, -4.0])
def test_fair_crps_of_normal_draws_is_the_closed_form_for_any_number_of_draws(m, y):
    draws = 1.0 + 2.0 * np.random.default_rng(m).standard_normal((100, m, 50))
    values = [crps(some, np.full(50, y)) for some in draws]
    assert within_standard_errors(values, normal_crps(1.0, 2.0, y))


def test_plain_crps_of_normal_draws_is_larger_by_their_mean_difference_over_twice_their_number():
    draws = 1.0 + 2.0 * np.random.default_rng(1).standard_normal((100, 5, 50))
    values = [crps(some, np.zeros(50), kind="plain") for some in draws]
    mean_difference = 2 * 2.0 / np.sqrt(np.pi)
    assert within_standard_errors(values, normal_crps(1.0, 2.0, 0.0) + mean_difference / (2 * 5))


def test_plain_crps_is_the_integral_of_squared_cdf_differences():
    draws, truth = cases(n=1, size=1)
    edges = np.sort(np.concatenate([draws[:, 0, 0], truth[0]]))
    middle = (edges[1:] + edges[:-1]) / 2
    gap = np.mean(draws[:, 0] <= middle, axis=0) - (truth[0] <= middle)
    assert crps(draws, truth, kind="plain") == pytest.approx(np.sum(gap**2 * np.diff(edges)), rel=1e-12)


@pytest.mark.parametrize("kind", ["fair", "plain"])
def test_crps_equals_its_definition_over_pairs_also_far_from_the_origin(kind):
    draws, truth = cases()
    near = np.abs(draws - truth).mean(axis=0)
    apart = np.abs(draws[:, None] - draws[None]).sum(axis=(0, 1)) / (12 * 11 if kind == "fair" else 12 * 12)
    exact = np.mean(near - apart / 2)
    assert crps(draws, truth, kind=kind) == pytest.approx(exact, rel=1e-12)
    # draws at 2^20 keep 32 of their 52 bits after the point
    assert crps(draws + 2.0**20, truth + 2.0**20, kind=kind) == pytest.approx(exact, abs=2.0**-31)


# energy score


@pytest.mark.parametrize("kind", ["fair", "plain"])
def test_energy_score_equals_its_definition_over_pairs(kind):
    draws, truth = cases()
    draws[3] = draws[5]
    pairs = 12 * 11 if kind == "fair" else 12 * 12
    exact = [cdist(x, [y]).mean() - cdist(x, x).sum() / (2 * pairs) for x, y in zip(np.moveaxis(draws, 1, 0), truth)]
    assert energy_score(draws, truth, kind=kind) == pytest.approx(np.mean(exact), rel=1e-12)


@pytest.mark.parametrize("kind", ["fair", "plain"])
def test_energy_score_of_numbers_is_their_crps(kind):
    draws, truth = cases(size=1)
    expected = crps(draws, truth, kind=kind)
    assert energy_score(draws, truth, kind=kind) == pytest.approx(expected, rel=1e-12)
    assert energy_score(draws[..., 0], truth[:, 0], kind=kind) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("score", [crps, energy_score])
def test_fair_scores_of_two_draws_and_of_a_hundred_have_one_mean_and_plain_ones_have_not(score):
    draws, truth = cases(m=100, n=1500, size=2, seed=2)
    batches = [slice(start, start + 15) for start in range(0, 1500, 15)]
    fair = [score(draws[:2, some], truth[some]) - score(draws[:, some], truth[some]) for some in batches]
    assert within_standard_errors(fair, 0.0)
    plain = [score(draws[:2, some], truth[some], kind="plain") for some in batches]
    assert not within_standard_errors(plain, score(draws, truth, kind="plain"))


@pytest.mark.parametrize("score", [crps, energy_score])
@pytest.mark.parametrize(("width", "shift"), [(0.5, 0.0), (2.0, 0.0), (1.0, 1.0)])
def test_the_exact_law_scores_best(score, width, shift):
    rng = np.random.default_rng(3)
    truth, exact = rng.standard_normal((1000, 2)), rng.standard_normal((6, 1000, 2))
    batches = [slice(start, start + 20) for start in range(0, 1000, 20)]
    worse = shift + width * exact
    gains = [score(worse[:, some], truth[some]) - score(exact[:, some], truth[some]) for some in batches]
    assert np.mean(gains) > 4.5 * np.std(gains, ddof=1) / np.sqrt(len(gains))


def test_energy_score_sees_how_entries_go_together_and_crps_does_not():
    rng = np.random.default_rng(4)
    truth = np.repeat(rng.standard_normal((500, 1)), 4, axis=1)
    draws = np.repeat(rng.standard_normal((20, 500, 1)), 4, axis=2)
    torn = np.stack([np.roll(draws[..., j], j, axis=0) for j in range(4)], axis=-1)
    assert crps(torn, truth) == pytest.approx(crps(draws, truth), rel=1e-12)
    assert energy_score(torn, truth) > 1.02 * energy_score(draws, truth)


# spread and skill


@pytest.mark.parametrize("m", [2, 10])
def test_spread_skill_is_one_for_an_exact_sampler_with_any_number_of_draws(m):
    rng = np.random.default_rng(5)
    where = rng.standard_normal((100, 1, 200))
    draws, truth = where + rng.standard_normal((100, m, 200)), where[:, 0] + rng.standard_normal((100, 200))
    found = [spread_skill(x, y) for x, y in zip(draws, truth)]
    assert within_standard_errors([each.spread**2 for each in found], 1.0)
    assert within_standard_errors([each.skill**2 for each in found], (m + 1) / m)
    # 200 cases: the mean of a ratio of two chi-squares is off by less than 3 / 200
    ratios = [each.ratio for each in found]
    assert abs(np.mean(ratios) - 1) <= 3 / 200 + 4.5 * np.std(ratios, ddof=1) / np.sqrt(100)


def test_spread_skill_tells_narrow_from_wide_and_sees_a_shift():
    rng = np.random.default_rng(6)
    truth, draws = rng.standard_normal(4000), rng.standard_normal((10, 4000))
    m = 10
    for width, shift in ((0.5, 0.0), (2.0, 0.0), (1.0, 1.0)):
        exact = width * np.sqrt((m + 1) / m) / np.sqrt(1 + width**2 / m + shift**2)
        # relative errors of the two roots: at most 1 / sqrt(2 n) each for normal draws, times 2 for the shifted mean
        assert spread_skill(shift + width * draws, truth).ratio == pytest.approx(exact, rel=4.5 * 2 / np.sqrt(4000))


def test_spread_skill_without_any_error_is_one_or_infinite():
    assert spread_skill(np.ones((3, 2)), np.ones(2)) == (0.0, 0.0, 1.0)
    assert spread_skill([[0.0], [2.0]], [1.0]).ratio == np.inf


# all three

SCORES = [crps, energy_score, lambda draws, truth: spread_skill(draws, truth).ratio]


@pytest.mark.parametrize("score", SCORES)
def test_scores_depend_neither_on_blocks_nor_on_event_shape_order_or_container(score, monkeypatch):
    draws, truth = cases(size=6)
    whole = score(draws, truth)
    again = [
        score(draws.reshape(12, 30, 2, 3), truth.reshape(30, 2, 3)),
        score(draws[::-1, ::-1], truth[::-1]),
        score(torch.from_numpy(draws), torch.from_numpy(truth)),
    ]
    for values in (1, 30, 400):
        monkeypatch.setattr(_rows, "BLOCK_VALUES", values)
        again.append(score(draws, truth))
    np.testing.assert_allclose(again, whole, rtol=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_entries_without_a_truth_are_not_scored_whatever_the_draws_are_there(score):
    draws, truth = cases()
    holed, holes = draws.copy(), truth.copy()
    holed[:, :, 1], holes[:, 1] = np.nan, np.nan
    holed[:, :10], holes[:10] = np.inf, np.nan
    assert score(holed, holes) == pytest.approx(score(draws[:, 10:, ::2], truth[10:, ::2]), rel=1e-12)


@pytest.mark.parametrize("score", [crps, energy_score])
def test_pairs_are_looked_at_in_little_memory(score, monkeypatch):
    monkeypatch.setattr(_rows, "BLOCK_VALUES", 1 << 14)
    m, n = 200, 250
    draws = np.broadcast_to(np.random.default_rng(7).standard_normal((m, 1, 2)), (m, n, 2))
    truth = np.zeros((n, 2))
    score(draws[:, :2], truth[:2])  # what is imported at the first call is not counted
    tracemalloc.start()
    score(draws, truth)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # all draws in float64 are 800 kB, and all pairs 80 MB; a few blocks of 131 kB may be alive together
    assert peak <= 5 * 8 * _rows.BLOCK_VALUES


@pytest.mark.parametrize("score", SCORES)
def test_bad_draws_and_words_are_refused(score):
    draws, truth = cases()
    with pytest.raises(ShapeError, match="draws and truth: expected shapes"):
        score(draws, truth[:-1])
    with pytest.raises(DataError, match="at least 2 draws.*got 1"):
        score(draws[:1], truth)
    with pytest.raises(NonFiniteError, match="draws: expected finite numbers"):
        score(np.where(draws > 1, np.nan, draws), truth)
    with pytest.raises(NonFiniteError, match="truth"):
        score(draws, np.where(truth > 1, np.inf, truth))
    with pytest.raises(DataError, match="not NaN"):
        score(draws, truth * np.nan)
    if score in (crps, energy_score):
        with pytest.raises(ConfigError, match='kind: expected "fair" or "plain", got \'biased\''):
            score(draws, truth, kind="biased")
