"""`posterior`: which method it takes, what it refuses, what it gives, by every method and process."""

import math
import re
import warnings
from typing import get_args

import pytest
import torch

from caminito.denoiser import (
    ClassDenoiser,
    EmpiricalDenoiser,
    GaussianDenoiser,
    MixtureDenoiser,
    Precondition,
    RegressorDenoiser,
    from_eps,
    from_v,
    from_x0,
)
from caminito.errors import (
    ConditionError,
    ConfigError,
    DataError,
    DegenerateWeights,
    GridError,
    ShapeError,
)
from caminito.posterior import (
    Blur,
    Identity,
    Linear,
    Mask,
    Method,
    Nonlinear,
    PosteriorResult,
    Select,
    observe,
    posterior,
    tds,
)
from caminito.posterior.guides import has_derivative
from caminito.process import VE, VP, Chain
from caminito.process import grid as grids

NAN = float("nan")
VPS = VP()
METHODS = [method for method in get_args(Method) if method != "auto"]
LIGHT = {
    "tds": {},
    "split-smc": {"inner": 3},
    "split-gibbs": {"inner": 3},
    "daps": {"inner": 2},
    "repaint": {"times_again": 2},
}


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prior(process=VPS):
    return GaussianDenoiser(torch.tensor([1.0, -1.0, 0.5]), torch.tensor([1.0, 2.0, 0.5]), process)


def call(denoiser, y, *args, **told):
    given = {"noise": 0.3, "n": 8, "steps": 5, "random_state": 0} | told
    if "options" not in given:
        given["options"] = LIGHT.get(given.get("method"), {})
    return posterior(denoiser, y, *args, **given)


@pytest.mark.parametrize(
    "process",
    [VPS, VE(), Chain.ddpm(steps=1000), Chain.ddpm("cosine", steps=3), Chain.ddpm(steps=30, zero_snr=True)],
    ids=["VP", "VE", "chain", "short chain", "zero-snr chain"],
)
@pytest.mark.parametrize("method", METHODS)
def test_each_method_moves_from_the_prior_to_what_was_seen_by_each_process(method, process):
    y, steps = torch.tensor([2.5, NAN, -0.5]), 3 if process.t_max == 3 and "split" not in method else 25
    found = call(prior(process), y, method=method, n=40, steps=steps)
    assert found.method == method and found.samples.shape == (40, 3) and found.samples.dtype == torch.float32
    # of the posterior, mean 2.376 and -0.347: nearer to it than to the prior, with a free entry that is free
    assert abs(float(found.mean()[0]) - 2.376) < 0.7 and abs(float(found.mean()[2]) + 0.347) < 0.5
    assert 0.3 < float(found.std()[1]) < 3
    assert (found.log_evidence is not None) == (method in ("tds", "split-smc"))


def test_a_chain_is_walked_in_no_more_steps_than_it_has_unless_they_are_asked_for():
    chain = Chain.ddpm("cosine", steps=12)
    assert call(prior(chain), torch.ones(3), steps=None, method="tds").diagnostics["steps"] == 12
    with pytest.raises(GridError, match="Ask for at most 12"):
        call(prior(chain), torch.ones(3), steps=13, method="tds")


class Straight:
    def predict(self, columns):
        return 0.5 * columns[:, :-1]


def trees(precondition="x0"):
    return RegressorDenoiser([Straight()], Precondition(precondition), VPS, (3,))


@pytest.mark.filterwarnings("ignore::caminito.errors.DegenerateWeights")
def test_auto_takes_particles_then_guidance_then_what_needs_no_derivative():
    assert call(prior(), torch.ones(3)).method == "tds"
    assert call(trees(), torch.ones(3), options={"inner": 2}).method == "split-smc"
    image = GaussianDenoiser(torch.zeros(1, 9, 9), 1.0, VPS)
    y = torch.zeros(1, 9, 9)
    assert call(image, y, n=2).method == "mmps"
    y.flatten()[9:] = NAN
    assert call(image, y, n=2).method == "mmps"
    y.flatten()[8:] = NAN
    assert call(image, y, n=2).method == "tds"
    assert call(image, torch.stack([y, torch.zeros_like(y)]), n=2).method == "mmps"
    assert call(prior(), torch.ones(3), Nonlinear(torch.abs)).method == "tds"
    row = GaussianDenoiser(torch.zeros(65), 1.0, VPS)
    y = torch.zeros(65)
    assert call(row, y, n=2).method == "mmps"
    y[-1] = NAN
    assert call(row, y, n=2).method == "tds"


