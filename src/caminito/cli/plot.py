"""`caminito plot`: one picture of a run, of its learning, its noise, its samples or their way, as a file."""

from __future__ import annotations

import difflib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from caminito._errors import ConfigError
from caminito.cli.console import out
from caminito.cli.options import RunPath, at_least, network_of
from caminito.cli.sample import note_unfinished

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from caminito.cli.pictures import Asked

__all__ = ["HELP", "KINDS", "Kind", "plot"]

_FORMATS = (".png", ".svg", ".pdf", ".gif")


class Kind(NamedTuple):
    """A picture as it can be asked for.

    Attributes
    ----------
    shows : str
    of : tuple of str
        Items it can be drawn of; any if none are named.
    takes : tuple of str
        Options it depends on.
    usual : int
        Items shown unless a number is given; 0 where it has none.
    moves : bool
        Whether it can be a GIF.
    """

    shows: str
    of: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    usual: int = 0
    moves: bool = False


_SAMPLING = ("-n", "--class", "--steps", "--solver", "--seed")
_MANY = 2000  # samples of points and numbers

KINDS: dict[str, Kind] = {
    "loss": Kind("training and held-out loss"),
    "levels": Kind("held-out loss at each noise level"),
    "time": Kind("where the time went"),
    "schedule": Kind("signal, noise, log-SNR; beta of a chain"),
    "samples": Kind("samples beside real data", ("images", "points", "numbers"), _SAMPLING, 64),
    "strip": Kind("from noise to data, also as .gif", ("images",), _SAMPLING, 5, moves=True),
    "paths": Kind("from noise to data, also as .gif", ("points", "numbers"), _SAMPLING, 60, moves=True),
    "field": Kind("where noisy points are drawn to", ("points",), ("--class", "--seed")),
    "corruption": Kind("real images destroyed step by step", ("images",), ("-n", "--seed"), 5),
    "nearest": Kind("samples and their nearest training items", ("images",), _SAMPLING, 20),
}

HELP = "Draw a picture of RUN. KIND is one of\n\n\b" + "\n".join(
    f"{name:<10}  {each.shows:<40}  {', '.join(each.of) or 'any run'}" for name, each in KINDS.items()
)


