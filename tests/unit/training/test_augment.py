"""Noise on fields that are told their level: its law, what it depends on, and a resume that it does not disturb."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from caminito import nn as networks
from caminito.denoiser import NetworkDenoiser, Precondition
from caminito.nn import Given, Label, Noised
from caminito.process import EDM
from caminito.training import (
    TrainingConfig,
    augmented,
    augmented_at,
    fit_steps,
    initial_state,
    load_checkpoint,
    save_checkpoint,
)


def fields(n: int = 4000) -> Given:
    torch.manual_seed(0)
    return Given(torch.randn(n, 1, 4, 4), level=torch.zeros(n))


def noise_in(out: Given, clean: Given) -> torch.Tensor:
    level = out.level.double().reshape(-1, 1, 1, 1)
    return (out.value.double() - (1 - level**2).sqrt() * clean.value.double()) / level


def test_the_field_keeps_its_variance_and_the_rest_of_it_is_unit_noise():
    clean = fields()
    out = augmented({"low": clean}, 0.6, 3, 5)["low"]
    count = out.value.numel()
    assert out.value.var().item() == pytest.approx(1, abs=5 * (2 / count) ** 0.5)
    told = out.level > 0.01  # the noise of the others is lost to rounding
    eps = noise_in(out, clean)[told]
    assert eps.mean().item() == pytest.approx(0, abs=5 / count**0.5)
    assert eps.var().item() == pytest.approx(1, abs=5 * (2 / count) ** 0.5)
    assert abs(torch.corrcoef(torch.stack([eps.flatten(), clean.value[told].double().flatten()]))[0, 1]) < 5 / 250


def test_levels_are_uniform_up_to_the_largest():
    level = augmented({"low": fields()}, 0.6, 3, 5)["low"].level.double().sort().values / 0.6
    steps = torch.arange(4000) / 4000
    assert float((level - steps).abs().max()) < 1.95 / 4000**0.5  # Kolmogorov-Smirnov, one in a thousand


def test_level_and_noise_of_a_row_are_a_function_of_seed_step_and_row():
    many = fields(300)
    few = Given(many.value[:70], level=many.level[:70])
    whole, part = (augmented({"low": given}, 0.6, 3, 5)["low"] for given in (many, few))
    assert torch.equal(whole.value[:70], part.value) and torch.equal(whole.level[:70], part.level)
    for seed, step in ((3, 6), (4, 5)):
        other = augmented({"low": few}, 0.6, seed, step)["low"]
        assert not (other.level == part.level).any()
        assert torch.corrcoef(torch.stack([noise_in(x, few)[1:].flatten() for x in (other, part)]))[0, 1].abs() < 0.3
    at = augmented_at({"low": many}, 0.3, 3)["low"]
    later = augmented_at({"low": Given(many.value[200:], level=many.level[200:])}, 0.3, 3, first=200)["low"]
    assert torch.equal(at.value[200:], later.value) and (at.level == torch.tensor(0.3)).all()


def test_at_level_0_a_field_is_as_it_was_and_at_level_1_nothing_of_it_is_left():
    clean = fields(50)
    assert torch.equal(augmented_at({"low": clean}, 0.0, 3)["low"].value, clean.value)
    assert torch.equal(augmented({"low": clean}, 0.0, 3, 5)["low"].value, clean.value)
    tiny = augmented_at({"low": clean}, 1e-12, 3)["low"]
    torch.testing.assert_close(tiny.value, clean.value, rtol=0, atol=1e-10)
    other = Given(clean.value + 7, level=clean.level)
    assert torch.equal(
        augmented_at({"low": clean}, 1.0, 3)["low"].value, augmented_at({"low": other}, 1.0, 3)["low"].value
    )


def test_several_fields_have_their_own_noise_and_what_has_no_level_has_none():
    cond = {"a": fields(50), "y": torch.zeros(50).long(), "b": fields(50), "map": Given(fields(50).value)}
    for out in (augmented(cond, 0.6, 3, 5), augmented_at(cond, 0.3, 3)):
        assert list(out) == list(cond) and out["y"] is cond["y"] and out["map"] is cond["map"]
        assert not torch.isclose(noise_in(out["a"], cond["a"]), noise_in(out["b"], cond["b"])).any()


def test_noise_on_noise_has_the_level_of_both():
    clean = fields(2)
    twice = augmented_at(augmented_at({"low": clean}, 0.6, 3), 0.5, 4)["low"]
    share = (1 - 0.6**2) ** 0.5 * (1 - 0.5**2) ** 0.5  # of the field
    assert twice.level.tolist() == pytest.approx([(1 - share**2) ** 0.5] * 2, rel=1e-6)


class Watching(nn.Module):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.told: list[tuple[bool, dict]] = []

    def forward(self, x, label, cond=None):
        self.told.append((torch.is_grad_enabled(), cond))
        return self.weight * x


def watched(*, more=(), steps: int = 6, **options) -> tuple[list[dict], list[dict]]:
    """Conditions in training, and in validation."""
    torch.manual_seed(0)
    x, low = torch.randn(40, 1, 4, 4), Given(torch.randn(40, 1, 4, 4), level=torch.zeros(40))
    cond = {"low": low, "y": torch.zeros(40).long(), **{name: torch.zeros(40, 2) for name in more}}
    network = Watching()
    config = TrainingConfig(steps=steps, batch_size=32, validate_every=3, **options)
    denoiser = NetworkDenoiser(network, Precondition("edm"), EDM(20.0), (1, 4, 4))
    for _ in fit_steps(
        denoiser, x, config, cond=cond, held_out=x[:9], held_out_cond={k: _rows(v, 9) for k, v in cond.items()}
    ):
        pass
    return [c for train, c in network.told if train], [c for train, c in network.told if not train]


def _rows(value, n):
    return Given(value.value[:n], level=value.level[:n]) if isinstance(value, Given) else value[:n]


def test_training_sees_every_level_and_validation_always_the_middle_one():
    train, held = watched(augmentation=0.4)
    levels = torch.cat([cond["low"].level for cond in train])
    assert levels.min() < 0.04 and 0.36 < levels.max() <= 0.4
    assert len(held) > 2 and all((cond["low"].level == torch.tensor(0.2)).all() for cond in held)
    assert all(torch.equal(cond["low"].value, held[0]["low"].value) for cond in held)


def test_without_augmentation_no_field_is_touched():
    train, held = watched(augmentation=0)
    assert all((cond["low"].level == 0).all() for cond in train + held)


def test_a_field_and_the_other_conditions_are_dropped_apart():
    train, _ = watched(condition_dropout=0.5)
    seen = {pair for cond in train for pair in zip(cond["low"].present.tolist(), cond["y"].present.tolist())}
    assert seen == {(True, True), (True, False), (False, True), (False, False)}


def test_several_conditions_are_dropped_together_and_each_by_itself_too():
    train, _ = watched(more=["size"], steps=40, condition_dropout=0.5)
    y, size = (torch.cat([cond[name].present for cond in train]).double() for name in ("y", "size"))
    three = 3 * (0.25 / len(y)) ** 0.5
    assert y.mean().item() == pytest.approx(0.5 * 0.5, abs=three)
    assert size.mean().item() == pytest.approx(0.5 * 0.5, abs=three)
    assert (y * size).mean().item() == pytest.approx(0.5 * 0.5 * 0.5, abs=three)  # apart: a sixteenth


def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(tmp_path):
    torch.manual_seed(0)
    x, low = torch.randn(40, 1, 4, 4), Given(torch.randn(40, 2, 4, 4), level=torch.zeros(40))
    cond, config = {"low": low, "y": (x[:, 0, 0, 0] > 0).long()}, TrainingConfig(steps=6, batch_size=16, warmup=2)

    def denoiser() -> NetworkDenoiser:
        torch.manual_seed(0)
        entries = {"low": Noised(2), "y": Label(2)}
        network = networks.UNet(2, 1, width=16, multipliers=(1,), blocks=1, attention=(), conditions=entries)
        return NetworkDenoiser(network, Precondition("edm"), EDM(20.0), (1, 4, 4))

    whole, cut, again = denoiser(), denoiser(), denoiser()
    for last in fit_steps(whole, x, config, cond=cond, seed=4):
        pass
    for progress in fit_steps(cut, x, config, cond=cond, seed=4):
        if progress.step == 3:
            save_checkpoint(tmp_path, progress.state)
            break
    state = initial_state(again.network, config)
    tensors, facts = load_checkpoint(tmp_path)
    state.load(tensors, facts["step"], facts["elapsed"])
    for _ in fit_steps(again, x, config, cond=cond, seed=4, resume=state):
        pass
    assert all(torch.equal(a, b) for a, b in zip(whole.network.parameters(), again.network.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(last.state.average.values, state.average.values))
    plain = denoiser()
    for _ in fit_steps(plain, x, config.model_copy(update={"augmentation": 0.0}), cond=cond, seed=4):
        pass
    assert not all(torch.equal(a, b) for a, b in zip(whole.network.parameters(), plain.network.parameters()))
