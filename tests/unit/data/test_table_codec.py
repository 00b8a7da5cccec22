"""The table codec: any column becomes numbers and comes back exactly, in the container it came in."""

import datetime as dt
import doctest
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caminito.data.table
from caminito._errors import ConfigError, DataError, NonFiniteError, RunError, ShapeError
from caminito.data import Column, TableCodec

N = 120
_rng = np.random.default_rng(0)
_F, _I, _T = _rng.normal(size=N), _rng.integers(0, 50, N), _rng.integers(0, 2**50, N)
_WORD = np.array(["x", "y", "naïve"])[_I % 3]
_DAY = dt.date(2020, 1, 1)
_UTC = pd.Series(_T).astype("M8[us]").dt.tz_localize("UTC")

COMPLETE = {
    "float64": _F,
    "float32": _F.astype("f4"),
    "float16": _F.astype("f2"),
    "tenths": np.round(_I * 0.1, 1),
    "thirds": _I / 3,
    "fives": _I * 5.0,
    "signed zero": np.where(_I > 20, -0.0, 1.5),
    **{f"int{b}": _I.astype(f"i{b // 8}") for b in (8, 16, 32, 64)},
    **{f"uint{b}": _I.astype(f"u{b // 8}") for b in (8, 16, 32, 64)},
    "int64 everywhere": _rng.integers(-(2**63), 2**63 - 1, N),
    "uint64 everywhere": _rng.integers(0, 2**64 - 1, N, dtype=np.uint64),
    "int64 far away": 2**60 + _I,
    "even ids": 2**61 + 2**12 * _T,
    "bool": _I > 20,
}
HOLED = {
    "Int8": pd.array(_I, dtype="Int8"),
    "Int64 everywhere": pd.array(_rng.integers(-(2**62), 2**62, N), dtype="Int64"),
    "UInt64": pd.array(_I, dtype="UInt64"),
    "Float32": pd.array(_F.astype("f4"), dtype="Float32"),
    "Float64": pd.array(_F, dtype="Float64"),
    "boolean": pd.array(_I > 20, dtype="boolean"),
    "string": pd.array(_WORD, dtype="string"),
    "category": pd.Categorical(_WORD, categories=["unused", "y", "x", "naïve"]),
    "ordered": pd.Categorical(_WORD, categories=["y", "unused", "x", "naïve"], ordered=True),
    "category of ints": pd.Categorical(_I),
    "category of dates": pd.Categorical(pd.to_datetime(_I * 86400 * 30, unit="s").tz_localize("Europe/Madrid")),
    "category of intervals": pd.cut(_F, 4),
    "float with NaN": _F,
    "str": pd.Series(_WORD.tolist()),
    "object str": pd.Series(_WORD.tolist(), dtype=object),
    "object mixed": pd.Series([("a", 1, 2.5)[i % 3] for i in _I], dtype=object),
    "object int": pd.Series(_I.tolist(), dtype=object),
    "object float": pd.Series(_F.tolist(), dtype=object),
    "object bool": pd.Series([bool(i % 2) for i in _I], dtype=object),
    "object date": pd.Series([_DAY + dt.timedelta(int(i)) for i in _I], dtype=object),
    "object datetime": pd.Series([dt.datetime(2020, 1, 1, int(i) % 24, 30) for i in _I], dtype=object),
    "object timedelta": pd.Series([dt.timedelta(hours=int(i)) for i in _I], dtype=object),
    "datetime ns": pd.Series(_rng.integers(0, 2**62, N)).astype("M8[ns]"),
    "datetime us": pd.Series(_T).astype("M8[us]"),
    "datetime ms": pd.Series(_I * 7).astype("M8[ms]"),
    "datetime s": pd.Series(_I * 86400).astype("M8[s]"),
    "datetime UTC": _UTC,
    "datetime Madrid": _UTC.dt.tz_convert("Europe/Madrid"),
    "datetime offset": _UTC.dt.tz_convert(dt.timezone(dt.timedelta(hours=2))),
    "timedelta ns": pd.Series(_T).astype("m8[ns]"),
    "timedelta s": pd.Series(_I * 60 - 1000).astype("m8[s]"),
}


