"""The image codec: decode inverts encode, and everything it does to a pixel is recorded."""

import doctest
import json
import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

import caminito.data.image
from caminito._errors import ConfigError, DataError, NonFiniteError, RunError, ShapeError
from caminito.data import Codec, ImageCodec, codec_from_dict

HALF_ULP = 2.0**-24  # relative rounding error of float32


def _shapes() -> st.SearchStrategy[tuple[int, ...]]:
    count, side = st.integers(2, 4), st.integers(1, 7)
    return st.one_of(st.tuples(count, side, side), st.tuples(count, side, side, st.integers(1, 4)))


def _differ(X: np.ndarray) -> bool:
    return bool((X[:1] != X).any())


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(["uint8", "uint16", "int8", "int16", "bool"]))
def test_decode_inverts_encode_exactly_for_whole_numbers(data: st.DataObject, dtype: str) -> None:
    X = data.draw(hnp.arrays(dtype, _shapes()))
    assume(_differ(X))
    codec = ImageCodec().fit(X)
    back = codec.decode(codec.encode(X))
    assert back.dtype == X.dtype
    np.testing.assert_array_equal(back, X)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from([np.float32, np.float64]))
def test_decode_inverts_encode_to_float32_rounding_of_the_spread(data: st.DataObject, dtype: type) -> None:
    width = 32 if dtype == np.float32 else 64
    X = data.draw(hnp.arrays(dtype, _shapes(), elements=st.floats(-1000, 1000, width=width)))
    spread = np.ptp(X.astype(np.float64).reshape(-1, X.shape[-1] if X.ndim == 4 else 1), axis=0)
    assume(_differ(X) and all(s == 0 or s > 1e-6 for s in spread))
    codec = ImageCodec(bounds=None).fit(X)
    back = codec.decode(codec.encode(X))
    assert back.dtype == X.dtype
    # one rounding of (X - mean)/std to float32, one of the result to dtype, and float64 arithmetic of size 1000
    centred = np.abs(X - codec.mean.reshape(-1))
    limit = HALF_ULP * centred + np.finfo(dtype).eps * np.abs(X) + 8 * np.finfo(np.float64).eps * 1000
    assert (np.abs(back.astype(np.float64) - X) <= limit * 1.0001).all()


def test_encoded_channels_have_zero_mean_and_unit_variance_and_constant_ones_are_zero() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (50, 9, 7, 4), dtype=np.uint8)
    X[..., 3] = 255
    codec = ImageCodec().fit(X)
    x = codec.encode(X)
    assert x.dtype == torch.float32 and x.shape == (50, 4, 9, 7) and x.is_contiguous()
    # rounding of each value is at most 2^-23 of values below 2; the mean of many is no worse
    np.testing.assert_allclose(x[:, :3].double().mean((0, 2, 3)), 0.0, atol=4 * HALF_ULP)
    np.testing.assert_allclose(x[:, :3].double().var((0, 2, 3), correction=0), 1.0, atol=8 * HALF_ULP)
    assert codec.std[3] == 1.0 and codec.mean[3] == 255.0
    assert (x[:, 3] == 0).all()


