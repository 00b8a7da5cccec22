"""One network per step as plain options. What it computes is in training/test_one_model_per_step.py."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from caminito._errors import ConfigError
from caminito.nn import PerStep, ResidualMLP, build

ONE = {"kind": "mlp", "event_size": 3, "width": 16, "depth": 1}
LABELS = [-0.4, 0.1, 0.7]


@pytest.mark.parametrize(
    "options", [ONE, {"kind": "unet", "dims": 2, "channels": 3, "width": 8, "multipliers": [1], "blocks": 1}]
)
def test_options_rebuild_the_same_networks(
    options: dict, draw: Callable[..., Tensor], wake: Callable[[nn.Module], nn.Module]
) -> None:
    network = wake(build({"kind": "per-step", "network": options, "labels": LABELS}))
    again = build(json.loads(json.dumps(network.options))).eval()
    again.load_state_dict(network.state_dict())
    assert again.options == network.options
    x = draw(6, 3) if options is ONE else draw(6, 3, 4, 4)
    label = torch.tensor([0.7, -0.4, 0.1, 0.1, 0.6, -9.0])
    assert torch.equal(again(x, label), network(x, label))


def test_each_network_has_weights_of_its_own_and_is_told_its_label() -> None:
    network = build({"kind": "per-step", "network": ONE, "labels": LABELS})
    assert isinstance(network, PerStep) and len(network.networks) == 3
    assert torch.equal(network.labels, torch.tensor(LABELS))
    stems = [each.stem.weight for each in network.networks]
    assert not torch.equal(stems[0], stems[1]) and not torch.equal(stems[1], stems[2])


def test_networks_made_by_hand_have_options_if_all_are_alike() -> None:
    alike = PerStep([ResidualMLP(3, width=16, depth=1) for _ in LABELS], LABELS)
    assert alike.options is not None
    assert alike.options["network"] == ResidualMLP(3, width=16, depth=1).options
    assert alike.options["labels"] == torch.tensor(LABELS).tolist()
    assert PerStep([ResidualMLP(3, width=16), ResidualMLP(3, width=8)], [0.0, 1.0]).options is None
    assert PerStep([nn.Identity(), nn.Identity()], [0.0, 1.0]).options is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"labels": [0.5, 0.5]}, "two that are the same"),
        ({"labels": []}, "one for each of 0 networks"),
        ({"labels": "three"}, "expected a list of numbers as labels, got 'three'"),
        ({"labels": ["a", "b"]}, "expected a list of numbers as labels"),
        ({"network": "mlp"}, "expected the options of one as network, got 'mlp'"),
        ({"network": ONE | {"widht": 8}}, "Did you mean 'width'"),
        ({"lables": [0.5]}, "unknown option 'lables'. Did you mean 'labels'"),
        ({"conditions": {"y": {"kind": "label", "classes": 3}}}, "takes no conditions, got y"),
        ({"network": ONE | {"conditions": {"y": {"kind": "label", "classes": 3}}}}, "takes no conditions, got y"),
    ],
)
def test_impossible_options_are_refused(changes: dict, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        build({"kind": "per-step", "network": ONE, "labels": LABELS} | changes)


def test_a_missing_option_is_named() -> None:
    with pytest.raises(ConfigError, match="the option 'labels' is missing"):
        build({"kind": "per-step", "network": ONE})
