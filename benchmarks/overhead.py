"""What a step costs outside the denoiser: this package against diffusers, same solver, same grid, same tensors.

A denoiser that returns a ready tensor leaves only the solver's own work. Both walk 50 steps of a batch of 64 images of
3 x 32 x 32 in float32, turn about, and the best of the repetitions counts. Drawing the noise of DDPM is torch's work on
both sides: "DDPM, noise given" hands both a ready tensor instead.

    python benchmarks/overhead.py [--repeat 7]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from _common import write
from caminito.denoiser import Condition, Denoiser
from caminito.process import Chain, Process
from caminito.process import grid as grids
from caminito.sampling import DDIM, DEIS, Ancestral, DPMpp2M, DPMpp3M, Euler, Heun, Shared, Solver, UniPC, trajectory

T, STEPS, SHAPE = 1000, 50, (64, 3, 32, 32)
BETAS = np.linspace(1e-4, 0.02, T)
PAIRS: dict[str, tuple[Solver, str, dict[str, object]]] = {
    "DDIM": (DDIM(), "DDIMScheduler", {"clip_sample": False}),
    "DDPM": (Ancestral(), "DDPMScheduler", {"clip_sample": False}),
    "DDPM, noise given": (Ancestral(), "DDPMScheduler", {"clip_sample": False}),
    "DPM++ 2M": (DPMpp2M(), "DPMSolverMultistepScheduler", {}),
    "DPM++ 3M": (DPMpp3M(), "DPMSolverMultistepScheduler", {"solver_order": 3}),
    "UniPC-2": (UniPC(2), "UniPCMultistepScheduler", {}),
    "DEIS-3": (DEIS(3), "DEISMultistepScheduler", {"solver_order": 3}),
    "Euler": (Euler(), "EulerDiscreteScheduler", {}),
    "Heun": (Heun(), "HeunDiscreteScheduler", {}),
}


class Ready(Denoiser):
    """Says what it was given, at no cost."""

    def __init__(self, x0: Tensor, process: Process) -> None:
        self.x0, self.process, self.event_shape = x0, process, tuple(x0.shape[1:])

    def mean(self, x_t: Tensor, t: Tensor | float, cond: Condition = None) -> Tensor:
        """x0."""
        return self.x0


class Given:
    """Noise that costs nothing."""

    def __init__(self, eps: Tensor) -> None:
        self.eps = eps

    def normal(self, step: int, like: Tensor) -> Tensor:
        """eps."""
        return self.eps


def ours(solver: Solver, x: Tensor, ready: Tensor, eps: Tensor | None) -> float:
    """Seconds per step of a walk, grid and tables included."""
    denoiser = Ready(ready, Chain.ddpm(BETAS))
    noise = Shared(torch.Generator().manual_seed(0)) if eps is None else Given(eps)
    start = time.perf_counter()
    for _ in trajectory(denoiser, x, grids.leading(denoiser.process, STEPS), solver, noise=noise):
        pass
    return (time.perf_counter() - start) / STEPS


def theirs(name: str, options: dict[str, object], x: Tensor, ready: Tensor, eps: Tensor | None) -> float:
    """Seconds per step of the peer, its tables included."""
    import diffusers
    from diffusers.schedulers import scheduling_ddpm

    scheduler = getattr(diffusers, name)(
        num_train_timesteps=T, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", **options
    )
    generator, start = torch.Generator().manual_seed(0), time.perf_counter()
    scheduler.set_timesteps(STEPS)
    draws = {"generator": generator} if name == "DDPMScheduler" else {}
    drawn = scheduling_ddpm.randn_tensor
    scheduling_ddpm.randn_tensor = drawn if eps is None else lambda *_, **__: eps
    for t in scheduler.timesteps:
        x = scheduler.step(ready, t, scheduler.scale_model_input(x, t), **draws).prev_sample
    scheduling_ddpm.randn_tensor = drawn
    return (time.perf_counter() - start) / STEPS


def main() -> None:
    """Run and write results/overhead.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=7)
    args = parser.parse_args()
    x, ready = torch.randn(SHAPE), torch.randn(SHAPE)
    rows = {}
    for name, (solver, peer, options) in PAIRS.items():
        eps = torch.randn(SHAPE) if name.endswith("noise given") else None
        runs: list[tuple[float, float]] = []
        calls: tuple[Callable[[], float], Callable[[], float]] = (
            lambda solver=solver, eps=eps: ours(solver, x, ready, eps),  # type: ignore[misc]
            lambda peer=peer, options=options, eps=eps: theirs(peer, options, x, ready, eps),  # type: ignore[misc]
        )
        for _ in range(args.repeat):
            runs.append((calls[0](), calls[1]()))
        mine, other = (min(run[i] for run in runs) for i in (0, 1))
        rows[name] = {"caminito_us": 1e6 * mine, "diffusers_us": 1e6 * other, "ratio": mine / other}
        print(f"{name:18s} {1e6 * mine:8.0f} us {1e6 * other:8.0f} us  ratio {mine / other:.3f}", flush=True)
    figures = {"shape": list(SHAPE), "steps": STEPS, "repeat": args.repeat, "asked": "ratio <= 1/3", "solvers": rows}
    write("overhead", figures, ("torch", "diffusers", "numpy"))


if __name__ == "__main__":
    main()
