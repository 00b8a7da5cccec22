"""Fashion-MNIST in three stages, 7 x 7, 14 x 14, 28 x 28: small images enlarged, and images from nothing.

A base that draws 7 x 7, and two models that enlarge by 2, each trained for a share of one budget. Beside them, of the
network of the last stage: one trained for the whole budget to draw 28 x 28 directly; and a regression from 7 x 7, of
the budget of both enlarging stages, which is the same network trained at the highest noise alone, where its input says
nothing and its best answer is E[x_0 | low]. It is evaluated there, in one jump, and averaged over four draws of the
noise that it has learnt to ignore.

Enlarged: test images that were shrunk, by the two stages, each told of its input at no augmentation and at .1.

    psnr          of one draw, of the mean of `--draws` draws, of the regression and of bicubic, to the truth
    psnr_low      of the same, shrunk again, to what was enlarged; that of the truth is the rounding of two shrinkings
    frechet       in the judge's 128 features, of one draw each to all test images

A PSNR is that of the mean squared error over all images. From nothing: `sample` of the cascade and of the direct model,
by Frechet distance, precision and recall.

    python benchmarks/cascade.py [--minutes 25 | --training-steps N] [--resume]

The budget is that of the direct model. In steps, each stage takes as many of its own as its share allows by what a step
costs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from _common import RESULTS, SHARED, commit, write
from caminito import CascadeDiffusion, ImageDiffusion
from caminito.data import open_source, shrink
from caminito.metrics import frechet_distance, precision_recall
from caminito.plot import image_grid, png_bytes
from images_vs_diffusers import features, judge

SHARES = {"base": 0.15, "middle": 0.3, "last": 0.55, "direct": 1.0, "regression": 0.85}  # of the budget
COSTS = {"base": 0.15, "middle": 0.25, "last": 1.0, "direct": 1.0, "regression": 1.0}  # of a step, over the direct one
LEVELS = (0.0, 0.1)  # of augmentation
REGRESSION = {  # a model that enlarges, at the highest noise alone, where levels are clamped; low resolution as it is
    "upscale": 4,
    "training": {"time_mean": 20.0, "time_std": 0.01, "augmentation": 0.0, "condition_dropout": 0.0},
}
SEEDS = 1000  # apart, of the two enlarging stages


def images() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test images (uint8) and labels."""
    parts = [open_source(str(SHARED / "fashion_mnist" / f"{part}-images-idx3-ubyte.gz")) for part in ("train", "t10k")]
    labels = [part.labels for part in parts]
    assert labels[0] is not None and labels[1] is not None
    return parts[0].items, labels[0], parts[1].items, labels[1]


# -- models ------------------------------------------------------------------------------------------------------------


def trained(name: str, x: np.ndarray, args: argparse.Namespace, **how: Any) -> ImageDiffusion:
    """The model of its folder, trained first if it is not there."""
    place = args.models / name
    if not (place / "manifest.json").exists():
        budget: dict[str, Any] = {"minutes": SHARES[name] * args.minutes}
        if args.training_steps is not None:
            budget = {"max_steps": max(1, round(SHARES[name] / COSTS[name] * args.training_steps))}
        model = ImageDiffusion(**budget, random_state=0, **how)
        begin = time.perf_counter()
        for progress in model.fit_iter(x):
            if progress.step % 500 == 0:
                print(f"{name}: step {progress.step}, {(time.perf_counter() - begin) / 60:.1f} min", flush=True)
        facts = {"minutes": (time.perf_counter() - begin) / 60, "steps": model.n_steps_, "commit": commit()}
        facts["parameters"] = sum(p.numel() for p in model.denoiser_.network.parameters())
        model.save(place)
        (args.models / f"{name}.json").write_text(json.dumps(facts))
        print(name, facts, flush=True)
    return ImageDiffusion.load(place)  # type: ignore[return-value]


# -- ways to enlarge ---------------------------------------------------------------------------------------------------


def bicubic(low: np.ndarray) -> np.ndarray:
    """Enlarged to 28 x 28 by Pillow."""
    return np.stack([np.asarray(Image.fromarray(each).resize((28, 28), Image.Resampling.BICUBIC)) for each in low])


