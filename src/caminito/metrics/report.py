"""Samples judged against held-out data: every figure beside its floor, what real data get from the same judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError
from caminito.metrics._rows import pair_of_rows
from caminito.metrics.classifier import c2st
from caminito.metrics.copies import copy_gauge
from caminito.metrics.frechet import frechet_distance, frechet_features
from caminito.metrics.kernels import energy_distance, median_distance, mmd
from caminito.metrics.manifold import precision_recall
from caminito.metrics.wasserstein import sliced_wasserstein

__all__ = ["Score", "two_sample"]


class Score(NamedTuple):
    """One figure and its yardstick.

    `value` is of the samples, `floor` of real data in their place; only by chance does a model do better than that.
    """

    value: float
    floor: float
    meaning: str
    better: Literal["lower", "higher"] = "lower"


def two_sample(
    samples: ArrayLike,
    held_out: ArrayLike,
    train: ArrayLike,
    *,
    max_items: int = 2000,
    seed: int = 0,
    features: Callable[[NDArray[np.generic]], ArrayLike] | None = None,
) -> dict[str, Score]:
    """Every two-sample metric of the samples against held-out data, beside the same of training data against held-out.

    Parameters
    ----------
    samples, held_out, train : array, shapes (n, ...), (h, ...), (m, ...)
        Events of one size, in the units in which distances are meant.
    max_items : int
        Equally many of each set are compared: the fewest given, but no more than this. The copy gauge looks through all
        of `train`.
    seed : int
        Of the choice of items, where some are left out, and of the directions of `sliced_wasserstein`.
    features : callable, optional
        Network for `frechet_features`; see there.

    Returns
    -------
    dict of str to Score
        `sliced_wasserstein, energy_distance, mmd, c2st, precision, recall, frechet`, `frechet_features` where asked,
        `copy_gauge`. Each is the function of that name.

    Raises
    ------
    ConfigError
        If `max_items` < 10.
    DataError, NonFiniteError, ShapeError
        If the sets cannot be compared.
    """
    if max_items < 10:
        raise ConfigError(f"max_items: expected at least 10, got {max_items}. Fewer items measure nothing.")
    events = [np.asarray(each) for each in (samples, held_out, train)]
    pair_of_rows(events[0], events[1], names=("samples", "held_out"), least=10)
    pair_of_rows(events[0], events[2], names=("samples", "train"), least=10)
    count = min(max_items, *map(len, events))
    fake, real, seen = (_some(each, count, seed + 7919 * place) for place, each in enumerate(events))
    width = median_distance(real, seen)

    def both(metric: Callable[[NDArray[np.generic], NDArray[np.generic]], float], meaning: str) -> Score:
        return Score(metric(fake, real), metric(seen, real), meaning)

    scores = {
        "sliced_wasserstein": both(
            lambda x, y: sliced_wasserstein(x, y, seed=seed),
            "How far mass must move, averaged over directions, in data units.",
        ),
        "energy_distance": both(energy_distance, "Difference of all pairwise distances, between and within the sets."),
        "mmd": both(
            lambda x, y: mmd(x, y, bandwidth=width),
            "Squared difference of smoothed densities; 0 on average for equal laws.",
        ),
        "c2st": both(c2st, "How often the nearest neighbour tells samples from real data; 0.5 is a coin."),
    }
    ours, theirs = precision_recall(real, fake), precision_recall(real, seen)
    scores["precision"] = Score(ours.precision, theirs.precision, "Share of samples that look real.", "higher")
    scores["recall"] = Score(ours.recall, theirs.recall, "Share of real data that the samples reach.", "higher")
    scores["frechet"] = both(frechet_distance, "Difference of means and covariances, in squared data units.")
    if features is not None:
        scores["frechet_features"] = both(
            lambda x, y: frechet_features(x, y, features),
            "Difference of means and covariances in the features of a network.",
        )
    gauge = copy_gauge(fake, events[2], real)
    scores["copy_gauge"] = Score(
        gauge.ratio,
        gauge.floor,
        f"Distance to the nearest training item over that to the nearest held-out item; near 0 means copies "
        f"({gauge.close} of {gauge.n_samples} samples are suspiciously close, {gauge.close_expected:.0f} expected of "
        f"fresh data, {gauge.exact} exact).",
        "higher",
    )
    return scores


def _some(events: NDArray[np.generic], count: int, seed: int) -> NDArray[np.generic]:
    if len(events) == count:
        return events
    return events[np.sort(np.random.default_rng(seed).choice(len(events), count, replace=False))]