def plot(
    run: RunPath,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Which picture; see above.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="The data it was trained on, if they were moved.", show_default=False),
    ] = None,
    out_: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help=".png, .svg, .pdf or .gif; RUN/plots/KIND.png unless given."),
    ] = None,
    theme: Annotated[str, typer.Option("--theme", metavar="T", help="light or dark.")] = "light",
    count: Annotated[int | None, typer.Option("-n", "--count", metavar="N", help="How many items are shown.")] = None,
    class_: Annotated[str | None, typer.Option("--class", metavar="C", help="Only samples of this class.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="S", help="Steps of the solver.")] = None,
    solver: Annotated[str | None, typer.Option("--solver", metavar="NAME", help="As for sample.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="K", help="Of what is drawn at random; 0 unless given.")
    ] = None,
) -> None:
    """Draw a picture of RUN."""
    at_least(1, n=count, steps=steps)
    at_least(0, seed=seed)
    _check(kind, {"-n": count, "--class": class_, "--steps": steps, "--solver": solver, "--seed": seed}, out_)
    from caminito._files import write_atomic
    from caminito.cli.pictures import DRAWN, FILMED, Asked, items_of
    from caminito.estimators.run import Run
    from caminito.plot import theme as paper
    from caminito.sampling import solver_named

    rule = None if solver is None else solver_named(solver)
    target = run / "plots" / f"{kind}.png" if out_ is None else out_
    with paper(theme):  # type: ignore[arg-type]  # another word is refused by name
        model = network_of(run, f"plot {kind}")
        items = items_of(model)
        _check_items(run, kind, items)
        if count is None:
            count = _MANY if kind == "samples" and items != "images" else KINDS[kind].usual
        found = Run.open(run) if (run / "config.yaml").is_file() else None
        asked = Asked(run, kind, model, found, data, count, class_, steps, rule, seed or 0)
        if KINDS[kind].takes:
            note_unfinished(run, model)
        drawn = FILMED[kind](asked) if target.suffix.lower() == ".gif" else DRAWN[kind](asked)
        held = _content(drawn, target.suffix.lower(), _recipe(asked, theme))
    write_atomic(target, held)
    out.print(str(target), soft_wrap=True)


def _check(kind: str, given: dict[str, Any], target: Path | None) -> None:
    """Refuse pictures that do not exist, options they do not have, and files that cannot hold them."""
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"KIND: expected one of {', '.join(KINDS)}, got {kind!r}.{hint}")
    takes = KINDS[kind].takes
    for flag, value in given.items():
        if value is not None and flag not in takes:
            known = f"It takes {', '.join(takes)}." if takes else "It takes only --out and --theme."
            raise ConfigError(f"{flag}: the picture {kind!r} does not depend on it. {known}")
    if target is None:
        return
    if target.suffix.lower() not in _FORMATS:
        raise ConfigError(f"--out: expected a file {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}, got {target.name!r}.")
    if target.suffix.lower() == ".gif" and not KINDS[kind].moves:
        moving = [name for name, each in KINDS.items() if each.moves]
        raise ConfigError(f"--out {target}: the picture {kind!r} does not move. Those that do: {', '.join(moving)}.")
    if target.is_dir():
        raise ConfigError(f"--out {target}: expected a file, this is a folder. Give another name.")


def _check_items(run: Path, kind: str, items: str) -> None:
    """Refuse pictures that do not fit the items of a run."""
    wanted = KINDS[kind].of
    if wanted and items not in wanted:
        fitting = [name for name, each in KINDS.items() if not each.of or items in each.of]
        raise ConfigError(
            f"plot {kind}: expected a run of {' or '.join(wanted)}, {run} is one of {items}. Pictures of it: "
            f"{', '.join(fitting)}."
        )


def _recipe(asked: Asked, theme: str) -> dict[str, str]:
    """What it takes to draw the picture again."""
    import caminito
    from caminito.estimators.picture import recipe

    name, takes = asked.path.resolve().name, KINDS[asked.kind].takes
    own: dict[str, Any] = {"picture": asked.kind, "theme": theme}
    if "-n" in takes:
        own["samples"] = asked.count
    if takes:
        own |= {"seed": asked.seed, "class": asked.class_}
    if "--steps" in takes:
        return recipe(asked.model, name, n_steps=asked.steps, solver=asked.solver, **own)
    facts = {"software": f"caminito {caminito.__version__}", "run": name, "trained_steps": asked.model.n_steps_, **own}
    return {key: str(value) for key, value in facts.items() if value is not None}


def _content(drawn: Figure | bytes, suffix: str, text: dict[str, str]) -> bytes:
    """The file of a picture, or of one that moves, with its recipe."""
    if not isinstance(drawn, bytes) and suffix == ".png":
        from caminito.plot import png_bytes

        return png_bytes(drawn, text)
    told = "; ".join(f"{key}: {value}" for key, value in text.items())
    if isinstance(drawn, bytes):
        return _with_comment(drawn, told)
    import matplotlib as mpl

    held = io.BytesIO()
    place, dated = ("Description", "Date") if suffix == ".svg" else ("Subject", "CreationDate")
    with mpl.rc_context({"svg.hashsalt": "caminito"}):  # the same file for the same picture
        drawn.savefig(held, format=suffix[1:], metadata={place: told, dated: None})
    return held.getvalue()


def _with_comment(gif: bytes, comment: str) -> bytes:
    """A GIF with a comment before its first frame, in blocks of at most 255 bytes."""
    words = comment.encode()
    blocks = b"".join(bytes([len(words[i : i + 255])]) + words[i : i + 255] for i in range(0, len(words), 255))
    begin = 13 + (3 << ((gif[10] & 7) + 1) if gif[10] & 128 else 0)  # behind the header and the colours of all frames
    if gif[begin : begin + 2] == b"\x21\xff":  # how often it is repeated, which has to come first
        begin = gif.index(b"\x21\xf9", begin)
    return gif[:begin] + b"\x21\xfe" + blocks + b"\x00" + gif[begin:]
