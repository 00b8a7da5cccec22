"""Pictures of images are exact to the pixel, and carry their recipe."""

import io

import numpy as np
import pytest
from PIL import Image

from caminito._errors import ConfigError, DataError, NonFiniteError, ShapeError
from caminito.plot import film_strip, image_grid, nearest, png_bytes, read_recipe, tile


def grey(n, height=3, width=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width), dtype=np.uint8)


def pixels(figure):
    """What a figure shows, as stored."""
    return np.asarray(Image.open(io.BytesIO(png_bytes(figure))).convert("RGB"))


def holds(picture, part):
    """Whether `part`, grey, occurs in `picture` at some place, value for value."""
    down, across = (whole - piece + 1 for whole, piece in zip(picture.shape, part.shape))
    here = np.ones((down, across), dtype=bool)
    for i, j in np.random.default_rng(0).integers(0, part.shape, (40, 2)):
        here &= picture[i : i + down, j : j + across, 0] == part[i, j]
    height, width = part.shape
    return any(np.array_equal(picture[i : i + height, j : j + width, 0], part) for i, j in np.argwhere(here))


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_every_image_lies_where_the_formula_says_enlarged_by_whole_pixels(channels):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (7, 3, 5, *channels), dtype=np.uint8)
    scale, gap, columns = 4, 2, 3
    canvas = tile(images, columns=columns, scale=scale, gap=gap)
    seen = np.zeros(canvas.shape[:2], dtype=bool)
    for i, image in enumerate(images):
        top, left = gap + (i // columns) * (3 * scale + gap), gap + (i % columns) * (5 * scale + gap)
        block = canvas[top : top + 3 * scale, left : left + 5 * scale]
        expected = image[..., 0] if channels == (1,) else image
        assert np.array_equal(block[::scale, ::scale], expected)
        assert np.array_equal(block, np.kron(expected, np.ones((scale, scale, *(1,) * (expected.ndim - 2)), np.uint8)))
        seen[top : top + 3 * scale, left : left + 5 * scale] = True
    assert canvas.shape[:2] == (3 * (3 * scale + gap) + gap, columns * (5 * scale + gap) + gap)
    assert (canvas[~seen] == 255).all()


def test_small_images_are_enlarged_to_be_seen_and_large_ones_are_not():
    assert tile(grey(1, 8, 8), gap=0).shape == (64, 64)
    assert tile(grey(1, 100, 80), gap=0).shape == (100, 80)


def test_grey_levels_map_the_limits_to_black_and_white_and_clip_what_lies_outside():
    values = np.array([[[-1.0, 0.0, 1.0, 3.0, -5.0]]])
    assert tile(values, scale=1, gap=0, limits=(-1, 1)).tolist() == [[0, 128, 255, 255, 0]]
    assert tile(values, scale=1, gap=0).tolist() == [[128, 159, 191, 255, 0]]  # 255 (v + 5) / 8
    assert tile(np.array([[[0, 65535, 257]]], dtype=np.uint16), scale=1, gap=0).tolist() == [[0, 255, 1]]
    assert tile(np.array([[[False, True]]]), scale=1, gap=0).tolist() == [[0, 255]]


def test_a_saved_grid_shows_the_tile_pixel_for_pixel():
    images = grey(5, 8, 8)
    picture = pixels(image_grid(images, 3, title="Five images", row_labels=["a", "b"]))
    assert holds(picture, tile(images, columns=3, gap=3))


def test_a_film_has_a_row_per_sample_and_runs_from_the_first_frame_to_the_last():
    frames = np.stack([grey(2, 8, 8, seed=step) for step in range(30)])
    picture = pixels(film_strip(frames, np.linspace(1, 0, 30), columns=3))
    chosen = [0, 14, 29]  # evenly spaced in 0 .. 29
    across = np.concatenate([frames[chosen, 0], frames[chosen, 1]])
    assert holds(picture, tile(across, columns=3, gap=3))


def test_noise_in_a_film_is_clipped_to_the_range_of_the_data():
    frames = np.stack([np.full((1, 8, 8), -7.0), np.linspace(0, 1, 64).reshape(1, 8, 8)])
    assert holds(pixels(film_strip(frames, [1.0, 0.0])), tile(frames[:, 0], columns=2, gap=3, limits=(0, 1)))


def test_each_sample_stands_above_its_neighbour():
    samples, neighbours = grey(3, 8, 8), grey(3, 8, 8, seed=1)
    picture = pixels(nearest(samples, neighbours, distances=[1.0, 2.0, 3.0], columns=2))
    for first in (slice(0, 2), slice(2, 3)):
        columns = first.stop - first.start
        pair = np.concatenate([samples[first], neighbours[first]])
        assert holds(picture, tile(pair, columns=columns, gap=3))


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4)])
def test_a_png_gives_back_its_pixels_and_its_recipe(tmp_path, shape):
    picture = np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)
    recipe = {"caminito": "0.1.0", "seed": "7", "solver": "Heun", "note": "año, 时间, 🙂\nsecond line", "empty": ""}
    path = tmp_path / "picture.png"
    path.write_bytes(png_bytes(picture, recipe))
    assert read_recipe(path) == recipe
    assert np.array_equal(np.asarray(Image.open(path)), picture[..., 0] if shape[2:] == (1,) else picture)
    assert png_bytes(picture, recipe) == path.read_bytes()


def test_a_figure_carries_its_recipe_and_nothing_else(tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(png_bytes(image_grid(grey(2)), {"run": "digits"}))
    assert read_recipe(path) == {"run": "digits"}
    path.write_bytes(png_bytes(grey(1)[0]))
    assert read_recipe(path) == {}


def test_what_is_no_png_is_refused(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("not a picture")
    with pytest.raises(DataError, match=r"notes\.png: expected a readable PNG"):
        read_recipe(path)
    with pytest.raises(DataError, match="readable PNG"):
        read_recipe(tmp_path / "absent.png")
    path.write_bytes(png_bytes(grey(1, 64, 64)[0])[:300])
    with pytest.raises(DataError, match="readable PNG"):
        read_recipe(path)
    with pytest.raises(DataError, match="79 Latin-1"):
        png_bytes(grey(1)[0], {"": "x"})
    with pytest.raises(DataError, match="expected uint8"):
        png_bytes(np.zeros((3, 3)))


def test_what_is_no_image_is_refused_with_the_remedy():
    with pytest.raises(ShapeError, match=r"got \(2, 3, 8, 8\).*moveaxis"):
        tile(np.zeros((2, 3, 8, 8)))
    with pytest.raises(NonFiniteError, match="1 NaN"):
        tile(np.array([[[0.0, np.nan]]]))
    with pytest.raises(DataError, match="dtype <U1"):
        tile(np.array([[["a"]]]))
    with pytest.raises(ConfigError, match="columns >= 1"):
        tile(grey(2), columns=0)
    with pytest.raises(ConfigError, match="low < high"):
        tile(grey(2), limits=(1, 1))
    with pytest.raises(ShapeError, match="one time per step"):
        film_strip(np.zeros((3, 2, 8, 8)), [0.0, 1.0])
    with pytest.raises(ShapeError, match="one neighbour"):
        nearest(grey(2), grey(3))
    with pytest.raises(ShapeError, match="row_labels: expected 2"):
        image_grid(grey(4), 2, row_labels=["one"])
