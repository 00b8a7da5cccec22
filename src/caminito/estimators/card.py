"""The card of a model: what it is, what it was made from, how well it does, in words that travel with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import caminito
from caminito.estimators.model import DiffusionModel

__all__ = ["card"]


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
    lines = [
        "---",
        "library_name: caminito",
        "tags: [diffusion]",
        "---",
        "",
        f"# {name}",
        "",
        f"A diffusion model of {facts['count']} items of shape {shape} ({facts['dtype']}), made with caminito "
        f"{caminito.__version__}.",
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
        f"- data: {facts['kind']}, fingerprint `{facts['fingerprint'][:16]}`, {facts['bad_count']} files skipped",
        f"- classes: {named}",
        f"- training: {model.n_steps_} steps, seed {model.random_state}; samples use averaged weights",
        "",
        "## Chosen from the data",
        "",
        *(f"- {what}: {choice.value} ({choice.why})" for what, choice in model.choices_.items()),
        *(f"- calibrated times: {grid}" for grid in model.grids_),
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
        lines += ["", f"{metrics['n_samples']} samples, seed {metrics['seed']}, {metrics['steps']} steps."]
    lines += ["", "## Intended use and licence", "", "To be stated by whoever publishes this model.", ""]
    return "\n".join(lines)
