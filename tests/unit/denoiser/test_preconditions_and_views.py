"""One x0_hat in five dialects; and the same knowledge as score, eps, v and flow."""

import math

import pytest
import torch
from torch import nn

from caminito._errors import TimeError
from caminito.denoiser import (
    GaussianDenoiser,
    MixtureDenoiser,
    NetworkDenoiser,
    Precondition,
    eps,
    flow,
    from_eps,
    from_flow,
    from_score,
    from_v,
    from_x0,
    score,
    v,
)
from caminito.process import EDM, VE, VP, Chain, Cosine, RectifiedFlow, SubVP, times

EPS = torch.finfo(torch.float64).eps
KINDS = ("x0", "eps", "v", "flow", "edm")
G = torch.Generator().manual_seed(1)
PROCESSES = {
    "VP": (VP(), 0.4),
    "SubVP": (SubVP(), 0.6),
    "Cosine": (Cosine(), 0.55),
    "VE": (VE(), 0.5),
    "EDM": (EDM(), 0.4),
    "RectifiedFlow": (RectifiedFlow(), 0.45),
    "ddpm": (Chain.ddpm("linear", steps=200), 90.0),
    "turned": (Chain([0.1, 1.4, 0.2], [0.3, 0.5, 0.4]), 3.0),
}
each = pytest.mark.parametrize("name", PROCESSES)


def randn(*shape):
    return torch.randn(*shape, generator=G, dtype=torch.float64)


def mixture(process):
    return MixtureDenoiser(torch.tensor([0.4, 0.6]), torch.tensor([[1.0, -1.0], [-2.0, 0.5]]), 0.3, process)


def prediction(kind, process, t, x_t, x0, d):
    """What the network of each kind is asked for, from the definitions of their papers.

    In canonical coordinates y = sign(alpha) x_t, with a = |alpha| d the scale of x0 / d in y:
    y = a (x0 / d) + sigma e.
    """
    alpha, sigma = (float(c) for c in process.kernel(t))
    a = abs(alpha) * d
    e = (math.copysign(1, alpha) * x_t - a * (x0 / d)) / sigma
    n = math.hypot(a, sigma)
    return {
        "x0": x0 / d,
        "eps": e,
        "v": a / n * e - sigma / n * x0 / d,
        "flow": e - x0 / d,
        "edm": -(a / n * e - sigma / n * x0 / d),
    }[kind]


@each
@pytest.mark.parametrize("d", [1.0, 0.5, 3.0])
def test_the_five_preconditions_agree(name, d):
    """The same function, said as each kind of network output, gives the same x0_hat."""
    process, t = PROCESSES[name]
    x_t = times(process.kernel(t).std + process.kernel(t).scale.abs(), randn(6, 2))
    truth = mixture(process).mean(x_t, t)
    for kind in KINDS:
        c = Precondition(kind, d).coefficients(process, torch.tensor(t, dtype=torch.float64))
        f = prediction(kind, process, t, x_t, truth, d)
        got = times(c.skip, x_t) + times(c.out, f)
        assert float((got - truth).abs().max()) < 1e-12, kind


@each
def test_the_five_preconditions_agree_for_any_output(name):
    """Not only at the truth: any x0 guess, however wrong."""
    process, t = PROCESSES[name]
    x_t, guess = randn(5, 2), 10 * randn(5, 2)
    for kind in KINDS:
        c = Precondition(kind, 0.7).coefficients(process, torch.tensor(t, dtype=torch.float64))
        got = times(c.skip, x_t) + times(c.out, prediction(kind, process, t, x_t, guess, 0.7))
        assert float((got - guess).abs().max()) < 1e-12 * float(guess.abs().max()), kind


@each
@pytest.mark.parametrize("kind", KINDS)
def test_process_can_be_exchanged_under_the_same_network(name, kind):
    """x_t / alpha and sigma / |alpha| are all that E[x0 | x_t] sees: any process gives what VE gives."""
    process, t = PROCESSES[name]
    alpha, sigma = process.kernel(t)
    ratio = float(sigma / alpha.abs())
    other = EDM(sigma_max=2 * ratio, rho=1.0)
    f = lambda y, label: torch.tanh(y @ torch.tensor([[1.0, 0.3], [-0.5, 2.0]], dtype=torch.float64)) + label  # noqa: E731
    y = randn(6, 2)
    results = []
    for p, time in ((process, t), (other, 0.5)):
        c = Precondition(kind, 0.8).coefficients(p, torch.tensor(time, dtype=torch.float64))
        x = times(p.kernel(time).scale, y)
        results.append(times(c.skip, x) + times(c.out, f(times(c.inp, x), c.label)))
    assert float((results[0] - results[1]).abs().max()) < 1e-12 * (1 + ratio)


