"""The suggested networks follow their rule and fit their events."""

from __future__ import annotations

import json
import math

import pytest
import torch

from caminito._errors import ShapeError
from caminito.nn import build, suggest

EVENTS = [
    (2,),
    (20,),
    (100,),
    (1, 1),
    (3, 50),
    (1, 8, 8),
    (1, 28, 28),
    (3, 32, 32),
    (4, 5, 90),
    (1, 200, 200),
    (2, 9, 9, 3),
]


@pytest.mark.parametrize("shape", EVENTS, ids=str)
def test_suggested_network_can_be_built_stored_and_run(shape: tuple[int, ...]) -> None:
    network = build(json.loads(json.dumps(suggest(shape, 500))))
    assert network(torch.ones(1, *shape), torch.zeros(1)).shape == (1, *shape)


@pytest.mark.parametrize("shape", [s for s in EVENTS if len(s) > 1], ids=str)
def test_coarsest_grid_is_small_and_attends(shape: tuple[int, ...]) -> None:
    options = suggest(shape, 500)
    stride = options["patch"] * 2 ** (len(options["multipliers"]) - 1)
    assert math.ceil(max(shape[1:]) / stride) <= 8
    assert options["attention"] == [len(options["multipliers"]) - 1]


@pytest.mark.parametrize("width", [20, 48])
def test_a_width_of_ones_own_fits_what_else_is_suggested(width: int) -> None:
    network = build(suggest((1, 20, 20), 500) | {"width": width})
    assert network(torch.ones(1, 1, 20, 20), torch.zeros(1)).shape == (1, 1, 20, 20)


def test_few_rows_of_numbers_take_half_the_width() -> None:
    assert 2 * suggest((5,), 499)["width"] == suggest((5,), 500)["width"]


@pytest.mark.parametrize("shape", [(), (1, 0), (1, 2, 3, 4, 5)])
def test_events_without_a_network_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="one to three axes"):
        suggest(shape, 10)
