"""`caminito inpaint` and `caminito upscale`, and `impute` of arrays: what a run says of data that were seen in part."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from caminito._errors import ConfigError, DataError
from caminito.cli.console import counted, duration, number, out
from caminito.cli.options import RunPath, at_least, network_of

if TYPE_CHECKING:
    import numpy as np

    from caminito.estimators import DiffusionModel, ImageDiffusion
    from caminito.estimators.given import Given

__all__ = ["impute_array", "inpaint", "upscale"]

_WIDE = 1300  # pixels of a picture of all draws, about
_COLORS: dict[int, Any] = {1: "grey", 3: "rgb", 4: "rgba"}

Image = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="An image file, or a .npy array of one image.", show_default=False)
]
Draws = Annotated[
    int, typer.Option("-n", "--draws", metavar="N", help="How many; they differ where IMAGE leaves room.")
]
_METHODS = "tds, mmps, pigdm, diffpir, ddnm, repaint, dps, daps, ..."
How = Annotated[str, typer.Option("--method", metavar="M", help=f"auto, {_METHODS}")]
FillBy = Annotated[str, typer.Option("--method", metavar="M", help=f"auto, trained (if the run is), {_METHODS}")]
NoiseOf = Annotated[
    float | None,
    typer.Option("--noise", metavar="S", help="How far IMAGE is believed, in its units; a grey level unless given."),
]
ClassOf = Annotated[str | None, typer.Option("--class", metavar="C", help="What IMAGE is known to be.")]
WalkSteps = Annotated[
    int | None, typer.Option("--steps", metavar="S", help="Of the walk; 200 of tds, 48 of trained, else 50.")
]
SeedOf = Annotated[int, typer.Option("--seed", metavar="K", help="The same seed gives the same draws.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="B", help="How many at once; only memory depends on it.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        metavar="DIR|FILE",
        help="DIR: a PNG of each draw, mean.png, spread.png, result.npz. FILE.png: all in one. FILE.npz, .nc: arrays.",
    ),
]


@dataclass(frozen=True)
class _Asked:
    """What both commands take beside their files."""

    method: str
    draws: int
    noise: float | None
    class_: str | None
    steps: int | None
    seed: int
    batch_size: int | None

    def __post_init__(self) -> None:
        at_least(1, n=self.draws, steps=self.steps, batch_size=self.batch_size)
        at_least(0, seed=self.seed)
        if self.noise is not None and not self.noise >= 0:
            raise ConfigError(f"--noise: expected a number >= 0, got {self.noise:g}.")


def inpaint(
    run: RunPath,
    image: Image,
    mask: Annotated[
        Path,
        typer.Option("--mask", metavar="MASK", help="An image that is bright where IMAGE is to be filled; or .npy."),
    ],
    draws: Draws = 8,
    method: FillBy = "auto",
    noise: NoiseOf = None,
    class_: ClassOf = None,
    steps: WalkSteps = None,
    seed: SeedOf = 0,
    out_: Out = None,
    batch_size: BatchSize = None,
) -> None:
    """Fill the masked pixels of IMAGE as RUN knows images; known pixels are kept as they are."""
    import numpy as np

    model = _of_images(run, "inpaint")
    target = _target(run, image, "inpainted", draws, seed, out_)
    seen, holes = _image(model, image), _mask(mask)
    shown = seen.copy()

    def draw(model: ImageDiffusion, **how: Any) -> Given:
        return model.inpaint(seen, holes, **how)

    _check_mask(seen, holes, mask)
    shown[holes] = np.asarray(_middle(model)).astype(shown.dtype)
    asked = _Asked(method, draws, noise, class_, steps, seed, batch_size)
    _drawn(run, model, draw, shown, target, "Filling", asked)


def upscale(
    run: RunPath,
    image: Image,
    factor: Annotated[
        int | None,
        typer.Option("--factor", metavar="F", help="How many times larger; found from the sizes unless given."),
    ] = None,
    draws: Draws = 8,
    method: How = "auto",
    noise: NoiseOf = None,
    class_: ClassOf = None,
    steps: WalkSteps = None,
    seed: SeedOf = 0,
    out_: Out = None,
    batch_size: BatchSize = None,
) -> None:
    """Enlarge IMAGE to the size of the images of RUN, which need not have been trained for it."""
    at_least(2, factor=factor)
    model = _of_images(run, "upscale")
    target = _target(run, image, "enlarged", draws, seed, out_)
    seen = _image(model, image)

    def draw(model: ImageDiffusion, **how: Any) -> Given:
        return model.enlarge(seen, factor, **how)

    sides = [max(1, full // max(1, small)) for full, small in zip(model.event_shape_[1:], seen.shape)]
    shown = seen.repeat(sides[0], axis=0).repeat(sides[1], axis=1)
    asked = _Asked(method, draws, noise, class_, steps, seed, batch_size)
    _drawn(run, model, draw, shown, target, "Enlarging", asked)


def impute_array(
    run: Path, model: DiffusionModel, file: Path, *, draws: int, centre: bool, seed: int, out_: Path | None
) -> None:
    """Write a .npy array with its NaN filled: a file for each draw, or all in one .npz with their mean and spread."""
    import numpy as np

    from caminito._files import write_atomic

    if file.suffix.lower() != ".npy":
        raise ConfigError(
            f"impute: expected the run of a table for {file.name}; {run} is one of images or arrays, which are filled "
            "in .npy files that hold NaN."
        )
    if centre:
        raise ConfigError("--centre: not for a run of images or arrays. Use --draws 16 -o FILE.npz: it holds the mean.")
    target = run / "samples" / f"{file.stem}_full.npy" if out_ is None else out_
    if target.suffix.lower() not in (".npy", *_ARRAYS):
        raise ConfigError(f"--out: expected a file .npy, .npz or .nc, got {target.name!r}.")
    array = _array(file)
    holes = int(np.isnan(array).sum()) if array.dtype.kind == "f" else 0
    clock = time.monotonic()
    with counted("Filling") as progress:
        found = model.impute(array, n_draws=draws, random_state=seed, progress=progress)
    seconds = time.monotonic() - clock
    if (held_as := _ARRAYS.get(target.suffix.lower())) is not None:
        write_atomic(target, held_as(found, {"run": run.resolve().name, "seed": str(seed), "method": found.method}))
        shown = str(target)
    else:
        places = [target.with_stem(f"{target.stem}_{i}") for i in range(1, draws + 1)] if draws > 1 else [target]
        for i, place in enumerate(places):
            held = io.BytesIO()
            np.save(held, np.asarray(found.draw(i)), allow_pickle=False)
            write_atomic(place, held.getvalue())
        shown = str(places[0]) if draws == 1 else f"{places[0]} to {places[-1].name}"
    out.print(f"{number(holes)} holes filled in {duration(seconds)}: {shown}", soft_wrap=True)


def _of_images(run: Path, doing: str) -> ImageDiffusion:
    from caminito.cli.sample import note_unfinished
    from caminito.estimators import ImageDiffusion

    model = network_of(run, doing)
    if not isinstance(model, ImageDiffusion):
        raise ConfigError(
            f"{doing}: expected the run of images, {run} is one of arrays. Fill those with impute and a .npy file."
        )
    note_unfinished(run, model)
    return model


def _target(run: Path, image: Path, what: str, draws: int, seed: int, out_: Path | None) -> Path:
    """Where to write, refused before anything is drawn."""
    target = run / "samples" / f"{image.stem}_{what}_n{draws}_seed{seed}" if out_ is None else out_
    if target.suffix.lower() not in ("", ".png", *_ARRAYS):
        raise ConfigError(f"--out: expected a folder or a file .png, .npz or .nc, got {target.name!r}.")
    if target.suffix == "" and target.is_file():
        raise ConfigError(f"--out {target}: expected a folder, this is a file. Give another name.")
    if target.suffix and target.is_dir():
        raise ConfigError(f"--out {target}: expected a file, this is a folder. Give another name.")
    return target


def _drawn(
    run: Path,
    model: ImageDiffusion,
    draw: Callable[..., Given],
    shown: np.ndarray,
    target: Path,
    doing: str,
    asked: _Asked,
) -> None:
    clock = time.monotonic()
    with counted(doing) as progress:
        found = draw(
            model,
            n_draws=asked.draws,
            noise=asked.noise,
            method=asked.method,
            condition=None if asked.class_ is None else {"y": [asked.class_]},
            random_state=asked.seed,
            n_steps=asked.steps,
            batch_size=asked.batch_size,
            progress=progress,
        )
    seconds = time.monotonic() - clock
    facts = {"run": run.resolve().name, "trained_steps": model.n_steps_, "seed": asked.seed}
    facts |= {"draws": asked.draws, "method": found.method or None, "noise": asked.noise}
    facts |= {"class": asked.class_, "steps": asked.steps}
    text = {name: str(value) for name, value in facts.items() if value is not None}
    _write(target, model, found, shown, text)
    by = f" by {found.method}" if found.method else ""
    told = "" if found.log_evidence is None else f", log p(seen) {found.log_evidence:.1f} nats"
    place = f"{target}{'' if target.suffix else '/'}"
    out.print(f"{asked.draws} draws{by} in {duration(seconds)}{told}: {place}", soft_wrap=True)


def _write(target: Path, model: ImageDiffusion, found: Given, shown: np.ndarray, text: dict[str, str]) -> None:
    import numpy as np

    import caminito
    from caminito import plot
    from caminito._files import write_atomic
    from caminito.estimators.picture import drawable, limits_of

    text = {"software": f"caminito {caminito.__version__}", **text}
    if (held_as := _ARRAYS.get(target.suffix.lower())) is not None:
        write_atomic(target, held_as(found, text))
        return
    limits, dtype = limits_of(model), cast(Any, model.codec_).dtype
    draws = np.asarray(found.draws)
    mean = (np.rint(found.mean) if dtype.kind in "biu" else found.mean).astype(dtype)
    if target.suffix.lower() == ".png":
        pictures = np.concatenate([shown[None].astype(dtype), draws, mean[None]])
        caption = f"First what was seen, then {len(draws)} draws, last their mean. What all draws share is settled."
        columns = min(len(pictures), max(1, _WIDE // max(64, shown.shape[1])))
        picture = plot.image_grid(
            drawable(pictures), columns, title="Given what was seen", caption=caption, limits=limits
        )
        write_atomic(target, plot.png_bytes(picture, text))
        return
    digits = max(2, len(str(len(draws))))
    named = {f"draw_{i:0{digits}}.png": item for i, item in enumerate(draws, start=1)} | {"mean.png": mean}
    for name, item in named.items():
        tile = plot.tile(drawable(item[None]), scale=1, gap=0, limits=limits)
        write_atomic(target / name, plot.png_bytes(tile, text))
    spread = plot.spread(found.std, title="What was seen leaves open", label="standard deviation of the draws")
    write_atomic(target / "spread.png", plot.png_bytes(spread, text))
    write_atomic(target / "result.npz", _npz(found, text))


def _npz(found: Given, text: dict[str, str]) -> bytes:
    import numpy as np

    arrays: dict[str, Any] = {"draws": found.array, "mean": found.mean, "std": found.std}
    if found.log_evidence is not None:
        arrays["log_evidence"] = np.asarray(found.log_evidence)
    arrays |= {f"recipe_{name}": np.asarray(value) for name, value in text.items()}
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    return held.getvalue()


def _netcdf(found: Given, text: dict[str, str]) -> bytes:
    """The same as NetCDF 3, whose dimensions are item (where there are several), draw and the axes of an item."""
    import numpy as np
    from scipy.io import netcdf_file

    draws, mean = found.array, found.mean
    own = [f"axis_{axis}" for axis in range(draws.ndim - len(found.lead))]
    lead = ["item"] if len(found.lead) == 2 else []
    parts: dict[str, tuple[list[str], Any]] = {
        "draws": ([*lead, "draw", *own], draws.astype(_classic(draws.dtype))),
        "mean": ([*lead, *own], mean),
        "std": ([*lead, *own], found.std),
    }
    if found.log_evidence is not None:
        parts["log_evidence"] = (lead, np.asarray(found.log_evidence, dtype=np.float64))
    held = io.BytesIO()
    file = netcdf_file(held, "w", version=2)
    for name, size in zip(parts["draws"][0], draws.shape):
        file.createDimension(name, size)
    for name, (axes, values) in parts.items():
        variable = file.createVariable(name, values.dtype, tuple(axes))
        variable[...] = values
    for name, value in text.items():
        setattr(file, name, value.encode())
    file.flush()
    return held.getvalue()


def _classic(dtype: np.dtype[Any]) -> str:
    """The least dtype of NetCDF 3 for all of another; it has no unsigned numbers, and of 64 bits floats alone."""
    import numpy as np

    return next((kind for kind in ("i1", "i2", "i4", "f4") if np.can_cast(dtype, kind)), "f8")


_ARRAYS: dict[str, Callable[[Given, dict[str, str]], bytes]] = {".npz": _npz, ".nc": _netcdf}


def _image(model: ImageDiffusion, file: Path) -> np.ndarray:
    """An image in the colours, layout and units of the data."""
    import numpy as np

    from caminito.data import ImageCodec, read_image

    if file.suffix.lower() == ".npy":
        return _array(file)
    codec = cast(ImageCodec, model.codec_)
    color, rank = _COLORS.get(codec.event_shape[0]), len(codec.to_dict()["item_shape"])
    if color is None:
        raise ConfigError(f"{file}: images of {codec.event_shape[0]} channels have no files. Give a .npy array.")
    image = read_image(file, color=color)
    image = image[..., None] if image.ndim < rank else image
    if image.dtype == codec.dtype or image.dtype.kind == codec.dtype.kind == "f":
        return image
    if image.dtype.kind != "u" or codec.limits is None:
        raise ConfigError(
            f"{file}: expected values of {codec.dtype}, got an image of {image.dtype}. Give a .npy array."
        )
    low, high = codec.limits
    values = low + image.astype(np.float64) * ((high - low) / np.iinfo(image.dtype).max)
    return (values if codec.quantum is None else np.rint(values)).astype(codec.dtype)


def _mask(file: Path) -> np.ndarray:
    """Where to fill: not 0 in a .npy array, at least half of full brightness in an image."""
    import numpy as np

    from caminito.data import read_image

    if file.suffix.lower() == ".npy":
        return _array(file, "--mask ") != 0
    try:
        image = read_image(file, color="grey")
    except (DataError, ConfigError) as error:
        raise ConfigError(f"--mask: {error}") from error
    full = np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1.0
    return image >= full / 2


def _check_mask(image: np.ndarray, holes: np.ndarray, file: Path) -> None:
    if holes.shape not in (image.shape, image.shape[:2]):
        sizes = [" x ".join(map(str, each.shape[:2])) for each in (image, holes)]
        raise ConfigError(
            f"--mask {file}: expected {sizes[0]} (height x width), as the image has, got {sizes[1]}. Resize it first."
        )


def _middle(model: ImageDiffusion) -> float:
    """What stands for pixels that were not seen, in pictures."""
    limits = model.codec_.limits
    return 0.0 if limits is None else (limits[0] + limits[1]) / 2


def _array(file: Path, flag: str = "") -> np.ndarray:
    import numpy as np

    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{flag}{file}: expected a file written by numpy.save ({error}).") from error