def test_a_derivative_is_known_of_smooth_denoisers_and_not_of_closed_boxes():
    like, narrow = torch.empty(20, 2), torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))

    def shut(x, t, cond=None):
        return torch.from_numpy(x.detach().numpy() * 0.7).to(x)

    kernel = VPS.kernel
    smooth = [
        GaussianDenoiser(torch.zeros(2), 0.01, VPS),
        MixtureDenoiser(torch.ones(2) / 2, narrow, 1e-4, VPS),
        EmpiricalDenoiser(randn(50, 2).float(), VPS),
        from_x0(lambda x, t, cond: kernel(t).scale.float() * layers(x), VPS),
        from_eps(lambda x, t, cond: kernel(t).std.float() * x, VPS),
        ClassDenoiser([GaussianDenoiser(torch.zeros(2), 1.0, Chain.ddpm("cosine", steps=9))], torch.ones(1)),
    ]
    for denoiser in smooth:
        assert has_derivative(denoiser, like)
    for make in (from_x0, from_eps, from_v):
        assert not has_derivative(make(shut, VPS), like)
    for kind in ("x0", "eps", "v", "edm"):
        assert not has_derivative(trees(kind), torch.empty(2, 3))


@pytest.mark.parametrize("method", METHODS)
def test_where_everything_is_missing_draws_are_of_the_prior(method):
    y = torch.full((2, 3), NAN)
    y[1, 0] = 1.0
    exact = method in ("tds", "split-smc", "mmps", "pigdm", "jfps", "diffpir", "ddnm", "split-gibbs")
    options = {"inner": 10} if method in ("split-smc", "split-gibbs") else {}
    found = call(prior(), y, method=method, n=300, steps=None if method == "split-gibbs" else 20, options=options)
    if found.log_evidence is not None:
        assert float(found.log_evidence[0]) == 0.0 and float(found.log_evidence[1]) < -0.5
    mean, std = prior().data_moments[0], prior().data_moments[1].sqrt()
    off = ((found.mean()[0] - mean) / std).abs().max() * math.sqrt(300)
    assert float(off) < (5 if exact else 7)  # `daps` draws wider, the others narrower
    if exact:
        assert float((found.std()[0] / std - 1).abs().max()) < 5 / math.sqrt(600) + 0.03  # of 20 steps


def test_where_everything_is_missing_of_a_blur_all_methods_go_through():
    image = GaussianDenoiser(torch.zeros(1, 3, 4), 1.0, VPS)
    for method in METHODS:
        if method != "repaint":
            found = call(image, torch.full((1, 3, 4), NAN), Blur(1.0), method=method, n=4, steps=3)
            assert bool(torch.isfinite(found.samples).all())


