"""Metrics: how good samples are, each as a function of arrays, none with a download.

A figure alone says little: two samples of the *same* law are not at distance 0. `two_sample` puts every figure beside
its floor, which is what real data get from the same judge.
"""

from __future__ import annotations

from caminito.metrics.classifier import c2st
from caminito.metrics.copies import CopyGauge, copy_gauge, nearest_items
from caminito.metrics.frechet import frechet_distance, frechet_features
from caminito.metrics.kernels import energy_distance, median_distance, mmd
from caminito.metrics.manifold import PrecisionRecall, precision_recall
from caminito.metrics.report import Score, two_sample
from caminito.metrics.table import TableReport, column_shapes, pair_trends, table_report
from caminito.metrics.wasserstein import sliced_wasserstein

__all__ = [
    "CopyGauge",
    "PrecisionRecall",
    "Score",
    "TableReport",
    "c2st",
    "column_shapes",
    "copy_gauge",
    "energy_distance",
    "frechet_distance",
    "frechet_features",
    "median_distance",
    "mmd",
    "nearest_items",
    "pair_trends",
    "precision_recall",
    "sliced_wasserstein",
    "table_report",
    "two_sample",
]
