"""A cascade draws small items and enlarges them: each stage what the one before gave, whatever the batches."""

import itertools

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import caminito
from caminito import CascadeDiffusion, DiffusionModel, ImageDiffusion, TableDiffusion
from caminito._random import Stream, uniform
from caminito.data import ImageCodec, load_digits, shrink
from caminito.errors import ConditionError, ConfigError, RunError, ShapeError, StorageError

TINY = {"kind": "unet", "width": 16, "multipliers": [1], "blocks": 1, "attention": []}
QUICK = {"network": TINY, "max_steps": 3, "n_steps": 3, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    X, y = load_digits()
    return X[:200].astype(np.uint8), y[:200]


@pytest.fixture(scope="module")
def parts(data):
    """A base 2 x 2, and two stages."""
    stages = [ImageDiffusion(**QUICK), ImageDiffusion(**QUICK, upscale=2), ImageDiffusion(**QUICK, upscale=2)]
    return CascadeDiffusion(stages).fit(*data).stages_


@pytest.fixture(scope="module")
def cascade(parts):
    return CascadeDiffusion(parts, random_state=0)


@pytest.fixture(scope="module")
def other(data):
    """A stage from 4 x 4 that knows no classes."""
    return ImageDiffusion(**QUICK, upscale=2).fit(data[0])


def test_each_stage_learns_the_items_of_its_size(parts, data):
    X, _ = data
    assert [model.event_shape_[1:] for model in parts] == [(2, 2), (4, 4), (8, 8)]
    for model, items in zip(parts, (shrink(shrink(X, 2), 2), shrink(X, 2), X)):
        assert model.codec_.to_dict() == ImageCodec().fit(items).to_dict()
    for before, model in itertools.pairwise(parts):
        assert model.conditions_.columns["low"].codec.to_dict() == before.codec_.to_dict()


def test_what_is_drawn_does_not_depend_on_batches(cascade):
    whole = cascade.sample(5, random_state=3)
    assert whole.shape == (5, 8, 8) and whole.dtype == np.uint8
    assert np.array_equal(whole, cascade.sample(5, random_state=3, batch_size=2))
    assert np.array_equal(whole[3:], cascade.sample(2, random_state=3, first=3))
    assert not np.array_equal(whole, cascade.sample(5, random_state=4))
    assert np.array_equal(cascade.sample(2), cascade.sample(2, random_state=0))


def test_the_base_draws_what_it_draws_alone_and_each_stage_enlarges_that(cascade, parts, monkeypatch):
    grown, counted = [], []
    for stage in parts:

        def sample(n, *, own=stage.sample, **how):
            grown.append(own(n, **how))
            return grown[-1]

        monkeypatch.setattr(stage, "sample", sample)
    drawn = cascade.sample(4, condition=[0, 1, 2, 3], random_state=3, progress=lambda *now: counted.append(now))
    monkeypatch.undo()
    assert [items.shape[1:] for items in grown] == [(2, 2), (4, 4), (8, 8)]
    assert np.array_equal(grown[0], parts[0].sample(4, condition=[0, 1, 2, 3], random_state=3))
    assert np.array_equal(grown[-1], drawn)
    assert counted == [(step, 9) for step in range(1, 10)]
    for number in (1, 2):
        seed = int(uniform(3, Stream.CASCADE, number, 1) * 2**53)
        asked = {"low": grown[number - 1], "y": [0, 1, 2, 3]}
        assert np.array_equal(grown[number], parts[number].sample(4, condition=asked, random_state=seed))


def told(monkeypatch, stages):
    """What each stage is asked for, noted as it is."""
    notes = []
    for stage in stages:

        def sample(n, *, condition=None, stage=stage, **how):
            notes.append((condition, how))
            return np.zeros((n, *stage.codec_.to_dict()["item_shape"]), np.uint8)

        monkeypatch.setattr(stage, "sample", sample)
    return notes


def test_conditions_reach_the_stages_that_know_them(parts, other, monkeypatch):
    cascade = CascadeDiffusion([parts[0], parts[1], other])
    notes = told(monkeypatch, cascade.stages)
    cascade.sample(3, condition=[1, 2, 3], guidance=2, augmentation=0.3, random_state=7, n_steps=2)
    assert [sorted(condition) for condition, _ in notes] == [["y"], ["low", "y"], ["low"]]
    assert all(condition["y"] == [1, 2, 3] for condition, _ in notes[:2])
    assert [how["guidance"] and how["guidance"].names for _, how in notes] == [["y"], ["y"], None]
    assert [how.get("augmentation") for _, how in notes] == [None, 0.3, 0.3]
    assert notes[0][1]["random_state"] == 7 and len({how["random_state"] for _, how in notes}) == 3
    notes.clear()
    cascade.sample(3, condition={}, random_state=7)
    assert [sorted(condition) for condition, _ in notes] == [[], ["low"], ["low"]]


def test_classes_that_nobody_asked_for_are_the_same_in_all_stages(parts, monkeypatch):
    cascade = CascadeDiffusion(parts)
    expected = parts[0].conditions_.draw(6, 7, 2)["y"].numpy()
    notes = told(monkeypatch, parts)
    cascade.sample(6, random_state=7, first=2)
    assert all(np.array_equal(condition["y"], parts[0].classes_[expected]) for condition, _ in notes)


def test_saved_and_read_again_it_draws_the_same_bits(cascade, tmp_path):
    cascade.save(tmp_path / "cascade")
    again = CascadeDiffusion.load(tmp_path / "cascade")
    assert again.random_state == 0 and len(again.stages_) == 3
    assert np.array_equal(again.sample(3), cascade.sample(3))
    (tmp_path / "cascade" / "stage_1").rename(tmp_path / "cascade" / "gone")
    with pytest.raises(RunError):
        CascadeDiffusion.load(tmp_path / "cascade")
    (tmp_path / "cascade" / "cascade.json").write_text('{"format_version": 1, "stages": {"../other": ""}}')
    with pytest.raises(RunError, match="expected stages stage_0"):
        CascadeDiffusion.load(tmp_path / "cascade")
    with pytest.raises(RunError):
        CascadeDiffusion.load(tmp_path / "nowhere")


def test_load_opens_a_cascade_of_itself(cascade, tmp_path):
    cascade.save(tmp_path / "cascade")
    again = caminito.load(tmp_path / "cascade")
    assert type(again) is CascadeDiffusion
    assert np.array_equal(again.sample(2, random_state=3), cascade.sample(2, random_state=3))
    assert type(caminito.load(tmp_path / "cascade" / "stage_1")) is ImageDiffusion


def test_saving_that_was_stopped_in_between_is_found_out(cascade, parts, data, tmp_path, monkeypatch):
    place = tmp_path / "cascade"
    cascade.save(place)
    expected = CascadeDiffusion.load(place).sample(2)
    learnt = {"random_state": 1, "training": {"learning_rate": 0.05, "warmup": 0}}
    others = CascadeDiffusion([*parts[:2], ImageDiffusion(**QUICK | learnt, upscale=2).fit(*data)])

    def full(path, value):
        raise StorageError(28, "disk full")

    with monkeypatch.context() as at_the_end:
        at_the_end.setattr("caminito.estimators.cascade.write_json", full)
        with pytest.raises(StorageError):
            others.save(place)
    with pytest.raises(RunError, match=r"stage_2: expected the stage that cascade.json names, but this is another one"):
        CascadeDiffusion.load(place)
    others.save(place)
    assert np.array_equal(CascadeDiffusion.load(place).sample(2, random_state=0), others.sample(2, random_state=0))
    assert not np.array_equal(others.sample(2, random_state=0), expected)
    (place / "stage_1" / "manifest.json").unlink()
    with pytest.raises(RunError, match="stage_1: expected the stage that cascade.json names, but there is none"):
        CascadeDiffusion.load(place)


def test_a_shorter_cascade_leaves_no_stage_of_a_longer_one(cascade, parts, tmp_path):
    place, beside = tmp_path / "cascade", tmp_path / "beside"
    cascade.save(place)
    short = CascadeDiffusion(parts[:2], random_state=0)
    short.save(place)
    assert sorted(path.name for path in place.iterdir()) == ["cascade.json", "stage_0", "stage_1"]
    assert np.array_equal(CascadeDiffusion.load(place).sample(2), short.sample(2))
    parts[2].save(beside / "stage_2")  # of no cascade: it stays
    short.save(beside)
    assert (beside / "stage_2" / "manifest.json").is_file()
    cascade.save(place)
    (place / "stage_2" / "notes.txt").write_text("mine")
    short.save(place)
    assert [path.name for path in (place / "stage_2").iterdir()] == ["notes.txt"]


def test_stages_that_are_fitted_stay_and_the_others_are_trained(parts, data):
    X, y = data
    new = ImageDiffusion(**QUICK, upscale=2)
    mixed = CascadeDiffusion([parts[0], parts[1], new])
    with pytest.raises(NotFittedError, match=r"stages \[2\]"):
        mixed.sample(2)
    mixed.fit(X, y)
    assert mixed.stages_[:2] == [parts[0], parts[1]] and mixed.stages_[2] is not new
    assert not hasattr(new, "denoiser_")
    assert mixed.sample(2).shape == (2, 8, 8)
    with pytest.raises(ConfigError, match=r"stage 0: expected a model of items 4 x 4 \(uint8\)"):
        CascadeDiffusion([parts[0], new]).fit(X, y)


def test_it_is_cloned_as_any_estimator(cascade):
    copy = clone(cascade)
    assert copy.random_state == 0 and [stage.upscale for stage in copy.stages] == [None, 2, 2]
    with pytest.raises(NotFittedError):
        copy.sample(2)


def test_stages_that_do_not_chain_are_named(parts, other, data):
    wide = ImageDiffusion(**QUICK, upscale=2).fit(np.repeat(data[0][..., None], 3, axis=3))
    floats = ImageDiffusion(**QUICK, upscale=2).fit(data[0] / 16)
    with pytest.raises(
        ConfigError, match=r"stages 0 and 1 do not chain: stage 0 gives items 2 x 2 \(uint8\), and stage 1"
    ):
        CascadeDiffusion([parts[0], other]).sample(2)
    with pytest.raises(ConfigError, match=r"stages 1 and 2 do not chain: .* enlarges items 4 x 4 x 3 \(uint8\)"):
        CascadeDiffusion([parts[0], parts[1], wide]).sample(2)
    with pytest.raises(ConfigError, match=r"stage 2 enlarges items 4 x 4 \(float\)"):
        CascadeDiffusion([parts[0], parts[1], floats]).sample(2)


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([ImageDiffusion()], "at least one stage that enlarges, got 1"),
        (
            [ImageDiffusion(), TableDiffusion()],
            "stage 1: expected a DiffusionModel or ImageDiffusion, got TableDiffusion",
        ),
        ([ImageDiffusion(), ImageDiffusion()], "stage 1: expected a model that enlarges, got one without upscale"),
        ([ImageDiffusion(upscale=2), ImageDiffusion(upscale=2)], "stage 0: expected a base"),
    ],
)
def test_what_is_no_cascade_is_refused(stages, words, data):
    with pytest.raises(ConfigError, match=words):
        CascadeDiffusion(stages).fit(*data)