def _again(codec: TableCodec) -> TableCodec:
    """The codec after a journey through JSON text."""
    return TableCodec.from_dict(json.loads(json.dumps(codec.to_dict(), allow_nan=False)))


def _round_trip(frame: pd.DataFrame) -> pd.DataFrame:
    codec = TableCodec().fit(frame)
    matrix = codec.encode(frame)
    assert matrix.dtype == np.float64 and matrix.shape == frame.shape
    np.testing.assert_array_equal(np.isnan(matrix), frame.isna())
    again = _again(codec)
    assert again.to_dict() == codec.to_dict() and again.columns_ == codec.columns_
    np.testing.assert_array_equal(again.encode(frame), matrix)
    np.testing.assert_array_equal(TableCodec().fit_encode(frame), matrix)
    return again.decode(matrix)


@pytest.mark.parametrize("name", [*COMPLETE, *HOLED])
def test_every_dtype_of_pandas_comes_back_exactly(name: str) -> None:
    frame = pd.DataFrame({"a": _F, name: (COMPLETE | HOLED)[name], "z": _WORD})
    pd.testing.assert_frame_equal(_round_trip(frame), frame, rtol=0, atol=0)
    if name == "signed zero":
        np.testing.assert_array_equal(np.signbit(_round_trip(frame)[name]), np.signbit(frame[name]))


@pytest.mark.parametrize("name", HOLED)
def test_missing_comes_back_as_the_missing_of_its_dtype(name: str) -> None:
    frame = pd.DataFrame({name: HOLED[name]})
    frame.loc[np.arange(N) % 7 == 3, name] = None
    back = _round_trip(frame)
    pd.testing.assert_frame_equal(back, frame, rtol=0, atol=0)
    assert type(back[name].iloc[3]) is type(frame[name].iloc[3])
    assert TableCodec().fit(frame).columns_[0].missing_share == pytest.approx(17 / N)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=30))
def test_any_int64_come_back_and_keep_their_order(values: list[int]) -> None:
    frame = pd.DataFrame({"x": np.array(values, np.int64)})
    matrix = TableCodec().fit_encode(frame)
    pd.testing.assert_frame_equal(TableCodec().fit(frame).decode(matrix), frame)
    order = np.argsort(frame["x"], kind="stable")
    assert (np.diff(matrix[order, 0]) >= 0).all() and len(np.unique(matrix)) == len(set(values))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 6), st.integers(1, 40), st.lists(st.integers(-3000, 3000), min_size=3, max_size=40, unique=True))
def test_decimal_grids_are_found_and_decoded_numbers_put_on_them(digits: int, stride: int, counts: list[int]) -> None:
    counts = [0, stride, *(count * stride for count in counts)]
    values = [float(Decimal(count).scaleb(-digits)) for count in counts]
    codec = TableCodec().fit(pd.DataFrame({"x": values}))
    assert codec.columns_[0].step == float(Decimal(stride).scaleb(-digits))
    jitter = np.random.default_rng(0).uniform(-0.49, 0.49, len(values)) * codec.columns_[0].step
    assert codec.decode((np.array(values) + jitter)[:, None])["x"].tolist() == values


def test_a_continuum_has_no_step_and_nothing_is_clipped() -> None:
    for dtype in ("f8", "f4"):
        codec = TableCodec().fit(pd.DataFrame({"x": _F.astype(dtype)}))
        assert codec.columns_[0].step is None
        beyond = codec.decode([[1e6 + 0.123], [-1e6]])
        assert beyond["x"].tolist() == [np.dtype(dtype).type(1e6 + 0.123), -1e6]


