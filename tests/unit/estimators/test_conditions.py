"""Conditions of every kind: what they are taken for, what a network is given, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

from caminito import DiffusionModel, ImageDiffusion
from caminito.data import HashingText
from caminito.errors import ConditionError, ConfigError
from caminito.estimators.conditions import ConditionCodec
from caminito.nn import Field, Given, Label, Vector, Words

SMALL = {"kind": "mlp", "event_size": 2, "width": 16, "depth": 1}
TINY = {"width": 32, "multipliers": [1, 1], "blocks": 1}
WORDS = ["one red shirt", "two blue shoes", "three green bags", "a red bag", "blue shirt", ""]


def codec(**columns):
    n = len(next(iter(columns.values())))
    return ConditionCodec().fit(columns, n, grid=(4, 4))


@pytest.mark.parametrize(
    ("values", "entry"),
    [
        ([3, 1, 3, 2], Label(3)),
        (["a", "b", "a", "a"], Label(2)),
        ([True, False, True, True], Label(2)),
        ([0.5, 0.25, 0.125, 3.5], Vector(1)),
        (np.arange(8).reshape(4, 2) / 3, Vector(2)),
        (np.random.default_rng(0).normal(size=(4, 4, 4)), Field(1)),
    ],
)
def test_values_say_what_they_are(values, entry):
    assert codec(c=values).entries == {"c": entry}


def test_names_and_many_different_words_say_that_strings_are_a_text():
    assert isinstance(codec(text=WORDS).entries["text"], Words)
    assert isinstance(codec(other=WORDS).entries["other"], Label)
    many = [f"{number} red shirts" for number in range(65)]
    assert isinstance(codec(other=many).entries["other"], Words)
    assert isinstance(codec(text=["a red bag", None, "shoes"]).entries["text"], Words)


def test_a_kind_that_is_asked_for_stands():
    values = np.arange(6)
    made = ConditionCodec().fit(
        {"a": values, "b": WORDS, "c": WORDS},
        6,
        kinds={"a": "vector", "b": HashingText(3), "c": {"encoder": "hashing"} | _state()},
    )
    assert made.entries["a"] == Vector(1)
    assert made.entries["b"].length == 3 and made.entries["c"].length == 5


def _state():
    return {k: v for k, v in HashingText(5).to_dict().items() if k != "encoder"}


def test_saved_and_read_again_every_kind_encodes_the_same():
    rng = np.random.default_rng(0)
    first = codec(label=list("abcabc"), number=rng.normal(size=6), text=WORDS, field=rng.normal(size=(6, 4, 4)))
    second = ConditionCodec.from_dict(first.to_dict())
    asked = {"label": "b", "number": [0.5] * 3, "text": WORDS[:3], "field": rng.normal(size=(3, 4, 4))}
    for (name, a), b in zip(first.encode(asked, 3).items(), second.encode(asked, 3).values()):
        for x, y in zip(a if isinstance(a, Given) else [a], b if isinstance(b, Given) else [b]):
            assert (x is None and y is None) or torch.equal(x, y), name
    assert second.entries == first.entries


def test_what_is_missing_is_absent_in_its_row():
    made = codec(label=list("abcabc"), number=np.arange(6) / 7, text=WORDS)
    out = made.encode({"label": ["a", None, "c"], "number": [0.1, np.nan, 0.2], "text": ["red", "", "blue"]}, 3)
    assert out["label"].present.tolist() == [True, False, True]
    assert out["number"].present.tolist() == [True, False, True]
    assert torch.isfinite(out["number"].value).all()
    assert out["text"].mask.any(1).tolist() == [True, False, True]


def test_the_missing_value_of_pandas_is_absent_as_none_and_nan_are():
    texts = pd.Series(["a red bag", pd.NA, "shoes", None], dtype="string")
    made = codec(text=texts, other=["a", "b", "c", "a"])
    given = made.encode({"text": texts, "other": pd.Series(["a", pd.NA, "b", None], dtype="string")}, 4)
    assert given["text"].mask.any(1).tolist() == [True, False, True, False]
    assert given["other"].present.tolist() == [True, False, True, False]
    empty = made.encode({"text": ["a red bag", "", "shoes", ""]}, 4)["text"]
    for hole in (pd.NA, np.nan, None):
        found = made.encode({"text": ["a red bag", hole, "shoes", hole]}, 4)["text"]
        assert torch.equal(found.value, empty.value) and torch.equal(found.mask, empty.mask)
    with pytest.raises(ConditionError, match="none missing"):
        codec(y=pd.Series(["a", pd.NA, "b", "a"], dtype="string"))


def test_numbers_and_words_of_a_class_are_one():
    made = codec(y=[1, 2, 3, 3])
    assert made.encode({"y": ["2"]}, 1)["y"].tolist() == [1]
    assert made.encode({"y": [2.0]}, 1)["y"].tolist() == [1]
    assert codec(y=[1.0, 2.0, 1.0]).encode({"y": [2]}, 1)["y"].tolist() == [1]
    with pytest.raises(ConditionError, match="class 2.5 of 'y'"):
        made.encode({"y": [2.5]}, 1)


def test_one_field_serves_all_rows():
    made = codec(f=np.random.default_rng(0).normal(size=(5, 4, 4)))
    assert made.encode({"f": np.zeros((4, 4))}, 7)["f"].shape == (7, 1, 4, 4)


@pytest.mark.parametrize(
    ("columns", "kinds", "error", "words"),
    [
        ({"y": [1, 2, 3]}, {}, ConditionError, r"expected 4 rows \(one per item\)"),
        ({"y": [1.0, np.nan, 2.0, 3.0]}, {}, ConditionError, "NaN or infinity"),
        ({"y": ["a", None, "b", "a"]}, {"y": "label"}, ConditionError, "none missing"),
        ({"y": ["a", None, "b", "a"]}, {}, ConditionError, "none missing"),
        ({"y": [1, 2, 3, 4]}, {"y": "lable"}, ConfigError, "Did you mean 'label'"),
        ({"y": [1, 2, 3, 4]}, {"z": "label"}, ConfigError, "were not given"),
        ({"y": ["a", "b", "c", "d"]}, {"y": "vector"}, ConditionError, "expected numbers"),
        ({"y": np.arange(36).reshape(4, 3, 3)}, {}, ConditionError, r"on the grid \(4, 4\)"),
    ],
)
def test_columns_that_cannot_be_learnt_are_refused(columns, kinds, error, words):
    with pytest.raises(error, match=words):
        ConditionCodec().fit(columns, 4, kinds=kinds, grid=(4, 4))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"y": ["z"]}, "was not in the training data. Known classes: a, b, c"),
        ({"x": ["a"]}, "Did you mean"),
        ({"number": [[1.0, 2.0, 3.0]]}, "expected 2 rows"),
        ({"number": "tall"}, "condition 'number': expected numbers, got 'tall'"),
        ({"y": ["a", "b", "c"]}, "expected 2 rows"),
        ({"text": [3]}, "expected a string in every row"),
        ({"f": np.zeros((2, 3, 3))}, "condition 'f': "),
    ],
)
def test_what_a_model_does_not_know_is_refused(asked, words):
    field = np.random.default_rng(0).normal(size=(6, 4, 4))
    made = codec(y=list("abcabc"), x1=list("abcabc"), number=np.arange(6) / 7, text=WORDS, f=field)
    with pytest.raises(ConditionError, match=words):
        made.encode(asked, 2)


def test_the_nearest_of_many_classes_are_named():
    made = codec(y=[f"town {number}" for number in range(30)])
    with pytest.raises(ConditionError, match="The nearest: .*town 2"):
        made.encode({"y": ["twon 2"]}, 1)


def test_conditions_of_several_kinds_train_sample_and_come_back_from_a_file(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (12, 8, 8), dtype=np.uint8)
    coarse = X.astype(float) // 64
    model = ImageDiffusion(max_steps=2, n_steps=2, network=_unet(), random_state=0)
    model.fit(X, list("ab") * 6, condition={"text": WORDS * 2, "coarse": coarse, "size": rng.normal(size=12)})
    asked = {"y": ["a", "b", "a"], "text": WORDS[:3], "coarse": coarse[:3], "size": [0.1, 0.2, 0.3]}
    drawn = model.sample(3, condition=asked, random_state=1)
    assert drawn.shape == (3, 8, 8) and drawn.dtype == np.uint8
    model.save(tmp_path / "model")
    again = DiffusionModel.load(tmp_path / "model")
    assert np.array_equal(again.sample(3, condition=asked, random_state=1), drawn)
    parts = [
        again.sample(1, condition={k: v[i : i + 1] for k, v in asked.items()}, random_state=1, first=i)
        for i in range(3)
    ]
    assert np.abs(np.concatenate(parts).astype(int) - drawn).max() <= 1  # rounding of a batch of another size


def _unet():
    return {"kind": "unet", "dims": 2, "channels": 1, **TINY}


def test_an_encoder_that_was_given_is_kept_with_the_model(tmp_path):
    X = np.random.default_rng(0).normal(size=(12, 2))
    model = DiffusionModel(max_steps=2, n_steps=2, network=SMALL, conditions={"what": HashingText(4)}, random_state=0)
    model.fit(X, condition={"what": WORDS * 2})
    model.save(tmp_path / "model")
    again = DiffusionModel.load(tmp_path / "model")
    asked = {"what": ["red shirt"]}
    assert np.array_equal(
        again.sample(2, condition=asked, random_state=0), model.sample(2, condition=asked, random_state=0)
    )
    assert again.conditions == {"what": HashingText(4).to_dict()}
