"""How good the rows of a table's run are, each figure beside what real rows get from the same judge."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import caminito
from caminito._errors import Memorisation
from caminito._files import write_atomic, write_json
from caminito.cli.console import out
from caminito.cli.table_sample import draw_rows
from caminito.estimators.card import table_card
from caminito.metrics import Score, table_report

if TYPE_CHECKING:
    from caminito.data import TableSource
    from caminito.estimators.table import TableDiffusion
    from caminito.estimators.table_run import TableRun

__all__ = ["SHORT", "TITLES", "in_words", "measured_table"]

_LEAST, _MOST = 100, 20_000  # rows that are made to be judged
_NEAR, _COPIES = 0.8, 0.005  # share of its floor, and excess of copies, that are taken for memorisation
_MEDIAN = 1.25  # two standard errors of a median of n distances that spread by half their size, times sqrt(n)
_PAIRS = 20  # that are kept, the worst first

TITLES = {
    "shape": "column shapes, %",
    "trend": "pair trends, %",
    "missing": "missing values, %",
    "c2st": "C2ST, AUC",
    "wasserstein": "Wasserstein distance",
    "dcr_ratio": "nearest real row",
    "dcr_share": "nearer to seen rows",
    "copies": "exact copies",
}

SHORT = {
    "shape": "error of the columns' shapes",
    "trend": "error of the trends of pairs",
    "missing": "difference of shares missing",
    "c2st": "how well trees tell them apart; 0.5: not",
    "wasserstein": "how far rows must move",
    "coverage": "share of real rows in reach",
    "dcr_ratio": "over that of unseen rows; near 0: copies",
    "dcr_share": "0.5: no memory of single rows",
    "copies": "share that are real rows",
    "utility": "what a model learns from made rows alone",
}


def measured_table(
    run: TableRun, model: TableDiffusion, source: TableSource, *, count: int | None = None, seed: int = 1
) -> dict[str, Any]:
    """Draw rows, judge them, and write metrics.json and the card; returns what was written."""
    train, held = run.split(source)
    wanted = min(max(len(train), _LEAST), _MOST) if count is None else count
    clock = time.monotonic()
    made = draw_rows(model, wanted, seed=seed)
    drawn, clock = time.monotonic() - clock, time.monotonic()
    unseen = held if len(held) else None
    with out.status("Comparing"):
        report = table_report(train, made, test=unseen, target=run.reading.target, seed=0)
    scores = report.scores
    memorised = _memorised(scores, wanted, len(held))
    if memorised:
        warnings.warn(
            f"made rows lie closer to the training rows than unseen rows do ({memorised}). Raise privacy_k, or give "
            "more data.",
            Memorisation,
            stacklevel=2,
        )
    worst = sorted(report.pairs.items(), key=lambda pair: -pair[1])[:_PAIRS]
    metrics = {
        "n_samples": wanted,
        "n_held_out": len(held),
        "n_train": len(train),
        "seed": seed,
        "version": caminito.__version__,
        "scores": {name: score._asdict() for name, score in scores.items()},
        "columns": [[str(name), error] for name, error in report.columns.items()],
        "pairs": [[str(a), str(b), error] for (a, b), error in worst],
        "memorised": bool(memorised),
        "seconds": {"sampling": drawn, "judging": time.monotonic() - clock},
    }
    write_json(run.path / "metrics.json", metrics)
    write_atomic(run.path / "card.md", table_card(run.name, run.facts, run.config, model, metrics).encode())
    run.events.append("evaluate", seconds=metrics["seconds"])
    return metrics


def in_words(metrics: dict[str, Any]) -> str:
    """What the figures come to."""
    scores = metrics["scores"]
    told = []
    if metrics["columns"]:
        name, error = max(metrics["columns"], key=lambda pair: pair[1])
        told.append(f"The column least like the real one is {name} (error {error:.1f} %).")
    told.append(f"Trees that are to tell made rows from real ones reach an AUC of {scores['c2st']['value']:.2f};")
    told.append("guessing gets 0.50.")
    copies = scores["copies"]
    told.append(f"{100 * copies['value']:.1f} % of the made rows are real rows")
    told.append(f"(floor {100 * copies['floor']:.1f} %).")
    if not metrics["n_held_out"]:
        told.append("No rows were held out, so floors come from two halves of the training rows.")
    return " ".join(told)


def _memorised(scores: Mapping[str, Score], made: int, held: int) -> str:
    """Why made rows are taken for copies, or nothing; chance is allowed two standard errors."""
    ratio, copies = scores.get("dcr_ratio"), scores["copies"]
    if not held:
        return ""
    if ratio is not None and ratio.value < _NEAR * ratio.floor - _MEDIAN / math.sqrt(held):
        return f"distance to the nearest {ratio.value:.2f} of theirs"
    share = (made * copies.value + held * copies.floor) / (made + held)
    chance = 2 * math.sqrt(share * (1 - share) * (1 / made + 1 / held))
    if copies.value > copies.floor + _COPIES + chance:
        return f"{100 * copies.value:.1f} % are copies, {100 * copies.floor:.1f} % of unseen rows"
    return ""
