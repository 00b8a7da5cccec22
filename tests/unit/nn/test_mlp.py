"""The residual perceptron."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from caminito._errors import ConfigError, ShapeError
from caminito.nn import Field, Label, ResidualMLP, Vector, build

CONDITIONS = {"kind": Label(3), "where": Vector(2)}


@pytest.mark.parametrize("fourier", [0, 8])
def test_new_network_returns_zero(fourier: int, draw: Callable[..., Tensor]) -> None:
    network = ResidualMLP(3, width=32, depth=2, fourier=fourier)
    assert torch.equal(network(draw(5, 3), draw(5)), torch.zeros(5, 3))


@pytest.mark.parametrize("fourier", [0, 8])
def test_rows_are_independent(
    fourier: int, draw: Callable[..., Tensor], wake: Callable[[nn.Module], nn.Module]
) -> None:
    network = wake(ResidualMLP(3, width=32, depth=2, fourier=fourier, conditions=CONDITIONS))
    x, label, kind = draw(5, 3), draw(5), torch.tensor([0, 1, 2, 1, 0])
    whole = network(x, label, {"kind": kind})
    for i in range(5):
        alone = network(x[i : i + 1], label[i : i + 1], {"kind": kind[i : i + 1]})
        torch.testing.assert_close(alone[0], whole[i], atol=1e-5, rtol=1e-5)


def test_gradient_reaches_every_parameter(draw: Callable[..., Tensor], wake: Callable[[nn.Module], nn.Module]) -> None:
    network = wake(ResidualMLP(3, width=32, depth=2, fourier=8, conditions={"kind": Label(3)}))
    network(draw(5, 3), draw(5), {"kind": torch.tensor([0, 1, 2, 1, 0])}).square().sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_label_reaches_every_block(draw: Callable[..., Tensor], wake: Callable[[nn.Module], nn.Module]) -> None:
    network = wake(ResidualMLP(3, width=32, depth=3))
    x = draw(4, 3)
    network(x, torch.zeros(4)).sum().backward()
    touched = network.modulation.weight.grad.view(4, -1).abs().amax(dim=1)
    assert (touched > 0).all()


def test_options_rebuild_the_same_network(draw: Callable[..., Tensor], wake: Callable[[nn.Module], nn.Module]) -> None:
    network = wake(ResidualMLP(3, width=32, depth=2, fourier=8, conditions=CONDITIONS))
    again = build(json.loads(json.dumps(network.options))).eval()
    again.load_state_dict(network.state_dict())
    x, label = draw(4, 3), draw(4)
    assert torch.equal(again(x, label), network(x, label))
    assert again.options == network.options


def test_double_precision_stays_double(draw: Callable[..., Tensor]) -> None:
    network = ResidualMLP(3, width=32, depth=2, fourier=8).double()
    assert network(draw(4, 3).double(), draw(4).double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width"),
        ({"depth": 0}, "depth"),
        ({"dropout": 1.0}, "dropout"),
        ({"fourier": 3}, "features"),
        ({"conditions": {"map": Field(1)}}, "needs a grid"),
    ],
)
def test_impossible_options_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ResidualMLP(3, **arguments)


def test_wrong_shapes_are_refused() -> None:
    network = ResidualMLP(3, width=32, depth=1)
    with pytest.raises(ShapeError, match=r"expected shape \(rows, 3\), got \(4, 2\)"):
        network(torch.zeros(4, 2), torch.zeros(4))
    with pytest.raises(ShapeError, match="One number per row"):
        network(torch.zeros(4, 3), torch.zeros(4, 1))
