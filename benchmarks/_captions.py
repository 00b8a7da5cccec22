"""A real caption set: one to three articles of Fashion-MNIST or digits of MNIST on a canvas, and words that say so.

Each image has four attributes: class (five articles, five digits), count (1 to 3), place (left, right, top, bottom,
centre) and size (small, large; three are small, for three large ones do not fit). A caption states all four, in one of
several forms and with synonyms. Classes that nobody tells apart at ten pixels (trousers, coats) have no part, nor has
the half of a class with unusual proportions. In one (class, count, place) of five

    3 class + count + place = 0   (mod 5)

there are no training images; every value and every pair of values has some. The parts are

    train   the other combinations, articles and digits of the published training sets
    test    the same combinations, articles and digits of the published test sets
    new     the combinations left out, articles and digits of the published test sets

A row depends on the seed, its part and its number only: more rows leave the first ones as they were.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from _common import SHARED

__all__ = ["CLASSES", "PARTS", "PLACES", "SIDE", "SIZES", "Captioned", "captioned", "left_out"]

SIDE = 32  # pixels of a canvas
PARTS = ("train", "test", "new")
PLACES = ("left", "right", "top", "bottom", "centre")
SIZES = ("small", "large")
CLASSES = ("shirt", "dress", "sneaker", "bag", "boot", "0", "2", "4", "7", "8")

_NOUNS = {  # singular and plural
    "shirt": (("shirt", "shirts"), ("T-shirt", "T-shirts")),
    "dress": (("dress", "dresses"), ("gown", "gowns")),
    "sneaker": (("sneaker", "sneakers"), ("running shoe", "running shoes")),
    "bag": (("bag", "bags"), ("handbag", "handbags")),
    "boot": (("boot", "boots"), ("ankle boot", "ankle boots")),
    **{digit: ((digit, f"{digit}s"), (f"number {digit}", f"number {digit}s")) for digit in "02478"},
}
_FASHION = {"shirt": 0, "dress": 3, "sneaker": 7, "bag": 8, "boot": 9}
_SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big")}
_PLACE_WORDS = {
    "left": ("on the left", "at the left"),
    "right": ("on the right", "at the right"),
    "top": ("at the top", "near the top"),
    "bottom": ("at the bottom", "near the bottom"),
    "centre": ("in the centre", "in the middle"),
}
_FORMS = (
    "{count} {size} {noun} {place}",
    "{place}, {count} {size} {noun}",
    "{are} {count} {size} {noun} {place}",
    "{place} {are} {count} {size} {noun}",
    "{count} {noun} {place}, {size}",
    "a picture of {count} {size} {noun} {place}",
)
_INK = 30  # a pixel brighter than this belongs to an article
_PIXELS = {"small": 10, "large": 15}  # longer side of an article: three small ones or two large ones fit


@dataclass(frozen=True)
class Captioned:
    """Images with their captions.

    Attributes
    ----------
    images : uint8 array (n, 32, 32)
    captions : list of str
    attributes : mapping of str to array (n,)
        `class`, `place` and `size` in words, `count` as integers.
    split : array (n,)
        "train", "test" or "new".
    """

    images: np.ndarray
    captions: list[str]
    attributes: Mapping[str, np.ndarray]
    split: np.ndarray

    def part(self, name: str) -> Captioned:
        """The rows of one part."""
        rows = np.flatnonzero(self.split == name)
        return Captioned(
            self.images[rows],
            [self.captions[row] for row in rows],
            {key: values[rows] for key, values in self.attributes.items()},
            self.split[rows],
        )


def left_out(kind: str, count: int, place: str) -> bool:
    """Whether no training image has this class, count and place together."""
    return (3 * CLASSES.index(kind) + count + PLACES.index(place)) % 5 == 0


def captioned(n_train: int, n_test: int, n_new: int, *, seed: int = 0) -> Captioned:
    """Images, captions and attributes: so many rows of each part, in that order."""
    combinations = [(kind, count, place) for kind in CLASSES for count in (1, 2, 3) for place in PLACES]
    images, captions, rows, split = [], [], [], []
    for number, (part, n) in enumerate(zip(PARTS, (n_train, n_test, n_new))):
        allowed = [each for each in combinations if left_out(*each) == (part == "new")]
        pool = _items("train" if part == "train" else "test")
        for row in range(n):
            rng = np.random.default_rng((seed, number, row))
            kind, count, place = allowed[rng.integers(len(allowed))]
            size = "small" if count == 3 else SIZES[rng.integers(2)]
            images.append(_canvas(rng, pool[kind], count, place, size))
            captions.append(_caption(rng, kind, count, place, size))
            rows.append((kind, count, place, size))
        split += [part] * n
    kinds, counts, places, sizes = zip(*rows) if rows else ((), (), (), ())
    attributes = {
        "class": np.array(kinds, dtype=str),
        "count": np.array(counts, dtype=np.int64),
        "place": np.array(places, dtype=str),
        "size": np.array(sizes, dtype=str),
    }
    stacked = np.stack(images) if images else np.zeros((0, SIDE, SIDE), np.uint8)
    return Captioned(stacked, captions, attributes, np.array(split, dtype=str))


@cache
def _items(part: str) -> dict[str, np.ndarray]:
    """Images of each class, uint8 (n, 28, 28)."""
    with np.load(SHARED / "mnist" / f"{part}.npz") as digits:
        x, y = digits["x"], digits["y"]
    published = "train" if part == "train" else "t10k"
    articles = _idx(f"{published}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    names = _idx(f"{published}-labels-idx1-ubyte.gz", 8)
    return {
        kind: _usual(articles[names == _FASHION[kind]] if kind in _FASHION else x[y == int(kind)]) for kind in CLASSES
    }


def _idx(name: str, header: int) -> np.ndarray:
    """The bytes of a published file after its header."""
    return np.frombuffer(gzip.decompress((SHARED / "fashion_mnist" / name).read_bytes()), np.uint8)[header:]


def _usual(images: np.ndarray) -> np.ndarray:
    """The half of a class whose proportions are nearest to its median."""
    inked = images > _INK
    proportions = np.log(inked.any(2).sum(1) / inked.any(1).sum(1))
    distance = np.abs(proportions - np.median(proportions))
    return images[distance <= np.median(distance)]


def _canvas(rng: np.random.Generator, pool: np.ndarray, count: int, place: str, size: str) -> np.ndarray:
    """Articles side by side, or below each other at the left and right, as one group at its place."""
    articles = [_fitted(pool[rng.integers(len(pool))], _PIXELS[size]) for _ in range(count)]
    along = 0 if place in ("left", "right") else 1  # the axis in which they follow each other
    lengths = [article.shape[along] for article in articles]
    free = SIDE - sum(lengths)
    gap = int(rng.integers(1, 3)) if free >= 2 * (count - 1) + 1 else 1
    start = (free - gap * (count - 1)) // 2 + int(rng.integers(-1, 2))
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    for article, length in zip(articles, lengths):
        across = SIDE - article.shape[1 - along]
        if place in ("left", "top"):
            offset = int(rng.integers(0, 3))
        elif place in ("right", "bottom"):
            offset = across - int(rng.integers(0, 3))
        else:
            offset = across // 2 + int(rng.integers(-1, 2))
        start, offset = int(np.clip(start, 0, SIDE - length)), int(np.clip(offset, 0, across))
        corner = (start, offset) if along == 0 else (offset, start)
        window = canvas[corner[0] : corner[0] + article.shape[0], corner[1] : corner[1] + article.shape[1]]
        np.maximum(window, article, out=window)
        start += length + gap
    return canvas


def _fitted(image: np.ndarray, longest: int) -> np.ndarray:
    """An article without its margins, its longer side `longest` pixels, as bright as before."""
    rows, columns = (np.flatnonzero((image > _INK).any(axis)) for axis in (1, 0))
    found = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = longest / max(found.shape)
    height, width = (max(1, round(length * scale)) for length in found.shape)
    small = np.asarray(Image.fromarray(found).resize((width, height), Image.Resampling.LANCZOS)).astype(np.float64)
    return np.rint(small * (255 / max(small.max(), 1))).astype(np.uint8)


def _caption(rng: np.random.Generator, kind: str, count: int, place: str, size: str) -> str:
    """A sentence that states the four attributes."""

    def one(choices: tuple) -> str:
        return choices[rng.integers(len(choices))]

    words = {
        "size": one(_SIZE_WORDS[size]),
        "noun": one(_NOUNS[kind])[count > 1],
        "place": one(_PLACE_WORDS[place]),
        "are": "there is" if count == 1 else "there are",
        "count": one((("a", "one"), ("two",), ("three",))[count - 1]),
    }
    text = one(_FORMS).format(**words).split()
    return " ".join(
        "an" if word == "a" and after[0] in "aeiou" else word for word, after in zip(text, [*text[1:], "."])
    )
