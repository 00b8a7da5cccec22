"""Metrics: how good samples are, each as a function of arrays, none with a download.

A figure alone says little: two samples of the *same* law are not at distance 0. `two_sample` puts every figure beside
its floor, which is what real data get from the same judge. Draws from a posterior have their truth to be held against:
calibration says whether it could be one of them, scores say how near they are to it.
"""

from __future__ import annotations

from caminito.metrics.calibration import Coverage, RankHistogram, Tarp, coverage, rank_histogram, tarp
from caminito.metrics.classifier import c2st
from caminito.metrics.copies import CopyGauge, copy_gauge, nearest_items
from caminito.metrics.frechet import frechet_distance, frechet_features
from caminito.metrics.kernels import energy_distance, median_distance, mmd
from caminito.metrics.manifold import PrecisionRecall, precision_recall
from caminito.metrics.report import Score, two_sample
from caminito.metrics.scores import SpreadSkill, crps, energy_score, spread_skill
from caminito.metrics.table import TableReport, column_shapes, pair_trends, table_report
from caminito.metrics.wasserstein import sliced_wasserstein

__all__ = [
    "CopyGauge",
    "Coverage",
    "PrecisionRecall",
    "RankHistogram",
    "Score",
    "SpreadSkill",
    "TableReport",
    "Tarp",
    "c2st",
    "column_shapes",
    "copy_gauge",
    "coverage",
    "crps",
    "energy_distance",
    "energy_score",
    "frechet_distance",
    "frechet_features",
    "median_distance",
    "mmd",
    "nearest_items",
    "pair_trends",
    "precision_recall",
    "rank_histogram",
    "sliced_wasserstein",
    "spread_skill",
    "table_report",
    "tarp",
    "two_sample",
]