@pytest.mark.parametrize(
    ("told", "error", "message"),
    [
        ({"method": "map"}, ConfigError, "expected one of auto, tds, split-smc, mmps.*got 'map'"),
        ({"n": 0}, ConfigError, "n: expected a whole number >= 1, got 0"),
        ({"n": 2.5}, ConfigError, "n: expected a whole number >= 1, got 2.5"),
        ({"n": "many"}, ConfigError, "n: expected a whole number"),
        ({"steps": 0}, ConfigError, "steps: expected a whole number >= 1, got 0"),
        ({"steps": 0, "method": "mmps"}, ConfigError, "steps"),
        ({"steps": 2.5, "method": "split-gibbs"}, ConfigError, "steps"),
        ({"steps": -3, "method": "dps"}, ConfigError, "steps"),
        ({"particles": 1}, ConfigError, "particles: expected a whole number >= 2, got 1"),
        ({"particles": 20.5}, ConfigError, "particles"),
        ({"particles": 20, "method": "mmps"}, ConfigError, "not for 'mmps'.*Leave it out"),
        ({"particles": 20, "method": "repaint"}, ConfigError, "not for 'repaint'"),
        ({"batch_size": 0}, ConfigError, "batch_size: expected a whole number >= 1, got 0"),
        ({"batch_size": 0, "method": "mmps"}, ConfigError, "batch_size"),
        ({"noise": 0}, ConfigError, "more than 0 for 'tds', got 0.*method='repaint' or 'ddnm'"),
        ({"noise": 0, "method": "mmps"}, ConfigError, "more than 0 for 'mmps'"),
        ({"noise": -1.0}, ConfigError, "deviations >= 0"),
        ({"noise": torch.ones(2)}, ShapeError, "noise"),
        ({"options": {"ess": 2}}, ConfigError, "ess"),
        ({"options": {"step": 2}}, ConfigError, "'tds' knows ess, iterations, got 'step'"),
        ({"options": {"seed": 2}}, ConfigError, "'tds' knows ess, iterations, got 'seed'"),
        ({"options": {"ess": 2}, "method": "ddnm"}, ConfigError, "'ddnm' knows none, got 'ess'"),
        ({"options": {"ess": 2}, "method": "mmps"}, ConfigError, "'mmps' knows iterations, got"),
        ({"options": {"ess": 2}, "method": "jfps"}, ConfigError, "'jfps' knows cov, iterations, got"),
        ({"options": {"ess": 2}, "method": "diffpir"}, ConfigError, "'diffpir' knows trust, got"),
        ({"options": {"ess": 2}, "method": "repaint"}, ConfigError, "'repaint' knows times_again, got"),
        ({"options": {"ess": 2}, "method": "dps"}, ConfigError, "'dps' knows scale, got"),
        ({"options": {"ess": 2}, "method": "daps"}, ConfigError, "'daps' knows inner, got"),
        ({"options": {"ess": 2}, "method": "split-gibbs"}, ConfigError, "'split-gibbs' knows count, inner, got"),
        ({"options": {"n": 2}, "method": "split-smc"}, ConfigError, "knows ess, inner, levels, sweeps, got 'n'"),
    ],
)
def test_options_are_refused_with_what_was_expected(told, error, message):
    with pytest.raises(error, match=message):
        call(prior(), torch.tensor([1.0, NAN, 0.0]), **told)


@pytest.mark.parametrize(
    ("y", "operator", "error", "message"),
    [
        (torch.ones(2), None, ShapeError, r"y: expected shape \(3,\).*got \(2,\)"),
        (torch.ones(2, 3, 1), None, ShapeError, "y: expected shape"),
        (torch.ones(0, 3), None, DataError, "at least one observation"),
        (torch.tensor([1.0, math.inf, 0.0]), None, DataError, "infinities"),
        (torch.ones(3), Mask(torch.ones(4).bool()), ShapeError, r"mask: expected shape \(3,\)"),
        (torch.ones(2, 3), Mask(torch.ones(3, 3).bool()), ShapeError, "each of 2 observations, got 3"),
        (torch.ones(3), torch.eye(3), ConfigError, "expected an Operator, got Tensor"),
        (torch.ones(3), Linear(torch.square), ConfigError, "Use Nonlinear"),
    ],
)
def test_observations_are_refused_with_what_was_expected(y, operator, error, message):
    with pytest.raises(error, match=message):
        call(prior(), y, operator)


def test_a_prior_of_any_shape_is_refused():
    with pytest.raises(ConfigError, match="knows the shape of its events"):
        call(from_x0(lambda x, t, cond: x, VPS), torch.ones(3))


@pytest.mark.parametrize("method", ["ddnm", "repaint"])
def test_what_is_exact_is_met_exactly(method):
    found = call(prior(), torch.tensor([2.0, NAN, -1.0]), noise=0, method=method)
    torch.testing.assert_close(found.samples[:, [0, 2]], torch.tensor([2.0, -1.0]).expand(8, 2), rtol=0, atol=1e-5)
    matrix = torch.tensor([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]])  # seen twice
    found = call(prior(), torch.tensor([1.0, 2.0]), Linear(matrix), noise=0, method="ddnm")
    torch.testing.assert_close(found.samples[:, :2].sum(1), torch.ones(8), rtol=0, atol=1e-4)


CLASSES = ClassDenoiser([GaussianDenoiser(torch.tensor([m, 0.0]), 0.04, VPS) for m in (-2.0, 2.0)], torch.ones(2) / 2)