def test_what_cannot_be_asked_is_refused(cascade, parts, other, data):
    with pytest.raises(ConditionError, match="condition 'colour' is unknown to every stage. Known: y"):
        cascade.sample(2, condition={"colour": 3})
    with pytest.raises(ConditionError, match="condition 'low' is unknown"):
        cascade.sample(2, condition={"low": np.zeros((2, 2, 2))})
    with pytest.raises(ConfigError, match="expected a number from 0 to 0.6"):
        cascade.sample(2, augmentation=0.9)
    with pytest.raises(ConfigError, match="n_samples: expected a whole number >= 1, got 0"):
        cascade.sample(0)
    with pytest.raises(ConditionError, match="guidance: .'colour'. are unknown to every stage"):
        cascade.sample(2, guidance={"scale": 2, "names": ["colour"]})
    base = ImageDiffusion(**QUICK).fit(shrink(data[0], 2))
    with pytest.raises(ConfigError, match="nothing to be guided by"):
        CascadeDiffusion([base, other]).sample(2, guidance=2)
    with pytest.raises(ShapeError, match="sides that 2 divides, got 4 x 5"):
        CascadeDiffusion([DiffusionModel(), *[DiffusionModel(upscale=2)] * 2]).fit(np.zeros((20, 8, 10)))
