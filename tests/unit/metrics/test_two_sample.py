"""Every figure stands beside what real data get from the same judge."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from caminito._errors import ConfigError, DataError
from caminito.metrics import (
    c2st,
    copy_gauge,
    energy_distance,
    frechet_distance,
    precision_recall,
    sliced_wasserstein,
    two_sample,
)


@pytest.fixture(scope="module")
def digits():
    """The split of the calibration table: a permutation by the legacy generator, seed 0; pixels / 8 - 1."""
    images = load_digits().images / 8 - 1
    order = np.random.RandomState(0).permutation(len(images))
    return images[order[:898]], images[order[898:1796]]


def test_the_floors_on_digits_are_those_of_the_calibration_table(digits):
    train, held_out = digits
    scores = two_sample(held_out, held_out, train)
    assert scores["frechet"].floor == pytest.approx(0.337, abs=5e-4)
    assert scores["precision"].floor == pytest.approx(0.958, abs=5e-4)
    assert scores["recall"].floor == pytest.approx(0.957, abs=5e-4)
    # 128 random directions: their spread over seeds is the tolerance
    spread = np.std([sliced_wasserstein(train, held_out, seed=seed) for seed in range(20)], ddof=1)
    assert abs(scores["sliced_wasserstein"].floor - 0.0473) <= 3 * spread
    # the table's .531 is one half judged by the other, once: its standard error is sqrt(.25 / 898) = .017
    assert abs(c2st(train, held_out, folds=2) - 0.531) <= 3 * 0.017


def test_a_memoriser_is_seen_by_the_copy_gauge_and_by_no_other_score(digits):
    train, held_out = digits
    scores = two_sample(train, held_out, train)
    assert scores["copy_gauge"].value == 0.0
    assert scores["copy_gauge"].floor == pytest.approx(1.0, abs=0.05)
    assert "898 of 898 samples are suspiciously close" in scores["copy_gauge"].meaning
    for name, score in scores.items():
        if name != "copy_gauge":
            assert score.value == score.floor


def test_scores_are_the_metrics_of_equally_many_items_each():
    rng = np.random.default_rng(0)
    samples, held_out, train = rng.standard_normal((80, 3)) + 0.5, rng.standard_normal((80, 3)), rng.random((80, 3))
    scores = two_sample(samples, held_out, train, seed=3)
    assert scores["sliced_wasserstein"].value == sliced_wasserstein(samples, held_out, seed=3)
    assert scores["energy_distance"].floor == energy_distance(train, held_out)
    assert scores["c2st"][:2] == (c2st(samples, held_out), c2st(train, held_out))
    assert scores["recall"].value == precision_recall(held_out, samples).recall
    assert scores["frechet"].value == frechet_distance(samples, held_out)
    assert scores["copy_gauge"].value == copy_gauge(samples, train, held_out).ratio


def test_the_choice_of_items_is_a_function_of_the_seed():
    rng = np.random.default_rng(1)
    sets = [rng.standard_normal((n, 2)) for n in (50, 70, 300)]
    once, again, other = (two_sample(*sets, max_items=30, seed=seed) for seed in (0, 0, 1))
    assert once == again
    assert once["energy_distance"].value != other["energy_distance"].value


def test_the_copy_gauge_looks_through_all_of_the_training_data():
    rng = np.random.default_rng(2)
    train, held_out = rng.standard_normal((1000, 4)), rng.standard_normal((40, 4))
    assert two_sample(train[-40:], held_out, train, max_items=20)["copy_gauge"].value == 0.0


def test_features_add_their_own_score():
    rng = np.random.default_rng(3)
    x, y, z = rng.standard_normal((3, 40, 2))
    scores = two_sample(x, y, z, features=lambda batch: 2 * batch)
    assert scores["frechet_features"].value == pytest.approx(4 * scores["frechet"].value, rel=1e-12)


def test_too_few_items_are_refused():
    x = np.zeros((9, 2))
    with pytest.raises(DataError, match="at least 10 items"):
        two_sample(x, x, x)
    with pytest.raises(ConfigError, match="max_items"):
        two_sample(x, x, x, max_items=5)
