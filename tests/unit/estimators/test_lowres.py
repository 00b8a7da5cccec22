"""A model that enlarges: what a low resolution is taken for, the noise on it, and that it is followed."""

import json
import math

import numpy as np
import pytest
import torch

from caminito import DiffusionModel, ImageDiffusion
from caminito.data import ImageCodec, load_digits, shrink
from caminito.errors import ConditionError, ConfigError, ShapeError
from caminito.estimators.conditions import ConditionCodec
from caminito.guidance import cfg
from caminito.nn import Field, Noised
from caminito.training import save_checkpoint

TINY = {"kind": "unet", "width": 16, "multipliers": [1], "blocks": 1, "attention": []}
QUICK = {"network": TINY, "max_steps": 3, "n_steps": 3, "random_state": 0}


def codec(values, grid, **how):
    return ConditionCodec().fit({"c": values}, len(values), grid=grid, **how)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits()
    return X[:200].astype(np.uint8), y[:200]


@pytest.fixture(scope="module")
def stage(digits):
    return ImageDiffusion(**QUICK, upscale=2).fit(*digits)


@pytest.mark.parametrize(
    ("shape", "grid", "kinds", "new_codec", "entry"),
    [
        ((4, 3, 4), (6, 8), {}, ImageCodec, Noised(1)),
        ((4, 3, 4, 3), (6, 8), {}, ImageCodec, Noised(3)),
        ((4, 6, 8), (6, 8), {}, ImageCodec, Field(1)),
        ((4, 4, 5), (6, 8), {"c": "lowres"}, ImageCodec, Noised(1)),
    ],
)
def test_a_grid_whose_sides_divide_those_of_the_items_is_of_low_resolution(shape, grid, kinds, new_codec, entry):
    values = np.random.default_rng(0).normal(size=shape)
    assert codec(values, grid, kinds=kinds, new_codec=new_codec).entries == {"c": entry}


@pytest.mark.parametrize("shape", [(3, 4), (4, 5), (1, 8), (5, 1)])
def test_it_is_standardised_and_enlarged_bilinearly(shape):
    values = np.random.default_rng(0).normal(3, 2, size=(6, *shape))
    given = codec(values, (6, 9), kinds={"c": "lowres"}).encode({"c": values}, 6)["c"]
    x = torch.from_numpy((values - values.mean()) / values.std()).float()[:, None]
    expected = torch.nn.functional.interpolate(x, (6, 9), mode="bilinear", align_corners=False)
    torch.testing.assert_close(given.value, expected, rtol=1e-5, atol=1e-5)
    assert given.level.tolist() == [0] * 6 and given.present is None


def test_volumes_and_series_are_enlarged_along_every_axis():
    values = np.random.default_rng(0).normal(size=(5, 1, 2, 3, 2))
    for X, grid, mode in ((values, (4, 6, 4), "trilinear"), (values[:, :, :, 0, 0], (8,), "linear")):
        x = DiffusionModel(channel_axis=1)._new_codec().fit(X).encode(X)
        made = codec(X, grid, new_codec=DiffusionModel(channel_axis=1)._new_codec)
        expected = torch.nn.functional.interpolate(x, grid, mode=mode, align_corners=False)
        torch.testing.assert_close(made.encode({"c": X}, 5)["c"].value, expected, rtol=1e-5, atol=1e-5)


def test_saved_and_read_again_it_encodes_the_same_and_one_serves_all():
    values = np.random.default_rng(0).integers(0, 255, (6, 3, 4), dtype=np.uint8)
    made = codec(values, (6, 8), new_codec=ImageCodec)
    again = ConditionCodec.from_dict(made.to_dict())
    a, b = (each.encode({"c": values[0]}, 3)["c"] for each in (made, again))
    assert torch.equal(a.value, b.value) and a.value.shape == (3, 1, 6, 8) and a.level.shape == (3,)


