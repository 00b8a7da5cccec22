"""DDPM and Improved DDPM: three losses, four variances of a reverse step, and how many steps are enough.

One chain of 1000 steps on the cosine curve; three networks of one make and one budget of steps, which predict eps:

    simple   squared error of eps, all steps alike (Ho et al. 2020, eq. 14)
    hybrid   the same, + 0.001 L_vlb that teaches the variance alone (Nichol & Dhariwal 2021, eq. 16)
    vlb      L_vlb for both, with resampled steps (there, section 3.3)

and four variances: small and large (beta-tilde and beta), posterior (measured per level on images kept aside:
Analytic-DPM, Bao et al. 2022) and learned (by the network, entry by entry). Each walks 1000, 100, 50, 25 and 10 of the
steps, from the same noise, with predictions clipped to the range of the data as in those papers. The first step adds a
noise of half the spacing between two grey levels, which is how Nichol & Dhariwal chose the offset of the cosine for 256
levels (section 3.2): a finer one asks the network for digits that the data do not have.

Measured: bits per dimension of test images, an upper bound, over all values that a pixel can take; and the Frechet
distance of samples to the test images, in pixels for the digits, in the features of a classifier trained in this run
for MNIST, whose U-Net works on patches of 2 x 2 pixels.

    python benchmarks/ddpm.py [--data digits|mnist] [--models FOLDER] [--resume]
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from _common import RESULTS, commit, write
from _images import Images, load
from caminito import ImageDiffusion
from caminito.denoiser import Condition, Denoiser
from caminito.guidance import clip, constrain
from caminito.metrics import frechet_distance
from caminito.process import Chain, Cosine
from caminito.process import grid as grids
from caminito.sampling import Ancestral, Levels, bits_per_dim, sample, variational_bound
from caminito.training import fit_residual_variance

STEPS = 1000
LOSSES: dict[str, dict[str, Any]] = {
    "simple": {"loss": "squared", "times": "uniform"},
    "hybrid": {"loss": "hybrid", "times": "uniform"},
    "vlb": {"loss": "vlb", "times": "resampled"},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "digits": {},
    "mnist": {"patch": 2},
}
BUDGETS = {"digits": 3000, "mnist": 3000}


class Once(Denoiser):
    """A denoiser whose answers at each time are kept, for several bounds of the same draws."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser, self.process = denoiser, denoiser.process
        self.event_shape, self.data_moments = denoiser.event_shape, denoiser.data_moments
        self._known: dict[float, tuple[Tensor, Tensor, Tensor | None]] = {}

    def moments(self, x_t: Tensor, t: Any, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """Of the denoiser."""
        at = float(t)
        if at not in self._known or not torch.equal(self._known[at][0], x_t):
            self._known[at] = (x_t, *self.denoiser.moments(x_t, t, cond))
        return self._known[at][1:]

    def mean(self, x_t: Tensor, t: Any, cond: Condition = None) -> Tensor:
        """Of the denoiser."""
        return self.moments(x_t, t, cond)[0]

    def var(self, x_t: Tensor, t: Any, cond: Condition = None) -> Tensor | None:
        """Of the denoiser."""
        return self.moments(x_t, t, cond)[1]


def chain(images: np.ndarray) -> Chain:
    """Steps on the cosine curve, equally long but for the first, whose noise is half a grey level; a trace is left."""
    cosine = Cosine()
    first = float(cosine.time(-2 * math.log(0.5 / float(images.std()))))
    return Chain.discretise(cosine, torch.linspace(first, 0.999, STEPS, dtype=torch.float64))


def trained(name: str, loss: str, x: np.ndarray, steps: int, folder: Path) -> ImageDiffusion:
    """The model of `folder`, trained first if it is not there."""
    place = folder / f"{name}_{loss}"
    if not (place / "manifest.json").exists():
        model = ImageDiffusion(
            process=chain(x),
            network=NETWORKS[name] or "auto",
            prediction="eps",
            variance="measured" if loss == "simple" else "learned",
            max_steps=steps,
            training={"weight": "simple", **LOSSES[loss]},
            validation_fraction=0.0,
            random_state=0,
        )
        model.fit(x).save(place)
    return ImageDiffusion.load(place)  # type: ignore[return-value]


def measure(images: Images, name: str, loss: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Bits and distances of one network."""
    train, aside = images.train[: -args.aside], images.train[-args.aside :]
    model = trained(name, loss, train, args.training_steps or BUDGETS[name], folder)
    codec, process = model.codec_, model.process_
    low, high = (codec.encode(np.full_like(train[:1], limit))[0].double() for limit in (0, images.top))
    own = constrain(model.denoiser_, clip(low, high))
    measured = fit_residual_variance(own, codec.encode(aside), grids.trailing(process, 100))
    test = codec.encode(images.test[: args.bits])
    levels, size = Levels(low, high, images.top + 1), test[0].numel()
    real, shape = images.feature(images.test), (args.samples, *model.event_shape_)
    rows: dict[str, Any] = {}
    for steps in args.steps:
        grid, once = grids.trailing(process, steps), Once(own)
        known = type(measured)(once, measured.levels, measured.residuals)
        kinds = {"small": (once, own), "large": (once, own), "posterior": (known, measured)}
        if loss != "simple":
            kinds["learned"] = (once, own)
        for kind, (for_bits, for_samples) in kinds.items():
            variance: Any = "posterior" if kind == "learned" else kind
            bound = variational_bound(for_bits, test, grid, variance=variance, levels=levels)
            bits = bits_per_dim(-bound.total, size)
            with torch.no_grad():
                x = sample(for_samples, shape, solver=Ancestral(variance), grid=grid, seed=0, batch_size=500)
            rows.setdefault(kind, {})[steps] = {
                "bits": float(bits.mean()),
                "bits_se": float(bits.std() / len(bits) ** 0.5),
                "frechet": frechet_distance(images.feature(codec.decode(x)), real),
            }
            print(name, loss, kind, steps, rows[kind][steps], flush=True)
    return {"training_steps": model.n_steps_, "commit": commit(), "variances": rows}


def kept(figures: dict[str, Any]) -> dict[str, Any]:
    """Losses that an interrupted run of the same settings has measured already."""
    path = RESULTS / f"ddpm_{figures['data']}.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    same = all(before.get(key) == figures[key] for key in ("data", "samples", "bits_images"))
    return before["losses"] if same else {}


def main() -> None:
    """Run and write results/ddpm_DATA.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", choices=tuple(NETWORKS))
    parser.add_argument("--losses", nargs="*", default=list(LOSSES), choices=tuple(LOSSES))
    parser.add_argument("--steps", type=int, nargs="*", default=[10, 25, 50, 100, 1000], help="of the walks")
    parser.add_argument("--training-steps", type=int)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--bits", type=int, default=256, help="test images of the bound")
    parser.add_argument("--aside", type=int, help="training images that only the measured variance sees")
    parser.add_argument("--models", type=Path, help="where networks are kept")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    args = parser.parse_args()
    args.aside = args.aside or (90 if args.data == "digits" else 512)
    images = load(args.data)
    real = images.feature(images.test)
    order = np.random.RandomState(0).permutation(len(images.train))[: args.samples]
    figures = {
        "data": args.data,
        "space": images.space,
        "samples": args.samples,
        "bits_images": args.bits,
        "real training images (floor)": frechet_distance(images.feature(images.train[order]), real),
    }
    losses = kept(figures) if args.resume else {}
    with tempfile.TemporaryDirectory() as temporary:
        for loss in (name for name in args.losses if name not in losses):
            losses[loss] = measure(images, args.data, loss, args, args.models or Path(temporary))
            write(f"ddpm_{args.data}", figures | {"losses": losses})


if __name__ == "__main__":
    main()
