"""Borders, patches and resampling of grids."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from caminito._errors import ConfigError
from caminito.nn.grid import GridConv, borders, depth_to_space, pad_to_multiple, space_to_depth

NUMPY_MODE = {"zero": "constant", "reflect": "reflect", "circular": "wrap"}


@pytest.mark.parametrize("first", NUMPY_MODE)
@pytest.mark.parametrize("second", NUMPY_MODE)
def test_convolution_sees_each_axis_continued_by_its_border(
    first: str, second: str, draw: Callable[..., Tensor]
) -> None:
    import numpy as np

    conv = GridConv(2, 3, (first, second)).double()
    x = draw(2, 2, 4, 5).double()
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (0, 0)), mode=NUMPY_MODE[first])
    padded = np.pad(padded, ((0, 0), (0, 0), (0, 0), (1, 1)), mode=NUMPY_MODE[second])
    expected = functional.conv2d(torch.from_numpy(padded), conv.conv.weight, conv.conv.bias)
    torch.testing.assert_close(conv(x), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("border", NUMPY_MODE)
@pytest.mark.parametrize("length", [1, 2, 3, 5, 8])
def test_extension_continues_the_grid_by_its_border(border: str, length: int, draw: Callable[..., Tensor]) -> None:
    import numpy as np

    x = draw(1, 1, length, 8)
    out, begins = pad_to_multiple(x, (border, border), 8)
    missing = -length % 8
    width = ((0, 0), (0, 0), (missing // 2, missing - missing // 2), (0, 0))
    expected = np.pad(x.numpy(), width, mode=NUMPY_MODE[border])
    assert torch.equal(out, torch.from_numpy(expected))
    assert torch.equal(out.narrow(2, begins[0], length), x)


@pytest.mark.parametrize("border", NUMPY_MODE)
def test_a_single_point_may_be_convolved(border: str) -> None:
    conv = GridConv(1, 1, (border, border))
    assert torch.isfinite(conv(torch.ones(1, 1, 1, 1))).all()


@pytest.mark.parametrize(("patch", "grid"), [((1, 4), (1, 8)), ((2, 2), (4, 6)), ((2, 2, 2), (4, 2, 6))])
def test_depth_to_space_undoes_space_to_depth(
    patch: tuple[int, ...], grid: tuple[int, ...], draw: Callable[..., Tensor]
) -> None:
    x = draw(2, 3, *grid)
    assert torch.equal(depth_to_space(space_to_depth(x, patch), patch), x)


def test_space_to_depth_is_pixel_unshuffle_with_channels_last(draw: Callable[..., Tensor]) -> None:
    x = draw(2, 3, 4, 6)
    out = space_to_depth(x, (2, 2))
    assert torch.equal(out, functional.pixel_unshuffle(x, 2))
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("padding", ["mirror", ("zero",), ("zero", "wrap")])
def test_unknown_borders_are_refused(padding: object) -> None:
    with pytest.raises(ConfigError, match="zero, reflect, circular"):
        borders(padding, 2)
