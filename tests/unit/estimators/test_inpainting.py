"""A model that learns to fill holes: what it is told, that it follows it, and what is refused."""

import numpy as np
import pytest
import torch

from caminito import DiffusionModel, ImageDiffusion, load
from caminito.data import load_digits
from caminito.denoiser import Wrapped
from caminito.errors import ConditionError, ConfigError, DataError, ShapeError
from caminito.estimators.guided import leading

TINY = {"kind": "unet", "width": 16, "multipliers": [1], "blocks": 1, "attention": []}
QUICK = {"network": TINY, "max_steps": 3, "n_steps": 3, "random_state": 0, "inpainting": True}
RIGHT = np.zeros((8, 8), dtype=bool)
RIGHT[:, 4:] = True


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits()
    return X[:200].astype(np.uint8), y[:200]


@pytest.fixture(scope="module")
def model(digits):
    return ImageDiffusion(**QUICK).fit(*digits)


def flat(n, seed):
    """Images of one level, -1 or 1, and of a little noise: a single pixel tells all others."""
    chance = np.random.default_rng(seed)
    return np.sign(chance.normal(size=(n, 1, 1))) + 0.1 * chance.normal(size=(n, 4, 4))


def test_what_is_known_decides_what_is_filled_in():
    budget = {"max_steps": 300, "n_steps": 16, "training": {"batch_size": 64, "learning_rate": 0.005}}
    model = ImageDiffusion(**QUICK | budget).fit(flat(500, 0))
    test, mask = flat(40, 1), np.ones((4, 4), dtype=bool)
    mask[:, 0] = False
    found = model.inpaint(test, mask, n_draws=3, random_state=0)
    assert found.method == "trained" and found.log_evidence is None
    hidden = found.draws[:, :, mask]
    assert (np.sign(hidden.mean(-1)) == np.sign(test.mean((1, 2)))[:, None]).mean() > 0.75  # 0.5 by chance
    assert np.abs(np.abs(hidden) - 1).mean() < 0.3
    alone = np.sign(model.sample(200, random_state=0).mean((1, 2)))
    assert 0.3 < (alone > 0).mean() < 0.7  # told nothing, it draws both


def test_known_pixels_are_kept_and_draws_depend_on_the_seed_alone(model, digits):
    X, y = digits
    found = model.inpaint(X[:5], RIGHT, n_draws=3, condition={"y": y[:5]}, random_state=1)
    assert found.method == "trained" and found.draws.shape == (5, 3, 8, 8) and found.draws.dtype == np.uint8
    assert (found.draws[..., :4] == X[:5, None, :, :4]).all() and found.std[..., 4:].mean() > 1
    again = model.inpaint(X[:5], RIGHT, n_draws=3, condition={"y": y[:5]}, random_state=1, batch_size=4)
    assert (again.draws == found.draws).all()
    other = model.inpaint(X[:5], RIGHT, n_draws=3, condition={"y": y[:5]}, random_state=2)
    assert (other.draws[..., 4:] != found.draws[..., 4:]).any()


def test_images_that_lack_nothing_or_all_are_the_image_and_plain_samples(model, digits):
    X, _ = digits
    mask = np.stack([np.zeros((8, 8), dtype=bool), np.ones((8, 8), dtype=bool)])
    found = model.inpaint(X[:2], mask, n_draws=2, random_state=1)
    assert (found.draws[0] == X[0]).all()
    blank = np.full((8, 8), np.nan)
    assert (found.draws[1] == model.sample(2, condition={"known": blank}, random_state=1)).all()


def test_impute_inpaint_and_sample_are_told_the_same(model, digits):
    X, _ = digits
    holes = np.where(RIGHT, np.nan, X[3].astype(float))
    drawn = model.sample(2, condition={"known": np.stack([holes, holes])}, random_state=4)
    assert (model.inpaint(X[3], RIGHT, n_draws=2, random_state=4).draws[..., 4:] == drawn[..., 4:]).all()
    assert (model.impute(holes, n_draws=2, random_state=4).draws[..., 4:] == drawn[..., 4:]).all()
    entry = model.conditions_.encode({"known": holes}, 1)["known"]
    back = model.codec_.decode(entry.value)[0]
    assert (back[:, :4] == X[3][:, :4]).all() and (entry.mask[0, 0].numpy() == ~RIGHT).all()


def test_channels_may_be_last_or_first_and_missing_apart():
    X = np.random.default_rng(0).normal(size=(30, 4, 6, 3))
    images = ImageDiffusion(**QUICK).fit(X)
    holes = X[0].copy()
    holes[1, 2, 0] = np.nan
    mask = images.conditions_.encode({"known": holes}, 1)["known"].mask
    assert mask.shape == (1, 3, 4, 6) and not mask[0, 0, 1, 2] and int((~mask).sum()) == 1
    fields = DiffusionModel(**QUICK, channel_axis=1).fit(np.moveaxis(X, -1, 1))
    full = fields.impute(np.moveaxis(holes, -1, 0), random_state=0)
    assert full.method == "trained" and np.isfinite(full.draws).all()
    kept = ~np.isnan(np.moveaxis(holes, -1, 0))
    assert (full.draws[0][kept] == np.moveaxis(holes, -1, 0)[kept]).all()