def test_moments_equal_those_of_the_whole_array_in_float64_across_chunks() -> None:
    X = (1e6 + np.random.default_rng(1).standard_normal((3000, 20, 20, 3)) * [1.0, 2.0, 3.0]).astype(np.float32)
    codec = ImageCodec().fit(X)
    whole = X.astype(np.float64)
    # 1.2e6 float64 additions around 1e6: error of the mean far below eps 1e6, of the std (per chunk) below 1e-9
    np.testing.assert_allclose(codec.mean, whole.mean((0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(codec.std, whole.std((0, 1, 2)), rtol=1e-9)


def test_log_det_is_the_log_determinant_of_the_encoders_jacobian() -> None:
    X = np.random.default_rng(2).standard_normal((20, 2, 3, 2)) * [0.1, 30.0]
    codec = ImageCodec().fit(X)
    at = X[0]
    columns = []
    for k in range(at.size):
        step = np.zeros(at.size)
        step[k] = codec.std[k % 2]  # one standard deviation: the map is affine, so the difference is exact
        moved = codec.encode(np.stack([at, at + step.reshape(at.shape)])).double()
        columns.append(((moved[1] - moved[0]) / step[k]).flatten().numpy())
    _, expected = np.linalg.slogdet(np.stack(columns, axis=1))
    got = codec.log_det(X)
    assert got.shape == (20,) and got.dtype == np.float64
    # 12 columns, each a difference of float32 values of order 1: relative error below 8 * 2^-24 each
    np.testing.assert_allclose(got, expected, atol=12 * 8 * HALF_ULP)
    np.testing.assert_allclose(got, -6 * np.log(codec.std).sum(), rtol=1e-15)


def test_decode_rounds_and_clips_integers_at_the_limits_of_their_type() -> None:
    X = np.array([[[100, 101]], [[102, 103]]], dtype=np.uint8)
    codec = ImageCodec().fit(X)
    assert codec.limits == (0.0, 255.0) and codec.quantum == 1.0
    x = torch.tensor([[[[-1e6, 1e6]]]])
    np.testing.assert_array_equal(codec.decode(x), [[[0, 255]]])
    between = torch.full((1, 1, 1, 2), (101.4 - codec.mean[0]) / codec.std[0], dtype=torch.float64)
    np.testing.assert_array_equal(codec.decode(between), [[[101, 101]]])


def test_integers_saturate_instead_of_wrapping_whatever_the_bounds() -> None:
    X = np.array([[[0, 1]], [[2, 3]]], dtype=np.int64)
    codec = ImageCodec(bounds=None).fit(X)
    low, high = codec.decode(torch.tensor([[[[-1e30, 1e30]]]])).ravel()
    assert low == np.iinfo(np.int64).min
    assert high == int(np.nextafter(2.0**63, 0))  # the greatest float64 that an int64 holds


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [("auto", (0.25, 0.75)), ("observed", (0.25, 0.75)), (None, None), ("dtype", None), ((0, 1), (0.0, 1.0))],
)
def test_float_images_are_clipped_to_the_declared_bounds_and_nowhere_else(bounds: object, expected: object) -> None:
    X = np.array([[[0.25, 0.5]], [[0.5, 0.75]]])
    codec = ImageCodec(bounds=bounds).fit(X)  # type: ignore[arg-type]
    assert codec.limits == expected and codec.quantum is None
    x = torch.tensor([[[[-100.0, 100.0]]]])
    low, high = expected if isinstance(expected, tuple) else (-math.inf, math.inf)
    free = codec.mean[0] + codec.std[0] * np.array([-100.0, 100.0])
    # float64 output of x = +-100 (exact): two float64 roundings
    np.testing.assert_allclose(codec.decode(x).ravel(), np.clip(free, low, high), rtol=1e-15)


def test_bounds_narrower_than_an_integer_type_hold() -> None:
    X = np.array([[[0, 1]], [[2, 3]]], dtype=np.uint16)
    codec = ImageCodec(bounds=(0, 3)).fit(X)
    np.testing.assert_array_equal(codec.decode(torch.tensor([[[[-9.0, 9.0]]]])), [[[0, 3]]])


@pytest.mark.parametrize("bounds", ["data", (1, 0), (0,), 3.0, (0, float("nan"))])
def test_impossible_bounds_are_named(bounds: object) -> None:
    with pytest.raises(ConfigError, match="bounds"):
        ImageCodec(bounds=bounds).fit(np.arange(8.0).reshape(2, 2, 2))  # type: ignore[arg-type]


def test_whole_numbered_floats_decode_to_whole_numbers_and_say_so() -> None:
    X = np.random.default_rng(3).integers(0, 17, (30, 8, 8)).astype(np.float64)
    codec = ImageCodec().fit(X)
    assert codec.quantum == 1.0 and codec.to_dict()["quantum"] == 1.0
    samples = codec.decode(torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert samples.dtype == np.float64
    np.testing.assert_array_equal(samples, np.rint(samples))
    assert samples.min() >= X.min() and samples.max() <= X.max()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64", ">f4", ">u2"])
@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5, 3, 1), (4, 5, 3, 2), (4, 5, 3, 3), (4, 5, 3, 4)])
def test_a_codec_from_its_json_does_the_same(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    X = (rng.random(shape) * 200).astype(dtype)
    codec = ImageCodec().fit(X)
    again = codec_from_dict(json.loads(json.dumps(codec.to_dict())))
    assert isinstance(again, Codec) and isinstance(again, ImageCodec)
    assert again.event_shape == codec.event_shape == (shape[3] if len(shape) == 4 else 1, 5, 3)
    assert torch.equal(again.encode(X), codec.encode(X))
    x = torch.randn(3, *codec.event_shape, generator=torch.Generator().manual_seed(1))
    assert again.decode(x).dtype == codec.decode(x).dtype == X.dtype.newbyteorder("=")
    np.testing.assert_array_equal(again.decode(x), codec.decode(x))
    assert again.to_dict() == codec.to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"std": [0.0]},
        {"mean": [0.0, 1.0]},
        {"dtype": "object"},
        {"item_shape": None},
        {"channel_axis": 2},
        {"codec": "x"},
    ],
)
def test_an_altered_codec_is_refused(change: dict[str, object]) -> None:
    state = ImageCodec().fit(np.arange(8.0).reshape(2, 2, 2)).to_dict()
    with pytest.raises(RunError):
        codec_from_dict({**state, **change})
    del state["mean"]
    with pytest.raises(RunError, match="mean"):
        codec_from_dict(state)


