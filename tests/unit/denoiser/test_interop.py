"""Models of diffusers as denoisers and back; denoisers in the calling form of k-diffusion.

Closed forms first: a network that says exactly what is to be said of a Gaussian or a mixture, in float64. Then the
schedulers of diffusers, where it is installed.
"""

import inspect
import itertools
import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from caminito.denoiser import (
    Denoiser,
    DiffusersUNet,
    GaussianDenoiser,
    MixtureDenoiser,
    NetworkDenoiser,
    Precondition,
    ResidualVariance,
    from_diffusers,
    from_x0,
    to_diffusers,
    to_k_diffusion,
)
from caminito.denoiser._diffusers_config import _TABLES
from caminito.errors import (
    ConditionError,
    ConfigError,
    MissingExtraError,
    RunError,
    ShapeError,
    TimeError,
)
from caminito.nn import Given
from caminito.process import EDM, VE, VP, Chain, Cosine, RectifiedFlow, SubVP, times
from caminito.process import grid as grids
from caminito.sampling import DDIM, Ancestral, DPMpp2M, Euler, Shared, trajectory
from caminito.testing import check_denoiser

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers", "ignore:__array:DeprecationWarning")

F64 = torch.float64
T = 1000
LINEAR = {"num_train_timesteps": T, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
CHAIN = Chain.ddpm(np.linspace(1e-4, 0.02, T))
MEAN = torch.tensor([[1.0, -0.5], [0.25, 2.0]], dtype=F64)
VAR = torch.tensor([[0.3, 2.0], [0.01, 1.0]], dtype=F64)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def gaussian(process):
    return GaussianDenoiser(MEAN, VAR, process)


def mixture(process):
    return MixtureDenoiser(torch.tensor([0.4, 0.6]), torch.tensor([[1.0, -1.0], [-2.0, 0.5]]), 0.3, process)


class Exact(nn.Module):
    """What a network of each prediction type would say of an exact denoiser, called as diffusers calls it."""

    def __init__(self, exact, kind, time, answer=lambda said: SimpleNamespace(sample=said)):
        super().__init__()
        self.exact, self.kind, self.time, self.answer = exact, kind, time, answer
        self.seen = []

    def forward(self, x, timestep, **conditions):
        self.seen.append((timestep, conditions))
        t = self.time(timestep.to(F64))
        alpha, sigma = self.exact.process.kernel(t)
        x0 = self.exact.mean(x, t)
        eps = times(1 / sigma, x) - times(alpha / sigma, x0)
        said = {
            "epsilon": lambda: eps,
            "sample": lambda: x0,
            "v_prediction": lambda: times(alpha, eps) - times(sigma, x0),
            "flow_prediction": lambda: eps - x0,
        }[self.kind]()
        return self.answer(said)


def of_chain(kind="epsilon", chain=CHAIN, **more):
    return Exact(gaussian(chain), kind, lambda k: k + 1, **more)


# --- their model as a denoiser: closed forms ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("t", [1, 2, 17, 500, 999, 1000])
def test_a_network_that_knows_a_gaussian_is_the_gaussian_denoiser(kind, t):
    """Rounding of x0 = (x - sigma eps) / alpha: a few eps / alpha, with alpha >= 6e-3."""
    denoiser = from_diffusers(of_chain(kind), LINEAR | {"prediction_type": kind})
    x = denoiser.process.noise(MEAN + VAR.sqrt() * randn(5, 2, 2), t, randn(5, 2, 2, seed=1))
    assert float((denoiser.mean(x, t) - gaussian(CHAIN).mean(x, t)).abs().max()) < 1e-10


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_a_row_of_times_reaches_the_network_row_by_row_as_whole_timesteps(kind):
    network = of_chain(kind)
    denoiser = from_diffusers(network, LINEAR | {"prediction_type": kind})
    x, t = randn(3, 2, 2), torch.tensor([1.0, 400.0, 1000.0])
    whole = denoiser.mean(x, t)
    assert network.seen[0][0].tolist() == [0, 399, 999] and network.seen[0][0].dtype == torch.int64
    for i in range(3):
        assert float((denoiser.mean(x[i : i + 1], t[i]) - whole[i : i + 1]).abs().max()) < 1e-12


def test_the_public_check_of_denoisers_holds():
    x0 = MEAN + VAR.sqrt() * randn(8, 2, 2)
    for kind in ("epsilon", "sample", "v_prediction"):
        check_denoiser(from_diffusers(of_chain(kind), LINEAR | {"prediction_type": kind}), x0)


@pytest.mark.parametrize(
    "answer",
    [lambda said: said, lambda said: (said,), lambda said: torch.cat([said, 7 * said], 1)],
    ids=["tensor", "tuple", "with a variance"],
)
def test_any_form_of_answer_is_understood(answer):
    x = randn(4, 2, 2)
    denoiser = from_diffusers(of_chain(answer=answer), LINEAR)
    assert float((denoiser.mean(x, 300.0) - gaussian(CHAIN).mean(x, 300.0)).abs().max()) < 1e-12


def test_zero_terminal_snr_ends_without_signal_and_v_prediction_says_x0_there():
    chain = Chain.ddpm(np.linspace(1e-4, 0.02, T), zero_snr=True)
    config = LINEAR | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    denoiser = from_diffusers(of_chain("v_prediction", chain), config)
    assert float(denoiser.process.kernel(T).scale) == 0.0
    x = randn(3, 2, 2)
    assert float((denoiser.mean(x, T) - MEAN).abs().max()) < 1e-12
    with pytest.raises(TimeError, match="alpha_t = 0"):
        from_diffusers(of_chain(chain=chain), LINEAR | {"rescale_betas_zero_snr": True}).mean(x, T)


@pytest.mark.parametrize(("kind", "sign"), [("epsilon", 1.0), ("v_prediction", -1.0)])
def test_edm_configurations_are_table_1_of_karras_et_al(kind, sign):
    d, seen = 0.5, []

    def network(x, timestep):
        seen.append(timestep)
        sigma = torch.exp(4 * timestep.to(F64))
        n = torch.sqrt(sigma**2 + d**2)
        x_t = times(n, x)
        x0 = gaussian(EDM(80.0)).mean(x_t, (sigma / 80) ** (1 / 7))
        return times(sign * n / (sigma * d), x0) - times(sign * d / (sigma * n), x_t)

    config = {"_class_name": "EDMEulerScheduler", "sigma_max": 80.0, "sigma_data": d, "prediction_type": kind}
    denoiser = from_diffusers(network, config)
    for sigma in (0.002, 0.3, 80.0):
        t = denoiser.process.time(-2 * math.log(sigma))
        x = MEAN + sigma * randn(4, 2, 2)
        # F takes a difference of x0 and x that is sigma / d of them, and gives it back
        assert float((denoiser.mean(x, t) - gaussian(EDM(80.0)).mean(x, t)).abs().max()) < 1e-10
        assert abs(float(seen[-1][0]) - math.log(sigma) / 4) < 1e-12


@pytest.mark.parametrize(
    "config",
    [
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": T, "shift": 3.0},
        LINEAR
        | {
            "_class_name": "DPMSolverMultistepScheduler",
            "use_flow_sigmas": True,
            "prediction_type": "flow_prediction",
        },
    ],
    ids=lambda config: config["_class_name"],
)
def test_flow_matching_is_rectified_flow(config):
    flow = RectifiedFlow()
    network = Exact(gaussian(flow), "flow_prediction", lambda k: k / T)
    denoiser = from_diffusers(network, config)
    assert isinstance(denoiser.process, RectifiedFlow)
    for t in (0.001, 0.4, 1.0):
        x = flow.noise(MEAN + VAR.sqrt() * randn(5, 2, 2), t, randn(5, 2, 2, seed=1))
        assert float((denoiser.mean(x, t) - gaussian(flow).mean(x, t)).abs().max()) < 1e-10
        assert abs(float(network.seen[-1][0][0]) - t * T) < 1e-9


def test_continuous_timesteps_with_v_prediction_are_a_variance_exploding_process():
    def network(x, timestep):
        sigma = torch.exp(4 * timestep.to(F64))
        size = torch.sqrt(1 + sigma**2)
        x_t = times(size, x)
        x0 = gaussian(process).mean(x_t, process.time(-2 * torch.log(sigma)))
        return times(1 / (sigma * size), x_t) - times(size / sigma, x0)

    process = EDM(700.0)
    config = LINEAR | {
        "_class_name": "EulerDiscreteScheduler",
        "timestep_type": "continuous",
        "prediction_type": "v_prediction",
        "sigma_max": 700.0,
    }
    denoiser = from_diffusers(network, config)
    for sigma in (0.01, 1.0, 700.0):
        t, x = process.time(-2 * math.log(sigma)), MEAN + sigma * randn(4, 2, 2)
        assert float((denoiser.mean(x, t) - gaussian(process).mean(x, t)).abs().max()) < 1e-10


def test_a_network_computes_in_its_own_dtype_and_the_state_keeps_its_own():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones((), dtype=torch.float32))

        def forward(self, x, timestep):
            assert x.dtype == torch.float32
            return x * self.weight

    assert from_diffusers(Half(), LINEAR).mean(randn(2, 3), 5.0).dtype == F64