def test_other_methods_and_a_noise_of_its_own_leave_the_learnt_way(model, digits):
    X, _ = digits
    assert model.inpaint(X[0], RIGHT, n_steps=3, method="mmps", random_state=0).method == "mmps"
    assert model.inpaint(X[0], RIGHT, n_steps=3, noise=2.0, random_state=0).method != "trained"


def test_it_is_the_same_after_saving_and_loading(model, digits, tmp_path):
    X, _ = digits
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    told = {"n_draws": 2, "random_state": 3}
    assert (again.inpaint(X[:2], RIGHT, **told).draws == model.inpaint(X[:2], RIGHT, **told).draws).all()


def test_fit_that_was_cut_goes_on_bit_for_bit(digits, tmp_path):
    from caminito.training import save_checkpoint

    X, y = digits
    whole = ImageDiffusion(**QUICK | {"max_steps": 6}).fit(X, y)
    first = ImageDiffusion(**QUICK | {"max_steps": 6})
    for progress in first.fit_iter(X, y):
        if progress.step == 3:
            save_checkpoint(tmp_path, progress.state)
            break
    second = ImageDiffusion(**QUICK | {"max_steps": 6})
    for _ in second.fit_iter(X, y, resume=tmp_path):
        pass
    assert (second.sample(3, random_state=0) == whole.sample(3, random_state=0)).all()


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"noise": 1.0, "method": "trained"}, ConfigError, "takes what is known as it is, got 1.0"),
        ({"particles": 8, "method": "trained"}, ConfigError, "particles: expected none with method 'trained'"),
        ({"options": {"scale": 1.0}, "method": "trained"}, ConfigError, "options: expected none with method 'trained'"),
        ({"images": np.full((8, 8), 900.0)}, DataError, "expected values of uint8"),
        ({"images": np.zeros((7, 8))}, ShapeError, r"expected shape \(8, 8\)"),
    ],
)
def test_what_does_not_fit_is_refused(model, digits, asked, error, message):
    told = {"images": digits[0][0], **asked}
    with pytest.raises(error, match=message):
        model.inpaint(told.pop("images"), RIGHT, random_state=0, **told)


def test_it_is_refused_where_nothing_was_learnt_of_holes_or_nothing_can_be(digits):
    X, y = digits
    plain = ImageDiffusion(**QUICK | {"inpainting": False}).fit(X)
    with pytest.raises(ConfigError, match="has learnt nothing of holes.*train with inpainting=True"):
        plain.inpaint(X[0], RIGHT, method="trained")
    with pytest.raises(ConfigError, match="expected items on a grid, got rows"):
        DiffusionModel(max_steps=2, inpainting=True).fit(np.random.default_rng(0).normal(size=(50, 3)))
    with pytest.raises(ConfigError, match="makes the condition 'known'.*one of that name was given"):
        ImageDiffusion(**QUICK).fit(X, condition={"known": y})


def test_a_told_item_that_is_none_is_refused(model):
    with pytest.raises(ConditionError, match="expected values of uint8.*got 0.5"):
        model.sample(1, condition={"known": np.full((8, 8), 0.5)})
    with pytest.raises(ConditionError, match="'known'.*expected"):
        model.sample(1, condition={"known": np.zeros((5, 8))})
    with pytest.raises(ConditionError, match="expected numbers, NaN where nothing is known, got <U1"):
        model.sample(1, condition={"known": np.full((8, 8), "a")})


def test_guidance_by_a_class_leaves_what_is_known_to_both_sides(model, digits):
    X, y = digits
    asked = []
    told = {"known": np.where(RIGHT, np.nan, X[:2].astype(float)), "y": y[:2]}
    lead = leading(model, 2.0, None)
    rows = model.conditions_.encode(told, 2)

    class Asked(Wrapped):
        def mean(self, x_t, t, cond=None):
            asked.append(cond)
            return self.denoiser.mean(x_t, t, cond)

    led = lead.of(Asked(model.denoiser_), torch.tensor([1.0, 0.0]))
    led.mean(torch.zeros(2, 1, 8, 8), 1.0, rows)
    (both,) = asked  # strong and weak in one call
    assert both["known"].present.all() and torch.equal(*both["known"].mask.chunk(2))
    assert both["y"].present.tolist() in ([True, True, False, False], [False, False, True, True])


def test_many_draws_are_walked_in_blocks_to_the_same_draws(model, digits, monkeypatch):
    X, _ = digits
    whole = model.inpaint(X[:3], RIGHT, n_draws=2, random_state=5)
    monkeypatch.setattr("caminito.estimators.observed._AT_ONCE", 1)
    assert (model.inpaint(X[:3], RIGHT, n_draws=2, random_state=5).draws == whole.draws).all()


def test_other_verbs_say_that_they_do_not_fill(model, digits):
    with pytest.raises(ConfigError, match="'trained' fills holes, which impute and inpaint do"):
        model.posterior(digits[0][0], noise=1.0, method="trained")
