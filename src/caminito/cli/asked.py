"""What `sample` asks of a run besides how many: classes, texts, other conditions, and how far to be guided by them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caminito._errors import ConditionError, ConfigError
from caminito.cli.condition_image import files_of, read_items
from caminito.cli.options import network_of, refuse_flags

if TYPE_CHECKING:
    import numpy as np

    from caminito.estimators import CascadeDiffusion, DiffusionModel, NoisyClassifier

__all__ = [
    "Asked",
    "Augmentation",
    "Guidance",
    "GuidanceBy",
    "GuidanceInterval",
    "GuidanceRescale",
    "Guide",
    "Text",
    "Then",
    "dials",
    "guide_of",
    "stages_of",
]

Text = Annotated[str | None, typer.Option("--text", metavar="WORDS", help='What to draw: --text "two red shirts".')]
Guidance = Annotated[
    float | None,
    typer.Option("--guidance", metavar="W", help="How far to follow conditions: 1 as learnt, 2 further, 0 not at all."),
]
GuidanceBy = Annotated[
    str | None, typer.Option("--guidance-by", metavar="HOW", help="cfg, cfg++, autoguidance or classifier.")
]
GuidanceInterval = Annotated[
    str | None,
    typer.Option(
        "--guidance-interval",
        metavar="LOW..HIGH",
        help="Noise levels sigma / alpha at which to guide: .2..2, or .2.. with no upper end.",
    ),
]
GuidanceRescale = Annotated[
    float | None,
    typer.Option("--guidance-rescale", metavar="SHARE", help="How far to take contrast back, 0 to 1; .7 is usual."),
]
Guide = Annotated[
    str | None,
    typer.Option(
        "--guide", metavar="WHAT", help="A classifier's folder, a worse run, or step:N, these weights earlier."
    ),
]
Then = Annotated[
    list[Path] | None,
    typer.Option(
        "--then", metavar="STAGE", help="A run that enlarges what RUN draws; repeat for more, in their order."
    ),
]
Augmentation = Annotated[
    float | None,
    typer.Option("--augmentation", metavar="S", help="Noise on what a stage enlarges, 0 to .6; .1 unless given."),
]


class Asked:
    """Conditions of the samples of a run, and their classes.

    Attributes
    ----------
    condition : dict of str to values, or None
        None where the model has no conditions.
    labels : array (count,), or None
        The class of each sample.
    count : int
    """

    def __init__(
        self,
        model: DiffusionModel,
        *,
        count: int | None,
        usual: int,
        seed: int,
        class_: str | None = None,
        text: str | None = None,
        file: Path | None = None,
        images: Sequence[str] = (),
        classifier: NoisyClassifier | None = None,
    ) -> None:
        columns: dict[str, Any] = {} if file is None else _columns(file)
        rows = {str(file): len(next(iter(columns.values())))} if columns else {}
        for name, image in files_of(model, images).items():
            _refuse_twice("--condition-image", name, columns, file)
            columns[name] = read_items(model, name, image)
            if len(columns[name]) > 1:
                rows[str(image)] = len(columns[name])
        self.count = _agreed(count, rows) or usual
        if class_ is not None:
            _refuse_twice("--class", "y", columns, file)
            columns["y"] = [class_] * self.count
        if text is not None:
            name = _text_name(model)
            _refuse_twice("--text", name, columns, file)
            columns[name] = [text] * self.count
        codec = model.conditions_ if classifier is None else model.conditions_.joined(classifier.conditions_)
        if not columns:
            columns = dict(codec.draw_values(self.count, seed))
        self.condition = columns or None
        self.labels: np.ndarray | None = None
        if "y" in codec.classes and "y" in columns:
            codes = codec.encode({"y": columns["y"]}, self.count)["y"]
            value, present = (codes[0], codes[1]) if isinstance(codes, tuple) else (codes, None)
            labels = codec.classes["y"][value.numpy()]
            self.labels = labels if present is None else _with_holes(labels, present.numpy())


def _agreed(count: int | None, rows: Mapping[str, int]) -> int | None:
    """The number of samples: that of the rows of files, which all have as many as were asked for."""
    said = "-n"
    for file, found in rows.items():
        if count not in (None, found):
            raise ConfigError(
                f"{said}: there is a sample for each of the {found} rows of {file}, got {count}. Leave it out."
            )
        said, count = file, found
    return count


def dials(
    scale: float | None, by: str | None, interval: str | None, rescale: float | None, guide: str | None
) -> dict[str, Any] | None:
    """Guidance as `sample` of a model takes it; None where none was asked.

    Raises
    ------
    ConfigError
        For an interval that is none, or dials without a scale.
    """
    others = {"--guidance-by": by, "--guidance-interval": interval, "--guidance-rescale": rescale, "--guide": guide}
    if scale is None:
        refuse_flags(others, "samples without guidance (give --guidance W)")
        return None
    out: dict[str, Any] = {"scale": scale}
    if by is not None:
        out["by"] = by
    if rescale is not None:
        out["rescale"] = rescale
    if interval is not None:
        out["interval"] = _interval(interval)
    return out


def _interval(text: str) -> tuple[float, float | None]:
    """The ends of "0.2..2" or "0.2,2"; no upper end where there is none, or it is inf."""
    ends = re.fullmatch(r"\s*([\d.eE+-]+?)\s*(?:\.\.|,)\s*([\d.eE+-]*|inf)\s*", text)
    with contextlib.suppress(ValueError):
        if ends is not None:
            return float(ends[1]), None if ends[2] in ("", "inf") else float(ends[2])
    raise ConfigError(
        f"--guidance-interval: expected LOW..HIGH, such as 0.2..2, or 0.2.. with no upper end, got {text!r}."
    )


def stages_of(run: Path, stages: Sequence[DiffusionModel], then: list[Path] | None) -> CascadeDiffusion | None:
    """The cascade of what a folder holds and the stages that enlarge its samples; None where there are none.

    Raises
    ------
    ConfigError
        If a stage is the run of a table, or does not enlarge what the one before gives.
    """
    paths = [run] * len(stages) + (then or [])
    if len(paths) == 1:
        return None
    from caminito.estimators import CascadeDiffusion

    cascade = CascadeDiffusion([*stages, *(network_of(path, "--then") for path in then or [])])
    try:
        cascade.check()
    except ConfigError as error:
        named = ", ".join(f"stage {number} is {path}" for number, path in enumerate(paths))
        raise ConfigError(f"--then: {error} Here {named}.") from error
    return cascade


def guide_of(run: Path, model: DiffusionModel, guide: str | None, by: str | None) -> Any:
    """What leads: a classifier, a worse model, or None.

    Raises
    ------
    ConfigError
        If there is no such thing.
    """
    if guide is None and by != "classifier":
        return None
    from caminito.estimators import CascadeDiffusion, DiffusionModel, NoisyClassifier
    from caminito.estimators.run import load

    if guide is not None and guide.startswith("step:"):
        if not guide[5:].isdigit():
            raise ConfigError(f"--guide: expected step:N with the number of a training step, got {guide!r}.")
        width = float(dict(model.training or {}).get("ema", 0.1))
        return model.reaverage(width, step=int(guide[5:]))
    folder = run / "classifier" if guide is None else Path(guide)
    if not folder.is_dir():
        hint = f" Train one: caminito train-classifier DATA --run {run}." if guide is None else ""
        raise ConfigError(f"--guide: expected a folder with a classifier or a run, there is none at {folder}.{hint}")
    found = load(folder)
    if isinstance(found, DiffusionModel | NoisyClassifier):
        return found
    what = "a cascade" if isinstance(found, CascadeDiffusion) else "one of a table"
    raise ConfigError(f"--guide: expected a classifier or a run of images or arrays, {folder} is {what}.")


def _refuse_twice(flag: str, name: str, columns: dict[str, Any], file: Path | None) -> None:
    """Refuse an option for what a file says of each sample."""
    if name in columns:
        raise ConfigError(f"{flag}: {file} has a column {name!r} already. Leave one of both out.")


def _columns(file: Path) -> dict[str, Any]:
    """Columns of a table by name; what is blank is None, or NaN among numbers."""
    from caminito.data import read_table

    frame = read_table(file)
    if not len(frame):
        raise ConfigError(f"--condition {file}: expected at least one row, got none.")
    columns: dict[str, Any] = {}
    for name in frame:
        column = frame[name]
        if column.dtype.kind == "f":
            columns[str(name)] = column.to_numpy()
        else:
            columns[str(name)] = [None if missing else value for value, missing in zip(column.tolist(), column.isna())]
    return columns


def _text_name(model: DiffusionModel) -> str:
    names = [name for name, column in model.conditions_.columns.items() if column.kind == "text"]
    if len(names) != 1:
        known = f"several: {', '.join(names)}" if names else "none"
        raise ConditionError(
            f"--text: expected a run that was trained with one text per item, this one knows {known}. "
            + ("Give them by --condition FILE." if names else "Train it on data with captions.")
        )
    return names[0]


def _with_holes(labels: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Labels as words, those that were left free empty."""
    import numpy as np

    return np.where(present, labels.astype(str), "")