def regressed(model: ImageDiffusion, low: np.ndarray, seed: int) -> np.ndarray:
    """E[x_0 | low], one jump from the highest noise."""
    how = {"n_steps": 1, "solver": "ddim", "augmentation": 0.0, "random_state": seed}
    return model.sample(len(low), condition={"low": low}, **how)


def enlarged(stages: list[ImageDiffusion], low: np.ndarray, seed: int, level: float, steps: int) -> np.ndarray:
    """A draw of the stages after the base."""
    items = low
    for number, stage in enumerate(stages):
        items = stage.sample(
            len(low),
            condition={"low": items},
            n_steps=steps,
            augmentation=level,
            random_state=seed + SEEDS * number,
        )
    return items


def psnr(found: np.ndarray, truth: np.ndarray) -> float:
    """Decibels of the mean squared error over all images."""
    return float(10 * np.log10(255**2 / np.mean((found.astype(np.float64) - truth) ** 2)))


def fidelity(items: np.ndarray, truth: np.ndarray, low: np.ndarray) -> dict[str, float]:
    """PSNR to the truth, unless it is the truth itself, and of what is shrunk again to what was enlarged."""
    own = {} if np.array_equal(items, truth) else {"psnr": psnr(items, truth)}
    return own | {"psnr_low": psnr(shrink(items.astype(np.float64), 4), low)}


def judged(
    draw: Callable[[np.ndarray, int], np.ndarray],
    draws: int,
    first: int,
    truth: np.ndarray,
    low: np.ndarray,
    distance: Callable[[np.ndarray], float],
) -> dict[str, Any]:
    """Figures of one draw of all images, and of the first ones: of a draw, and of the mean of several."""
    one = draw(low, 0)
    more = [draw(low[:first], seed) for seed in range(1, draws)]
    mean = np.mean([one[:first], *more], axis=0)
    return {
        "frechet": distance(one),
        "one": fidelity(one, truth, low),
        "first": fidelity(one[:first], truth[:first], low[:first]),
        "mean": fidelity(mean, truth[:first], low[:first]) | {"draws": draws},
    }


# -- the run -----------------------------------------------------------------------------------------------------------


