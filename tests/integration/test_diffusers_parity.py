"""Step-by-step agreement with the schedulers of diffusers, on an exact denoiser in float64.

Where both are float64 the tolerance is 1e-10. Where their tables are float32 it is 5e-6 (1 + sigma): single rounding of
their levels, carried along twenty steps. Their schedulers
run in one of two coordinates: x itself (VP), or x / alpha; ours runs on the process that has the same numbers.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caminito.denoiser import MixtureDenoiser
from caminito.process import EDM, Chain
from caminito.process import grid as grids
from caminito.sampling import (
    DDIM,
    DEIS,
    LMS,
    PNDM,
    Ancestral,
    DPMpp2M,
    DPMpp2MSDE,
    Euler,
    EulerAncestral,
    Heun,
    Shared,
    UniPC,
    trajectory,
)

diffusers = pytest.importorskip("diffusers")

T, N = 1000, 10
BETAS = np.linspace(1e-4, 0.02, T)
CHAIN = Chain.ddpm(BETAS)
VE = EDM(1000.0, rho=1.0)
OPTIONS = {"num_train_timesteps": T, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}


def mixture(process):
    return MixtureDenoiser(torch.tensor([0.4, 0.6]), torch.tensor([[1.0, -1.0], [-2.0, 0.5]]), 0.3, process)


def start():
    return torch.randn(16, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def output(scheduler, x, x0, alpha, sigma):
    """What a network of the scheduler's prediction type says."""
    eps = (x - alpha * x0) / sigma
    return alpha * eps - sigma * x0 if scheduler.config.prediction_type == "v_prediction" else eps


# -- chains: whole steps of the trained table, both sides in float64 ---------------------------------------------------


def in_float64(scheduler):
    scheduler.betas = torch.from_numpy(BETAS)
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    return scheduler


def their_walk(scheduler, denoiser, **options):
    scheduler.set_timesteps(N)
    x, walk = start(), [start()]
    for t in scheduler.timesteps:
        alpha, sigma = CHAIN.kernel(float(t) + 1)
        said = output(scheduler, x, denoiser.mean(x, float(t) + 1), alpha, sigma)
        x = scheduler.step(said, t, x, **options).prev_sample
        walk.append(x)
    return walk


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("name", ["ddpm", "ddpm-large", "ddim", "ddim-eta"])
def test_chain_walks_agree(name, spacing, kind):
    options = OPTIONS | {"timestep_spacing": spacing, "prediction_type": kind, "clip_sample": False}
    generator, noise = (torch.Generator().manual_seed(1) for _ in range(2))
    if name.startswith("ddpm"):
        variance = "fixed_large" if name == "ddpm-large" else "fixed_small"
        theirs = diffusers.DDPMScheduler(**options, variance_type=variance)
        solver, extra = Ancestral("large" if name == "ddpm-large" else "small"), {"generator": generator}
    else:
        eta = 0.7 if name == "ddim-eta" else 0.0
        theirs = diffusers.DDIMScheduler(**options)
        solver, extra = DDIM(eta), {"eta": eta, "generator": generator}
    denoiser = mixture(CHAIN)
    walk = their_walk(in_float64(theirs), denoiser, **extra)
    ours = list(trajectory(denoiser, start(), getattr(grids, spacing)(CHAIN, N), solver, noise=Shared(noise)))
    if name.startswith("ddpm") and spacing == "trailing":
        # their last step starts at t > 0 and so adds noise (sqrt(1e-20) of it for the small variance): the result of
        # ours is the prediction itself
        last, their_last = ours.pop(), walk.pop()
        assert torch.allclose(last.x, last.x0, rtol=0, atol=1e-14)
        moved = float((their_last - last.x).std())
        assert moved > 0.1 if name == "ddpm-large" else moved < 1e-9
    for frame, x in zip(ours, walk, strict=True):
        assert torch.allclose(frame.x, x, rtol=0, atol=1e-10), frame.i


def test_on_linspace_theirs_steps_to_a_level_that_it_does_not_visit_next():
    """Their DDIM steps down by T / n whatever the grid: from 999 to the level of 899, and asks next for that of 888."""
    theirs, denoiser = (
        diffusers.DDIMScheduler(**OPTIONS, timestep_spacing="linspace", clip_sample=False),
        mixture(CHAIN),
    )
    walk = their_walk(in_float64(theirs), denoiser)
    assert theirs.timesteps.tolist()[:2] == [999, 888]
    *_, to_899 = trajectory(denoiser, start(), grids.explicit(CHAIN, [1000, 900]), DDIM())
    *_, to_888 = trajectory(denoiser, start(), grids.linspace(CHAIN, N)[:2], DDIM())
    assert torch.allclose(walk[1], to_899.x, rtol=0, atol=1e-12)
    assert float((walk[1] - to_888.x).abs().max()) > 1e-3


@pytest.mark.parametrize("warmup", ["runge-kutta", "heun"])
def test_pndm_agrees(warmup):
    theirs = in_float64(
        diffusers.PNDMScheduler(
            **OPTIONS, skip_prk_steps=warmup == "heun", set_alpha_to_one=True, timestep_spacing="leading"
        )
    )
    denoiser = mixture(CHAIN)
    walk = their_walk(theirs, denoiser)
    ours = list(trajectory(denoiser, start(), grids.leading(CHAIN, N), PNDM(warmup)))
    kept = walk[4:13:4] + walk[13:] if warmup == "runge-kutta" else walk[2:]
    for frame, x in zip(ours[1:], kept, strict=True):
        assert torch.allclose(frame.x, x, rtol=0, atol=1e-10), frame.i


