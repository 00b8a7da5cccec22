"""Images seen in part, 28 x 28: how near what is filled in comes, how like images it is, and how sure to be.

    centre    a square of 14 x 14 in the middle hidden       scattered   75 % of the pixels hidden
    half      the right half hidden                          x4          means over blocks of 4 x 4, 7 x 7 of them
    blur      a Gaussian blur of 1.5 pixels, and noise of 5 grey levels

The model is that of `conditional.py`, which was trained without holes, told no class; `trained` is a network of the
same kind and minutes that has learnt to fill (`inpainting=True`). Each draws `--draws` times for each of `--images`
test images; `dps` has the best of its scales on the first eight, in its favour, and draws twice. Beside them the mean
of the training images, biharmonic inpainting (scikit-image), that of Telea 2004 (OpenCV), bicubic enlargement (Pillow),
and a Wiener filter (scikit-image).

    psnr, ssim     of the mean of the draws
    psnr of one    of a single draw
    frechet        of a draw of each to all test images, in the 128 features of a judge; of the truth the same
    coverage       of intervals of 90 %, over pixels that were not seen and where truth and draws are not all the same

A PSNR is that of the mean squared error over all images, of the hidden pixels alone where some are kept.

    python benchmarks/posterior_images.py --data mnist|fashion_mnist [--minutes 18 | --training-steps N] [--resume]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from _common import RESULTS, write
from _points import Points, brief
from caminito import ImageDiffusion
from caminito.estimators.given import Given
from caminito.metrics import coverage, frechet_distance
from caminito.plot import png_bytes, style
from caminito.posterior import Blur
from conditional import images as images_of
from conditional import trained as unconditional
from images_vs_diffusers import features, judge

SIDE, FACTOR, WIDTH, LEVEL = 28, 4, 1.5, 5.0
STEPS = {"mmps": 30, "diffpir": 50, "dps": 100, "trained": 32}
SCALES, FEW = (0.3, 1.0, 3.0, 10.0), 2  # of `dps`, and its draws, since it is slow
PEERS = ("scikit-image", "opencv-python-headless")
COVERED, WITHIN = 0.9, 0.05  # asked


def holes(images: int) -> dict[str, np.ndarray]:
    """True where a pixel is hidden, by the name of a task; a mask for each image."""
    square, half = np.zeros((2, images, SIDE, SIDE), dtype=bool)
    square[:, 7:21, 7:21] = True
    half[:, :, 14:] = True
    scattered = np.random.default_rng(0).random((images, SIDE, SIDE)) < 0.75
    return {"centre": square, "scattered": scattered, "half": half}


class Task:
    """What is seen of test images, and who can fill it in."""

    def __init__(self, name: str, truth: np.ndarray) -> None:
        self.name, self.truth = name, truth
        self.hidden = holes(len(truth)).get(name)
        if name == "x4":
            self.seen = truth.reshape(len(truth), 7, FACTOR, 7, FACTOR).mean((2, 4))
        elif name == "blur":
            events = torch.from_numpy(truth.astype(np.float64))[:, None]
            noise = np.random.default_rng(1).normal(size=truth.shape)
            self.seen = Blur(WIDTH)(events)[:, 0].numpy() + LEVEL * noise
        else:
            self.seen = truth

    def drawn(self, model: ImageDiffusion, count: int, rows: slice = slice(None), **how: Any) -> Given:
        """Draws of a model."""
        seen, told = self.seen[rows], {"n_draws": count, "random_state": 0} | how
        if self.hidden is not None:
            return model.inpaint(seen, self.hidden[rows], **told)
        if self.name == "x4":
            return model.enlarge(seen, FACTOR, **told)
        return model.posterior(seen[:, None], Blur(WIDTH), LEVEL, **told)

    def plain(self, train: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
        """What fills it in without a model, float images."""
        if self.name == "x4":
            return {
                "bicubic": lambda: np.stack(
                    [
                        np.asarray(
                            Image.fromarray(small.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                        )
                        for small in self.seen
                    ]
                ).clip(0, 255)
            }
        if self.hidden is None:
            return {"as seen": lambda: self.seen.clip(0, 255), "wiener": self._wiener}
        mean = np.broadcast_to(train.mean(0), self.truth.shape)
        return {
            "mean fill": lambda: np.where(self.hidden, mean, self.truth),
            "biharmonic": self._biharmonic,
            "telea": self._telea,
        }

    def _biharmonic(self) -> np.ndarray:
        from skimage.restoration import inpaint_biharmonic

        found = [inpaint_biharmonic(image / 255, hole) for image, hole in zip(self.truth, self.hidden)]
        return 255 * np.stack(found).clip(0, 1)

    def _telea(self) -> np.ndarray:
        import cv2

        found = [cv2.inpaint(x, h.astype(np.uint8), 3, cv2.INPAINT_TELEA) for x, h in zip(self.truth, self.hidden)]
        return np.stack(found).astype(np.float64)

    def _wiener(self) -> np.ndarray:
        from skimage.restoration import wiener

        point = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
        point[..., 7, 7] = 1
        kernel = Blur(WIDTH)(point)[0, 0].numpy()
        found = [wiener(image / 255, kernel, (LEVEL / 50) ** 2, clip=False) for image in self.seen]
        return 255 * np.stack(found).clip(0, 1)


TASKS = ("centre", "scattered", "half", "x4", "blur")


def psnr(found: np.ndarray, truth: np.ndarray, where: np.ndarray | None) -> float:
    """Of the mean squared error over all images, dB."""
    apart = (np.asarray(found, dtype=np.float64) - truth) ** 2
    return float(10 * math.log10(255**2 / (apart.mean() if where is None else apart[where].mean())))


def ssim(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean structural similarity."""
    from skimage.metrics import structural_similarity

    return float(np.mean([structural_similarity(a, b, data_range=255.0) for a, b in zip(found, truth.astype(float))]))


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Five tasks, all methods."""
    x, y, x_test, y_test = images_of(args.data)
    net, accuracy = judge(x, y, x_test, y_test)
    real = features(net, x_test)
    model = unconditional(args.data, x, y, args, args.models)
    filling = learnt(x, y, args)
    truth = x_test[np.random.RandomState(1).permutation(len(x_test))[: args.images]]
    points = Points(args.out / f"scratch_posterior_images_{args.data}.json", args.resume)

    def judged(whole: np.ndarray, one: np.ndarray, task: Task) -> dict[str, Any]:
        return {
            "psnr": psnr(whole, truth, task.hidden),
            "ssim": ssim(whole, truth),
            "frechet": frechet_distance(features(net, one.round().astype(np.uint8)), real),
        }

    def plain(task: Task, fill: Callable[[], np.ndarray]) -> dict[str, Any]:
        begin = time.process_time()
        found = fill()
        taken = time.process_time() - begin
        return judged(found, found, task) | {"seconds": taken / len(truth)}

    def drawn(task: Task, method: str) -> dict[str, Any]:
        more: dict[str, Any] = {}
        if method == "dps":
            few = slice(0, 8)
            tried = {
                scale: psnr(
                    task.drawn(model, 1, few, method="dps", n_steps=STEPS["dps"], options={"scale": scale}).draws[:, 0],
                    truth[few],
                    None if task.hidden is None else task.hidden[few],
                )
                for scale in SCALES
            }
            more = {"options": {"scale": max(tried, key=lambda scale: tried[scale])}}
        begin = time.process_time()
        by = filling if method == "trained" else model
        count = min(args.draws, FEW) if method == "dps" else args.draws
        found = task.drawn(by, count, method=method, n_steps=STEPS[method], **more)
        taken = time.process_time() - begin
        draws = np.asarray(found.draws)
        row = judged(found.mean, draws[:, 0], task)
        where = np.ones(truth.shape, dtype=bool) if task.hidden is None else task.hidden
        row["psnr of one"] = psnr(draws[:, 0], truth, task.hidden)
        row |= covered(draws, truth, where)
        return row | {"seconds": taken / draws.shape[0] / draws.shape[1]} | more.get("options", {})

    out: dict[str, Any] = {}
    for name in TASKS:
        task = Task(name, truth)
        rows = {each: points.get(f"{name} {each}", partial(plain, task, fill)) for each, fill in task.plain(x).items()}
        for method in ("mmps", "diffpir", "dps", *(["trained"] if task.hidden is not None else [])):
            rows[method] = points.get(f"{name} {method}", partial(drawn, task, method))
        out[name] = rows
    shown(args, model, filling, x_test)
    return {
        "data": args.data,
        "images": len(truth),
        "draws of dps": min(args.draws, FEW),
        "draws": args.draws,
        "steps": STEPS,
        "judge_accuracy": accuracy,
        "training_steps": {"told nothing of holes": model.n_steps_, "trained to fill": filling.n_steps_},
        "truth (floor)": {"frechet": brief(frechet_distance(features(net, truth), real))},
        "tasks": out,
        "asked": {
            name: {"coverage": COVERED, "within": WITHIN, "found": rows["mmps"]["coverage"]}
            | {"held": abs(rows["mmps"]["coverage"] - COVERED) <= WITHIN}
            for name, rows in out.items()
        },
    }


def covered(draws: np.ndarray, truth: np.ndarray, where: np.ndarray) -> dict[str, float]:
    """Coverage over the pixels of `where` that are open; its error from the scatter between images."""
    is_open = where & (draws != truth[:, None]).any(1)
    some = is_open.any((1, 2))
    draws, truth, is_open = draws[some], truth[some], is_open[some]
    shares = [
        float(coverage(own[:, None, here], x[here][None], levels=[COVERED]).share[0])
        for own, x, here in zip(draws.astype(np.float64), truth.astype(np.float64), is_open)
    ]
    weights = is_open.sum((1, 2))
    mean = float(np.average(shares, weights=weights))
    spread = float(np.sqrt(np.average((np.array(shares) - mean) ** 2, weights=weights) / (len(shares) - 1)))
    return {"coverage": mean, "coverage_error": spread}


def learnt(x: np.ndarray, y: np.ndarray, args: argparse.Namespace) -> ImageDiffusion:
    """The model that has learnt to fill, trained first if it is not there."""
    place = args.models / args.data / "filling"
    if not (place / "manifest.json").exists():
        budget = {"minutes": args.minutes} if args.training_steps is None else {"max_steps": args.training_steps}
        ImageDiffusion(**budget, inpainting=True, random_state=0).fit(x, y).save(place)
    return ImageDiffusion.load(place)  # type: ignore[return-value]


def shown(args: argparse.Namespace, model: ImageDiffusion, filling: ImageDiffusion, x_test: np.ndarray) -> None:
    """Six images: the truth, what is seen, the mean, four draws of each road, where they differ."""
    truth = x_test[np.random.RandomState(1).permutation(len(x_test))[: args.images]][:6]
    fig, axes = style.figure(9.6, 4.7, (6, 12))
    task = Task("half", truth)
    roads = {
        "guided": task.drawn(model, 4, method="mmps", n_steps=STEPS["mmps"]),
        "trained": task.drawn(filling, 4, method="trained", n_steps=STEPS["trained"]),
    }
    titles = [
        "truth",
        "seen",
        *(f"{name} {i + 1}" for name in roads for i in range(4)),
        *(f"{name} spread" for name in roads),
    ]
    for row in range(6):
        seen = np.where(task.hidden[row], np.nan, truth[row].astype(float))
        cells = [
            truth[row],
            seen,
            *(d for f in roads.values() for d in f.draws[row]),
            *(f.std[row] for f in roads.values()),
        ]
        for number, (place, cell) in enumerate(zip(axes[row], cells)):
            place.set_axis_off()
            top = 110 if number >= 10 else 255
            place.imshow(cell, cmap="magma" if number >= 10 else "gray", vmin=0, vmax=top, interpolation="nearest")
            if not row:
                place.set_title(titles[number], fontsize=7, color=style.MUTED)
    style.caption(
        fig,
        "The right half, filled in",
        "Draws given the left half alone. guided: a model that knows nothing of holes, by mmps; trained: one that has "
        "learnt to fill. spread: what the draws leave open.",
    )
    (args.out / f"posterior_images_{args.data}.png").write_bytes(png_bytes(fig))


def main() -> None:
    """Run and write results/posterior_images_DATA.json and .png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", choices=("mnist", "fashion_mnist"))
    parser.add_argument("--minutes", type=float, default=18.0, help="of training, of each of both models")
    parser.add_argument("--training-steps", type=int, help="instead of minutes")
    parser.add_argument("--images", type=int, default=64, help="test images per task")
    parser.add_argument("--draws", type=int, default=8, help="of each image")
    parser.add_argument("--models", type=Path, default=RESULTS / "scratch_conditional", help="where networks are kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of what is written")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    args = parser.parse_args()
    write(f"posterior_images_{args.data}", measured(args), (*PEERS, "torch", "numpy", "pillow"), folder=args.out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