@pytest.mark.parametrize(
    ("shape", "grid", "kinds", "words"),
    [
        ((4, 6, 8), (6, 8), {"c": "lowres"}, "a coarser grid than that of the items"),
        ((4, 3, 16), (6, 8), {"c": "lowres"}, r"got \(3, 16\)"),
        ((4, 3, 3, 3), (6, 8), {"c": "lowres"}, r"got \(3, 3, 3\)"),
        ((4, 4, 5), (6, 8), {}, "say that they are of low resolution: conditions={'c': 'lowres'}"),
        ((4, 3, 4), (), {"c": "lowres"}, "rows of numbers have none"),
    ],
)
def test_what_is_not_coarser_is_refused(shape, grid, kinds, words):
    with pytest.raises(ConditionError, match=words):
        codec(np.random.default_rng(0).normal(size=shape), grid, kinds=kinds)


def test_upscale_is_the_condition_of_the_items_shrunk(digits, stage):
    X, y = digits
    by_hand = ImageDiffusion(**QUICK).fit(X, y, condition={"low": shrink(X, 2)})
    assert by_hand.conditions_.to_dict() == stage.conditions_.to_dict()
    pairs = zip(by_hand.denoiser_.network.parameters(), stage.denoiser_.network.parameters())
    assert all(torch.equal(a, b) for a, b in pairs)
    assert by_hand.history_ == stage.history_


def test_samples_depend_on_their_number_and_not_on_batches(digits, stage, tmp_path):
    low = shrink(digits[0], 2)[:7]
    whole = stage.sample(7, condition={"low": low, "y": 3}, random_state=5)
    assert whole.shape == (7, 8, 8) and whole.dtype == np.uint8
    parts = stage.sample(7, condition={"low": low, "y": 3}, random_state=5, batch_size=3)
    assert np.array_equal(whole, parts)
    assert np.array_equal(whole[4:], stage.sample(3, condition={"low": low[4:], "y": 3}, random_state=5, first=4))
    *_, (_, walked) = stage.walk(7, condition={"low": low, "y": 3}, random_state=5)
    assert np.array_equal(whole, walked)
    stage.save(tmp_path / "stage")
    again = ImageDiffusion.load(tmp_path / "stage")
    assert again.upscale == 2
    assert np.array_equal(whole, again.sample(7, condition={"low": low, "y": 3}, random_state=5))


def test_noise_is_put_on_what_is_enlarged_and_the_network_is_told(digits, stage):
    low = shrink(digits[0], 2)[:4]
    clean = stage._asked(4, {"low": low}, 5, 0, None, 0.0)[1]["low"]
    some = stage._asked(4, {"low": low}, 5, 0)[1]["low"]
    much = stage._asked(4, {"low": low}, 5, 0, None, 0.6)[1]["low"]
    assert torch.equal(clean.value, stage.conditions_.encode({"low": low}, 4)["low"].value)
    assert [given.level[0].item() for given in (clean, some, much)] == pytest.approx([0, 0.1, 0.6])
    eps = [(given.value - (1 - s * s) ** 0.5 * clean.value) / s for given, s in ((some, 0.1), (much, 0.6))]
    torch.testing.assert_close(*eps, rtol=0, atol=1e-5)  # the same noise, more of it


def test_guidance_is_by_what_else_is_known(digits, stage):
    low = shrink(digits[0], 2)[:3]
    asked = {"condition": {"low": low, "y": [0, 1, 2]}, "random_state": 0}
    away = stage.sample(3, **asked, guidance=0)
    alone = stage.sample(3, condition={"low": low}, random_state=0)
    assert np.array_equal(away, alone)
    assert not np.array_equal(away, stage.sample(3, condition={"y": [0, 1, 2]}, random_state=0))


