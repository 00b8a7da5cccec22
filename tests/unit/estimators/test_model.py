"""The estimator's contract."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

import caminito
from caminito import DiffusionModel, ImageDiffusion
from caminito.data import load_digits
from caminito.errors import ConditionError, ConfigError, DataError, FewLevels, PriorMismatch, RunError, ShapeError
from caminito.process import Chain
from caminito.sampling import DDIM

SMALL = {"width": 16, "depth": 1}
SMALL_UNET = {"width": 16, "multipliers": [1, 2], "blocks": 1, "attention": []}


@pytest.fixture(scope="module")
def digits_model() -> ImageDiffusion:
    X, y = load_digits()
    return ImageDiffusion(max_steps=6, network=SMALL_UNET, random_state=0).fit(X, y)


@pytest.mark.slow
def test_scikit_learn_finds_nothing_to_object_to():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(DiffusionModel(max_steps=4, n_steps=4, network=SMALL, random_state=0), on_fail=None)
    failed = [(r["check_name"], str(r["exception"])) for r in results if r["status"] == "failed"]
    assert not failed
    assert sum(r["status"] == "passed" for r in results) >= 35


def test_samples_have_the_layout_dtype_and_range_of_the_training_images(digits_model):
    X, _ = load_digits()
    samples = digits_model.sample(100, random_state=0, n_steps=4)
    assert samples.shape == (100, 8, 8)
    assert samples.dtype == X.dtype
    assert samples.min() >= X.min() and samples.max() <= X.max()
    assert np.array_equal(samples, np.rint(samples))


@pytest.mark.parametrize(
    ("shape", "dtype"), [((9, 13), np.uint8), ((12, 7, 3), np.uint8), ((8, 8, 4), np.uint8), ((10, 10), np.uint16)]
)
def test_images_of_any_size_and_kind_come_back_as_they_were(shape, dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, np.iinfo(dtype).max, size=(24, *shape)).astype(dtype)
    samples = ImageDiffusion(max_steps=1, network=SMALL_UNET, random_state=0).fit(X).sample(2, n_steps=2)
    assert samples.shape == (2, *shape) and samples.dtype == dtype


@pytest.mark.parametrize(("shape", "axis"), [((16,), None), ((2, 9), 1), ((6, 6, 4), None), ((5, 6, 7, 2), -1)])
def test_arrays_of_any_event_shape_come_back_as_they_were(shape, axis):
    X = np.random.default_rng(0).normal(3, 2, size=(20, *shape)).astype(np.float32)
    network = SMALL if len(shape) == 1 else SMALL_UNET
    model = DiffusionModel(max_steps=1, network=network, channel_axis=axis, random_state=0).fit(X)
    samples = model.sample(3, n_steps=2)
    assert samples.shape == (3, *shape) and samples.dtype == np.float32


def test_a_table_comes_back_with_its_columns_and_dtypes():
    frame = pd.DataFrame({"a": np.arange(50), "b": np.linspace(0, 1, 50).astype(np.float32)})
    samples = DiffusionModel(max_steps=2, network=SMALL, random_state=0).fit(frame).sample(4, n_steps=2)
    assert list(samples.columns) == ["a", "b"]
    assert list(samples.dtypes) == list(frame.dtypes)


def test_sample_number_i_depends_on_the_seed_and_i_alone(digits_model):
    whole = digits_model.sample(16, random_state=7, n_steps=3, batch_size=16)
    parts = np.concatenate(
        [digits_model.sample(4, random_state=7, n_steps=3, batch_size=3, first=4 * k) for k in range(4)]
    )
    # a U-Net's sums may be ordered otherwise in another batch: whole numbers may differ by one level at a rounding edge
    assert np.abs(whole - parts).max() <= 1
    assert (whole != parts).mean() < 0.01
    assert not np.array_equal(whole, digits_model.sample(16, random_state=8, n_steps=3))


def test_a_walk_visits_every_time_of_the_grid_and_ends_at_the_samples(digits_model):
    kwargs = {"random_state": 7, "n_steps": 5, "condition": [0, 1, 2, 3]}
    times, frames = zip(*digits_model.walk(4, **kwargs))
    assert list(times) == digits_model.solver_and_grid(5)[1].tolist()
    assert np.array_equal(frames[-1], digits_model.sample(4, **kwargs))
    assert all(frame.shape == (4, 8, 8) and frame.dtype == frames[-1].dtype for frame in frames)


def test_noise_and_data_of_a_walk_have_one_scale():
    X = np.random.default_rng(0).normal([100.0, -100.0], [10.0, 1.0], size=(400, 2))
    model = DiffusionModel(max_steps=1, network=SMALL, random_state=0).fit(X)
    (t, noise), *_ = model.walk(4000, random_state=0)
    assert t == 1.0
    mean, std = X.mean(0), X.std(0)
    # the start is normal with the variance of noisy data: standard errors of a mean and of a standard deviation
    assert np.all(np.abs(noise.mean(0) - mean) < 5 * std / 4000**0.5)
    assert np.all(np.abs(noise.std(0) / std - 1) < 5 / 8000**0.5)


def test_looking_at_a_walk_while_training_leaves_the_training_as_it_was():
    X = np.random.default_rng(0).normal(size=(60, 2))
    model = DiffusionModel(max_steps=6, network=SMALL, random_state=3)
    alone = model.fit(X).sample(5, random_state=0)
    walk = None
    for progress in model.fit_iter(X):
        walk = model.walk(2, random_state=0, n_steps=9) if walk is None else walk
        next(walk)
    assert np.array_equal(model.sample(5, random_state=0), alone)


def test_a_chain_is_walked_in_its_own_steps_at_most():
    X = np.random.default_rng(0).normal(size=(30, 1, 4, 4)).astype(np.float32)
    chain = Chain.ddpm("cosine", steps=20)
    model = DiffusionModel(process=chain, max_steps=1, network=SMALL_UNET, channel_axis=1, random_state=0).fit(X)
    rule, grid = model.solver_and_grid()
    assert len(grid) - 1 == 20
    assert model.solver_and_grid(20) == (rule, pytest.approx(grid))


def test_a_walk_begins_where_the_noise_hides_the_data():
    """A process that goes on beyond sigma_max is entered there: network and grid meet no noise they need not."""
    X = np.random.default_rng(0).normal(size=(64, 2))
    model = DiffusionModel(process="vp", max_steps=1, network=SMALL, random_state=0).fit(X)
    alpha, sigma = model.process_.kernel(model.solver_and_grid()[1][0])
    assert float(sigma / alpha) == pytest.approx(model.noise_range_[1], rel=1e-9)


def test_a_width_of_ones_own_does_not_have_to_fit_the_suggested_heads():
    X, _ = load_digits()
    model = ImageDiffusion(max_steps=1, network={"width": 20}, random_state=0).fit(X[:40])
    assert model.denoiser_.network.options["head_size"] == 32
    assert model.sample(2, n_steps=2).shape == (2, 8, 8)


def test_unet_samples_agree_across_batch_sizes_to_1e_5():
    X = np.random.default_rng(0).normal(size=(64, 1, 8, 8)).astype(np.float32)
    model = DiffusionModel(
        max_steps=3, network=SMALL_UNET, channel_axis=1, random_state=0, training={"precision": "float32"}
    ).fit(X)
    runs = [model.sample(64, random_state=1, n_steps=8, batch_size=size) for size in (1, 7, 64)]
    assert max(np.abs(run - runs[0]).max() for run in runs) < 1e-5


def test_fitting_twice_with_one_seed_gives_the_same_bits():
    X = np.random.default_rng(0).normal(size=(60, 2))
    model = DiffusionModel(max_steps=5, network=SMALL, random_state=3)
    first = model.fit(X).sample(5, random_state=0)
    assert np.array_equal(first, clone(model).fit(X).sample(5, random_state=0))


def test_save_and_load_give_the_same_samples_and_never_run_code(digits_model, tmp_path):
    digits_model.save(tmp_path / "model")
    assert {p.suffix for p in (tmp_path / "model").iterdir()} == {".json", ".safetensors"}
    loaded = caminito.load(tmp_path / "model")
    assert isinstance(loaded, ImageDiffusion)
    kwargs = {"random_state": 1, "n_steps": 3, "condition": [0, 1, 2, 3]}
    assert np.array_equal(loaded.sample(4, **kwargs), digits_model.sample(4, **kwargs))
    assert str(loaded.describe()) == str(digits_model.describe())


@pytest.mark.parametrize(("version", "hint"), [(1, "Train it anew"), (99, "Upgrade caminito"), (None, "Upgrade")])
def test_a_model_of_another_format_is_refused_with_what_to_do(digits_model, tmp_path, version, hint):
    digits_model.save(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format_version": version}))
    with pytest.raises(RunError, match=hint):
        ImageDiffusion.load(tmp_path)


def test_altered_weights_are_refused(digits_model, tmp_path):
    digits_model.save(tmp_path)
    path = tmp_path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(RunError, match="checksum"):
        caminito.load(tmp_path)


def test_classes_are_known_and_unknown_ones_are_named(digits_model):
    assert digits_model.classes_.tolist() == list(range(10))
    with pytest.raises(ConditionError, match=r"class 11 .*Known classes: 0, 1, 2"):
        digits_model.sample(1, condition=11)
    with pytest.raises(ConditionError, match=r"expected 4 rows.*got 3"):
        digits_model.sample(4, condition=[1, 2, 3])
    with pytest.raises(ConditionError, match=r"'colour' is unknown.*Known: y"):
        digits_model.sample(1, condition={"colour": 1})


def test_a_class_with_one_member_is_learnt_like_any_other():
    X = np.random.default_rng(0).normal(size=(30, 2))
    y = np.array(["many"] * 29 + ["one"])
    model = DiffusionModel(max_steps=2, network=SMALL, random_state=0).fit(X, y)
    assert model.sample(2, condition="one", n_steps=2).shape == (2, 2)


def test_labels_are_drawn_at_their_training_frequencies():
    X = np.random.default_rng(0).normal(size=(400, 2))
    y = np.array([0] * 300 + [1] * 100)
    model = DiffusionModel(max_steps=1, network=SMALL, random_state=0).fit(X, y)
    share = float(model.conditions_.draw(20_000, 0)["y"].double().mean())
    assert abs(share - 0.25) < 5 * (0.25 * 0.75 / 20_000) ** 0.5


def test_numbers_in_y_are_a_vector_condition():
    X = np.random.default_rng(0).normal(size=(50, 2))
    model = DiffusionModel(max_steps=2, network=SMALL, random_state=0).fit(X, X[:, 0] + 0.5)
    assert model.sample(3, condition=[[0.1], [0.2], [0.3]], n_steps=2).shape == (3, 2)


@pytest.mark.parametrize("bad", [0, -3, 2.5])
def test_a_number_of_samples_that_is_none_is_refused(digits_model, bad):
    with pytest.raises(ConfigError, match=r"n_samples: expected a whole number >= 1"):
        digits_model.sample(bad)


def test_zero_steps_are_refused(digits_model):
    with pytest.raises(ConfigError, match=r"n_steps: expected a whole number >= 1, got 0"):
        digits_model.sample(1, n_steps=0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"training": {"batchsize": 3}}, r"training\.batchsize\. Did you mean training\.batch_size"),
        ({"training": {"steps": 3}}, r"max_steps or minutes"),
        ({"process": "vpp"}, r"Did you mean 'vp'"),
        ({"process": {"kind": "edm", "sigma_maxx": 3}}, r"Did you mean 'sigma_max'"),
        ({"network": {"widht": 3}}, r"Did you mean 'width'"),
        ({"network": "unet"}, r"does not fit events of shape"),
        ({"solver": "eular"}, r"solver: expected one of"),
        ({"prediction": "noise"}, r"option prediction"),
        ({"max_steps": 0}, r"option max_steps"),
    ],
)
def test_wrong_options_are_named_before_any_work(kwargs, message):
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ConfigError, match=message):
        DiffusionModel(**({"max_steps": 1} | kwargs)).fit(X)


def test_data_that_cannot_be_learnt_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        DiffusionModel(max_steps=1).fit(np.array([[1.0, np.nan], [0.0, 1.0]]))
    with pytest.raises(DataError):
        DiffusionModel(max_steps=1).fit(np.ones((10, 2)))
    with pytest.raises(ShapeError):
        ImageDiffusion(max_steps=1).fit(np.zeros((10, 64)))


def test_a_process_that_does_not_end_in_noise_is_warned_of():
    X = (
        np.random.default_rng(0).normal(size=(40, 1)) @ np.ones((1, 50))
        + np.random.default_rng(1).normal(size=(40, 50)) / 10
    )
    with pytest.warns(PriorMismatch, match="not yet noise") as told:
        DiffusionModel(process={"kind": "edm", "sigma_max": 1.0}, max_steps=1, network=SMALL, random_state=0).fit(X)
    assert told[0].filename == __file__


def test_the_noise_range_follows_the_leading_direction_of_the_data():
    """Independent columns: leading direction 1. Fifty copies of one column: sqrt(50)."""
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(400, 1)) @ np.ones((1, 50)) + 1e-3 * rng.normal(size=(400, 50))
    model = DiffusionModel(max_steps=1, network=SMALL, random_state=0).fit(smooth)
    assert model.noise_range_[1] == pytest.approx(10 * 50**0.5, rel=0.02)


@pytest.mark.parametrize("process", ["vp", "cosine", "rectified-flow", "ve", "ddpm"])
def test_every_process_trains_and_samples(process):
    X = np.random.default_rng(0).normal(size=(64, 2))
    model = DiffusionModel(process=process, max_steps=3, network=SMALL, random_state=0).fit(X)
    assert np.isfinite(model.sample(4, n_steps=5, random_state=0)).all()


def test_a_chain_and_every_solver_by_name():
    X = np.random.default_rng(0).normal(size=(64, 2))
    model = DiffusionModel(process=Chain.ddpm("cosine", steps=50), max_steps=3, network=SMALL, random_state=0).fit(X)
    for solver in ("ancestral", "ddim", "heun", "dpmpp2m", DDIM(0.5)):
        assert np.isfinite(model.sample(4, n_steps=7, solver=solver, random_state=0)).all()


def test_log_density_of_a_learnt_gaussian_is_near_the_closed_form():
    rng = np.random.default_rng(0)
    X = rng.normal([1.0, -2.0], [2.0, 0.5], size=(3000, 2))
    model = DiffusionModel(
        max_steps=500, network={"width": 32, "depth": 2}, random_state=0, training={"batch_size": 256}
    ).fit(X)
    fresh = rng.normal([1.0, -2.0], [2.0, 0.5], size=(500, 2))
    z = (fresh - [1.0, -2.0]) / [2.0, 0.5]
    exact = (-0.5 * z**2).sum(1) - np.log(2 * np.pi)  # log(2.0 * 0.5) = 0
    assert abs(model.score(fresh) - exact.mean()) < 0.1


def test_a_custom_module_is_accepted():
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Linear(3, 2)

        def forward(self, x, label, cond=None):
            return self.body(torch.cat([x, label[:, None]], 1))

    X = np.random.default_rng(0).normal(size=(40, 2))
    assert DiffusionModel(network=Net(), max_steps=2, random_state=0).fit(X).sample(2, n_steps=2).shape == (2, 2)


def test_columns_of_few_values_are_warned_of():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=200), rng.integers(0, 2, 200)])
    with pytest.warns(FewLevels, match="columns 1 take at most 10") as told:
        DiffusionModel(max_steps=1, network=SMALL, random_state=0).fit(X)
    assert told[0].filename == __file__


def test_a_solver_is_stored_with_its_options(tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 2))
    DiffusionModel(solver=DDIM(0.5), max_steps=1, network=SMALL, random_state=0).fit(X).save(tmp_path)
    assert caminito.load(tmp_path).solver == {"kind": "ddim", "eta": 0.5, "variance": "small"}
    assert np.isfinite(caminito.load(tmp_path).sample(2, n_steps=3)).all()
