"""The variational bound as a loss, learned variances, resampled times, and weights learnt or given."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from caminito import nn as networks
from caminito._errors import ConfigError
from caminito._random import Stream, normal
from caminito.denoiser import NetworkDenoiser, Precondition, VarianceRange, eps, v
from caminito.process import EDM, VP, Chain
from caminito.sampling import variational_bound
from caminito.training import (
    Resampler,
    TrainingConfig,
    Uncertainty,
    averaged,
    denoising_loss,
    draw_times,
    fit_steps,
    initial_state,
    load_checkpoint,
    save_checkpoint,
    weight_of,
)
from caminito.training.objective import WEIGHTS

CHAIN = Chain.ddpm("cosine", steps=12)


class Small(nn.Module):
    """A network in float64 whose output is not zero at birth; `parts` outputs per entry."""

    def __init__(self, parts=1):
        super().__init__()
        torch.manual_seed(5)
        self.inner = nn.Linear(4, 8).double()
        self.outer = nn.Linear(8, 3 * parts).double()

    def forward(self, x, label, cond=None):
        return self.outer(torch.tanh(self.inner(torch.cat([x.double(), label.double()[:, None]], 1))))


def small(parts=1, chain=CHAIN, kind="eps"):
    variance = VarianceRange(chain) if parts == 2 else None
    return NetworkDenoiser(Small(parts), Precondition(kind), chain, (3,), variance=variance)


def draws(n=6, seed=0):
    x0 = 0.8 * normal(seed, Stream.SAMPLE, 0, (n, 3), dtype=torch.float64)
    return x0, normal(seed, Stream.NOISE, 0, (n, 3), dtype=torch.float64)


class Same:
    """One noise for every step."""

    def __init__(self, noise):
        self.noise = noise

    def normal(self, step, like):
        return self.noise


def at(t, n):
    return torch.full((n,), float(t), dtype=torch.float64)


def gradients(model, loss):
    model.network.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.network.parameters()])


@pytest.mark.parametrize(("parts", "variance"), [(1, "small"), (2, "posterior")])
def test_losses_of_all_steps_add_up_to_the_bound(parts, variance):
    """sum_t L_t + L_0 per entry is what `variational_bound` gives for the same noise, without its constant L_T."""
    model, (x0, noise) = small(parts), draws()
    bound = variational_bound(model, x0, variance=variance, noise=Same(noise))
    # T L_t per entry: 3 entries and T terms
    terms = [denoising_loss(model, x0, at(t, 6), noise, loss="vlb").detach() * 3 / 12 for t in range(12, 0, -1)]
    assert torch.allclose(torch.stack(terms[:-1], 1), bound.steps, rtol=1e-9)
    assert torch.allclose(terms[-1], bound.reconstruction, rtol=1e-9)


@pytest.mark.parametrize("chain", [CHAIN, Chain.ddpm(torch.linspace(1e-3, 0.3, 20))], ids=["cosine", "linear"])
def test_gradient_of_the_bound_is_the_weighted_gradient_of_the_simple_loss(chain):
    """Ho et al. 2020, eq. 12: grad L_t = beta^2 / (2 var alpha (1 - abar)) grad |eps - eps_hat|^2, also at t = 1."""
    model, (x0, noise) = small(chain=chain), draws()
    beta = chain.std**2
    abar = chain.kernel(torch.arange(int(chain.t_max) + 1)).scale ** 2
    var = (1 - abar[:-1]) / (1 - abar[1:]) * beta
    var[0] = var[1]
    count = int(chain.t_max)
    bound = sum(denoising_loss(model, x0, at(t, 6), noise, loss="vlb").mean() / count for t in range(1, count + 1))
    total = gradients(model, bound)
    weighted = 0
    for t in range(1, count + 1):
        x_t = chain.noise(x0, at(t, 6), noise)
        error = (noise - eps(model, x_t, float(t))).square().mean()
        weighted = weighted + beta[t - 1] ** 2 / (2 * var[t - 1] * (1 - beta[t - 1]) * (1 - abar[t])) * error
    simple = gradients(model, weighted)
    assert float((total - simple).abs().max()) < 1e-10 * float(simple.abs().max())


def test_every_term_of_the_bound_and_the_simple_loss_have_one_direction():
    """Term by term: the ratio of the two gradients is a number that depends on t alone."""
    model, (x0, noise) = small(), draws()
    snr = torch.exp(CHAIN.logsnr(torch.arange(13)))
    for t in range(2, 13):
        a = gradients(model, denoising_loss(model, x0, at(t, 6), noise, loss="vlb").mean() / 12)
        b = gradients(model, denoising_loss(model, x0, at(t, 6), noise, weight="simple").mean())
        ratio = float((snr[t - 1] - snr[t]) / (2 * snr[t]))
        assert float((a - ratio * b).abs().max()) < 1e-10 * float(a.abs().max())


class Leaf(nn.Module):
    """Outputs that are parameters."""

    def __init__(self, rows):
        super().__init__()
        self.out = nn.Parameter(0.3 * normal(2, Stream.SAMPLE, 0, (rows, 6), dtype=torch.float64))

    def forward(self, x, label, cond=None):
        return self.out


def test_in_the_hybrid_loss_the_bound_does_not_move_the_mean():
    """Exactly: the mean's gradient is that of the squared error, to the bit, and v's is that of .001 of the bound."""
    model = NetworkDenoiser(Leaf(6), Precondition("edm"), CHAIN, (3,), variance=VarianceRange(CHAIN))
    (x0, noise), t = draws(), torch.tensor([1.0, 2.0, 5.0, 7.0, 11.0, 12.0], dtype=torch.float64)
    grads = {
        loss: gradients(model, denoising_loss(model, x0, t, noise, loss=loss).mean()).view(6, 6)
        for loss in ("squared", "hybrid", "vlb")
    }
    assert torch.equal(grads["hybrid"][:, :3], grads["squared"][:, :3])
    assert bool((grads["squared"][:, 3:] == 0).all())
    assert torch.allclose(grads["hybrid"][:, 3:], 1e-3 * grads["vlb"][:, 3:], rtol=1e-12)
    assert bool((grads["vlb"] != 0).all())


def test_gradients_in_float32_keep_their_digits_where_the_range_is_narrow():
    """v rho - 1 + e^(-v rho) loses all digits of float32 for rho = 1e-3 if written so."""
    chain = Chain.ddpm("linear", steps=4000)
    law, t = VarianceRange(chain), torch.tensor([3000.0, 4000.0], dtype=torch.float64)
    results = []
    for dtype in (torch.float32, torch.float64):
        place = torch.tensor([[0.25], [0.75]], dtype=dtype, requires_grad=True)
        loss = law.bound(torch.zeros(2, 1, dtype=dtype), place, t)
        loss.sum().backward()
        results.append(torch.cat([loss.detach(), place.grad]).double())
    assert float((results[0] / results[1] - 1).abs().max()) < 1e-6


def test_a_variance_alone_is_learnt_by_the_loop():
    """Data N(0, 1/4), F = 0 exact: the hybrid loss leads v to the closed form, Var = q sigma^2 / (alpha^2 q + sigma^2).

    The mean of n squared errors is known to sqrt(2 / n) of itself; some 10^4 items reach each step.
    """

    class Places(nn.Module):
        def __init__(self):
            super().__init__()
            self.labels = Precondition("edm", 0.5).coefficients(CHAIN, torch.arange(1, 13)).label
            self.out = nn.Parameter(torch.zeros(12))

        def forward(self, x, label, cond=None):
            step = (label[:, None].double() - self.labels).abs().argmin(1)
            return torch.cat([torch.zeros_like(x), self.out[step][:, None].expand(x.shape)], 1)

    model = NetworkDenoiser(Places(), Precondition("edm", 0.5), CHAIN, (4,), variance=VarianceRange(CHAIN))
    data = 0.5 * normal(0, Stream.SAMPLE, 1, (5000, 4))
    config = TrainingConfig(
        steps=250, batch_size=240, learning_rate=0.1, warmup=0, times="uniform", loss="hybrid", precision="float32"
    )
    for progress in fit_steps(model, data, config):
        pass
    t = torch.arange(1, 13, dtype=torch.float64)
    alpha, sigma = CHAIN.kernel(t)
    with averaged(progress.state), torch.no_grad():
        found = model.var(torch.zeros(12, 4), t)[:, 0].double()
    exact = 0.25 * sigma**2 / (alpha**2 * 0.25 + sigma**2)
    assert float((found / exact - 1).abs().max()) < 0.1


# --- which losses fit what ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "process", "options", "why"),
    [
        (2, CHAIN, {}, "'squared' teaches no variance"),
        (1, CHAIN, {"loss": "hybrid"}, "there is none. Use variance='learned'"),
        (1, VP(), {"loss": "vlb"}, "needs a chain, and VP has no steps"),
        (1, CHAIN, {"loss": "vlb", "targets": "batch"}, "Use targets='item'"),
        (1, CHAIN, {"loss": "vlb", "uncertainty": True}, "weights of its own"),
        (1, VP(), {"times": "resampled"}, "needs the steps of a chain, and VP has none"),
    ],
)
def test_losses_that_do_not_fit_are_refused(parts, process, options, why):
    variance = VarianceRange(CHAIN) if parts == 2 else None
    model = NetworkDenoiser(Small(parts), Precondition("edm"), process, (3,), variance=variance)
    with pytest.raises(ConfigError, match=why):
        next(fit_steps(model, draws()[0], TrainingConfig(steps=1, **options)))


# --- resampled times ---------------------------------------------------------------------------------------------


def filled(scales):
    """A resampler whose steps have had ten losses of the given sizes, after some that no longer count."""
    resampler = Resampler(Chain.ddpm("cosine", steps=len(scales)))
    for size in (100.0, 1.0):
        for sign in [-1, 1] * 5:
            resampler.update(torch.arange(1, len(scales) + 1), size * sign * torch.tensor(scales))
    return resampler


def test_resampled_losses_are_unbiased_and_vary_less():
    """sum_t p_t L_t / (T p_t) = mean of L_t for any losses, and the second moment is the least near L_t = history."""
    scales = torch.tensor([8.0, 4.0, 1.0, 0.5, 0.1, 3.0], dtype=torch.float64)
    resampler = filled(scales.tolist())
    law, t = resampler.probabilities(), torch.arange(1, 7, dtype=torch.float64)
    assert float(law.sum()) == pytest.approx(1, abs=1e-14)
    assert torch.allclose(law, (1 - 1e-3) * scales / scales.sum() + 1e-3 / 6, rtol=1e-6)
    weights = resampler.weights(t, law)
    for losses in (scales, torch.rand(6, dtype=torch.float64), torch.tensor([0, 0, 0, 0, 1, 0]).double()):
        assert float((law * weights * losses).sum()) == pytest.approx(float(losses.mean()), rel=1e-14)
    second = float((law * (weights * scales) ** 2).sum())
    mean = float(scales.mean())
    assert second == pytest.approx(mean**2, rel=2e-3)  # all but nothing is left of the variance
    assert float((scales**2).mean()) > 1.9 * mean**2


def test_steps_are_drawn_by_the_law():
    """A ladder of B levels has B p_t of them at step t, to one at each end of its share."""
    law = filled([8.0, 4.0, 1.0, 0.5, 0.1, 3.0]).probabilities()
    config = TrainingConfig(times="resampled", batch_size=5000)
    t = draw_times(Chain.ddpm("cosine", steps=6), config, 0, 0, 5000, law=law)
    counts = torch.bincount(t.long(), minlength=7)[1:]
    assert float((counts - 5000 * law).abs().max()) <= 2


def test_until_every_step_has_ten_losses_all_are_drawn_alike():
    resampler = Resampler(CHAIN)
    even = torch.full((12,), 1 / 12, dtype=torch.float64)
    for _ in range(10):
        assert torch.equal(resampler.probabilities(), even)
        resampler.update(torch.arange(1, 12), torch.arange(1.0, 12.0))
    assert torch.equal(resampler.probabilities(), even)
    for _ in range(10):
        resampler.update(torch.tensor([12.0]), torch.tensor([0.0]))
    assert float(resampler.probabilities()[11]) == pytest.approx(1e-3 / 12, rel=1e-12)


def test_with_all_of_it_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(tmp_path):
    """Learned variance, resampled times (past their warm-up) and uncertainty."""
    chain = Chain.ddpm("cosine", steps=3)
    config = TrainingConfig(steps=12, batch_size=32, warmup=3, loss="hybrid", times="resampled", uncertainty=True)
    x = normal(0, Stream.SAMPLE, 0, (200, 2))

    def fresh():
        torch.manual_seed(0)
        network = networks.ResidualMLP(2, 4, width=16, depth=1)
        return NetworkDenoiser(network, Precondition("edm"), chain, (2,), variance=VarianceRange(chain))

    whole = fresh()
    for last in fit_steps(whole, x, config, seed=4):
        pass
    cut = fresh()
    for progress in fit_steps(cut, x, config, seed=4):
        if progress.step == 5:
            law = progress.state.beside["times"].probabilities()
            assert float(law.max() / law.min()) > 1.01
            save_checkpoint(tmp_path, progress.state)
            break
    again = fresh()
    state = initial_state(again.network, config, chain)
    tensors, facts = load_checkpoint(tmp_path)
    state.load(tensors, facts["step"], facts["elapsed"])
    for resumed in fit_steps(again, x, config, seed=4, resume=state):
        pass
    assert resumed.step == last.step == 12
    ours, theirs = last.state.tensors(), state.tensors()
    assert ours.keys() == theirs.keys() and any(name.startswith("optimizer/exp_avg/beside/") for name in ours)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


# --- weights -----------------------------------------------------------------------------------------------------

PUBLISHED = {  # on the eps error and on the v error, from SNR, as their papers have them
    "simple": (lambda r: 1.0, None),
    "snr": (lambda r: max(r, 1) / r, None),
    "min-snr": (lambda r: min(r, 5) / r, lambda r: min(r, 5) / (r + 1)),
    "p2": (lambda r: 1 / (1 + r), None),
    "edm": (None, lambda r: 1.0),
    "sigmoid": (lambda r: 1 / (1 + r / math.exp(2)), None),
    "uniform": (None, None),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_on_x0_eps_or_v_is_one_loss(name):
    """w on the x0 error, w / SNR on the eps error and w / (SNR + 1) on the v error: the same number."""
    model = NetworkDenoiser(Small(), Precondition("edm"), VP(), (3,))
    x0, noise = draws()
    model.network.requires_grad_(False)
    for t in (0.05, 0.4, 0.9):
        alpha, sigma = VP().kernel(t)
        x_t, snr = VP().noise(x0, t, noise), float((alpha / sigma) ** 2)
        w = float(weight_of(name, VP(), t))
        loss = denoising_loss(model, x0, at(t, 6), noise, weight=name).mean()
        by_eps = (eps(model, x_t, t) - noise).square().mean()
        by_v = (v(model, x_t, t) - (alpha * noise - sigma * x0)).square().mean()
        on_eps, on_v = PUBLISHED[name]
        for error, weight, published in ((by_eps, w / snr, on_eps), (by_v, w / (snr + 1), on_v)):
            assert float(weight * error) == pytest.approx(float(loss), rel=1e-10)
            if published is not None:
                assert weight == pytest.approx(published(snr), rel=1e-12)


def test_uncertainty_becomes_the_logarithm_of_the_loss():
    """The minimum over u of l / e^u + u is u = log l, and there the loss is 1 + log l."""
    torch.manual_seed(0)
    model, logsnr = Uncertainty(), torch.linspace(-10, 10, 200, dtype=torch.float64)
    level = torch.exp(1 - 0.1 * logsnr + torch.sin(logsnr / 3)).float()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=400, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        u = model(logsnr)
        loss = (level * torch.exp(-u) + u).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert float((model(logsnr) - torch.log(level)).abs().max()) < 0.05


def test_uncertainty_divides_the_squared_error_and_leaves_the_bound():
    model, (x0, noise) = small(2), draws()
    difficulty = Uncertainty()
    with torch.no_grad():
        difficulty.mix.bias.fill_(math.log(3.0))
    t = at(5, 6)
    plain, hybrid = (denoising_loss(model, x0, t, noise, loss=loss) for loss in ("squared", "hybrid"))
    divided = denoising_loss(model, x0, t, noise, loss="hybrid", uncertainty=difficulty)
    assert torch.allclose(divided, plain / 3 + math.log(3.0) + (hybrid - plain), rtol=1e-6)


def test_uncertainty_is_trained_beside_the_network():
    model = NetworkDenoiser(networks.ResidualMLP(3, width=8, depth=1), Precondition("edm"), EDM(20.0), (3,))
    config = TrainingConfig(steps=30, batch_size=64, uncertainty=True, learning_rate=1e-2, warmup=0)
    for progress in fit_steps(model, draws(64)[0].float(), config):
        pass
    assert float(progress.state.beside["uncertainty"].mix.weight.detach().abs().max()) > 0
    assert not any("mix" in name for name in model.network.state_dict())
