"""Two claims about the U-Net, tested: that every level should be told the time, and that skips carry the detail.

Four networks from the same seed, with the same batches and noise, in as many steps: the default U-Net; one told the
noise level at its input alone; one never told it; one whose decoder does not see its encoder. The width of each is the
even one that brings its number of parameters nearest to that of the default, so a step of an ablated network costs as
much or a little more. One thing no ablation takes away: the preconditioning around the network (Karras et al. 2022)
still scales its input and output by the noise level.

Measured: loss on all test images at the noise levels that training validates at, with the same noise for all four; and
Frechet distance, precision and recall of samples (in pixels for digits, in the features of a classifier trained in
this run for MNIST).

    python benchmarks/unet_ablation.py [--data digits|mnist] [--steps 1200 | --minutes 2] [--seeds 2]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from _common import RESULTS, mean_sd, write
from _images import STRIP, Images, load, strips
from caminito import ImageDiffusion
from caminito.nn import build, suggest
from caminito.plot import style
from caminito.training import validate

NETWORKS: dict[str, dict[str, str]] = {
    "full": {},
    "time at the input": {"time": "input"},
    "no time": {"time": "none"},
    "no skips": {"skips": "none"},
}
COLOURS = dict(zip(NETWORKS, (style.INK, *style.COLOURS[1:4])))
FIGURES = ("loss", "frechet", "precision", "recall")


def matched(images: Images) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Options of each network at the even width nearest in parameters to the default, and those parameters."""
    usual = suggest((1, *images.train.shape[1:]), len(images.train))

    def size(options: dict[str, Any]) -> int:
        return sum(p.numel() for p in build(usual | options).parameters())

    options, sizes = {}, {}
    for name, changes in NETWORKS.items():
        widths = range(usual["width"], 2 * usual["width"], 2)
        options[name] = min((changes | {"width": w} for w in widths), key=lambda found: abs(size(found) - size({})))
        sizes[name] = size(options[name])
    return options, sizes


def measure(
    images: Images, options: dict[str, Any], seed: int, budget: dict[str, Any]
) -> tuple[dict[str, Any], np.ndarray]:
    """Figures and samples of one network, trained here."""
    model = ImageDiffusion(network=options, random_state=seed, **budget).fit(images.train)
    found = validate(model.denoiser_, model.codec_.encode(images.test[:2000]), model.training_, seed=0)
    samples = model.sample(images.n_samples, random_state=seed).round()
    levels = np.exp(-0.5 * np.array(found.logsnr))
    figures = {"steps": model.n_steps_, "noise": levels, "loss_by_level": found.loss, "loss": found.mean}
    return figures | images.scores(samples), samples


def summary(runs: list[dict[str, Any]], full: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and the loss over that of the full network with the same seed."""
    losses = np.array([run["loss_by_level"] for run in runs])
    return {
        "steps": [run["steps"] for run in runs],
        "noise": runs[0]["noise"],
        "loss_by_level": losses.mean(0),
        "loss_over_full_by_level": losses / np.array([run["loss_by_level"] for run in full]),
        "loss_over_full": mean_sd([run["loss"] / usual["loss"] for run, usual in zip(runs, full)]),
        **{name: mean_sd([run[name] for run in runs]) for name in FIGURES},
    }


def draw(images: Images, found: dict[str, Any], samples: dict[str, np.ndarray], told: str) -> None:
    """results/unet_ablation.png: loss by noise level, the same over that of the full network, and samples."""
    below = STRIP * (1 + len(samples)) + 30
    width, height = 1440, below + 690
    fig = style.pixels(width, height)
    panels = [fig.add_axes((left / width, (below + 80) / height, 470 / width, 450 / height)) for left in (90, 780)]
    style.dress(panels[0], "Loss on held-out images", "noise level, sigma / alpha", grid="both")
    style.dress(panels[1], "The same, over the loss of the full network", "noise level, sigma / alpha", grid="both")
    for name, row in found.items():
        ratios = np.array(row["loss_over_full_by_level"])
        panels[0].plot(row["noise"], row["loss_by_level"], color=COLOURS[name], linewidth=1.8, marker="o", markersize=3)
        panels[1].plot(row["noise"], ratios.mean(0), color=COLOURS[name], linewidth=1.8, marker="o", markersize=3)
        for seed in ratios if len(ratios) > 1 else ():
            panels[1].plot(row["noise"], seed, color=COLOURS[name], linewidth=0.7, alpha=0.4)
    style.log_scale(panels[0], "y")
    for axes, key in zip(panels, ("loss_by_level", "loss_over_full_by_level")):
        style.log_scale(axes, "x")
        label(axes, {name: float(np.atleast_2d(row[key]).mean(0)[-1]) for name, row in found.items()})
    rows = {"real images": (images.test, style.REAL)}
    rows |= {f"{name}  ({found[name]['frechet']['mean']:.2f})": (s, COLOURS[name]) for name, s in samples.items()}
    strips(fig, rows, below - 10)
    style.write_heading(fig, "The U-Net without its parts", style.wrapped(told, width / fig.dpi - 0.4))
    fig.savefig(RESULTS / "unet_ablation.png")


def label(axes: Any, ends: dict[str, float], apart: float = 0.06) -> None:
    """Name each line beside its end, at least so far apart in shares of the axis."""
    places = {
        name: axes.transAxes.inverted().transform(axes.transData.transform((1, end)))[1] for name, end in ends.items()
    }
    order = sorted(places, key=lambda name: places[name])
    heights: list[float] = []
    for name in order:
        heights.append(max(places[name], heights[-1] + apart) if heights else places[name])
    shift = np.mean([places[name] for name in order]) - np.mean(heights)
    for name, place in zip(order, heights):
        axes.text(1.02, place + shift, name, transform=axes.transAxes, fontsize=9, va="center", color=COLOURS[name])


def main() -> None:
    """Run and write results/unet_ablation.json and results/unet_ablation.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits")
    budgets = parser.add_mutually_exclusive_group()
    budgets.add_argument("--steps", type=int, default=1200)
    budgets.add_argument("--minutes", type=float)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    budget = {"minutes": args.minutes} if args.minutes else {"max_steps": args.steps}
    images = load(args.data)
    options, sizes = matched(images)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in NETWORKS}
    samples = {}
    for seed in range(args.seeds):
        for name in NETWORKS:
            figures, made = measure(images, options[name], seed, budget)
            runs[name].append(figures)
            samples.setdefault(name, made)
            print(seed, name, {key: figures[key] for key in FIGURES}, flush=True)
    found = {name: summary(rows, runs["full"]) for name, rows in runs.items()}
    facts = {
        "data": args.data,
        "distances_in": images.space,
        "budget": budget,
        "seeds": args.seeds,
        "networks": {name: {"options": options[name], "parameters": sizes[name], **found[name]} for name in NETWORKS},
    }
    write("unet_ablation", facts)
    amount = f"{args.minutes:g} minutes" if args.minutes else f"{args.steps} steps"
    told = (
        f"{args.data}, {amount} each, {min(sizes.values()) / 1e6:.2g} to {max(sizes.values()) / 1e6:.2g} M parameters, "
        f"{args.seeds} seeds (thin lines). Samples of a column grew from the same noise; the number beside each row is "
        "its Fréchet distance to test images."
    )
    draw(images, found, samples, told)


if __name__ == "__main__":
    main()
