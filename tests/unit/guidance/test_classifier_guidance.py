"""Classifier guidance beside Bayes' rule."""

import math

import pytest
import torch

from caminito.denoiser import ClassDenoiser, GaussianDenoiser, MixtureDenoiser, without
from caminito.errors import ConfigError, ShapeError
from caminito.guidance import classifier_guide
from caminito.metrics import sliced_wasserstein
from caminito.process import EDM, VP, Chain, RectifiedFlow
from caminito.sampling import Ancestral, DPMpp2M, sample

VPS = VP()


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(process=VPS, dim=3):
    parts = [
        MixtureDenoiser(torch.tensor([0.3, 0.7]), 2 * randn(2, dim, seed=k), torch.tensor([0.05, 0.2]), process)
        for k in range(3)
    ]
    return ClassDenoiser(parts, torch.tensor([0.2, 0.3, 0.5]))


def says(denoiser, k):
    return lambda x_t, t, cond: denoiser.log_probs(x_t, t)[:, k]


@pytest.mark.parametrize(
    "process", [VPS, EDM(80.0), RectifiedFlow(), Chain.ddpm("cosine")], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_the_exact_classifier_at_scale_1_makes_the_denoiser_of_the_class(process, share):
    denoiser, t = classes(process), share * process.t_max
    t = round(t) if process.is_discrete else t
    x = randn(30, 3, seed=5) * float(process.kernel(t).std) + float(process.kernel(t).scale) * randn(30, 3, seed=6)
    for k in range(3):
        led = classifier_guide(denoiser, says(denoiser, k)).mean(x, t)
        assert torch.allclose(led, denoiser.denoisers[k].mean(x, t), atol=1e-8)


def test_samples_led_by_the_exact_classifier_are_those_of_the_class():
    denoiser, n = classes(), 4000
    how = {"steps": 64, "solver": DPMpp2M(), "dtype": torch.float64}
    led = [sample(classifier_guide(denoiser, says(denoiser, 1)), (n, 3), seed=seed, **how) for seed in range(3)]

    def exact(seed):
        chance = torch.Generator().manual_seed(seed)
        part = (torch.rand(n, generator=chance) < 0.7).long()
        means = 2 * randn(2, 3, seed=1)
        return means[part] + torch.tensor([0.05, 0.2]).sqrt()[part, None] * torch.randn(n, 3, generator=chance).double()

    real = exact(0)
    floor = sum(sliced_wasserstein(real, exact(k)) for k in range(1, 6)) / 5
    assert sum(sliced_wasserstein(real, each) for each in led) / 3 <= 1.2 * floor
    whole = sample(denoiser, (n, 3), steps=64, dtype=torch.float64)
    assert sliced_wasserstein(real, whole) > 5 * floor  # without the classifier: all classes


def test_no_scale_and_outside_the_interval_the_denoiser_stays_as_it_is():
    denoiser, x = classes(), randn(5, 3)
    asked = []

    def log_prob(x_t, t, cond):
        asked.append(float(t))
        return denoiser.log_probs(x_t, t)[:, 0]

    assert torch.equal(classifier_guide(denoiser, log_prob, 0.0).mean(x, 0.5), denoiser.mean(x, 0.5))
    inside = classifier_guide(denoiser, log_prob, 2.0, interval=(0.5, 0.8))  # the noise level is .72 at t = .2
    assert torch.equal(inside.mean(x, 0.9), denoiser.mean(x, 0.9))
    assert asked == []
    assert not torch.equal(inside.mean(x, 0.2), denoiser.mean(x, 0.2))


def test_more_of_it_gives_surer_samples():
    sides = [GaussianDenoiser(torch.tensor([s], dtype=torch.float64), 0.5, VPS) for s in (-1.0, 1.0)]
    denoiser = ClassDenoiser(sides, torch.tensor([0.5, 0.5]))
    wrong = []
    for w in (0.5, 1.0, 3.0):
        led = classifier_guide(denoiser, says(denoiser, 1), w)
        wrong.append(float((sample(led, (4000, 1), steps=32) < 0).double().mean()))
    assert wrong[0] > 1.5 * wrong[1] > 3 * wrong[2]
    assert wrong[1] == pytest.approx(0.5 * math.erfc(1.0), abs=0.015)  # P(N(1, 1/2) < 0)


def test_the_variance_is_the_denoisers_and_stochastic_rules_walk_it():
    denoiser, x = classes(), randn(4, 3)
    led = classifier_guide(denoiser, says(denoiser, 2))
    mean, var = led.moments(x, 0.4)
    assert torch.equal(mean, led.mean(x, 0.4)) and torch.equal(var, denoiser.var(x, 0.4))
    drawn = sample(led, (50, 3), steps=20, solver=Ancestral("posterior"), dtype=torch.float64)
    assert torch.isfinite(drawn).all() and not drawn.requires_grad


def test_a_conditional_denoiser_may_be_led_without_its_condition():
    denoiser, x, y = classes(), randn(6, 3), {"y": torch.full((6,), 2)}
    led = classifier_guide(
        without(denoiser, "y"), lambda x_t, t, cond: denoiser.log_probs(x_t, t).gather(1, cond["y"][:, None])[:, 0]
    )
    assert torch.allclose(led.mean(x, 0.4, y), denoiser.mean(x, 0.4, y), atol=1e-9)


@pytest.mark.parametrize("process", [RectifiedFlow(), Chain.ddpm("cosine", zero_snr=True)], ids=["flow", "chain"])
def test_where_the_signal_is_gone_the_class_still_has_its_mean(process):
    denoiser, x = classes(process), randn(4, 3)
    for k in range(3):
        led = classifier_guide(denoiser, says(denoiser, k)).mean(x, process.t_max)
        exact = denoiser.denoisers[k].mean(x, process.t_max)
        assert torch.allclose(led, exact, atol=0.02)  # the trace is a thousandth
        assert float((denoiser.mean(x, process.t_max) - exact).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("log_prob", "error", "words"),
    [
        (lambda x, t, cond: x, ShapeError, "one number per row"),
        (lambda x, t, cond: x.sum(), ShapeError, "one number per row"),
        (lambda x, t, cond: 0.0, ShapeError, "got float"),
        (lambda x, t, cond: x.detach()[:, 0], ConfigError, "without a gradient"),
    ],
)
def test_a_function_that_is_no_log_probability_is_refused(log_prob, error, words):
    with pytest.raises(error, match=words):
        classifier_guide(classes(), log_prob).mean(randn(4, 3), 0.5)