def test_guidance_in_one_call_of_the_network_is_that_of_two(digits, stage):
    _, cond, _ = stage._asked(3, {"low": shrink(digits[0], 2)[:3], "y": [0, 1, 2]}, 0, 0, None, 0.4)
    x_t, denoiser, alone = torch.randn(3, 1, 8, 8), stage.denoiser_, {"low": cond["low"]}
    for null in (None, alone):
        strong, weak = denoiser.mean(x_t, 0.5, cond), denoiser.mean(x_t, 0.5, null)
        led = cfg(denoiser, 2.0, null=null).mean(x_t, 0.5, cond)
        torch.testing.assert_close(led, weak + 2 * (strong - weak), rtol=1e-4, atol=1e-4)
        assert not torch.equal(strong, weak)


@pytest.mark.parametrize(
    ("level", "words"),
    [(0.7, "from 0 to 0.6, the largest"), (-0.1, "got -0.1"), (float("nan"), "got nan"), (True, "got True")],
)
def test_a_level_that_was_never_trained_on_is_refused(stage, level, words):
    with pytest.raises(ConfigError, match=words):
        stage.sample(2, augmentation=level)


def test_the_usual_level_is_never_above_the_largest_and_none_is_asked_of_a_model_without(digits):
    X, y = digits
    narrow = ImageDiffusion(**QUICK, upscale=4, training={"augmentation": 0.05}).fit(X)
    assert narrow._asked(2, {"low": shrink(X[:2], 4)}, 0, 0)[1]["low"].level.tolist() == pytest.approx([0.05] * 2)
    with pytest.raises(ConfigError, match="without conditions of low resolution"):
        ImageDiffusion(**QUICK).fit(X, y).sample(2, augmentation=0.1)


@pytest.mark.parametrize(
    ("options", "X", "condition", "error", "words"),
    [
        ({"upscale": 3}, np.zeros((20, 8, 8)), {}, ShapeError, "sides that 3 divides, got 8 x 8"),
        ({"upscale": 1}, np.zeros((20, 8, 8)), {}, ConfigError, "option upscale: .*greater than or equal to 2"),
        ({"upscale": 2}, np.zeros((20, 8, 8)), {"low": np.zeros((20, 4, 4))}, ConfigError, "one of that name"),
    ],
)
def test_what_cannot_be_enlarged_is_refused(options, X, condition, error, words):
    X = X + np.arange(20)[:, None, None]
    with pytest.raises(error, match=words):
        ImageDiffusion(**QUICK, **options).fit(X, condition=condition)


def test_rows_of_numbers_have_no_size():
    with pytest.raises(ShapeError, match="rows of numbers cannot be shrunk"):
        DiffusionModel(max_steps=2, upscale=2).fit(np.random.default_rng(0).normal(size=(20, 4)))


def test_arrays_with_channels_first_are_enlarged(tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 2, 4, 6))
    model = DiffusionModel(**QUICK, channel_axis=1, upscale=2).fit(X)
    assert model.sample(2, condition={"low": np.zeros((2, 2, 2, 3))}).shape == (2, 2, 4, 6)


def test_what_is_drawn_shrinks_to_what_it_was_drawn_from():
    """Items 4 x 4 that are known from their 2 x 2 means: a pattern whose strength is the mean itself."""
    rng = np.random.default_rng(0)
    pattern = np.array([[1.0, 0.5], [1.5, 1.0]])
    X = np.kron(rng.normal(size=(800, 2, 2)), pattern)
    training = {"batch_size": 16, "warmup": 20, "precision": "float32"}
    quick = QUICK | {"max_steps": 150, "n_steps": 8, "training": training, "solver": "dpmpp2m"}
    model = DiffusionModel(**quick, upscale=2).fit(X)
    asked = rng.normal(size=(64, 2, 2))
    drawn = model.sample(64, condition={"low": asked}, random_state=1, augmentation=0.05)
    small = shrink(drawn, 2)
    own = np.abs(small - asked).mean()
    others = np.abs(small - np.roll(asked, 1, axis=0)).mean()
    assert own < others / 2  # what is drawn without a condition is as far from its own as from others


