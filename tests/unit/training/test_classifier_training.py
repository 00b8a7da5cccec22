"""Training a classifier of noisy data: coordinates, seeds, what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from caminito import nn as networks
from caminito.errors import ConfigError, DataError, NonFiniteError, ShapeError, UnscaledData
from caminito.process import EDM, VP, Chain, Cosine, RectifiedFlow
from caminito.training import (
    ClassLogits,
    TrainingConfig,
    averaged,
    fit_classifier_steps,
    initial_state,
    validate_classifier,
)


class Constant(torch.nn.Module):
    """Says the same of every item, and remembers what it was shown."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, x, label, cond=None):
        self.seen = x, label
        return self.logits.expand(len(x), -1)


def classifier(dropout: float = 0.0, seed: int = 0) -> ClassLogits:
    torch.manual_seed(seed)
    return ClassLogits(networks.ResidualMLP(2, 3, width=16, depth=1, dropout=dropout), EDM(20.0))


def data(n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long()


def weights(logits: ClassLogits) -> list[torch.Tensor]:
    return [p.detach().clone() for p in logits.network.parameters()]


def trained(seed: int, dropout: float = 0.0, **options) -> list[torch.Tensor]:
    logits, (x, y) = classifier(dropout), data()
    for _ in fit_classifier_steps(logits, x, y, TrainingConfig(batch_size=32, warmup=3, **options), seed=seed):
        pass
    return weights(logits)


@pytest.mark.parametrize("process", [VP(), Cosine(), RectifiedFlow(), Chain([0.1, 1.4, 0.2], [0.3, 0.4, 0.5])])
def test_the_process_may_be_exchanged(process):
    """x_t / alpha_t has the same law under any process at equal sigma / alpha, and so the same logits."""
    logits = classifier()
    with torch.no_grad():
        for parameter in logits.network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    t = torch.tensor([1.0, 3.0]).double() * (process.t_max / 3 if process.is_discrete else 0.3)
    alpha, sigma = process.kernel(t)
    at = logits.process.time(2 * torch.log(alpha.abs() / sigma))
    x = torch.randn(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    other = ClassLogits(logits.network, process)(alpha[:, None] * x, t)
    # one rounding of the input to float32, through a network of slope of order one
    torch.testing.assert_close(other, logits(x, at), atol=1e-5, rtol=1e-5)
    assert (other - logits(x, at * 0.8)).abs().max() > 1e-3


def test_noise_beyond_the_levels_is_taken_for_the_nearest():
    network = Constant([0.0, 1.0])
    logits = ClassLogits(network, EDM(100.0), (0.5, 4.0))
    times = EDM(100.0).time(-2 * torch.log(torch.tensor([0.01, 0.5, 1.0, 4.0, 50.0], dtype=torch.float64)))
    logits(torch.ones(5, 2), times)
    x, label = network.seen
    expected = torch.tensor([0.5, 0.5, 1.0, 4.0, 4.0]).log() / 4
    torch.testing.assert_close(label, expected)
    torch.testing.assert_close(x[:, 0], (1 + torch.tensor([0.01, 0.5, 1.0, 4.0, 50.0]) ** 2) ** -0.5)
    logits(torch.ones(1, 2), 0.0)  # clean: log(sigma / alpha) itself is minus infinity
    assert float(network.seen[1]) == pytest.approx(math.log(0.5) / 4)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_one_seed_gives_the_same_weights_and_another_gives_others(dropout):
    first, again, other = (trained(seed, dropout, steps=8) for seed in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not any(torch.equal(a, b) for a, b in zip(first, other))


def test_going_on_from_a_state_ends_with_the_bits_of_an_uninterrupted_run():
    logits, (x, y) = classifier(), data()
    config = TrainingConfig(batch_size=32, warmup=3, steps=8)
    state = initial_state(logits.network, config)
    for progress in fit_classifier_steps(logits, x, y, config, seed=4, resume=state):
        if progress.step == 3:
            break
    last = [progress.step for progress in fit_classifier_steps(logits, x, y, config, seed=4, resume=state)]
    assert last == [4, 5, 6, 7, 8]
    assert all(torch.equal(a, b) for a, b in zip(weights(logits), trained(4, steps=8)))


def test_constant_logits_cost_the_cross_entropy_of_their_shares_at_every_level():
    shares = torch.tensor([0.7, 0.2, 0.1])
    logits = ClassLogits(Constant(shares.log().tolist()), EDM(20.0))
    x, y = data(300)
    found = validate_classifier(logits, x, y, TrainingConfig(), 0)
    counts = torch.bincount(y, minlength=3) / len(y)
    exact = -float((counts * shares.log()).sum())
    assert found.loss == pytest.approx([exact] * 8, rel=1e-6)  # float32 logits
    assert found.mean == pytest.approx(exact, rel=1e-6)
    assert found.logsnr == sorted(found.logsnr, reverse=True)


def test_what_training_shows_is_what_it_did():
    logits, (x, y) = classifier(), data()
    config = TrainingConfig(batch_size=32, steps=4, validate_every=2, validation_items=50, decay="none", warmup=0)
    steps = list(fit_classifier_steps(logits, x, y, config, held_out=x[:60], held_out_y=y[:60], seed=1))
    assert [p.step for p in steps] == [1, 2, 3, 4]
    assert steps[0].loss == pytest.approx(math.log(3), rel=1e-6)  # a new network knows nothing
    assert [p.fraction for p in steps] == [0.25, 0.5, 0.75, 1.0]
    assert [p.validation is not None for p in steps] == [False, True, False, True]
    with averaged(steps[-1].state):
        expected = validate_classifier(logits, x[:50], y[:50], config, 1)
    assert steps[-1].validation == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": None}, "steps, minutes, or both"),
        ({"loss": "vlb"}, "training.loss: not for a classifier, got 'vlb'"),
        ({"weight": "snr"}, "training.weight: not"),
        ({"uncertainty": True}, "training.uncertainty: not"),
        ({"targets": "batch"}, "training.targets: not"),
        ({"snapshots": 8}, "training.snapshots: not"),
        ({"condition_dropout": 0.3}, "training.condition_dropout: not"),
        ({"times": "resampled"}, "'uniform' or 'lognormal'"),
    ],
)
def test_options_that_say_nothing_of_a_classifier_are_refused(options, message):
    x, y = data()
    with pytest.raises(ConfigError, match=message):
        next(fit_classifier_steps(classifier(), x, y, TrainingConfig(**{"steps": 2} | options)))


def test_data_that_do_not_fit_are_refused():
    (x, y), config = data(), TrainingConfig(steps=2, batch_size=16)
    with pytest.raises(DataError, match="at least one item"):
        next(fit_classifier_steps(classifier(), x[:0], y[:0], config))
    for wrong in (y[:-1], y.float(), y[:, None]):
        with pytest.raises(ShapeError, match=r"whole numbers of shape \(200,\)"):
            next(fit_classifier_steps(classifier(), x, wrong, config))
    with pytest.raises(ShapeError, match=r"logits of shape \(16, 4\).*got \(16, 3\)"):
        next(fit_classifier_steps(classifier(), x, torch.arange(200) % 4, config))
    with pytest.warns(UnscaledData):
        next(fit_classifier_steps(classifier(), 100 * x, y, config))


def test_a_loss_that_is_not_finite_stops_with_a_diagnosis_that_speaks_of_no_checkpoint():
    x, y = data()
    x[3] = float("nan")
    with pytest.raises(NonFiniteError, match=r"step \d+.*not finite; remove them\.$"):
        list(fit_classifier_steps(classifier(), x, y, TrainingConfig(steps=50, batch_size=64)))