@pytest.mark.parametrize("kind", KINDS)
def test_swapping_vp_for_ve_under_a_network_leaves_the_mean_unchanged(kind):
    """Through the float32 network: to float32 rounding times the slope of the network."""

    class Net(nn.Module):
        def forward(self, x, label, cond):
            return torch.sin(x) + label.reshape(-1, 1)

    vp, ve = VP(), VE(0.01, 50.0)
    y = randn(8, 3)
    for level in (4.0, 0.0, -4.0):
        t_vp, t_ve = vp.time(level), ve.time(level)
        a = NetworkDenoiser(Net(), Precondition(kind), vp, (3,)).mean(times(vp.kernel(t_vp).scale, y), t_vp)
        b = NetworkDenoiser(Net(), Precondition(kind), ve, (3,)).mean(y, t_ve)
        assert float((a - b).abs().max()) < 2e-6 * (1 + math.exp(-level / 2))


def test_network_sees_unit_variance_whatever_the_process():
    """Of data of variance d^2: inp^2 (alpha^2 d^2 + sigma^2) = 1, and the label is log(sigma / |alpha|) / 4."""
    for process, t in PROCESSES.values():
        alpha, sigma = process.kernel(t)
        c = Precondition("edm", 0.6).coefficients(process, torch.tensor(t, dtype=torch.float64))
        assert abs(float(c.inp**2 * (alpha**2 * 0.36 + sigma**2)) - 1) < 8 * EPS
        assert abs(float(c.label) - math.log(float(sigma / alpha.abs())) / 4) < 8 * EPS


@each
@pytest.mark.parametrize("kind", ["v", "edm"])
def test_target_of_edm_has_variance_one_at_every_noise_level(name, kind):
    """Karras et al. 2022, appendix B.6: Var[(x0 - skip x_t) / out] = 1 for data of variance d^2."""
    process, _ = PROCESSES[name]
    d = 0.5
    grid = torch.linspace(1, process.t_max, 7).round() if process.is_discrete else torch.linspace(0.01, 1, 25)
    t = grid.to(torch.float64)
    t = t[process.kernel(t).std > 0]
    alpha, sigma = process.kernel(t)
    c = Precondition(kind, d).coefficients(process, t)
    var = ((1 - c.skip * alpha) ** 2 * d**2 + c.skip**2 * sigma**2) / c.out**2
    # 1 - skip alpha = sigma^2 / n^2 by subtraction: eps n^2 / sigma^2 of it, eps n / sigma of the sum
    slack = 16 * EPS * (1 + (alpha * d / sigma) ** 2)
    assert bool(((var - 1).abs() < slack).all())


def test_edm_with_unit_data_is_minus_v():
    t = torch.linspace(0.05, 0.95, 9, dtype=torch.float64)
    a, b = Precondition("edm").coefficients(VP(), t), Precondition("v").coefficients(VP(), t)
    assert torch.equal(a.skip, b.skip) and torch.equal(a.out, -b.out) and torch.equal(a.inp, b.inp)


def test_edm_coefficients_are_table_1_of_karras_et_al():
    process, d = EDM(80.0), 0.5
    for sigma in (0.002, 0.5, 80.0):
        t = process.time(-2 * math.log(sigma))
        c = Precondition("edm", d).coefficients(process, t)
        n2 = sigma**2 + d**2
        expected = (d**2 / n2, sigma * d / math.sqrt(n2), 1 / math.sqrt(n2), math.log(sigma) / 4)
        for got, value in zip(c, expected):
            assert math.isclose(float(got), value, rel_tol=1e-13)


