"""Few evaluations on trained networks: which solver, with which times, and what calibration adds.

One network of the digits and one of MNIST, trained here or read from `--models`. From the same starting noise each
solver makes as many images in 5, 8, 12 and 20 evaluations: ours with Karras' times, with equal steps of log-SNR and
with calibrated ones; diffusers' DPM-Solver++(2M) and UniPC on the same network, put on a DDPM table of 1000 steps, as
they come and with Karras' times in our range. Judged by the Frechet distance to the test images: in pixels for the
digits, in the features of a classifier trained in this run for MNIST.

    python benchmarks/few_steps.py [--models FOLDER] [--data digits mnist] [--samples 2000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from _common import write
from caminito import ImageDiffusion
from caminito.data import load_digits
from caminito.metrics import frechet_distance
from caminito.process import grid as grids
from caminito.sampling import DPMpp2M, PerSample, Solver, UniPC, sample
from images_vs_diffusers import features, judge, mnist

OURS: dict[str, Solver] = {"2M": DPMpp2M(), "UniPC-2": UniPC(2)}
Feature = Callable[[np.ndarray], np.ndarray]


def data(name: str) -> tuple[np.ndarray, np.ndarray, Feature, int]:
    """Training images, test images, where the distance is taken, and steps of training."""
    if name == "digits":
        x, _ = load_digits()
        order = np.random.RandomState(0).permutation(len(x))
        return x[order[:898]], x[order[898:1796]], lambda a: a.reshape(len(a), -1) / 8 - 1, 1900
    x, y, x_test, y_test = mnist()
    net, accuracy = judge(x, y, x_test, y_test)
    print("judge", accuracy, flush=True)
    return x, x_test, lambda a: features(net, a), 4000


def trained(name: str, x: np.ndarray, steps: int, folder: Path) -> ImageDiffusion:
    """The model of `folder`, trained first if it is not there."""
    place = folder / name
    if not (place / "manifest.json").exists():
        ImageDiffusion(max_steps=steps, random_state=0).fit(x).save(place)
    return ImageDiffusion.load(place)  # type: ignore[return-value]


def peers(high: float, low: float) -> dict[str, Callable[[int], Any]]:
    """diffusers' schedulers by name, as they come, and with Karras' times in our range."""
    from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler

    def make(kind: Any, karras: bool) -> Callable[[int], Any]:
        def of(n: int) -> Any:
            scheduler = kind(num_train_timesteps=1000, beta_schedule="linear", use_karras_sigmas=karras)
            scheduler.register_to_config(sigma_max=high, sigma_min=low)  # read for Karras' times alone
            scheduler.set_timesteps(n)
            return scheduler

        return of

    kinds = {"DPM-Solver++(2M)": DPMSolverMultistepScheduler, "UniPC": UniPCMultistepScheduler}
    return {
        f"diffusers {name}{', Karras' if karras else ''}": make(kind, karras)
        for name, kind in kinds.items()
        for karras in (False, True)
    }


@torch.no_grad()
def walk_peer(model: ImageDiffusion, scheduler: Any, n: int) -> np.ndarray:
    """Images by a scheduler of diffusers, from the starting noise of `sample` and with the same network."""
    from caminito.denoiser import to_diffusers

    network, out = to_diffusers(model.denoiser_, scheduler.config).unet, []
    start = PerSample(0).normal(0, torch.empty(n, *model.event_shape_))
    for x in start.split(500):
        scheduler.set_timesteps(scheduler.num_inference_steps)
        x = x * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            x = scheduler.step(network(scheduler.scale_model_input(x, t), t).sample, t, x).prev_sample
        out.append(x)
    return model.codec_.decode(torch.cat(out))


def walked(model: ImageDiffusion, solver: Solver, grid: Tensor, n: int) -> np.ndarray:
    """Images by a solver of ours."""
    shape = (n, *model.event_shape_)
    return model.codec_.decode(sample(model.denoiser_, shape, solver=solver, grid=grid, seed=0, batch_size=500))


def measure(name: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures of one data set."""
    x, x_test, feature, steps = data(name)
    model = trained(name, x, steps, folder)
    real, n = feature(x_test), min(args.samples, len(x))
    seen = x[np.random.RandomState(0).permutation(len(x))[:n]]
    low, high = model.noise_range_
    figures: dict[str, Any] = {
        "training_steps": model.n_steps_,
        "samples": n,
        "real training images (floor)": frechet_distance(feature(seen), real),
        "128 steps": frechet_distance(feature(walked(model, DPMpp2M(), model.solver_and_grid(128)[1], n)), real),
    }
    print(name, figures, flush=True)
    rows: dict[str, Any] = {}
    for count in args.evaluations:
        for title, solver in OURS.items():
            karras = model.solver_and_grid(count, solver, calibrated=False)[1]
            even = grids.logsnr(model.process_, count, sigma_min=low, sigma_max=high)
            for times, grid in {"Karras": karras, "log-SNR": even}.items():
                row = rows.setdefault(f"{title}, {times}", {})
                row[count] = {"frechet": frechet_distance(feature(walked(model, solver, grid, n)), real)}
            for method in args.methods:
                if method == "search" and count > args.search_up_to:
                    continue
                begin = time.perf_counter()
                kept = model.calibrate(x, count, solver=solver, method=method, random_state=0)
                facts = {"seconds": time.perf_counter() - begin, "before": kept.before, "after": kept.after}
                distance = frechet_distance(feature(walked(model, solver, kept.times, n)), real)
                row = rows.setdefault(f"{title}, calibrated by {method}", {})
                row[count] = {"frechet": distance, **facts, "levels": kept.levels(model.process_)}
            print(name, count, title, {k: v[count]["frechet"] for k, v in rows.items() if count in v}, flush=True)
        for title, make in peers(high, low).items():
            images = walk_peer(model, make(count), n)
            rows.setdefault(title, {})[count] = {"frechet": frechet_distance(feature(images), real)}
            print(name, count, title, rows[title][count], flush=True)
        model.save(folder / name)
    return figures | {"rows": rows}


def main() -> None:
    """Run and write results/few_steps.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=["digits", "mnist"], choices=("digits", "mnist"))
    parser.add_argument("--models", type=Path, help="where networks are kept")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--evaluations", type=int, nargs="*", default=[5, 8, 12, 20])
    parser.add_argument("--methods", nargs="*", default=["search"], help="of calibration")
    parser.add_argument("--search-up-to", type=int, default=20, help="evaluations beyond which no search is made")
    parser.add_argument("--name", default="few_steps")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.models or Path(temporary)
        figures = {name: measure(name, args, folder) for name in args.data}
    write(args.name, {"data": figures}, ("torch", "diffusers", "numpy"))


if __name__ == "__main__":
    main()
