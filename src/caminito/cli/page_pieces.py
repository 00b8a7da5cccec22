"""What pages of runs are made of: the frame, sections, tables and pictures, with nothing outside the file itself.

Charts are drawn on white and blended into the page; in the dark they are inverted, hues kept.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

import caminito
from caminito import plot
from caminito.cli.console import number

if TYPE_CHECKING:
    from caminito.estimators.choices import Choice
    from caminito.estimators.folder import RunFolder

__all__ = [
    "choices",
    "figure",
    "html_page",
    "image",
    "options",
    "quality",
    "section",
    "table",
    "time_spent",
    "unmeasured",
    "uri",
]


def html_page(title: str, parts: Iterable[str]) -> str:
    """HTML of the parts that are not empty, light or dark as the reader's screen is."""
    style = resources.files("caminito.cli").joinpath("page.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)} · caminito</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<footer>caminito {caminito.__version__} · {_today()}</footer>\n"
        "</main>\n</body>\n</html>\n"
    )


def section(title: str, told: str, body: str) -> str:
    """A heading, what is told in HTML, and what is shown."""
    lead = f"<p>{told}</p>\n" if told else ""
    return f"<section>\n<h2>{title}</h2>\n{lead}{body}\n</section>"


def table(head: tuple[str, ...] | None, rows: Sequence[tuple[str, ...]], numbers: tuple[int, ...] = ()) -> str:
    """Cells of text, those of columns `numbers` to the right."""

    def cells(row: tuple[str, ...], tag: str) -> str:
        kinds = [" class='n'" if i in numbers else "" for i in range(len(row))]
        return "".join(f"<{tag}{kind}>{escape(text)}</{tag}>" for text, kind in zip(row, kinds))

    top = "" if head is None else f"<thead><tr>{cells(head, 'th')}</tr></thead>"
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table>{top}<tbody>{body}</tbody></table>"


def uri(png: bytes) -> str:
    """A PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def image(pixels: np.ndarray, alt: str) -> str:
    """Pixels as they are."""
    return f"<img class='pixels' src='{uri(plot.png_bytes(pixels))}' alt='{escape(alt)}'>"


def figure(drawn: Any, alt: str) -> str:
    """A chart, or its pixels."""
    return f"<img class='chart' src='{uri(plot.png_bytes(drawn))}' alt='{escape(alt)}'>"


def unmeasured() -> str:
    """The section of figures where there are none."""
    return section("How good they are", "Not measured: <code>caminito evaluate</code> does, and needs the data.", "")


def quality(metrics: Mapping[str, Any], names: Mapping[str, str], told: str) -> str:
    """Figures beside those of real data, as a chart and in numbers."""
    scores = metrics["scores"]
    drawn = plot.scores(
        {names.get(name, name): (s["value"], s["floor"], s["meaning"], s["better"]) for name, s in scores.items()},
        title="",
    )
    rows = [
        (names.get(name, name.replace("_", " ")), number(s["value"]), number(s["floor"]), s["meaning"].split(" (")[0])
        for name, s in scores.items()
    ]
    cells = table(("measure", "samples", "real data", "what it says"), rows, numbers=(1, 2))
    return section("How good they are", told, figure(drawn, "scores of samples and of real data") + cells)


def choices(made: Mapping[str, Choice]) -> str:
    """What was chosen, and why."""
    rows = [(name, str(choice.value), choice.why) for name, choice in made.items()]
    told = "What was left open was chosen from the data."
    return section("Choices, and why", told, table(("", "chosen", "because"), rows))


def time_spent(run: RunFolder, metrics: Mapping[str, Any] | None) -> str:
    """Where the time went."""
    spent = run.status.get("spent") or {}
    ordered = {name: spent[name] for name in ("training", "pictures", "saving") if name in spent}
    ordered |= {} if metrics is None else dict(metrics["seconds"])
    return section("Time", "", figure(plot.time_spent(ordered), "where the time went")) if ordered else ""


def options(run: RunFolder) -> str:
    """The options, and what to type to train so again."""
    text = (run.path / "config.yaml").read_text(encoding="utf-8").split("\n\n", 1)[-1]
    commands = f"caminito train {run.facts['path'] if run.facts['kind'] == 'digits' else 'DATA'} --config config.yaml"
    told = f"To do it again: <code>{escape(commands)}</code>"
    return section("Options", told, f"<pre>{escape(text)}</pre>")


def _today() -> str:
    now = time.localtime()
    return f"{now.tm_mday} {time.strftime('%B %Y', now)}"
