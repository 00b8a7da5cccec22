"""One look for every picture: few colours, told apart by everyone, and no ink that says nothing.

Real data are blue, samples are vermilion, everything else is grey until it needs a colour of its own. The hues are
after those of Okabe & Ito 2008, which stay distinct under the common forms of colour blindness, made darker or lighter
until text has a contrast of 4.5 and a line one of 3 with the paper (WCAG 2.2, 1.4.3 and 1.4.11); ordered things use
`cividis`.

There are two papers, white and dark. `with theme("dark"):` makes what is drawn inside it dark. The inks INK, MUTED,
HAIR, PAPER, REAL, GENERATED and COLOURS are those of the present theme, so they are read where they are used, as
`style.INK`, and not imported by name.

Figures are built without pyplot: nothing is registered, shown or kept, so pictures can be made in any thread and
without a display. matplotlib is imported when the first figure is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from caminito._errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "DPI",
    "GENERATED",
    "HAIR",
    "INK",
    "MUTED",
    "PAPER",
    "REAL",
    "THEMES",
    "Theme",
    "blend",
    "caption",
    "colours",
    "dress",
    "figure",
    "heading",
    "heat",
    "legend",
    "log_scale",
    "paper_level",
    "pixels",
    "shades",
    "strip",
    "theme",
    "wrapped",
    "write_heading",
]


@dataclass(frozen=True)
class Theme:
    """The inks of a picture, as #RRGGBB.

    Attributes
    ----------
    paper : str
        What lies under everything; a grey, so that pictures of grey images can have it too.
    ink, muted : str
        Text, and text of less weight.
    hair : str
        Lines that guide the eye and are not read.
    real, generated : str
        Data, and samples.
    colours : tuple of str
        Things that have no order, the first two being `real` and `generated`.
    shades : (float, float)
        The part of `cividis` that is seen on this paper, from faint to strong.
    """

    paper: str
    ink: str
    muted: str
    hair: str
    real: str
    generated: str
    colours: tuple[str, ...]
    shades: tuple[float, float]


THEMES = {
    "light": Theme(
        paper="#FFFFFF",
        ink="#1F2A36",
        muted="#66717E",
        hair="#DDE2E7",
        real="#0072B2",
        generated="#C44F00",
        colours=("#0072B2", "#C44F00", "#12A680", "#A21966", "#503801", "#3314B7"),
        shades=(0.85, 0.05),
    ),
    "dark": Theme(
        paper="#171717",
        ink="#E1E4E8",
        muted="#A0A8B2",
        hair="#3A3F45",
        real="#56B4E9",
        generated="#F2833C",
        colours=("#56B4E9", "#F2833C", "#9BECDE", "#D0497C", "#E9DA16", "#8F5BE6"),
        shades=(0.3, 1.0),
    ),
}

INK: str
MUTED: str
HAIR: str
PAPER: str
REAL: str
GENERATED: str
COLOURS: tuple[str, ...]

_INKS = ("INK", "MUTED", "HAIR", "PAPER", "REAL", "GENERATED", "COLOURS")
DPI = 144
_LEFT, _TOP, _TITLE, _LINE, _FOOT = 0.14, 0.13, 0.2, 0.165, 0.09  # inches of a heading
_TEXT = 8.5  # points of a caption

_now: ContextVar[Theme] = ContextVar("theme", default=THEMES["light"])


def __getattr__(name: str) -> Any:
    if name in _INKS:
        return getattr(_now.get(), name.lower())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@contextmanager
def theme(name: Literal["light", "dark"]) -> Iterator[Theme]:
    """Pictures drawn inside have this theme; light is the default, and other threads keep their own.

    Parameters
    ----------
    name : str
        "light", dark ink on white, or "dark", pale ink on #171717.

    Yields
    ------
    Theme

    Raises
    ------
    ConfigError
        For another name.
    """
    if name not in THEMES:
        raise ConfigError(f"theme: expected {' or '.join(THEMES)}, got {name!r}.")
    before = _now.set(THEMES[name])
    try:
        yield THEMES[name]
    finally:
        _now.reset(before)


def figure(width: float, height: float, panels: int | tuple[int, int] = 1, **how: Any) -> tuple[Figure, Any]:
    """Figure of `width` x `height` inches that arranges its axes by itself, and those: one, a row, or (rows, columns).

    A heading comes on top of the height.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    room = ConstrainedLayoutEngine(w_pad=_LEFT, h_pad=0.09, wspace=0.02)
    fig = Figure(figsize=(width, height), dpi=DPI, layout=room, facecolor=_now.get().paper)
    rows, columns = (1, panels) if isinstance(panels, int) else panels
    axes = fig.subplots(rows, columns, **how)
    for each in fig.axes:
        each.set_facecolor("none")
    return fig, axes


