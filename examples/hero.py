"""The picture of the README: from noise to data with exact denoisers, in the plane and on digits.

Left, 200 paths end on a spiral: the denoiser is that of 4 000 points, each widened by 0.03. Right, nine samples of a
mixture of 40 Gaussians fitted to the 1 797 digits of scikit-learn. Nothing is trained, so this runs in seconds.

    python examples/hero.py [FILE]
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from caminito import plot
from caminito._files import write_atomic
from caminito.data import ImageCodec, load_digits, spiral
from caminito.denoiser import Denoiser, EmpiricalDenoiser, MixtureDenoiser
from caminito.process import Cosine, RectifiedFlow, grid
from caminito.sampling import PerSample, start, trajectory

FILE = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/assets/hero.png")


def walk(denoiser: Denoiser, count: int, times: torch.Tensor, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Every visited point, as x_t / sqrt(alpha^2 + sigma^2), and the times."""
    noise = PerSample(seed)
    like = torch.empty((count, *denoiser.event_shape), dtype=torch.float64)
    frames = list(trajectory(denoiser, start(denoiser, like, times[0], noise), times, noise=noise))
    alpha, sigma = denoiser.process.kernel(torch.tensor([f.t for f in frames], dtype=torch.float64))
    scaled = [f.x / norm for f, norm in zip(frames, torch.hypot(alpha, sigma), strict=True)]
    return torch.stack(scaled).numpy(), np.array([f.t for f in frames])


def plane() -> np.ndarray:
    """Paths onto a spiral."""
    points = torch.from_numpy(spiral(4000, seed=0))
    denoiser = EmpiricalDenoiser(points, Cosine(), bandwidth=0.03)
    paths, _ = walk(denoiser, 200, grid.uniform(denoiser.process, 80), seed=3)
    return pixels(plot.trajectories(paths, title="Points: 200 paths from noise to a spiral"))


def digits() -> np.ndarray:
    """Films of digits."""
    images, _ = load_digits()
    codec = ImageCodec().fit(images)
    rows = codec.encode(images).flatten(1).double().numpy()
    mixture = GaussianMixture(40, reg_covar=0.01, random_state=0).fit(rows)
    denoiser = MixtureDenoiser.from_sklearn(mixture, RectifiedFlow())
    frames, times = walk(denoiser, 9, grid.uniform(denoiser.process, 45), seed=4)
    films = np.stack([codec.decode(torch.from_numpy(f).reshape(-1, *codec.event_shape).float()) for f in frames])
    return pixels(plot.film_strip(films, times, columns=10, title="Digits: nine samples on their way", limits=(0, 16)))


def pixels(figure: object) -> np.ndarray:
    """A figure as an array."""
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(plot.png_bytes(figure))).convert("RGB"))


if __name__ == "__main__":
    left, right = plane(), digits()
    height = max(len(left), len(right))
    sides = [np.pad(p, ((0, height - len(p)), (0, 0), (0, 0)), constant_values=255) for p in (left, right)]
    recipe = {"software": "caminito", "made by": "examples/hero.py"}
    write_atomic(FILE, plot.png_bytes(np.concatenate(sides, axis=1), recipe))
