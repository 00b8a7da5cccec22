"""The card of a model: what it is, what it was made from, how well it does, in words that travel with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import caminito
from caminito.estimators.choices import Choice
from caminito.estimators.model import DiffusionModel
from caminito.estimators.schema import TableConfig

if TYPE_CHECKING:
    from caminito.estimators.table import TableDiffusion

__all__ = ["card", "table_card"]


def card(name: str, facts: Mapping[str, Any], model: DiffusionModel, metrics: Mapping[str, Any] | None) -> str:
    """Markdown.

    Parameters
    ----------
    name : str
        Of the run.
    facts : mapping
        What data.json says.
    model : DiffusionModel
    metrics : mapping, optional
        What metrics.json says, once `evaluate` has been there.
    """
    shape = "x".join(map(str, facts["item_shape"])) or "1"
    classes = getattr(model, "classes_", None)
    named = "none" if classes is None else ", ".join(map(str, classes[:20])) + (" ..." if len(classes) > 20 else "")
    made = [
        f"- data: {facts['kind']}, fingerprint `{facts['fingerprint'][:16]}`, {facts['bad_count']} files skipped",
        f"- classes: {named}",
        f"- training: {model.n_steps_} steps, seed {model.random_state}; samples use averaged weights",
    ]
    grids = [f"- calibrated times: {grid}" for grid in model.grids_]
    told = (
        "" if metrics is None else f"{metrics['n_samples']} samples, seed {metrics['seed']}, {metrics['steps']} steps."
    )
    of = f"{facts['count']} items of shape {shape} ({facts['dtype']})"
    return _card(name, of, made, [*_chosen(model.choices_), *grids], metrics, told)


def table_card(
    name: str,
    facts: Mapping[str, Any],
    config: TableConfig,
    model: TableDiffusion,
    metrics: Mapping[str, Any] | None,
) -> str:
    """Markdown, for a model of a table; parameters as for `card`."""
    columns = facts["columns"]
    made = [
        f"- data: table, fingerprint `{facts['fingerprint'][:16]}`, {facts['duplicates']} rows more than once",
        f"- columns: {', '.join(str(c['name']) for c in columns[:20])}{' ...' if len(columns) > 20 else ''}",
        f"- training: seed {config.random_state}",
        "",
        "The files of the model hold rows it was made from: give them only to those who may see the data.",
    ]
    told = "" if metrics is None else f"{metrics['n_samples']} samples, seed {metrics['seed']}."
    of = f"{facts['count']} rows of {len(columns)} columns"
    return _card(name, of, made, _chosen(model.describe()), metrics, told)


def _chosen(choices: Mapping[str, Choice]) -> list[str]:
    return [f"- {what}: {choice.value} ({choice.why})" for what, choice in choices.items()]


def _card(name: str, of: str, made: list[str], chosen: list[str], metrics: Mapping[str, Any] | None, told: str) -> str:
    lines = [
        "---",
        "library_name: caminito",
        "tags: [diffusion]",
        "---",
        "",
        f"# {name}",
        "",
        f"A diffusion model of {of}, made with caminito {caminito.__version__}.",
        "",
        "## Use",
        "",
        "```python",
        "import caminito",
        "",
        f'samples = caminito.load("{name}").sample(100)',
        "```",
        "",
        "## Made from",
        "",
        *made,
        "",
        "## Chosen from the data",
        "",
        *chosen,
        "",
        "## How well it does",
        "",
    ]
    if metrics is None:
        lines.append("Not measured yet: `caminito evaluate`.")
    else:
        lines += ["| measure | samples | real data | meaning |", "|---|---|---|---|"]
        lines += [
            f"| {what.replace('_', ' ')} | {score['value']:.4g} | {score['floor']:.4g} | {score['meaning']} |"
            for what, score in metrics["scores"].items()
        ]
        lines += ["", told]
    lines += ["", "## Intended use and licence", "", "To be stated by whoever publishes this model.", ""]
    return "\n".join(lines)