def test_conditions_reach_the_network_under_its_own_names():
    network = of_chain()
    denoiser = from_diffusers(network, LINEAR, keywords={"y": "class_labels", "text": "encoder_hidden_states"})
    labels, tokens, mask = torch.arange(3), randn(3, 4, 5), torch.ones(3, 4, dtype=torch.bool)
    denoiser.mean(randn(3, 2, 2), 10.0, {"y": labels, "text": Given(tokens, mask=mask)})
    given = network.seen[-1][1]
    assert set(given) == {"class_labels", "encoder_hidden_states", "encoder_attention_mask"}
    assert given["class_labels"] is labels and torch.equal(given["encoder_attention_mask"], mask)
    with pytest.raises(ConditionError, match="'z' is unknown"):
        denoiser.mean(randn(3, 2, 2), 10.0, {"z": labels})
    with pytest.raises(ConditionError, match="absent in some rows"):
        denoiser.mean(randn(3, 2, 2), 10.0, {"y": Given(labels, present=labels > 0)})
    with pytest.raises(ConditionError, match="takes no mask"):
        denoiser.mean(randn(3, 2, 2), 10.0, {"y": Given(labels, mask=labels > 0)})


def test_event_shape_and_channels_come_from_the_network():
    class Net2D(nn.Module):
        def __init__(self, inputs=3, outputs=3, size=8):
            super().__init__()
            self.config = SimpleNamespace(in_channels=inputs, out_channels=outputs, sample_size=size)

        def forward(self, x, timestep):
            return x

    assert from_diffusers(Net2D(), LINEAR).event_shape == (3, 8, 8)
    assert from_diffusers(Net2D(size=(4, 8)), LINEAR).event_shape == (3, 4, 8)
    assert from_diffusers(Net2D(), LINEAR, event_shape=(3, 16, 16)).event_shape == (3, 16, 16)
    assert from_diffusers(Net2D(outputs=6), LINEAR).event_shape == (3, 8, 8)
    with pytest.raises(ConfigError, match="out_channels to be in_channels = 9, or twice that"):
        from_diffusers(Net2D(9, 4), LINEAR)
    with pytest.raises(ShapeError, match="expected 3 channels"):
        from_diffusers(Net2D(), LINEAR, event_shape=(1, 8, 8))
    with pytest.raises(ShapeError, match="expected 3 channels"):
        from_diffusers(Net2D(), LINEAR).mean(randn(2, 1, 8, 8), 5.0)
    with pytest.raises(ShapeError, match="an answer of shape"):
        from_diffusers(lambda x, t: x[:, :1], LINEAR).mean(randn(2, 3, 8, 8), 5.0)
    with pytest.raises(ConfigError, match="answer with a tensor"):
        from_diffusers(lambda x, t: None, LINEAR).mean(randn(2, 3, 8, 8), 5.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prediction_type": "score"}, "prediction_type: expected one of epsilon, sample, v_prediction"),
        ({"prediction_type": "flow_prediction"}, "flow_prediction with use_flow_sigmas"),
        ({"use_flow_sigmas": True}, "with use_flow_sigmas"),
        ({"beta_schedule": "laplace"}, "beta_schedule: expected linear, .*, got 'laplace'. Pass its numbers"),
        ({"beta_schedule": None}, "'beta_schedule' is missing"),
        ({"beta_end": None}, "'beta_end' is missing"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas: expected num_train_timesteps = 1000 numbers, got 2"),
        ({"_class_name": "ScoreSdeVeScheduler"}, "ScoreSdeVeScheduler is not a scheduler whose noise is known"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": True}, "invert_sigmas"),
        ({"_class_name": "EDMEulerScheduler", "sigma_max": 80.0}, "'sigma_data' is missing"),
        ({"_class_name": "EDMEulerScheduler", "sigma_max": 80.0, "sigma_data": 1, "prediction_type": "sample"}, "EDM"),
    ],
)
def test_configurations_that_are_not_understood_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        from_diffusers(of_chain(), LINEAR | change)


def test_a_network_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="got none"):
        from_diffusers(of_chain())
    with pytest.raises(ConfigError, match="got int"):
        from_diffusers(of_chain(), 7)
    with pytest.raises(RunError, match="Nothing is downloaded"):
        from_diffusers(of_chain(), tmp_path)
    (tmp_path / "scheduler_config.json").write_text("[1, 2]")
    with pytest.raises(RunError, match="expected a JSON object, got list"):
        from_diffusers(of_chain(), tmp_path)
    (tmp_path / "scheduler_config.json").write_text("{")
    with pytest.raises(RunError, match="expected a JSON file"):
        from_diffusers(of_chain(), tmp_path)
    (tmp_path / "scheduler_config.json").write_text(json.dumps(LINEAR))
    for place in (tmp_path, tmp_path / "scheduler_config.json", str(tmp_path)):
        assert from_diffusers(of_chain(), place).process.t_max == T


