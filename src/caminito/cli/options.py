"""What several commands read in the same way: data and how they are taken, options from a file and from `--set`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from caminito._errors import ConfigError
from caminito.cli.console import counted

if TYPE_CHECKING:
    from caminito.data import Source
    from caminito.estimators import DiffusionModel, ModelConfig
    from caminito.estimators.folder import RunFolder
    from caminito.estimators.reading import Reading
    from caminito.estimators.run import Run

__all__ = [
    "Classes",
    "ConfigFile",
    "Data",
    "DataIfMoved",
    "DataIfNew",
    "MaxPixels",
    "Minutes",
    "Resize",
    "RunPath",
    "Seed",
    "Set",
    "Steps",
    "Texts",
    "at_least",
    "config_of",
    "found_again",
    "network_of",
    "opened",
    "options_of",
    "refuse_flags",
    "source_of",
    "source_of_run",
    "understood",
]

T = TypeVar("T")

_DATA = typer.Argument(
    metavar="DATA",
    help="A folder of images, .npy, .npz, IDX files, a table (.csv, .parquet, ...), or the word digits.",
    show_default=False,
)

Data = Annotated[str, _DATA]
DataIfNew = Annotated[str | None, _DATA]
DataIfMoved = Annotated[
    str | None,
    typer.Argument(metavar="[DATA]", help="The data it was trained on, if they were moved.", show_default=False),
]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run directory, such as runs/digits.", show_default=False)
]
Minutes = Annotated[float | None, typer.Option("--minutes", metavar="M", help="Train for this long.")]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", help="Train for this many steps.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Options from a YAML file.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="One option, e.g. training.batch_size=64. Repeat for more."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="K", help="Seed of everything random.")]
Resize = Annotated[str | None, typer.Option("--resize", metavar="HxW", help="Bring images to one size: 64 or 48x64.")]
MaxPixels = Annotated[
    int | None,
    typer.Option("--max-pixels", metavar="N", help="Skip image files of more pixels; 64 million unless given."),
]
Classes = Annotated[bool, typer.Option("--classes/--no-classes", help="Condition on the labels, where there are any.")]
Texts = Annotated[bool, typer.Option("--texts/--no-texts", help="Condition on the captions, where there are any.")]


def at_least(least: int, **given: int | None) -> None:
    """Refuse numbers that are too small, under the names they were typed by.

    Raises
    ------
    ConfigError
    """
    for name, value in given.items():
        if value is not None and value < least:
            flag = "-n" if name == "n" else "--" + name.replace("_", "-")
            raise ConfigError(f"{flag}: expected a whole number of at least {least}, got {value}.")


def config_of(
    file: Path | None, assignments: list[str] | None, *, minutes: float | None, steps: int | None, seed: int | None
) -> ModelConfig:
    """Options: those of the file, then `--set`, then the flags.

    Raises
    ------
    ConfigError
        If the file cannot be read, or an option is unknown or impossible.
    """
    at_least(1, steps=steps)
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"--minutes: expected more than 0, got {minutes:g}.")
    from caminito.estimators.schema import parse_config

    return parse_config(options_of(file, assignments, minutes=minutes, max_steps=steps, random_state=seed))


def options_of(file: Path | None, assignments: list[str] | None, **flags: Any) -> dict[str, Any]:
    """Options of a file, then `--set`, then the flags that were given, not yet checked.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    at_least(0, seed=flags.get("random_state"))
    import yaml

    from caminito.estimators.schema import updated

    options: Any = {}
    if file is not None:
        try:
            options = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"--config {file}: expected a YAML file ({' '.join(str(error).split())}).") from error
        if not isinstance(options, dict):
            raise ConfigError(f"--config {file}: expected lines such as 'n_steps: 24', got a {type(options).__name__}.")
    return updated(options, assignments or []) | {name: value for name, value in flags.items() if value is not None}


def refuse_flags(given: Mapping[str, Any], what: str) -> None:
    """Refuse options that say nothing about `what` is at hand; those that were not given are None.

    Raises
    ------
    ConfigError
    """
    if named := [flag for flag, value in given.items() if value is not None]:
        raise ConfigError(f"{', '.join(named)}: not for {what}. Leave it out; --help says what each option is for.")


def network_of(path: Path, doing: str) -> DiffusionModel:
    """The model of a run or model directory that has a network.

    Raises
    ------
    ConfigError
        If it is of a table: `doing` has no meaning there.
    RunError
        If there is no model.
    """
    from caminito.estimators import DiffusionModel
    from caminito.estimators.run import load_run

    model = load_run(path)
    if not isinstance(model, DiffusionModel):
        raise ConfigError(
            f"{doing}: expected the run of a network, {path} is one of a table, made by trees. What fits it: sample, "
            "impute, evaluate, report, doctor."
        )
    return model