def test_the_network_is_left_what_the_low_resolution_does_not_say(digits, stage, tmp_path):
    X, y = digits
    x = stage.codec_.encode(X)
    low = stage.conditions_.encode({"low": shrink(X, 2), "y": y}, len(X))["low"].value
    centre = stage.denoiser_.centre
    assert centre.condition == "low"
    slope = float((x * low).mean() / low.square().mean())
    assert centre.product[0] / centre.square[0] == pytest.approx(slope, rel=0.05)  # it does not see rows kept aside
    left = float((x - slope * low).square().mean())
    assert left < 0.6
    assert 1 - centre.explained == pytest.approx(left, abs=0.03)
    assert centre.least_spread == pytest.approx(left**0.5, abs=0.03)
    assert f"leaves {1 - centre.explained:.2g}" in str(stage.describe())
    stage.save(tmp_path / "stage")
    assert ImageDiffusion.load(tmp_path / "stage").denoiser_.centre == centre


def test_so_is_that_of_a_field_that_says_much_and_not_of_one_that_says_little(digits):
    X, _ = digits
    near = np.clip(X + np.random.RandomState(0).normal(0, 2, X.shape), 0, 16).astype(np.uint8)
    model = ImageDiffusion(**QUICK).fit(X, condition={"near": near})
    assert model.denoiser_.centre.condition == "near"
    other = ImageDiffusion(**QUICK).fit(
        X, condition={"other": np.random.RandomState(1).permutation(near.ravel()).reshape(near.shape)}
    )
    assert other.denoiser_.centre is None


def test_a_line_is_drawn_by_a_network_that_has_learnt_nothing(digits):
    X, _ = digits
    start = {**QUICK, "max_steps": 1, "training": {"learning_rate": 1e-12}}
    stage = ImageDiffusion(**start, upscale=2).fit(X)
    low = shrink(X, 2)
    found = stage.sample(len(X), condition={"low": low}, augmentation=0, n_steps=8).astype(float)
    without = stage.sample(len(X), n_steps=8).astype(float)
    apart = [np.square(each - X).mean((1, 2)) for each in (found, without)]  # both by twice what is open
    share = apart[0].mean() / apart[1].mean()
    error = (apart[0] - share * apart[1]).std() / apart[1].mean() / math.sqrt(len(X))
    assert share == pytest.approx(stage.denoiser_.centre.least_spread**2, abs=4 * error)


def test_numbers_of_rows_are_no_field(digits):
    X = np.random.RandomState(0).normal(size=(64, 2))
    model = DiffusionModel(max_steps=1, random_state=0).fit(X, condition={"before": X + 0.1})
    assert model.denoiser_.centre is None


def test_weights_that_go_on_keep_the_centre_they_have_learnt_with(digits, tmp_path):
    X, _ = digits
    model = ImageDiffusion(**QUICK | {"max_steps": 4}, upscale=2)
    steps = model.fit_iter(X)
    next(steps)
    save_checkpoint(tmp_path, next(steps).state)
    steps.close()
    facts = json.loads((tmp_path / "latest.json").read_text())
    assert facts["facts"]["centre"] == model.denoiser_.centre.to_dict()
    other = facts["facts"]["centre"] | {"product": [0.5]}
    for centre in (other, None):
        (tmp_path / "latest.json").write_text(json.dumps(facts | {"facts": facts["facts"] | {"centre": centre}}))
        again = ImageDiffusion(**QUICK | {"max_steps": 4}, upscale=2)
        list(again.fit_iter(X, resume=tmp_path))
        found = again.denoiser_.centre
        assert (None if found is None else found.to_dict()) == centre
        assert ("centre" in again.describe()) == (centre is not None)
    plain = ImageDiffusion(**QUICK | {"max_steps": 1}).fit(X)
    assert again.noise_range_ == plain.noise_range_  # of the last, which has no centre
    assert model.noise_range_[0] == pytest.approx(plain.noise_range_[0] * model.denoiser_.centre.least_spread)