# --- a denoiser as their model: closed forms ---------------------------------------------------------------------

PROCESSES = {
    "VP": VP(),
    "SubVP": SubVP(),
    "Cosine": Cosine(),
    "VE": VE(),
    "EDM": EDM(),
    "RectifiedFlow": RectifiedFlow(),
    "ddpm": CHAIN,
    "zero-snr": Chain.ddpm("cosine", steps=50, zero_snr=True),
    "turned": Chain([0.1, 1.4, 0.2], [0.3, 0.5, 0.4]),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_there_and_back_is_the_same_denoiser_whatever_the_process(name):
    """The denoiser of the result, on its chain, is the exact one of that chain: v loses sigma of eps / sigma."""
    unet, config = to_diffusers(gaussian(PROCESSES[name]))
    back = from_diffusers(unet, config)
    assert back.event_shape == (2, 2) and not bool(torch.isnan(back.process.logsnr(1.0)))
    chain = back.process
    for t in (1, 2, math.ceil(chain.t_max / 2), int(chain.t_max)):
        x = times(torch.hypot(*chain.kernel(t)), randn(4, 2, 2))
        assert float((back.mean(x, t) - gaussian(chain).mean(x, t)).abs().max()) < 1e-9, t


@pytest.mark.parametrize("name", ["ddpm", "zero-snr", "turned"])
def test_the_betas_of_a_chain_have_its_log_snr(name):
    chain = PROCESSES[name]
    betas = torch.tensor(to_diffusers(gaussian(chain)).scheduler_config["trained_betas"], dtype=F64)
    steps = torch.arange(1, len(betas) + 1)
    expected, got = chain.logsnr(steps), Chain.ddpm(betas).logsnr(steps)
    assert torch.equal(torch.isinf(expected), torch.isinf(got))
    inside = torch.isfinite(expected)
    assert float((got - expected)[inside].abs().max()) < 1e-9


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_a_continuous_denoiser_is_exact_on_a_table_given_to_it(kind):
    config = LINEAR | {"prediction_type": kind}
    unet = to_diffusers(gaussian(EDM(200.0)), config).unet
    truth = of_chain(kind)
    x = randn(3, 2, 2)
    for k in (0, 1, 333, 999):
        expected = truth(x, torch.tensor([k])).sample
        assert float((unet(x, k).sample - expected).abs().max()) < 1e-10  # eps = (x - alpha x0) / sigma, sigma >= .01
        assert torch.equal(unet(x, torch.tensor([k]), return_dict=False)[0], unet(x, k).sample)
    rows = unet(x, torch.tensor([0, 1, 999])).sample
    for i, k in enumerate((0, 1, 999)):
        assert float((rows[i] - unet(x[i : i + 1], k).sample[0]).abs().max()) < 1e-12


def test_between_two_timesteps_the_log_snr_is_linear():
    """As the levels that diffusers puts between two steps of its table, whose timesteps are then not whole."""
    unet = to_diffusers(gaussian(EDM(200.0)), LINEAR | {"prediction_type": "sample"}).unet
    level = 0.75 * CHAIN.logsnr(401) + 0.25 * CHAIN.logsnr(402)
    exact, t = gaussian(EDM(200.0)), EDM(200.0).time(level)
    x = randn(3, 2, 2)
    y = x * torch.hypot(*EDM(200.0).kernel(t))
    assert float((unet(x, 400.25).sample - exact.mean(y, t)).abs().max()) < 1e-12


def test_levels_beyond_the_end_of_a_process_are_taken_for_its_end():
    unet = to_diffusers(gaussian(EDM(10.0)), LINEAR | {"prediction_type": "sample"}).unet
    x = randn(3, 2, 2)
    assert torch.equal(
        unet(x, 999).sample, gaussian(EDM(10.0)).mean(times(torch.hypot(*EDM(10.0).kernel(1.0)), x), 1.0)
    )


def test_a_model_that_came_from_diffusers_goes_back_as_it_came():
    network = of_chain()
    unet, config = to_diffusers(from_diffusers(network, LINEAR))
    assert unet is network and config == LINEAR
    other = to_diffusers(from_diffusers(network, LINEAR), LINEAR | {"prediction_type": "v_prediction"}).unet
    x = randn(3, 2, 2)
    assert float((other(x, 10).sample - of_chain("v_prediction")(x, torch.tensor([10])).sample).abs().max()) < 1e-10


def test_conditions_come_under_their_names_and_the_network_moves_with_the_module():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.seen = []

        def forward(self, x, label, cond):
            self.seen.append(cond)
            return self.layer(x)

    network = Net()
    unet = to_diffusers(NetworkDenoiser(network, Precondition(), EDM(), (2,))).unet
    labels, tokens, mask = torch.arange(3), torch.zeros(3, 4, 5), torch.ones(3, 4)
    unet(torch.zeros(3, 2), 5, class_labels=labels, encoder_hidden_states=tokens, encoder_attention_mask=mask)
    assert network.seen[-1]["y"] is labels and network.seen[-1]["tokens"].mask is mask
    unet(torch.zeros(3, 2), 5, encoder_hidden_states=None)
    assert network.seen[-1] is None
    assert len(list(unet.parameters())) == 2 and unet.dtype == torch.float32 and unet.device.type == "cpu"
    assert next(unet.half().parameters()) is network.layer.weight and unet.dtype == torch.float16
    measured = ResidualVariance(NetworkDenoiser(network, Precondition(), EDM(), (2,)), torch.zeros(1), torch.ones(1, 2))
    assert to_diffusers(measured).unet.network is network
    with pytest.raises(ConditionError, match="added_cond_kwargs is unknown"):
        unet(torch.zeros(3, 2), 5, added_cond_kwargs={})


def test_what_cannot_be_put_on_a_table_of_betas_is_refused():
    with pytest.raises(ConfigError, match="expected a chain with noise in every step"):
        to_diffusers(gaussian(Chain([0.1, 0.1], [0.5, 0.0])))
    with pytest.raises(ConfigError, match="expected a table of betas"):
        to_diffusers(gaussian(VP()), {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": T})
    unet = to_diffusers(gaussian(VP()), LINEAR).unet
    for timestep in (-1, T, float("nan")):
        with pytest.raises(TimeError, match=r"numbers in 0\.\.999"):
            unet(randn(2, 2, 2), timestep)


# --- k-diffusion ---------------------------------------------------------------------------------------------------


def sample_euler(model, x, sigmas, extra_args=None):
    """The loop of Karras et al. 2022, algorithm 1 without its correction, in k-diffusion's calling form."""
    rows = x.new_ones([len(x)])
    for sigma, after in itertools.pairwise(sigmas):
        x = x + (after - sigma) * (x - model(x, sigma * rows, **(extra_args or {}))) / sigma
    return x


def sample_dpmpp_2m(model, x, sigmas):
    """DPM-Solver++(2M) of Lu et al. 2022, algorithm 2, in k-diffusion's calling form."""
    rows, before, last = x.new_ones([len(x)]), None, None
    for sigma, after in itertools.pairwise(sigmas):
        x0 = model(x, sigma * rows)
        h = torch.log(sigma / after)
        ahead = x0
        if before is not None and after > 0:
            r = last / h
            ahead = (1 + 1 / (2 * r)) * x0 - before / (2 * r)
        x = after / sigma * x - torch.expm1(-h) * ahead
        before, last = x0, h
    return x


@pytest.mark.parametrize("name", ["VP", "SubVP", "Cosine", "VE", "EDM", "RectifiedFlow"])
def test_every_continuous_process_gives_the_denoiser_of_alpha_one(name):
    """E[x0 | x0 + sigma eps] of the Gaussian and of the mixture, with one sigma per row."""
    sigma = torch.tensor([0.01, 0.5, 3.0, 40.0], dtype=F64)
    for exact, shape in ((gaussian, (2, 2)), (mixture, (2,))):
        x = 1 + times(sigma, randn(4, *shape))
        model, ve = to_k_diffusion(exact(PROCESSES[name])), EDM(1000.0)
        truth = exact(ve).mean(x, ve.time(-2 * torch.log(sigma)))
        assert float((model(x, sigma) - truth).abs().max()) < 1e-10
        assert float((model(x, sigma[1]) - model(x, float(sigma[1]))).abs().max()) == 0.0
        assert model(x.float(), sigma.float()).dtype == torch.float32


@pytest.mark.parametrize("name", ["ddpm", "turned"])
def test_a_chain_is_exact_at_its_own_levels(name):
    chain = PROCESSES[name]
    model = to_k_diffusion(gaussian(chain))
    steps = torch.tensor([1.0, 2.0, chain.t_max], dtype=F64)
    sigma = model.levels(steps)
    ve, x = EDM(1000.0), randn(3, 2, 2) * 2
    assert float((model(x, sigma) - gaussian(ve).mean(x, ve.time(-2 * torch.log(sigma)))).abs().max()) < 1e-10


def test_between_the_steps_of_a_chain_the_nearest_answers_with_an_error_of_first_order():
    """For N(0, 1): D = x / (1 + sigma^2) against x / sqrt((1 + sigma^2)(1 + sigma_k^2)), so the relative error is
    |log((1 + sigma^2) / (1 + sigma_k^2))| / 2 <= sigma^2 / (1 + sigma^2) |log(sigma / sigma_k)|, to second order.
    """
    model = to_k_diffusion(GaussianDenoiser(torch.zeros(1), 1.0, CHAIN))
    levels = model.levels(torch.arange(1, T + 1))
    halves = torch.sqrt(levels[1:] * levels[:-1])
    gap = torch.log(levels[1:] / levels[:-1]) / 2
    x = torch.ones(len(halves), 1, dtype=F64)
    error = torch.log(model(x, halves)[:, 0] * (1 + halves**2)).abs()
    bound = halves**2 / (1 + halves**2) * gap
    assert bool((error <= 1.5 * bound).all()) and bool((error >= 0.5 * bound).all())
    assert float(gap[-500:].max()) < 0.0055 and float(gap[0]) < 0.2 and float(error.max()) < 0.006


def test_levels_beyond_the_end_are_taken_for_the_end_and_the_range_is_that_of_the_grids():
    model = to_k_diffusion(gaussian(EDM(10.0)))
    x = randn(3, 2, 2)
    ratio = math.sqrt((1 + 10.0**2) / (1 + 50.0**2))
    assert torch.allclose(model(50 * x, 50.0), gaussian(EDM(10.0)).mean(50 * ratio * x, 1.0), rtol=0, atol=1e-12)
    assert (model.sigma_min, model.sigma_max) == (0.002, pytest.approx(10.0))
    assert to_k_diffusion(gaussian(Cosine())).sigma_max == 80.0
    chain = to_k_diffusion(gaussian(CHAIN))
    assert chain.sigma_min == pytest.approx(math.sqrt(1e-4 / (1 - 1e-4))) and chain.sigma_max == 80.0


@pytest.mark.parametrize("name", ["VP", "EDM", "RectifiedFlow", "ddpm"])
def test_their_loops_walk_as_our_solvers_do(name):
    process = PROCESSES[name]
    denoiser = mixture(process)
    model = to_k_diffusion(denoiser)
    grid = grids.grid(process, 12, "karras")[1:] if name == "RectifiedFlow" else grids.grid(process, 12)
    sigmas, alpha = model.levels(grid), process.kernel(grid[0]).scale
    x = sigmas[0] * randn(16, 2)
    for loop, solver in ((sample_euler, Euler()), (sample_dpmpp_2m, DPMpp2M())):
        *_, ours = trajectory(denoiser, alpha * x, grid, solver)
        assert float((loop(model, x, sigmas) - ours.x).abs().max()) < 1e-9


def test_conditions_pass_through_extra_args():
    seen = []
    denoiser = from_x0(lambda x, t, cond: seen.append(cond) or x, VP())
    sample_euler(to_k_diffusion(denoiser), randn(2, 3), torch.tensor([1.0, 0.5]), {"cond": {"y": 3}})
    assert seen == [{"y": 3}]


def test_a_function_of_their_form_is_a_denoiser_without_an_adapter():
    process = EDM()
    model = to_k_diffusion(mixture(process))
    back = from_x0(lambda x, t, cond: model(x, process.kernel(t).std.expand(len(x)).to(x)), process)
    x = randn(5, 2)
    assert float((back.mean(x, 0.4) - mixture(process).mean(x, 0.4)).abs().max()) < 1e-12


# --- without diffusers ---------------------------------------------------------------------------------------------


def pipeline_folder(path, weights="diffusion_pytorch_model.safetensors"):
    for part in ("unet", "scheduler"):
        (path / part).mkdir(parents=True)
    (path / "model_index.json").write_text(
        json.dumps({"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]})
    )
    (path / "unet" / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(LINEAR))
    (path / "unet" / weights).write_bytes(b"")
    return path


def test_reading_a_folder_without_diffusers_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "caminito\[diffusers\]"'):
        from_diffusers(pipeline_folder(tmp_path))


def test_a_network_in_memory_needs_no_diffusers(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    denoiser = from_diffusers(of_chain(), LINEAR)
    unet, config = to_diffusers(ResidualVariance(denoiser, torch.tensor([0.0]), torch.ones(1, 1)))
    assert isinstance(denoiser, Denoiser) and isinstance(unet, DiffusersUNet) and len(config["trained_betas"]) == T


@pytest.mark.parametrize("name", ["google/ddpm-cifar10-32", "nowhere"])
def test_a_name_that_is_no_folder_is_not_looked_up(name):
    with pytest.raises(RunError, match="Nothing is downloaded"):
        from_diffusers(name)


# --- beside diffusers ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers")


TABLES = [name for name in _TABLES if name != "DPMSolverSDEScheduler"]  # which asks for torchsde
SCHEDULES = [
    {},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"beta_schedule": "sigmoid"},
    {"trained_betas": [0.1, 0.01, 0.3], "num_train_timesteps": 3},
    {"num_train_timesteps": 100, "rescale_betas_zero_snr": True},
]


def offers(kind, options):
    """Whether a scheduler of theirs has such a table."""
    sigmoid = options.get("beta_schedule") != "sigmoid" or kind.__name__.startswith("DDPM")
    return sigmoid and set(options) <= set(inspect.signature(kind).parameters)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_theirs_to_float32_accuracy(diffusers, name):
    """abar is a product of T factors, each rounded in 1 - beta and in the product: T 2^-23 of it, at worst."""
    kind = getattr(diffusers, name)
    offered = [options for options in SCHEDULES if offers(kind, options)]
    assert len(offered) >= 4
    for options in offered:
        scheduler = kind(**options)
        chain = from_diffusers(of_chain(), scheduler).process
        theirs = scheduler.alphas_cumprod.double()
        ours = chain.kernel(torch.arange(1, len(theirs) + 1)).scale ** 2
        # with zero terminal SNR some of theirs end at 2^-24, so that sigma / alpha stays finite
        floor = 2.0**-23 if "rescale_betas_zero_snr" in options else 0.0
        assert bool(((theirs - ours).abs() <= len(theirs) * 2.0**-23 * ours + floor).all()), options
        assert chain.t_max == len(theirs)


@pytest.fixture(scope="module")
def pipeline(diffusers, tmp_path_factory):
    """A tiny network with random weights, saved as a pipeline."""
    torch.manual_seed(0)
    network = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
    )
    folder = tmp_path_factory.mktemp("pipeline")
    diffusers.DDPMPipeline(network, diffusers.DDPMScheduler(clip_sample=False)).save_pretrained(folder)
    return folder


def in_float64(scheduler):
    """The scheduler with its own table, without the rounding of its own to float32."""
    betas = torch.linspace(1e-4, 0.02, T, dtype=F64)
    scheduler.betas, scheduler.alphas = betas, 1 - betas
    scheduler.alphas_cumprod = torch.cumprod(1 - betas, 0)
    scheduler.one = scheduler.final_alpha_cumprod = torch.ones((), dtype=F64)
    return scheduler


def their_walk(scheduler, network, x, steps, **options):
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        with torch.no_grad():
            said = network(x.float(), t).sample.to(x.dtype)
        x = scheduler.step(said, t, x, **options).prev_sample
    return x


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-6), (torch.float32, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("name", ["ancestral", "ddim"])
def test_a_saved_pipeline_walks_as_theirs_does(diffusers, pipeline, name, dtype, tolerance):
    """The network is float32 on both sides; in float64 only the state and the coefficients differ from its rounding."""
    steps, noise = 10, [torch.Generator().manual_seed(3) for _ in range(2)]
    x = randn(4, 1, 8, 8).to(dtype)
    options = {"clip_sample": False, "timestep_spacing": "trailing" if name == "ddim" else "leading"}
    if name == "ddim":
        scheduler, solver, more = diffusers.DDIMScheduler(**options), DDIM(), {}
    else:
        scheduler, solver, more = diffusers.DDPMScheduler(**options), Ancestral(), {"generator": noise[0]}
    network = diffusers.UNet2DModel.from_pretrained(pipeline / "unet", low_cpu_mem_usage=False)
    theirs = their_walk(in_float64(scheduler), network, x, steps, **more)
    denoiser = from_diffusers(pipeline)
    assert denoiser.event_shape == (1, 8, 8) and denoiser.process.t_max == T
    grid = getattr(grids, options["timestep_spacing"])(denoiser.process, steps)
    *_, ours = trajectory(denoiser, x, grid, solver, noise=Shared(noise[1]))
    assert float((ours.x - theirs).abs().max()) < tolerance * float(theirs.abs().max())


def test_a_folder_of_a_network_and_a_scheduler_beside_it(diffusers, pipeline):
    denoiser = from_diffusers(pipeline / "unet", diffusers.DDIMScheduler(prediction_type="sample"))
    assert denoiser.config["_class_name"] == "DDIMScheduler"
    x = randn(2, 1, 8, 8)
    with torch.no_grad():
        said = denoiser.network(x.float(), 9).sample
        assert torch.equal(denoiser.mean(x.float(), 10.0), said)
    with pytest.raises(ConfigError, match="got none"):
        from_diffusers(pipeline / "unet")


def test_edm_and_flow_walks_are_theirs(diffusers):
    """Their levels are float32: rounding of one level, carried along ten steps and scaled by x."""
    edm = diffusers.EDMEulerScheduler(sigma_max=10.0)
    edm.set_timesteps(10)
    exact, x = mixture(EDM(10.0)), 10 * randn(8, 2)

    def network(y, timestep):
        sigma = torch.exp(4 * timestep.to(F64))
        n = torch.sqrt(sigma**2 + 0.25)
        x0 = exact.mean(times(n, y), EDM(10.0).time(-2 * torch.log(sigma)))
        return times(n / (0.5 * sigma), x0) - times(0.5 / sigma, y)

    theirs = x
    for t in edm.timesteps:
        theirs = edm.step(network(edm.scale_model_input(theirs, t), t.expand(8)), t, theirs).prev_sample
    denoiser = from_diffusers(network, edm)
    grid = denoiser.process.time(-2 * torch.log(edm.sigmas.double()))
    *_, ours = trajectory(denoiser, x, grid, Euler())
    assert float((ours.x - theirs).abs().max()) < 1e-5 * 10

    flow = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    flow.set_timesteps(10)
    straight = Exact(mixture(RectifiedFlow()), "flow_prediction", lambda k: k / T)
    theirs = x = randn(8, 2).float()
    for t in flow.timesteps:
        theirs = flow.step(straight(theirs, t.expand(8)).sample, t, theirs).prev_sample
    *_, ours = trajectory(from_diffusers(straight, flow), x, flow.sigmas.double(), Euler())
    assert float((ours.x - theirs).abs().max()) < 1e-5


def test_their_schedulers_sample_from_our_denoisers(diffusers):
    """DDIM of theirs, with tables as exact as ours, on a chain and on a continuous process put on that chain."""
    x = randn(16, 2)
    *_, ours = trajectory(mixture(CHAIN), x, grids.trailing(CHAIN, 10), DDIM())
    for process in (CHAIN, EDM(200.0)):
        for kind in ("epsilon", "sample", "v_prediction"):
            unet, config = to_diffusers(mixture(process), LINEAR | {"prediction_type": kind})
            scheduler = diffusers.DDIMScheduler.from_config(config, clip_sample=False, timestep_spacing="trailing")
            in_float64(scheduler).set_timesteps(10)
            theirs = x
            for t in scheduler.timesteps:
                theirs = scheduler.step(unet(theirs, t).sample, t, theirs).prev_sample
            assert float((theirs - ours.x).abs().max()) < 1e-6, (process, kind)


def test_karras_levels_of_theirs_are_exact_on_a_continuous_process(diffusers):
    """Their Euler puts levels between the steps of its table; ours then has them too: float32 levels, twenty steps."""
    unet, config = to_diffusers(mixture(EDM(200.0)), LINEAR)
    scheduler = diffusers.EulerDiscreteScheduler.from_config(config, use_karras_sigmas=True)
    scheduler.set_timesteps(20)
    assert not bool((scheduler.timesteps == scheduler.timesteps.round()).all())
    sigmas = scheduler.sigmas.double()
    theirs = x = sigmas[0] * randn(16, 2)
    for t in scheduler.timesteps:
        theirs = scheduler.step(unet(scheduler.scale_model_input(theirs, t), t).sample, t, theirs).prev_sample
    process = EDM(200.0)
    grid = torch.cat([process.time(-2 * torch.log(sigmas[:-1])), torch.zeros(1, dtype=F64)])
    *_, ours = trajectory(mixture(process), x, grid, Euler())
    assert float((theirs - ours.x).abs().max()) < 5e-6


@pytest.mark.parametrize("name", ["EDM", "VP", "Cosine"])
def test_the_table_made_for_a_continuous_process_survives_their_float32(diffusers, name):
    """1 - abar is 1e-4 or more, of which float32 keeps three digits, and the step there moves x by little more."""
    unet, config = to_diffusers(mixture(PROCESSES[name]))
    chain = from_diffusers(unet, config).process
    scheduler = diffusers.DDIMScheduler.from_config(config)
    scheduler.set_timesteps(20)
    theirs = x = randn(64, 2)
    for t in scheduler.timesteps:
        theirs = scheduler.step(unet(theirs, t).sample, t, theirs).prev_sample
    *_, ours = trajectory(mixture(chain), x, grids.trailing(chain, 20), DDIM())
    assert float((theirs - ours.x).abs().max()) < 1e-5


@pytest.mark.parametrize("name", ["DDPMPipeline", "DDIMPipeline"])
def test_a_pipeline_of_theirs_runs_on_a_denoiser_of_ours(diffusers, name):
    """Data at one image, within [-1, 1]: E[x0 | x_t] is that image, and so is what comes out."""
    image = torch.linspace(-0.9, 0.9, 48).reshape(3, 4, 4)
    denoiser = GaussianDenoiser(image, 1e-12, EDM())
    unet, config = to_diffusers(denoiser)
    scheduler = getattr(diffusers, name.replace("Pipeline", "Scheduler")).from_config(config)
    pipeline = getattr(diffusers, name)(unet, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    out = pipeline(batch_size=2, num_inference_steps=10, output_type="np").images
    assert out.shape == (2, 4, 4, 3)
    assert float(np.abs(out - (image.permute(1, 2, 0).numpy() / 2 + 0.5)).max()) < 0.02


# --- folders that are refused --------------------------------------------------------------------------------------


def test_weights_that_could_run_code_are_refused(diffusers, tmp_path):
    with pytest.raises(RunError, match=r"may run code.*safe_serialization=True"):
        from_diffusers(pipeline_folder(tmp_path / "bin", "diffusion_pytorch_model.bin"))
    sly = pipeline_folder(tmp_path / "index")
    (sly / "unet" / "part.bin").write_bytes(b"")
    index = sly / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": "part.bin"}}))
    with pytest.raises(RunError, match="may run code"):
        from_diffusers(sly)


def test_damaged_folders_are_refused(diffusers, pipeline, tmp_path):
    with pytest.raises(RunError, match="cannot be read"):
        from_diffusers(pipeline_folder(tmp_path / "empty"))
    odd = pipeline_folder(tmp_path / "odd")
    (odd / "unet" / "config.json").write_text(json.dumps({"_class_name": "DDPMPipeline"}))
    with pytest.raises(RunError, match="_class_name = 'DDPMPipeline'"):
        from_diffusers(odd)
    (odd / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline", "transformer": ["a", "b"]}))
    with pytest.raises(RunError, match="a unet, got transformer"):
        from_diffusers(odd)
    from safetensors.torch import load_file, save_file

    partial = pipeline_folder(tmp_path / "partial")
    (partial / "unet" / "config.json").write_text((pipeline / "unet" / "config.json").read_text())
    weights = load_file(pipeline / "unet" / "diffusion_pytorch_model.safetensors")
    weights.pop("conv_in.weight")
    save_file(weights, partial / "unet" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(RunError, match=r"lacks 1 weights, as conv_in\.weight"):
        from_diffusers(partial)


def test_importing_the_room_does_not_import_diffusers():
    import subprocess

    code = "import sys, caminito.denoiser; print('diffusers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
