"""Guidance asked of a model: the dials do what the room of guidance does, and what cannot be is refused at once."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from caminito import DiffusionModel
from caminito.denoiser import without
from caminito.errors import ConditionError, ConfigError
from caminito.estimators import NoisyClassifier
from caminito.estimators.schema import GuidanceConfig
from caminito.guidance import cfg, classifier_guide, projected, renoised_weakly, rescaled
from caminito.sampling import DDIM, sample

SMALL = {"kind": "mlp", "event_size": 2, "width": 32, "depth": 2}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    angle = 2 * np.pi * y / 3
    return np.stack([np.cos(angle), np.sin(angle)], 1) + 0.35 * rng.normal(size=(600, 2)), y


@pytest.fixture(scope="module")
def model(data):
    training = {"snapshots": 4, "batch_size": 128}
    return DiffusionModel(max_steps=150, n_steps=12, network=SMALL, training=training, random_state=0).fit(*data)


@pytest.fixture(scope="module")
def plain(data):
    return DiffusionModel(max_steps=150, n_steps=12, network=SMALL, random_state=0).fit(data[0])


@pytest.fixture(scope="module")
def classifier(data, plain):
    return NoisyClassifier(plain, max_steps=150, random_state=0).fit(*data)


def drawn(model, denoiser, y, n_steps=12, solver=None):
    rule, grid = model.solver_and_grid(n_steps, solver)
    x = sample(denoiser, (len(y), 2), solver=rule, grid=grid, cond={"y": torch.as_tensor(y)}, seed=3)
    return model.codec_.decode(x)


@pytest.mark.parametrize(
    ("dials", "options"),
    [
        (2.0, {"scale": 2.0}),
        ({"scale": 2.0, "interval": (0.1, 1.0)}, {"scale": 2.0, "interval": (0.1, 1.0)}),
        ({"scale": 3.0, "rescale": 0.7}, {"scale": 3.0, "rule": rescaled(0.7)}),
        ({"scale": 3.0, "along": 0.0, "norm": 1.0}, {"scale": 3.0, "rule": projected(0.0, 1.0)}),
        (GuidanceConfig(scale=1.5), {"scale": 1.5}),
    ],
)
def test_the_dials_are_those_of_the_room_of_guidance(model, dials, options):
    y = [0, 1, 2, 2]
    expected = drawn(model, cfg(model._walked(), **options), y)
    assert np.allclose(model.sample(4, condition=y, random_state=3, guidance=dials), expected, atol=1e-5)
    assert not np.allclose(model.sample(4, condition=y, random_state=3), expected, atol=1e-2)


def test_scale_1_is_the_model_as_it_is_bit_for_bit(model):
    how = {"condition": [0, 1], "random_state": 3}
    assert np.array_equal(model.sample(2, guidance=1, **how), model.sample(2, **how))


def test_cfg_plus_plus_follows_the_grid_that_is_walked(model):
    _, grid = model.solver_and_grid(12, "ddim")
    expected = drawn(model, cfg(model._walked(), renoised_weakly(0.6, model.process_, grid)), [0, 1], solver=DDIM())
    guidance = {"scale": 0.6, "by": "cfg++"}
    found = model.sample(2, condition=[0, 1], random_state=3, solver="ddim", guidance=guidance)
    assert np.allclose(found, expected, atol=1e-5)


def test_samples_are_led_away_from_what_is_named(model):
    def share(**how):
        x = model.sample(300, condition=0, random_state=0, **how)
        return float((np.hypot(x[:, 0] + 0.5, x[:, 1] - 0.87) < 0.9).mean())  # near class 1

    towards = {"scale": 2.0, "away_from": {"y": 1}}
    assert share(guidance=towards) <= share()
    x = model.sample(300, condition=0, random_state=0, guidance=towards)
    others = model.sample(300, condition=0, random_state=0, guidance={"scale": 2.0, "away_from": {"y": 2}})
    assert x[:, 1].mean() < others[:, 1].mean() - 0.05  # class 1 is above, class 2 below


def test_autoguidance_leads_away_from_an_earlier_version(model):
    steps = model.reaverage(0.1, step=75) if _has(model, 75) else model.reaverage(0.2)
    x = model.sample(50, condition=1, random_state=0, guidance=2.0, guide=steps)
    assert x.shape == (50, 2) and np.isfinite(x).all()
    assert not np.allclose(x, model.sample(50, condition=1, random_state=0))
    same = model.sample(50, condition=1, random_state=0, guidance=2.0, guide=model)
    assert np.allclose(same, model.sample(50, condition=1, random_state=0), atol=1e-5)  # away from itself: nowhere


def _has(model, step):
    try:
        model.reaverage(0.1, step=step)
    except ConfigError:
        return False
    return True


def test_a_classifier_leads_a_model_that_knows_no_classes(data, plain, classifier):
    x = plain.sample(300, condition=2, random_state=0, guidance=2.0, guide=classifier)
    whole = plain.sample(300, random_state=0)
    assert (classifier.predict(x) == 2).mean() > 0.9 > 0.6 > (classifier.predict(whole) == 2).mean()
    one = plain.sample(4, condition=[0, 1, 2, 0], random_state=0, guidance=2.0, guide=classifier)
    parts = plain.sample(4, condition=[0, 1, 2, 0], random_state=0, guidance=2.0, guide=classifier, batch_size=3)
    assert np.allclose(one, parts, atol=1e-4)


def test_a_function_leads_too(plain):
    def right(x_t, t, cond):
        return torch.nn.functional.logsigmoid(4 * x_t[:, 0])

    x = plain.sample(300, random_state=0, guidance=2.0, guide=right)
    assert x[:, 0].mean() > plain.sample(300, random_state=0)[:, 0].mean() + 0.2
    expected = drawn(plain, classifier_guide(without(plain._walked()), right, 2.0), [0] * 5)
    assert np.allclose(plain.sample(5, random_state=3, guidance=2.0, guide=right), expected, atol=1e-5)


def test_a_function_leads_a_model_that_is_told_its_class_all_the_same(model):
    def right(x_t, t, cond):
        return 0.0 * x_t.sum(1)

    one = model.sample(50, condition=1, random_state=0, guidance=2.0, guide=right)
    assert np.allclose(one, model.sample(50, condition=1, random_state=0), atol=1e-5)
    hidden = model.sample(50, condition=1, random_state=0, guidance={"scale": 2.0, "told": False}, guide=right)
    assert not np.allclose(one, hidden, atol=0.1)


def test_a_frame_asks_by_its_columns(model):
    frame = pd.DataFrame({"y": [0, 1, 2]})
    found = model.sample(3, condition=frame, random_state=0)
    assert np.array_equal(found, model.sample(3, condition=[0, 1, 2], random_state=0))


def test_the_walk_ends_where_sample_does(model):
    how = {"condition": [0, 1, 2], "random_state": 5, "guidance": {"scale": 2.0, "interval": (0.1, 2.0)}}
    *_, (_, last) = model.walk(3, **how)
    assert np.allclose(last, model.sample(3, **how), atol=1e-5)


@pytest.mark.parametrize(
    ("guidance", "words"),
    [
        (float("nan"), "guidance.scale"),
        (1e9, "guidance.scale"),
        ("much", "guidance.scale"),
        (True, "guidance.scale"),
        ("2", "guidance.scale"),
        ({"scale": 2, "intervall": (0, 1)}, "Did you mean guidance.interval"),
        ({"scale": 2, "interval": (1, 0.5)}, "low < high"),
        ({"scale": 2, "interval": (None, 0.5)}, "guidance.interval"),
        ({"scale": 2, "interval": (0.5, float("nan"))}, "guidance.interval"),
        ({"scale": 2, "rescale": 2}, "guidance.rescale"),
        ({"scale": 2, "by": "autoguidance"}, "expected a worse version of this model"),
        ({"scale": 2, "by": "classifier"}, "expected a NoisyClassifier"),
    ],
)
def test_dials_out_of_their_bounds_are_refused(model, guidance, words):
    with pytest.raises(ConfigError, match=words):
        model.sample(2, condition=0, guidance=guidance)


def test_names_and_classes_that_are_unknown_are_refused(model, plain, classifier):
    with pytest.raises(ConditionError, match=r"guidance.names: \['z'\] are unknown. Known: y"):
        model.sample(2, condition=0, guidance={"scale": 2, "names": ["z"]})
    with pytest.raises(ConditionError, match="class 7 of 'y' was not in the training data"):
        model.sample(2, condition=0, guidance={"scale": 2, "away_from": {"y": 7}})
    with pytest.raises(ConditionError, match="class 7 of 'y' was not in the training data"):
        plain.sample(2, condition=7, guidance=2.0, guide=classifier)


@pytest.mark.parametrize(
    ("condition", "where"),
    [([2, None, 1, None], "sample 1 and 1 more"), ([2, 1, 0, None], "sample 3"), ({}, "any sample")],
)
def test_a_classifier_asks_for_the_class_of_each_sample(model, plain, classifier, condition, where):
    for led in (model, plain):
        with pytest.raises(ConditionError) as refused:
            led.sample(4, condition=condition, guidance=2.0, guide=classifier)
        assert str(refused.value) == (
            "condition 'y': expected a class for each of the 4 samples, because a classifier leads each to its own, "
            f"got None (no class) for {where}. Ask for one of 0, 1, 2, or draw those without it as guide."
        )
    assert model.sample(4, condition=condition, guidance=2.0, n_steps=2).shape == (4, 2)


def test_an_interval_may_be_open_above(model):
    how = {"condition": [0, 1], "random_state": 3}
    found = model.sample(2, guidance={"scale": 3.0, "interval": (0.5, None)}, **how)
    assert np.array_equal(found, model.sample(2, guidance={"scale": 3.0, "interval": (0.5, 1e6)}, **how))
    assert np.array_equal(found, model.sample(2, guidance={"scale": 3.0, "interval": (0.5, np.inf)}, **how))
    assert not np.allclose(found, model.sample(2, guidance=3.0, **how), atol=1e-3)
    for upper in (None, float("inf")):
        config = GuidanceConfig(scale=3.0, interval=(0.5, upper))
        assert json.loads(config.model_dump_json())["interval"] == [0.5, None]
        assert GuidanceConfig.model_validate_json(config.model_dump_json()) == config


def test_a_model_without_conditions_says_what_would_help(plain):
    with pytest.raises(ConfigError, match="trained without conditions.*Train it with y="):
        plain.sample(2, guidance=2.0)


def test_a_model_that_never_went_without_its_conditions_says_how_to_train_it(data):
    made = DiffusionModel(max_steps=2, network=SMALL, training={"condition_dropout": 0.0}, random_state=0).fit(*data)
    with pytest.raises(ConfigError, match="condition_dropout = 0.*Train it again"):
        made.sample(2, guidance=2.0)
    assert made.sample(2, n_steps=2).shape == (2, 2)


def test_a_guide_of_other_data_or_for_another_purpose_is_refused(model, plain, classifier, data):
    with pytest.raises(ConfigError, match="guide: expected a model of the same conditions"):
        model.sample(2, guidance=2.0, guide=plain)
    other = DiffusionModel(max_steps=2, network=SMALL, random_state=0).fit(2 * data[0], data[1])
    with pytest.raises(ConfigError, match="guide: expected a model of the same data"):
        model.sample(2, guidance=2.0, guide=other)
    with pytest.raises(ConfigError, match="Leave one of both out"):
        plain.sample(2, condition=0, guidance={"scale": 2, "by": "cfg"}, guide=classifier)
    with pytest.raises(ConfigError, match=r"guidance.rescale: has no meaning"):
        plain.sample(2, condition=0, guidance={"scale": 2, "rescale": 0.5}, guide=classifier)


def test_every_dial_has_bounds_and_words_in_the_schema():
    properties = GuidanceConfig.model_json_schema()["properties"]
    assert all(facts["description"] for facts in properties.values())
    assert {"minimum", "maximum"} <= set(properties["scale"])


def test_a_classifier_leads_models_of_other_classes_to_the_class_that_is_asked_for(data, model, plain):
    X, y = data
    few = np.flatnonzero(y > 0)
    classifier = NoisyClassifier(model, max_steps=300, network=SMALL, random_state=0).fit(X[few], y[few])
    halves = np.where(y == 2, 2, 1)
    other = DiffusionModel(max_steps=2, network=SMALL, random_state=0).fit(X, halves)
    x_t, t = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), 0.5
    two = classifier.log_prob(2)(x_t, t)
    for told in (model, other, plain):
        codes = classifier.conditions_ if told is plain else told.conditions_
        assert torch.equal(classifier.log_prob(model=told)(x_t, t, codes.encode({"y": 2}, 3)), two)
    x = plain.sample(200, condition=2, random_state=0, guidance=2.0, guide=classifier)
    assert (classifier.predict(x) == 2).mean() > 0.9
    led = drawn(other, classifier_guide(without(other._walked()), classifier.log_prob(2), 2.0), [1] * 4)
    how = {"random_state": 3, "n_steps": 12, "guidance": 2.0, "guide": classifier}
    assert np.allclose(other.sample(4, condition=2, **how), led, atol=1e-5)


def test_a_guide_that_is_none_and_a_classifier_of_other_data_are_refused(data, plain, classifier):
    with pytest.raises(ConfigError, match="guide: expected a NoisyClassifier.*got a int"):
        plain.sample(2, guidance=2.0, guide=5)
    other = DiffusionModel(max_steps=2, network=SMALL, random_state=0).fit(2 * data[0])
    with pytest.raises(ConfigError, match="guide: expected a classifier of the same data"):
        other.sample(2, guidance=2.0, guide=classifier)
