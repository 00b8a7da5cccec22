"""The tutorial of the documentation, as a script: python examples/digits.py [--minutes 2] [--out digits]."""

import argparse
from pathlib import Path

# [imports]
from caminito import ImageDiffusion, load, plot
from caminito.data import holdout, load_digits
from caminito.metrics import two_sample

# [options]
parser = argparse.ArgumentParser()
parser.add_argument("--minutes", type=float, default=2.0)
parser.add_argument("--steps", type=int, help="stop after this many training steps")
parser.add_argument("--out", type=Path, default=Path("digits"))
options = parser.parse_args()
# [data]
X, y = load_digits()  # (1797, 8, 8), values 0..16, and the digit that each image shows
rows, others = holdout(len(X), 0.2, seed=0)  # shuffled: the digits lie in the order of their writers
# [fit]
model = ImageDiffusion(minutes=options.minutes, max_steps=options.steps, random_state=0)
model.fit(X[rows], y[rows])
print(model.describe())
# [sample]
new = model.sample(100, random_state=0)  # classes as often as in y
threes = model.sample(10, condition=3, random_state=0)
options.out.mkdir(parents=True, exist_ok=True)
(options.out / "new.png").write_bytes(plot.png_bytes(plot.tile(new, columns=10)))
(options.out / "threes.png").write_bytes(plot.png_bytes(plot.tile(threes, columns=10)))
# [judge]
samples = model.sample(len(others), random_state=1)
for name, score in two_sample(samples, X[others], X[rows]).items():
    print(f"{name:20} {score.value:8.3f}   real data {score.floor:8.3f}   {score.better} is better")
# [keep]
model.save(options.out / "model")
again = load(options.out / "model").sample(100, random_state=0)
print("the saved model draws the same samples:", bool((again == new).all()))