def _broken(value: float) -> np.ndarray:
    X = np.random.default_rng(5).random((4, 3, 3, 2))
    X[2, 1, 0, 1] = value
    X[3, 0, 0, 0] = value
    return X


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (
            _broken(np.nan),
            DataError,
            r"2 NaN and 0 infinite \(inf\) of 72 values; the first is at index \[2, 1, 0, 1\]",
        ),
        (
            _broken(-np.inf),
            DataError,
            r"0 NaN and 2 infinite \(inf\) of 72 values; the first is at index \[2, 1, 0, 1\]",
        ),
        (np.full((5, 4, 4), 7, np.uint8), DataError, "5 identical"),
        (np.tile(np.arange(16.0).reshape(1, 4, 4), (5, 1, 1)), DataError, "5 identical"),
        (np.zeros((0, 4, 4)), DataError, "empty"),
        (np.zeros((3, 0, 4)), DataError, "empty"),
        (np.zeros((1, 4, 4)), DataError, "at least 2 items.*got 1"),
        (np.zeros((4, 4)), ShapeError, r"got shape \(4, 4\)"),
        (np.zeros((2, 3, 32, 32)), ShapeError, r"moveaxis"),
        (np.zeros((2, 32, 32, 9)), ShapeError, "ArrayCodec"),
        (np.array([[[None]], [[1]]]), DataError, "objects"),
        (np.zeros((2, 2, 2), complex), DataError, "Complex"),
        (np.array([[["a"]], [["b"]]]), DataError, "Text"),
        (np.zeros((2, 2, 2), "datetime64[s]"), DataError, "Dates"),
        (sparse.csr_array(np.eye(3)), DataError, "sparse.*toarray"),
        ([[1, 2], [3]], DataError, "ragged"),
        (np.ma.masked_equal(np.arange(8).reshape(2, 2, 2), 3), DataError, "masked array with 1 values"),
        (np.array([[[-1e300]], [[1e300]]]), DataError, "spread"),
    ],
)
def test_what_cannot_be_learnt_is_refused_with_the_reason(X: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ImageCodec().fit(X)  # type: ignore[arg-type]


def test_encode_and_decode_refuse_what_is_unlike_the_training_data() -> None:
    codec = ImageCodec().fit(np.random.default_rng(6).random((3, 4, 5)))
    with pytest.raises(ShapeError, match=r"\(n, 4, 5\).*\(3, 5, 4\)"):
        codec.encode(np.zeros((3, 5, 4)))
    with pytest.raises(DataError, match="NaN"):
        codec.encode(np.full((1, 4, 5), np.nan))
    with pytest.raises(ShapeError, match=r"\(n, 1, 4, 5\)"):
        codec.decode(torch.zeros(3, 4, 5))
    with pytest.raises(NonFiniteError, match="items 0 to 1"):
        codec.decode(torch.full((2, 1, 4, 5), torch.nan))
    with pytest.raises(DataError, match="1e38"):
        codec.encode(np.full((1, 4, 5), 1e300))
    with pytest.raises(ConfigError, match="fit"):
        ImageCodec().encode(np.zeros((2, 4, 5)))


def test_encoding_bytes_allocates_the_float32_result_and_little_else() -> None:
    X = np.random.default_rng(7).integers(0, 256, (300, 128, 128, 1), dtype=np.uint8)
    tracemalloc.start()
    try:
        codec = ImageCodec().fit(X)
        _, fit_peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        x = codec.encode(X)
        _, encode_peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    chunk = 8 * 2**20  # one chunk of 2^20 float64
    assert fit_peak <= 4 * chunk  # statistics: a few chunks, not 8 bytes per pixel (39 MB)
    assert encode_peak <= x.numel() * 4 + 2 * chunk


def test_the_documented_examples_are_true() -> None:
    assert doctest.testmod(caminito.data.image).failed == 0
