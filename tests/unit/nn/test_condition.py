"""Conditions: the ways in, the nulls, and the messages."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from caminito._errors import ConditionError, ConfigError
from caminito.nn import Field, Given, Label, Tokens, UNet, Vector, entry_from_dict, entry_to_dict

ENTRIES = {"digit": Label(3), "where": Vector(2), "map": Field(2), "text": Tokens(4, 6)}
ABSENT = torch.tensor([True, False, True, False])


@pytest.fixture
def network(wake: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return wake(UNet(2, 1, width=16, multipliers=(1, 2), blocks=1, attention=(1,), head_size=16, conditions=ENTRIES))


@pytest.fixture
def values(draw: Callable[..., Tensor]) -> dict[str, Tensor]:
    return {"digit": torch.tensor([0, 1, 2, 1]), "where": draw(4, 2), "map": draw(4, 2, 5, 6), "text": draw(4, 3, 4)}


@pytest.fixture
def event(draw: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
    return draw(4, 1, 5, 6), draw(4)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_entry_survives_json(entry: object) -> None:
    assert entry_from_dict(json.loads(json.dumps(entry_to_dict(entry)))) == entry


@pytest.mark.parametrize("name", ENTRIES)
def test_absent_rows_equal_a_missing_name_and_the_others_do_not(
    name: str, network: nn.Module, values: dict[str, Tensor], event: tuple[Tensor, Tensor]
) -> None:
    without = network(*event, {})
    mixed = network(*event, {name: Given(values[name], present=ABSENT)})
    full = network(*event, {name: values[name]})
    # float32 sums of fewer than 1e3 terms of order one
    torch.testing.assert_close(mixed[~ABSENT], without[~ABSENT], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed[ABSENT], full[ABSENT], atol=1e-5, rtol=1e-5)
    assert (full - without).abs().amax(dim=(1, 2, 3)).min() > 1e-3


@pytest.mark.parametrize("name", ["where", "map", "text"])
def test_nan_in_an_absent_row_reaches_neither_output_nor_gradient(
    name: str, network: nn.Module, values: dict[str, Tensor], event: tuple[Tensor, Tensor]
) -> None:
    value = values[name].clone()
    value[~ABSENT] = torch.nan
    out = network(*event, {name: Given(value, present=ABSENT)})
    out.square().sum().backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_masked_tokens_do_not_influence(
    network: nn.Module, values: dict[str, Tensor], event: tuple[Tensor, Tensor]
) -> None:
    mask = torch.tensor([[True, True, False]]).expand(4, -1)
    text = values["text"]
    changed = text.clone()
    changed[:, 2] = 1e4
    masked = network(*event, {"text": Given(text, mask=mask)})
    assert torch.equal(network(*event, {"text": Given(changed, mask=mask)}), masked)
    torch.testing.assert_close(network(*event, {"text": text[:, :2]}), masked, atol=1e-5, rtol=1e-5)


def test_every_condition_gets_a_gradient(
    network: nn.Module, values: dict[str, Tensor], event: tuple[Tensor, Tensor]
) -> None:
    cond = {name: Given(value, present=ABSENT) for name, value in values.items()}
    network(*event, cond).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize(
    ("cond", "message"),
    [
        ({"digits": torch.zeros(4, dtype=torch.long)}, "Did you mean 'digit'"),
        ({"digit": torch.zeros(3, dtype=torch.long)}, "expected 4 rows.*got 3"),
        ({"digit": torch.tensor(1)}, "a single number"),
        ({"digit": torch.tensor([0, 1, 2, 3])}, "classes 0 to 2, got values from 0 to 3"),
        ({"digit": torch.tensor([0, 1, 2, -1])}, "classes 0 to 2"),
        ({"digit": torch.zeros(4)}, "expected integers"),
        ({"digit": Given(torch.tensor([0, 1, 7, 1]), present=ABSENT)}, "classes 0 to 2"),
        ({"where": torch.zeros(4, 3)}, r"expected shape \(4, 2\), got \(4, 3\)"),
        ({"where": Given(torch.zeros(4, 2), present=torch.ones(4))}, "`present` to be bool"),
        ({"map": torch.zeros(4, 2, 6, 5)}, r"expected shape \(4, 2, 5, 6\)"),
        ({"text": torch.zeros(4, 7, 4)}, "at most 6 tokens, got 7"),
        ({"text": torch.zeros(4, 4)}, r"expected shape \(4, 6, 4\)"),
        ({"text": Given(torch.zeros(4, 3, 4), mask=torch.ones(4, 3))}, "bool mask"),
    ],
)
def test_condition_that_does_not_fit_is_refused(
    cond: dict, message: str, network: nn.Module, event: tuple[Tensor, Tensor]
) -> None:
    with pytest.raises(ConditionError, match=message):
        network(*event, cond)


def test_an_absent_row_may_hold_any_class(network: nn.Module, event: tuple[Tensor, Tensor]) -> None:
    digit = torch.tensor([0, -1, 2, 99])
    out = network(*event, {"digit": Given(digit, present=ABSENT)})
    assert torch.isfinite(out).all()


def test_network_without_conditions_says_so(event: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ConditionError, match="built without conditions"):
        UNet(2, 1, width=16, multipliers=(1,), blocks=1)(*event, {"digit": torch.zeros(4, dtype=torch.long)})


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"kind": "colour"}, "expected a kind among label"),
        ({"kind": "label", "class": 3}, r"expected \['classes'\]"),
        ({"kind": "tokens", "size": 3}, "Write each of these"),
    ],
)
def test_plain_entry_that_is_none_is_refused(plain: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        entry_from_dict(plain)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"a.b": Label(2)}, "dot"),
        ({"a": Label(0)}, "positive integer"),
        ({"a": Vector(True)}, "positive integer"),
        ({"a": 3}, "expected Label, Vector"),
        ({"a": Tokens(4, 2)}, "Name at least one level"),
    ],
)
def test_conditions_that_cannot_be_built_are_refused(conditions: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        UNet(2, 1, width=16, multipliers=(1,), blocks=1, conditions=conditions)
