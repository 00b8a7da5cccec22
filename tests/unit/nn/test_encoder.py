"""The classifier of grids: identities that hold for any weights, and one for fresh ones."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from caminito._errors import ConfigError, ShapeError
from caminito.nn import GridClassifier, build, classifier_options, suggest

SMALL: dict[str, Any] = {"width": 16, "multipliers": (1, 2), "attention": (1,), "head_size": 16}
ODD = [(1, (7,)), (2, (5, 7)), (2, (1, 9)), (3, (3, 5, 2))]
EVENTS = [(2,), (100,), (1, 1), (3, 50), (1, 8, 8), (1, 28, 28), (3, 32, 32), (4, 5, 90), (1, 200, 200), (2, 9, 9, 3)]
Wake = Callable[[nn.Module], nn.Module]
Draw = Callable[..., Tensor]


@pytest.mark.parametrize("variant", [{}, {"resample": "conv"}, {"patch": 2}])
def test_to_a_new_network_all_classes_are_equally_likely(variant: dict, draw: Draw) -> None:
    network = GridClassifier(2, 3, 5, **SMALL, **variant)
    assert torch.equal(network(draw(2, 3, 8, 8), draw(2)), torch.zeros(2, 5))


@pytest.mark.parametrize(("dims", "grid"), ODD)
@pytest.mark.parametrize("variant", [{}, {"resample": "conv", "patch": 2}, {"padding": "circular", "patch": 4}])
def test_gradient_reaches_every_parameter_on_a_grid_of_any_size(
    dims: int, grid: tuple[int, ...], variant: dict, draw: Draw, wake: Wake
) -> None:
    network = wake(GridClassifier(dims, 2, 3, **SMALL, **variant))
    logits = network(draw(2, 2, *grid), draw(2))
    assert logits.shape == (2, 3)
    logits.square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize(("dims", "grid"), [(1, (12,)), (2, (8, 12)), (3, (4, 8, 4))])
@pytest.mark.parametrize("variant", [{}, {"patch": 2}, {"resample": "conv"}])
def test_on_a_circle_items_rolled_by_the_stride_have_the_same_logits(
    dims: int, grid: tuple[int, ...], variant: dict, draw: Draw, wake: Wake
) -> None:
    network = wake(GridClassifier(dims, 1, 3, **SMALL, **variant, padding="circular")).double()
    x, label = draw(2, 1, *grid).double(), draw(2).double()
    rolled = torch.roll(x, [network.stride] * dims, list(range(2, 2 + dims)))
    # the label's waves are float32 in both; the rest is float64
    torch.testing.assert_close(network(rolled, label), network(x, label), atol=1e-10, rtol=1e-10)
    assert (network(draw(2, 1, *grid).double(), label) - network(x, label)).abs().max() > 1e-3


def test_rows_are_independent_and_told_their_noise(draw: Draw, wake: Wake) -> None:
    network = wake(GridClassifier(2, 1, 3, **SMALL))
    x, label = draw(4, 1, 6, 7), draw(4)
    whole = network(x, label)
    for i in range(4):
        torch.testing.assert_close(network(x[i : i + 1], label[i : i + 1])[0], whole[i], atol=1e-5, rtol=1e-5)
    assert (network(x, label + 0.5) - whole).abs().min() > 1e-5


def test_logits_come_in_the_dtype_of_x_whatever_the_network_computes_in(draw: Draw, wake: Wake) -> None:
    network = wake(GridClassifier(2, 1, 3, **SMALL))
    x, label = draw(4, 1, 8, 8), draw(4)
    with torch.autocast("cpu", torch.bfloat16):
        low = network(x, label)
    assert low.dtype == torch.float32
    # rounded to bfloat16 they would be their own rounding
    assert not torch.equal(low, low.bfloat16().float())


@pytest.mark.parametrize("shape", EVENTS, ids=str)
def test_suggested_classifier_can_be_built_stored_and_run(shape: tuple[int, ...], draw: Draw, wake: Wake) -> None:
    options = json.loads(json.dumps(classifier_options(shape, 500, 7)))
    network = wake(build(options))
    again = build(json.loads(json.dumps(network.options)))
    again.load_state_dict(network.state_dict())
    x, label = draw(2, *shape), draw(2)
    assert again(x, label).shape == (2, 7)
    assert torch.equal(again.eval()(x, label), network(x, label))


@pytest.mark.parametrize("shape", [s for s in EVENTS if len(s) > 1], ids=str)
def test_suggested_classifier_sees_all_of_the_grid_and_is_no_larger_than_the_denoiser(shape: tuple[int, ...]) -> None:
    options = classifier_options(shape, 500, 10)
    stride = options["patch"] * 2 ** (len(options["multipliers"]) - 1)
    assert math.ceil(max(shape[1:]) / stride) <= 4
    sizes = [sum(p.numel() for p in build(o).parameters()) for o in (options, suggest(shape, 500))]
    assert sizes[0] < sizes[1]


def test_few_rows_of_numbers_take_half_the_width() -> None:
    assert 2 * classifier_options((5,), 499, 3)["width"] == classifier_options((5,), 500, 3)["width"]


@pytest.mark.parametrize("shape", [(), (1, 0), (1, 2, 3, 4, 5)])
def test_events_without_a_network_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="one to three axes"):
        classifier_options(shape, 10, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": 4}, "dims"),
        ({"patch": 3}, "patch"),
        ({"dropout": 1.0}, "dropout"),
        ({"multipliers": []}, "multipliers"),
        ({"blocks": [1]}, "blocks"),
        ({"attention": [2]}, "levels 0 to 1"),
        ({"padding": "mirror"}, "padding"),
        ({"resample": "max"}, "pool, conv"),
        ({"classes": 0}, "classes: expected a positive integer, got 0"),
        ({"clases": 3}, "Did you mean 'classes'"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build({"kind": "grid-classifier", "dims": 2, "channels": 1, "classes": 2, **SMALL, **options})


def test_classes_have_to_be_said() -> None:
    with pytest.raises(ConfigError, match="'classes' is missing"):
        build({"kind": "grid-classifier", "dims": 2, "channels": 1})


def test_wrong_input_is_refused() -> None:
    network = GridClassifier(2, 3, 5, **SMALL)
    with pytest.raises(ShapeError, match=r"rows, 3, grid 1, grid 2.*got \(2, 8, 8, 3\)"):
        network(torch.zeros(2, 8, 8, 3), torch.zeros(2))
    with pytest.raises(ShapeError, match="One number per row"):
        network(torch.zeros(2, 3, 8, 8), torch.zeros(1))
    with pytest.raises(ConfigError, match="unknown option 'conditions'"):
        build(network.options | {"conditions": {"y": {"kind": "label", "classes": 2}}})
