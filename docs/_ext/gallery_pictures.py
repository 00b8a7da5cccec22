"""Pictures of the gallery: every figure that an example draws with `caminito.plot`, on white and on dark paper.

While an example runs, the functions of `caminito.plot` note how each picture was made. After a block, what it drew is
drawn once more under the dark theme, and the page shows the one that suits the reader's. The index does the same with
thumbnails, which leave out the heading.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.transforms import SphinxTransform

_THEMES = ("light", "dark")
_THUMB = (400, 280)
_INCH = 100  # CSS pixels that an inch of a figure takes on a page


class _Drawn(NamedTuple):
    """A picture, and a call that makes it again."""

    picture: Any
    again: Callable[[], Any]


_functions: dict[str, Callable[..., Any]] = {}  # those of caminito.plot, while they are replaced
_made: list[_Drawn] = []


def note(gallery_conf: dict[str, Any], name: str, when: str) -> None:
    """Let the functions of `caminito.plot` note what they draw while an example runs."""
    from caminito import plot

    for known, function in _functions.items():
        setattr(plot, known, function)
    _functions.clear()
    _made.clear()
    if when == "before":
        for known in set(plot.__all__) - {"theme", "read_recipe"}:
            _functions[known] = getattr(plot, known)
            setattr(plot, known, _noting(_functions[known]))


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """The pictures of a block as reStructuredText; every figure, and moving pictures as they are."""
    from matplotlib.figure import Figure

    from caminito.plot import theme

    drawn, shown = list(_made), []
    _made.clear()
    for each in drawn:
        moves = isinstance(each.picture, bytes) and each.picture.startswith(b"GIF8")
        if not moves and not isinstance(each.picture, Figure):
            continue
        place = Path(next(block_vars["image_path_iterator"]))
        place.parent.mkdir(parents=True, exist_ok=True)
        for name in _THEMES:
            with theme(name):  # type: ignore[arg-type]
                picture = each.picture if name == "light" else each.again()
            path = place.with_name(f"{place.stem}_{name}{'.gif' if moves else '.png'}")
            path.write_bytes(picture if moves else _png(picture))
            shown.append(_image(path, name, each.picture, gallery_conf))
            if name == "light":
                place.with_suffix(path.suffix).write_bytes(path.read_bytes())  # where sphinx-gallery looks for it
            if place.stem.endswith("_001"):
                thumb = place.parent / "thumb" / f"{place.stem.removesuffix('_001')}_thumb_{name}.png"
                thumb.parent.mkdir(exist_ok=True)
                thumb.write_bytes(_thumbnail(path, picture))
    return "\n".join(shown)


class Thumbnails(SphinxTransform):
    """Each thumbnail on both papers."""

    default_priority = 10

    def apply(self, **kwargs: Any) -> None:
        """Put the two in the place of the one."""
        for image in list(self.document.findall(nodes.image)):
            path = PurePosixPath(image["uri"])
            found = [path.with_name(f"{path.stem}_{name}.png") for name in _THEMES]
            if path.stem.endswith("_thumb") and all(
                (Path(self.app.srcdir) / str(f).lstrip("/")).exists() for f in found
            ):
                image.replace_self(
                    [nodes.image(uri=str(f), classes=[f"only-{n}"], alt="") for f, n in zip(found, _THEMES)]
                )


def _noting(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def noted(*args: Any, **options: Any) -> Any:
        earlier = list(_made)
        picture = function(*args, **options)

        def again() -> Any:
            fresh = [_again(argument, earlier) for argument in args]
            return function(*fresh, **{name: _again(argument, earlier) for name, argument in options.items()})

        _made[:] = [each for each in _made if not any(each.picture is used for used in args)]
        _made.append(_Drawn(picture, again))
        return picture

    return noted


def _again(argument: Any, earlier: list[_Drawn]) -> Any:
    """What was drawn before and is now used in a picture has to be drawn again too."""
    return next((each.again() for each in earlier if each.picture is argument), argument)


def _png(figure: Any) -> bytes:
    from caminito.plot.png import png_bytes

    return png_bytes(figure)


def _image(path: Path, name: str, picture: Any, gallery_conf: dict[str, Any]) -> str:
    from PIL import Image

    with Image.open(path) as image:
        width = round(image.width * _INCH / getattr(picture, "dpi", 144))
    alt = " ".join(text.get_text() for text in getattr(picture, "texts", ())).replace("$", "").replace("\\", "")
    source = PurePosixPath("/", path.relative_to(gallery_conf["src_dir"]).as_posix())
    options = {"class": f"only-{name} picture", "width": f"{width}px", "alt": " ".join(alt.split())}
    return "\n".join(["", f".. image:: {source}", *(f"   :{key}: {value}" for key, value in options.items()), ""])


def _thumbnail(path: Path, picture: Any) -> bytes:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        whole = image.convert("RGB")
    engine = getattr(picture, "get_layout_engine", lambda: None)()
    share = engine.get()["rect"][3] if engine is not None else 1.0
    below = whole.crop((0, round((1 - share) * whole.height), whole.width, whole.height))
    out = io.BytesIO()
    ImageOps.pad(below, _THUMB, color=whole.getpixel((0, 0))).save(out, format="PNG")
    return out.getvalue()


def setup(app: Any) -> dict[str, Any]:
    """Add the thumbnails; the rest is named in `sphinx_gallery_conf`."""
    app.add_transform(Thumbnails)
    return {"version": "1", "parallel_read_safe": True}
