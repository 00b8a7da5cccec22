"""A classifier of noisy items, held against the posterior that the closed form knows."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from caminito import DiffusionModel, ImageDiffusion, load
from caminito._random import Stream, normal
from caminito.data import load_digits
from caminito.denoiser import MixtureDenoiser
from caminito.errors import ConditionError, ConfigError, DataError, RunError, ShapeError, StorageError, TimeError
from caminito.estimators import NoisyClassifier, noisy_classifier
from caminito.nn import Given, ResidualMLP

SMALL = {"width": 16, "depth": 1}
MEANS = np.array([[-1.0, 0.0], [2.0, 1.0]])
STDS = np.array([[1.0, 0.5], [0.7, 1.0]])
NOISE = [0.0, 0.3, 1.0, 3.0, 8.0]  # from clean to where a class is worth a hundredth of a nat


def mixture(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    return MEANS[y] + STDS[y] * rng.normal(size=(n, 2)), y


X, Y = mixture(3000)


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    """Trained without classes; only its codec and process count."""
    return DiffusionModel(max_steps=1, network=SMALL, random_state=0).fit(X)


@pytest.fixture(scope="module")
def learnt(model) -> NoisyClassifier:
    training = {"batch_size": 256, "precision": "float32"}
    return NoisyClassifier(
        model, max_steps=300, network={"width": 64, "depth": 2}, training=training, random_state=0
    ).fit(X, Y)


@pytest.fixture(scope="module")
def few(model) -> NoisyClassifier:
    """Barely trained, of three classes that are words."""
    return NoisyClassifier(model, max_steps=3, network=SMALL, random_state=0).fit(
        X[:300], np.array(["bird", "cat", "dog"])[np.arange(300) % 3]
    )


@pytest.fixture(scope="module")
def exact(model) -> MixtureDenoiser:
    """The law of the encoded items, with the shares that the classes have in the data."""
    codec = model.codec_
    unit = (codec.encode(np.ones((1, 2))) - codec.encode(np.zeros((1, 2)))).double()
    shares = torch.tensor([1 - Y.mean(), Y.mean()])
    return MixtureDenoiser(shares, codec.encode(MEANS), (torch.as_tensor(STDS) * unit) ** 2, model.process_)


def noised(model: DiffusionModel, level: float, n: int = 2000) -> tuple[torch.Tensor, float]:
    """Fresh items at a noise level, float64, and its time."""
    t = float(model.process_.time(-2 * np.log(level))) if level else 0.0
    x0 = model.codec_.encode(mixture(n, seed=1)[0]).double()
    return model.process_.noise(x0, t, normal(1, Stream.NOISE, 0, (n, 2), dtype=torch.float64)), t


# -- what is learnt ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", NOISE)
def test_the_learnt_posterior_is_the_exact_one(learnt, exact, model, level):
    """Kullback-Leibler divergence from the exact posterior, averaged over x_t, below .006 nats at every level.

    The classes themselves are worth .61 nats, and 3000 items of them fix the posterior of a logistic rule of k numbers
    to k / 6000 nats: .006 is what some 36 would cost.
    """
    x_t, t = noised(model, level)
    own = learnt.log_prob()(x_t, t, {"y": torch.ones(len(x_t), dtype=torch.long)})
    assert torch.equal(own, learnt.log_prob(1)(x_t, t))
    known, found = exact.responsibilities(x_t, t), torch.stack([learnt.log_prob(k)(x_t, t) for k in (0, 1)], 1)
    assert float(torch.logsumexp(found, 1).abs().max()) < 1e-6  # float32
    divergence = torch.special.xlogy(known, known).sum(1) - (known * found).sum(1)
    assert float(divergence.mean()) < 0.006


@pytest.mark.parametrize("level", [0.3, 1.0, 3.0])
def test_its_gradient_points_where_the_exact_one_does(learnt, exact, model, level):
    x_t, t = noised(model, level)
    x_t.requires_grad_()
    (found,) = torch.autograd.grad(learnt.log_prob(1)(x_t, t).sum(), x_t)
    (known,) = torch.autograd.grad(exact.responsibilities(x_t, t)[:, 1].log().sum(), x_t)
    assert float(torch.cosine_similarity(found, known, dim=1).mean()) > 0.9


def test_accuracy_falls_with_noise_as_that_of_the_bayes_rule(learnt, exact, model):
    fresh, y = mixture(2000, seed=1)
    found = learnt.accuracy_by_noise(fresh, y, NOISE, random_state=3)
    assert [level.noise for level in found] == pytest.approx(NOISE)
    for level in found:
        x_t, t = noised(model, level.noise)
        known = exact.responsibilities(x_t, t)
        best = float(known.max(1).values.mean())
        assert level.accuracy == pytest.approx(best, abs=0.03)  # three standard errors of 2000 items, each way
        entropy = -float(torch.special.xlogy(known, known).sum(1).mean())
        assert level.cross_entropy == pytest.approx(entropy, abs=0.05)
    assert learnt.accuracy_by_noise(fresh, y, NOISE[1:2], random_state=3)[0].noise == pytest.approx(0.3)
    assert found == learnt.accuracy_by_noise(fresh, y, NOISE, random_state=3)
    assert found != learnt.accuracy_by_noise(fresh, y, NOISE, random_state=4)
    assert found[0].accuracy == learnt.score(fresh, y)


def test_levels_go_to_the_end_of_the_process_and_no_further(learnt, model):
    end = model.noise_range_[1]
    levels = [level.noise for level in learnt.accuracy_by_noise(X[:20], Y[:20])]
    assert levels[0] == 0.0 and levels == sorted(levels) and end / 3 < levels[-1] <= end
    for wrong in (-1.0, 1.1 * end):
        with pytest.raises(ConfigError, match="levels: expected noise levels"):
            learnt.accuracy_by_noise(X[:20], Y[:20], [wrong])
    with pytest.raises(ConditionError, match="expected one of the 2 classes.*got 7"):
        learnt.accuracy_by_noise(X[:20], Y[:20] + 7)
    with pytest.raises(ConditionError, match="expected 20 classes"):
        learnt.accuracy_by_noise(X[:20], Y[:19])


def test_one_seed_gives_the_same_weights_and_another_gives_others(model):
    def weights(seed):
        made = NoisyClassifier(model, max_steps=5, network=SMALL, random_state=seed).fit(X[:200], Y[:200])
        return list(made.logits_.network.parameters())

    first, again, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not any(torch.equal(a, b) for a, b in zip(first, other))


# -- items and times ---------------------------------------------------------------------------------------------------


def test_probabilities_are_of_items_as_they_came_or_of_encoded_ones(learnt, model):
    shares = learnt.predict_proba(X[:50])
    assert shares.dtype == np.float64 and np.allclose(shares.sum(1), 1, rtol=1e-12)
    assert np.array_equal(learnt.predict_proba(model.codec_.encode(X[:50])), shares)
    assert np.array_equal(learnt.predict(X[:50]), learnt.classes_[shares.argmax(1)])
    assert np.array_equal(learnt.predict_proba(X[:50], 0.7), learnt.predict_proba(X[:50], [0.7] * 50))
    mixed = learnt.predict_proba(X[:2], [0.0, 0.7])
    assert np.allclose(mixed[1], learnt.predict_proba(X[1:2], 0.7)[0], atol=1e-6)
    assert np.abs(mixed[1] - shares[1]).max() > 1e-3


def test_items_and_times_that_do_not_fit_are_refused(learnt):
    with pytest.raises(ShapeError, match=r"expected an array \(n, 2\)"):
        learnt.predict(np.zeros((4, 3)))
    with pytest.raises(ShapeError, match=r"encoded items \(n, 2\), got shape \(4, 3\)"):
        learnt.predict(torch.zeros(4, 3))
    for t in (-0.1, 1.5, [0.1] * 3):
        with pytest.raises(TimeError, match="t: expected"):
            learnt.predict(X[:2], t)


def test_images_take_a_grid_classifier_and_chains_all_their_steps(tmp_path):
    images, digits = load_digits()
    network = {"width": 8, "multipliers": [1, 2], "blocks": 1, "attention": []}
    chain = {"kind": "ddpm", "betas": "cosine", "steps": 20}
    model = ImageDiffusion(process=chain, max_steps=1, network=network, random_state=0).fit(images[:60])
    classifier = NoisyClassifier(model, max_steps=3, network={"width": 8}, random_state=0).fit(images[:99], digits[:99])
    assert classifier.logits_.network.options["kind"] == "grid-classifier"
    assert classifier.training_.times == "uniform"
    classifier.save(tmp_path)
    again = NoisyClassifier.load(tmp_path)
    x_t = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(again.predict_proba(x_t, 7.0), classifier.predict_proba(x_t, 7.0))
    levels = classifier.accuracy_by_noise(images[:20], digits[:20], [0.9, 1.1])
    steps = torch.exp(-model.process_.logsnr(torch.arange(1, 21).double()) / 2)
    assert all(float((steps - level.noise).abs().min()) < 1e-9 for level in levels)
    with pytest.raises(TimeError):
        classifier.predict(images[:5], 7.5)


# -- which class -------------------------------------------------------------------------------------------------------


def test_a_target_is_a_class_or_one_per_row(few):
    x_t, t = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), 0.5
    table = np.log(few.predict_proba(x_t, t))
    for column, name in enumerate(["bird", "cat", "dog"]):
        assert np.allclose(few.log_prob(name)(x_t, t, None).numpy(), table[:, column], atol=1e-6)
    rows = few.log_prob(["dog", "bird", "cat"])
    expected = table[[0, 1, 2], [2, 0, 1]]
    assert np.allclose(rows(x_t, t).numpy(), expected, atol=1e-6)
    with pytest.raises(ConditionError, match=r"expected 3 rows.*got 2.*as the condition y"):
        rows(x_t[:2], t)
    codes = torch.tensor([2, 0, 1])
    for part in (slice(0, 2), slice(2, 3)):  # a batch in parts brings its classes with it
        assert np.allclose(rows(x_t[part], t, {"y": codes[part]}).numpy(), expected[part], atol=1e-6)
    assert np.allclose(few.log_prob()(x_t, t, {"y": Given(codes)}).numpy(), expected, atol=1e-6)
    assert np.allclose(few.log_prob("cat")(x_t, t, {"y": codes}).numpy(), table[:, 1], atol=1e-6)


def test_classes_that_are_unclear_are_refused(few):
    x_t, codes = torch.zeros(2, 2), torch.tensor([0, 1])
    with pytest.raises(ConditionError, match=r"in cond\['y'\], got none"):
        few.log_prob()(x_t, 0.5)
    with pytest.raises(ConditionError, match="agree with"):
        few.log_prob(["cat", "dog"])(x_t, 0.5, {"y": codes})
    with pytest.raises(ConditionError, match="agree with"):
        few.log_prob(["cat", "dog", "cat"])(x_t, 0.5, {"y": codes})
    for wrong in (torch.tensor([0, 3]), torch.tensor([0]), torch.tensor([0.0, 1.0])):
        with pytest.raises(ConditionError, match=r"a code from 0 to 2 for each of 2 rows, got \S"):
            few.log_prob()(x_t, 0.5, {"y": wrong})
    with pytest.raises(ConditionError, match="rows without one"):
        few.log_prob()(x_t, 0.5, {"y": Given(codes, torch.tensor([True, False]))})


def test_an_unknown_class_is_answered_with_the_nearest(few, learnt):
    with pytest.raises(ConditionError, match=r"the 3 classes.*got 'cta'. The nearest: cat"):
        few.log_prob("cta")
    with pytest.raises(ConditionError, match=r"got 7. The nearest: 1, 0"):
        learnt.log_prob([0, 7])


def test_codes_of_a_condition_are_those_of_the_model_where_it_has_classes(tmp_path):
    words = np.array(["ant", "bird", "cat"])
    own = DiffusionModel(max_steps=1, network=SMALL, random_state=0).fit(X[:300], words[np.arange(300) % 3])
    classifier = NoisyClassifier(own, max_steps=3, network=SMALL, random_state=0)
    classifier.fit(X[:300], np.array(["bird", "cat", "dog"])[np.arange(300) % 3]).save(tmp_path)
    x_t = torch.randn(2, 2, generator=torch.Generator().manual_seed(0))
    for made in (classifier, NoisyClassifier.load(tmp_path)):
        found = made.log_prob()(x_t, 0.5, {"y": torch.tensor([1, 2])})
        assert torch.equal(found, made.log_prob(["bird", "cat"])(x_t, 0.5))
        with pytest.raises(ConditionError, match=r"only the model knows.*bird, cat, dog"):
            made.log_prob()(x_t, 0.5, {"y": torch.tensor([0, 2])})


# -- what is asked of a user -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [None, "runs/digits", DiffusionModel()], ids=["none", "path", "not fitted"])
def test_a_fitted_model_is_asked_for(wrong):
    with pytest.raises(ConfigError, match="model: expected a fitted DiffusionModel"):
        NoisyClassifier(wrong).fit(X, Y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(60, dtype=int), "at least two classes to tell apart, got one: 0"),
        (np.linspace(0, 1, 60), "got real numbers"),
        (np.where(np.arange(60) < 1, np.nan, 1.0), "none missing"),
        (np.arange(59), "expected 60 classes, one per item"),
        (np.zeros((60, 2), dtype=int), "expected 60 classes, one per item"),
    ],
)
def test_what_are_no_classes_is_refused(model, y, message):
    with pytest.raises(DataError, match=message):
        NoisyClassifier(model, max_steps=1, network=SMALL).fit(X[:60], y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": {"widht": 8}}, "Did you mean 'width'"),
        ({"network": "unet"}, "whose classifier is of kind 'mlp'"),
        ({"training": {"steps": 3}}, "max_steps or minutes"),
        ({"training": {"batchsize": 3}}, "Did you mean training.batch_size"),
        ({"training": {"weight": "snr"}}, "not for a classifier"),
        ({"max_steps": 0}, "greater than or equal to 1"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
    ],
)
def test_impossible_options_are_refused(model, options, message):
    with pytest.raises(ConfigError, match=message):
        NoisyClassifier(model, **{"max_steps": 1, "network": SMALL} | options).fit(X[:60], Y[:60])


def test_items_unlike_those_of_the_model_and_rows_that_are_not_there_are_refused(model):
    classifier = NoisyClassifier(model, max_steps=1, network=SMALL)
    with pytest.raises(ShapeError, match=r"expected an array \(n, 2\)"):
        classifier.fit(np.zeros((60, 3)), Y[:60])
    with pytest.raises(ConfigError, match="held_out: expected numbers of rows, 0 to 59, got 1 to 60"):
        next(classifier.fit_iter(X[:60], Y[:60], held_out=[1, 60]))
    with pytest.raises(DataError, match="all held out"):
        next(classifier.fit_iter(X[:60], Y[:60], held_out=range(60)))
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    with pytest.raises(NotFittedError):
        classifier.log_prob(1)


def test_a_clone_has_the_same_model_and_is_not_fitted(learnt):
    copy = clone(learnt)
    assert copy.model is learnt.model and copy.network == learnt.network and copy.network is not learnt.network
    with pytest.raises(NotFittedError):
        copy.predict(X)


def test_what_was_learnt_is_kept_when_the_consumer_stops(model):
    classifier = NoisyClassifier(model, max_steps=50, network=SMALL, training={"ema": 0.05}, random_state=0)
    steps = classifier.fit_iter(X[:200], Y[:200])
    for progress in steps:
        if progress.step == 7:
            break
    average = [value.clone() for value in progress.state.average.values]
    steps.close()
    assert classifier.n_steps_ == 7
    assert all(torch.equal(a, b) for a, b in zip(classifier.logits_.network.parameters(), average))


def test_a_module_of_ones_own_is_trained_but_not_stored(model, tmp_path):
    own = ResidualMLP(2, 2, **SMALL)
    own.options = None
    classifier = NoisyClassifier(model, network=own, max_steps=3, random_state=0).fit(X[:60], Y[:60])
    assert own.head.weight.abs().max() > 0
    with pytest.raises(ConfigError, match=r"only networks of caminito.nn"):
        classifier.save(tmp_path)


# -- storing -----------------------------------------------------------------------------------------------------------


def test_a_loaded_classifier_says_the_same_and_needs_no_model(learnt, tmp_path):
    learnt.save(tmp_path)
    again = load(tmp_path)
    assert type(again) is NoisyClassifier and again.model is None
    assert again.n_steps_ == 300 and again.history_ == learnt.history_
    assert str(again.describe()) == str(learnt.describe())
    for t in (0.0, 0.6, 1.0):
        assert np.array_equal(again.predict_proba(X[:99], t), learnt.predict_proba(X[:99], t))
    assert again.predict(X[:9]).dtype == learnt.predict(X[:9]).dtype
    x_t = torch.ones(4, 2)
    assert torch.equal(again.log_prob(1)(x_t, 0.5), learnt.log_prob(1)(x_t, 0.5))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_a_classifier_is_whole_until_the_one_that_replaces_it_is(learnt, few, tmp_path, monkeypatch):
    learnt.save(tmp_path)

    def full(*_):
        raise StorageError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(noisy_classifier, "write_json", full)
        with pytest.raises(StorageError):
            few.save(tmp_path)
    assert np.array_equal(NoisyClassifier.load(tmp_path).predict_proba(X[:9]), learnt.predict_proba(X[:9]))
    few.save(tmp_path)
    assert NoisyClassifier.load(tmp_path).classes_.tolist() == ["bird", "cat", "dog"]
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    learnt.save(tmp_path)
    assert NoisyClassifier.load(tmp_path).classes_.tolist() == [0, 1]


def test_what_is_no_classifier_is_refused(few, model, tmp_path):
    with pytest.raises(RunError, match="found none"):
        NoisyClassifier.load(tmp_path)
    model.save(tmp_path / "model")
    with pytest.raises(RunError, match="expected a NoisyClassifier, got 'DiffusionModel'"):
        NoisyClassifier.load(tmp_path / "model")
    few.save(tmp_path / "cut")
    weights = tmp_path / "cut" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(RunError, match="checksum"):
        NoisyClassifier.load(tmp_path / "cut")
    few.save(tmp_path / "newer")
    manifest = tmp_path / "newer" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format_version": 9}))
    with pytest.raises(RunError, match="format 1, got 9"):
        NoisyClassifier.load(tmp_path / "newer")