def opened(
    data: str, *, resize: str | None, max_pixels: int | None, classes: bool, texts: bool
) -> tuple[Source, Reading]:
    """The data at a path, and how they are taken.

    Raises
    ------
    ConfigError
        If `resize` or `max_pixels` is impossible.
    DataError
        If there is nothing to learn from.
    """
    at_least(1, max_pixels=max_pixels)
    size = _size_of(resize)
    from caminito.data import MAX_PIXELS
    from caminito.estimators.reading import Reading

    most = MAX_PIXELS if max_pixels is None else max_pixels
    source = source_of(data, resize=size, max_pixels=most)
    return source, Reading.of(source, classes=classes, texts=texts, resize=size, max_pixels=most)


def source_of(data: str, **how: Any) -> Source:
    """What `open_source` reads at a path, with a bar meanwhile."""
    from caminito.data import open_source

    with counted("Reading") as progress:
        return open_source(data, progress=progress, **how)


def source_of_run(run: Run, data: str | None) -> Source:
    """The data a run was trained on, from where they were or from `data`.

    Raises
    ------
    DataError
        If they are no longer there.
    RunError
        If they are other data.
    """
    how = {"resize": run.reading.resize, "max_pixels": run.reading.max_pixels}
    source = found_again(run, data, lambda path: source_of(path, **how))
    run.check_data(source)
    return source


def found_again(run: RunFolder, data: str | None, open_: Callable[[str], T]) -> T:
    """What `open_` reads at the place where the data of a run are now.

    Raises
    ------
    DataError
        If they are no longer there.
    """
    from caminito._errors import DataError

    path = data or str(run.facts["path"])
    try:
        return open_(path)
    except DataError as error:
        if data is None and not Path(path).exists():
            raise DataError(
                f"the data of {run.path} are no longer at {path}. Say where they are now, after the name of the run."
            ) from error
        raise


def understood(source: Source, reading: Reading) -> list[tuple[str, str, str]]:
    """What was found at a path, as rows (name, value, remark)."""
    facts = source.facts
    kind, size = reading.words(facts["item_shape"])
    low, high = facts["range"]
    rows = [
        (kind, f"{facts['count']:,} of {size}".replace(",", " "), _of_kind(source)),
        ("values", f"{facts['dtype']}, {low:g} to {high:g}", ""),
    ]
    if facts.get("resized"):
        sizes = facts.get("sizes") or {}
        rows.append(("resized", "x".join(map(str, facts["resized"])), f"from {_few(list(sizes), 4)}"))
    if source.classes is not None:
        counts = facts["class_counts"]
        least, most = min(counts.values()), max(counts.values())
        used = "each trained and sampled by name" if reading.classes else "not used"
        spread = f"{least}" if least == most else f"{least} to {most}"
        rows.append(("classes", f"{len(counts)}: {_few(list(counts), 10)}", f"{spread} items each; {used}"))
    if facts["small_classes"]:
        rows.append(("", _few(facts["small_classes"], 5), "a single item: its samples can only be copies"))
    if facts["captions"]:
        used = "sampled by what they say: --text" if reading.texts else "not used"
        rows.append(("captions", f"{facts['captions']} items", used))
    for file, reason in source.bad[:5]:
        rows.append(("skipped", file, reason))
    if len(source.bad) > 5:
        rows.append(("", f"{len(source.bad) - 5} more", "all are listed in data.json"))
    rows += [("note", note, "") for note in facts["notes"]]
    return rows


def _size_of(text: str | None) -> tuple[int, int] | None:
    """(height, width) of "64" or "48x64"."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:[x,](\d+))?", text.strip().lower())
    if found is None or int(found[1]) < 1 or int(found[2] or 1) < 1:
        raise ConfigError(f"--resize: expected a side such as 64, or height x width such as 48x64, got {text!r}.")
    return int(found[1]), int(found[2] or found[1])


def _of_kind(source: Source) -> str:
    words = {
        "digits": "handwritten digits that come with scikit-learn",
        "folder": f"{source.facts.get('color', '')} images from a folder",
        "idx": "IDX files",
        "npy": "from a .npy file",
        "npz": "from a .npz file",
    }
    return words.get(source.kind, source.kind)


def _few(names: list[str], shown: int) -> str:
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
