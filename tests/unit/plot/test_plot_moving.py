"""Pictures that move: as many frames as steps, one palette, the last one held, the same bytes again."""

import io

import numpy as np
import pytest
from PIL import Image

from caminito import plot
from caminito.errors import ConfigError, DataError, ShapeError

FRAMES = [np.full((6, 8, 3), 40 * k, dtype=np.uint8) for k in range(5)]
PATHS = np.random.default_rng(0).normal(size=(4, 7, 2))


def opened(content):
    image = Image.open(io.BytesIO(content))
    assert image.format == "GIF"
    return image


def test_frames_come_back_in_order_and_the_last_is_held():
    image = opened(plot.gif_bytes(FRAMES, fps=10, hold=2))
    assert image.n_frames == 5 and image.info["loop"] == 0
    durations = []
    for k, frame in enumerate(FRAMES):
        image.seek(k)
        assert np.array_equal(np.asarray(image.convert("RGB")), frame)
        durations.append(image.info["duration"])
    assert durations == [100, 100, 100, 100, 2100]
    assert "loop" not in opened(plot.gif_bytes(FRAMES, loop=False)).info


def test_the_same_frames_give_the_same_bytes():
    assert plot.gif_bytes(FRAMES) == plot.gif_bytes(FRAMES)
    assert plot.moving_paths(PATHS) == plot.moving_paths(PATHS)


@pytest.mark.parametrize("paths", [PATHS, PATHS[..., 0], PATHS[..., :1]])
def test_paths_have_a_frame_for_each_step_and_move(paths):
    image = opened(plot.moving_paths(paths, np.arange(4.0)[::-1]))
    assert image.n_frames == 4
    first = np.asarray(image.convert("RGB"))
    image.seek(3)
    assert (np.asarray(image.convert("RGB")) != first).any()


def test_images_are_tiles_of_each_step():
    films = np.random.default_rng(0).integers(0, 255, (3, 4, 8, 8)).astype(np.uint8)
    image = opened(plot.moving_images(films, columns=4))
    image.seek(2)
    shown = np.asarray(image.convert("RGB"))[..., 0]
    assert np.array_equal(shown, plot.tile(films[2], columns=4))


def test_the_paper_keeps_its_colour():
    for theme, paper in (("light", 255), ("dark", 0x17)):
        with plot.theme(theme):
            image = opened(plot.moving_paths(PATHS))
        image.seek(2)
        assert np.asarray(image.convert("RGB"))[0, 0].tolist() == [paper] * 3


def test_what_does_not_move_is_refused():
    with pytest.raises(DataError, match="at least one"):
        plot.gif_bytes([])
    with pytest.raises(ShapeError, match="one size"):
        plot.gif_bytes([FRAMES[0], FRAMES[0][:3]])
    with pytest.raises(DataError, match="uint8"):
        plot.gif_bytes([FRAMES[0].astype(float)])
    with pytest.raises(ConfigError, match="fps"):
        plot.gif_bytes(FRAMES, fps=0)
    with pytest.raises(ShapeError, match="times"):
        plot.moving_paths(PATHS, [1.0, 0.0])
    with pytest.raises(DataError, match="finite"):
        plot.moving_paths(PATHS * np.nan)
    with pytest.raises(ShapeError, match="frames"):
        plot.moving_images(np.zeros((3, 8, 8)))
