"""Conditions: the ways in, the nulls, and the messages."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from caminito._errors import ConditionError, ConfigError
from caminito.data import HashingText
from caminito.nn import (
    Field,
    Given,
    Known,
    Label,
    Noised,
    ResidualMLP,
    Tokens,
    UNet,
    Vector,
    Words,
    entry_from_dict,
    entry_to_dict,
)
from caminito.nn.condition import Conditioning

ENTRIES = {
    "digit": Label(3),
    "where": Vector(2),
    "map": Field(2),
    "text": Tokens(4, 6),
    "words": Words(20, 5, 3),
    "low": Noised(2),
    "known": Known(2),
}
IDS = torch.tensor(
    [
        [[1, 2, 3], [4, 0, 0], [5, 6, 0]],
        [[7, 0, 0], [8, 9, 0], [0, 0, 0]],
        [[10, 11, 12], [13, 14, 0], [15, 0, 0]],
        [[16, 17, 0], [18, 0, 0], [19, 20, 0]],
    ]
)
ABSENT = torch.tensor([True, False, True, False])


@pytest.fixture
def network(wake: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return wake(UNet(2, 1, width=16, multipliers=(1, 2), blocks=1, attention=(1,), head_size=16, conditions=ENTRIES))


@pytest.fixture
def values(draw: Callable[..., Tensor]) -> dict[str, Tensor]:
    return {
        "digit": torch.tensor([0, 1, 2, 1]),
        "where": draw(4, 2),
        "map": draw(4, 2, 5, 6),
        "text": draw(4, 3, 4),
        "words": IDS,
        "low": draw(4, 2, 5, 6),
        "known": draw(4, 2, 5, 6),
    }


@pytest.fixture
def rows(wake: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return wake(ResidualMLP(2, width=16, depth=1, conditions={"text": Tokens(4, 6), "words": Words(20, 5, 3)}))


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


@pytest.mark.parametrize("name", ["where", "map", "text", "low", "known"])
def test_nan_in_an_absent_row_reaches_neither_output_nor_gradient(
    name: str, network: nn.Module, values: dict[str, Tensor], event: tuple[Tensor, Tensor]
) -> None:
    value = values[name].clone()
    value[~ABSENT] = torch.nan
    out = network(*event, {name: Given(value, present=ABSENT)})
    out.square().sum().backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_a_noised_field_is_told_by_its_level_too(
    network: nn.Module, values: dict[str, Tensor], event: tuple[Tensor, Tensor]
) -> None:
    low, level = values["low"], torch.tensor([0.0, 0.1, 0.3, 0.6])
    plain = network(*event, {"low": low})
    assert torch.equal(network(*event, {"low": Given(low, level=torch.zeros(4))}), plain)
    told = network(*event, {"low": Given(low, level=level)})
    torch.testing.assert_close(told[0], plain[0], atol=1e-5, rtol=1e-5)
    assert (told - plain)[1:].abs().amax(dim=(1, 2, 3)).min() > 1e-3
    wild = torch.where(ABSENT, level, torch.nan)
    mixed = network(*event, {"low": Given(low, present=ABSENT, level=wild)})
    torch.testing.assert_close(mixed[ABSENT], told[ABSENT], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed[~ABSENT], network(*event)[~ABSENT], atol=1e-5, rtol=1e-5)


def test_of_a_field_known_in_part_the_rest_is_not_seen_and_where_it_is_known_is(
    network: nn.Module, values: dict[str, Tensor], event: tuple[Tensor, Tensor]
) -> None:
    known = values["known"]
    mask = torch.zeros(known.shape, dtype=torch.bool)
    mask[:, 0, :, :3] = True
    part = network(*event, {"known": Given(known, mask=mask)})
    hidden = torch.where(mask, known, torch.nan)
    assert torch.equal(network(*event, {"known": Given(hidden, mask=mask)}), part)
    zeros = torch.where(mask, known, 0)
    assert (network(*event, {"known": zeros}) - part).abs().amax(dim=(1, 2, 3)).min() > 1e-3
    nothing = network(*event, {"known": Given(known, mask=torch.zeros_like(mask))})
    torch.testing.assert_close(nothing, network(*event), atol=1e-5, rtol=1e-5)
    full = network(*event, {"known": Given(known, mask=torch.ones_like(mask))})
    assert torch.equal(full, network(*event, {"known": known}))


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


@pytest.mark.parametrize("name", ["text", "words"])
def test_rows_of_numbers_take_sequences_and_their_nulls(
    name: str, rows: nn.Module, values: dict[str, Tensor], draw: Callable[..., Tensor]
) -> None:
    x, label = draw(4, 2), draw(4)
    without, full = rows(x, label, {}), rows(x, label, {name: values[name]})
    mixed = rows(x, label, {name: Given(values[name], present=ABSENT)})
    torch.testing.assert_close(mixed[~ABSENT], without[~ABSENT], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed[ABSENT], full[ABSENT], atol=1e-5, rtol=1e-5)
    assert (full - without).abs().amax(dim=1).min() > 1e-3


@pytest.mark.parametrize("kind", ["network", "rows"])
def test_words_of_absent_rows_reach_neither_output_nor_gradient(
    kind: str, request: pytest.FixtureRequest, event: tuple[Tensor, Tensor], draw: Callable[..., Tensor]
) -> None:
    network = request.getfixturevalue(kind)
    x, label = event if kind == "network" else (draw(4, 2), draw(4))
    wild = IDS.clone()
    wild[~ABSENT] = torch.tensor([-5, 999, 2])
    out = network(x, label, {"words": Given(IDS, present=ABSENT)})
    assert torch.equal(network(x, label, {"words": Given(wild, present=ABSENT)}), out)
    out.square().sum().backward()
    touched = network.conditioning.ways["to_words"].read.table.weight.grad.abs().sum(1) > 0
    assert torch.nonzero(touched)[:, 0].tolist() == sorted(set(IDS[ABSENT].flatten().tolist()) - {0})


def test_no_words_are_an_absent_row(network: nn.Module, event: tuple[Tensor, Tensor]) -> None:
    masked = network(*event, {"words": Given(IDS, mask=ABSENT[:, None].expand(-1, 3))})
    assert torch.equal(masked, network(*event, {"words": Given(IDS, present=ABSENT)}))
    empty = torch.where(ABSENT[:, None, None], IDS, 0)
    torch.testing.assert_close(network(*event, {"words": empty}), masked, atol=1e-5, rtol=1e-5)


def test_places_without_a_word_change_nothing(network: nn.Module, event: tuple[Tensor, Tensor]) -> None:
    longer = torch.cat([IDS, torch.zeros(4, 2, 3, dtype=torch.long)], dim=1)
    torch.testing.assert_close(
        network(*event, {"words": longer}), network(*event, {"words": IDS}), atol=1e-5, rtol=1e-5
    )


def test_order_counts_for_words_and_not_for_their_pieces(draw: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    conditioning, x = Conditioning({"words": Words(20, 5, 3)}, 16, None), draw(4, 2)
    out, pieces, order = (conditioning(x, {"words": ids}).embedding for ids in (IDS, IDS.flip(2), IDS.flip(1)))
    torch.testing.assert_close(pieces, out, atol=1e-5, rtol=1e-5)
    assert (order - out).norm(dim=1).min() > 0.01 * out.norm(dim=1).max()


def test_a_word_is_the_sum_of_its_pieces_over_the_root_of_their_number() -> None:
    read = Conditioning({"words": Words(20, 5, 3)}, 8, None).ways["to_words"].read
    words, real = read(IDS, torch.ones(4, 3, dtype=torch.bool))
    for row, place in torch.cartesian_prod(torch.arange(4), torch.arange(3)):
        ids = IDS[row, place][IDS[row, place] > 0]
        assert bool(real[row, place]) == (len(ids) > 0)
        expected = read.table.weight[ids].sum(0) / max(len(ids), 1) ** 0.5
        torch.testing.assert_close(words[row, place], expected)


def test_sequences_reach_the_grid_twice(values: dict[str, Tensor], draw: Callable[..., Tensor]) -> None:
    given = Conditioning({"words": Words(20, 5, 3)}, 8, 6)(draw(4, 1, 5, 6), {"words": IDS})
    assert given.embedding.shape == (4, 8)
    assert given.tokens.shape == (4, 4, 6)  # the learned one, then three words
    assert given.mask.sum(1).tolist() == [4, 3, 4, 4]
    alone = Conditioning({"words": Words(20, 5, 3)}, 8, None)(draw(4, 2), {"words": IDS})
    assert alone.embedding.shape == (4, 8) and alone.tokens is None and alone.mask is None


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
        ({"low": torch.zeros(4, 3, 5, 6)}, r"expected shape \(4, 2, 5, 6\)"),
        ({"known": torch.zeros(4, 3, 5, 6)}, r"expected shape \(4, 2, 5, 6\)"),
        ({"known": Given(torch.zeros(4, 2, 5, 6), mask=torch.ones(4, 1, 5, 6))}, r"bool mask of shape \(4, 2, 5, 6\)"),
        ({"low": Given(torch.zeros(4, 2, 5, 6), level=torch.zeros(3))}, r"`level` to be floats of shape \(4,\)"),
        ({"low": Given(torch.zeros(4, 2, 5, 6), level=torch.zeros(4).long())}, "`level` to be floats"),
        ({"map": Given(torch.zeros(4, 2, 5, 6), level=torch.zeros(4))}, "this Field has none. Declare it Noised"),
        ({"text": torch.zeros(4, 7, 4)}, "at most 6 tokens, got 7"),
        ({"text": torch.zeros(4, 4)}, r"expected shape \(4, 6, 4\)"),
        ({"text": Given(torch.zeros(4, 3, 4), mask=torch.ones(4, 3))}, "bool mask"),
        ({"words": torch.zeros(4, 3, 3)}, "expected integers"),
        ({"words": torch.zeros(4, 6, 3, dtype=torch.long)}, "at most 5 tokens, got 6"),
        ({"words": torch.zeros(4, 3, 2, dtype=torch.long)}, r"expected shape \(4, 3, 3\)"),
        ({"words": torch.zeros(4, 3, dtype=torch.long)}, r"expected shape \(4, 5, 3\)"),
        ({"words": torch.full((4, 3, 3), 21)}, r"ids from 0 \(nothing\) to 20, got values from 21 to 21"),
        ({"words": torch.full((4, 3, 3), -1)}, "got values from -1"),
        ({"words": Given(IDS, mask=torch.ones(4, 2, dtype=torch.bool))}, "bool mask"),
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
        ({"kind": "words", "buckets": 9, "length": 2}, "Write each of these"),
        ({"kind": "words", "buckets": 9, "length": 2, "grams": 0}, "grams must be a positive integer"),
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
        ({"a": Words(9, 2, 1)}, "Name at least one level"),
    ],
)
def test_conditions_that_cannot_be_built_are_refused(conditions: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        UNet(2, 1, width=16, multipliers=(1,), blocks=1, conditions=conditions)


@pytest.mark.parametrize("entry", [Field(1), Noised(1), Known(1)])
def test_rows_of_numbers_take_no_field(entry: object) -> None:
    with pytest.raises(ConfigError, match=f"{type(entry).__name__} needs a grid"):
        ResidualMLP(2, width=16, depth=1, conditions={"low": entry})


@pytest.mark.parametrize("kind", ["mlp", "unet"])
def test_a_network_learns_to_follow_a_text(kind: str) -> None:
    torch.manual_seed(0)
    encoder = HashingText(6, 512)
    texts = [f"a {color} {shape}" for color in ("red", "blue") for shape in ("square", "circle")]
    ids, mask = encoder.encode(texts)
    words = {"text": entry_from_dict(encoder.entry)}
    # exclusive or: no sum of what the words say by themselves gives it
    target = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]])
    target = target + 0.5  # whose mean is not 0: there every gradient is 0 at the start, and rounding alone leaves it
    if kind == "mlp":
        network: nn.Module = ResidualMLP(2, width=32, depth=1, conditions=words)
        x = torch.zeros(4, 2)
    else:
        network = UNet(2, 2, width=16, multipliers=(1,), blocks=1, attention=(0,), conditions=words)
        x, target = torch.zeros(4, 2, 2, 2), target[:, :, None, None].expand(-1, -1, 2, 2)

    def loss(given: Given) -> Tensor:
        return (network(x, torch.zeros(4), {"text": given}) - target).square().mean()

    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    given = Given(ids, mask=mask)
    first = loss(given).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss(given).backward()
        optimizer.step()
    assert loss(given).item() < first / 10
    assert loss(Given(ids.flip(0), mask=mask)).item() > first / 2
