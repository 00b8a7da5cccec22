"""Conditions that are fixed, hidden, or name the denoiser to ask."""

import pytest
import torch

from caminito.denoiser import ClassDenoiser, GaussianDenoiser, MixtureDenoiser, from_x0, given, without
from caminito.errors import ConditionError, ConfigError, ShapeError
from caminito.nn import Given
from caminito.process import EDM, VP
from caminito.testing import check_denoiser

VPS = VP()


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two(process=VPS):
    parts = [
        MixtureDenoiser(torch.tensor([0.4, 0.6]), 2 * randn(2, 2, seed=k), torch.tensor([0.1, 0.3]), process)
        for k in range(2)
    ]
    whole = MixtureDenoiser(
        torch.tensor([0.12, 0.18, 0.28, 0.42]),
        torch.cat([2 * randn(2, 2, seed=k) for k in range(2)]),
        torch.tensor([0.1, 0.3, 0.1, 0.3]),
        process,
    )
    return ClassDenoiser(parts, torch.tensor([0.3, 0.7])), whole


@pytest.mark.parametrize("t", [0.02, 0.4, 0.95])
def test_without_a_class_it_is_the_mixture_of_all(t):
    denoiser, whole = two()
    x = 2 * randn(25, 2, seed=7)
    assert torch.allclose(denoiser.mean(x, t), whole.mean(x, t), atol=1e-10)
    assert torch.allclose(denoiser.var(x, t), whole.var(x, t), atol=1e-10)
    assert torch.allclose(denoiser.log_marginal(x, t), whole.log_marginal(x, t), atol=1e-10)
    assert torch.allclose(denoiser.log_probs(x, t).exp().sum(1), torch.ones(25, dtype=torch.float64))
    own = whole.responsibilities(x, t)
    assert torch.allclose(denoiser.log_probs(x, t).exp()[:, 0], own[:, :2].sum(1), atol=1e-10)
    for mine, theirs in zip(denoiser.data_moments, whole.data_moments):
        assert torch.allclose(mine, theirs)


def test_rows_may_be_told_their_class_or_not():
    denoiser, whole = two()
    x = 2 * randn(4, 2, seed=7)
    cond = {"y": Given(torch.tensor([0, 1, 99, 0]), torch.tensor([True, True, False, False]))}
    expected = torch.cat([denoiser.denoisers[0].mean(x[:1], 0.4), denoiser.denoisers[1].mean(x[1:2], 0.4)])
    assert torch.allclose(denoiser.mean(x, 0.4, cond)[:2], expected)
    assert torch.allclose(denoiser.mean(x, 0.4, cond)[2:], whole.mean(x[2:], 0.4), atol=1e-10)
    logs = denoiser.log_marginal(x, 0.4, cond)
    assert torch.allclose(logs[:1], denoiser.denoisers[0].log_marginal(x[:1], 0.4))
    assert torch.allclose(logs[2:], whole.log_marginal(x[2:], 0.4))


def test_a_class_that_nobody_has_changes_nothing():
    parts = [GaussianDenoiser(torch.tensor([m], dtype=torch.float64), 0.1, VPS) for m in (0.0, 5.0)]
    denoiser = ClassDenoiser(parts, torch.tensor([1.0, 0.0]))
    x = randn(5, 1)
    assert torch.allclose(denoiser.mean(x, 0.3), parts[0].mean(x, 0.3))
    nobody = {"y": torch.ones(5, dtype=torch.long)}
    assert torch.equal(denoiser.log_marginal(x, 0.3, nobody), parts[1].log_marginal(x, 0.3))


def test_it_passes_the_checks_of_a_denoiser():
    chance = torch.Generator().manual_seed(3)
    part = torch.multinomial(torch.tensor([0.12, 0.18, 0.28, 0.42]), 600, replacement=True, generator=chance)
    means, var = torch.cat([2 * randn(2, 2, seed=k) for k in range(2)]), torch.tensor([0.1, 0.3, 0.1, 0.3]).double()
    x0 = means[part] + var[part, None].sqrt() * randn(600, 2, seed=4)
    check_denoiser(two()[0], x0, verbose=False)
    own = x0[part < 2]
    check_denoiser(two()[0], own, cond={"y": torch.zeros(len(own), dtype=torch.long)}, verbose=False)


def test_a_given_condition_stands_whatever_is_asked():
    denoiser, _ = two()
    x, one = 2 * randn(6, 2), torch.tensor([1])
    settled = given(denoiser, {"y": one})
    expected = denoiser.denoisers[1].mean(x, 0.4)
    assert torch.equal(settled.mean(x, 0.4, {"y": torch.zeros(6).long()}), denoiser.mean(x, 0.4, {"y": one.expand(6)}))
    assert torch.allclose(settled.mean(x, 0.4), expected)
    assert torch.allclose(settled.log_marginal(x, 0.4), denoiser.denoisers[1].log_marginal(x, 0.4))
    assert settled.knows_variance and settled.mixes_conditions
    told = {"y": Given(one, torch.tensor([False]))}
    assert torch.allclose(given(denoiser, told).mean(x, 0.4), denoiser.mean(x, 0.4))


def test_what_is_hidden_is_not_passed_on():
    seen = []
    denoiser = from_x0(lambda x, t, cond: (seen.append(cond), x)[1], VPS)
    cond = {"y": torch.tensor([1]), "place": torch.tensor([2])}
    without(denoiser, "y").mean(randn(1, 2), 0.5, cond)
    without(denoiser).mean(randn(1, 2), 0.5, cond)
    without(denoiser, "y", "place").mean(randn(1, 2), 0.5, cond)
    assert [list(c or ()) for c in seen] == [["place"], [], []]
    assert seen[1] is None and seen[2] is None


@pytest.mark.parametrize(
    ("cond", "error", "words"),
    [
        ({"y": torch.tensor([0, 2])}, ConditionError, "expected classes 0 to 1"),
        ({"y": torch.tensor([0.0, 1.0])}, ShapeError, "whole numbers"),
        ({"y": torch.tensor([0])}, ShapeError, r"shape \(2,\)"),
        ({"z": torch.tensor([0, 1])}, ConditionError, "expected 'y' alone"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(cond, error, words):
    with pytest.raises(error, match=words):
        two()[0].mean(randn(2, 2), 0.5, cond)


@pytest.mark.parametrize("shares", [[0.5], [0.5, 0.6], [-0.5, 1.5]])
def test_shares_that_are_no_probabilities_are_refused(shares):
    parts = [GaussianDenoiser(torch.zeros(1), 1.0, VPS)] * 2
    with pytest.raises(ConfigError, match="shares: expected 2 numbers"):
        ClassDenoiser(parts, torch.tensor(shares))


def test_classes_of_different_processes_and_without_densities_are_refused():
    parts = [GaussianDenoiser(torch.zeros(1), 1.0, process) for process in (VPS, EDM(80.0))]
    with pytest.raises(ConfigError, match="one process for all classes"):
        ClassDenoiser(parts, torch.tensor([0.5, 0.5]))
    blind = from_x0(lambda x, t, cond: x, VPS)
    with pytest.raises(ConfigError, match="knows no density"):
        ClassDenoiser([blind, blind], torch.tensor([0.5, 0.5])).mean(randn(1, 1), 0.5)