def test_a_network_that_says_nothing_is_exact_for_gaussian_data():
    """F = 0 under edm or v is the posterior mean of N(0, d^2): the network learns only what is not Gaussian."""

    class Zero(nn.Module):
        def forward(self, x, label, cond):
            return torch.zeros_like(x)

    d, x = 0.7, randn(5, 3)
    for process, t in PROCESSES.values():
        exact = GaussianDenoiser(torch.zeros(3), d**2, process)
        for kind in ("edm", "v"):
            got = NetworkDenoiser(Zero(), Precondition(kind, d), process, (3,)).mean(x, t)
            assert float((got - exact.mean(x, t)).abs().max()) < 1e-14 * float(x.abs().max())


def test_network_receives_canonical_float32_coordinates_label_and_conditions():
    seen = {}

    class Spy(nn.Module):
        def forward(self, x, label, cond):
            seen.update(x=x, label=label, cond=cond)
            return x

    process = Chain([1.5], [0.5])  # alpha = -0.5
    x = randn(4, 3)
    NetworkDenoiser(Spy(), Precondition("edm", 2.0), process, (3,)).mean(x, 1.0, {"label": torch.zeros(4)})
    assert seen["x"].dtype == torch.float32 and seen["label"].shape == (4,)
    assert torch.allclose(seen["x"].double(), -x / math.hypot(1.0, 0.5), atol=1e-6)
    assert float(seen["label"].abs().max()) == 0.0  # log(0.5 / 0.5)
    assert set(seen["cond"]) == {"label"}


def test_a_row_of_times_reaches_the_network_row_by_row():
    class Net(nn.Module):
        def forward(self, x, label, cond):
            return x * label.reshape(-1, 1)

    denoiser = NetworkDenoiser(Net(), Precondition("x0"), VP(), (3,))
    x, t = randn(3, 3), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    whole, out = denoiser.forward(x, t)
    assert out.shape == (3,)
    for i in range(3):
        assert torch.equal(whole[i : i + 1], denoiser.mean(x[i : i + 1], t[i]))


@pytest.mark.parametrize("kind", ["x0", "v", "flow", "edm"])
@pytest.mark.parametrize(
    "process", [Cosine(), RectifiedFlow(), Chain.ddpm("linear", zero_snr=True)], ids=lambda p: type(p).__name__
)
def test_coefficients_are_finite_at_both_ends_without_dividing_by_alpha(kind, process):
    c = Precondition(kind, 0.5).coefficients(process, torch.tensor([0.0, process.t_max], dtype=torch.float64))
    assert torch.isfinite(torch.stack([*c])).all()
    if kind != "x0":  # at t = 0 the observation is the datum
        assert float(c.skip[0]) == 1.0 and float(c.out[0]) == 0.0
    assert float(c.skip[1]) == (0.5 if kind == "flow" else 0.0)


def test_eps_has_no_meaning_where_the_signal_is_gone():
    with pytest.raises(TimeError, match=r"eps.*alpha_t = 0.*Predict x0, v, flow or edm"):
        Precondition("eps").coefficients(Cosine(), torch.tensor(1.0))


# --- views -------------------------------------------------------------------------------------------------------

ADAPTERS = {"score": (score, from_score), "eps": (eps, from_eps), "v": (v, from_v), "flow": (flow, from_flow)}


WITH_VIEW = [(n, w) for n, (p, _) in PROCESSES.items() for w in ADAPTERS if w != "flow" or not p.is_discrete]


@pytest.mark.parametrize(("name", "view"), WITH_VIEW)
def test_an_adapter_undoes_its_view(name, view):
    process, t = PROCESSES[name]
    say, hear = ADAPTERS[view]
    source = mixture(process)
    back = hear(lambda x, time, cond: say(source, x, time, cond), process)
    alpha, sigma = process.kernel(t)
    x = times(alpha, randn(6, 2)) + times(sigma, randn(6, 2))
    ratio = float(sigma / alpha.abs() + alpha.abs() / sigma)
    assert float((back.mean(x, t) - source.mean(x, t)).abs().max()) < 1e-13 * (1 + ratio**2)


def test_x0_adapter_passes_its_function_through_with_time_and_conditions():
    seen = []

    def fn(x, t, cond):
        seen.append((t, cond))
        return 2 * x

    chain = Chain.ddpm("cosine", steps=10)
    denoiser = from_x0(fn, chain)
    x = randn(2, 3)
    assert torch.equal(denoiser.mean(x, 7.0, {"a": 1}), 2 * x)
    assert float(seen[0][0]) == 7.0 and seen[0][1] == {"a": 1}
    assert denoiser.process is chain and denoiser.event_shape is None