def test_numbers_end_where_the_dtype_ends() -> None:
    frame = pd.DataFrame({"u": _I.astype("u1"), "b": _I > 9, "f": _F.astype("f4"), "i": _I, "c": _WORD})
    back = TableCodec().fit(frame).decode([[300.4, 0.7, 1e300, 1e300, 9.0], [-3.0, -2.0, -1e300, -1e300, -4.0]])
    assert back["u"].tolist() == [255, 0] and back["b"].tolist() == [True, False]
    assert back["f"].tolist() == [np.finfo("f4").max, np.finfo("f4").min] and back["c"].tolist() == ["y", "naïve"]
    assert back["i"].iloc[0] > 2**62 and back["i"].iloc[1] == -(2**63)
    assert back.dtypes.to_dict() == frame.dtypes.to_dict()


def test_ordered_kinds_keep_their_order_and_categories_are_sorted_codes() -> None:
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(["2021-03-01", "2020-01-01", "2020-01-15"]),
            "size": pd.Categorical(["L", "S", "M"], categories=["S", "M", "L"], ordered=True),
            "word": ["pear", "fig", "apple"],
            "flag": [True, False, True],
        }
    )
    codec = TableCodec().fit(frame)
    np.testing.assert_array_equal(codec.encode(frame), [[425, 2, 2, 1], [0, 0, 1, 0], [14, 1, 0, 1]])
    kinds = [(column.name, column.kind, column.labels, column.step) for column in codec.columns_]
    assert kinds == [
        ("when", "datetime", None, 1.0),
        ("size", "ordered", ("S", "M", "L"), 1.0),
        ("word", "category", ("apple", "fig", "pear"), None),
        ("flag", "boolean", None, 1.0),
    ]
    shuffled = TableCodec().fit(frame.iloc[::-1])
    np.testing.assert_array_equal(shuffled.encode(frame), codec.encode(frame))


def test_atoms_are_the_values_that_stand_out_of_a_continuum() -> None:
    rng = np.random.default_rng(0)
    spiked = np.where(rng.random(2000) < 0.3, 0.0, rng.gamma(2.0, 1.0, 2000))
    smooth = np.round(rng.normal(50, 5, 2000))
    few = rng.integers(0, 5, 2000)
    codec = TableCodec().fit(pd.DataFrame({"spiked": spiked, "smooth": smooth, "few": few}))
    assert [column.atoms for column in codec.columns_] == [(0.0,), (), ()]
    hours = np.where(rng.random(2000) < 0.4, 40, rng.integers(1, 90, 2000))
    assert TableCodec().fit(pd.DataFrame({"h": hours})).columns_[0].atoms == (40.0,)


def test_facts_of_a_column_are_those_of_the_data() -> None:
    frame = pd.DataFrame({"x": [0.5, None, 2.5, 0.5], "c": pd.Categorical(["b", "b", None, "a"], ["a", "b", "z"])})
    x, c = TableCodec().fit(frame).columns_
    assert isinstance(x, Column) and (x.low, x.high, x.distinct, x.has_missing, x.missing_share) == (
        0.5,
        2.5,
        2,
        True,
        0.25,
    )
    assert (x.step, x.example, x.counts) == (0.5, 0.5, None)
    assert (c.labels, c.counts, c.distinct, c.example) == (("a", "b", "z"), (1, 2, 0), 2, "b")
    with pytest.raises(AttributeError):
        x.kind = "integer"
    rows = TableCodec().fit(frame).describe()
    assert [row["name"] for row in rows] == ["x", "c"] and rows[0]["range"] == "0.5 to 2.5, in steps of 0.5"
    assert rows[1] == {
        "name": "c",
        "kind": "category",
        "dtype": "category",
        "distinct": 2,
        "missing": 0.25,
        "example": "b",
        "range": "b, a, z",
    }


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f4", "i2", "u8", "bool", "U3", "M8[D]", "M8[h]", "m8[s]", "O"])
def test_arrays_come_back_as_arrays_of_their_dtype(dtype: str) -> None:
    X = (_I.reshape(-1, 2) > 9 if dtype == "bool" else _I.reshape(-1, 2)).astype(dtype)
    codec = _again(TableCodec().fit(X))
    back = codec.decode(codec.encode(X))
    assert codec.names_ == (0, 1) and back.dtype == X.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back, X)


