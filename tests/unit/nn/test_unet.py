"""The U-Net: identities that hold for any weights, and one for fresh ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from caminito._errors import ConfigError, ShapeError
from caminito.nn import DDPM_CIFAR10, Label, UNet, build
from caminito.nn.attention import SelfAttention

SMALL: dict[str, Any] = {"width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "head_size": 16}
ODD = [(1, (7,)), (1, (13,)), (2, (5, 7)), (2, (1, 9)), (3, (3, 5, 2))]
Wake = Callable[[nn.Module], nn.Module]
Draw = Callable[..., Tensor]


def _silent(network: nn.Module) -> list[str]:
    """Parameters that no gradient has reached."""
    return [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.parametrize("variant", [{}, {"decoder": "ddpm", "resample": "conv"}, {"time": "input"}, {"patch": 2}])
def test_new_network_returns_zero(variant: dict, draw: Draw) -> None:
    network = UNet(2, 3, 2, **SMALL, **variant)
    assert torch.equal(network(draw(2, 3, 8, 8), draw(2)), torch.zeros(2, 2, 8, 8))


@pytest.mark.parametrize(("dims", "grid"), ODD)
@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("padding", ["zero", "reflect", "circular"])
def test_gradient_reaches_every_parameter_on_a_grid_of_any_size(
    dims: int, grid: tuple[int, ...], patch: int, padding: str, draw: Draw, wake: Wake
) -> None:
    network = wake(UNet(dims, 2, 3, **SMALL, patch=patch, padding=padding))
    out = network(draw(2, 2, *grid), draw(2))
    assert out.shape == (2, 3, *grid)
    out.square().sum().backward()
    assert _silent(network) == []


@pytest.mark.parametrize(("dims", "grid"), [(1, (12,)), (2, (8, 12)), (3, (4, 8, 4))])
@pytest.mark.parametrize("variant", [{}, {"patch": 2}, {"decoder": "ddpm", "resample": "conv"}])
def test_circular_network_commutes_with_rolling_by_its_stride(
    dims: int, grid: tuple[int, ...], variant: dict, draw: Draw, wake: Wake
) -> None:
    network = wake(UNet(dims, 1, **SMALL, **variant, padding="circular")).double()
    x, label = draw(2, 1, *grid).double(), draw(2).double()
    axes = list(range(2, 2 + dims))
    shift = [network.stride] * dims
    expected = torch.roll(network(x, label), shift, axes)
    # the label's waves are float32 in both; the rest is float64
    torch.testing.assert_close(network(torch.roll(x, shift, axes), label), expected, atol=1e-10, rtol=1e-10)


def test_each_axis_has_its_own_border(draw: Draw, wake: Wake) -> None:
    network = wake(UNet(2, 1, **SMALL, padding=("reflect", "circular"))).double()
    x, label = draw(2, 1, 8, 8).double(), draw(2).double()
    out = network(x, label)
    along = torch.roll(network(torch.roll(x, 4, 3), label), -4, 3)
    across = torch.roll(network(torch.roll(x, 4, 2), label), -4, 2)
    torch.testing.assert_close(along, out, atol=1e-10, rtol=1e-10)
    assert (across - out).abs().max() > 1e-3


@pytest.mark.parametrize(("border", "keeps"), [("reflect", True), ("circular", True), ("zero", False)])
def test_a_constant_stays_constant_unless_the_border_is_zero(border: str, keeps: bool, draw: Draw, wake: Wake) -> None:
    network = wake(UNet(2, 1, **SMALL, padding=border)).double()
    out = network(torch.ones(1, 1, 6, 10, dtype=torch.float64), draw(1).double())
    assert ((out - out[..., :1, :1]).abs().max() < 1e-10) == keeps


@pytest.mark.parametrize("variant", [{}, {"patch": 2}, {"decoder": "ddpm", "resample": "conv"}])
def test_rows_are_independent(variant: dict, draw: Draw, wake: Wake) -> None:
    network = wake(UNet(2, 1, **SMALL, **variant, conditions={"digit": Label(3)}))
    x, label, digit = draw(4, 1, 6, 7), draw(4), torch.tensor([0, 1, 2, 1])
    whole = network(x, label, {"digit": digit})
    for i in range(4):
        alone = network(x[i : i + 1], label[i : i + 1], {"digit": digit[i : i + 1]})
        torch.testing.assert_close(alone[0], whole[i], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("decoder", ["mirror", "ddpm"])
@pytest.mark.parametrize("skips", ["concat", "none"])
def test_each_decoder_block_sees_one_feature_of_its_own_level(decoder: str, skips: str, draw: Draw, wake: Wake) -> None:
    options = {**SMALL, "multipliers": (1, 2, 2), "blocks": (1, 2, 1), "attention": ()}
    network = wake(UNet(2, 1, **options, decoder=decoder, skips=skips))
    entering: list[tuple[int, Tensor]] = []
    for level, encoded in enumerate(network.encoder):
        for block in encoded:
            block.register_forward_hook(lambda _m, _i, out, level=level: entering.append((level, out)))
    depth = len(network.encoder)
    skipped: list[int] = []

    def reaches(level: int) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            carried = [n for n, (_, out) in enumerate(entering) if _contains(inputs[0], out)]
            skipped.extend(carried)
            assert all(entering[n][0] == level for n in carried)

        return hook

    for number, decoded in enumerate(network.decoder):
        for block in decoded:
            block.register_forward_pre_hook(reaches(depth - 1 - number))
    network(draw(2, 1, 8, 8), draw(2))
    assert sorted(skipped) == (list(range(len(entering))) if skips == "concat" else [])


def _contains(joined: Tensor, part: Tensor) -> bool:
    """Whether the last channels of `joined` are `part`."""
    return joined.shape[2:] == part.shape[2:] and torch.equal(joined[:, -part.shape[1] :], part)


@pytest.mark.parametrize("time", ["every-level", "input"])
def test_label_reaches_every_block_only_if_asked(time: str, draw: Draw, wake: Wake) -> None:
    network = wake(UNet(2, 1, **SMALL, time=time))
    network(draw(2, 1, 8, 8), draw(2)).square().sum().backward()
    if time == "input":
        assert network.modulation.out_features == SMALL["width"]
        assert network.modulation.weight.grad.abs().sum() > 0
    else:
        touched = [piece.abs().amax() > 0 for piece in network.modulation.weight.grad.split(network.modulated)]
        assert len(touched) == 2 + 2 + 2
        assert all(touched)


@pytest.mark.parametrize("time", ["every-level", "input"])
def test_label_changes_the_output(time: str, draw: Draw, wake: Wake) -> None:
    network = wake(UNet(2, 1, **SMALL, time=time))
    x = draw(1, 1, 8, 8).expand(2, -1, -1, -1)
    out = network(x, torch.tensor([-1.0, 1.0]))
    assert (out[0] - out[1]).abs().max() > 1e-3


def test_without_time_the_network_is_the_full_one_at_label_zero(draw: Draw, wake: Wake) -> None:
    conditions = {"digit": Label(3)}
    blind = wake(UNet(2, 1, **SMALL, time="none", conditions=conditions))
    full = UNet(2, 1, **SMALL, conditions=conditions).eval()
    full.load_state_dict(blind.state_dict())  # the same parameters, so the comparison is one of equal sizes
    x, label, digit = draw(2, 1, 8, 8), draw(2), {"digit": torch.tensor([0, 1])}
    out = blind(x, label, digit)
    assert torch.equal(out, blind(x, 3 * label + 1, digit))
    assert torch.equal(out, full(x, torch.zeros(2), digit))
    assert not torch.allclose(out, blind(x, label, {"digit": torch.tensor([2, 2])}), atol=1e-3)


@pytest.mark.parametrize("skips", ["concat", "none"])
def test_without_skips_all_passes_through_the_middle(skips: str, draw: Draw, wake: Wake) -> None:
    network = wake(UNet(2, 1, **SMALL, skips=skips))
    for block in network.middle:
        block.register_forward_hook(lambda _m, _i, out: torch.ones_like(out))
    x = draw(2, 1, 8, 8).requires_grad_()
    (slope,) = torch.autograd.grad(network(x, draw(2)).sum(), x, allow_unused=True)
    assert (slope is not None and bool(slope.abs().max() > 0)) == (skips == "concat")


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("variant", [{}, {"time": "none", "skips": "none"}])
def test_options_rebuild_the_same_network(dims: int, variant: dict, draw: Draw, wake: Wake) -> None:
    network = wake(UNet(dims, 2, **SMALL, **variant, padding="reflect", conditions={"digit": Label(3)}))
    again = build(json.loads(json.dumps(network.options))).eval()
    again.load_state_dict(network.state_dict())
    x, label = draw(2, 2, *(5,) * dims), draw(2)
    assert torch.equal(again(x, label), network(x, label))
    assert again.options == network.options


def test_each_attending_level_has_heads_of_its_own_size() -> None:
    network = UNet(2, 1, width=20, multipliers=(1, 2, 3), blocks=1, attention=(1, 2), head_size=16)
    heads = [module.heads for module in network.modules() if isinstance(module, SelfAttention)]
    assert heads == [40 // 10, 60 // 15, 60 // 15, 60 // 15, 40 // 10]  # encoder, middle, decoder
    assert network.options["head_size"] == 16


def test_bfloat16_autocast_stays_near_float32(draw: Draw, wake: Wake) -> None:
    network = wake(UNet(2, 1, **SMALL))
    x, label = draw(4, 1, 8, 8), draw(4)
    exact = network(x, label)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(x, label)
    assert rounded.dtype == torch.float32
    # 2^-9 per rounding, about thirty roundings in sequence that add like independent errors
    assert (rounded - exact).square().mean().sqrt() < 30**0.5 * 2**-8 * exact.square().mean().sqrt()


def test_features_keep_channels_last_from_stem_to_head(draw: Draw, wake: Wake) -> None:
    network = wake(UNet(2, 1, **{**SMALL, "multipliers": (1, 2, 2)}, decoder="ddpm", resample="conv"))
    seen: list[bool] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda _m, inputs, out: seen.extend(
                    t.is_contiguous(memory_format=torch.channels_last) for t in (inputs[0], out)
                )
            )
    network(draw(2, 1, 16, 16), draw(2))
    assert len(seen) > 20
    assert all(seen)


def test_dropout_acts_in_training_only(draw: Draw, wake: Wake) -> None:
    network = wake(UNet(2, 1, **SMALL, dropout=0.5))
    x, label = draw(2, 1, 8, 8), draw(2)
    assert torch.equal(network(x, label), network(x, label))
    network.train()
    assert not torch.equal(network(x, label), network(x, label))


def test_ddpm_network_has_the_size_its_paper_reports() -> None:
    with torch.device("meta"):
        network = build(DDPM_CIFAR10)
    assert abs(sum(p.numel() for p in network.parameters()) / 35.7e6 - 1) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("dims", [1, 2])
def test_compiled_network_equals_the_eager_one(dims: int, draw: Draw, wake: Wake) -> None:
    network = wake(UNet(dims, 1, **SMALL, conditions={"digit": Label(3)}))
    x, label, cond = draw(2, 1, *(8,) * dims), draw(2), {"digit": torch.tensor([0, 2])}
    compiled = torch.compile(network, fullgraph=True, dynamic=False)
    torch.testing.assert_close(compiled(x, label, cond), network(x, label, cond), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": 4}, "dims"),
        ({"patch": 3}, "patch"),
        ({"dropout": 1.5}, "dropout"),
        ({"multipliers": []}, "multipliers"),
        ({"blocks": [1]}, "blocks"),
        ({"attention": [2]}, "levels 0 to 1"),
        ({"padding": "mirror"}, "padding"),
        ({"padding": ["zero"]}, "one per axis"),
        ({"decoder": "unet"}, "mirror, ddpm"),
        ({"resample": "max"}, "pool, conv"),
        ({"skips": "add"}, "concat, none"),
        ({"time": "never"}, "every-level, input, none"),
        ({"channels": 0}, "channels"),
        ({"head_size": 0}, "head_size: expected a positive integer, got 0"),
        ({"widht": 3}, "Did you mean 'width'"),
        ({"kind": "unett"}, "mlp, unet"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build({"kind": "unet", "dims": 2, "channels": 1, **SMALL, **options})


def test_a_missing_option_is_named() -> None:
    with pytest.raises(ConfigError, match="'channels' is missing"):
        build({"kind": "unet", "dims": 2})


def test_wrong_shapes_are_refused() -> None:
    network = UNet(2, 3, **SMALL)
    with pytest.raises(ShapeError, match=r"rows, 3, grid 1, grid 2.*got \(2, 8, 8, 3\)"):
        network(torch.zeros(2, 8, 8, 3), torch.zeros(2))
    with pytest.raises(ShapeError, match="One number per row"):
        network(torch.zeros(2, 3, 8, 8), torch.zeros(1))
