"""The page of a table's run: one HTML text with its pictures inside, in the frame of all pages."""

from __future__ import annotations

from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING, Any

from caminito._errors import ConfigError
from caminito.cli.console import duration, number
from caminito.cli.page_pieces import (
    choices,
    figure,
    html_page,
    options,
    quality,
    section,
    table,
    time_spent,
    unmeasured,
)
from caminito.cli.table_judged import TITLES, in_words
from caminito.cli.table_pictures import column_picture
from caminito.cli.table_sample import draw_rows

if TYPE_CHECKING:
    from caminito.data import TableSource
    from caminito.estimators.table import TableDiffusion
    from caminito.estimators.table_run import TableRun

__all__ = ["table_page"]

_ROWS, _DRAWN = 8, 5000  # rows shown, and drawn to be compared
_COLUMNS, _PAIRS = 12, 10
_WIDE = 12  # columns of rows that are shown
_JUMPS, _DEEP = 3, 3  # trees that are drawn, and how deep


def table_page(run: TableRun, model: TableDiffusion, source: TableSource | None, metrics: dict[str, Any] | None) -> str:
    """HTML; parameters as for `page`."""
    made = run.arranged(draw_rows(model, max(_ROWS, _DRAWN if source is not None else 0), seed=0))
    parts = [
        _head(run, metrics),
        _rows(made),
        _quality(metrics),
        _columns(made, source, metrics),
        _pairs(metrics),
        _jumps(model),
        choices(model.describe()),
        _trials(model),
        _data(run),
        time_spent(run, metrics),
        options(run),
    ]
    return html_page(run.name, parts)


def _head(run: TableRun, metrics: dict[str, Any] | None) -> str:
    facts = run.facts
    figures = [("training", duration(run.status.get("elapsed", 0.0)), "")]
    for name, label in (("shape", "shapes, %"), ("trend", "trends, %"), ("c2st", "C2ST"), ("copies", "copies")):
        score = None if metrics is None else metrics["scores"].get(name)
        if score is not None:
            figures.append((label, number(score["value"]), f"real data {number(score['floor'])}"))
    cells = "".join(f"<div><dt>{a}</dt><dd>{b}<small>{c}</small></dd></div>" for a, b, c in figures)
    return (
        f"<header>\n<h1>{escape(run.name)}</h1>\n<p class='lead'>A diffusion model of {number(facts['count'])} rows "
        f"of {len(facts['columns'])} columns.</p>\n<dl class='figures'>{cells}</dl>\n</header>"
    )


def _rows(made: Any) -> str:
    names = list(made.columns[:_WIDE])
    rows = [tuple(_shown(row[name]) for name in names) for _, row in made.head(_ROWS).iterrows()]
    told = "The first rows of seed 0, nothing chosen by hand."
    if len(made.columns) > _WIDE:
        told += f" {len(made.columns) - _WIDE} more columns are not shown."
    return section("Made rows", told, f"<div class='wide'>{table(tuple(map(str, names)), rows)}</div>")


def _shown(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value).removesuffix(" 00:00:00")


def _quality(metrics: dict[str, Any] | None) -> str:
    if metrics is None:
        return unmeasured()
    told = (
        f"{metrics['n_samples']} made rows against {metrics['n_train']} real ones, and {metrics['n_held_out']} the "
        "model never saw. Beside each figure is what real rows get in their place: no model should be expected to do "
        f"better. {escape(in_words(metrics))}"
    )
    if metrics["memorised"]:
        told += " <strong>The model repeats what it was shown.</strong>"
    return quality(metrics, TITLES, told)


def _columns(made: Any, source: TableSource | None, metrics: dict[str, Any] | None) -> str:
    """The columns least like the real ones, the worst first."""
    if source is None:
        return ""
    errors = {} if metrics is None else dict(metrics["columns"])
    names = sorted((c.name for c in source.columns), key=lambda name: -errors.get(str(name), 0.0))
    kinds = {column.name: column.kind for column in source.columns}
    cells = []
    for name in names[:_COLUMNS]:
        error = f", error {errors[str(name)]:.1f} %" if str(name) in errors else ""
        body = figure(column_picture(source.frame[name], made[name], kinds[name]), f"values of {name}")
        cells.append(f"<figure>{body}<figcaption>{escape(str(name))}{error}</figcaption></figure>")
    told = "Real values as a line or tick, made ones filled; of categories the most common."
    if len(names) > _COLUMNS:
        told += f" The {_COLUMNS} of {len(names)} columns that differ most."
    return section("Column by column", told, f"<div class='row columns'>{''.join(cells)}</div>")


def _pairs(metrics: dict[str, Any] | None) -> str:
    if metrics is None or not metrics["pairs"]:
        return ""
    rows = [(a, b, number(error)) for a, b, error in metrics["pairs"][:_PAIRS]]
    told = "The pairs of columns whose trend differs most, in percent."
    return section("Pair by pair", told, table(("column", "and", "error, %"), rows, numbers=(2,)))


def _jumps(model: TableDiffusion) -> str:
    """The trees of the first jumps that ask anything, where jumps are trees."""
    if model.mode_ != "reveal":
        return ""
    shown = []
    for name in model.revealed_[1:]:
        with suppress(ConfigError):  # a formula gives it
            body = figure(model.draw_jump(name, max_depth=_DEEP, caption=""), f"the tree that reveals {name}")
            shown.append(f"<figure class='wide'>{body}</figure>")
        if len(shown) == _JUMPS:
            break
    told = (
        f"Columns come one after the other: {escape(_listed(model.revealed_))}. Each is drawn from training rows that "
        "are alike in what came before; a tree finds them. Read it from left to right; at the end of each path stands "
        "what its rows have, in grey what all rows have."
    )
    return section("How a row comes about", told, "".join(shown)) if shown else ""


def _listed(names: list[Any]) -> str:
    more = f" and {len(names) - _WIDE} more" if len(names) > _WIDE else ""
    return ", ".join(map(str, names[:_WIDE])) + more


def _trials(model: TableDiffusion) -> str:
    rows = [
        (
            trial.mode,
            ", ".join(f"{name} {value:g}" for name, value in trial.options.items() if isinstance(value, int | float)),
            number(trial.score),
        )
        for trial in model.trials_
    ]
    told = (
        "What was tried on rows kept aside, the best first: distance to them over that of real rows, where 1 is as "
        "good as real rows are."
    )
    return section("Tried", told, table(("mode", "options", "score"), rows, numbers=(2,))) if len(rows) > 1 else ""


def _data(run: TableRun) -> str:
    facts = run.facts
    rows = [
        (
            str(column["name"]),
            column["kind"],
            number(column["distinct"]),
            f"{100 * column['missing']:.1f} %" if column["missing"] else "",
            column["range"],
        )
        for column in facts["columns"]
    ]
    told = (
        f"{number(facts['count'])} rows, {number(facts['duplicates'])} of them more than once; fingerprint "
        f"{facts['fingerprint'][:16]}."
    )
    return section("Data", told, table(("column", "kind", "distinct", "missing", "range"), rows, numbers=(2, 3)))