def test_object_and_structured_arrays_are_typed_column_by_column() -> None:
    X = np.empty((4, 4), object)
    X[:] = [[1, 0.5, "a", None], [2, np.nan, "b", dt.date(2020, 1, 2)], [3, 1.5, None, _DAY], [4, 2.5, "a", _DAY]]
    codec = _again(TableCodec().fit(X))
    assert [column.kind for column in codec.columns_] == ["integer", "number", "category", "datetime"]
    back = codec.decode(codec.encode(X))
    assert [[type(v) for v in row] for row in back] == [[type(v) for v in row] for row in X]
    pd.testing.assert_frame_equal(pd.DataFrame(back), pd.DataFrame(X))
    rows = [(1, "a", 0.5), (2, "bc", np.nan), (3, "a", 1.0)]
    S = np.array(rows, [("n", "i4"), ("s", "U2"), ("f", "f4")])
    codec = _again(TableCodec().fit(S))
    back = codec.decode(codec.encode(S))
    assert back.dtype == S.dtype and codec.names_ == ("n", "s", "f")
    np.testing.assert_array_equal(back[["n", "s"]], S[["n", "s"]])
    np.testing.assert_array_equal(back["f"], S["f"])
    assert TableCodec().fit([[1, "a"], [2, "b"]]).columns_[0].kind == "integer"


