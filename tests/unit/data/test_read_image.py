"""`read_image` gives one file as `open_source` gives each of a folder, and says why it cannot."""

import numpy as np
import pytest
from PIL import ExifTags, Image

from caminito.data import open_source, read_image
from caminito.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 4)])
def test_it_reads_what_a_folder_of_such_images_holds(tmp_path, shape):
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    for i in range(2):
        Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / f"{i}.png", exif=turned)
    found = [read_image(tmp_path / f"{i}.png") for i in range(2)]
    assert found[0].shape == (4, 5, *shape[2:])
    assert np.array_equal(found, open_source(tmp_path).items)


def test_a_colour_that_is_named_is_what_comes_back(tmp_path):
    grey = RNG.integers(0, 256, (3, 2), dtype=np.uint8)
    Image.fromarray(grey).convert("RGBA").save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (3, 2, 4)
    assert np.array_equal(read_image(tmp_path / "a.png", color="grey"), grey)
    assert np.array_equal(read_image(tmp_path / "a.png", color="rgb"), np.repeat(grey[..., None], 3, axis=2))
    deep = grey.astype(np.uint16) * 200
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png").dtype == np.uint16
    assert np.array_equal(read_image(tmp_path / "deep.png"), deep)
    with pytest.raises(ConfigError, match="images of uint16 are greyscale"):
        read_image(tmp_path / "deep.png", color="rgb")
    with pytest.raises(ConfigError, match="color: expected 'auto'"):
        read_image(tmp_path / "a.png", color="blue")


def test_what_cannot_be_read_says_why(tmp_path):
    Image.fromarray(RNG.integers(0, 256, (30, 20, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "words.png").write_text("words")
    for name, reason in {
        "nowhere.png": "there is nothing at this path",
        "cut.png": "damaged or cut",
        "words.png": "not an image, whatever its name says",
        "": r"not a file",
    }.items():
        with pytest.raises(DataError, match=reason):
            read_image(tmp_path / name)
    with pytest.raises(DataError, match="30x20 = 600 pixels, more than the 500 allowed; not decoded"):
        read_image(tmp_path / "a.png", max_pixels=500)