@pytest.mark.parametrize("method", METHODS)
def test_conditions_reach_the_denoiser_a_row_for_each_observation(method):
    y = torch.tensor([[NAN, 0.2], [NAN, -0.2], [NAN, 0.1]])
    classes = {"y": torch.tensor([1, 0, 1])}
    found = call(CLASSES, y, cond=classes, method=method, n=6, steps=8)
    expected = torch.tensor([1.0, -1.0, 1.0])[:, None].expand(3, 6)
    assert torch.equal(found.samples[..., 0].sign(), expected)
    for cond in ({"y": torch.tensor([0])}, {"y": [0]}):
        assert bool((call(CLASSES, y, cond=cond, method=method, n=6, steps=8).samples[..., 0] < 0).all())
    with pytest.raises(ConditionError, match="a row for each of 3 observations, or one for all, got 2 rows"):
        call(CLASSES, y, cond={"y": torch.tensor([0, 1])}, method=method)
    with pytest.raises(ConditionError, match="got a single value"):
        call(CLASSES, y, cond={"y": torch.tensor(1)}, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_draws_are_those_of_the_seed(method):
    y = torch.tensor([1.0, NAN, 0.2])
    first, again, other = (call(prior(), y, method=method, random_state=seed) for seed in (3, 3, 4))
    assert torch.equal(first.samples, again.samples)
    assert float((first.samples[:, 1] - other.samples[:, 1]).abs().min()) > 0
    fresh = [call(prior(), y, method=method, random_state=None).samples for _ in range(2)]
    assert not torch.equal(*fresh)


@pytest.mark.parametrize("method", METHODS)
def test_y_may_be_of_either_precision_whole_or_half(method):
    y = torch.tensor([1.0, NAN, 0.25])
    single, double = (call(prior(), y.to(dtype), method=method) for dtype in (torch.float32, torch.float64))
    assert single.samples.dtype == torch.float32 and double.samples.dtype == torch.float64
    torch.testing.assert_close(single.samples.double(), double.samples, rtol=2e-3, atol=2e-3)
    half = call(prior(), y.half(), method=method)
    assert torch.equal(half.samples, single.samples)
    whole = call(prior(), torch.tensor([1, 0, 2]), method=method)
    assert torch.equal(whole.samples, call(prior(), torch.tensor([1.0, 0.0, 2.0]), method=method).samples)
    assert torch.equal(call(prior(), [1, 0, 2], method=method, n=8.0).samples, whole.samples)


def test_one_draw_one_step_and_more_draws_than_particles_are_given():
    y = torch.tensor([1.0, NAN, 0.2])
    with warnings.catch_warnings():
        warnings.simplefilter("error", DegenerateWeights)
        for method in METHODS:
            assert call(prior(), y, method=method, n=1).samples.shape == (1, 3)
            assert call(prior(), y, method=method, n=3, steps=1).samples.shape == (3, 3)
        many = call(prior(), y, method="tds", n=100, particles=20)
    assert many.samples.shape == (100, 3) and len(many.samples.unique(dim=0)) <= 20
    assert many.diagnostics == {"particles": 20.0, "steps": 5.0}


@pytest.mark.parametrize("method", ["tds", "split-smc"])
def test_weights_that_degenerate_are_warned_of_and_others_are_not(method):
    modes = MixtureDenoiser(torch.ones(2) / 2, torch.tensor([[-1.5, -1.5], [1.5, 1.5]]), 0.04, VPS)
    told = {"noise": 0.05, "method": method, "n": 50, "particles": 50, "steps": 20}
    with pytest.warns(DegenerateWeights) as heard:
        found = call(modes, torch.tensor([40.0, NAN]), **told)
    assert sorted(str(each.message) for each in heard if each.category is DegenerateWeights) == sorted(found.warnings)
    assert any("of 50 particles counted" in text for text in found.warnings)
    assert float(found.ess) < 0.05 and heard[0].filename == __file__.replace(".pyc", ".py")
    assert re.search("1 warnings|2 warnings", repr(found))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DegenerateWeights)
        found = call(modes, torch.tensor([1.4, NAN]), **told | {"noise": 0.5})
    assert found.warnings == [] and float(found.ess) > 0.1 and float(found.ancestors) > 5