def test_frames_of_polars_come_back_as_such() -> None:
    pl = pytest.importorskip("polars", reason="needs polars")
    times = pd.Series(_T).astype("M8[us]").to_list()
    data = {
        "f": pl.Series(_F),
        "f32": pl.Series(_F.astype("f4")),
        "nan": pl.Series([float("nan"), *_F[1:]]),
        "u8": pl.Series(_I.astype("u1")),
        "i64": pl.Series(_rng.integers(-(2**62), 2**62, N)),
        "bool": pl.Series(_I > 20),
        "s": pl.Series(_WORD.tolist()),
        "cat": pl.Series(_WORD.tolist(), dtype=pl.Categorical),
        "enum": pl.Series(_WORD.tolist(), dtype=pl.Enum(["y", "unused", "x", "naïve"])),
        "date": pl.Series([_DAY + dt.timedelta(int(i)) for i in _I]),
        "ns": pl.Series(_T, dtype=pl.Datetime("ns")),
        "ms": pl.Series(times, dtype=pl.Datetime("ms")),
        "tz": pl.Series(times, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
        "span": pl.Series([dt.timedelta(seconds=int(i)) for i in _I], dtype=pl.Duration("ms")),
    }
    whole = pl.DataFrame(data)
    holed = whole.with_columns(
        pl.when(pl.Series(np.arange(N) % 7 != 3)).then(pl.col(name)).alias(name)
        for name in whole.columns
        if name != "nan"
    )
    for frame in (whole, holed):
        codec = _again(TableCodec().fit(frame))
        back = codec.decode(codec.encode(frame))
        assert isinstance(back, pl.DataFrame) and back.schema == frame.schema
        assert back.equals(frame) and back.null_count().equals(frame.null_count())
    kinds = {column.name: column.kind for column in TableCodec().fit(whole).columns_}
    assert kinds["enum"] == "ordered" and kinds["cat"] == "category" and kinds["span"] == "timedelta"
    with pytest.raises(DataError, match=r"'l'.*got list"):
        TableCodec().fit(pl.DataFrame({"l": [[1], [2]]}))
    with pytest.raises(DataError, match="collect"):
        TableCodec().fit(whole.lazy())


def test_tables_of_pyarrow_and_its_dtypes_come_back_as_such() -> None:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    table = pa.table(
        {
            "i": pa.array([1, None, 3], pa.int32()),
            "s": pa.array(["a", None, "b"]),
            "t": pa.array([1, None, 3], pa.timestamp("us", tz="Europe/Madrid")),
            "d": pa.array([_DAY, None, _DAY], pa.date32()),
            "b": pa.array([True, None, False]),
            "f": pa.array([0.5, None, 1.5], pa.float32()),
        }
    )
    codec = _again(TableCodec().fit(table))
    assert codec.decode(codec.encode(table)).equals(table)
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    codec = _again(TableCodec().fit(frame))
    pd.testing.assert_frame_equal(codec.decode(codec.encode(frame)), frame)


def test_types_override_what_the_dtype_says() -> None:
    frame = pd.DataFrame(
        {"zip": [28001, 8002, 28001], "flag": [0, 1, 1], "grade": ["b", "a", "c"], "n": [1.0, 2.0, 4.0]}
    )
    types = {"zip": "category", "flag": "boolean", "grade": "ordered", "n": "integer"}
    codec = _again(TableCodec(types=types).fit(frame))
    assert [column.kind for column in codec.columns_] == ["category", "boolean", "ordered", "integer"]
    assert codec.columns_[0].labels == (8002, 28001) and codec.columns_[0].counts == (1, 2)
    np.testing.assert_array_equal(codec.encode(frame)[:, 0], [1, 0, 1])
    pd.testing.assert_frame_equal(codec.decode(codec.encode(frame)), frame)
    with pytest.raises(DataError, match=r"'zip'.*1 \(1 row\).*28001 \(2\), 8002 \(1\)"):
        codec.encode(frame.assign(zip=[1, 8002, 8002]))
    with pytest.raises(ConfigError, match="'categry'.*'category' meant"):
        TableCodec(types={"zip": "categry"})
    with pytest.raises(ConfigError, match=r"'zap' \(is 'zip' meant"):
        TableCodec(types={"zap": "category"}).fit(frame)
    with pytest.raises(ConfigError, match="'grade'.*'b'.*to_datetime"):
        TableCodec(types={"grade": "datetime"}).fit(frame)


def test_encode_takes_other_orders_containers_and_dtypes_of_the_same_columns() -> None:
    frame = pd.DataFrame(
        {"i": [1, 2, 3], "c": ["a", "b", "a"], "d": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-04"])}
    )
    codec = TableCodec().fit(frame)
    matrix = codec.encode(frame)
    np.testing.assert_array_equal(codec.encode(frame[["d", "c", "i"]]), matrix)
    other = frame.astype({"i": "Int8", "c": "category", "d": "M8[ns]"})
    np.testing.assert_array_equal(codec.encode(other), matrix)
    np.testing.assert_array_equal(codec.encode(frame.astype(object).to_numpy()), matrix)
    holes = codec.encode(pd.DataFrame({"i": [1.0, np.nan], "c": [None, "b"], "d": [pd.NaT, pd.NaT]}))
    np.testing.assert_array_equal(holes, [[1, np.nan, np.nan], [np.nan, 1, np.nan]])
    np.testing.assert_array_equal(codec.encode(frame[["c"]], partial=True)[:, 0], [np.nan] * 3)
    assert codec.encode(frame[:0]).shape == (0, 3) and len(codec.decode(np.empty((0, 3)))) == 0
    finer = frame.assign(d=frame["d"] + pd.Timedelta(hours=6))
    np.testing.assert_array_equal(codec.encode(finer)[:, 2], [0.25, 1.25, 3.25])
    with pytest.raises(DataError, match=r"lacks 'c' and has also 'cc' \(is 'c' meant"):
        codec.encode(frame.rename(columns={"c": "cc"}))
    with pytest.raises(ShapeError, match="X has 2 features, but TableCodec is expecting 3 features"):
        codec.encode(np.zeros((4, 2)))
    with pytest.raises(DataError, match="'i'.*integer.*'1'"):
        codec.encode(frame.assign(i=["1", "2", "3"]))
    with pytest.raises(DataError, match="'d'.*datetime"):
        codec.encode(frame.assign(d=[1, 2, 3]))


def test_an_unseen_category_is_told_with_the_known_ones_by_count() -> None:
    frame = pd.DataFrame({"city": ["Madrid"] * 3 + ["Paris"] * 5 + ["Oslo"]})
    codec = TableCodec().fit(frame)
    with pytest.raises(DataError) as caught:
        codec.encode(pd.DataFrame({"city": ["Paris", "madrid", "madrid", "Rome"]}))
    message = str(caught.value)
    assert "'madrid' (2 rows), 'Rome' (1 row)" in message and "'Paris' (5), 'Madrid' (3), 'Oslo' (1)" in message
    assert "Is 'Madrid' meant?" in message and "train again" in message


def test_single_values_are_encoded_and_decoded_by_name() -> None:
    frame = pd.DataFrame(
        {
            "age": [30, 41, 35],
            "when": pd.to_datetime(["2020-07-01", "2020-07-03", "2020-07-02"]).tz_localize("Europe/Madrid"),
            "sex": ["F", "M", "F"],
            "ok": [True, False, False],
            "took": pd.to_timedelta(["1 days", "3 days", "5 days"]),
        }
    )
    codec = TableCodec().fit(frame)
    np.testing.assert_array_equal(codec.encode_values("age", ["35", "40"]), [35, 40])
    np.testing.assert_array_equal(codec.encode_values("age", [35, None, 30.5]), [35, np.nan, 30.5])
    np.testing.assert_array_equal(codec.encode_values("age", ["35", 2.5, None]), [35, 2.5, np.nan])
    np.testing.assert_array_equal(codec.encode_values("sex", ["M", None]), [1, np.nan])
    np.testing.assert_array_equal(codec.encode_values("ok", ["true", "False"]), [1, 0])
    np.testing.assert_array_equal(codec.encode_values("took", ["2 days", "36:00:00"]), [2, 1.5])
    instants = codec.encode_values("when", ["2020-07-02"])
    assert instants[0] == codec.encode(frame)[2, 1]
    np.testing.assert_array_equal(codec.encode_values("when", ["2020-07-02T00:00:00+02:00"]), instants)
    np.testing.assert_array_equal(codec.encode_values("when", [pd.Timestamp("2020-07-01T22:00Z")]), instants)
    assert codec.decode_values("when", instants)[0] == pd.Timestamp("2020-07-02", tz="Europe/Madrid")
    assert codec.decode_values("sex", [1, np.nan]) == ["M", None] and codec.decode_values("age", 35.2) == [35]
    with pytest.raises(DataError, match="'old'"):
        codec.encode_values("age", ["3", "old"])
    with pytest.raises(DataError, match="'yesterday'.*2020-12-31"):
        codec.encode_values("when", ["yesterday"])
    with pytest.raises(DataError, match=r"'sexx' \(is 'sex' meant"):
        codec.encode_values("sexx", ["M"])


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (pd.DataFrame({"a": []}), DataError, "at least 2 rows.*none"),
        (pd.DataFrame({"a": [1]}), DataError, "n_samples=1"),
        (
            pd.DataFrame(index=range(15)),
            DataError,
            r"0 feature\(s\) \(shape=\(15, 0\)\) while a minimum of 1 is required",
        ),
        (pd.DataFrame([[1, 2, 3]] * 2, columns=["a", "b", "a"]), DataError, "more than once: 'a'"),
        (pd.DataFrame({"gone": [None, None]}), DataError, "'gone'.*all 2 are missing"),
        (pd.DataFrame({"gone": [np.nan, np.nan]}), DataError, "'gone'.*all 2 are missing"),
        (pd.DataFrame({"x": [1.0, np.inf, -np.inf]}), DataError, "'x'.*2 infinite.*row 1"),
        (pd.DataFrame({"l": [[1], [2]]}), DataError, "'l'.*got list.*Spread"),
        (pd.DataFrame({"d": [{}, {"a": 1}]}), DataError, "'d'.*got dict.*json_normalize"),
        (pd.DataFrame({"b": [b"a", b"b"]}), DataError, "'b'.*got bytes.*Decode"),
        (pd.DataFrame({"c": [1j, 2.0]}), DataError, "'c'.*got complex.*Complex data not supported"),
        (pd.DataFrame({"m": pd.Series([True, 2, "a"], dtype=object)}), DataError, "'m'.*bool and numbers"),
        (
            pd.DataFrame({"e": pd.Series([Decimal("1.5"), Decimal("2")], dtype=object)}),
            DataError,
            "'e'.*Decimal.*float",
        ),
        (pd.DataFrame({"p": pd.period_range("2020", periods=3, freq="M")}), DataError, "'p'.*Period.*to_timestamp"),
        (pd.DataFrame({("a", "b"): [1, 2]}), DataError, "MultiIndex"),
        (pd.DataFrame({1.5: [1, 2]}), DataError, "names.*1.5"),
        (pd.DataFrame({"huge": pd.Series([2**70, 1], dtype=object)}), DataError, "'huge'.*64 bits"),
        (np.arange(4.0), ShapeError, "reshape"),
        (np.zeros((3, 2, 2)), ShapeError, r"\(3, 2, 2\)"),
        (pd.Series([1, 2]), ShapeError, "to_frame"),
        ({"a": [1, 2]}, DataError, r"pandas.DataFrame\(X\)"),
        (np.array([[b"a"], [b"b"]]), DataError, "bytes"),
    ],
)
def test_what_is_no_table_to_learn_from_is_refused_with_the_reason(X, error, words: str) -> None:
    with pytest.raises(error, match=words):
        TableCodec().fit(X)


