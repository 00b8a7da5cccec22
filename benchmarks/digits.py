"""Digits 8x8: how well a few minutes on a laptop learn 898 images, by the protocol of the comparison table.

One shuffled half trains, the other judges; pixels / 8 - 1. The nearest-neighbour test is given twice: leave-one-out,
and fitted on one random half and judged on the other, which is how the figures of the comparison table were made.
The same models are also sampled in other numbers of steps: fewer favour recall, more favour precision.

    python benchmarks/digits.py [--seeds 5] [--minutes 2]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from _common import mean_sd, write
from caminito import ImageDiffusion
from caminito.data import load_digits
from caminito.metrics import c2st, copy_gauge, frechet_distance, precision_recall, sliced_wasserstein


def scores(samples: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int) -> dict[str, float]:
    """All figures of one set of samples."""
    precision, recall = precision_recall(test, samples)
    gauge = copy_gauge(samples, train, test)
    return {
        "sliced_w2": sliced_wasserstein(samples, test),
        "frechet_pixels": frechet_distance(samples, test),
        "c2st_leave_one_out": c2st(samples, test),
        "c2st_two_halves": c2st(samples, test, folds=2, seed=seed),
        "precision": precision,
        "recall": recall,
        "copy_ratio": gauge.ratio,
    }


def main() -> None:
    """Run and write results/digits.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--steps", type=int, nargs="*", default=[24, 32, 40], help="other numbers of sampling steps")
    parser.add_argument("--name", default="digits")
    args = parser.parse_args()
    X, _ = load_digits()
    order = np.random.RandomState(0).permutation(len(X))
    train, test = order[:898], order[898:1796]

    def flat(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1) / 8 - 1

    others = {f"caminito, {steps} steps": steps for steps in args.steps}
    rows: dict[str, list[dict[str, float]]] = {
        "caminito": [],
        **{name: [] for name in others},
        "train half": [],
        "mixture of 30": [],
        "kernel density": [],
    }
    train_s, sample_s, steps = [], [], []
    for seed in range(args.seeds):
        start = time.perf_counter()
        model = ImageDiffusion(minutes=args.minutes, random_state=seed).fit(X[train])
        train_s.append(time.perf_counter() - start)
        start = time.perf_counter()
        samples = model.sample(len(test), random_state=1000 + seed)
        sample_s.append(time.perf_counter() - start)
        steps.append(model.n_steps_)
        mixture = GaussianMixture(30, reg_covar=1e-3, random_state=seed).fit(flat(X[train]))
        kernel = KernelDensity(bandwidth=0.1).fit(flat(X[train]))
        for name, value in {
            "caminito": flat(samples),
            **{
                name: flat(model.sample(len(test), n_steps=steps, random_state=1000 + seed))
                for name, steps in others.items()
            },
            "train half": flat(X[train]),
            "mixture of 30": mixture.sample(len(test))[0],
            "kernel density": kernel.sample(len(test), random_state=seed),
        }.items():
            rows[name].append(scores(value, flat(X[train]), flat(X[test]), seed))
        for name in ("caminito", *others):
            print(seed, name, rows[name][-1], f"steps {steps[-1]}", flush=True)
    figures = {name: {key: mean_sd([row[key] for row in found]) for key in found[0]} for name, found in rows.items()}
    write(
        args.name,
        {
            "protocol": "RandomState(0) permutation, 898 train / 898 test, pixels / 8 - 1, k = 5",
            "asked": "c2st <= .62, precision >= .93, recall >= .93, copy_ratio >= .9, training <= 5 minutes",
            "seeds": args.seeds,
            "train_seconds": mean_sd(train_s),
            "sample_seconds": mean_sd(sample_s),
            "steps": mean_sd(steps),
            "scores": figures,
        },
    )


if __name__ == "__main__":
    main()