@each
def test_views_are_linear_in_each_other(name):
    """score = -eps / sigma; v = alpha eps - sigma D; x_t = alpha D + sigma eps; flow = alpha' D + sigma' eps."""
    process, t = PROCESSES[name]
    d, x = mixture(process), randn(5, 2)
    alpha, sigma = (float(c) for c in process.kernel(t))
    mean, e = d.mean(x, t), eps(d, x, t)
    size = 1e-13 * (1 + abs(alpha) / sigma + 1 / sigma**2) * float(x.abs().max() + mean.abs().max())
    assert float((alpha * mean + sigma * e - x).abs().max()) < size
    assert float((score(d, x, t) + e / sigma).abs().max()) < size
    assert float((v(d, x, t) - (alpha * e - sigma * mean)).abs().max()) < size
    if not process.is_discrete:
        a, s = (float(c) for c in process.rates(t))
        assert float((flow(d, x, t) - (a * mean + s * e)).abs().max()) < size * (1 + abs(a) + abs(s))


def test_score_view_is_the_gradient_of_the_log_marginal():
    d = mixture(VP())
    x = randn(6, 2).requires_grad_(True)
    (gradient,) = torch.autograd.grad(d.log_marginal(x, 0.3).sum(), x)
    assert float((score(d, x.detach(), 0.3) - gradient).abs().max()) < 1e-12 / float(VP().kernel(0.3).std) ** 2


def test_rectified_flow_is_eps_minus_x0():
    d, x = mixture(RectifiedFlow()), randn(5, 2)
    for t in (0.2, 0.7, 1.0):
        expected = eps(d, x, t) - d.mean(x, t)
        assert float((flow(d, x, t) - expected).abs().max()) < 1e-13 / t**2 * 10


def test_misprinted_recovery_of_x0_is_not_used():
    """x0 = (x_t - sqrt(1 - abar) eps) / sqrt(abar). Its misprint, with (1 - alpha) / sqrt(1 - abar), gives -3.7270."""
    chain = Chain.ddpm("linear")
    x0, noise = torch.tensor([[0.7]], dtype=torch.float64), torch.tensor([[-1.3]], dtype=torch.float64)
    x_t = chain.noise(x0, 501.0, noise)
    got = from_eps(lambda x, t, cond: noise, chain).mean(x_t, 501.0)
    assert abs(float(got) - 0.7) < 1e-14
    alpha, abar = float(chain.scale[500]) ** 2, float(chain.kernel(501.0).scale) ** 2
    misprint = (float(x_t) - (1 - alpha) / math.sqrt(1 - abar) * -1.3) / math.sqrt(abar)
    assert f"{misprint:.4f}" == "-3.7270"


@pytest.mark.parametrize("view", ["eps", "score"])
@pytest.mark.parametrize(
    "process",
    [Cosine(), RectifiedFlow(), Chain.ddpm("cosine", steps=20, zero_snr=True)],
    ids=lambda p: type(p).__name__,
)
def test_eps_and_score_say_nothing_of_x0_where_the_signal_is_gone(view, process):
    denoiser = ADAPTERS[view][1](lambda x, t, cond: x, process)
    with pytest.raises(TimeError, match=r"not defined by .* \(alpha = 0\)\. Use x0 or v, or end the grid"):
        denoiser.mean(randn(2, 2), process.t_max)


def test_v_and_flow_say_x0_where_the_signal_is_gone():
    """At alpha = 0, v = -sigma x0 and flow = alpha' x0 + sigma' x_t / sigma."""
    for process in (Cosine(), RectifiedFlow()):
        d, x = mixture(process), randn(3, 2)
        mean = d.mean(x, 1.0)
        for view in ("v", "flow"):
            say, hear = ADAPTERS[view]
            back = hear(lambda y, t, cond: say(d, y, t), process)  # noqa: B023
            assert float((back.mean(x, 1.0) - mean).abs().max()) < 1e-13 * (1 + float(x.abs().max()))


def test_flow_of_a_chain_is_refused():
    chain = Chain.ddpm("cosine", steps=10)
    with pytest.raises(TimeError, match="no time derivative"):
        from_flow(lambda x, t, cond: x, chain).mean(randn(2, 2), 3.0)
