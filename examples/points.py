"""Points in the plane: learn a checkerboard, draw as many new points, and see how far apart the two are.

python examples/points.py [--minutes 1] [--out points]
"""

import argparse
from pathlib import Path

from caminito import DiffusionModel, plot
from caminito.data import checkerboard
from caminito.metrics import sliced_wasserstein

parser = argparse.ArgumentParser()
parser.add_argument("--minutes", type=float, default=1.0)
parser.add_argument("--steps", type=int, help="stop after this many training steps")
parser.add_argument("--out", type=Path, default=Path("points"))
options = parser.parse_args()

X = checkerboard(50_000, seed=0)
model = DiffusionModel(minutes=options.minutes, max_steps=options.steps, random_state=0).fit(X)
print(model.describe())

samples = model.sample(10_000, random_state=1)
real, more = checkerboard(10_000, seed=1), checkerboard(10_000, seed=2)
print(f"sliced W2, samples to real points: {sliced_wasserstein(samples, real):.4f}")
print(f"sliced W2, real to real points:    {sliced_wasserstein(more, real):.4f}")

options.out.mkdir(parents=True, exist_ok=True)
picture = plot.scatter(real, samples, title="Checkerboard")
(options.out / "checkerboard.png").write_bytes(plot.png_bytes(picture))
