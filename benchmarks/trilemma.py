"""Quality, coverage, speed: a diffusion model, a VAE and a GAN trained on the same images for the same time.

The diffusion model is this package's default, `ImageDiffusion`, sampled in 1000 ancestral steps as in DDPM, in its own
48, and in 8 of DPM-Solver++(2M): one network, three points. The VAE and the GAN are small and of well-known make, with
about as many parameters (encoder and critic included); `_baselines.py` says what they are. Each sees the training
images alone for `--minutes` of wall-clock in this run and on this machine; the diffusion model keeps a tenth of them
aside for its held-out loss, which the others do not. All compute in bfloat16 where the processor multiplies it faster.

Measured against the test images: Frechet distance (quality; in pixels for digits, in the features of a classifier
trained in this run for MNIST), recall (coverage) and precision; and samples per second in batches of 500, after one.

    python benchmarks/trilemma.py [--data digits|mnist] [--minutes 2]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from _baselines import GAN, VAE, sized, train
from _common import RESULTS, write
from _images import STRIP, Images, load, strips
from caminito import ImageDiffusion
from caminito.plot import style

Make = Callable[[int, int], np.ndarray]  # (first, count) -> images
BATCH, STEPS = 500, (1000, 48, 8)
OURS = {steps: f"diffusion, {steps} steps" for steps in STEPS}


def diffusion(images: Images, minutes: float, seed: int) -> tuple[dict[str, Make], dict[str, Any]]:
    """Our default, in several numbers of sampling steps."""
    start = time.perf_counter()
    model = ImageDiffusion(minutes=minutes, random_state=seed).fit(images.train)
    facts = {
        "parameters": size(model.denoiser_.network),
        "parameters_when_sampling": size(model.denoiser_.network),
        "training_steps": model.n_steps_,
        "train_seconds": time.perf_counter() - start,
    }

    def walk(steps: int) -> Make:
        return lambda first, count: model.sample(
            count, n_steps=steps, random_state=seed, first=first, batch_size=count
        ).round()

    return {OURS[steps]: walk(steps) for steps in STEPS}, facts


def baseline(
    kind: type[VAE] | type[GAN], images: Images, minutes: float, seed: int, parameters: int
) -> tuple[Make, dict[str, Any]]:
    """A VAE or a GAN of about so many parameters."""
    torch.manual_seed(seed)
    net = sized(kind, images.train.shape[1], parameters)
    start = time.perf_counter()
    make, steps = train(net, images.encode(images.train), 60 * minutes, bf16=torch.cpu._is_amx_tile_supported())
    facts = {
        "parameters": size(net),
        "parameters_when_sampling": size(net.maker),
        "training_steps": steps,
        "train_seconds": time.perf_counter() - start,
    }
    return lambda first, count: images.decode(make(count)), facts


def size(net: torch.nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in net.parameters())


def drawn(make: Make, count: int, seconds: float = 2.0) -> tuple[np.ndarray, float]:
    """So many images, and how many come in a second: batches for some seconds, the first of which is not counted."""
    parts, start, spent = [make(0, BATCH)], time.perf_counter(), 0.0
    while BATCH * len(parts) < count or spent < seconds:
        batch = make(BATCH * len(parts), BATCH)
        spent = time.perf_counter() - start
        parts.append(batch)
    return np.concatenate(parts[: -(-count // BATCH)])[:count], BATCH * (len(parts) - 1) / spent


def measure(images: Images, minutes: float, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Figures and samples of every model."""
    makes, facts = diffusion(images, minutes, seed)
    told = dict.fromkeys(makes, facts)
    for kind in (GAN, VAE):
        makes[kind.__name__], told[kind.__name__] = baseline(kind, images, minutes, seed, facts["parameters"])
    figures, samples = {}, {}
    for name, make in makes.items():
        samples[name], rate = drawn(make, images.n_samples)
        figures[name] = told[name] | images.scores(samples[name]) | {"samples_per_second": rate}
        print(name, figures[name], flush=True)
    return figures, samples


def draw(images: Images, figures: dict[str, Any], samples: dict[str, np.ndarray], floor: float, told: str) -> None:
    """results/trilemma.png: distance against speed, recall as the filled part of each disc, and samples below."""
    colours = dict.fromkeys(OURS.values(), style.GENERATED) | {"GAN": style.COLOURS[2], "VAE": style.COLOURS[3]}
    below = STRIP * (1 + len(samples)) + 40
    width, height = 1440, below + 780
    fig = style.pixels(width, height)
    axes = fig.add_axes((110 / width, (below + 90) / height, 1270 / width, 560 / height))
    style.dress(axes, "", "samples per second", "Fréchet distance to test images, smaller above", grid="both")
    places = {name: (found["samples_per_second"], found["frechet"]) for name, found in figures.items()}
    line = np.array([places[name] for name in OURS.values()])
    axes.plot(*line.T, color=style.GENERATED, linewidth=1.2, alpha=0.5, zorder=1)
    axes.axhline(floor, color=style.REAL, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    for name, place in places.items():
        disc(axes, place, figures[name]["recall"], colours[name])
        text = f"{name}\nrecall {figures[name]['recall']:.2f}"
        axes.annotate(
            text, place, (0, -19), textcoords="offset points", ha="center", va="top", fontsize=9, color=colours[name]
        )
    xs, ys = np.array(list(places.values())).T
    axes.set(xlim=(xs.min() / 3, xs.max() * 3), ylim=(max(ys) * 2.2, floor / 1.5))
    style.log_scale(axes, "x")
    style.log_scale(axes, "y")
    axes.annotate(
        "real images",
        (0.005, floor),
        (0, 4),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        fontsize=9,
        color=style.REAL,
    )
    title = "Quality, coverage, speed: who has which"
    style.write_heading(fig, title, style.wrapped(told, width / fig.dpi - 0.4))
    rows = {"real images": (images.test, style.REAL)} | {
        name: (found, colours[name]) for name, found in samples.items()
    }
    strips(fig, rows, below - 20)
    fig.savefig(RESULTS / "trilemma.png")


def disc(axes: Any, place: tuple[float, float], share: float, colour: str) -> None:
    """A disc of which `share` is filled, clockwise from the top."""
    from matplotlib.path import Path

    axes.scatter(*place, s=620, color=style.PAPER, edgecolor=colour, linewidth=1.6, zorder=3)
    if share > 0:
        wedge = Path.wedge(90 - 360 * share, 90) if share < 1 else "o"
        axes.scatter(*place, s=620, marker=wedge, color=colour, linewidth=0, zorder=4)


def main() -> None:
    """Run and write results/trilemma.json and results/trilemma.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    images, load_before = load(args.data), os.getloadavg()[0]
    real = np.random.RandomState(1).permutation(len(images.train))[: images.n_samples]
    floor = images.scores(images.train[real])
    figures, samples = measure(images, args.minutes, args.seed)
    facts = {
        "data": args.data,
        "distances_in": images.space,
        "minutes": args.minutes,
        "samples": images.n_samples,
        "batch": BATCH,
        "load_average": [load_before, os.getloadavg()[0]],
        "real training images (floor)": floor,
        "models": figures,
    }
    write("trilemma", facts)
    told = (
        f"{args.data}, {args.minutes:g} minutes of training each, about "
        f"{figures['VAE']['parameters'] / 1e6:.2g} M parameters each. The filled part of a disc is recall, the share "
        "of test images that samples come near. Best is above on the right, with a full disc. The line joins one "
        "diffusion network, sampled in fewer and fewer steps."
    )
    draw(images, figures, samples, floor["frechet"], told)


if __name__ == "__main__":
    main()
