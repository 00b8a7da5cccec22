"""Samples whose predictions are kept between the limits of the data."""

import numpy as np
import pytest
import torch

from caminito import DiffusionModel, ImageDiffusion
from caminito.errors import ConfigError
from caminito.estimators.bounds import projection

TINY = {"max_steps": 3, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def images():
    """A model that has learnt nothing: its predictions leave the range of the data."""
    X = np.random.default_rng(0).choice(np.array([0, 30, 60, 200, 230, 255], np.uint8), (40, 8, 8, 2))
    network = {"width": 8, "blocks": 1, "attention": []}
    return ImageDiffusion(network=network, n_steps=6, **TINY).fit(X)


def seen(model, **how):
    """Every x0 predicted on the walk, as items that were not clipped to the limits."""
    codec = model.codec_
    low, high = (codec.encode(np.full((1, 8, 8, 2), v, np.uint8))[0] for v in (0, 255))
    held = model._kept(**how)
    x = 5 * torch.randn(30, *model.event_shape_, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return (held.mean(x, 0.3) - low) / (high - low)


@pytest.mark.parametrize("how", ["clip", "dynamic", "renormalise"])
def test_predictions_stay_between_the_limits_of_each_channel(images, how):
    free, kept = seen(images, in_range=None), seen(images, in_range=how)
    assert float(free.min()) < -0.1 and float(free.max()) > 1.1
    assert float(kept.min()) >= -1e-5 and float(kept.max()) <= 1 + 1e-5  # of float32, at values of order one
    if how == "clip":
        assert torch.allclose(kept, free.clamp(0, 1), atol=1e-5)
    samples = images.sample(3, random_state=1, in_range=how)
    assert samples.dtype == np.uint8 and samples.shape == (3, 8, 8, 2)


def test_nothing_is_kept_unless_asked_and_the_walk_ends_at_the_samples(images):
    assert images._kept(None) is images._walked()
    for how in (None, "clip"):
        *_, (t, items) = images.walk(3, random_state=2, in_range=how)
        assert t == 0 and np.array_equal(items, images.sample(3, random_state=2, in_range=how))
    free, kept = (images.sample(8, random_state=2, in_range=how) for how in (None, "clip"))
    assert not np.array_equal(free, kept)


def test_data_without_limits_and_unknown_words_are_refused(images):
    points = DiffusionModel(**TINY).fit(np.random.default_rng(0).normal(size=(40, 2)))
    with pytest.raises(ConfigError, match="in_range='clip': expected data with limits"):
        points.sample(2, in_range="clip")
    with pytest.raises(ConfigError, match="in_range: expected one of clip, dynamic, renormalise, got 'squash'"):
        images.sample(2, in_range="squash")


def test_limits_of_whole_numbers_are_those_of_their_type():
    X = np.random.default_rng(0).integers(0, 100, (40, 3)).astype(np.uint8)
    model = DiffusionModel(**TINY).fit(X)
    low, high = (model.codec_.encode(np.full((1, 3), v, np.uint8)) for v in (0, 255))
    wide = torch.full((1, 3), 1e6)
    project = projection("clip", model.codec_)
    assert torch.equal(project(wide), high) and torch.equal(project(-wide), low)