def test_decode_refuses_what_the_container_cannot_hold() -> None:
    frame = pd.DataFrame(
        {"i": [1, 2], "ns": pd.to_datetime(["2020-01-01", "2020-01-03"]).as_unit("ns"), "f": [0.5, 0.7]}
    )
    codec = TableCodec().fit(frame)
    with pytest.raises(DataError, match="'i'.*int64 cannot hold a missing value.*Int64"):
        codec.decode([[np.nan, 0, 0.5]])
    with pytest.raises(DataError, match=r"'ns'.*1 row of 2 lie outside.*2262-04-11"):
        codec.decode([[1, 0, 0.5], [1, 1e9, 0.5]])
    with pytest.raises(NonFiniteError, match="'f'"):
        codec.decode([[1, 0, np.inf]])
    with pytest.raises(ShapeError, match=r"\(rows, 3\)"):
        codec.decode([[1.0, 2.0]])
    filled = TableCodec("fill").fit(frame)
    with pytest.raises(DataError, match="missing='fill'.*'f'"):
        filled.decode([[1, 0, np.nan]])
    assert _again(filled).missing == "fill"
    date = TableCodec().fit(pd.DataFrame({"d": pd.Series([_DAY, dt.date(2020, 2, 1)], dtype=object)}))
    with pytest.raises(DataError, match="9999-12-31"):
        date.decode([[4e6]])


def test_states_that_are_not_whole_are_refused() -> None:
    with pytest.raises(ConfigError, match="not fitted"):
        TableCodec().encode(np.zeros((2, 2)))
    with pytest.raises(ConfigError, match="'model'"):
        TableCodec("drop")
    state = TableCodec().fit(np.eye(3)).to_dict()
    for altered in (
        {**state, "codec": "array"},
        {**state, "columns": [{}]},
        {k: v for k, v in state.items() if k != "types"},
    ):
        with pytest.raises(RunError):
            TableCodec.from_dict(altered)


def test_a_hundred_thousand_categories_come_back() -> None:
    words = pd.Series([f"id-{i:06d}" for i in range(100_000)])
    frame = pd.DataFrame({"id": words.sample(frac=1, random_state=0).reset_index(drop=True)})
    codec = _again(TableCodec().fit(frame))
    assert codec.columns_[0].distinct == 100_000
    pd.testing.assert_frame_equal(codec.decode(codec.encode(frame)), frame)


def test_the_examples_in_the_docstrings_run() -> None:
    assert doctest.testmod(caminito.data.table).failed == 0
