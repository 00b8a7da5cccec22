"""The array codec: points per column, grids per channel, the tails left alone."""

import doctest
import json

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import caminito.data.array
from caminito._errors import ConfigError, DataError, RunError, ShapeError
from caminito.data import ArrayCodec, Codec, codec_from_dict

HALF_ULP = 2.0**-24
_SHAPES = hnp.array_shapes(min_dims=1, max_dims=5, min_side=1, max_side=4)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(["uint8", "int16", "int32", "int64", "uint32"]), st.sampled_from([None, 1, -1]))
def test_decode_inverts_encode_exactly_for_integers_within_2_to_22(data: st.DataObject, dtype: str, axis: None) -> None:
    info = np.iinfo(dtype)
    elements = st.integers(max(info.min, -(2**21)), min(info.max, 2**21))
    X = data.draw(hnp.arrays(dtype, _SHAPES, elements=elements))
    assume(len(X) >= 2 and (X[:1] != X).any())
    codec = ArrayCodec(axis).fit(X)
    back = codec.decode(codec.encode(X))
    assert back.dtype == X.dtype
    np.testing.assert_array_equal(back, X)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from([None, 1, -1]))
def test_decode_inverts_encode_to_one_rounding_for_floats(data: st.DataObject, axis: None) -> None:
    grain = st.integers(-(10**6), 10**6).map(lambda k: k / 997.0)
    X = data.draw(hnp.arrays(np.float64, _SHAPES, elements=grain))
    assume(len(X) >= 2 and (X[:1] != X).any())
    codec = ArrayCodec(axis).fit(X)
    back = codec.decode(codec.encode(X))
    reach = np.abs(X).max()
    assert np.abs(back - X).max() <= HALF_ULP * 2 * reach + 8 * np.finfo(np.float64).eps * reach


@pytest.mark.parametrize(
    ("shape", "axis", "event", "channel_of"),
    [
        ((40,), None, (1,), lambda X: X[:, None]),
        ((40, 3), None, (3,), lambda X: X),
        ((40, 3), -1, (3,), lambda X: X),
        ((40, 5, 6), None, (1, 5, 6), lambda X: X[:, None]),
        ((40, 2, 6), 1, (2, 6), lambda X: X),
        ((40, 5, 2), -1, (2, 5), lambda X: X.transpose(0, 2, 1)),
        ((40, 2, 5, 6), 1, (2, 5, 6), lambda X: X),
        ((40, 5, 6, 2), -1, (2, 5, 6), lambda X: X.transpose(0, 3, 1, 2)),
        ((40, 4, 5, 6), None, (1, 4, 5, 6), lambda X: X[:, None]),
        ((40, 4, 5, 6, 2), -1, (2, 4, 5, 6), lambda X: X.transpose(0, 4, 1, 2, 3)),
    ],
)
def test_each_channel_is_standardised_by_its_own_moments(shape, axis, event, channel_of) -> None:
    X = np.random.default_rng(0).gamma(2.0, 3.0, shape)
    codec = ArrayCodec(axis).fit(X)
    assert isinstance(codec, Codec)
    assert codec.event_shape == event
    view = channel_of(X)
    axes = (0, *range(2, view.ndim))
    expected = (view - view.mean(axes, keepdims=True)) / view.std(axes, keepdims=True)
    x = codec.encode(X)
    assert x.shape == (40, *event)
    # one float32 rounding of values below 16, and float64 arithmetic
    np.testing.assert_allclose(x, expected, rtol=2 * HALF_ULP, atol=1e-13)
    places = int(np.prod(shape[1:])) // len(codec.std)
    np.testing.assert_allclose(codec.log_det(X), -places * np.log(view.std(axes)).sum(), rtol=1e-12, atol=1e-12)
    again = codec_from_dict(json.loads(json.dumps(codec.to_dict())))
    assert torch.equal(again.encode(X), x) and again.to_dict() == codec.to_dict()


def test_a_change_of_variables_keeps_the_log_density() -> None:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((500, 3)) * [0.01, 1.0, 200.0] + [5.0, 0.0, -40.0]
    codec = ArrayCodec().fit(X)
    x = codec.encode(X).double().numpy()
    standard = -0.5 * (x**2).sum(1) - 1.5 * np.log(2 * np.pi)
    z = (X - X.mean(0)) / X.std(0)
    direct = (-0.5 * z**2 - np.log(X.std(0)) - 0.5 * np.log(2 * np.pi)).sum(1)
    # x differs from z by at most 2^-24 |z|, so x^2/2 by 2^-24 z^2, with |z| < 5
    np.testing.assert_allclose(standard + codec.log_det(X), direct, atol=3 * 25 * 2 * HALF_ULP)


def test_values_far_beyond_the_training_range_are_not_clipped() -> None:
    X = np.random.default_rng(2).standard_normal((50, 2))
    codec = ArrayCodec().fit(X)
    assert codec.limits is None and codec.quantum is None
    far = codec.decode(torch.full((1, 2), 1000.0))
    np.testing.assert_allclose(far[0], codec.mean + 1000.0 * codec.std, rtol=1e-15)
    clipped = ArrayCodec(bounds="observed").fit(X)
    assert clipped.decode(torch.full((1, 2), 1000.0)).max() == X.max()


def test_whole_numbered_floats_stay_a_continuum() -> None:
    X = np.array([[0.0], [1.0], [2.0]])
    codec = ArrayCodec().fit(X)
    assert codec.quantum is None
    np.testing.assert_allclose(codec.decode(torch.tensor([[0.25]])), [codec.mean + 0.25 * codec.std], rtol=1e-15)


def test_a_column_that_never_changes_maps_to_zero_and_back() -> None:
    X = np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 4.0]])
    codec = ArrayCodec().fit(X)
    assert codec.std[0] == 1.0
    assert (codec.encode(X)[:, 0] == 0).all()
    np.testing.assert_array_equal(codec.decode(codec.encode(X))[:, 0], X[:, 0])


def test_a_small_spread_on_a_large_mean_is_kept() -> None:
    X = 1e9 + np.random.default_rng(3).standard_normal((200, 1))
    codec = ArrayCodec().fit(X)
    # float64 holds 1e9 to 1.2e-7; encoded values lose no more than that
    np.testing.assert_allclose(codec.decode(codec.encode(X)), X, rtol=0, atol=6e-7)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.array([[1.0, np.nan], [np.inf, 2.0]]), r"1 NaN and 1 infinite \(inf\) of 4 values.*index \[0, 1\]"),
        (np.ones((6, 3)), "6 identical"),
        (np.ones((1, 3)), r"n_samples=1"),
        (np.ones((0, 3)), "empty"),
        (np.ones((4, 3), complex), "Complex"),
        (np.array(5.0), "single number"),
    ],
)
def test_what_cannot_be_learnt_is_refused_with_the_reason(X: np.ndarray, words: str) -> None:
    with pytest.raises((DataError, ShapeError), match=words):
        ArrayCodec().fit(X)


def test_impossible_options_and_altered_entries_are_named() -> None:
    with pytest.raises(ConfigError, match="channel_axis"):
        ArrayCodec(2)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="fit"):
        ArrayCodec().decode(torch.zeros(1, 2))
    state = ArrayCodec().fit(np.eye(3)).to_dict()
    for change in ({"layout": 7}, {"std": [1.0, 1.0, -1.0]}, {"item_shape": [4]}):
        with pytest.raises(RunError):
            codec_from_dict({**state, **change})


def test_the_documented_examples_are_true() -> None:
    assert doctest.testmod(caminito.data.array).failed == 0