def main() -> None:
    """Run and write results/cascade.json and .png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25.0, help="of training of the direct model")
    parser.add_argument("--training-steps", type=int, help="instead of minutes")
    parser.add_argument("--images", type=int, default=60_000, help="to train on, at most")
    parser.add_argument("--samples", type=int, default=500, help="images enlarged, and drawn from nothing, per point")
    parser.add_argument("--steps", type=int, default=16, help="of a walk")
    parser.add_argument("--draws", type=int, default=16, help="that a mean is of")
    parser.add_argument("--means", type=int, default=200, help="images of which means are taken")
    parser.add_argument("--models", type=Path, default=RESULTS / "scratch_cascade", help="where networks are kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of what is written")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    args = parser.parse_args()
    for folder in (args.models, args.out):
        folder.mkdir(parents=True, exist_ok=True)
    x, y, x_test, y_test = images()
    x, y = x[: args.images], y[: args.images]
    net, accuracy = judge(x, y, x_test, y_test)
    print("judge", accuracy, flush=True)
    real, part = features(net, x_test), np.random.RandomState(0).permutation(len(x_test))[: args.samples]
    truth, small = x_test[part], shrink(x, 2)
    low = shrink(shrink(truth, 2), 2)

    base = trained("base", shrink(small, 2), args)
    stages = [trained("middle", small, args, upscale=2), trained("last", x, args, upscale=2)]
    direct = trained("direct", x, args)
    regression = trained("regression", x, args, **REGRESSION)
    cascade = CascadeDiffusion([base, *stages]).fit(x)  # nothing left to train; it looks whether they chain

    path = args.out / "scratch_cascade.json"
    known = json.loads(path.read_text()) if args.resume and path.exists() else {}

    def point(name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if name not in known:
            begin = time.process_time()
            known[name] = work()
            path.write_text(json.dumps(known))
            print(name, known[name], f"{time.process_time() - begin:.0f} s", flush=True)
        return known[name]

    def distance(items: np.ndarray) -> float:
        return frechet_distance(features(net, items), real)

    ways: dict[str, tuple[int, Callable[[np.ndarray, int], np.ndarray]]] = {
        "truth": (1, lambda z, seed: truth),
        "bicubic": (1, lambda z, seed: bicubic(z)),
        "regression": (4, lambda z, seed: regressed(regression, z, seed)),
        **{f"cascade at {s:g}": (args.draws, partial(enlarged, stages, level=s, steps=args.steps)) for s in LEVELS},
    }
    first = min(args.means, args.samples)
    larger = {
        way: point(way, partial(judged, draw, count, first, truth, low, distance))
        for way, (count, draw) in ways.items()
    }

    seen = real[part]

    def nothing(draw: Callable[[], np.ndarray]) -> dict[str, float]:
        begin, found = time.process_time(), features(net, draw())
        precision, recall = precision_recall(seen, found)
        seconds = time.process_time() - begin
        return {"frechet": frechet_distance(found, real), "precision": precision, "recall": recall, "seconds": seconds}

    how = {"n_steps": args.steps, "random_state": 0}
    others = np.random.RandomState(1).permutation(len(x))[: args.samples]
    sources: dict[str, Callable[[], np.ndarray]] = {
        "real training images (floor)": lambda: x[others],
        "direct": lambda: direct.sample(args.samples, **how),
        **{f"cascade at {s:g}": partial(cascade.sample, args.samples, augmentation=s, **how) for s in LEVELS},
    }
    whole = {name: point(f"{name}, from nothing", partial(nothing, draw)) for name, draw in sources.items()}
    figures = {
        "samples": args.samples,
        "steps": args.steps,
        "means": first,
        "judge_accuracy": accuracy,
        "training": {name: json.loads((args.models / f"{name}.json").read_text()) for name in SHARES},
        "enlarged": larger,
        "from nothing": whole,
        "asked": asked(larger),
    }
    write("cascade", figures, ("torch", "numpy", "pillow"), folder=args.out)
    draw_rows(low, truth, ways, args.out / "cascade.png")


def asked(larger: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What was asked of the stages, at each augmentation."""
    found = {}
    for level in LEVELS:
        own, least = larger[f"cascade at {level:g}"], larger["regression"]
        lost = least["mean"]["psnr"] - own["mean"]["psnr"]
        over, above = (larger[way]["frechet"] / own["frechet"] for way in ("bicubic", "regression"))
        found[f"at {level:g}"] = {
            "decibels of the mean below regression": {"asked": "<= 1", "found": lost, "held": lost <= 1},
            "frechet of bicubic over its own": {"asked": ">= 3", "found": over, "held": over >= 3},
            "frechet of regression over its own": {"asked": ">= 3", "found": above, "held": above >= 3},
        }
    return found


def draw_rows(
    low: np.ndarray,
    truth: np.ndarray,
    ways: dict[str, tuple[int, Callable[[np.ndarray, int], np.ndarray]]],
    path: Path,
    columns: int = 12,
) -> None:
    """The same test images in every row."""
    z = low[:columns]
    count, draw = ways[f"cascade at {LEVELS[0]:g}"]
    draws = [draw(z, seed) for seed in range(count)]
    rows = {
        "7 x 7": z.repeat(4, axis=1).repeat(4, axis=2),
        "bicubic": bicubic(z),
        "regression": ways["regression"][1](z, 0),
        **{f"draw {number}": draws[number - 1] for number in (1, 2, 3)[:count]},
        f"mean of {count} draws": np.rint(np.mean(draws, axis=0)).astype(np.uint8),
        "truth": truth[:columns],
    }
    fig = image_grid(
        np.concatenate(list(rows.values())),
        columns,
        row_labels=list(rows),
        title="From 7 x 7 to 28 x 28",
        caption="Test images, shrunk and enlarged again. Draws differ where 49 pixels do not say what was there; their "
        "mean is blurred as the regression is.",
    )
    path.write_bytes(png_bytes(fig))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