@pytest.mark.parametrize("forward", [torch.square, torch.abs], ids=["square", "abs"])
def test_a_nonlinear_observation_agrees_with_quadrature(forward):
    weights, means, var, noise = torch.tensor([0.7, 0.3]).double(), torch.tensor([-0.9, 1.1]).double(), 0.09, 0.25
    denoiser = MixtureDenoiser(weights, means[:, None], var, VPS)
    y = torch.tensor([1.0], dtype=torch.float64)
    place = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    density = (weights * torch.exp(-0.5 * (place[:, None] - means) ** 2 / var) / math.sqrt(2 * math.pi * var)).sum(1)
    joint = density * torch.exp(-0.5 * ((y - forward(place)) / noise) ** 2) / math.sqrt(2 * math.pi) / noise
    evidence = torch.trapezoid(joint, place)
    count = 30
    seen = observe(y.expand(count, 1), Nonlinear(forward), noise, (1,), dtype=torch.float64)
    cloud = tds(denoiser, seen, 48, grids.grid(VPS, 60))
    weight = cloud.log_weights.exp()
    for statistic in (lambda x: (x > 0).double(), lambda x: x, torch.square):
        exact = torch.trapezoid(joint * statistic(place), place) / evidence
        found = (weight * statistic(cloud.x[..., 0])).sum(1)
        assert abs(float((found.mean() - exact) / (found.std() / math.sqrt(count)))) < 4
    ratio = cloud.log_evidence.exp() / evidence
    assert abs(float((ratio.mean() - 1) / (ratio.std() / math.sqrt(count)))) < 4


def test_a_result_says_what_its_draws_say():
    samples = randn(3, 1001, 2, 4)
    several = PosteriorResult(samples, method="mmps", event=(2, 4))
    torch.testing.assert_close(several.mean(), samples.mean(1))
    torch.testing.assert_close(several.std(), samples.std(1, correction=0))
    low, high = several.interval(0.8)
    torch.testing.assert_close(low, samples.sort(1).values[:, 100])  # of 1001 draws, a tenth lies below number 100
    torch.testing.assert_close(high, samples.sort(1).values[:, 900])
    assert repr(several) == "PosteriorResult(3 observations, 1001 samples of shape (2, 4) by mmps)"
    one = PosteriorResult(samples[0].float(), torch.tensor(-1.5), method="tds", event=(2, 4))
    torch.testing.assert_close(one.mean(), samples[0].float().mean(0))
    assert one.interval()[0].dtype == torch.float32 and one.interval()[0].shape == (2, 4)
    assert repr(one) == "PosteriorResult(1001 samples of shape (2, 4) by tds, log_evidence=-1.5)"
    with pytest.raises(ConfigError, match="level: expected a share"):
        one.interval(95)
    wide = PosteriorResult(torch.arange(17_000_000, dtype=torch.float32).reshape(17, -1), event=(1_000_000,))
    assert float(wide.interval(0.5)[0][0]) == 4_000_000  # more numbers than torch.quantile takes


def test_what_is_asked_of_a_method_is_told_it():
    heard = []
    call(prior(), torch.ones(3), method="mmps", steps=6, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(i, 6) for i in range(1, 7)]
    heard.clear()
    call(prior(), torch.ones(3), method="split-smc", steps=3, progress=lambda done, total: heard.append((done, total)))
    assert [done for done, _ in heard] == sorted({done for done, _ in heard}) and heard[-1][0] == heard[-1][1]
    for method, name, values in (
        ("mmps", "iterations", (1, 2)),
        ("diffpir", "trust", (0.5, 2.0)),
        ("dps", "scale", (0.5, 2.0)),
        ("daps", "inner", (1, 4)),
        ("split-gibbs", "count", (3, 6)),
        ("split-smc", "sweeps", (1, 2)),
        ("jfps", "cov", (0.5, 2.0)),
        ("tds", "ess", (0.2, 1.0)),
        ("repaint", "times_again", (1, 3)),
    ):
        y = torch.tensor([2.0, NAN, -1.0])
        first, second = (call(prior(), y, method=method, options={name: value}) for value in values)
        assert not torch.equal(first.samples, second.samples), method


def test_a_selection_a_mask_and_missing_values_are_one_observation():
    y = torch.tensor([1.2, NAN, 0.3])
    by_nan = call(prior(), y, method="tds")
    by_mask = call(prior(), torch.tensor([1.2, 77.0, 0.3]), Mask(~torch.isnan(y)), method="tds")
    by_number = call(prior(), y[[0, 2]], Select([0, 2]), method="tds")
    assert torch.equal(by_nan.samples, by_mask.samples)
    torch.testing.assert_close(by_nan.samples, by_number.samples, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(by_nan.log_evidence, by_number.log_evidence)
    several = call(prior(), torch.stack([y, y.flip(0)]), Identity(), method="mmps")
    assert several.samples.shape == (2, 8, 3)
    assert call(prior(), y[None], method="mmps").samples.shape == (1, 8, 3)
