"""The caption set of the benchmarks: its words say what its images show."""

from __future__ import annotations

import importlib
import itertools
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from caminito.data import HashingText

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("_captions")


@pytest.fixture(scope="module")
def data(module: ModuleType) -> Any:
    if not (module.SHARED / "fashion_mnist").is_dir():
        pytest.skip("../shared/data/fashion_mnist is not there")
    return module.captioned(300, 60, 60, seed=3)


def test_every_pair_of_values_is_in_training_and_a_fifth_of_the_triples_is_not(module: ModuleType) -> None:
    triples = list(itertools.product(module.CLASSES, (1, 2, 3), module.PLACES))
    seen = [triple for triple in triples if not module.left_out(*triple)]
    assert len(triples) - len(seen) == len(triples) // 5
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert {(t[a], t[b]) for t in seen} == {(t[a], t[b]) for t in triples}


@pytest.mark.parametrize("place", ["left", "right", "top", "bottom", "centre"])
@pytest.mark.parametrize(("count", "size"), [(1, "small"), (2, "small"), (3, "small"), (1, "large"), (2, "large")])
def test_articles_lie_at_their_place_without_overlap(place: str, count: int, size: str, module: ModuleType) -> None:
    square = np.full((1, 28, 28), 255, np.uint8)
    for seed in range(20):
        canvas = module._canvas(np.random.default_rng(seed), square, count, place, size)
        assert (canvas > 0).sum() == count * module._PIXELS[size] ** 2
        rows, columns = (np.flatnonzero(canvas.any(axis)) for axis in (1, 0))
        down, right = rows.mean() - 15.5, columns.mean() - 15.5  # of the group's middle from the canvas's
        toward = {"left": -right, "right": right, "top": -down, "bottom": down, "centre": 0}[place]
        aside = {"left": down, "right": down, "top": right, "bottom": right}.get(place, max(abs(down), abs(right)))
        assert abs(aside) <= 2
        assert place == "centre" or toward >= 5.5


def test_captions_state_all_four_attributes_and_nothing_else(module: ModuleType, data: Any) -> None:
    counts = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3}
    sizes = {word: size for size, words in module._SIZE_WORDS.items() for word in words}
    for row, caption in enumerate(data.captions):
        text = caption.removeprefix("a picture of ").replace(",", "")
        place = [p for p, phrases in module._PLACE_WORDS.items() if any(phrase in text for phrase in phrases)]
        rest = re.sub("|".join(phrase for phrases in module._PLACE_WORDS.values() for phrase in phrases), "", text)
        words = re.sub("there (is|are)", "", rest).split()
        count = [counts[word] for word in words if word in counts]
        size = [sizes[word] for word in words if word in sizes]
        noun = " ".join(word for word in words if word not in counts and word not in sizes)
        kind = [k for k, nouns in module._NOUNS.items() if any(noun == pair[count[0] > 1] for pair in nouns)]
        found = {"class": kind, "count": count, "place": place, "size": size}
        assert found == {key: [values[row]] for key, values in data.attributes.items()}, caption


def test_parts_hold_their_combinations(module: ModuleType, data: Any) -> None:
    kinds, counts, places = (data.attributes[key] for key in ("class", "count", "place"))
    out = np.array([module.left_out(*triple) for triple in zip(kinds, counts, places)])
    assert np.array_equal(out, data.split == "new")
    assert [int((data.split == part).sum()) for part in module.PARTS] == [300, 60, 60]
    new = data.part("new")
    assert len(new.captions) == len(new.images) == 60 and set(new.split) == {"new"}
    assert np.array_equal(new.images, data.images[360:]) and new.captions == data.captions[360:]


def test_a_row_depends_on_seed_part_and_number_only(module: ModuleType, data: Any) -> None:
    again = module.captioned(20, 5, 0, seed=3)
    assert np.array_equal(again.part("train").images, data.images[:20]) and again.captions[:20] == data.captions[:20]
    assert np.array_equal(again.part("test").images, data.images[300:305])
    assert module.captioned(20, 0, 0, seed=4).captions != data.captions[:20]


def test_images_are_bright_bytes_of_one_size_and_captions_fit_the_default_encoder(data: Any) -> None:
    assert data.images.dtype == np.uint8 and data.images.shape == (420, 32, 32)
    assert data.images.reshape(420, -1).max(1).min() == 255
    words = [len(HashingText().words(caption)) for caption in data.captions]
    assert min(words) >= 5 and max(words) <= HashingText().length
