"""The images that benchmarks of images learn, where their distances are taken, and how samples are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from caminito.data import load_digits
from caminito.metrics import frechet_distance, precision_recall
from caminito.plot import tile
from images_vs_diffusers import features, judge, mnist

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STRIP", "Images", "load", "strips"]

STRIP = 66  # pixels from one strip of samples to the next
_SEEN, _COUNT, _LEFT = 56, 20, 250  # pixels of an image, images of a strip, pixels before the first


@dataclass(frozen=True)
class Images:
    """Grey images of whole numbers from 0 to `top`, in two parts that have none in common.

    Attributes
    ----------
    train, test : array, shape (n, side, side)
    top : int
    feature : images -> array (n, d), where the distances are taken
    space : str
        What that is, in words.
    n_samples : int
        Samples judged.
    """

    train: np.ndarray
    test: np.ndarray
    top: int
    feature: Callable[[np.ndarray], np.ndarray]
    space: str
    n_samples: int

    def encode(self, images: np.ndarray) -> Tensor:
        """Images as a float tensor (n, 1, side, side) within [-1, 1]."""
        return torch.from_numpy(images.astype(np.float32))[:, None] * (2 / self.top) - 1

    def decode(self, x: Tensor) -> np.ndarray:
        """Images of a tensor: whole numbers, in the type of the training images."""
        whole = ((x[:, 0].float() + 1) * (self.top / 2)).round().clamp(0, self.top)
        return whole.numpy().astype(self.train.dtype)

    def scores(self, samples: np.ndarray) -> dict[str, float]:
        """Frechet distance to all test images; precision and recall against as many of them as samples."""
        seen, real = self.feature(samples), self.feature(self.test)
        precision, recall = precision_recall(real[: len(seen)], seen)
        return {"frechet": frechet_distance(seen, real), "precision": precision, "recall": recall}


def load(name: str) -> Images:
    """Digits 8 x 8 (898 train, 898 judge, in pixels), or MNIST (60 000 and 10 000, in features of a classifier)."""
    if name == "digits":
        x, _ = load_digits()
        order = np.random.RandomState(0).permutation(len(x))
        parts: dict[str, Any] = {"train": x[order[:898]], "test": x[order[898:1796]], "top": 16}
        return Images(**parts, feature=lambda a: a.reshape(len(a), -1) / 8 - 1, space="pixels", n_samples=898)
    x, y, x_test, y_test = mnist()
    net, accuracy = judge(x, y, x_test, y_test)
    space = f"128 features of a classifier, {accuracy:.1%} right"
    return Images(x, x_test, 255, lambda a: features(net, a), space, 2000)


def strips(fig: Figure, rows: Mapping[str, tuple[np.ndarray, str]], top: int) -> None:
    """Rows of samples below each other in a figure, each after its name in its colour, pixel by pixel.

    Parameters
    ----------
    fig : Figure of `style.pixels`
    rows : mapping of name to (images, colour)
    top : int
        Pixels from the lower edge of the figure to the upper edge of the first row.
    """
    width, height = (round(float(inches) * fig.dpi) for inches in fig.get_size_inches())
    for number, (name, (images, colour)) in enumerate(rows.items()):
        high = float(images.max()) if images.dtype != np.uint8 else 255.0
        shown = tile(images[:_COUNT], columns=_COUNT, scale=_SEEN // images.shape[1], limits=(0.0, high))
        low = top - number * STRIP - shown.shape[0]
        axes = fig.add_axes((_LEFT / width, low / height, shown.shape[1] / width, shown.shape[0] / height))
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        middle = (low + shown.shape[0] / 2) / height
        fig.text((_LEFT - 16) / width, middle, name, ha="right", va="center", fontsize=9, color=colour)
