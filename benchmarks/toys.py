"""Points in the plane: how near a minute of training on a laptop comes to exact samples.

For each law and seed: fit 50 000 exact points for less than a minute, draw 50 000, and take the sliced W2 distance (128
projections) to fresh exact points; beside it the distance of two sets of exact points, over the same number of pairs.

    python benchmarks/toys.py [--seeds 5] [--seconds 50]
"""

from __future__ import annotations

import argparse
import time

from _common import mean_sd, write
from caminito import DiffusionModel
from caminito.data import checkerboard, eight_gaussians, swiss_roll
from caminito.metrics import sliced_wasserstein

LAWS = {"checkerboard": checkerboard, "swiss_roll": swiss_roll, "eight_gaussians": eight_gaussians}
QUOTED_FLOOR = {"checkerboard": 0.0090, "swiss_roll": 0.0054, "eight_gaussians": 0.0136}
N = 50_000
PAIRS = 4


def main() -> None:
    """Run and write results/toys.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=50.0, help="training budget of each fit")
    parser.add_argument("--laws", nargs="*", default=list(LAWS))
    parser.add_argument("--name", default="toys")
    args = parser.parse_args()
    figures = {}
    for name in args.laws:
        law, scores, floors, train_s, sample_s, steps = LAWS[name], [], [], [], [], []
        for seed in range(args.seeds):
            start = time.perf_counter()
            model = DiffusionModel(minutes=args.seconds / 60, random_state=seed).fit(law(N, seed))
            train_s.append(time.perf_counter() - start)
            start = time.perf_counter()
            samples = model.sample(N, random_state=1000 + seed)
            sample_s.append(time.perf_counter() - start)
            steps.append(model.n_steps_)
            fresh = [law(N, 10_000 + PAIRS * seed + k) for k in range(2 * PAIRS)]
            scores.append(
                sum(sliced_wasserstein(samples, x, projections=128, seed=seed) for x in fresh[:PAIRS]) / PAIRS
            )
            floors += [
                sliced_wasserstein(x, y, projections=128, seed=seed)
                for x, y in zip(fresh[:PAIRS], fresh[PAIRS:], strict=True)
            ]
            print(name, seed, f"{scores[-1]:.4f} floor {sum(floors) / len(floors):.4f} steps {steps[-1]}", flush=True)
        floor = mean_sd(floors)
        figures[name] = {
            "sliced_w2": mean_sd(scores),
            "per_seed": scores,
            "floor": floor,
            "quoted_floor": QUOTED_FLOOR[name],
            "ratio": mean_sd([s / floor["mean"] for s in scores]),
            "ratio_to_quoted_floor": mean_sd([s / QUOTED_FLOOR[name] for s in scores]),
            "train_seconds": mean_sd(train_s),
            "sample_seconds": mean_sd(sample_s),
            "steps": mean_sd(steps),
        }
    write(
        args.name,
        {
            "n": N,
            "seeds": args.seeds,
            "pairs_per_seed": PAIRS,
            "asked": "ratio <= 1.5, training <= 60 s",
            "laws": figures,
        },
    )


if __name__ == "__main__":
    main()