# -- levels of sigma / alpha: their tables are float32, and ours takes their numbers -----------------------------------


def ve_grid(sigmas):
    """The times of the process with x / alpha for its state at which sigma is theirs."""
    return torch.cat([sigmas[:-1] / VE.sigma_max, sigmas[-1:] * 0]) if float(sigmas[-1]) == 0 else sigmas / VE.sigma_max


LEVELS = {
    "euler": ("EulerDiscreteScheduler", {}, Euler(), False),
    "euler-ancestral": ("EulerAncestralDiscreteScheduler", {}, EulerAncestral(), False),
    "lms": ("LMSDiscreteScheduler", {}, LMS(4), False),
    "dpmpp2m": ("DPMSolverMultistepScheduler", {"final_sigmas_type": "zero"}, DPMpp2M(), True),
    "dpmpp2m-sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, DPMpp2MSDE(), True),
    "unipc-bh2": ("UniPCMultistepScheduler", {"solver_order": 2}, UniPC(2), True),
    "unipc-bh1": ("UniPCMultistepScheduler", {"solver_order": 2, "solver_type": "bh1"}, UniPC(2, "bh1"), True),
    "deis": ("DEISMultistepScheduler", {"solver_order": 2}, DEIS(2), True),
}
LONG = 20  # steps; below 15 their DEIS takes a first-order step at the end, which ours does only at sigma = 0


class Single(Shared):
    """Drawn in float32, as their DPM-Solver does whatever the sample's dtype."""

    def normal(self, step, like):
        return super().normal(step, like.float()).to(like.dtype)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    ("name", "grid"),
    [
        (name, grid)
        for name in LEVELS
        for grid in ("leading", "trailing", "linspace", "karras")
        if (name, grid) != ("euler-ancestral", "karras")  # not offered by theirs
    ],
)
def test_level_walks_agree(name, grid, kind):
    scheduler_name, extra, solver, in_vp = LEVELS[name]
    options = OPTIONS | extra | {"prediction_type": kind}
    if grid == "karras":
        options["use_karras_sigmas"] = True
    else:
        options["timestep_spacing"] = grid
    theirs = getattr(diffusers, scheduler_name)(**options)
    theirs.set_timesteps(LONG)
    if name == "deis" and grid == "karras":  # their last two levels are the same: a step of no length
        theirs.timesteps = theirs.timesteps[:-1]
        sigmas = theirs.sigmas[:-1].double()
    else:
        sigmas = theirs.sigmas.double()
    denoiser, generator, noise = mixture(VE), *(torch.Generator().manual_seed(1) for _ in range(2))
    x = start() * sigmas[0]
    scales = 1 / torch.hypot(torch.ones_like(sigmas), sigmas) if in_vp else torch.ones_like(sigmas)
    state, walk = x * scales[0], [x]
    for i, t in enumerate(theirs.timesteps):
        sigma, scale = sigmas[i], scales[i]
        if not in_vp:
            theirs.scale_model_input(state, t)
        y = state / scale
        x0 = denoiser.mean(y, sigma / VE.sigma_max)
        alpha = 1 / torch.hypot(torch.ones_like(sigma), sigma)
        said = output(theirs, y * alpha, x0, alpha, sigma * alpha)
        more = {"generator": generator} if solver.is_stochastic else {}
        state = theirs.step(said, t, state, **more).prev_sample
        walk.append(state / scales[i + 1])
    source = Single(noise) if name == "dpmpp2m-sde" else Shared(noise)
    ours = list(trajectory(denoiser, x, ve_grid(sigmas), solver, noise=source))
    if name == "unipc-bh1":  # B(h) = h is infinite in the last step, where theirs gives NaN and ours the prediction
        assert bool(walk.pop().isnan().all())
        last = ours.pop()
        assert torch.allclose(last.x, last.x0, rtol=0, atol=1e-14)
    for frame, there in zip(ours, walk, strict=True):
        assert torch.allclose(frame.x, there.double(), rtol=0, atol=5e-6 * float(1 + sigmas[frame.i])), frame.i


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_heun_agrees(kind):
    theirs = diffusers.HeunDiscreteScheduler(**OPTIONS, prediction_type=kind, timestep_spacing="leading")
    theirs.set_timesteps(N)
    sigmas = theirs.sigmas.double()
    denoiser, x = mixture(VE), start() * sigmas[0]
    state, walk = x, [x]
    for i, t in enumerate(theirs.timesteps):
        sigma = sigmas[i]
        theirs.scale_model_input(state, t)
        alpha = 1 / torch.hypot(torch.ones_like(sigma), sigma)
        x0 = denoiser.mean(state, sigma / VE.sigma_max)
        state = theirs.step(output(theirs, state * alpha, x0, alpha, sigma * alpha), t, state).prev_sample
        walk.append(state)
    ours = trajectory(denoiser, x, ve_grid(torch.cat([sigmas[:1], sigmas[1::2]])), Heun())
    for frame, there in zip(ours, [walk[0], *walk[2::2], walk[-1]], strict=True):
        assert torch.allclose(frame.x, there.double(), rtol=0, atol=5e-6 * float(1 + sigmas[0])), frame.i