def pixels(width: int, height: int) -> Figure:
    """Empty figure of `width` x `height` pixels whose axes are placed by hand."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=_now.get().paper)


def dress(axes: Any, title: str = "", x: str = "", y: str = "", *, grid: str = "y") -> None:
    """Give axes the house look: title on the left, two spines, faint lines along `grid` ("x", "y", "both" or "")."""
    now = _now.get()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(now.hair)
    axes.tick_params(colors=now.muted, labelsize=8, length=0, which="both", pad=5)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(visible=True, axis=grid, color=now.hair, linewidth=0.7)
    if title:
        axes.set_title(title, loc="left", fontsize=9.5, color=now.ink, pad=8)
    axes.set_xlabel(x, fontsize=8.5, color=now.muted, labelpad=5)
    axes.set_ylabel(y, fontsize=8.5, color=now.muted, labelpad=5)


def strip(axes: Any, x: str = "", *, side: str = "left") -> None:
    """Give narrow axes beside others the house look: no numbers, and one spine, `side`, that things stand on."""
    dress(axes, "", x, grid="")
    for each in ("left", "right", "bottom"):
        axes.spines[each].set_visible(each == side)
        axes.spines[each].set_color(_now.get().hair)
    axes.set_xticks([])
    axes.tick_params(labelleft=False)


def log_scale(axes: Any, which: str) -> None:
    """Logarithmic axis "x" or "y" with plain numbers at 1, 2, 5 or, over many decades, at powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log"})
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 1000 * low else (1.0,), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def legend(axes: Any, **where: Any) -> None:
    """Legend without a box, in the ink of the text."""
    axes.legend(frameon=False, fontsize=8, labelcolor=_now.get().ink, handlelength=1.4, borderaxespad=0.3, **where)


def caption(fig: Figure, title: str, text: str | None = None, usual: str = "") -> None:
    """Title of a whole figure and under it what to look at; the figure grows by the height of both.

    That is `text`, or where it is None and there is a title, `usual`.
    """
    text = (usual if title else "") if text is None else text
    width, height = fig.get_size_inches()
    lines = wrapped(text, width - 2 * _LEFT)
    head = heading(title, len(lines))
    if head:
        fig.set_size_inches(width, height + head)
        engine: Any = fig.get_layout_engine()
        engine.set(rect=(0.0, 0.0, 1.0, height / (height + head)))
        write_heading(fig, title, lines)


def heading(title: str, lines: int) -> float:
    """Inches that a title and so many lines of caption take; 0 without either."""
    return _TOP + _TITLE * bool(title) + _LINE * lines + _FOOT if title or lines else 0.0


def write_heading(fig: Figure, title: str, lines: Sequence[str], *, left: float = _LEFT) -> None:
    """Write a title and the lines of a caption at the top of a figure, `left` inches from its edge."""
    width, height = fig.get_size_inches()
    place: dict[str, Any] = {"x": left / width, "ha": "left", "va": "top"}
    if title:
        fig.text(y=1 - _TOP / height, s=title, fontsize=11, color=_now.get().ink, **place)
    for number, line in enumerate(lines):
        down = _TOP + (_TITLE + 0.03) * bool(title) + _LINE * number
        fig.text(y=1 - down / height, s=line, fontsize=_TEXT, color=_now.get().muted, **place)


def wrapped(text: str, width: float) -> list[str]:
    """The lines of a caption, as few as `width` inches allow and of much the same length.

    Formulas between dollars must be free of spaces.
    """
    count = len(_broken(text, width))
    shares = (0.5 + 0.05 * i for i in range(11))
    return next(lines for share in shares if len(lines := _broken(text, share * width)) <= count)


def _broken(text: str, width: float) -> list[str]:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=_TEXT)
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        fits = text_to_path.get_text_width_height_descent(longer, font, "$" in longer)[0] <= 72 * width
        lines = [*lines[:-1], longer] if lines and fits else [*lines, word]
    return lines


def shades(count: int) -> Sequence[Any]:
    """`count` colours from faint to strong, for things that have an order."""
    from matplotlib import colormaps

    scale = colormaps["cividis"]
    first, last = _now.get().shades
    return [scale(first + (last - first) * i / max(1, count - 1)) for i in range(count)]


def colours(count: int) -> list[str]:
    """`count` colours for things without an order; they recur after six."""
    known = _now.get().colours
    return [known[i % len(known)] for i in range(count)]


def blend(first: str, second: str, share: float) -> str:
    """The colour `share` of the way from the first to the second, as #RRGGBB."""
    ends = [[int(each[i : i + 2], 16) for i in (1, 3, 5)] for each in (first, second)]
    return "#" + "".join(f"{round(a + share * (b - a)):02X}" for a, b in zip(*ends))


def heat() -> Colormap:
    """Colours of a density, from the paper to a middling blue on which ink can still be read."""
    from matplotlib.colors import LinearSegmentedColormap

    now = _now.get()
    return LinearSegmentedColormap.from_list("density", [now.paper, blend(now.paper, now.real, 0.62)])


def paper_level() -> int:
    """The paper as a grey level, 0 to 255."""
    return int(_now.get().paper[1:3], 16)
